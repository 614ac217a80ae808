"""Which slots of a server are exempt, for itself or for whom it is behind."""

from datetime import datetime
from typing import Any

import pytest

from core.servers import exempt
from core.servers.exempt import is_exempt
from core.servers.schedule import Span
from core.slots import slot_number
from infra.database import Database
from tests.core.incidents.planned import hold
from tests.infra.rows import MINUTE, SLOT, add
from tests.infra.statements import counted

FIRST = slot_number(SLOT)


def at(minute: int) -> datetime:
    return SLOT + minute * MINUTE


def spans(database: Database, *ids: int, left_out: bool = False) -> dict[int, list[Any]]:
    """Return which of ten slots are exempt, counted from SLOT."""
    find = exempt.left_out if left_out else exempt.exempt
    with database.reading() as session:
        found = find(session, ids, FIRST, FIRST + 10)
    return {
        one: [(span.first - FIRST, span.end - FIRST) for span in some]
        for one, some in found.items()
    }


def test_without_maintenance_nobody_is_and_one_statement_says_so(database: Database) -> None:
    server_id = add(database)
    hold(database, at(10), 5)
    with counted(database) as sent:
        assert spans(database, server_id) == {}
    assert len(sent) == 1


@pytest.mark.parametrize(
    ("whom", "held"),
    [
        ({}, ["router", "switch", "web", "db"]),
        ({"tags": ["eu"]}, ["web"]),
        ({"names": ["s*", "db"]}, ["switch", "web", "db"]),
        ({"names": ["router"]}, ["router", "switch", "web"]),
        ({"tags": ["eu"], "names": ["s*"]}, []),
        ({"tags": ["nobody"]}, []),
    ],
)
def test_whoever_is_meant_and_whoever_is_behind(
    database: Database, whom: dict[str, list[str]], held: list[str]
) -> None:
    ids = {"router": add(database, "router")}
    ids["switch"] = add(database, "switch", parent="router")
    ids["web"] = add(database, "web", parent="switch", tags=("eu",))
    ids["db"] = add(database, "db")
    hold(database, at(2), 3, **{"for": whom})
    found = spans(database, *ids.values())
    assert found == {ids[name]: [(2, 5)] for name in held}


def test_several_at_once_are_one_and_what_lies_outside_is_cut_off(database: Database) -> None:
    server_id = add(database)
    for first, minutes in ((-2, 3), (1, 2), (2, 3), (7, 10)):
        hold(database, at(first), minutes)
    assert spans(database, server_id) == {server_id: [(0, 5), (7, 10)]}


def test_what_counts_all_the_same_is_not_left_out(database: Database) -> None:
    server_id = add(database)
    hold(database, at(1), 4, counts=True)
    assert spans(database, server_id, left_out=True) == {}
    hold(database, at(2), 1)
    assert spans(database, server_id, left_out=True) == {server_id: [(2, 3)]}
    assert spans(database, server_id) == {server_id: [(1, 5)]}


def test_a_thousand_servers_cost_few_statements(database: Database) -> None:
    ids = [add(database, f"web-{number}", tags=("web",)) for number in range(20)]
    hold(database, at(0), 5, **{"for": {"tags": ["web"]}})
    with counted(database) as sent:
        assert len(spans(database, *ids)) == len(ids)
    assert len(sent) <= 4


def test_a_slot_is_exempt_from_the_first_to_before_the_end() -> None:
    some = [Span(1, 3, 1), Span(5, 6, 1)]
    assert [slot for slot in range(8) if is_exempt(some, slot)] == [1, 2, 5]
