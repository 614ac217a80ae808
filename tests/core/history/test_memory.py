"""What is read of many servers takes the room of their packed days, not of the unpacked ones."""

import random
import tracemalloc
from collections.abc import Callable
from datetime import timedelta

import pytest
from sqlalchemy import insert
from sqlalchemy.orm import Session

from core import models
from core.history import figures, slices
from core.history.codec import Rows, merged
from core.history.sums import totals
from core.servers import change
from core.servers.records import ServerWanted
from core.slots import DAY_SLOTS
from infra.database import Database
from tests.core.history.histories import DATES, IP, midnight

FLEET = 100
DAYS = 3
NOW = midnight(DATES[0] + timedelta(days=DAYS))
WINDOW = midnight(DATES[0]), NOW
MB = 1_000_000


@pytest.fixture
def fleet(database: Database) -> list[int]:
    """Servers with three packed days each: 1.5 MB as they are stored, 15 unpacked."""
    chance = random.Random(29)
    means = [chance.randint(900, 1_100) for _ in range(DAY_SLOTS)]
    fours = [4] * DAY_SLOTS
    day = merged(None, Rows(list(range(DAY_SLOTS)), means, means, means, fours, fours))
    row = totals(day, 0)._asdict() | {"held": day.held, "packed": day.packed}
    with database.transaction() as session:
        wanted = [ServerWanted(name=f"web-{number}", ip=IP) for number in range(FLEET)]
        ids = [change.add(session, one, database.settings, WINDOW[0]) for one in wanted]
        rows = [
            row | {"server_id": one, "date": DATES[0] + timedelta(days=number)}
            for one in ids
            for number in range(DAYS)
        ]
        session.execute(insert(models.Day), rows)
    return ids


READERS: dict[str, Callable[[Session, list[int]], object]] = {
    "summaries": lambda session, ids: figures.summaries(session, ids, WINDOW, NOW),
    "series": lambda session, ids: figures.all_series(session, ids, WINDOW, 1, NOW),
    "newest pings": lambda session, ids: slices.pages(session, ids, (None, None), 1),
    "oldest pings": lambda session, ids: slices.pages(session, ids, (WINDOW[0], None), 1),
}


@pytest.mark.parametrize("what", READERS)
def test_no_more_than_one_servers_days_are_unpacked_at_a_time(
    database: Database, fleet: list[int], what: str
) -> None:
    with database.reading() as session:
        READERS[what](session, fleet[:1])  # what is compiled at first use is kept
        tracemalloc.start()
        found = READERS[what](session, fleet)
        _now, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert found
    assert peak < 3 * MB
