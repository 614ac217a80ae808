"""Servers that turn bad at once go into one incident, that of their group."""

from typing import Any

import pytest

from core.incidents.records import Extent, How
from infra.database import Database
from tests.core.incidents.fleets import (
    fleet,
    good,
    incidents,
    lines,
    members,
    shown,
    together,
)
from tests.core.incidents.rounds import begin
from tests.infra.rows import MINUTE, SLOT, add
from tests.infra.statements import counted


def test_most_of_the_fleet_is_one_incident(database: Database) -> None:
    ids = fleet(database, 6)
    together(database, {one: "bb" if one in ids[:4] else "gg" for one in ids})
    [one] = incidents(database)
    assert (one.extent, one.servers, one.server, one.tag) == (Extent.ALL, 4, None, None)
    assert (one.opened, one.confirmed) == (SLOT, SLOT + MINUTE)
    told = shown(database, one.id)
    assert members(told) == ids[:4]
    assert {(member.since, member.until) for member in told.members} == {(SLOT, None)}
    assert lines(told) == [("opened", None)]


@pytest.mark.parametrize(
    ("extent", "more", "named"),
    [
        (Extent.PARENT, {"parent": "switch", "tags": ["web"]}, {"parent": "switch"}),
        (Extent.TAG, {"tags": ["web"]}, {"tag": "web"}),
        (Extent.NETWORK, {"ip": "10.9.9.9"}, {"network": "10.9.9.0/24"}),
    ],
)
def test_a_group_is_named(
    database: Database, extent: Extent, more: dict[str, Any], named: dict[str, str]
) -> None:
    others = good(database) | {add(database, "switch"): "gg"}
    ids = [add(database, f"s{one}", **more) for one in range(5)]
    together(database, dict.fromkeys(ids, "bb") | others)
    [one] = incidents(database)
    found = {"parent": one.parent and one.parent.name, "tag": one.tag, "network": one.network}
    assert (one.extent, one.servers) == (extent, 5)
    assert found == dict.fromkeys(found) | named


def test_whoever_went_alone_a_slot_before_goes_along(database: Database) -> None:
    ids = fleet(database, 5)
    together(database, {one: "bbb" if one in ids[:2] else "gbb" for one in ids})
    first, second, group = incidents(database)
    assert [one.how for one in (first, second)] == [How.GROUP, How.GROUP]
    assert first.resolved == second.resolved == group.confirmed == SLOT + 2 * MINUTE
    assert (group.extent, group.servers, group.opened) == (Extent.ALL, 5, SLOT)
    assert lines(shown(database, first.id)) == [
        ("opened", None),
        ("resolved", f"goes on in incident {group.id}"),
    ]
    assert lines(shown(database, group.id)) == [
        ("opened", None),
        ("joined", f"incidents {first.id}, {second.id} go on here"),
    ]


def test_whoever_went_alone_earlier_stays_alone(database: Database) -> None:
    ids = fleet(database, 6)
    together(database, {one: "bbbb" if one in ids[:1] else "ggbb" for one in ids})
    alone, group = incidents(database)
    assert (alone.extent, alone.resolved) == (Extent.SERVER, None)
    assert (group.extent, group.servers) == (Extent.ALL, 5)


def test_who_turns_later_joins_for_15_minutes(database: Database) -> None:
    ids = fleet(database, 7)
    late = {5: 15 * "g" + "bb" + "b", 6: 16 * "g" + "bb"}
    together(database, {one: late.get(ids.index(one), 18 * "b") for one in ids})
    group, alone = incidents(database)
    assert (group.servers, alone.servers) == (6, 1)
    assert alone.server is not None
    assert alone.server.id == ids[6]
    assert lines(shown(database, group.id)) == [("opened", None), ("joined", "1 server")]


def test_several_slots_at_once_are_decided_as_one_by_one(database: Database) -> None:
    ids = fleet(database, 5)
    slow = add(database, "slow", "10.5.5.5")
    letters = dict.fromkeys(ids[:2], "bbb") | dict.fromkeys(ids[2:], "gbb")
    together(database, letters | {slow: "g--"})
    assert incidents(database) == []
    begin(database, SLOT + 4 * MINUTE)
    *alone, group = incidents(database)
    assert [one.how for one in alone] == [How.GROUP, How.GROUP]
    assert group.servers == 5


def test_many_take_the_statements_of_few(database: Database) -> None:
    few, many = fleet(database, 5), fleet(database, 30, "10.7", "web", tags=["web"])
    slot = together(database, dict.fromkeys([*few, *many], "b"))
    with counted(database) as statements:
        together(database, dict.fromkeys([*few, *many], "b"), slot)
    assert [one.servers for one in incidents(database)] == [5, 30]
    assert len(statements) < len(few) + len(many)
