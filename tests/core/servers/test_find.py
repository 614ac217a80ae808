"""Servers with their state: what the database derives is what the rule says of each by itself."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import compress
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs
from sqlalchemy import delete

from core import models
from core.checks.records import Probe, State, Target
from core.errors import IdUnknown
from core.models import Schedule, Server
from core.servers import change as servers_change
from core.servers import find, parents, tags
from core.servers.records import FleetQuery, LastPing, ServerWanted, Sort, Standing
from core.slots import AHEAD
from infra.database import Database
from tests.counts import examples
from tests.infra.rows import IP, MINUTE, SLOT, add, add_many, due, ping, record
from tests.infra.statements import counted

HOUR = SLOT.replace(minute=0)
SECOND = timedelta(seconds=1)
ADDED = SLOT - timedelta(days=1)


class Watched(NamedTuple):
    """A server's newest ping and its schedule: (since, interval in s, enabled)."""

    last_ping: LastPing | None
    schedule: Sequence[tuple[datetime, int, bool]]

    def state(self, now: datetime) -> State:
        """Return what the rule says, for one server."""
        in_force = [row for row in sorted(self.schedule) if row[0] <= now]
        if self.last_ping is None or not in_force:
            return State.UNOBSERVED
        _since, interval_s, enabled = in_force[-1]
        fresh = now - 2 * interval_s * SECOND <= self.last_ping.slot <= now + AHEAD
        if not enabled or not fresh:
            return State.UNOBSERVED
        return State.of(self.last_ping.sent, self.last_ping.received)

    def enabled(self, now: datetime) -> bool:
        """Return whether it is to be looked at."""
        return self._row(now)[2]

    def new(self, now: datetime) -> bool:
        """Return what the rule says, for one server."""
        since, interval_s, enabled = self._row(now)
        minute = since.replace(second=0, microsecond=0)
        is_young = now - 2 * interval_s * SECOND <= minute
        return self.last_ping is None and enabled and is_young

    def _row(self, now: datetime) -> tuple[datetime, int, bool]:
        """The row of the schedule that is in force, or the first one."""
        rows = sorted(self.schedule)
        return [*rows[:1], *(row for row in rows if row[0] <= now)][-1]


minutes = st.one_of(st.integers(-12, 12), st.integers(-1_441, 2_881)).map(
    timedelta(minutes=1).__mul__
)
echoes = st.integers(1, 1_000).flatmap(
    lambda sent: st.tuples(
        st.just(sent), st.one_of(st.sampled_from([0, sent]), st.integers(0, sent))
    )
)
last_pings = st.builds(
    lambda age, sums: LastPing(slot=SLOT - age, response_ms=1.5, sent=sums[0], received=sums[1]),
    minutes,
    echoes,
)
plans = st.lists(
    st.tuples(
        st.one_of(minutes, st.sampled_from([SECOND, -SECOND, SECOND / 1_000_000])).map(
            SLOT.__sub__
        ),
        st.sampled_from([60, 120, 300, 3_600, 86_400]),
        st.booleans(),
    ),
    min_size=1,
    max_size=3,
    unique_by=lambda row: row[0],
)
fleets = st.lists(st.builds(Watched, st.none() | last_pings, plans), min_size=1, max_size=30)
moments = st.one_of(
    st.just(timedelta()),
    st.sampled_from([SECOND, 59 * SECOND, SECOND / 1_000_000]),
    st.timedeltas(-MINUTE, MINUTE),
).map(SLOT.__add__)


def store(database: Database, fleet: Sequence[Watched]) -> list[int]:
    """Add these servers; return their ids."""
    with database.transaction() as session:
        servers = [
            Server(name=f"web-{number}", ip=IP, probe=Probe.AUTO, added=ADDED, **last(watched))
            for number, watched in enumerate(fleet)
        ]
        session.add_all(servers)
        session.flush()
        ids = [server.id for server in servers]
        session.add_all(
            Schedule(server_id=server_id, since=since, interval_s=interval_s, enabled=enabled)
            for server_id, watched in zip(ids, fleet, strict=True)
            for since, interval_s, enabled in watched.schedule
        )
    return ids


def last(watched: Watched) -> dict[str, object]:
    """Return the columns that repeat the newest ping."""
    ping = watched.last_ping
    if ping is None:
        return {}
    return {
        "last_slot": ping.slot,
        "last_ms": ping.response_ms,
        "last_sent": ping.sent,
        "last_received": ping.received,
    }


