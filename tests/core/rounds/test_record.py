"""Recording a round: whole, once, and never under the wrong server."""

import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from msgspec.structs import replace
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from core import models
from core.checks.records import Ping, Probe, Unobserved, quantised_ms
from core.history import slices
from core.history.records import HistoryRequest
from core.rounds import record as rounds_record
from core.servers import change, find
from core.servers.records import BulkServer, ServerChange, ServerWanted
from infra.database import Database
from tests.infra.rows import (
    IP,
    MINUTE,
    SLOT,
    add,
    add_many,
    ping,
    record,
    rows_in,
    server,
    stored,
    wait_for_a_blocked_one,
)

pytestmark = pytest.mark.driver

OTHER_IP = "192.0.2.2"


def in_the_middle(database: Database, change: Callable[[Any], object], measured: list[Ping]) -> int:
    """Record a round while another open transaction changes the servers; return new rows."""
    with ThreadPoolExecutor(1) as threads:
        with database.transaction() as session:
            change(session)
            session.flush()
            recording = threads.submit(record, database, SLOT, measured)
            wait_for_a_blocked_one(database)
        return recording.result(30)


def readdress(name: str, ip: str) -> Callable[[Any], object]:
    def change(session: Any) -> object:
        return session.execute(update(models.Server).values(ip=ip).filter_by(name=name))

    return change


def test_a_ping_is_a_row_and_the_newest_one_stands_on_its_server(database: Database) -> None:
    measured = Ping(add(database), IP, 4, 3, 35.2, 35.1, 35.4, Probe.TCP, 443)
    assert record(database, SLOT, [measured]) == 1
    with database.reading() as session:
        row = session.scalars(select(models.StoredPing)).one()
        assert (row.slot, row.sent, row.received, row.probe) == (SLOT, 4, 3, "tcp")
        assert (row.response_ms, row.best_ms, row.worst_ms) == (35.2, 35.1, 35.4)
    last = server(database)
    assert (last.last_slot, last.last_ms, last.last_port) == (SLOT, 35.2, 443)
    assert (last.last_sent, last.last_received) == (4, 3)


def test_a_round_without_pings_writes_nothing(database: Database) -> None:
    assert record(database, SLOT, []) == 0


def test_a_round_recorded_twice_changes_nothing(database: Database) -> None:
    server_id = add(database)
    assert record(database, SLOT, [ping(server_id, 1.0, port=22)]) == 1
    before = server(database)
    assert record(database, SLOT, [ping(server_id, 2.0, port=80)]) == 0
    assert stored(database) == [(server_id, SLOT, 1.0)]
    after = server(database)
    assert (after.last_ms, after.last_port) == (before.last_ms, before.last_port) == (1.0, 22)


def test_a_server_that_stands_twice_in_a_round_gets_one_row(database: Database) -> None:
    server_id = add(database)
    assert record(database, SLOT, [ping(server_id), ping(server_id)]) == 1


def test_null_means_that_no_echo_came_back(database: Database) -> None:
    server_id = add(database)
    record(database, SLOT, [ping(server_id, None)])
    assert stored(database) == [(server_id, SLOT, None)]
    last = server(database)
    assert (last.last_slot, last.last_ms, last.last_received) == (SLOT, None, 0)


def test_a_late_round_adds_its_rows_and_turns_nothing_back(database: Database) -> None:
    server_id = add(database)
    record(database, SLOT + MINUTE, [ping(server_id, 2.0, port=80)])
    assert record(database, SLOT, [ping(server_id, 1.0, port=22)]) == 1
    assert [slot for _id, slot, _ms in stored(database)] == [SLOT, SLOT + MINUTE]
    last = server(database)
    assert (last.last_slot, last.last_ms, last.last_port) == (SLOT + MINUTE, 2.0, 80)


def test_what_a_clock_that_was_ahead_left_behind_is_turned_back(database: Database) -> None:
    server_id = add(database)
    tomorrow = SLOT + timedelta(days=1)
    record(database, tomorrow, [ping(server_id, 9.0)], now=tomorrow)
    record(database, SLOT, [ping(server_id, None)], now=SLOT)
    last = server(database)
    assert (last.last_slot, last.last_ms, last.last_received) == (SLOT, None, 0)
    record(database, SLOT - MINUTE, [ping(server_id, 1.0)], now=SLOT)
    assert server(database).last_slot == SLOT


