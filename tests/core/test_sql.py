"""Times come back as they were sent, from both databases."""

from datetime import UTC, timedelta, timezone

import pytest
from sqlalchemy import select
from sqlalchemy.exc import StatementError

from core import models
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
    naive = select(models.Ping).where(models.Ping.slot == SLOT.replace(tzinfo=None))
    with pytest.raises(StatementError, match="no time zone"), database.reading() as session:
        session.scalars(naive)
    assert works(database)