@given(fleets, moments)
@examples(40, 1_000)
def test_the_state_that_the_database_derives_is_that_of_the_rule(
    database: Database, fleet: list[Watched], now: datetime
) -> None:
    ids = store(database, fleet)
    expected = [watched.state(now) for watched in fleet]
    with database.reading() as session:
        found = find.standings(session, now)
        assert [(one.id, one.state) for one in found] == list(zip(ids, expected, strict=True))
        assert [one.last_ping for one in found] == [watched.last_ping for watched in fleet]
        for state in State:
            page = find.page(session, FleetQuery(state=state, limit=1_000), now)
            assert [one.id for one in page.servers] == [
                server_id for server_id, one in zip(ids, expected, strict=True) if one is state
            ]
            assert page.totals == {state: expected.count(state) for state in State}
        new = [watched.new(now) for watched in fleet]
        assert [one.new for one in found] == new
        idle = [not watched.enabled(now) for watched in fleet]
        assert (page.paused, page.new) == (sum(idle), sum(new))
        for query, wanted in [(FleetQuery(enabled=False), idle), (FleetQuery(new=True), new)]:
            page = find.page(session, query, now)
            assert [one.id for one in page.servers] == list(compress(ids, wanted))
        unseen = FleetQuery(state=State.UNOBSERVED, enabled=True, new=False)
        others = expected.count(State.UNOBSERVED) - page.paused - page.new
        assert len(find.page(session, unseen, now).servers) == others
    with database.transaction() as session:
        session.execute(delete(Server))


def test_a_server_stands_with_its_schedule_in_force_and_its_newest_ping(
    database: Database,
) -> None:
    plan = [(SLOT - 2 * MINUTE, 300, True), (SLOT + MINUTE, 3_600, False)]
    heard = LastPing(slot=SLOT, response_ms=2.5, sent=4, received=3)
    [server_id] = store(database, [Watched(heard, plan)])
    with database.reading() as session:
        [found] = find.standings(session, SLOT + 30 * SECOND)
    assert found == Standing(
        id=server_id,
        name="web-0",
        ip=IP,
        probe=Probe.AUTO,
        port=None,
        added=ADDED,
        interval_s=300,
        enabled=True,
        tags=[],
        parent=None,
        state=State.DEGRADED,
        new=False,
        last_ping=heard,
    )


def test_one_whose_schedule_is_yet_to_begin_shows_its_first_one(database: Database) -> None:
    store(database, [Watched(None, [(SLOT + 2 * MINUTE, 300, True), (SLOT + MINUTE, 60, True)])])
    with database.reading() as session:
        [found] = find.standings(session, SLOT)
    assert (found.state, found.interval_s, found.enabled) == (State.UNOBSERVED, 60, True)


def test_the_list_of_some_is_in_order_of_creation_and_two_statements(database: Database) -> None:
    first, _second, third = add_many(database, ["zebra", "ape", "moth"])
    with database.reading() as session, counted(database) as statements:
        found = find.standings(session, SLOT, [third, first, 99])
        assert [one.id for one in found] == [first, third]
        assert len(statements) == 2
        assert find.standings(session, SLOT, []) == []


def test_a_tag_finds_whoever_has_it_and_they_are_counted(database: Database) -> None:
    first, second, third = add_many(database, ["zebra", "ape", "moth"])
    with database.transaction() as session:
        tags.put(session, {first: ["web", "eu"], second: ["web-2"], third: ["web"]})
        parents.put(session, {third: "ape"})
    for tag, found in (
        ("web", ["zebra", "moth"]),
        ("WEB", ["zebra", "moth"]),
        ("we", []),
        ("%", []),
    ):
        with database.reading() as session, counted(database) as statements:
            page = find.page(session, FleetQuery(tag=tag), SLOT)
        assert [one.name for one in page.servers] == found, tag
        assert sum(page.totals.values()) == len(found)
        assert len(statements) <= 3
    with database.reading() as session:
        page = find.page(session, FleetQuery(tag="web", search="moth"), SLOT)
        assert [(one.tags, one.parent) for one in page.servers] == [(["web"], "ape")]


def test_one_stands_as_the_list_says(database: Database) -> None:
    add_many(database, ["web", "db"])
    with database.reading() as session:
        for shown in find.standings(session, SLOT):
            assert find.standing(session, shown.id, SLOT) == shown
        for nobody in (0, 2**63 - 1, 2**63):
            with pytest.raises(IdUnknown):
                find.standing(session, nobody, SLOT)


@pytest.mark.parametrize("sort", Sort)
def test_a_page_holds_the_same_servers_as_the_list(database: Database, sort: Sort) -> None:
    ids = add_many(database, ["zebra", "ape", "moth"])
    record(database, SLOT, [ping(ids[0]), ping(ids[1], None)])
    with database.reading() as session:
        page = find.page(session, FleetQuery(sort=sort), SLOT)
        listed = find.standings(session, SLOT)
    assert sorted(page.servers, key=lambda one: one.id) == listed


def test_the_newest_slot_is_none_of_the_future(database: Database) -> None:
    with database.reading() as session:
        assert find.newest_slot(session, SLOT) is None
    record(database, SLOT, [ping(add(database))])
    with database.reading() as session:
        assert find.newest_slot(session, SLOT - AHEAD) == SLOT
        assert find.newest_slot(session, SLOT - AHEAD - SECOND) is None


# Targets and states


def reschedule(
    database: Database, server_id: int, since: datetime, interval_s: int = 60, enabled: bool = True
) -> None:
    with database.transaction() as session:
        row = models.Schedule(
            server_id=server_id, since=since, interval_s=interval_s, enabled=enabled
        )
        session.add(row)


