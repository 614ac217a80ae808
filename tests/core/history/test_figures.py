"""Reading history: every window, from either table, is what its slots say one by one."""

import itertools
import random
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as counts
from hypothesis import strategies as st
from msgspec import structs

from core.checks.records import State
from core.errors import WrongRequest
from core.history import figures, slices, today
from core.history.records import Bucket, Counts, HistoryRequest, PingRecord, Summary
from core.reading import iso
from core.servers import find
from core.slots import SLOT
from infra.database import Database
from tests.core.history.histories import (
    DAY,
    EARLIEST,
    FIRST,
    HOUR,
    LATEST,
    History,
    add,
    add_late,
    common,
    fill,
    forget_day,
    made_up,
    one_ping,
    pack_day,
    read_pages,
    remove,
    reschedule,
    slots_between,
    steps,
    store,
)
from tests.core.incidents.planned import make
from tests.infra.statements import counted

NUMBERS = itertools.count()
"""Of servers that have maintenance of their own."""
EMPTY = "^until must be at least a minute after since, got '2.*Z to 2.*Z'$"


def check(database: Database, history: History, now: datetime, chance: random.Random) -> None:
    """Compare readings of all kinds with what the slots say."""
    first = min(history.pings)
    edges = [first - timedelta(minutes=chance.randrange(2_000)) for _ in range(2)]
    edges += [first + timedelta(minutes=chance.randrange(4_500)) for _ in range(4)]
    windows = [(first - DAY, now.replace(second=0, microsecond=0) + SLOT)]
    windows += [(min(pair), max(pair) + SLOT) for pair in zip(edges[::2], edges[1::2], strict=True)]
    with database.reading() as session:
        server = find.by_name(session, history.name)
        for since, until in windows:
            expected = history.figures(Summary, since, until, now)
            assert figures.summary(session, server, since, until, now) == expected
            points = chance.choice((1, 2, 7, 48, 300, 10_000))
            buckets = figures.series(session, server, since, until, points, now).buckets
            assert 1 <= len(buckets) <= points
            assert [b.since for b in buckets] == [since, *(b.until for b in buckets[:-1])]
            assert buckets[-1].until == until
            for bucket in chance.sample(buckets, min(len(buckets), 20)):
                assert bucket == history.figures(Bucket, bucket.since, bucket.until, now)
    limit, forward = chance.choice((7, 100, 1_440, 9_999)), chance.random() < 0.5
    if len(history.pings) / limit < 20:
        assert read_pages(database, history.name, limit, forward) == history.page()
    with database.reading() as session:
        server = find.by_name(session, history.name)
        for since, until in windows:
            wanted = since if forward else None
            page = slices.pages(session, [server.id], (wanted, until), limit)[server.id]
            assert list(map(shown, page.pings)) == pings_between(history, wanted, until, limit)


def pings_between(
    history: History, since: datetime | None, until: datetime, limit: int
) -> list[tuple[object, ...]]:
    """Return what a page holds: the first pings from `since` on, else the last before `until`."""
    inside = [slot for slot in sorted(history.pings) if (since or EARLIEST) <= slot < until]
    return [
        (slot, ping.response_ms, ping.best_ms, ping.worst_ms, ping.sent, ping.received)
        for slot in (inside[:limit] if since else inside[-limit:])
        for ping in [history.pings[slot]]
    ]


def shown(ping: PingRecord) -> tuple[object, ...]:
    """Return a ping that was read as `pings_between` has it; nobody said why it isn't up."""
    assert ping.state is State.of(ping.sent, ping.received)
    told = structs.asdict(ping)
    assert (told.pop("state"), told.pop("reason"), told.pop("detail")) == (ping.state, None, None)
    return tuple(told.values())


@given(st.integers(0, 2**32), steps)
@counts(**common)
def test_packed_or_raw_or_half_of_each_history_reads_the_same(
    database: Database, seed: int, plan: list[tuple[str, int]]
) -> None:
    chance = random.Random(seed)
    history, now = made_up(database, seed)
    check(database, history, now, chance)
    first = min(history.pings).date()
    for step, day in plan:
        if step == "pack":
            pack_day(database, first + day * DAY, [history.server_id])
        elif step == "forget":
            forget_day(database, first + day * DAY)
        else:
            add_late(database, history, chance)
        check(database, history, now, chance)
    with database.reading() as session:
        (line,) = today.fleet(session, now)
        assert line.id == history.server_id
    remove(database, history.name)


