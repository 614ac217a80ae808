"""Maintenance is made, changed and removed; its times are laid down, and the past stays."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select

from core.errors import MaintenanceUnknown, WrongRequest
from core.incidents import maintenance
from core.incidents.maintenance_records import (
    Between,
    Maintenance,
    MaintenanceChange,
    MaintenanceQuery,
)
from core.incidents.maintenance_times import AHEAD
from core.models import MAINTENANCE_RANGE
from core.reading import iso
from core.servers.criteria import Criteria
from infra.database import Database
from tests.core.incidents.planned import hold, make
from tests.infra.rows import MINUTE, SLOT

NOW = SLOT + timedelta(seconds=30)
HOURLY = {"cron": "0 * * * *", "duration_m": 10}
DAY = timedelta(days=1)


def at(minute: int) -> datetime:
    return SLOT + minute * MINUTE


def ranges(database: Database) -> list[tuple[float, float, str]]:
    """Return what is laid down, in minutes since SLOT."""
    columns = MAINTENANCE_RANGE.c.since, MAINTENANCE_RANGE.c.until, MAINTENANCE_RANGE.c.name
    with database.reading() as session:
        rows = session.execute(select(*columns).order_by(*columns))
        return [
            ((since - SLOT) / MINUTE, (until - SLOT) / MINUTE, name) for since, until, name in rows
        ]


def told(database: Database, maintenance_id: int, now: datetime = NOW) -> Maintenance:
    with database.reading() as session:
        return maintenance.told(session, maintenance_id, now)


def change(database: Database, maintenance_id: int, now: datetime, **words: Any) -> None:
    with database.transaction() as session:
        maintenance.change(session, maintenance_id, MaintenanceChange.of(words), now)


def remove(database: Database, maintenance_id: int, now: datetime) -> None:
    with database.transaction() as session:
        maintenance.remove(session, maintenance_id, now)


def extend(database: Database, now: datetime) -> int:
    with database.transaction() as session:
        return maintenance.extend(session, now)


def test_it_is_told_as_it_was_made(database: Database) -> None:
    when = {"since": iso(at(5)), "until": iso(at(9))}
    made = make(database, when, NOW, name=" disks ", **{"for": {"tags": ["DB"]}, "counts": True})
    found = told(database, made)
    assert (found.name, found.whom, found.counts) == ("disks", Criteria(tags=("db",)), True)
    assert (found.when.since, found.when.until) == (when["since"], when["until"])
    assert (found.made, found.made_by) == (NOW, "ops")
    assert found.next == Between(since=at(5), until=at(9))
    assert told(database, made, at(9)).next is None


def test_what_has_begun_holds_from_the_slot_we_are_in(database: Database) -> None:
    make(database, {"since": iso(at(-60)), "until": iso(at(9))}, NOW)
    assert ranges(database) == [(0, 9, "patches")]


def test_what_comes_again_is_laid_down_90_days_ahead_and_what_has_begun_too(
    database: Database,
) -> None:
    make(database, HOURLY, NOW)
    found = ranges(database)
    assert found[:2] == [(0, 9, "patches"), (59, 69, "patches")]
    assert len(found) == AHEAD / timedelta(hours=1) + 1
    assert found[-1][0] * MINUTE + SLOT < NOW + AHEAD


def test_each_night_lays_down_a_day_more_and_twice_is_once(database: Database) -> None:
    make(database, HOURLY, NOW)
    hold(database, SLOT, 5)
    before = ranges(database)
    assert [extend(database, NOW + DAY) for _ in range(2)] == [1, 0]
    after = ranges(database)
    assert len(set(after)) == len(after) == len(before) + 24
    assert after[: len(before)] == before


def test_a_night_that_was_left_out_is_caught_up_with(database: Database) -> None:
    made = make(database, HOURLY, NOW)
    extend(database, NOW + 200 * DAY)
    assert len(ranges(database)) == (AHEAD + 200 * DAY) / timedelta(hours=1) + 1
    assert told(database, made, NOW + 150 * DAY).next is not None


def test_a_change_leaves_the_past(database: Database) -> None:
    made = make(database, HOURLY, NOW)
    now = at(62)
    change(database, made, now, name="less", when={**HOURLY, "duration_m": 5})
    found = ranges(database)
    assert found[:4] == [
        (0, 9, "patches"),
        (59, 62, "patches"),
        (62, 64, "less"),
        (119, 124, "less"),
    ]
    assert {name for *_, name in found[2:]} == {"less"}
    assert told(database, made, now).when.duration_m == 5


def test_what_a_change_does_not_name_stays(database: Database) -> None:
    made = make(database, HOURLY, NOW, **{"for": {"names": ["eu-*"]}})
    change(database, made, NOW, counts=True)
    found = told(database, made)
    assert (found.name, found.whom.names, found.counts) == ("patches", ("eu-*",), True)
    assert found.when.cron == HOURLY["cron"]


def test_what_is_removed_ends_with_the_slot_we_are_in(database: Database) -> None:
    made = make(database, HOURLY, NOW)
    remove(database, made, at(61) + timedelta(seconds=1))
    assert ranges(database) == [(0, 9, "patches"), (59, 62, "patches")]
    with pytest.raises(MaintenanceUnknown):
        told(database, made)


def test_what_is_removed_before_it_began_never_was(database: Database) -> None:
    remove(database, hold(database, at(5), 5), NOW)
    assert ranges(database) == []


def test_lists_have_what_is_to_come_or_what_is_over_in_pages(database: Database) -> None:
    over = [hold(database, at(number), 1) for number in range(3)]
    left = [hold(database, at(99), 1), make(database, HOURLY, NOW)]

    def page(**words: Any) -> tuple[list[int], int | None]:
        with database.reading() as session:
            found = maintenance.page(session, MaintenanceQuery(**words), at(50))
        return [one.id for one in found.maintenance], found.next

    assert page() == (left[::-1], None)
    assert page(over=True, limit=2) == (over[:0:-1], over[1])
    assert page(over=True, limit=2, before=over[1]) == ([over[0]], None)


def test_what_ended_long_ago_is_forgotten_and_what_comes_again_is_not(database: Database) -> None:
    hold(database, SLOT, 5)
    again = make(database, HOURLY, NOW)
    with database.transaction() as session:
        assert maintenance.forget(session, at(60)) == 2
        page = maintenance.page(session, MaintenanceQuery(over=True), at(60))
    assert page.maintenance == []
    assert told(database, again).id == again
    assert ranges(database)[0][0] == 59


@pytest.mark.parametrize("number", [4711, 2**63])
def test_what_is_not_there_is_not_found(database: Database, number: int) -> None:
    with pytest.raises(MaintenanceUnknown):
        told(database, number)
    with pytest.raises(MaintenanceUnknown):
        change(database, number, NOW)
    with pytest.raises(MaintenanceUnknown):
        remove(database, number, NOW)


def test_a_refused_change_changes_nothing(database: Database) -> None:
    made = make(database, HOURLY, NOW)
    before = ranges(database)
    for words in ({"name": " "}, {"when": {"cron": "x", "duration_m": 5}}, {"name": "a\u200bb"}):
        with pytest.raises(WrongRequest):
            change(database, made, NOW, **words)
    assert ranges(database) == before
