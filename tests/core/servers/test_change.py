"""Servers: who is due when, what their state is, what a change forgets."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from msgspec import structs

from core import models
from core.checks.records import Probe, State, Target
from core.clock import utc_now
from core.errors import NameTaken, NameUnknown, WrongRequest
from core.rounds import record as rounds_record
from core.servers import change as servers_change
from core.servers import find, lists, schedule
from core.servers.records import BulkItem, BulkServer, ServerChange, ServerWanted
from infra.database import Database
from tests.infra.rows import (
    IP,
    MINUTE,
    SLOT,
    add,
    add_many,
    ping,
    record,
    server,
    wait_for_a_blocked_one,
)

SECOND = timedelta(seconds=1)
HOUR = SLOT.replace(minute=0)
OTHER_IP = "192.0.2.2"
WEB = ServerWanted(name="web", ip=IP)


def due(database: Database, slot: datetime = SLOT) -> list[int]:
    with database.reading() as session:
        return [target.server_id for target in find.targets(session, slot)]


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


def change(database: Database, ip: str = IP, **more: Any) -> None:
    with database.transaction() as session:
        servers_change.change(
            session, BulkServer(name="web", ip=ip, **more), database.settings, SLOT
        )


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
        servers_change.add(session, WEB, database.settings, moment)
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


def test_a_new_server_gets_the_interval_that_is_set(database: Database) -> None:
    with database.transaction() as session:
        slow = replace(database.settings, interval_s=1800)
        servers_change.add(session, WEB, slow, HOUR - SECOND)
    assert due(database, HOUR) != []
    assert due(database, HOUR + 15 * MINUTE) == []
    assert due(database, HOUR + 30 * MINUTE) != []


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
        servers_change.add(session, WEB, database.settings, added)
    assert state(database, SLOT) == State.UNOBSERVED


def test_another_address_forgets_what_the_old_one_said_and_keeps_its_history(
    database: Database,
) -> None:
    server_id = add(database)
    record(database, SLOT, [ping(server_id, port=443)])
    change(database, OTHER_IP)
    now = server(database)
    assert (now.id, now.ip) == (server_id, OTHER_IP)
    assert (now.last_slot, now.last_ms, now.last_sent) == (None, None, None)
    assert (now.last_received, now.last_port) == (None, None)
    assert record(database, SLOT, [ping(server_id, ip=OTHER_IP)]) == 0


def test_the_same_address_forgets_nothing(database: Database) -> None:
    record(database, SLOT, [ping(add(database), port=443)])
    change(database, probe=Probe.ICMP)
    now = server(database)
    assert (now.last_slot, now.last_ms, now.last_port, now.probe) == (SLOT, 1.5, 443, "icmp")


def test_probe_and_port_stay_where_nothing_is_said_of_them(database: Database) -> None:
    add(database, probe=Probe.TCP, port=8080)
    change(database, OTHER_IP)
    now = server(database)
    assert (now.probe, now.port) == ("tcp", 8080)


def test_a_change_forgets_also_what_is_being_recorded_at_that_moment(database: Database) -> None:
    server_id = add(database)
    with ThreadPoolExecutor(1) as threads:
        with database.transaction() as session:
            rounds_record.record(session, SLOT, [ping(server_id, port=443)])
            changing = threads.submit(change, database, OTHER_IP)
            wait_for_a_blocked_one(database)
        changing.result(30)
    now = server(database)
    assert (now.ip, now.last_slot, now.last_ms, now.last_port) == (OTHER_IP, None, None, None)


def test_two_changes_at_once_end_as_one_after_the_other(database: Database) -> None:
    add(database)
    with ThreadPoolExecutor(1) as threads:
        with database.transaction() as session:
            servers_change.change(
                session, BulkServer(name="web", ip=OTHER_IP), database.settings, SLOT
            )
            session.flush()
            changing = threads.submit(change, database, "192.0.2.3", port=81)
            wait_for_a_blocked_one(database)
        changing.result(30)
    now = server(database)
    assert (now.ip, now.port) == ("192.0.2.3", 81)


def test_a_pause_and_another_interval_at_once_are_both_kept(database: Database) -> None:
    server_id = add(database)

    def pause() -> None:
        with database.transaction() as session:
            wanted = ServerChange(enabled=False)
            servers_change.alter(session, server_id, wanted, database.settings, SLOT + MINUTE)

    with ThreadPoolExecutor(1) as threads:
        with database.transaction() as session:
            slower = ServerChange(interval_s=300)
            servers_change.alter(session, server_id, slower, database.settings, SLOT)
            pausing = threads.submit(pause)
            wait_for_a_blocked_one(database)
        pausing.result(30)
    with database.reading() as session:
        newest = schedule.schedules(session)[server_id][-1]
    assert newest == (SLOT + MINUTE, 300, False)


def test_a_name_that_is_taken_is_refused_and_the_transaction_goes_on(database: Database) -> None:
    add(database)
    with database.transaction() as session:
        with pytest.raises(NameTaken):
            servers_change.add(session, WEB, database.settings, SLOT)
        servers_change.add(session, ServerWanted(name="other", ip=IP), database.settings, SLOT)
    with database.reading() as session:
        assert find.names(session) == ["web", "other"]


def test_names_that_differ_in_case_are_two(database: Database) -> None:
    assert len(set(add_many(database, ["web", "WEB"]))) == 2


def test_of_two_that_want_one_name_at_once_one_gets_it(database: Database) -> None:
    def create(_number: int) -> bool:
        try:
            add(database)
        except NameTaken:
            return False
        return True

    with ThreadPoolExecutor(8) as threads:
        assert sum(threads.map(create, range(8))) == 1


def test_who_is_not_there_cant_be_changed_removed_or_found(database: Database) -> None:
    with database.transaction() as session:
        with pytest.raises(NameUnknown):
            servers_change.change(session, BulkServer(name="web", ip=IP), database.settings, SLOT)
        with pytest.raises(NameUnknown):
            servers_change.remove(session, "web")
        with pytest.raises(NameUnknown):
            find.by_name(session, "web")


def test_an_address_that_may_not_be_probed_from_here_is_refused(database: Database) -> None:
    strict = replace(database.settings, allow_loopback=False)
    add(database)
    with database.transaction() as session:
        with pytest.raises(WrongRequest, match="loopback"):
            servers_change.add(session, ServerWanted(name="me", ip="127.0.0.1"), strict, SLOT)
        with pytest.raises(WrongRequest, match="loopback"):
            servers_change.change(session, BulkServer(name="web", ip="127.0.0.1"), strict, SLOT)


# Many at once, each with its outcome

LIST = """\
name,ip,probe,port,interval_s,enabled
new,192.0.2.7,tcp,443,300,no
web,192.0.2.8,,,,
odd,192.0.2.9,,70000,,
multicast,224.0.0.1,,,,
new,192.0.2.10,,,,
last,192.0.2.11,,,,
"""


def put(database: Database, text: str, upsert: bool = False) -> list[tuple[str, str | None]]:
    """Put a list; return each server's word and, where it is refused, the field."""
    wanted: list[BulkServer | BulkItem] = [entry.said for entry in lists.read(text)]
    with database.transaction() as session:
        outcomes = servers_change.put(session, wanted, database.settings, utc_now(), upsert=upsert)
    return [(outcome.status, outcome.field) for outcome in outcomes]


