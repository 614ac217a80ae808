"""The list: its lines are the summaries of their 24 hours, and state what stands now."""

import random

import pytest
from hypothesis import given
from hypothesis import settings as counts
from hypothesis import strategies as st

from core.checks.records import State
from core.errors import IdUnknown
from core.history import today
from core.history.records import Bucket, Summary
from core.reading import iso
from core.servers import find
from core.servers.records import FleetQuery, Sort
from core.slots import SLOT
from infra.database import Database
from tests.core.history.histories import (
    DAY,
    FIRST,
    HOUR,
    add,
    add_late,
    common,
    fill,
    made_up,
    one_ping,
    pack_day,
    record,
    remove,
    reschedule,
    steps,
)
from tests.core.incidents.planned import make
from tests.infra.statements import counted


@given(st.integers(0, 2**32), steps)
@counts(**common)
def test_a_line_of_the_fleet_is_the_summary_of_its_24_hours(
    database: Database, seed: int, plan: list[tuple[str, int]]
) -> None:
    history, now = made_up(database, seed)
    for step, day in plan:
        if step == "pack":
            pack_day(database, min(history.pings).date() + day * DAY, [history.server_id])
        elif step == "late":
            add_late(database, history, random.Random(seed))
    with database.reading() as session:
        (line,) = today.fleet(session, now)
        ((_server_id, half_hours),) = today.half_hours(session, now).items()
    day_ago = now.replace(second=0, microsecond=0) + SLOT - DAY
    whole = history.figures(Summary, day_ago, day_ago + DAY, now)
    assert (line.counts, line.uptime, line.coverage) == (
        whole.counts,
        whole.uptime,
        whole.coverage,
    )
    assert len(half_hours) == 48
    for place, half_hour in enumerate(half_hours):
        since = day_ago + place * HOUR / 2
        assert half_hour.counts == history.figures(Bucket, since, since + HOUR / 2, now).counts
    assert line.strip == [half_hour.counts.worst for half_hour in half_hours]
    each = [(c.up, c.degraded, c.down, c.unobserved) for c, *_ in half_hours]
    assert line.strip_counts == [counts if any(counts) else None for counts in each]
    assert line.means_ms == [half_hour.mean_ms for half_hour in half_hours]
    remove(database, history.name)


@pytest.mark.parametrize(
    ("enabled", "interval_s", "minutes", "state"),
    [
        (True, 60, 2, State.UP),
        (True, 60, 3, State.UNOBSERVED),
        (True, 600, 3, State.UP),
        (False, 60, 1, State.UNOBSERVED),
    ],
)
def test_the_state_now_is_that_of_a_newest_ping_not_older_than_two_intervals(
    database: Database, enabled: bool, interval_s: int, minutes: int, state: State
) -> None:
    history = add(database)
    record(
        database,
        FIRST,
        one_ping(history, 1.0),
    )
    reschedule(database, history, FIRST + SLOT, enabled=enabled, interval_s=interval_s)
    with database.reading() as session:
        now = FIRST + minutes * SLOT
        (line,) = today.fleet(session, now)
        assert (line.state, line.enabled, line.interval_s) == (state, enabled, interval_s)
        assert [found.state for found in find.standings(session, now)] == [state]


def test_a_server_just_added_by_a_clock_that_is_ahead_is_in_the_fleet(database: Database) -> None:
    add(database, FIRST + HOUR)
    with database.reading() as session:
        (line,) = today.fleet(session, FIRST)
        assert (line.state, line.uptime, line.coverage) == (State.UNOBSERVED, None, None)


def test_a_fleet_of_some_ids_holds_only_those(database: Database) -> None:
    added = [add(database, name=name).server_id for name in ("a", "b", "c")]
    with database.reading() as session:
        lines = today.fleet(session, FIRST + HOUR, ids=[added[2], added[0], 99])
        assert [line.name for line in lines] == ["a", "c"]
        assert today.fleet(session, FIRST + HOUR, ids=[]) == []


def test_a_page_is_the_fleet_in_the_order_wanted(database: Database) -> None:
    for name in ("zebra", "ape", "moth"):
        fill(database, add(database, name=name), 0, 4, 3)
    with database.reading() as session, counted(database) as statements:
        found, cursors = today.page(session, FleetQuery(sort=Sort.NAME, limit=2), FIRST + HOUR)
        assert len(statements) == 7  # the last: why they are unobserved
        lines = today.fleet(session, FIRST + HOUR)
    assert found.servers == [lines[1], lines[2]]
    assert (found.totals[State.UNOBSERVED], found.next) == (3, cursors[-1])


def test_one_is_read_as_the_fleet_reads_it(database: Database) -> None:
    history = add(database)
    fill(database, history, 0, 4, 3, 0)
    with database.reading() as session:
        now = FIRST + 2 * SLOT
        assert [today.of_one(session, history.server_id, now)] == today.fleet(session, now)
        for nobody in (0, 2**63 - 1, 2**63):
            with pytest.raises(IdUnknown):
                today.of_one(session, nobody, now)


def test_slots_in_maintenance_are_no_part_of_the_list_unless_they_count(
    database: Database,
) -> None:
    for name in ("web", "db"):
        fill(database, add(database, name=name), 0, *[4] * 30, *[0] * 30)
    half = {"since": iso(FIRST + HOUR / 2), "until": iso(FIRST + HOUR)}
    make(database, half, FIRST, **{"for": {"names": ["web"]}})
    make(database, half, FIRST, counts=True)
    with database.reading() as session:
        web, other = today.fleet(session, FIRST + HOUR - SLOT)
        later = today.of_one(session, web.id, FIRST + HOUR)
    assert (web.uptime, web.coverage, web.counts.due) == (1, 1, 30)
    assert (web.strip[-2:], web.strip_counts[-1]) == ([State.UP, None], None)
    assert (other.uptime, other.strip[-2:]) == (0.5, [State.UP, State.DOWN])
    assert [web.exempt, other.exempt, later.exempt] == [True, True, False]
