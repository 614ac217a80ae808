"""Days as readers see them: wherever their slots are, and one server's at a time."""

import random
import tracemalloc
from collections.abc import Callable
from datetime import date, timedelta

import pytest
from sqlalchemy import insert
from sqlalchemy.orm import Session

from core import models
from core.history import days, figures, slices
from core.history.codec import Rows, merged
from core.history.days import DayView
from core.history.sums import totals
from core.servers import change
from core.servers.records import ServerWanted
from core.slots import DAY_SLOTS, slot_number
from infra.database import Database
from tests.core.history.histories import (
    DATES,
    FIRST,
    IP,
    History,
    add,
    fill,
    forget_day,
    midnight,
    pack_day,
)

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


def test_a_day_is_the_same_raw_packed_or_both(database: Database) -> None:
    history = add(database)
    seen = []
    fill(database, history, 0, 4, 3, 0)
    seen.append(read(database, history))
    pack_day(database, DATES[0], [history.server_id])
    seen.append(read(database, history))
    forget_day(database, DATES[0])
    seen.append(read(database, history))
    assert [day.slots.states[:4] for day in seen] == ["+~-."] * 3
    assert len({day.totals(0, DAY_SLOTS) for day in seen}) == 1
    assert [day.whole is not None for day in seen] == [False, True, True]


def read(database: Database, history: History) -> DayView:
    """Return the first day of a server."""
    first = slot_number(FIRST)
    with database.reading() as session:
        ((_server_id, found),) = days.windows(
            session, [history.server_id], first, first + DAY_SLOTS, first + DAY_SLOTS
        )
    return found[first // DAY_SLOTS]


def test_slots_of_several_days_add_up_to_what_their_parts_do(database: Database) -> None:
    history = add(database)
    fill(database, history, DAY_SLOTS - 2, 4, 3, 0, 2)
    first = slot_number(FIRST) + DAY_SLOTS - 2
    with database.reading() as session:
        ((_server_id, found),) = days.windows(
            session, [history.server_id], first, first + 4, first + 4
        )
    parts = [days.add_up(found, first + number, first + number + 1) for number in range(4)]
    whole = days.add_up(found, first, first + 4)
    assert whole[:8] == tuple(map(sum, zip(*(part[:8] for part in parts), strict=True)))
    assert (whole.best_ms, whole.worst_ms) == (
        min(part.best_ms for part in parts if part.best_ms),
        max(part.worst_ms for part in parts if part.worst_ms),
    )


@pytest.mark.parametrize(
    ("number", "expected"),
    [(0, date(1970, 1, 1)), (-(10**9), date.min), (10**9, date.max)],
)
def test_a_day_beyond_the_calendar_is_its_nearest(number: int, expected: date) -> None:
    assert days.date_of_day(number) == expected
