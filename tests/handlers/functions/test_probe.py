"""The prober: batches become results within its time, or say why not."""

import json
import subprocess
import sys
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from core import slots
from core.checks.records import Target
from core.clock import utc_now
from core.rounds import measure
from core.rounds.messages import Batch, Results
from core.settings import Settings
from handlers.functions.probe import Prober
from tests.cloud import Queue, event_of, failed
from tests.counts import EVENTS, examples
from tests.handlers.functions.messages import FAST, POISON, SOON


def prober_of(results: Queue, ends: datetime | None = None, settings: Settings = FAST) -> Prober:
    """Return a prober that has some seconds."""
    return Prober(replace(settings, result_queue_url=results.url), ends or utc_now() + SOON)


def batch_of(*ips: str, first: int = 1, slot: datetime | None = None) -> Batch:
    """Return a batch of servers at these addresses, due now."""
    slot = slot or slots.slot_of(utc_now())
    members = [Target(first + n, ip, port=9) for n, ip in enumerate(ips)]
    return Batch(slot, utc_now() + SOON, members)


def sent_results(results: Queue) -> list[Results]:
    """Return what arrived on the queue."""
    return [Results.read(body) for body in results.texts()]


def test_a_batch_becomes_results(results: Queue) -> None:
    batch = batch_of("127.0.0.1", "127.0.0.2")
    assert failed(prober_of(results).answer(event_of(batch.text()))) == []
    (found,) = sent_results(results)
    assert found.slot == batch.slot
    assert {ping.server_id: ping.received for ping in found.pings} == {1: 4, 2: 4}
    assert not found.unobserved


def test_witnesses_are_asked_with_each_batch(results: Queue) -> None:
    settings = replace(FAST, witnesses=("127.0.0.3",))
    prober = prober_of(results, settings=settings)
    assert failed(prober.answer(event_of(batch_of("127.0.0.1").text()))) == []
    (found,) = sent_results(results)
    assert found.heard == {"127.0.0.3": True}
    assert [ping.server_id for ping in found.pings] == [1]


def test_batches_that_come_together_are_measured_together(results: Queue) -> None:
    slot = slots.slot_of(utc_now())
    deadline = measure.deadline(slot)
    batches = [Batch(slot, deadline, [Target(n, "127.0.0.1")]) for n in (1, 2, 2)]
    assert failed(prober_of(results).answer(event_of(*(b.text() for b in batches)))) == []
    (found,) = sent_results(results)
    assert sorted(ping.server_id for ping in found.pings) == [1, 2]


def test_a_batch_after_its_deadline_is_unobserved_and_nothing_is_sent_to_its_servers(
    results: Queue,
) -> None:
    late = structs.replace(batch_of("127.0.0.1"), deadline=utc_now() - timedelta(seconds=1))
    assert failed(prober_of(results).answer(event_of(late.text()))) == []
    (found,) = sent_results(results)
    assert found.unobserved == [measure.too_late(Target(1, "127.0.0.1"))]
    assert not found.pings


def test_a_late_batch_does_not_hold_up_one_that_comes_with_it(results: Queue) -> None:
    late = structs.replace(batch_of("127.0.0.1"), deadline=utc_now() - timedelta(seconds=1))
    event = event_of(late.text(), batch_of("127.0.0.2", first=2).text())
    assert failed(prober_of(results).answer(event)) == []
    outcomes = {part.slot: part for part in sent_results(results)}
    assert [p.server_id for part in outcomes.values() for p in part.pings] == [2]


def test_what_time_is_left_bounds_the_measurement_and_the_rest_is_unobserved(
    results: Queue,
) -> None:
    # 240.0.0.1 never answers here; four echoes of it would take forty seconds.
    slow = replace(FAST, echo_timeout_s=10.0)
    ends = utc_now() + timedelta(seconds=0.5)
    batch = batch_of("127.0.0.1", "127.0.0.2")
    answered = prober_of(results, ends, slow).answer(event_of(batch.text()))
    assert failed(answered) == []
    (found,) = sent_results(results)
    assert len(found.pings) + len(found.unobserved) == 2


def test_a_prober_without_time_left_says_so_at_once(results: Queue) -> None:
    ended = prober_of(results, utc_now() - timedelta(seconds=1))
    assert failed(ended.answer(event_of(batch_of("127.0.0.1").text()))) == []
    (found,) = sent_results(results)
    assert [lost.detail for lost in found.unobserved] == [measure.TOO_LATE]


def test_an_address_that_may_not_be_probed_from_here_is_unobserved(results: Queue) -> None:
    deployed = replace(FAST, allow_loopback=False)
    batch = batch_of("127.0.0.1", "169.254.169.254")
    assert failed(prober_of(results, settings=deployed).answer(event_of(batch.text()))) == []
    (found,) = sent_results(results)
    assert not found.pings
    assert [lost.server_id for lost in found.unobserved] == [1, 2]


@pytest.mark.parametrize("poison", POISON)
def test_a_poisonous_batch_fails_alone(results: Queue, poison: str) -> None:
    event = event_of(batch_of("127.0.0.1").text(), poison, batch_of("127.0.0.2", first=2).text())
    assert failed(prober_of(results).answer(event)) == ["1"]
    found = sent_results(results)
    assert sorted(p.server_id for part in found for p in part.pings) == [1, 2]


def test_a_poisonous_target_costs_its_neighbours_nothing(results: Queue) -> None:
    body = json.loads(batch_of("127.0.0.1", "127.0.0.2").text())
    body["targets"].insert(1, [9, "evil.example", "auto", None, None])
    assert failed(prober_of(results).answer(event_of(json.dumps(body)))) == []
    (found,) = sent_results(results)
    assert sorted(ping.server_id for ping in found.pings) == [1, 2]


def test_a_batch_whose_results_can_not_be_sent_comes_again(cloud: None) -> None:
    nowhere = replace(FAST, result_queue_url="https://sqs.eu-central-1.amazonaws.com/1/nowhere")
    lost = Prober(nowhere, utc_now() + SOON)
    assert failed(lost.answer(event_of(batch_of("127.0.0.1").text()))) == ["0"]


def test_an_empty_batch_sends_nothing(results: Queue) -> None:
    assert failed(prober_of(results).answer(event_of(batch_of().text()))) == []
    assert results.texts() == []


@given(st.lists(st.sampled_from(POISON) | st.text(max_size=50), min_size=1, max_size=10))
@examples(40, EVENTS)
def test_whatever_the_batch_queue_brings_only_what_can_not_be_read_fails(
    results: Queue, nonsense: list[str]
) -> None:
    good = batch_of().text()
    reply = prober_of(results).answer(event_of(*nonsense, good))
    assert failed(reply) == [str(n) for n in range(len(nonsense))]


def test_the_prober_loads_neither_the_database_nor_the_web() -> None:
    program = "import handlers.functions.probe, sys; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    ).stdout.split()
    assert not {"sqlalchemy", "flask", "werkzeug", "pg8000", "boto3", "infra.database"} & set(
        loaded
    )
