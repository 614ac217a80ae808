"""What is asked of history and what it answers: windows, counts, figures."""

from datetime import UTC, datetime, timedelta

import pytest

from core.checks.records import State
from core.errors import WrongRequest
from core.history.records import (
    Bucket,
    Counts,
    PingsQuery,
    SeriesQuery,
    Summary,
    SummaryQuery,
    length,
)
from core.history.sums import Totals

NOW = datetime(2026, 1, 2, 7, 1, 30, tzinfo=UTC)
NEXT = datetime(2026, 1, 2, 7, 2, tzinfo=UTC)
DAY = timedelta(days=1)
SUMS = Totals(
    *(5, 2, 3, 1),
    sent=40,
    received=26,
    timed=7,
    hundredths=3_500,
    best_ms=1.0,
    worst_ms=9.0,
    p50_ms=5.0,
    p95_ms=8.0,
    p99_ms=9.0,
)


def test_a_page_of_pings_is_bound_by_what_was_said() -> None:
    assert PingsQuery().bounds() == (None, None)
    assert PingsQuery(since="2026-01-02T08:01+01:00").bounds() == (NOW.replace(second=0), None)


def test_without_a_window_it_is_the_last_day_up_to_the_slot_we_are_in() -> None:
    assert SeriesQuery().between(NOW) == (NEXT - DAY, NEXT)
    assert SummaryQuery().between(NOW) == (NEXT - DAY, NEXT)
    assert SummaryQuery(window="30d").between(NOW) == (NEXT - 30 * DAY, NEXT)


def test_a_window_ends_where_it_is_said_to_and_begins_there_too() -> None:
    until = SummaryQuery(window="2h", until="2026-01-01T00:00Z")
    both = SeriesQuery(since="2025-12-31T00:00Z", until="2026-01-01T00:00Z")
    end = datetime(2026, 1, 1, tzinfo=UTC)
    assert until.between(NOW) == (end - timedelta(hours=2), end)
    assert both.between(NOW) == (end - DAY, end)


def test_a_window_begins_in_1970_at_the_earliest() -> None:
    since, until = SummaryQuery(window="999999y").between(NOW)
    assert (since, until) == (datetime(1970, 1, 1, tzinfo=UTC), NEXT)


@pytest.mark.parametrize("text", ["yesterday", "1969-12-31T23:59Z", "9000-01-01T00:00Z"])
@pytest.mark.parametrize("field", ["since", "until"])
def test_what_is_no_time_is_refused_with_its_field(text: str, field: str) -> None:
    with pytest.raises(WrongRequest) as refused:
        SeriesQuery(**{field: text}).between(NOW)
    assert refused.value.field == field


@pytest.mark.parametrize(
    ("window", "expected"),
    [("90m", DAY / 16), ("24h", DAY), ("2w", 14 * DAY), ("1y", 365 * DAY)],
)
def test_a_length_is_a_number_of_units(window: str, expected: timedelta) -> None:
    assert length(window) == expected


def test_what_was_due_is_what_was_seen_and_what_was_not() -> None:
    counts = Counts.of(5, 2, 3, 1)
    assert counts == Counts(up=5, degraded=2, down=3, unobserved=1, due=11)
    assert (counts.observed, counts.uptime, counts.coverage) == (10, 7 / 10, 10 / 11)
    nothing = Counts.of()
    assert (nothing.uptime, nothing.coverage, nothing.worst) == (None, None, None)


@pytest.mark.parametrize(
    ("counts", "worst"),
    [
        (Counts.of(up=29, down=1), State.DOWN),
        (Counts.of(up=29, degraded=1), State.DEGRADED),
        (Counts.of(up=1, unobserved=2), State.UNOBSERVED),
        (Counts.of(up=2, unobserved=2), State.UP),
    ],
)
def test_a_half_hour_is_shown_by_its_worst(counts: Counts, worst: State) -> None:
    assert counts.worst is worst


def test_a_bucket_and_a_summary_show_what_slots_add_up_to() -> None:
    bucket, summary = (kind.of(SUMS, NOW - DAY, NOW) for kind in (Bucket, Summary))
    assert bucket.counts == summary.counts == Counts.of(5, 2, 3, 1)
    assert bucket.mean_ms == summary.mean_ms == 5.0
    assert (summary.uptime, summary.coverage, summary.lost_share) == (7 / 10, 10 / 11, 14 / 40)
    empty = Summary.of(Totals(), NOW - DAY, NOW)
    assert (empty.uptime, empty.coverage, empty.lost_share, empty.mean_ms) == (None,) * 4