def test_states_are_counted_and_add_up_to_what_was_due(
    database: Database, web: Callable[..., Any]
) -> None:
    fill(database, add(database), 0, 4, 4, 3, 0, 1)
    found = web(figures.summary, FIRST, FIRST + HOUR, FIRST + 10 * SLOT)
    assert found.counts == Counts(up=2, degraded=2, down=1, unobserved=5, due=10)
    assert (found.uptime, found.coverage, found.lost_share) == (4 / 5, 5 / 10, 8 / 20)


def test_a_dead_worker_changes_coverage_never_uptime(
    database: Database, web: Callable[..., Any]
) -> None:
    fill(database, add(database), 0, *[4] * 9, 0)
    before = web(figures.summary, FIRST, FIRST + 20 * SLOT, FIRST + 10 * SLOT)
    after = web(figures.summary, FIRST, FIRST + 20 * SLOT, FIRST + 20 * SLOT)
    assert (before.uptime, before.coverage) == (0.9, 1.0)
    assert (after.uptime, after.coverage) == (0.9, 0.5)


def test_where_nothing_was_due_there_is_neither_uptime_nor_coverage(
    database: Database, web: Callable[..., Any]
) -> None:
    add(database)
    before = web(figures.summary, FIRST - DAY, FIRST, FIRST + DAY)
    assert (before.uptime, before.coverage, before.lost_share) == (None, None, None)
    assert (before.mean_ms, before.p95_ms, before.best_ms) == (None, None, None)
    assert before.counts == Counts.of()


def test_where_nothing_was_observed_there_is_coverage_but_no_uptime(
    database: Database, web: Callable[..., Any]
) -> None:
    add(database)
    found = web(figures.summary, FIRST, FIRST + HOUR, FIRST + DAY)
    assert (found.uptime, found.coverage) == (None, 0.0)


@pytest.mark.parametrize(("seconds", "unobserved"), [(0, 0), (59, 0), (60, 1), (119, 1), (120, 2)])
def test_a_slot_is_unobserved_only_when_the_next_one_has_begun(
    database: Database, web: Callable[..., Any], seconds: int, unobserved: int
) -> None:
    add(database)
    now = FIRST + timedelta(seconds=seconds)
    found = web(figures.summary, FIRST, FIRST + HOUR, now)
    assert found.counts == Counts.of(unobserved=unobserved)


def test_the_slot_in_which_a_server_is_added_is_due_only_if_it_was_pinged(
    database: Database, web: Callable[..., Any]
) -> None:
    history = add(database, FIRST + timedelta(seconds=30))
    now = FIRST + 3 * SLOT
    assert web(figures.summary, FIRST, now, now).counts == Counts.of(unobserved=2)
    fill(database, history, 0, 4)
    assert web(figures.summary, FIRST, now, now).counts == Counts.of(up=1, unobserved=2)


def test_a_pause_is_not_due_and_ends_when_it_ends(
    database: Database, web: Callable[..., Any]
) -> None:
    history = add(database)
    reschedule(database, history, FIRST + 10 * SLOT, enabled=False)
    reschedule(database, history, FIRST + 30 * SLOT, enabled=True)
    found = web(figures.summary, FIRST, FIRST + HOUR, FIRST + HOUR)
    assert found.counts == Counts.of(unobserved=40)


def test_an_interval_holds_from_when_it_was_set(
    database: Database, web: Callable[..., Any]
) -> None:
    history = add(database)
    reschedule(database, history, FIRST + 20 * SLOT, interval_s=600)
    found = web(figures.summary, FIRST, FIRST + HOUR, FIRST + HOUR)
    assert found.counts == Counts.of(unobserved=20 + 4)


def test_percentiles_are_values_that_occurred(database: Database, web: Callable[..., Any]) -> None:
    history = add(database)
    rows = {}
    for minute in range(100):
        ms = float(minute + 1)
        rows[FIRST + minute * SLOT] = one_ping(history, ms)
    store(database, rows)
    found = web(figures.summary, FIRST, FIRST + DAY, FIRST + DAY)
    assert (found.p50_ms, found.p95_ms, found.p99_ms) == (50.0, 95.0, 99.0)
    assert (found.mean_ms, found.best_ms, found.worst_ms) == (50.5, 1.0, 100.0)


