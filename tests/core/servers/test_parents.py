"""Parents of servers: who can have which, and what is kept of it."""

from collections.abc import Mapping

from hypothesis import given
from hypothesis import strategies as st

from core.servers import parents
from infra.database import Database
from tests.infra.rows import add_many
from tests.infra.statements import counted

NAMES = "abcdefgh"
EDGES = st.dictionaries(st.sampled_from(NAMES), st.sampled_from(NAMES))


def refused(
    wanted: Mapping[str, str | None], coming: str = "", there: str = "", **known: str
) -> dict[str, str]:
    """Return the sentence of each that is refused."""
    found = parents.refusals(wanted, [*wanted, *coming], {*there}, known)
    assert all(error.field == "parent" for error in found.values())
    return {name: str(error) for name, error in found.items()}


def test_a_parent_may_be_there_or_come_at_once() -> None:
    assert refused({"a": "b", "b": "c"}, there="c") == {}
    assert refused({"a": "b", "b": None}) == {}
    assert refused({"a": "b"}, coming="b") == {}


def test_no_server_stands_behind_itself() -> None:
    assert refused({"a": "a"}, there="a") == {"a": "parent must be another server, got 'a'"}


def test_a_parent_that_nobody_is_refuses_all_that_would_come_behind_it() -> None:
    unknown = "parent must be a server that exists, got '{}'"
    assert refused({"a": "ghost", "b": "a", "c": "b", "d": None}, there="b") == {
        "a": unknown.format("ghost"),
        "b": unknown.format("a"),
    }


def test_a_circle_is_refused_wherever_it_is_closed() -> None:
    assert refused({"a": "b", "b": "a", "c": "a"}, there="c") == {
        "a": "parent must not stand behind the server itself, got 'b'",
        "b": "parent must not stand behind the server itself, got 'a'",
        "c": "parent must be a server that exists, got 'a'",
    }
    assert set(refused({"c": "a"}, there="abc", a="b", b="c")) == {"c"}


def test_of_several_at_once_it_counts_what_they_add_up_to() -> None:
    assert refused({"b": "a", "a": None}, there="ab", a="b") == {}


def test_who_is_refused_keeps_what_it_has_and_nobody_closes_a_circle_with_that() -> None:
    wanted = {"a": "c", "c": "a", "b": "a"}
    assert set(refused(wanted, there="abc", a="b")) == {"a", "b", "c"}


@given(known=EDGES, wanted=EDGES, there=st.sets(st.sampled_from(NAMES)))
def test_what_is_granted_has_no_circle_and_no_parent_that_is_not_there(
    known: dict[str, str], wanted: dict[str, str], there: set[str]
) -> None:
    known = {one: known[one] for one in known if {one, known[one]} <= there and one > known[one]}
    found = parents.refusals(wanted, wanted, there, known)
    granted = {one: parent for one, parent in wanted.items() if one not in found}
    after = known | granted
    assert {*after, *after.values()} <= there | granted.keys()
    for start in after:
        seen, at = set(), start
        while at in after and at not in seen:
            seen.add(at)
            at = after[at]
        assert at not in seen, f"{at} stands behind itself"
    depths = parents.depths(NAMES, after)
    assert all(depths[one] == depths[after[one]] + 1 for one in after)


def test_parents_are_replaced_taken_away_and_counted(database: Database) -> None:
    switch, web, mail = add_many(database, ["switch", "web", "mail"])
    with database.transaction() as session:
        assert parents.put(session, {web: "switch", mail: "switch"}) == {web, mail}
        assert parents.put(session, {web: "switch", mail: "web", switch: None}) == {mail}
        assert parents.of(session, [web, mail, switch]) == {web: "switch", mail: "web"}
        assert parents.by_name(session) == {"web": "switch", "mail": "web"}
        assert [parents.children(session, one) for one in (switch, web, mail)] == [1, 1, 0]
        assert parents.put(session, {web: None}) == {web}
        assert parents.by_name(session) == {"mail": "web"}


def test_however_many_parents_are_put_in_three_statements(database: Database) -> None:
    first, *others = add_many(database, [f"web {number}" for number in range(50)])
    with database.transaction() as session:
        parents.put(session, dict.fromkeys(others[:25], "web 0"))
        with counted(database) as statements:
            parents.put(session, dict.fromkeys(others[:5]) | dict.fromkeys(others[5:], "web 1"))
        assert len(statements) == 3
        assert parents.children(session, first) == 0


def test_in_a_circle_there_is_no_order_and_an_end() -> None:
    circle = {"a": "b", "b": "c", "c": "a", "d": "a", "e": "e"}
    found = parents.depths(circle, circle)
    assert found.keys() == circle.keys()
    assert found["d"] == found["a"] + 1