def test_a_clock_that_is_a_little_ahead_is_believed(database: Database) -> None:
    server_id = add(database)
    record(database, SLOT + 5 * MINUTE, [ping(server_id, 9.0)], now=SLOT)
    record(database, SLOT, [ping(server_id, None)], now=SLOT)
    assert server(database).last_slot == SLOT + 5 * MINUTE


def test_the_port_that_answered_is_kept_when_nothing_answers(database: Database) -> None:
    server_id = add(database)
    record(database, SLOT, [ping(server_id, 1.0, port=8080)])
    record(database, SLOT + MINUTE, [ping(server_id, None)])
    assert server(database).last_port == 8080


def test_what_is_stored_is_what_was_measured_to_the_last_digit(database: Database) -> None:
    chance = random.Random(1)
    times = [quantised_ms(10 ** chance.uniform(-2, 5)) for _ in range(600)]
    times += [0.0, 0.01, 0.29, 99.99, 100.0, 999.9, 1000.0, 12340.0]
    ids = add_many(database, [f"web-{number}" for number in range(len(times))])
    record(
        database,
        SLOT,
        [replace(ping(i, ms), best_ms=ms, worst_ms=ms) for i, ms in zip(ids, times, strict=True)],
    )
    row = models.StoredPing
    with database.reading() as session:
        kept = session.execute(
            select(row.response_ms, row.best_ms, row.worst_ms).order_by(row.server_id)
        ).all()
    assert [tuple(values) for values in kept] == [(ms, ms, ms) for ms in times]


def test_pings_of_servers_that_never_were_are_dropped_and_the_others_kept(
    database: Database,
) -> None:
    server_id = add(database)
    strangers = [ping(server_id + 1), ping(2**40), ping(-1)]
    assert record(database, SLOT, [*strangers, ping(server_id)]) == 1


def test_a_server_removed_during_the_round_loses_only_its_own_ping(database: Database) -> None:
    gone, kept = add_many(database, ["gone", "kept"])
    measured = [ping(gone), ping(kept)]
    assert in_the_middle(database, lambda s: change.remove(s, "gone"), measured) == 1
    assert stored(database) == [(kept, SLOT, 1.5)]
    assert server(database, "kept").last_slot == SLOT


def test_a_server_readdressed_during_the_round_gets_no_ping_of_its_old_address(
    database: Database,
) -> None:
    moved, kept = add_many(database, ["moved", "kept"])
    measured = [ping(moved), ping(kept)]
    assert in_the_middle(database, readdress("moved", OTHER_IP), measured) == 1
    assert stored(database) == [(kept, SLOT, 1.5)]
    assert server(database, "moved").last_slot is None


def test_a_server_recreated_under_its_name_during_the_round_gets_no_ping_of_the_old_one(
    database: Database,
) -> None:
    old, kept = add_many(database, ["web", "kept"])

    def recreate(session: Any) -> None:
        change.remove(session, "web")
        change.add(session, ServerWanted(name="web", ip=IP), database.settings, SLOT)

    assert in_the_middle(database, recreate, [ping(old), ping(kept)]) == 1
    assert stored(database) == [(kept, SLOT, 1.5)]
    assert server(database, "web").last_slot is None


def test_a_removal_that_comes_while_a_round_is_recorded_takes_that_row_too(
    database: Database,
) -> None:
    gone, kept = add_many(database, ["gone", "kept"])

    def remove() -> None:
        with database.transaction() as session:
            change.remove(session, "gone")

    with ThreadPoolExecutor(1) as threads:
        with database.transaction() as session:
            assert rounds_record.record(session, SLOT, [ping(gone), ping(kept)]) == 2
            removing = threads.submit(remove)
            wait_for_a_blocked_one(database)
        removing.result(30)
    assert stored(database) == [(kept, SLOT, 1.5)]


def test_two_recorders_of_one_round_write_each_ping_once(database: Database) -> None:
    ids = add_many(database, [f"web-{number}" for number in range(50)])
    with ThreadPoolExecutor(2) as threads:
        orders = [ids, ids[::-1]]
        recorded = threads.map(lambda o: record(database, SLOT, [ping(i) for i in o]), orders)
        assert sum(recorded) == len(ids)
    assert rows_in(database, SLOT) == len(ids)


