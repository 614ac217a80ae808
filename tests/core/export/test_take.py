"""What is taken: what was measured elsewhere, added; lists of servers, all of them or none."""

from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import pytest
from sqlalchemy import func, select

from core.clock import utc_now
from core.errors import WrongRequest
from core.export import give, take
from core.export.records import (
    DayKept,
    Exported,
    Imported,
    LastPingKept,
    PlannedKept,
    ServerKept,
)
from core.models import Day, Server
from core.servers import lists
from infra.database import Database
from tests.infra.rows import IP, SLOT, add, server, stored

NOW = datetime(2026, 2, 1, tzinfo=UTC)
WEB = ServerKept(name="web", ip=IP, added=SLOT)
PINGS = [(421, 1.5, 1.0, 2.0, 4, 4), (422, None, None, None, 4, 0)]
DAY = DayKept(server="web", date=SLOT.date(), pings=PINGS)


def taken(database: Database, page: Exported, now: datetime = NOW) -> Imported:
    with database.transaction() as session:
        return take.take(session, page, database.settings, now)


def refused(database: Database, **page: Any) -> tuple[str | None, str]:
    """Return the field for which this page is refused, and the sentence."""
    with pytest.raises(WrongRequest) as caught:
        taken(database, Exported(**page))
    return caught.value.field, str(caught.value)


def listed(database: Database, text: str, **how: bool) -> dict[str, int]:
    """Take a list; return how often each outcome was."""
    entries = lists.read(text)
    with database.transaction() as session:
        return dict(take.take_list(session, entries, database.settings, NOW, **how))


def names(database: Database) -> list[str]:
    with database.reading() as session:
        return list(session.scalars(select(Server.name).order_by(Server.id)))


# Pages


def test_a_page_is_counted_as_it_is_added_and_not_again(database: Database) -> None:
    page = Exported(servers=[WEB], days=[DAY])
    assert taken(database, page, SLOT) == Imported(servers=1, schedules=1, pings=2)
    assert taken(database, page, SLOT) == Imported(servers=0, schedules=0, pings=0)
    assert stored(database) == [(1, SLOT, 1.5), (1, SLOT + timedelta(minutes=1), None)]


def test_what_is_given_is_what_was_taken(database: Database) -> None:
    heard = LastPingKept(slot=SLOT, response_ms=1.5, sent=4, received=4)
    planned = [
        PlannedKept(since=SLOT, interval_s=60, enabled=True),
        PlannedKept(since=SLOT + timedelta(days=1), interval_s=300, enabled=False),
    ]
    web = ServerKept(
        name="web", ip=IP, added=SLOT, port=443, last_port=443, last_ping=heard, schedule=planned
    )
    taken(database, Exported(servers=[web], days=[DAY]))
    with database.reading() as session:
        found = give.page(session, "")
        packed = session.scalar(select(func.count()).select_from(Day))
    assert found.servers == [web]
    assert [tuple(row) for row in found.days[0].pings] == PINGS
    assert packed == 1  # a day of a month ago is packed as it comes


def test_a_name_is_trimmed_and_a_time_before_1970_is_its_beginning(database: Database) -> None:
    early = datetime.fromisoformat("1970-01-01T01:00:00+02:00")
    taken(database, Exported(servers=[ServerKept(name=" web ", ip=IP, added=early)]))
    assert server(database, "web").added == datetime(1970, 1, 1, tzinfo=UTC)


def test_pings_of_a_server_that_is_here_already_are_added_to_it(database: Database) -> None:
    add(database)
    assert taken(database, Exported(days=[DAY]), SLOT).pings == 2


@pytest.mark.parametrize(
    ("ping", "sentence"),
    [
        ((0, 1.0, 2.0, 3.0, 4, 4), "mean must be between best and worst, got 1.0"),
        (
            (0, 1.0, None, 3.0, 4, 4),
            "a ping must have all of mean, best and worst, or none of them, got 2",
        ),
        ((0, 1.0, 1.0, 1.0, 4, 0), "times must be null where nothing was received, got 1.0"),
        ((0, None, None, None, 0, 0), "sent must be at least 1, got 0"),
        ((0, None, None, None, 3, 4), "received must be at most 3, got 4"),
    ],
)
def test_what_no_ping_can_add_up_to_is_refused(
    database: Database, ping: Any, sentence: str
) -> None:
    day = DayKept(server="web", date=SLOT.date(), pings=[ping])
    assert refused(database, servers=[WEB], days=[day]) == ("days[0].pings", sentence)
    assert names(database) == []


