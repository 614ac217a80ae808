"""What the judge is to be asked about."""

import pytest

from core.incidents.look import NOTHING_FOUND, Case, Found, look
from core.incidents.rules import DEFAULT_ID
from core.incidents.when import Seen
from core.slots import slot_number
from infra.database import Database
from tests.core.incidents.rounds import arrive, begin, minutes
from tests.infra.rows import MINUTE, SLOT, add


def seen(database: Database, slots: int = 1) -> Found:
    with database.transaction() as session:
        return look(session, SLOT, SLOT + (slots - 1) * MINUTE)


def test_of_quiet_servers_nothing_is_read(database: Database) -> None:
    first, second = add(database), add(database, "db")
    begin(database, SLOT)
    arrive(database, SLOT, [(first, "g"), (second, "x")])
    assert seen(database) == NOTHING_FOUND


@pytest.mark.parametrize("after", ["", "g"])
def test_who_had_no_echo_back_is_asked_about(database: Database, after: str) -> None:
    add(database)
    second = add(database, "db")
    for number, letter in enumerate("b" + after):
        arrive(database, SLOT + number * MINUTE, [(second, letter)])
    found = seen(database)
    assert list(found.cases) == [Case(second, DEFAULT_ID)]
    assert found.rows == {second: {slot_number(SLOT): Seen(4, 0, None)}}


def test_of_several_slots_one_bad_is_enough(database: Database) -> None:
    server_id = add(database)
    for number, letter in enumerate("gbg"):
        arrive(database, SLOT + number * MINUTE, [(server_id, letter)])
    rows = seen(database, 3).rows[server_id]
    assert [one.received for _, one in sorted(rows.items())] == [4, 0, 4]


def test_who_is_remembered_is_asked_about(database: Database) -> None:
    server_id = add(database)
    minutes(database, server_id, "b")
    with database.transaction() as session:
        found = look(session, SLOT + MINUTE, SLOT + MINUTE)
    assert found.cases[Case(server_id, DEFAULT_ID)].memory.verdicts == "b"
    assert server_id in found.plans
