"""Pages of pings: from anywhere, and no more is read than they hold."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest

from core.history import slices
from core.history.records import HistoryRequest
from core.slots import SLOT
from infra.database import Database
from tests.core.history.histories import (
    DAY,
    EARLIEST,
    FIRST,
    LATEST,
    add,
    fill,
    forget_day,
    pack_day,
)


@pytest.mark.parametrize("edge", [EARLIEST, FIRST - 60 * 365 * DAY + SLOT / 2, LATEST])
def test_a_page_may_begin_or_end_at_any_time_there_is(
    database: Database, web: Callable[..., Any], edge: datetime
) -> None:
    history = add(database)
    fill(database, history, 0, 4, 0)
    pack_day(database, FIRST.date(), [history.server_id])
    forget_day(database, FIRST.date())
    forward = web(slices.history, HistoryRequest("web", since=edge))
    backward = web(slices.history, HistoryRequest("web", until=edge))
    everything, nothing = history.page(), []
    expected = (nothing, everything) if edge == LATEST else (everything, nothing)
    assert (list(forward.pings), list(backward.pings)) == expected


def test_a_page_reads_no_more_days_than_it_needs(
    database: Database, web: Callable[..., Any]
) -> None:
    history = add(database)
    for number in range(20):
        fill(database, history, number * 1_440, *[4] * 100)
        pack_day(database, (FIRST + number * DAY).date(), [history.server_id])
        forget_day(database, (FIRST + number * DAY).date())
    wanted = HistoryRequest("web", until=FIRST + 19 * DAY + 50 * SLOT, limit=120)
    page = web(slices.history, wanted)
    assert list(page.pings) == [ping for ping in history.page() if ping[0] < wanted.until][-120:]
    assert page.before == page.pings[0][0]