def test_the_future_is_refused_and_so_is_what_was_before_1970(database: Database) -> None:
    late = NOW + timedelta(minutes=6)
    ahead = ServerKept(name="web", ip=IP, added=late)
    assert refused(database, servers=[ahead]) == (
        "servers[0].added",
        "added must be a time in the past, got '2026-02-01T00:06:00Z'",
    )
    planned = ServerKept(
        name="web",
        ip=IP,
        added=SLOT,
        schedule=[PlannedKept(since=late, interval_s=60, enabled=True)],
    )
    assert refused(database, servers=[WEB, planned]) == (
        "servers[1].schedule",
        "since must be a time in the past, got '2026-02-01T00:06:00Z'",
    )
    tomorrow = DayKept(server="web", date=NOW.date(), pings=[(6, None, None, None, 4, 0)])
    assert refused(database, servers=[WEB], days=[tomorrow]) == (
        "days[0].pings",
        "a ping must be of a time in the past, got '2026-02-01T00:06:00Z'",
    )
    before = DayKept(server="web", date=date(1969, 12, 31), pings=[])
    assert refused(database, servers=[WEB], days=[before]) == (
        "days[0].date",
        "date must be 1970-01-01 or later, got '1969-12-31'",
    )
    old = ServerKept(name="web", ip=IP, added=datetime(1969, 12, 31, tzinfo=UTC))
    assert refused(database, servers=[old]) == (
        "servers[0].added",
        "added must be a time from 1970 to 8999, got '1969-12-31T00:00:00Z'",
    )


def test_a_time_of_1970_is_given_as_it_can_be_taken_again(database: Database) -> None:
    zone = timezone(timedelta(hours=2))
    for added in (datetime(1970, 1, 1, 1, tzinfo=zone), datetime(1970, 1, 1, tzinfo=UTC)):
        taken(database, Exported(servers=[ServerKept(name=str(added), ip=IP, added=added)]))
        with database.reading() as session:
            given = give.page(session, "")
        assert taken(database, given).servers == 0


def test_a_slot_is_refused_that_is_no_whole_minute(database: Database) -> None:
    heard = LastPingKept(slot=SLOT + timedelta(seconds=1), response_ms=1.5, sent=4, received=4)
    web = ServerKept(name="web", ip=IP, added=SLOT, last_ping=heard)
    field, sentence = refused(database, servers=[web])
    assert field == "servers[0].last_ping"
    assert sentence.startswith("slot must be a whole minute, got '")


def test_a_value_that_is_refused_stays_out_of_the_sentence_for_logs(database: Database) -> None:
    with pytest.raises(WrongRequest) as caught:
        taken(database, Exported(servers=[ServerKept(name="web", ip="127.1", added=SLOT)]))
    assert caught.value.field == "servers[0].ip"
    told = "ip must be an IPv4 address such as 192.0.2.10, got text of 5 characters"
    assert caught.value.logged == told


def test_an_address_that_may_not_be_probed_is_refused(database: Database) -> None:
    multicast = ServerKept(name="web", ip="224.0.0.1", added=SLOT)
    assert refused(database, servers=[multicast])[0] == "ip"


def test_pings_of_a_server_that_nobody_has_are_refused(database: Database) -> None:
    assert refused(database, days=[DAY]) == (
        "pings",
        "server must exist here or be on this page (import the pages in their order), got 'web'",
    )


# Lists


def test_a_list_is_added_as_a_whole_or_not_at_all(database: Database) -> None:
    assert listed(database, "web,192.0.2.1\nmail,192.0.2.2\n") == {"CREATED": 2}
    for wrong, place in (
        ("new,192.0.2.3\nbad,127.1\n", "line 2"),
        ("new,192.0.2.3\nbad,224.0.0.1\n", "line 2"),
        ("new,192.0.2.3\nweb,192.0.2.1\n", "line 2"),
        ("new,192.0.2.3\nmore,192.0.2.4\nnew,192.0.2.3\n", "line 3"),
    ):
        with pytest.raises(WrongRequest, match=f"nothing was imported:\n{place}: ") as caught:
            listed(database, wrong)
        assert caught.value.field == place
    assert names(database) == ["web", "mail"]


def test_those_that_exist_are_changed_or_passed_over_if_that_is_wanted(database: Database) -> None:
    add(database)
    text = "name,ip,port\nweb,192.0.2.9,443\nnew,192.0.2.3,\n"
    assert listed(database, text, skip=True) == {"NAME_ALREADY_EXIST": 1, "CREATED": 1}
    assert server(database).ip == IP
    assert listed(database, text, upsert=True) == {"UPDATED": 1, "UNCHANGED": 1}
    assert (server(database).ip, server(database).port) == ("192.0.2.9", 443)


def test_what_is_wrong_with_a_list_is_told_of_twenty(database: Database) -> None:
    with pytest.raises(WrongRequest) as caught:
        listed(database, "good,192.0.2.1\n" + "bad,127.1\n" * 22)
    told = str(caught.value).splitlines()
    assert len(told) == 22
    assert told[-1] == "and 2 more"


def test_a_list_that_was_given_is_taken(database: Database) -> None:
    add(database, '#1 "web", old', port=443)
    add(database, "=1+1")
    with database.reading() as session:
        page, _ = give.plain_page(session, "", utc_now())
    assert listed(database, page.decode(), upsert=True) == {"UNCHANGED": 2}


@pytest.mark.parametrize("start", ["", "\ufeff"])
def test_only_a_csv_of_before_that_holds_pings_is_refused_for_them(start: str) -> None:
    header = f"{start}record,server,time,ip\r\n"
    take.refuse_pings(f"{header}server,web,2026-01-01T00:00:00Z,192.0.2.1\r\n".encode())
    take.refuse_pings(f"{start}name,ip\nping,192.0.2.1\n".encode())
    with pytest.raises(WrongRequest, match="format=json"):
        take.refuse_pings(f"{header}ping,web,2026-01-01T00:00:00Z,\r\n".encode())
