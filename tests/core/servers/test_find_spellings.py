"""Servers' names: one name in every spelling; what is from before stays and is found."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from sqlalchemy import update

from core.clock import utc_now
from core.errors import IdUnknown, NameTaken, NameUnknown, WrongRequest
from core.export import give, take_list
from core.models import Server
from core.servers import change, find, lists
from core.servers.records import BulkServer, FleetQuery, ServerChange, ServerWanted, Sort
from infra.database import Database
from tests.infra.databases import names
from tests.infra.rows import IP, SLOT, add
from tests.infra.statements import counted

COMPOSED, APART = "caf\u00e9", "cafe\u0301"
SPOOF = "web\u202egpj.exe"


def add_older(database: Database, name: str) -> int:
    """Add a server of a name that nobody could give it today, as an older release did."""
    server_id = add(database, "was")
    with database.transaction() as session:
        session.execute(update(Server).where(Server.id == server_id).values(name=name))
    return server_id


def put(database: Database, *wanted: str, ip: str = IP, upsert: bool = False) -> list[str]:
    """Put servers of these names; return what became of each."""
    said = [BulkServer(name=name, ip=ip) for name in wanted]
    with database.transaction() as session:
        done = change.put(session, said, database.settings, SLOT, upsert=upsert)
    return [one.status for one in done]


def test_a_name_is_one_in_both_spellings(database: Database) -> None:
    server_id = add(database, APART)
    assert names(database) == [COMPOSED]
    for spelling in (COMPOSED, APART):
        with pytest.raises(NameTaken):
            add(database, spelling)
        with database.reading() as session:
            assert find.by_name(session, spelling).id == server_id
            page = find.page(session, FleetQuery(name=spelling), utc_now())
            assert [one.id for one in page.servers] == [server_id]
    with database.transaction() as session:
        moved = ServerWanted(name=APART, ip="127.0.0.9")
        change.change(session, moved, database.settings, SLOT)
        change.remove(session, APART)
    assert names(database) == []


def test_of_spellings_added_at_once_one_is_added(database: Database) -> None:
    """The unique index decides: all of them are kept in one spelling."""
    together = Barrier(4)

    def try_to(spelling: str) -> bool:
        together.wait()
        try:
            return add(database, spelling) > 0
        except NameTaken:
            return False

    with ThreadPoolExecutor(4) as threads:
        for number in range(5):
            ends = [f"{name} {number}" for name in (COMPOSED, APART) * 2]
            assert sum(threads.map(try_to, ends)) == 1
    assert names(database) == [f"{COMPOSED} {number}" for number in range(5)]


def test_spellings_in_one_request_appear_twice(database: Database) -> None:
    assert put(database, COMPOSED, APART, SPOOF, "web") == [
        *("CREATED", "NAME_ALREADY_EXIST", "WRONG_REQUEST", "CREATED"),
    ]
    assert put(database, APART, "web", upsert=True) == ["UNCHANGED", "UNCHANGED"]
    assert names(database) == [COMPOSED, "web"]


@pytest.mark.parametrize("name", [APART, SPOOF])
def test_an_older_name_goes_on_working(database: Database, name: str) -> None:
    server_id = add_older(database, name)
    with database.reading() as session:
        assert find.by_name(session, name).id == server_id
    with database.transaction() as session:
        moved = ServerWanted(name=name, ip="127.0.0.9")
        change.change(session, moved, database.settings, SLOT)
        same = ServerChange(name=name, ip="127.0.0.8")
        change.alter(session, server_id, same, database.settings, SLOT)
    assert put(database, name, ip="127.0.0.7", upsert=True) == ["UPDATED"]
    assert put(database, name) == ["NAME_ALREADY_EXIST"]
    with pytest.raises(NameTaken):
        add(database, name)
    assert names(database) == [name]
    with database.transaction() as session:
        change.remove(session, name)
    assert names(database) == []


def test_an_older_spelling_is_found_by_the_new_one_and_keeps_its_name(database: Database) -> None:
    server_id = add_older(database, APART)
    with pytest.raises(NameTaken):
        add(database, COMPOSED)
    with database.reading() as session:
        assert find.by_name(session, COMPOSED).id == server_id
    assert put(database, COMPOSED, ip="127.0.0.7", upsert=True) == ["UPDATED"]
    assert names(database) == [APART]
    with database.transaction() as session:
        change.alter(session, server_id, ServerChange(name=COMPOSED), database.settings, SLOT)
    assert names(database) == [COMPOSED]


def test_older_servers_of_both_spellings_are_each_found_as_given(database: Database) -> None:
    ids = {COMPOSED: add(database, COMPOSED), APART: add_older(database, APART)}
    with database.reading() as session:
        assert {name: find.by_name(session, name).id for name in ids} == ids
    assert put(database, COMPOSED, APART, upsert=True) == ["UNCHANGED", "UNCHANGED"]
    with database.transaction() as session:
        with pytest.raises(NameTaken):
            change.alter(session, ids[APART], ServerChange(name=COMPOSED), database.settings, SLOT)
        change.remove(session, APART)
    assert names(database) == [COMPOSED]


def test_a_server_is_renamed_to_no_older_spelling_and_to_nothing_unseen(
    database: Database,
) -> None:
    add_older(database, APART)
    web = add(database, "web")
    with database.transaction() as session:
        with pytest.raises(NameTaken):
            change.alter(session, web, ServerChange(name=COMPOSED), database.settings, SLOT)
        with pytest.raises(WrongRequest, match="U\\+202E") as refusal:
            change.alter(session, web, ServerChange(name=SPOOF), database.settings, SLOT)
        assert refusal.value.field == "name"
        change.alter(session, web, ServerChange(name=f"{APART}!"), database.settings, SLOT)
        with pytest.raises(IdUnknown):
            change.alter(session, web + 1, ServerChange(name=SPOOF), database.settings, SLOT)
    assert names(database) == [APART, f"{COMPOSED}!"]


def test_what_is_new_and_unseen_is_refused_with_its_field(database: Database) -> None:
    with database.transaction() as session:
        with pytest.raises(WrongRequest, match="U\\+202E") as refusal:
            change.add(session, ServerWanted(name=SPOOF, ip=IP), database.settings, SLOT)
        assert refusal.value.field == "name"
        with pytest.raises(NameUnknown):
            find.by_name(session, SPOOF)
    listed = lists.read(f"{SPOOF},{IP}\nweb,{IP}")
    refused = pytest.raises(WrongRequest, match="line 1: name must")
    with refused, database.reading() as session:
        take_list.steps(session, listed, database.settings, SLOT)
    assert names(database) == []


def test_an_export_with_older_names_is_taken_twice_and_changes_nothing(database: Database) -> None:
    for name in (APART, SPOOF, "\u0416"):
        add_older(database, name)
    with database.reading() as session:
        written = lists.to_csv(give.plain(session, SLOT).values())
    for _time in range(2):
        with database.reading() as session:
            read = lists.read(written)
            [step] = take_list.steps(session, read, database.settings, SLOT, upsert=True)
        assert database.write(step) == {"UNCHANGED": 3}
    assert names(database) == [APART, SPOOF, "\u0416"]


SORTED = ["A", "Z", "a", "z", "\u00c4", "\u00e4", "\u0416", "\u65e5", "\U0001f600"]


def test_a_list_by_name_is_in_order_of_the_characters_numbers(database: Database) -> None:
    """On every database, wherever it was made, and from page to page."""
    for name in reversed(SORTED):
        add(database, name)
    for sort, wanted in ((Sort.NAME, SORTED), (Sort.NAME_LAST, SORTED[::-1])):
        shown: list[str] = []
        after = ""
        while after is not None:
            query = FleetQuery(sort=sort, limit=2, after=after)
            with database.reading() as session:
                page = find.page(session, query, utc_now())
            shown += [one.name for one in page.servers]
            after = page.next
        assert shown == wanted


def test_a_search_folds_case_of_every_script(database: Database) -> None:
    for name in ("z\u00fcrich", "Stra\u00dfe", "\u041c\u043e\u0441\u043a\u0432\u0430"):
        add(database, name)
    add_older(database, "Zu\u0308rich-West")
    every = names(database)
    for sought, found in (
        ("Z\u00dcRICH", [every[0], every[3]]),
        ("STRASSE", [every[1]]),
        ("\u041c\u041e\u0421", [every[2]]),
        (IP[:6], every),
        ("%", []),
    ):
        with database.reading() as session, counted(database) as statements:
            page = find.page(session, FleetQuery(search=sought), utc_now())
        assert [one.name for one in page.servers] == found, sought
        assert sum(page.totals.values()) == len(found)
        assert len(statements) <= 4


def test_plain_names_are_asked_for_as_before(database: Database) -> None:
    add(database, "web")
    with database.transaction() as session, counted(database) as statements:
        find.by_name(session, "web")
        assert len(statements) == 1
        assert find.names_here(session, ["web", "mail"]) == {}
        assert len(statements) == 1