@pytest.mark.parametrize(
    ("window", "points", "step"),
    [
        (DAY, 300, 5),
        (HOUR, 60, 1),
        (30 * DAY, 300, 180),
        (365 * DAY, 400, 1_440),
        (365 * DAY, 100, 5_760),
    ],
)
def test_buckets_are_round_pieces_of_time(
    database: Database, web: Callable[..., Any], window: timedelta, points: int, step: int
) -> None:
    add(database)
    buckets = web(figures.series, FIRST, FIRST + window, points, FIRST).buckets
    assert {bucket.until - bucket.since for bucket in buckets[:-1]} == {step * SLOT}
    assert len(buckets) <= points


@pytest.mark.parametrize(
    ("since", "until", "told"),
    [
        (FIRST, FIRST, EMPTY),
        (FIRST + SLOT, FIRST, EMPTY),
        (FIRST + SLOT / 4, FIRST + SLOT / 2, EMPTY),
        (EARLIEST, LATEST, "^a window must be at most 800 days long, got 3652059$"),
    ],
)
def test_a_window_without_a_slot_or_of_centuries_is_wrong(
    database: Database, web: Callable[..., Any], since: datetime, until: datetime, told: str
) -> None:
    add(database)
    with pytest.raises(WrongRequest, match=told):
        web(figures.summary, since, until, FIRST)
    with pytest.raises(WrongRequest, match=told):
        web(figures.series, since, until, 10, FIRST)


def test_no_reading_takes_more_statements_where_there_is_more_to_read(database: Database) -> None:
    def read_all(now: datetime) -> dict[str, int]:
        sent = {}
        with database.reading() as session:
            server = find.by_name(session, "web")
            window = (FIRST - 300 * DAY, FIRST + 90 * DAY)
            for name, read in {
                "history": lambda: slices.history(session, server, HistoryRequest("web")),
                "series": lambda: figures.series(session, server, *window, 400, now),
                "summary": lambda: figures.summary(session, server, *window, now),
                "fleet": lambda: today.fleet(session, now),
                "names": lambda: find.names(session),
                "states": lambda: find.standings(session, now),
            }.items():
                with counted(database) as statements:
                    read()
                sent[name] = len(statements)
        return sent

    history = add(database)
    few = read_all(FIRST)
    assert few == {"history": 2, "series": 3, "summary": 4, "fleet": 6, "names": 1, "states": 2}
    for number in range(30):
        add(database, name=f"web-{number}")
        fill(database, history, number * 1_440, 4, 3, 0)
        if number % 2:
            pack_day(database, (FIRST + number * DAY).date(), [history.server_id])
    assert read_all(FIRST + 30 * DAY) == few


@given(st.integers(0, 2**32), steps)
@counts(**common)
def test_slots_in_maintenance_are_left_out_of_a_summary_and_counted_apart(
    database: Database, seed: int, plan: list[tuple[str, int]]
) -> None:
    history, now = made_up(database, seed, f"web-{next(NUMBERS)}")
    chance = random.Random(seed)
    first = min(history.pings).replace(hour=0, minute=0)
    for _ in range(3):
        since = first + chance.randrange(3 * 1_440) * SLOT
        until = since + chance.choice((1, 30, 1_440)) * SLOT
        counts_too = chance.random() < 0.3
        when = {"since": iso(since), "until": iso(until)}
        make(database, when, since, counts=counts_too, **{"for": {"names": [history.name]}})
        history.left_out |= set() if counts_too else set(slots_between(since, until))
    for step, day in plan:
        if step == "pack":
            pack_day(database, first.date() + day * DAY, [history.server_id])
        elif step == "late":
            add_late(database, history, chance)
    for since, until in ((first, first + 3 * DAY), (first + 7 * HOUR, first + 31 * HOUR)):
        with database.reading() as session:
            found = figures.summaries(session, [history.server_id], (since, until), now)
        assert found == {history.server_id: history.figures(Summary, since, until, now)}
    remove(database, history.name)
