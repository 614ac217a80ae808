"""While a parent is down nobody is told of what stands behind it."""

from core.incidents.records import Held, Incident
from core.servers import change
from core.servers.records import ServerChange
from infra.database import Database
from tests.core.incidents.fleets import fleet, good, incidents, lines, shown, together
from tests.infra.rows import add


def of(database: Database, name: str) -> Incident:
    return next(one for one in incidents(database) if one.server and one.server.name == name)


def test_a_parent_that_is_down_holds_its_child_until_it_is_good_again(database: Database) -> None:
    root, child = add(database, "switch"), add(database, parent="switch")
    slot = together(database, {root: "bb", child: "bb"})
    assert [of(database, one).held for one in ("switch", "web")] == [None, Held.PARENT]
    slot = together(database, {root: "gg", child: "bb"}, slot)
    assert of(database, "web").held is None
    together(database, {root: "gg", child: "gg"}, slot)
    assert lines(shown(database, of(database, "web").id)) == [
        ("opened", None),
        ("held", "switch is down"),
        ("released", "switch is no longer down"),
        ("resolved", None),
    ]


def test_a_parent_whose_newest_slot_is_bad_holds_already(database: Database) -> None:
    root, child = add(database, "switch"), add(database, parent="switch")
    slot = together(database, {root: "gb", child: "bb"})
    assert of(database, "web").held is Held.PARENT
    together(database, {root: "g", child: "b"}, slot)
    assert of(database, "web").held is None


def test_what_is_over_is_not_held(database: Database) -> None:
    root, child = add(database, "switch"), add(database, parent="switch")
    together(database, {root: "bbbb", child: "bbgg"})
    assert of(database, "web").held is None


def test_of_a_parent_that_is_another_one_now_nobody_is_held(database: Database) -> None:
    root, child = add(database, "switch"), add(database, parent="switch")
    slot = together(database, {root: "bb", child: "bb"})
    with database.transaction() as session:
        change.alter(session, child, ServerChange(parent=None), database.settings, slot)
    together(database, {root: "b", child: "b"}, slot)
    assert of(database, "web").held is None
    assert lines(shown(database, of(database, "web").id))[-1] == ("released", None)


def test_a_parents_children_are_held_together(database: Database) -> None:
    root = add(database, "switch")
    others = good(database)
    ids = fleet(database, 5, parent="switch")
    together(database, dict.fromkeys([root, *ids], "bb") | others)
    held = {one.extent: one.held for one in incidents(database)}
    assert held == {"server": None, "parent": Held.PARENT}


def test_a_parent_that_is_down_with_its_group_holds_too(database: Database) -> None:
    roots = fleet(database, 5, tags=["core"])
    child = add(database, parent="s0")
    together(database, dict.fromkeys([*roots, child], "bb") | good(database))
    assert of(database, "web").held is Held.PARENT
