"""Packing: slots are only ever added, whatever comes late, twice, at once or not at all."""

import random
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

from sqlalchemy import func, select

from core import models
from core.history import upkeep
from core.history.codec import Slots
from core.rounds import record as rounds_record
from core.servers import change
from core.slots import SLOT
from infra.database import Database
from tests.core.history.histories import (
    DATES,
    DAY,
    FIRST,
    History,
    a_ping,
    add,
    fill,
    forget_day,
    midnight,
    pack_day,
    read_pages,
    record,
    reschedule,
)
from tests.infra.rows import wait_for_a_blocked_one

TODAY = DATES[0]


def row(database: Database, server_id: int) -> models.Day:
    """Return a server's only packed day, detached."""
    with database.reading() as session:
        found = session.scalars(select(models.Day).where(models.Day.server_id == server_id)).one()
        session.expunge(found)
        return found


def count(database: Database, table: type[models.Base]) -> int:
    """Return how many rows a table has."""
    with database.reading() as session:
        return session.scalar(select(func.count()).select_from(table)) or 0


def test_a_packed_day_says_what_it_adds_up_to(database: Database) -> None:
    history = add(database)
    fill(database, history, 60, 4, 4, 2, 0)
    reschedule(database, history, FIRST + 100 * SLOT, enabled=False)
    assert pack_day(database, TODAY, [history.server_id]) == 1
    packed = row(database, history.server_id)
    assert (packed.up, packed.degraded, packed.down, packed.unobserved) == (2, 1, 1, 96)
    assert (packed.sent, packed.received, packed.timed) == (16, 10, 3)
    means = [p.response_ms for p in history.pings.values() if p.response_ms is not None]
    assert packed.hundredths == sum(round(ms * 100) for ms in means)
    assert (packed.p50_ms, packed.p99_ms) == (sorted(means)[1], sorted(means)[2])
    assert Slots(packed.packed).states == "." * 60 + "++~-" + "." * 1_376


def test_packing_twice_changes_nothing(database: Database) -> None:
    history = add(database)
    fill(database, history, 0, *[4] * 50)
    pack_day(database, TODAY, [history.server_id])
    before = row(database, history.server_id).packed
    assert pack_day(database, TODAY, [history.server_id]) == 0
    assert row(database, history.server_id).packed == before


def test_a_late_ping_is_added_when_the_raw_rows_of_its_day_are_long_gone(
    database: Database,
) -> None:
    history = add(database)
    fill(database, history, 0, *[4] * 50)
    pack_day(database, TODAY, [history.server_id])
    assert forget_day(database, TODAY) == 50
    fill(database, history, 60, 0)
    assert read_pages(database, "web", 1_000, forward=True) == history.page()
    assert forget_day(database, TODAY) == 0  # it isn't packed yet, so it stays
    assert pack_day(database, TODAY, [history.server_id]) == 1
    assert forget_day(database, TODAY) == 1
    assert count(database, models.StoredPing) == 0
    assert read_pages(database, "web", 1_000, forward=True) == history.page()
    assert row(database, history.server_id).down == 1


def test_a_ping_that_comes_again_after_it_was_packed_changes_nothing(database: Database) -> None:
    history = add(database)
    fill(database, history, 0, 4, 4)
    pack_day(database, TODAY, [history.server_id])
    forget_day(database, TODAY)
    record(database, FIRST, a_ping(random.Random(9), history.server_id, 500.0))
    assert read_pages(database, "web", 10, forward=True) == history.page()
    assert pack_day(database, TODAY, [history.server_id]) == 0
    assert forget_day(database, TODAY) == 1
    assert read_pages(database, "web", 10, forward=True) == history.page()


def test_only_the_days_own_slots_are_packed_and_forgotten(database: Database) -> None:
    history = add(database, FIRST - DAY)
    fill(database, history, -1, 4, 4)
    fill(database, history, 1_439, 4, 4)
    pack_day(database, TODAY, [history.server_id])
    assert row(database, history.server_id).up == 2
    assert forget_day(database, TODAY) == 2
    assert read_pages(database, "web", 10, forward=False) == history.page()


def test_a_server_that_is_gone_is_passed_over(database: Database) -> None:
    gone, kept = add(database, name="gone"), add(database, name="kept")
    for history in (gone, kept):
        fill(database, history, 0, 4)
    with database.transaction() as session:
        change.remove(session, "gone")
    assert pack_day(database, TODAY, [gone.server_id, kept.server_id, 999]) == 1


