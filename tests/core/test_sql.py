"""Times come back as they were sent, from both databases."""

import json
from datetime import UTC, datetime, timedelta, timezone

import pytest
from sqlalchemy import BigInteger, Double, String, cast, func, literal, select
from sqlalchemy.exc import StatementError

from core import models
from core.slots import slot_number
from core.sql import incoming, microseconds
from infra.database import Database
from tests.infra.databases import works
from tests.infra.rows import SLOT, add, ping, record, stored

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
