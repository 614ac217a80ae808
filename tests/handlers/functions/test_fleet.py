"""A round on a fleet: schedule, probe and record over real handlers, SQS by moto."""

import contextlib
import itertools
import json
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs
from sqlalchemy import text

from core import slots
from core.checks.records import Ping, Probe, Target, Unobserved
from core.clock import utc_now
from core.errors import Unavailable, WrongRequest
from core.rounds import log as round_log
from core.rounds import measure
from core.rounds.messages import Batch, Results
from core.servers import change, find
from core.servers.records import ServerWanted
from core.settings import Settings
from handlers.functions import probe, record, schedule, warm
from handlers.functions.probe import Prober
from handlers.functions.record import Recorder
from handlers.worker import rounds
from infra.database import Database
from tests.cloud import Context, Queue, event_of, failed
from tests.counts import EVENTS, MESSAGES, examples
from tests.infra.rows import add_many, rows_in, stored
from tests.infra.rows import server as server_row
from tests.instances import instance

SLOT = datetime(2026, 1, 2, 7, 1, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
FAST = Settings(echo_timeout_s=3.0, echo_gap_s=0.0)
SOON = timedelta(seconds=25)
POISON = [
    "",
    "null",
    "[]",
    "{}",
    "not JSON",
    '{"version": 1}',
    '{"version": 2, "slot": "2026-01-02T07:01:00Z", "pings": [], "unobserved": []}',
    '{"version": 1, "slot": "never", "pings": [], "unobserved": []}',
    '{"version": 1, "slot": "9999-01-02T07:01:00Z", "pings": [], "unobserved": []}',
    '{"version": 1, "slot": "2026-01-02T07:01:00Z", "pings": 7, "unobserved": []}',
    '{"version": 1, "slot": "2026-01-02T07:01:00Z", "deadline": "x", "targets": []}',
    "[" * 10_000,
    '"a\ud800"',
]


def results_of(slot: datetime, *ids: int, ms: float = 1.5) -> str:
    """Return a message with a ping for each of these servers."""
    found = [Ping(server_id, "192.0.2.1", 4, 4, ms, ms, ms, Probe.TCP, 443) for server_id in ids]
    return next(iter(Results(slot, found, []).texts()))


def names(number: int) -> list[str]:
    """Return names for so many servers."""
    return [f"server {n}" for n in range(number)]


# record


@pytest.fixture
def recorder(database: Database) -> Recorder:
    """A recorder on an empty database."""
    return Recorder(database)


def test_results_become_rows(recorder: Recorder) -> None:
    ids = add_many(recorder.database, names(3))
    assert failed(recorder.answer(event_of(results_of(SLOT, *ids)))) == []
    assert stored(recorder.database) == [(server_id, SLOT, 1.5) for server_id in ids]


def test_results_delivered_again_and_out_of_order_change_nothing_and_lose_nothing(
    recorder: Recorder,
) -> None:
    """Issue 6: 1,000 messages, 30 % duplicated, shuffled, some a day late."""
    chance = random.Random(6)
    ids = add_many(recorder.database, names(10))
    slots = [SLOT + n * MINUTE for n in range(MESSAGES // 10)]
    groups = [ids[n : n + 1] for n in range(10)]
    texts = [results_of(slot, *group) for slot in slots for group in groups]
    texts += chance.sample(texts, k=3 * len(texts) // 10)
    chance.shuffle(texts)
    late = results_of(SLOT - timedelta(days=1), *ids)
    texts.insert(len(texts) // 2, late)
    newest: dict[int, datetime] = {}
    for start in range(0, len(texts), 10):
        assert failed(recorder.answer(event_of(*texts[start : start + 10]))) == []
        newest = _never_back(recorder.database, newest)
    assert len(stored(recorder.database)) == len(ids) * (len(slots) + 1)
    assert set(newest.values()) == {slots[-1]}


def _never_back(database: Database, before: dict[int, datetime]) -> dict[int, datetime]:
    with database.reading() as session:
        found = {row.id: row.last_slot for row in find.everything(session) if row.last_slot}
    assert all(found[server_id] >= slot for server_id, slot in before.items())
    return found


def test_of_ten_messages_with_one_poisonous_only_that_fails_and_nine_are_recorded_once(
    recorder: Recorder,
) -> None:
    """Issue 6: 100 events, each with another poison in another place."""
    ids = add_many(recorder.database, names(9))
    for number in range(100):
        slot = SLOT + number * MINUTE
        texts = [results_of(slot, server_id) for server_id in ids]
        place = number % 10
        texts.insert(place, POISON[number % len(POISON)])
        assert failed(recorder.answer(event_of(*texts))) == [str(place)]
    assert len(stored(recorder.database)) == 900


def test_one_ping_that_can_not_be_read_costs_the_others_in_its_message_nothing(
    recorder: Recorder,
) -> None:
    ids = add_many(recorder.database, names(2))
    body = json.loads(results_of(SLOT, *ids))
    body["pings"].insert(1, ["DROP TABLE data", None])
    assert failed(recorder.answer(event_of(json.dumps(body)))) == []
    assert rows_in(recorder.database, SLOT) == 2


def test_a_slot_in_the_far_future_would_hide_all_later_pings_and_is_refused(
    recorder: Recorder,
) -> None:
    (server_id,) = add_many(recorder.database, ["web"])
    future = slots.slot_of(utc_now()) + timedelta(hours=1)
    assert failed(recorder.answer(event_of(results_of(future, server_id)))) == ["0"]
    assert server_row(recorder.database).last_slot is None


def test_while_the_database_is_away_messages_stay_in_the_queue() -> None:
    away = Database(Settings(database_url="postgresql://x@127.0.0.1:9/x", connect_timeout_s=0.1))
    reply = Recorder(away).answer(event_of(results_of(SLOT, 1), results_of(SLOT + MINUTE, 1)))
    assert failed(reply) == ["0", "1"]


def test_a_message_that_only_the_database_refuses_fails_alone(postgres_settings: Settings) -> None:
    database = Database(postgres_settings)
    ids = add_many(database, names(3))
    with database.transaction() as session:
        # A rule that the border knows nothing of.
        session.execute(text("ALTER TABLE data ADD CONSTRAINT odd CHECK (response_time <> 7)"))
    try:
        texts = [results_of(SLOT, ids[0]), results_of(SLOT, ids[1], ms=7), results_of(SLOT, ids[2])]
        assert failed(Recorder(database).answer(event_of(*texts))) == ["1"]
        assert rows_in(database, SLOT) == 2
    finally:
        with database.transaction() as session:
            session.execute(text("ALTER TABLE data DROP CONSTRAINT odd"))
        database.engine.dispose()


@given(st.data())
@examples(40, EVENTS)
def test_whatever_a_queue_brings_no_row_is_lost_or_doubled(
    recorder: Recorder, data: st.DataObject
) -> None:
    """Good messages among any others: each is there once, and only the others fail."""
    slot = SLOT + next(FRESH) * MINUTE
    with recorder.database.transaction() as session:
        known = list(find.names(session))
        if not known:
            for name in names(5):
                wanted = ServerWanted(name=name, ip="192.0.2.1")
                change.add(session, wanted, recorder.database.settings, SLOT)
        ids = [row.id for row in find.everything(session)]
    good = data.draw(st.lists(st.sampled_from(ids), max_size=6))
    bad = data.draw(st.lists(st.sampled_from(POISON) | st.text(max_size=50), max_size=4))
    texts = [(results_of(slot, server_id), True) for server_id in good]
    texts = data.draw(st.permutations(texts + [(nonsense, False) for nonsense in bad]))
    reply = recorder.answer(event_of(*(body for body, _ in texts)))
    assert failed(reply) == [str(n) for n, (_, fine) in enumerate(texts) if not fine]
    assert rows_in(recorder.database, slot) == len(set(good))


FRESH = itertools.count()


# probe


@pytest.fixture
def results(cloud: None) -> Queue:
    """The queue that the prober fills."""
    return Queue("results")


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
    assert found.unobserved == [Unobserved(1, probe.TOO_LATE)]
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
    assert [lost.reason for lost in found.unobserved] == [probe.TOO_LATE]


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


# Events that are no events


NO_EVENTS = [None, 7, "text", [], {}, {"Records": None}, {"Records": {}}, {"time": "2026-01-02"}]


@pytest.mark.parametrize("event", NO_EVENTS)
def test_an_event_that_is_not_of_a_queue_is_refused(database: Database, event: object) -> None:
    for answers in (Recorder(database).answer, Prober(FAST, utc_now()).answer):
        with pytest.raises(WrongRequest):
            answers(event)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=9),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["Records", "messageId", "body", "time", "source"]), inner
            )
        ),
    )
)
@examples(100, EVENTS)
def test_records_that_are_no_messages_fail_or_make_the_whole_event_come_again(
    recorder: Recorder, event: Any
) -> None:
    for answers in (recorder.answer, Prober(FAST, utc_now()).answer):
        try:
            kept = failed(answers(event))
        except WrongRequest:
            continue
        assert len(kept) == len({record["messageId"] for record in event["Records"]})


