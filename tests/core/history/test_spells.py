"""Spells: each outage, gap and pause has a start, an end and a reason, whichever table holds it."""

from collections.abc import Callable, Sequence
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as counts
from hypothesis import strategies as st

from core.checks.records import Reason, State
from core.errors import IdUnknown, WrongRequest
from core.history import figures, spells
from core.history.records import Spell, Spells
from core.models import LARGEST_ID, WHY
from core.rounds import log as round_log
from core.slots import SLOT, slot_number
from infra.database import Database
from tests.core.history.histories import (
    DAY,
    FIRST,
    HOUR,
    add,
    common,
    fill,
    made_up,
    pack_day,
    remove,
    reschedule,
)
from tests.infra.statements import counted


def ask(
    database: Database,
    server_id: int,
    *,
    until: timedelta = HOUR,
    now: timedelta = HOUR,
    **more: Any,
) -> Spells:
    """Return the spells of the first hour, looked at when it is over, unless said otherwise."""
    window = (FIRST, FIRST + until)
    with database.reading() as session:
        return spells.spells(
            session, server_id, window, **({"limit": 1_000, "now": FIRST + now} | more)
        )


def told(found: Spells) -> list[tuple[State | None, int, int | None]]:
    """Return each spell's state, and its slots from where to before where."""
    first = slot_number(found.since)
    return [
        (one.state, slot_number(one.since) - first, one.until and slot_number(one.until) - first)
        for one in found.spells
    ]


def ran(database: Database, first: int, observed: Sequence[int]) -> None:
    """Note that a round began in each of these slots, and how many pings it recorded."""
    with database.transaction() as session:
        for place, number in enumerate(observed, first):
            round_log.begin(session, FIRST + place * SLOT, 1, FIRST + place * SLOT)
            round_log.add(session, FIRST + place * SLOT, number, FIRST + place * SLOT)


def test_an_outage_lasts_from_its_first_silent_slot_to_the_next_answer(database: Database) -> None:
    history = add(database)
    fill(database, history, 0, *[4] * 10, *[0] * 5, *[4] * 10, 2, 0, *[4] * 33)
    found = ask(database, history.server_id)
    assert told(found) == [(State.DOWN, 10, 15), (State.DOWN, 26, 27)]
    assert [one.slots for one in found.spells] == [5, 1]
    assert found.spells[0].detail == "none of 20 echoes came back"


def test_a_gap_ends_where_somebody_looked_again(database: Database) -> None:
    history = add(database)
    fill(database, history, 0, *[4] * 10)
    fill(database, history, 20, *[4] * 40)
    found = ask(database, history.server_id)
    assert told(found) == [(State.UNOBSERVED, 10, 20)]


def test_what_goes_on_has_no_end(database: Database) -> None:
    history = add(database)
    fill(database, history, 0, *[4] * 10, *[0] * 5)
    now = 15 * SLOT
    assert told(ask(database, history.server_id, now=now)) == [(State.DOWN, 10, None)]
    assert told(ask(database, history.server_id, now=now + SLOT)) == [
        (State.DOWN, 10, 15),
        (State.UNOBSERVED, 15, None),
    ]


def test_an_outage_is_known_as_soon_as_its_first_slot_is_recorded(database: Database) -> None:
    history = add(database)
    fill(database, history, 0, *[4] * 10, 0)
    now = 10 * SLOT + timedelta(seconds=2)
    assert told(ask(database, history.server_id, now=now)) == [(State.DOWN, 10, None)]


def test_a_window_cuts_off_what_it_holds_a_part_of(database: Database) -> None:
    history = add(database, FIRST - HOUR)
    found = ask(database, history.server_id, until=10 * SLOT)
    assert told(found) == [(State.UNOBSERVED, 0, 10)]


def test_slots_in_which_nothing_was_due_end_nothing(database: Database) -> None:
    history = add(database)
    reschedule(database, history, FIRST, interval_s=300)
    for slot, received in [(0, 4), (5, 0), (10, 0), (20, 4)]:
        fill(database, history, slot, received)
    found = ask(database, history.server_id, now=21 * SLOT)
    assert told(found) == [(State.DOWN, 5, 15), (State.UNOBSERVED, 15, 20)]
    assert [one.slots for one in found.spells] == [2, 1]


def test_a_pause_is_one_and_no_gap(database: Database) -> None:
    history = add(database)
    fill(database, history, 0, *[4] * 9, 0)
    reschedule(database, history, FIRST + 10 * SLOT, enabled=False)
    reschedule(database, history, FIRST + 30 * SLOT, enabled=True)
    fill(database, history, 30, *[4] * 10)
    reschedule(database, history, FIRST + 40 * SLOT, enabled=False)
    found = ask(database, history.server_id, until=2 * HOUR)
    assert told(found) == [(State.DOWN, 9, 10), (None, 10, 30), (None, 40, None)]
    assert [one.detail for one in found.spells[1:]] == ["paused", "paused"]


@pytest.mark.parametrize(
    ("tallies", "reason"),
    [
        ([1] * 10, "no round ran"),
        ([1] * 14, "no round ran"),
        ([1] * 10 + [0] * 10, "rounds ran and recorded nothing of any server"),
        ([1] * 10 + [3] * 10, "rounds ran, but couldn't look at this server"),
        ([], "nobody looked"),
    ],
)
def test_the_reason_of_a_gap_is_what_rounds_say(
    database: Database, tallies: list[int], reason: str
) -> None:
    history = add(database)
    fill(database, history, 0, *[4] * 10)
    fill(database, history, 20, *[4] * 40)
    ran(database, 0, tallies)
    (gap,) = ask(database, history.server_id).spells
    assert gap.detail == reason


