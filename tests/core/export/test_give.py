"""What is given: pages that fit, cursors that go on, and plain lists of servers."""

from collections.abc import Iterator
from datetime import timedelta

import pytest
from sqlalchemy import delete

from core.clock import utc_now
from core.errors import WrongRequest
from core.export import give
from core.export.records import Exported
from core.history import upkeep
from core.models import Schedule
from core.servers import lists, parents, schedule
from core.slots import slot_of
from infra.database import Database
from tests.infra.rows import MINUTE, SLOT, add, add_many, ping, record


def pages(database: Database) -> Iterator[Exported]:
    """Yield every page of an export, each in a transaction of its own."""
    after: str | None = ""
    while after is not None:
        with database.reading() as session:
            page = give.page(session, after)
        yield page
        after = page.next


def plain_pages(database: Database) -> Iterator[bytes]:
    """Yield every page of the plain list."""
    after: str | None = ""
    while after is not None:
        with database.reading() as session:
            page, after = give.plain_page(session, after, utc_now())
        yield page


def test_an_empty_instance_gives_an_empty_page(database: Database) -> None:
    assert list(pages(database)) == [Exported()]
    assert list(plain_pages(database)) == [b"name,ip,probe,port,interval_s,enabled,tags,parent\n"]


def test_a_day_is_given_once_with_its_packed_and_its_raw_pings(database: Database) -> None:
    web = add(database)
    for number in range(3):
        record(database, SLOT + number * MINUTE, [ping(web, 1.0 + number)])
    with database.transaction() as session:
        upkeep.pack(session, SLOT.date(), [web])
        upkeep.forget_pings(session, SLOT.date(), 0, 7 * 60 + 3)
    record(database, SLOT + 3 * MINUTE, [ping(web, None)])
    [page] = pages(database)
    [day] = page.days
    assert (day.server, day.date) == ("web", SLOT.date())
    assert [tuple(row) for row in day.pings] == [
        (421, 1.0, 1.0, 1.0, 4, 4),
        (422, 2.0, 2.0, 2.0, 4, 4),
        (423, 3.0, 3.0, 3.0, 4, 4),
        (424, None, None, None, 4, 0),
    ]


@pytest.mark.parametrize("budget", [1, 200, 1_000, 900_000])
def test_however_small_its_pages_are_an_export_gives_everything_once(
    database: Database, monkeypatch: pytest.MonkeyPatch, budget: int
) -> None:
    names = ["a", "b", "c"]
    ids = [add(database, name, tags=(f"tag-{name}",)) for name in names]
    with database.transaction() as session:
        parents.put(session, {ids[0]: "c", ids[1]: "a"})
    for number in range(3):
        record(database, SLOT + timedelta(days=number), [ping(server_id) for server_id in ids])
    monkeypatch.setattr(give, "BUDGET", budget)
    given = list(pages(database))
    assert [(one.name, one.tags) for page in given for one in page.servers] == [
        (name, (f"tag-{name}",)) for name in names
    ]
    behind = [(one.server, one.parent) for page in given for one in page.parents]
    assert behind == [("a", "c"), ("b", "a")]
    dates = [SLOT.date() + timedelta(days=number) for number in range(3)]
    found = [(day.server, day.date) for page in given for day in page.days]
    assert found == [(name, date) for name in names for date in dates]


def test_a_read_that_holds_no_whole_day_says_where_to_look_next(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = [add(database, name) for name in ("a", "b")]
    for number in range(4):
        record(database, SLOT + number * MINUTE, [ping(server_id) for server_id in ids])
    monkeypatch.setattr(give, "RAW_AT_ONCE", 5)
    given = list(pages(database))
    assert [[(day.server, len(day.pings)) for day in page.days] for page in given] == [
        [("a", 4)],
        [("b", 4)],
    ]


def test_a_server_is_given_with_what_it_last_said_and_its_schedule(database: Database) -> None:
    web = add(database, port=443)
    record(database, SLOT, [ping(web, 2.5, port=443)])
    with database.transaction() as session:
        schedule.reschedule(session, {web: {"enabled": False}}, SLOT + MINUTE)
    [page] = pages(database)
    [kept] = page.servers
    assert kept.last_ping is not None
    assert (kept.last_ping.slot, kept.last_ping.response_ms) == (SLOT, 2.5)
    assert (kept.port, kept.last_port) == (443, 443)
    assert [(row.interval_s, row.enabled) for row in kept.schedule] == [(60, True), (60, False)]


def test_more_parents_than_are_read_at_once_are_given(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = [add(database, f"web {number}") for number in range(5)]
    monkeypatch.setattr(give, "SERVERS_AT_ONCE", 2)
    with database.transaction() as session:
        parents.put(session, dict.fromkeys(ids[:4], "web 4"))
    [page] = pages(database)
    assert [one.server for one in page.parents] == [f"web {number}" for number in range(4)]


def test_a_plain_server_is_given_with_its_tags_and_its_parent(database: Database) -> None:
    add(database, "switch")
    add(database, "web", tags=("eu", "web"), parent="switch")
    [page] = plain_pages(database)
    assert page.splitlines()[1:] == [
        b"switch,192.0.2.1,auto,,60,yes,,",
        b"web,192.0.2.1,auto,,60,yes,eu web,switch",
    ]


def test_a_plain_server_says_what_is_in_force(database: Database) -> None:
    web = add(database, port=443)
    now = slot_of(utc_now())
    with database.transaction() as session:
        schedule.reschedule(session, {web: {"enabled": False, "interval_s": 300}}, now)
    with database.reading() as session:
        found = give.plain(session, now + MINUTE)
    assert list(found.values()) == [
        {
            "name": "web",
            "ip": "192.0.2.1",
            "probe": "auto",
            "port": 443,
            "interval_s": 300,
            "enabled": False,
            "tags": None,
            "parent": None,
        }
    ]


def test_a_server_added_while_the_clock_was_ahead_keeps_its_interval_and_pause(
    database: Database,
) -> None:
    web = add(database)
    now = slot_of(utc_now())
    with database.transaction() as session:
        wanted = {"enabled": False, "interval_s": 300}
        schedule.reschedule(session, {web: wanted}, now + 60 * MINUTE)
        session.execute(delete(Schedule).where(Schedule.since < now + 60 * MINUTE))
    with database.reading() as session:
        [found] = give.plain(session, now).values()
    assert {name: found[name] for name in wanted} == wanted


def test_plain_pages_hold_no_more_than_a_list_may(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"server {number}" for number in range(10)]
    add_many(database, names)
    monkeypatch.setattr(give, "LIMIT", 4)
    given = list(plain_pages(database))
    read = [[entry.said for entry in lists.read(page)] for page in given]
    assert [len(page) for page in read] == [4, 4, 2]
    assert [page.count(b"\n") for page in given] == [5, 5, 3]


@pytest.mark.parametrize("after", ["x", "1.", "1.2.3.4", "-1", "1.2900000.1", "1" * 19, "\u0661"])
def test_a_cursor_that_no_page_gave_is_refused(database: Database, after: str) -> None:
    with database.reading() as session:
        with pytest.raises(WrongRequest, match="after"):
            give.page(session, after)
        with pytest.raises(WrongRequest, match="after"):
            give.plain_page(session, after, utc_now())
