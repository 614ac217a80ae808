"""The round's beginning on AWS: batches out, or nothing at all."""

import contextlib
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core import slots
from core.clock import utc_now
from core.errors import ClockContradicted, Unavailable, WrongRequest
from core.rounds import stretches
from core.rounds.kernel import SILENT
from core.rounds.trust import Reading
from handlers.functions import schedule, warm
from tests.cloud import Context, Queue
from tests.counts import EVENTS, examples
from tests.handlers.functions.messages import NO_EVENTS, SLOT, add_five, every_minute


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


def test_no_round_is_sent_by_a_clock_that_lies_behind_the_rounds(fleet: dict[str, Queue]) -> None:
    add_five(warm.warm_instance().database)
    with warm.warm_instance().database.transaction() as session:
        stretches.note(session, Reading(utc_now() + timedelta(days=1), SILENT))
    with pytest.raises(ClockContradicted):
        schedule.schedule(every_minute(slots.slot_of(utc_now())), Context())
    assert fleet["batches"].texts() == []


def test_a_clock_that_agrees_with_the_databases_counts_as_synchronised(
    fleet: dict[str, Queue],
) -> None:
    add_five(warm.warm_instance().database)
    with warm.warm_instance().database.transaction() as session:
        before = Reading(utc_now() - timedelta(hours=1), schedule.LAMBDA.kernel())
        stretches.note(session, before)
    schedule.schedule(every_minute(slots.slot_of(utc_now())), Context())
    with warm.warm_instance().database.reading() as session:
        [stretch] = stretches.kept(session).stretches
    assert stretch.synchronised_s == stretch.agreed_s >= 3_600
    assert len(fleet["batches"].texts()) == 3
