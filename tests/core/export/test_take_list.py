"""Lists of servers: all of them are added or none, in short steps."""

from collections import Counter
from datetime import UTC, datetime

import pytest
from sqlalchemy import select

from core.clock import utc_now
from core.errors import WrongRequest
from core.export import give, take_list
from core.models import Server
from core.servers import change, lists
from infra.database import Database
from tests.infra.rows import IP, add, server

NOW = datetime(2026, 2, 1, tzinfo=UTC)


def steps_of(database: Database, text: str, **how: bool) -> list[take_list.Step]:
    with database.reading() as session:
        return take_list.steps(session, lists.read(text), database.settings, NOW, **how)


def listed(database: Database, text: str, **how: bool) -> dict[str, int]:
    """Take a list; return how often each outcome was."""
    return dict(sum(map(database.write, steps_of(database, text, **how)), Counter()))


def names(database: Database) -> list[str]:
    with database.reading() as session:
        return list(session.scalars(select(Server.name).order_by(Server.id)))


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


@pytest.mark.parametrize(
    ("tags", "told"),
    [
        ("eu a$b", "tags must each be 1 to 40 of a-z, 0-9, . _ and -, got 'a$b'"),
        (" ".join(map(str, range(21))), "tags must be at most 20, got 21"),
    ],
)
def test_a_wrong_tag_in_a_list_is_told_in_words(database: Database, tags: str, told: str) -> None:
    with pytest.raises(WrongRequest) as caught:
        listed(database, f"name,ip,tags\nweb,192.0.2.1,{tags}\n")
    assert str(caught.value) == f"nothing was imported:\nline 2: {told}"
    assert names(database) == []


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
    take_list.refuse_pings(f"{header}server,web,2026-01-01T00:00:00Z,192.0.2.1\r\n".encode())
    take_list.refuse_pings(f"{start}name,ip\nping,192.0.2.1\n".encode())
    with pytest.raises(WrongRequest, match="format=json"):
        take_list.refuse_pings(f"{header}ping,web,2026-01-01T00:00:00Z,\r\n".encode())


def test_what_is_wrong_anywhere_in_a_long_list_is_known_before_anything_is_added(
    database: Database,
) -> None:
    good = "".join(f"web {number},192.0.2.1\n" for number in range(2 * change.AT_ONCE))
    for wrong in ("web 3,192.0.2.3\n", "bad,127.1\n", "bad,224.0.0.1\n"):
        with pytest.raises(WrongRequest, match="nothing was imported:\nline 4001: "):
            listed(database, good + wrong)
    assert names(database) == []
    assert listed(database, good) == {"CREATED": 4_000}


def test_a_name_is_one_in_both_spellings_however_far_apart_they_stand(database: Database) -> None:
    others = "".join(f"web {number},192.0.2.1\n" for number in range(change.AT_ONCE))
    for how in ({}, {"upsert": True}):
        with pytest.raises(
            WrongRequest, match="nothing was imported:\nline 2002: this name appears"
        ):
            listed(database, f"caf\u00e9,192.0.2.1\n{others}cafe\u0301,192.0.2.2\n", **how)
    assert names(database) == []


def test_a_step_before_which_somebody_was_quicker_says_what_was_imported(
    database: Database,
) -> None:
    text = "".join(f"web {number},192.0.2.1\n" for number in range(change.AT_ONCE + 2))
    first, second = steps_of(database, text)
    add(database, "web 2001")
    database.write(first)
    with pytest.raises(WrongRequest, match="only 2,000 servers were imported:\nline 2002: "):
        database.write(second)
    assert "web 2000" not in names(database)