def test_many_recorders_in_any_order_among_changes_and_removals_never_deadlock(
    database: Database,
) -> None:
    ids = add_many(database, [f"web-{number}" for number in range(40)])
    rounds = 25

    def recorder(seed: int) -> int:
        chance = random.Random(seed)
        new = 0
        for number in range(rounds):
            some = chance.sample(ids, 30)
            new += record(database, SLOT + number * MINUTE, [ping(i) for i in some])
        return new

    def meddler(seed: int) -> int:
        chance = random.Random(seed)
        for _ in range(rounds):
            with database.transaction() as session:
                name = f"web-{chance.randrange(30)}"
                change.change(session, BulkServer(name=name, ip=IP), database.settings, SLOT)
            with database.transaction() as session:
                name = f"extra-{seed}"
                change.add(session, ServerWanted(name=name, ip=IP), database.settings, SLOT)
            with database.transaction() as session:
                change.remove(session, name)
        return 0

    with ThreadPoolExecutor(8) as threads:
        work = [threads.submit(recorder, seed) for seed in range(6)]
        work += [threads.submit(meddler, seed) for seed in range(2)]
        new = sum(done.result(60) for done in work)
    assert len(stored(database)) == new


def test_the_newest_pings_come_oldest_first_and_say_where_the_page_before_ends(
    database: Database,
) -> None:
    server_id = add(database)
    for number in range(5):
        record(database, SLOT + number * MINUTE, [ping(server_id, number + 0.5)])
    with database.reading() as session:
        found = find.by_name(session, "web")
        page = slices.history(session, found, HistoryRequest("web", limit=2))
        assert page.pings == [(SLOT + 3 * MINUTE, 3.5), (SLOT + 4 * MINUTE, 4.5)]
        assert page.before == SLOT + 3 * MINUTE
        rest = slices.history(session, found, HistoryRequest("web", until=page.before, limit=3))
        assert [ms for _slot, ms in rest.pings] == [0.5, 1.5, 2.5]
        assert rest.before is None


def test_pages_forward_meet_without_a_gap_and_without_a_ping_twice(database: Database) -> None:
    server_id = add(database)
    slots = [SLOT + number * MINUTE for number in range(7)]
    for slot in slots:
        record(database, slot, [ping(server_id)])
    seen, since = [], SLOT
    with database.reading() as session:
        found = find.by_name(session, "web")
        while since is not None:
            page = slices.history(session, found, HistoryRequest("web", since=since, limit=3))
            seen += [slot for slot, _ms in page.pings]
            since = page.after
    assert seen == slots


def test_slots_that_are_no_whole_minutes_are_refused(database: Database) -> None:
    server_id = add(database)
    with pytest.raises(ValueError, match="slot must be a whole minute, got"):
        record(database, SLOT + MINUTE / 2, [ping(server_id)])


@pytest.mark.parametrize(
    ("wanted", "is_kept"),
    [
        ({"port": 8080}, False),
        ({"port": None}, False),
        ({"probe": Probe.ICMP}, False),
        ({"ip": "192.0.2.9"}, False),
        ({"name": "web 2"}, True),
        ({"interval_s": 300}, True),
        ({"port": 443, "probe": Probe.TCP}, True),  # as it was
    ],
)
def test_a_ping_of_a_server_that_is_looked_at_otherwise_by_now_is_dropped(
    database: Database, wanted: dict[str, Any], is_kept: bool
) -> None:
    server_id = add(database, probe=Probe.TCP, port=443)

    def alter(session: Session) -> None:
        change.alter(session, server_id, ServerChange(**wanted), database.settings, SLOT)

    assert in_the_middle(database, alter, [ping(server_id)]) == is_kept
    with database.reading() as session:
        target = find.target(session, server_id)
    assert target.revision == (0 if is_kept else 1)
    again = ping(server_id, ip=target.ip, revision=target.revision)
    assert record(database, SLOT + MINUTE, [again]) == 1


@pytest.mark.parametrize(("revision", "is_kept"), [(0, False), (1, True)])
def test_why_a_server_that_is_looked_at_otherwise_by_now_had_no_ping_is_dropped(
    database: Database, revision: int, *, is_kept: bool
) -> None:
    server_id = add(database)
    with database.transaction() as session:
        change.alter(session, server_id, ServerChange(port=80), database.settings, SLOT)
        lost = Unobserved(server_id, "no route", revision=revision)
        rounds_record.record(session, SLOT, [], unobserved=[lost])
        assert bool(session.execute(select(models.WHY)).all()) == is_kept