def test_what_could_not_be_read_keeps_its_place_among_the_outcomes(database: Database) -> None:
    add(database, "web", IP)
    refused = [
        ("WRONG_REQUEST", "port"),
        ("WRONG_REQUEST", "ip"),
        ("NAME_ALREADY_EXIST", "name"),
    ]
    same = ("UNCHANGED", None)
    first = [("CREATED", None), ("NAME_ALREADY_EXIST", "name"), *refused, ("CREATED", None)]
    assert put(database, LIST) == first
    assert put(database, LIST, upsert=True) == [same, ("UPDATED", None), *refused, same]
    assert put(database, LIST, upsert=True) == [same, same, *refused, same]


def test_a_list_without_a_server_to_add_does_nothing(database: Database) -> None:
    assert put(database, "") == []
    assert put(database, "odd,192.0.2.9,,70000") == [("WRONG_REQUEST", "port")]


def test_a_server_of_a_clock_that_was_ahead_can_be_put_again(database: Database) -> None:
    with database.transaction() as session:
        later = utc_now() + timedelta(hours=1)
        server_id = servers_change.add(session, WEB, database.settings, later)
    assert put(database, "name,ip,enabled\nweb,192.0.2.1,no", upsert=True) == [("UPDATED", None)]
    with database.reading() as session:
        assert schedule.schedules(session) == {server_id: [(later, 60, False)]}


def test_what_is_said_already_changes_nothing(database: Database) -> None:
    server_id = add(database)
    with database.transaction() as session:
        same = ServerChange(name="web", ip=IP, interval_s=60, enabled=True)
        servers_change.alter(session, server_id, same, database.settings, SLOT)
    with database.reading() as session:
        assert len(schedule.schedules(session)[server_id]) == 1


def test_another_name_takes_none_that_is_taken(database: Database) -> None:
    web, _mail = add_many(database, ["web", "mail"])
    mail = ServerChange(name="mail", ip=OTHER_IP)
    with database.transaction() as session:
        with pytest.raises(NameTaken):
            servers_change.alter(session, web, mail, database.settings, SLOT)
        servers_change.alter(session, web, ServerChange(name="www"), database.settings, SLOT)
    with database.reading() as session:
        assert find.names(session) == ["www", "mail"]
        assert find.by_name(session, "www").ip == IP
