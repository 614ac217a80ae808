"""Servers with their state: what the database derives is what the rule says of each by itself."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import delete

from core.checks.records import Probe, State
from core.models import Schedule, Server
from core.servers import find
from core.servers.records import FleetQuery, LastPing, Sort, Standing
from core.slots import AHEAD
from infra.database import Database
from tests.counts import examples
from tests.infra.rows import IP, MINUTE, SLOT, add, add_many, ping, record
from tests.infra.statements import counted

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
        state=State.DEGRADED,
        last_ping=heard,
    )


def test_one_whose_schedule_is_yet_to_begin_shows_its_first_one(database: Database) -> None:
    store(database, [Watched(None, [(SLOT + 2 * MINUTE, 300, True), (SLOT + MINUTE, 60, True)])])
    with database.reading() as session:
        [found] = find.standings(session, SLOT)
    assert (found.state, found.interval_s, found.enabled) == (State.UNOBSERVED, 60, True)


def test_the_list_of_some_is_in_order_of_creation_and_one_statement(database: Database) -> None:
    first, _second, third = add_many(database, ["zebra", "ape", "moth"])
    with database.reading() as session, counted(database) as statements:
        found = find.standings(session, SLOT, [third, first, 99])
        assert [one.id for one in found] == [first, third]
        assert find.standings(session, SLOT, []) == []
    assert len(statements) == 2


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