def state(database: Database, now: datetime) -> State:
    with database.reading() as session:
        [found] = find.standings(session, now)
        return found.state


def test_a_target_is_all_that_a_round_needs_of_a_server(database: Database) -> None:
    server_id = add(database, probe=Probe.TCP, port=8080)
    record(database, SLOT - MINUTE, [ping(server_id, port=443)])
    with database.reading() as session:
        assert find.targets(session, SLOT) == [Target(server_id, IP, Probe.TCP, 8080, 443)]


def test_targets_come_in_order_of_creation(database: Database) -> None:
    ids = add_many(database, ["zebra", "ape", "moth"])
    assert due(database) == ids == sorted(ids)


def test_servers_are_due_after_2038_too(database: Database) -> None:
    server_id = add(database)
    assert due(database, SLOT.replace(year=2038, month=2)) == [server_id]


@pytest.mark.parametrize("second", [0, 1, 59.999])
def test_a_server_is_due_in_the_very_slot_in_which_it_was_added(
    database: Database, second: float
) -> None:
    with database.transaction() as session:
        moment = SLOT + second * SECOND
        servers_change.add(session, ServerWanted(name="web", ip=IP), database.settings, moment)
    assert due(database, SLOT - MINUTE) == []
    assert len(due(database, SLOT)) == 1


def test_every_five_minutes_means_five_slots_apart_aligned_to_the_hour(
    database: Database,
) -> None:
    server_id = add(database)
    reschedule(database, server_id, HOUR - MINUTE, interval_s=300)
    slots = [HOUR + number * MINUTE for number in range(11)]
    assert [slot.minute for slot in slots if due(database, slot)] == [0, 5, 10]


def test_once_a_day_means_at_midnight_utc(database: Database) -> None:
    server_id = add(database)
    midnight = HOUR.replace(hour=0) + timedelta(days=1)
    reschedule(database, server_id, HOUR, interval_s=86_400)
    assert due(database, midnight) == [server_id]
    assert due(database, midnight + timedelta(hours=12)) == []


def test_a_paused_server_is_not_due_until_it_is_resumed(database: Database) -> None:
    server_id = add(database)
    reschedule(database, server_id, SLOT, enabled=False)
    reschedule(database, server_id, SLOT + 3 * MINUTE)
    slots = [SLOT + number * MINUTE for number in range(-1, 5)]
    assert [bool(due(database, slot)) for slot in slots] == [True, False, False, False, True, True]


def test_what_was_due_in_the_past_stays_what_it_was(database: Database) -> None:
    server_id = add(database)
    reschedule(database, server_id, SLOT, interval_s=3600)
    assert due(database, SLOT - MINUTE) == [server_id]


def test_the_newest_schedule_wins_whatever_the_order_of_insertion(database: Database) -> None:
    server_id = add(database)
    reschedule(database, server_id, SLOT - MINUTE, interval_s=60)
    reschedule(database, server_id, SLOT - 2 * MINUTE, interval_s=3600)
    assert due(database, SLOT) == [server_id]


def test_one_servers_schedule_is_not_anothers(database: Database) -> None:
    paused, watched = add_many(database, ["paused", "watched"])
    reschedule(database, paused, SLOT - MINUTE, enabled=False)
    assert due(database) == [watched]


@pytest.mark.parametrize(
    ("ms", "received", "expected"),
    [(1.0, 4, State.UP), (1.0, 3, State.DEGRADED), (None, 0, State.DOWN)],
)
def test_a_state_is_what_the_newest_ping_says(
    database: Database, ms: float | None, received: int, expected: State
) -> None:
    server_id = add(database)
    record(database, SLOT, [structs.replace(ping(server_id, ms), received=received)])
    assert state(database, SLOT + 10 * SECOND) == expected


def test_a_server_never_pinged_is_unobserved(database: Database) -> None:
    add(database)
    assert state(database, SLOT) == State.UNOBSERVED


def test_a_dead_worker_leaves_no_green_light_behind(database: Database) -> None:
    record(database, SLOT, [ping(add(database))])
    assert state(database, SLOT + 2 * MINUTE) == State.UP
    assert state(database, SLOT + 2 * MINUTE + SECOND) == State.UNOBSERVED


def test_two_intervals_are_longer_for_a_server_that_is_pinged_less_often(
    database: Database,
) -> None:
    server_id = add(database)
    reschedule(database, server_id, SLOT - MINUTE, interval_s=300)
    record(database, SLOT, [ping(server_id)])
    assert state(database, SLOT + 10 * MINUTE) == State.UP
    assert state(database, SLOT + 11 * MINUTE) == State.UNOBSERVED


@pytest.mark.parametrize("ahead_s", [0, 3600])
def test_a_server_is_listed_also_when_the_clock_that_added_it_was_ahead(
    database: Database, ahead_s: int
) -> None:
    with database.transaction() as session:
        added = SLOT + ahead_s * SECOND
        servers_change.add(session, ServerWanted(name="web", ip=IP), database.settings, added)
    assert state(database, SLOT) == State.UNOBSERVED
