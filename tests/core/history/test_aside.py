"""Slots to come: out of the way in one step, raw and packed, and nothing before them changes."""

from datetime import timedelta

import pytest
from sqlalchemy import select

from core.history import aside, upkeep
from core.models import ASIDE, DAY
from core.rounds import log as round_log
from core.slots import AHEAD
from infra.database import Database
from tests.infra.rows import MINUTE, SLOT, add, counts, ping, record, server, stored

HOUR = timedelta(hours=1)


def set_aside(database: Database) -> int:
    with database.transaction() as session:
        return aside.set_aside(session, SLOT)


def kept_aside(database: Database) -> list[tuple[object, ...]]:
    with database.reading() as session:
        columns = ASIDE.c.datetime, ASIDE.c.response_time, ASIDE.c.sent, ASIDE.c.since
        rows = session.execute(select(*columns).order_by(ASIDE.c.datetime))
        return [tuple(row) for row in rows]


def pack(database: Database, server_id: int, *days: int) -> None:
    """Pack the day of SLOT and others after it."""
    with database.transaction() as session:
        for number in days:
            upkeep.pack(session, SLOT.date() + timedelta(days=number), [server_id])


def test_raw_pings_of_slots_to_come_are_kept_elsewhere_and_the_server_shows_the_one_before(
    database: Database,
) -> None:
    server_id, never = add(database), add(database, "never before")
    past, future = SLOT - MINUTE, SLOT + 900 * 24 * HOUR
    for slot in (past, SLOT + AHEAD, future):
        record(database, slot, [ping(server_id, 2.5), ping(never, 3.5)][: 1 + (slot == future)])
    assert set_aside(database) == 2
    assert [slot for _id, slot, _ms in stored(database)] == [past, SLOT + AHEAD]
    assert kept_aside(database) == [(future, 2.5, 4, SLOT), (future, 3.5, 4, SLOT)]
    assert (server(database).last_slot, server(database).last_ms) == (SLOT + AHEAD, 2.5)
    assert server(database, "never before").last_slot is None
    assert set_aside(database) == 0
    assert record(database, future, [ping(server_id)]) == 1


def test_packed_pings_of_slots_to_come_leave_their_days(database: Database) -> None:
    server_id = add(database)
    times = {SLOT - MINUTE: 1.25, SLOT + 3 * HOUR: None, SLOT + 24 * HOUR: 4.5}
    for slot, ms in times.items():
        record(database, slot, [ping(server_id, ms)])
    pack(database, server_id, 0, 1)
    with database.transaction() as session:
        for number in (0, 1):
            upkeep.forget_pings(session, SLOT.date() + timedelta(days=number), 0, 1_440)
    assert counts(database) == (0, 2)
    assert set_aside(database) == 2
    assert counts(database) == (0, 1)
    assert kept_aside(database) == [
        (slot, ms, 4, SLOT) for slot, ms in times.items() if slot > SLOT
    ]
    with database.reading() as session:
        [day] = session.execute(select(DAY)).mappings()
    assert (day["up"], day["down"], day["hundredths"], day["best_ms"]) == (1, 0, 125, 1.25)
    record(database, SLOT + 3 * HOUR, [ping(server_id, 7.0)])
    pack(database, server_id, 0)
    with database.reading() as session:
        [day] = session.execute(select(DAY)).mappings()
    assert (day["up"], day["down"], day["hundredths"]) == (2, 0, 825)


@pytest.mark.parametrize(("ahead", "found"), [(AHEAD, False), (AHEAD + MINUTE, True)])
def test_slots_to_come_are_noticed_by_a_ping_or_by_a_round(
    database: Database, ahead: timedelta, found: bool
) -> None:
    server_id = add(database)
    with database.transaction() as session:
        assert not aside.holds_slots_to_come(session, SLOT)
        round_log.begin(session, SLOT + ahead, 1, SLOT)
        assert aside.holds_slots_to_come(session, SLOT) == found
        aside.set_aside(session, SLOT)
        assert not aside.holds_slots_to_come(session, SLOT)
    record(database, SLOT + ahead, [ping(server_id)])
    with database.reading() as session:
        assert aside.holds_slots_to_come(session, SLOT) == found


def test_what_was_set_aside_goes_when_it_is_old(database: Database) -> None:
    server_id = add(database)
    record(database, SLOT + HOUR, [ping(server_id)])
    set_aside(database)
    for before, count in ((SLOT, 1), (SLOT + MINUTE, 0)):
        with database.transaction() as session:
            aside.forget(session, before)
        assert len(kept_aside(database)) == count


def test_a_slot_to_come_that_is_raw_and_packed_is_set_aside_once(database: Database) -> None:
    server_id = add(database)
    record(database, SLOT + HOUR, [ping(server_id, 2.5)])
    pack(database, server_id, 0)  # its raw row stays for two days
    assert set_aside(database) == 1
    assert len(kept_aside(database)) == 1
    assert set_aside(database) == 0


def test_a_server_of_which_only_days_are_left_shows_the_newest_of_them(database: Database) -> None:
    server_id = add(database)
    record(database, SLOT - MINUTE, [ping(server_id, 2.5)])
    record(database, SLOT + HOUR, [ping(server_id, 3.5)])
    pack(database, server_id, 0)
    with database.transaction() as session:
        upkeep.forget_pings(session, SLOT.date(), 0, 1_440)
    set_aside(database)
    shown = server(database)
    assert (shown.last_slot, shown.last_ms) == (SLOT - MINUTE, 2.5)