def test_a_removal_waits_for_the_packer_and_takes_the_day_along(database: Database) -> None:
    gone, kept = add(database, name="gone"), add(database, name="kept")
    for history in (gone, kept):
        fill(database, history, 0, 4)

    def remove() -> None:
        with database.transaction() as session:
            change.remove(session, "gone")

    with ThreadPoolExecutor(1) as threads:
        with database.transaction() as session:
            assert upkeep.pack(session, TODAY, [gone.server_id, kept.server_id]) == 2
            removing = threads.submit(remove)
            wait_for_a_blocked_one(database)
        removing.result(250)
    assert count(database, models.Day) == 1


def test_a_packer_waits_for_a_removal_and_passes_over_what_is_gone(database: Database) -> None:
    gone, kept = add(database, name="gone"), add(database, name="kept")
    for history in (gone, kept):
        fill(database, history, 0, 4)
    with ThreadPoolExecutor(1) as threads:
        with database.transaction() as session:
            change.remove(session, "gone")
            session.flush()
            packing = threads.submit(pack_day, database, TODAY, [gone.server_id, kept.server_id])
            wait_for_a_blocked_one(database)
        assert packing.result(250) == 1


def test_two_packers_at_once_add_to_each_other(database: Database) -> None:
    history = add(database)
    fill(database, history, 0, 4)
    with ThreadPoolExecutor(1) as threads:
        with database.transaction() as session:
            assert upkeep.pack(session, TODAY, [history.server_id]) == 1
            second = threads.submit(pack_day, database, TODAY, [history.server_id])
            wait_for_a_blocked_one(database)
        assert second.result(250) == 0
    assert row(database, history.server_id).up == 1


def test_a_round_is_recorded_while_a_packer_is_at_work(postgres_settings: object) -> None:
    database = Database(postgres_settings)
    history = add(database)
    fill(database, history, 0, 4)
    with database.transaction() as packing:
        upkeep.pack(packing, TODAY, [history.server_id])
        with database.transaction() as recording:
            ping = a_ping(random.Random(1), history.server_id, 1.0)
            assert rounds_record.record(recording, FIRST + SLOT, [ping]) == 1
    database.engine.dispose()


def test_the_dates_of_raw_rows_are_found_however_far_apart(database: Database) -> None:
    history = add(database)
    for minute in (0, 1_439, 1_440 * 900, 1_440 * 901 - 1, 1_440 * 902):
        fill(database, history, minute, 4)
    with database.reading() as session:
        far = (FIRST + 900 * DAY).date()
        assert upkeep.raw_dates(session, (FIRST + 902 * DAY).date()) == [TODAY, far]
        assert upkeep.raw_dates(session, TODAY) == []


def test_servers_without_a_packed_day_are_those_that_were_there(database: Database) -> None:
    packed, waiting = add(database, name="packed"), add(database, name="waiting")
    add(database, FIRST + DAY, name="later")
    for history in (packed, waiting):
        fill(database, history, 5, 4)
    pack_day(database, TODAY, [packed.server_id])
    forget_day(database, TODAY)
    with database.reading() as session:
        assert upkeep.unpacked(session, TODAY) == [waiting.server_id]
        assert upkeep.unforgotten(session, TODAY) == [waiting.server_id]


def test_old_days_go_and_young_ones_stay(database: Database) -> None:
    history = add(database)
    for number in range(4):
        fill(database, history, number * 1_440, 4)
        pack_day(database, TODAY + timedelta(days=number), [history.server_id])
    with database.transaction() as session:
        assert upkeep.forget_days(session, TODAY + timedelta(days=3), [history.server_id], 9) == 3
        left = session.scalars(select(models.Day.date)).all()
    assert left == [TODAY + timedelta(days=3)]


def test_old_days_go_some_at_a_time(database: Database) -> None:
    history = add(database)
    for number in range(4):
        fill(database, history, number * 1_440, 4)
        pack_day(database, TODAY + timedelta(days=number), [history.server_id])
    for left in ([2, 3], [3], [3]):
        with database.transaction() as session:
            upkeep.forget_days(session, TODAY + timedelta(days=3), [history.server_id], 2)
            dates = session.scalars(select(models.Day.date).order_by(models.Day.date)).all()
        assert dates == [TODAY + timedelta(days=number) for number in left]


def test_days_of_one_server_never_enter_anothers(database: Database) -> None:
    histories: list[History] = [add(database, name=name) for name in ("a", "b", "c")]
    for place, history in enumerate(histories):
        fill(database, history, place * 10, *[4] * 15)
    pack_day(database, TODAY, [history.server_id for history in histories])
    forget_day(database, TODAY)
    for history in histories:
        assert read_pages(database, history.name, 10, forward=False) == history.page()
    assert midnight(TODAY) == FIRST