def test_of_a_gap_from_before_tallies_were_kept_no_reason_is_made_up(database: Database) -> None:
    history = add(database)
    fill(database, history, 20, *[4] * 40)
    ran(database, 20, [1] * 40)
    (gap,) = ask(database, history.server_id).spells
    assert gap.detail == "nobody looked"


def explain(
    database: Database, server_id: int, observed: bool, causes: dict[int, tuple[Reason, str]]
) -> None:
    """Say of some of the day's slots why they have a ping that isn't up, or none."""
    with database.transaction() as session:
        session.execute(
            WHY.insert(),
            [
                {"server_id": server_id, "observed": observed, "datetime": FIRST + slot * SLOT}
                | {"reason": reason, "detail": detail}
                for slot, (reason, detail) in causes.items()
            ],
        )


@pytest.mark.parametrize(
    ("reason", "detail", "told_so"),
    [
        (Reason.TIMEOUT, "no answer", "none of 12 echoes came back"),
        (Reason.UNREACHABLE, "no route", "no route: none of 12 echoes came back"),
        (Reason.REFUSED, "connection refused", "connection refused: none of 12 echoes succeeded"),
    ],
)
def test_the_reason_of_an_outage_is_what_most_of_its_slots_say(
    database: Database, reason: Reason, detail: str, told_so: str
) -> None:
    history = add(database)
    fill(database, history, 0, *[4] * 10, 0, 0, 0, *[4] * 47)
    other = (Reason.LOCAL, "of another kind")
    explain(database, history.server_id, True, {10: other, 11: (reason, detail)})
    explain(database, history.server_id, True, {12: (reason, detail), 13: other, 9: other})
    explain(database, history.server_id, False, {slot: other for slot in range(10, 13)})
    (outage,) = ask(database, history.server_id).spells
    assert (outage.reason, outage.detail) == (reason, told_so)


@pytest.mark.parametrize(
    ("explained", "reason", "detail"),
    [(5, Reason.NO_PORT, "set a port"), (4, None, "no round ran")],
)
def test_the_reason_of_a_gap_is_what_half_of_its_slots_say(
    database: Database, explained: int, reason: Reason | None, detail: str
) -> None:
    history = add(database)
    fill(database, history, 0, *[4] * 10)
    fill(database, history, 20, *[4] * 40)
    ran(database, 0, [1] * 10)
    cause = (Reason.NO_PORT, "set a port")
    explain(database, history.server_id, False, {10 + slot: cause for slot in range(explained)})
    (gap,) = ask(database, history.server_id).spells
    assert (gap.reason, gap.detail) == (reason, detail)


def test_the_longest_are_shown_and_the_others_counted(database: Database) -> None:
    history = add(database)
    fill(database, history, 0, 0, 4, 0, 0, 4, 0, 4, 0, 0, 0, *[4] * 50)
    found = ask(database, history.server_id, limit=2)
    assert told(found) == [(State.DOWN, 2, 4), (State.DOWN, 7, 10)]
    assert found.left_off == 2


def test_without_any_there_are_none(database: Database) -> None:
    history = add(database)
    fill(database, history, 0, *[4] * 60)
    before = ask(database, history.server_id, until=timedelta(days=2), now=HOUR)
    assert (before.spells, before.left_off) == ([], 0)
    ahead = ask(database, history.server_id, now=-HOUR)
    assert ahead.spells == []


@pytest.mark.parametrize("server_id", [4711, LARGEST_ID + 1])
def test_an_unknown_server_has_no_spells(database: Database, server_id: int) -> None:
    with pytest.raises(IdUnknown):
        ask(database, server_id)


def test_an_empty_window_is_refused(database: Database) -> None:
    with pytest.raises(WrongRequest, match="at least a minute after since"):
        ask(database, add(database).server_id, until=timedelta(0))


def test_a_year_costs_the_statements_of_an_hour(database: Database) -> None:
    server_id = add(database).server_id
    with counted(database) as of_an_hour:
        ask(database, server_id)
    with counted(database) as of_a_year:
        ask(database, server_id, until=365 * DAY, now=365 * DAY)
    assert len(of_an_hour) == len(of_a_year) <= 7


@given(st.integers(0, 2**32), st.booleans())
@counts(**common)
def test_spells_hold_every_slot_that_the_figures_count(
    database: Database, web: Callable[..., Any], seed: int, packed: bool
) -> None:
    history, now = made_up(database, seed)
    first = min(history.pings)
    if packed:
        pack_day(database, first.date(), [history.server_id])
    until = now.replace(second=0, microsecond=0)
    with database.reading() as session:
        found = spells.spells(session, history.server_id, (first, until), 10_000, now)
    summary = web(figures.summary, first, until, now)
    assert slots_of(found, State.DOWN) == summary.counts.down
    assert slots_of(found, State.UNOBSERVED) == summary.counts.unobserved
    assert_in_order(found.spells)
    remove(database, history.name)


def slots_of(found: Spells, state: State) -> int:
    """Return how many slots the spells of a state hold."""
    return sum(one.slots for one in found.spells if one.state is state)


def assert_in_order(found: Sequence[Spell]) -> None:
    """None begins before the one before it is over."""
    for before, after in pairwise(found):
        assert before.until is not None
        assert before.since < before.until <= after.since
