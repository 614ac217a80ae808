"""Short windows of many servers: the same figures as slot by slot, whoever packs meanwhile."""

import random
import tracemalloc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as counts
from hypothesis import strategies as st
from sqlalchemy import event
from sqlalchemy.orm import Session

from core.history import brief, days, figures
from core.history.records import Summary
from core.slots import SLOT
from infra.database import Database
from tests.core.history.histories import (
    DATES,
    DAY,
    FIRST,
    HOUR,
    History,
    add,
    add_late,
    common,
    fill,
    forget_day,
    made_up,
    midnight,
    pack_day,
    remove,
    reschedule,
    steps,
)
from tests.infra.statements import counted


def check(
    database: Database,
    histories: Sequence[History],
    since: datetime,
    until: datetime,
    now: datetime,
) -> None:
    """Compare the summaries of all these servers with what their slots say."""
    ids = [history.server_id for history in histories]
    with database.reading() as session:
        found = figures.summaries(session, ids, (since, until), now)
    for history in histories:
        assert found[history.server_id] == history.figures(Summary, since, until, now)
    assert len(found) == len(ids)


@given(st.integers(0, 2**32), steps)
@counts(**common)
def test_many_servers_add_up_to_what_their_slots_say(
    database: Database, seed: int, plan: list[tuple[str, int]]
) -> None:
    chance = random.Random(seed)
    dates = [chance.choice(DATES)]
    shares = (0.05, 1) if chance.random() < 0.7 else (0, 1)
    made = [made_up(database, seed + one, f"web-{one}", shares, dates) for one in range(3)]
    histories, now = [history for history, _now in made], max(now for _history, now in made)
    histories.append(_each_minute(database, midnight(dates[0])))
    first = midnight(dates[0])
    for step, day in [("look", 0), *plan]:
        if step == "pack":
            pack_day(database, (first + day * DAY).date(), [one.server_id for one in histories])
        elif step == "forget":
            forget_day(database, (first + day * DAY).date())
        elif step == "late":
            add_late(database, histories[0], chance)
        start = first + timedelta(minutes=chance.randrange(2 * 1_440))
        for until in (now.replace(second=0, microsecond=0) + SLOT, start + 25 * HOUR):
            check(database, histories, min(start, until - SLOT), until, now)
    for history in histories:
        remove(database, history.name)


def _each_minute(database: Database, since: datetime) -> History:
    """Add a server that is due each minute and never changed, pinged for an hour on the first."""
    history = add(database, since, "steady")
    fill_from = (since - FIRST) // SLOT
    fill(database, history, fill_from, *[4, 3, 0] * 20)
    return history


def test_a_day_that_is_packed_whole_costs_no_raw_row(database: Database) -> None:
    histories = [_hours(database, f"web-{one}", 24) for one in range(2)]
    pack_day(database, FIRST.date(), [one.server_id for one in histories])
    with counted(database) as sent:
        check(database, histories, FIRST, FIRST + DAY, FIRST + DAY)
    assert len(sent) == 4
    assert not [one for one in sent if "FROM data" in one]


def test_a_day_in_which_a_slot_was_missed_is_still_read_packed(database: Database) -> None:
    histories = [_hours(database, f"web-{one}", 23) for one in range(2)]
    pack_day(database, FIRST.date(), [one.server_id for one in histories])
    with counted(database) as sent:
        check(database, histories, FIRST, FIRST + DAY, FIRST + DAY)
    assert len(sent) == 5
    assert not [one for one in sent if "response_time" in one]


def test_many_servers_cost_few_statements_and_each_raw_row_is_added_up_where_it_lies(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    histories = [_hours(database, f"web-{one}", 1) for one in range(7)]
    monkeypatch.setattr(brief, "AT_ONCE", 3)
    with counted(database) as sent:
        check(database, histories, FIRST - 12 * HOUR, FIRST + 12 * HOUR, FIRST + HOUR)
    # The last one is by itself, but of many: the days that are held, raw rows, days, schedules.
    # Maintenance is asked for once.
    assert len(sent) == 3 * 4 + 1


def test_an_answer_needs_no_more_memory_for_more_servers(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (brief, days):
        monkeypatch.setattr(module, "AT_ONCE", 5)
    ids = [_hours(database, f"web-{one}", 24).server_id for one in range(30)]
    pack_day(database, FIRST.date(), ids[::3])
    for read in (figures.summaries, _charts):
        few, all_of_them = (_peak(database, read, some) for some in (ids[:5], ids))
        assert all_of_them < 2 * few


def _charts(session: Session, ids: Sequence[int], window: Any, now: datetime) -> int:
    return len(figures.all_series(session, ids, window, 10, now))


def _peak(database: Database, read: Any, ids: Sequence[int]) -> int:
    """How many bytes are held at most while the figures of these servers are read."""
    with database.reading() as session:
        read(session, ids, (FIRST, FIRST + DAY), FIRST + DAY)  # what is kept for next time
        tracemalloc.start()
        read(session, ids, (FIRST, FIRST + DAY), FIRST + DAY)
        _now, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    return peak


def test_other_schedules_than_each_minute_s_are_looked_through(database: Database) -> None:
    histories = [_hours(database, f"web-{one}", 1) for one in range(2)]
    reschedule(database, histories[0], FIRST + 10 * SLOT, interval_s=600)
    reschedule(database, histories[1], FIRST + 30 * SLOT, enabled=False)
    check(database, histories, FIRST, FIRST + 2 * HOUR, FIRST + 2 * HOUR)


def test_a_window_of_the_first_centuries_or_the_last_is_read(database: Database) -> None:
    histories = [_hours(database, f"web-{one}", 1) for one in range(2)]
    for since in (FIRST.replace(year=1970), FIRST.replace(year=8_998)):
        check(database, histories, since, since + DAY, FIRST + DAY)


@pytest.mark.parametrize("after", range(7))
def test_packing_and_removing_between_two_statements_loses_and_doubles_nothing(
    database: Database, after: int
) -> None:
    histories = [_hours(database, f"web-{one}", 2) for one in range(2)]
    pack_day(database, FIRST.date(), [histories[0].server_id])
    fill(database, histories[0], 120, 4, 4)

    def meanwhile() -> None:
        pack_day(database, FIRST.date(), [one.server_id for one in histories])
        forget_day(database, FIRST.date())

    with _after(database, after, meanwhile):
        check(database, histories, FIRST, FIRST + 3 * HOUR, FIRST + 3 * HOUR)


@contextmanager
def _after(database: Database, number: int, meanwhile: Any) -> Iterator[None]:
    """Do something by another connection before the reader's statement of that number."""
    seen: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_more: Any) -> None:
        if statement.startswith("SELECT") and len(seen) <= number:
            seen.append(statement)
            if len(seen) == number + 1:
                meanwhile()

    event.listen(database.engine, "before_cursor_execute", note)
    try:
        yield
    finally:
        event.remove(database.engine, "before_cursor_execute", note)


def _hours(database: Database, name: str, hours: int) -> History:
    """Add a server with so many hours of pings, one each minute."""
    history = add(database, name=name)
    fill(database, history, 0, *[4, 4, 3, 0, 4] * (hours * 12))
    return history
