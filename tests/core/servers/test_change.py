"""Servers added, changed and removed: what stays, what is forgotten, what waits for what."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from core.checks.records import Probe
from core.clock import utc_now
from core.errors import NameTaken, NameUnknown, WrongRequest
from core.rounds import record as rounds_record
from core.servers import change as servers_change
from core.servers import find, lists
from core.servers.records import BulkItem, BulkServer, ServerChange, ServerWanted
from infra.database import Database
from tests.infra.rows import (
    IP,
    MINUTE,
    SLOT,
    add,
    add_many,
    due,
    ping,
    record,
    server,
    wait_for_a_blocked_one,
)

HOUR = SLOT.replace(minute=0)
SECOND = timedelta(seconds=1)
OTHER_IP = "192.0.2.2"


def change(database: Database, ip: str = IP, **more: Any) -> None:
    with database.transaction() as session:
        servers_change.change(
            session, BulkServer(name="web", ip=ip, **more), database.settings, SLOT
        )


def test_a_new_server_gets_the_interval_that_is_set(database: Database) -> None:
    with database.transaction() as session:
        slow = replace(database.settings, interval_s=1800)
        servers_change.add(session, ServerWanted(name="web", ip=IP), slow, HOUR - SECOND)
    assert due(database, HOUR) != []
    assert due(database, HOUR + 15 * MINUTE) == []
    assert due(database, HOUR + 30 * MINUTE) != []


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


def test_a_name_that_is_taken_is_refused_and_the_transaction_goes_on(database: Database) -> None:
    add(database)
    with database.transaction() as session:
        with pytest.raises(NameTaken):
            servers_change.add(session, ServerWanted(name="web", ip=IP), database.settings, SLOT)
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
        ("WRONG_REQUEST", "name"),
    ]
    same = ("UNCHANGED", None)
    first = [("CREATED", None), ("NAME_ALREADY_EXIST", "name"), *refused, ("CREATED", None)]
    assert put(database, LIST) == first
    assert put(database, LIST, upsert=True) == [same, ("UPDATED", None), *refused, same]
    assert put(database, LIST, upsert=True) == [same, same, *refused, same]


def test_a_list_without_a_server_to_add_does_nothing(database: Database) -> None:
    assert put(database, "") == []
    assert put(database, "odd,192.0.2.9,,70000") == [("WRONG_REQUEST", "port")]


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


def test_many_servers_are_cut_into_portions_and_a_name_counts_once_in_all(
    database: Database,
) -> None:
    names = [f"web {number}" for number in range(servers_change.AT_ONCE)]
    wanted = [BulkServer.saying({"name": name, "ip": IP}) for name in (*names, "web 0", "last")]
    with database.reading() as session:
        whole = servers_change.checked(session, wanted, database.settings)
        first, second = servers_change.portions(session, whole)
    assert [*first, *second] == [*range(servers_change.AT_ONCE + 2)]
    assert len(second) == 2
    outcomes = [
        outcome
        for some in (first, second)
        for outcome in database.write(
            partial(
                servers_change.put,
                wanted=[whole[place] for place in some],
                settings=database.settings,
                now=utc_now(),
            )
        )
    ]
    assert [one.status for one in outcomes] == [
        *["CREATED"] * len(names),
        "NAME_ALREADY_EXIST",
        "CREATED",
    ]
    assert outcomes[-2].detail == "this name appears twice in the request"


# Tags and parents


def shown(database: Database) -> dict[str, tuple[list[str], str | None]]:
    """Return each server's tags and parent, by its name."""
    with database.reading() as session:
        return {
            one.name: (list(one.tags), one.parent) for one in find.standings(session, utc_now())
        }


def alter(database: Database, server_id: int, **said: Any) -> None:
    with database.transaction() as session:
        wanted = ServerChange.of(said)
        servers_change.alter(session, server_id, wanted, database.settings, SLOT)


def test_a_server_is_added_with_tags_and_a_parent_which_a_change_replaces(
    database: Database,
) -> None:
    switch = add(database, "switch", tags=("net",))
    web = add(database, "web", tags=("eu", "web"), parent="switch")
    assert shown(database) == {"switch": (["net"], None), "web": (["eu", "web"], "switch")}
    alter(database, web, name="www", tags=["us"])
    alter(database, switch, name="router")
    assert shown(database) == {"router": (["net"], None), "www": (["us"], "router")}
    alter(database, web, parent=None, tags=[])
    assert shown(database)["www"] == ([], None)


def test_the_contract_keeps_tags_and_parent(database: Database) -> None:
    add(database, "switch")
    add(database, "web", tags=("eu",), parent="switch")
    change(database, OTHER_IP)
    assert shown(database)["web"] == (["eu"], "switch")


