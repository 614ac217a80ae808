"""Times come back as they were sent, from both databases."""

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from sqlalchemy import (
    BigInteger,
    Boolean,
    Double,
    String,
    cast,
    delete,
    func,
    literal,
    select,
    true,
    update,
)
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import StatementError
from sqlalchemy.types import TypeEngine

from core import models
from core.models import Latch
from core.slots import slot_number
from core.sql import NOW, as_rows, given_ids, incoming, inserted, microseconds, written
from infra.database import Database
from tests.infra.databases import works
from tests.infra.rows import MINUTE, SLOT, add, ping, record, stored

pytestmark = pytest.mark.driver


def test_times_come_back_aware_and_in_utc(database: Database) -> None:
    east = timezone(timedelta(hours=5, minutes=30))
    record(database, SLOT.astimezone(east), [ping(add(database))])
    [(_id, slot, _ms)] = stored(database)
    assert (slot, slot.tzinfo) == (SLOT, UTC)


def test_a_time_without_a_zone_is_refused(database: Database) -> None:
    naive = select(models.StoredPing).where(models.StoredPing.slot == SLOT.replace(tzinfo=None))
    with pytest.raises(StatementError, match="no time zone"), database.reading() as session:
        session.scalars(naive)
    assert works(database)


def test_many_rows_travel_as_one_parameter(database: Database) -> None:
    rows = [[7, "it's ☂", 1.5], [2**62, "", None]]
    wanted = incoming({"id": BigInteger(), "name": String(), "ms": Double()})
    with database.reading() as session:
        query = select(wanted.c.id, wanted.c.name, wanted.c.ms)
        found = session.execute(query, {"rows": json.dumps(rows)}).all()
    assert [list(row) for row in found] == rows


def test_ids_are_given_one_a_row(database: Database) -> None:
    with database.reading() as session:
        found = session.scalars(given_ids(), {"rows": as_rows([one] for one in (7, 2**40))}).all()
    assert sorted(found) == [7, 2**40]


@pytest.mark.parametrize("year", [1970, 2026, 2200])
def test_a_time_crosses_as_microseconds_and_loses_none(database: Database, year: int) -> None:
    moment = datetime(year, 3, 1, 7, 1, 59, 999_999, tzinfo=UTC)
    after = cast(literal(microseconds(moment)), BigInteger())
    with database.reading() as session:
        assert session.scalar(select(func.time_at(after))) == moment


@pytest.mark.parametrize("year", [1970, 2026, 2200])
def test_a_slot_crosses_as_its_number(database: Database, year: int) -> None:
    slot = datetime(year, 3, 1, 7, 1, tzinfo=UTC)
    stored_slot = func.time_at(cast(literal(microseconds(slot)), BigInteger()))
    with database.reading() as session:
        assert session.scalar(select(func.epoch_minute(stored_slot))) == slot_number(slot)


def test_every_element_of_a_row_crosses_as_what_it_is(database: Database) -> None:
    row = ["", "1", '"quoted"', "null", 0, -1, 2**53, 0.1, 1e300, True, False, None]
    kinds: dict[type, TypeEngine[Any]] = {
        str: String(),
        int: BigInteger(),
        float: Double(),
        bool: Boolean(),
        type(None): String(),
    }
    wanted = incoming({f"at_{at}": kinds[type(one)] for at, one in enumerate(row)})
    with database.reading() as session:
        [found] = session.execute(select(wanted), {"rows": json.dumps([row])}).all()
    assert list(found) == row


NAMES = incoming({"name": String()})
LATCH = Latch.metadata.tables["latch"]
KNOWN = select(LATCH.c.name, LATCH.c.since).where(LATCH.c.name.in_(select(NAMES.c.name)))
ADD = (
    insert(LATCH)
    .from_select(["name", "since"], select(NAMES.c.name, NOW).where(true()))
    .on_conflict_do_nothing()
)


def parameters(*names: str, now: datetime = SLOT) -> dict[str, object]:
    return {"rows": json.dumps([[name] for name in names]), "now": now}


@pytest.mark.parametrize("returning", [True, False])
def test_only_what_is_new_is_returned_with_or_without_returning(
    database: Database, monkeypatch: pytest.MonkeyPatch, returning: bool
) -> None:
    monkeypatch.setattr(database.engine.dialect, "insert_returning", returning)
    with database.transaction() as session:
        first = inserted(session, ADD, KNOWN, parameters("a", "b"))
        later = inserted(session, ADD, KNOWN, parameters("b", "c", now=SLOT + MINUTE))
        again = inserted(session, ADD, KNOWN, parameters("a", "c", now=SLOT + 2 * MINUTE))
    assert sorted((row.name, row.since) for row in first) == [("a", SLOT), ("b", SLOT)]
    assert [(row.name, row.since) for row in later] == [("c", SLOT + MINUTE)]
    assert again == []


def test_what_was_written_is_counted_and_what_was_kept_out_is_not(database: Database) -> None:
    with database.transaction() as session:
        assert written(session, ADD, parameters("a", "b")) == 2
        assert written(session, ADD, parameters("b", "c")) == 1
        assert written(session, ADD, parameters("a", "b")) == 0
        assert written(session, update(LATCH).where(LATCH.c.name < "c").values(since=SLOT)) == 2
        assert written(session, update(LATCH).where(LATCH.c.name > "c").values(since=SLOT)) == 0
        assert written(session, delete(LATCH).where(LATCH.c.name == "a")) == 1
        assert written(session, delete(LATCH).where(LATCH.c.name == "a")) == 0