# schedule, and all of it


@pytest.fixture
def fleet(
    cloud: None, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> Iterator[dict[str, Queue]]:
    """The three functions as deployed: their settings come by the environment."""
    queues = {"batches": Queue("batches"), "results": Queue("results")}
    monkeypatch.setenv("DATABASE_URL", settings.database_url)
    monkeypatch.setenv("PINGLET_BATCH_QUEUE_URL", queues["batches"].url)
    monkeypatch.setenv("PINGLET_RESULT_QUEUE_URL", queues["results"].url)
    monkeypatch.setenv("PINGLET_BATCH_SIZE", "2")
    monkeypatch.setenv("PINGLET_ECHO_TIMEOUT_S", "0.3")
    monkeypatch.setenv("PINGLET_ECHO_GAP_S", "0")
    warm.warm_instance.cache_clear()
    probe.warm_settings.cache_clear()
    yield queues
    warm.warm_instance().database.engine.dispose()
    warm.warm_instance.cache_clear()
    probe.warm_settings.cache_clear()


def every_minute(slot: datetime) -> dict[str, Any]:
    """Return the event of the one-minute rule; it may fire at any second of the minute."""
    late = slot + timedelta(seconds=17)
    return {"source": "aws.events", "time": late.isoformat(), "detail-type": "Scheduled Event"}


def run_round(queues: dict[str, Queue], slot: datetime) -> None:
    """Drive one round through the three functions."""
    schedule.schedule(every_minute(slot), Context())
    queues["batches"].drain(lambda event: probe.probe(event, Context()))
    queues["results"].drain(lambda event: record.record(event, Context()))


def add_five(database: Database) -> None:
    """Add servers on loopback, some of which refuse."""
    with database.transaction() as session:
        for n in range(1, 6):
            wanted = ServerWanted(name=f"server {n}", ip=f"127.0.0.{n}", probe=Probe.TCP, port=9)
            change.add(session, wanted, database.settings, utc_now() - MINUTE)


def test_a_round_goes_through_both_queues_and_ends_in_rows(fleet: dict[str, Queue]) -> None:
    database = warm.warm_instance().database
    add_five(database)
    slot = slots.slot_of(utc_now())
    sent = schedule.schedule(every_minute(slot), Context())
    assert (sent["due"], sent["batches"]) == (5, 3)
    fleet["batches"].drain(lambda event: probe.probe(event, Context()))
    fleet["results"].drain(lambda event: record.record(event, Context()))
    assert rows_in(database, slot) == 5


def no_server(_database: Database) -> None:
    """Leave the fleet empty: nothing is ever due."""


def add_some_out_of_reach(database: Database) -> None:
    """Add servers, of which this deployment may not probe all."""
    add_five(database)
    with database.transaction() as session:
        session.execute(text("UPDATE server SET ip = '224.0.0.1' WHERE id IN (2, 3)"))


@pytest.mark.parametrize(
    ("add", "count"), [(no_server, 0), (add_five, 5), (add_some_out_of_reach, 3)]
)
def test_in_one_process_and_over_queues_a_fleet_ends_in_the_same_rows(
    fleet: dict[str, Queue], add: Callable[[Database], None], count: int
) -> None:
    database = warm.warm_instance().database
    add(database)
    slot = slots.slot_of(utc_now())
    run_round(fleet, slot)
    over_queues = told(database)
    forget_what_came(database)
    run_in_one_process(database, slot)
    assert told(database) == over_queues
    assert [len(of_table) for of_table in over_queues] == [count, 1]


def test_a_round_that_can_not_be_recorded_leaves_the_same_rows_either_way(
    fleet: dict[str, Queue],
) -> None:
    database = warm.warm_instance().database
    add_five(database)
    slot = slots.slot_of(utc_now())
    with renamed(database, "data"):
        run_round(fleet, slot)
    over_queues = told(database)
    forget_what_came(database)
    with renamed(database, "data"):
        run_in_one_process(database, slot)
    assert told(database) == over_queues
    assert [len(of_table) for of_table in over_queues] == [0, 1]


@contextlib.contextmanager
def renamed(database: Database, table: str) -> Iterator[None]:
    """Take a table away meanwhile."""
    with database.transaction() as session:
        session.execute(text(f"ALTER TABLE {table} RENAME TO elsewhere"))
    yield
    with database.transaction() as session:
        session.execute(text(f"ALTER TABLE elsewhere RENAME TO {table}"))


def run_in_one_process(database: Database, slot: datetime) -> None:
    """Run the worker until that slot's round is over."""
    seconds = iter([1, 1, 3])  # it asks for the slot, when the round starts, and when it ends

    def now() -> datetime:
        return slot + timedelta(seconds=next(seconds))

    with pytest.raises(RuntimeError, match="StopIteration"):  # the round is over
        rounds.asyncio.run(rounds.run(instance(database), now))


def forget_what_came(database: Database) -> None:
    """Leave the servers as they were before their first round."""
    with database.transaction() as session:
        session.execute(text("DELETE FROM data"))
        session.execute(text("DELETE FROM round"))
        session.execute(text("UPDATE server SET last_slot = NULL, last_ms = NULL"))


def told(database: Database) -> list[list[tuple[Any, ...]]]:
    """Return all that a round's rows say, but for times taken, which are never the same."""
    of_pings = (
        "SELECT d.server_id, d.datetime, d.sent, d.received, d.probe, d.response_time IS NULL, "
        "d.best_ms IS NULL, d.worst_ms IS NULL, s.last_slot, s.last_sent, s.last_received, "
        "s.last_port FROM data d JOIN server s ON s.id = d.server_id ORDER BY d.server_id"
    )
    of_rounds = "SELECT slot, due, observed, began >= slot, ended >= began FROM round ORDER BY slot"
    with database.reading() as session:
        found = (session.execute(text(query)) for query in (of_pings, of_rounds))
        return [[tuple(row) for row in rows] for rows in found]


def test_a_round_run_twice_over_queues_is_recorded_once(fleet: dict[str, Queue]) -> None:
    database = warm.warm_instance().database
    add_five(database)
    slot = slots.slot_of(utc_now())
    run_round(fleet, slot)
    before = stored(database)
    run_round(fleet, slot)
    assert stored(database) == before
    with database.reading() as session:
        [tally] = round_log.between(session, slot, slot + MINUTE)
    assert (tally.due, tally.observed, tally.unobserved) == (5, 5, 0)
    assert tally.lag >= timedelta(0)
    assert tally.duration is not None


def test_poison_ends_in_the_dead_letters_under_the_id_that_the_log_names(
    fleet: dict[str, Queue], caplog: pytest.LogCaptureFixture
) -> None:
    database = warm.warm_instance().database
    add_five(database)
    slot = slots.slot_of(utc_now())
    schedule.schedule(every_minute(slot), Context())
    fleet["batches"].send("poison")
    fleet["batches"].drain(lambda event: probe.probe(event, Context()))
    fleet["results"].send("poison, too")
    fleet["results"].drain(lambda event: record.record(event, Context()))
    for queue in fleet.values():
        (dead,) = queue.dead_letters()
        assert dead["Body"].startswith("poison")
        assert f"message {dead['MessageId']} failed: can't be read" in caplog.text
    assert rows_in(database, slot) == 5


def test_the_round_of_an_event_that_comes_too_late_is_dropped(fleet: dict[str, Queue]) -> None:
    add_five(warm.warm_instance().database)
    sent = schedule.schedule(every_minute(SLOT), Context())
    assert sent["batches"] == 0
    assert fleet["batches"].texts() == []


@pytest.mark.parametrize("event", [*NO_EVENTS[:-1], {"time": 7}, {"time": "soon"}, {"time": ""}])
def test_an_event_without_its_time_starts_no_round(fleet: dict[str, Queue], event: object) -> None:
    with pytest.raises(WrongRequest):
        schedule.schedule(event, Context())
    assert fleet["batches"].texts() == []


@given(st.text() | st.datetimes().map(str) | st.integers() | st.none())
@examples(50, EVENTS)
def test_a_schedule_event_is_scheduled_or_refused_and_never_anything_else(
    fleet: dict[str, Queue], time: object
) -> None:
    with contextlib.suppress(WrongRequest):
        assert schedule.schedule({"time": time}, Context())["batches"] == 0


def test_a_round_that_can_not_be_sent_fails_loudly(
    fleet: dict[str, Queue], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PINGLET_BATCH_QUEUE_URL", "https://sqs.eu-central-1.amazonaws.com/1/none")
    warm.warm_instance().database.engine.dispose()
    warm.warm_instance.cache_clear()
    add_five(warm.warm_instance().database)
    with pytest.raises(Unavailable):
        schedule.schedule(every_minute(slots.slot_of(utc_now())), Context())