@pytest.mark.parametrize(
    ("parent", "reason"),
    [
        ("ghost", "parent must be a server that exists, got 'ghost'"),
        ("web", "parent must be another server, got 'web'"),
        ("mail", "parent must not stand behind the server itself, got 'mail'"),
    ],
)
def test_a_parent_that_a_server_cant_have_is_refused_by_name(
    database: Database, parent: str, reason: str
) -> None:
    web = add(database)
    add(database, "mail", parent="web")
    with pytest.raises(WrongRequest, match=reason) as refusal:
        alter(database, web, parent=parent, ip=OTHER_IP)
    assert refusal.value.field == "parent"
    assert server(database).ip == IP
    with pytest.raises(WrongRequest, match="parent must be a server that exists, got 'ghost'"):
        add(database, "new", parent="ghost")
    with pytest.raises(WrongRequest, match="parent must be another server, got 'new'"):
        add(database, "new", parent="new")
    assert "new" not in shown(database)


def test_who_is_removed_is_nobodys_parent_and_it_is_said_whose_it_was(database: Database) -> None:
    switch = add(database, "switch")
    for name in ("web", "mail"):
        add(database, name, parent="switch")
    with database.transaction() as session:
        assert servers_change.remove(session, "web") == 0
    add(database, "web", parent="switch")
    with database.transaction() as session:
        assert servers_change.remove_id(session, switch) == 2
    assert shown(database) == {"mail": ([], None), "web": ([], None)}


FAMILY = """\
name,ip,tags,parent
web,192.0.2.1,eu web,rack
rack,192.0.2.2,,switch
switch,192.0.2.3,net,
lost,192.0.2.4,,ghost
left,192.0.2.5,,lost
"""


def test_a_parent_may_come_later_and_an_unknown_one_refuses_what_is_behind_it(
    database: Database,
) -> None:
    created, refused, same = ("CREATED", None), ("WRONG_REQUEST", "parent"), ("UNCHANGED", None)
    assert put(database, FAMILY) == [created, created, created, refused, refused]
    there = {
        "web": (["eu", "web"], "rack"),
        "rack": ([], "switch"),
        "switch": (["net"], None),
    }
    assert shown(database) == there
    assert put(database, FAMILY, upsert=True) == [same, same, same, refused, refused]
    assert shown(database) == there


def test_an_upsert_replaces_tags_and_parent_where_they_are_given(database: Database) -> None:
    put(database, FAMILY)
    updated, same = ("UPDATED", None), ("UNCHANGED", None)
    assert put(database, "web,192.0.2.1\nrack,192.0.2.2", upsert=True) == [same, same]
    assert shown(database)["web"] == (["eu", "web"], "rack")
    swapped = """[
        {"name": "switch", "ip": "192.0.2.3", "parent": "rack", "tags": []},
        {"name": "rack", "ip": "192.0.2.2", "parent": null},
        {"name": "web", "ip": "192.0.2.1", "tags": ["web"]}
    ]"""
    assert put(database, swapped, upsert=True) == [updated, updated, updated]
    assert shown(database) == {
        "web": (["web"], "rack"),
        "rack": ([], None),
        "switch": ([], "rack"),
    }


def test_a_circle_in_a_list_is_refused_and_hurts_no_other(database: Database) -> None:
    put(database, FAMILY)
    circle = "name,ip,parent\nswitch,192.0.2.3,web\nnew,192.0.2.9,rack"
    outcomes = [("WRONG_REQUEST", "parent"), ("CREATED", None)]
    assert put(database, circle, upsert=True) == outcomes
    taken = [("NAME_ALREADY_EXIST", "name"), ("NAME_ALREADY_EXIST", "name")]
    assert put(database, circle) == taken
    of_new = "name,ip,parent\none,192.0.2.9,two\ntwo,192.0.2.9,one\nthree,192.0.2.9,switch"
    refused = ("WRONG_REQUEST", "parent")
    assert put(database, of_new) == [refused, refused, ("CREATED", None)]


def test_of_two_that_want_to_stand_behind_each_other_at_once_one_may(database: Database) -> None:
    ids = [add(database, name) for name in ("web", "mail")]
    pairs = list(zip(ids, ("mail", "web"), strict=True))

    def give(pair: tuple[int, str]) -> bool:
        try:
            alter(database, pair[0], parent=pair[1])
        except WrongRequest:
            return False
        return True

    with ThreadPoolExecutor(2) as threads:
        for _attempt in range(5):
            assert sum(threads.map(give, pairs)) == 1
            for one in ids:
                alter(database, one, parent=None)


def test_a_parent_is_never_put_after_its_child(database: Database) -> None:
    number = servers_change.AT_ONCE
    said = [
        {"name": "web", "ip": IP, "parent": "switch"},
        *({"name": f"web {one}", "ip": IP} for one in range(1, number)),
        {"name": "switch", "ip": IP},
    ]
    wanted = [BulkServer.saying(one) for one in said]
    with database.reading() as session:
        whole = servers_change.checked(session, wanted, database.settings)
        first, second = servers_change.portions(session, whole)
    assert [*first, *second] == [*range(1, number + 1), 0]
