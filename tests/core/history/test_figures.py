"""Reading history: every window, from either table, is what its slots say one by one."""

import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as counts
from hypothesis import strategies as st
from msgspec import structs
from sqlalchemy import select

from core import models
from core.checks.records import Ping, Probe, State, quantised_ms
from core.errors import WrongRequest
from core.history import figures, slices, today
from core.history.records import Bucket, Counts, HistoryRequest, PingRecord, Summary
from core.servers import change, find, schedule
from core.servers.records import ServerWanted
from core.slots import SLOT
from infra.database import Database
from tests.core.history.histories import (
    DATES,
    IP,
    History,
    a_ping,
    add_late,
    forget_day,
    made_up,
    midnight,
    pack_day,
    read_pages,
    record,
    store,
)
from tests.counts import CAMPAIGN, HISTORIES, count
from tests.infra.statements import counted

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
FIRST = midnight(DATES[0])
EMPTY = "^until must be at least a minute after since, got '2.*Z to 2.*Z'$"
EARLIEST, LATEST = datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, 999_999, UTC)

steps = st.lists(
    st.tuples(st.sampled_from(["pack", "forget", "late"]), st.integers(0, 2)), max_size=8
)
common = {
    "max_examples": count(6, HISTORIES),
    "deadline": None,
    "derandomize": not CAMPAIGN,
    "suppress_health_check": [HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
}


@pytest.fixture
def web(database: Database) -> Callable[..., Any]:
    """Call one of the readers for the server `web`."""

    def call(read: Callable[..., Any], *arguments: Any) -> Any:
        with database.reading() as session:
            return read(session, find.by_name(session, "web"), *arguments)

    return call


def add(database: Database, added: datetime = FIRST, name: str = "web") -> History:
    """Add a server, due each minute."""
    with database.transaction() as session:
        made = change.add(session, ServerWanted(name=name, ip=IP), database.settings, added)
        return History(name, made, [(added, 60, True)])


def reschedule(database: Database, history: History, now: datetime, **change: Any) -> None:
    """Change a server's schedule, and the copy of it."""
    with database.transaction() as session:
        schedule.reschedule(session, {history.server_id: change}, now)
        made = schedule.schedules(session)[history.server_id][-1]
        history.schedule = [row for row in history.schedule if row[0] < now]
        history.schedule.append((now, made.interval_s, made.enabled))


def fill(database: Database, history: History, first: int, *states: int) -> None:
    """Record pings of four echoes from the day's slot `first` on, so many of which came back."""
    chance = random.Random(first)
    rows = {}
    for place, received in enumerate(states):
        ms = quantised_ms(chance.uniform(10, 200)) if received else None
        rows[FIRST + (first + place) * SLOT] = one_ping(history, ms, received)
    store(database, rows)
    history.pings |= rows


def one_ping(history: History, ms: float | None, received: int = 4) -> Ping:
    """Return a ping of four echoes, so many of which came back in `ms`."""
    return Ping(history.server_id, IP, 4, received, ms, ms, ms, Probe.ICMP)


def remove(database: Database, name: str) -> None:
    with database.transaction() as session:
        change.remove(session, name)


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
    """Return a ping that was read as `pings_between` has it."""
    assert ping.state is State.of(ping.sent, ping.received)
    return tuple(value for name, value in structs.asdict(ping).items() if name != "state")


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


@given(st.integers(0, 2**32), steps)
@counts(**common)
def test_a_line_of_the_fleet_is_the_summary_of_its_24_hours(
    database: Database, seed: int, plan: list[tuple[str, int]]
) -> None:
    history, now = made_up(database, seed)
    for step, day in plan:
        if step == "pack":
            pack_day(database, min(history.pings).date() + day * DAY, [history.server_id])
        elif step == "late":
            add_late(database, history, random.Random(seed))
    with database.reading() as session:
        (line,) = today.fleet(session, now)
        ((_server_id, half_hours),) = today.half_hours(session, now).items()
    day_ago = now.replace(second=0, microsecond=0) + SLOT - DAY
    whole = history.figures(Summary, day_ago, day_ago + DAY, now)
    assert (line.counts, line.uptime, line.coverage) == (
        whole.counts,
        whole.uptime,
        whole.coverage,
    )
    assert len(half_hours) == 48
    for place, half_hour in enumerate(half_hours):
        since = day_ago + place * HOUR / 2
        assert half_hour.counts == history.figures(Bucket, since, since + HOUR / 2, now).counts
    assert line.strip == [half_hour.counts.worst for half_hour in half_hours]
    assert line.means_ms == [half_hour.mean_ms for half_hour in half_hours]
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


def test_a_change_in_the_same_instant_replaces_the_one_before(database: Database) -> None:
    history = add(database)
    later = FIRST + HOUR
    reschedule(database, history, later, interval_s=600)
    reschedule(database, history, later, enabled=False)
    with database.reading() as session:
        rows = session.execute(
            select(models.Schedule.since, models.Schedule.interval_s, models.Schedule.enabled)
        )
        assert [tuple(row) for row in rows] == [(FIRST, 60, True), (later, 600, False)]


def test_a_clock_that_stepped_back_cant_change_what_was_due_before(database: Database) -> None:
    history = add(database)
    reschedule(database, history, FIRST + HOUR, interval_s=600)
    with database.transaction() as session:
        schedule.reschedule(session, {history.server_id: {"enabled": False}}, FIRST)
        changed = schedule.schedules(session)[history.server_id][-1]
        assert (changed.since, changed.interval_s) == (FIRST + HOUR, 600)


@pytest.mark.parametrize(
    ("enabled", "interval_s", "minutes", "state"),
    [
        (True, 60, 2, State.UP),
        (True, 60, 3, State.UNOBSERVED),
        (True, 600, 3, State.UP),
        (False, 60, 1, State.UNOBSERVED),
    ],
)
def test_the_state_now_is_that_of_a_newest_ping_not_older_than_two_intervals(
    database: Database, enabled: bool, interval_s: int, minutes: int, state: State
) -> None:
    history = add(database)
    record(
        database,
        FIRST,
        one_ping(history, 1.0),
    )
    reschedule(database, history, FIRST + SLOT, enabled=enabled, interval_s=interval_s)
    with database.reading() as session:
        now = FIRST + minutes * SLOT
        (line,) = today.fleet(session, now)
        assert (line.state, line.enabled, line.interval_s) == (state, enabled, interval_s)
        assert [found.state for found in find.standings(session, now)] == [state]


def test_a_server_just_added_by_a_clock_that_is_ahead_is_in_the_fleet(database: Database) -> None:
    add(database, FIRST + HOUR)
    with database.reading() as session:
        (line,) = today.fleet(session, FIRST)
        assert (line.state, line.uptime, line.coverage) == (State.UNOBSERVED, None, None)


def test_a_fleet_of_some_ids_holds_only_those(database: Database) -> None:
    added = [add(database, name=name).server_id for name in ("a", "b", "c")]
    with database.reading() as session:
        lines = today.fleet(session, FIRST + HOUR, ids=[added[2], added[0], 99])
        assert [line.name for line in lines] == ["a", "c"]
        assert today.fleet(session, FIRST + HOUR, ids=[]) == []


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


def test_slots_that_are_no_whole_minutes_are_refused(database: Database) -> None:
    history = add(database)
    with pytest.raises(ValueError, match="must be a whole minute"):
        record(database, FIRST + SLOT / 2, a_ping(random.Random(1), history.server_id, 1.0))


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
    assert few == {"history": 2, "series": 3, "summary": 3, "fleet": 3, "names": 1, "states": 1}
    for number in range(30):
        add(database, name=f"web-{number}")
        fill(database, history, number * 1_440, 4, 3, 0)
        if number % 2:
            pack_day(database, (FIRST + number * DAY).date(), [history.server_id])
    assert read_all(FIRST + 30 * DAY) == few


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
