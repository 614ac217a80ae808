"""The night's work: cut off anywhere, done twice, days late, beside rounds and removals."""

import asyncio
import gc
import logging
import random
import signal
import subprocess
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import event, func, select

from core import models
from core.accounts.attempts import Attempts, count_attempt
from core.clock import utc_now
from core.rounds import log as round_log
from core.rounds import record as rounds_record
from core.rounds import stretches
from core.rounds.kernel import SILENT
from core.rounds.trust import Reading
from core.servers import change, schedule
from core.servers.records import ServerWanted
from core.settings import Settings
from core.slots import SLOT
from handlers.worker import rounds, upkeep
from handlers.worker.rounds import Nights
from handlers.worker.upkeep import Tidied
from infra import patience
from infra.database import Database
from tests import people
from tests.core.history.histories import (
    DATES,
    IP,
    THIN,
    History,
    a_ping,
    add_late,
    made_up,
    read_pages,
    record,
)
from tests.core.incidents.planned import make
from tests.core.incidents.rounds import arrive, begin, told
from tests.counts import CUTS, FLEET, ROUNDS
from tests.infra import rows
from tests.infra.rows import counts
from tests.instances import ALONE, instance

DAY = timedelta(days=1)


class Cut(Exception):
    """The moment at which somebody pulled the plug."""


@contextmanager
def cut_off_at(database: Database, number: int) -> Iterator[None]:
    """Fail at the `number`-th statement; whether before or after it took effect is chance."""
    left = [number]
    moment = ("before_cursor_execute", "after_cursor_execute")[number % 2]

    def fail(*_arguments: Any) -> None:
        left[0] -= 1
        if left[0] == 0:
            raise Cut

    event.listen(database.engine, moment, fail)
    try:
        yield
    finally:
        event.remove(database.engine, moment, fail)


def everything(database: Database, history: History) -> bool:
    """Whether the history reads as it was made."""
    pages: list[Any] = read_pages(database, history.name, 9_999, forward=True)
    return pages == history.page()


def slots_kept(database: Database) -> int:
    """Return how many slots are kept, raw or packed, where nothing is in both."""
    day = models.Day
    with database.reading() as session:
        packed = session.scalar(select(func.sum(day.up + day.degraded + day.down)))
        raw = session.scalar(select(func.count()).select_from(models.StoredPing))
        return int(packed or 0) + (raw or 0)


def tidied_at(database: Database, now: datetime) -> Tidied:
    """Do the whole night's work as it is to be done at `now`."""
    return sum((step() for step in upkeep.plan(instance(database), now)), Tidied())


def test_a_night_removes_incidents_that_are_over_for_longer_than_days_are_kept(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upkeep, "INCIDENTS_AT_ONCE", 1)
    *over, stays = rows.add_many(database, ["web", "db", "open"])
    begin(database, rows.SLOT)
    for minute, letter in enumerate("bbgg"):
        seen = [(stays, "b"), *((one, letter) for one in over)]
        arrive(database, rows.SLOT + minute * rows.MINUTE, seen)
    kept = rows.SLOT + timedelta(days=database.settings.keep_days)

    tidied_at(database, kept)
    assert len(told(database)) == 3

    tidied_at(database, kept + DAY)
    assert [one.how for one in told(database)] == [None]
    with database.reading() as session:
        assert session.scalars(select(models.EVENT.c.kind)).all() == ["opened"]


def test_a_night_packs_what_is_over_and_removes_what_is_old(database: Database) -> None:
    history, now = made_up(database, 1)
    dates = [slot.date() for slot in history.pings]
    old = dates.count(now.date() - 3 * DAY)
    done = tidied_at(database, now)
    assert done == Tidied(packed=len({*dates} - {now.date()}), pings=old)
    assert everything(database, history)
    done = tidied_at(database, now + 10 * DAY)
    assert counts(database)[0] == 0
    assert done.pings == len(history.pings) - old
    assert everything(database, history)
    assert tidied_at(database, now + 10 * DAY) == Tidied()
    assert tidied_at(database, now + 399 * DAY).days > 0
    assert tidied_at(database, now + 500 * DAY).days > 0
    assert counts(database) == (0, 0)


def test_raw_rows_stay_until_their_day_is_as_old_as_the_setting(settings: Settings) -> None:
    database = Database(replace(settings, keep_raw_hours=26))
    history, now = made_up(database, 1)
    over = now.replace(hour=2, minute=0, second=0) + DAY  # the day that ended 26 hours ago is old
    tidied_at(database, over - SLOT)
    with database.reading() as session:
        kept = session.scalars(select(models.StoredPing.slot)).all()
    assert {slot.date() for slot in kept} == {
        slot.date() for slot in history.pings if slot.date() >= over.date() - 2 * DAY
    }
    tidied_at(database, over)
    with database.reading() as session:
        kept = session.scalars(select(models.StoredPing.slot)).all()
    assert {slot.date() for slot in kept} == {
        slot.date() for slot in history.pings if slot.date() >= over.date() - DAY
    }
    assert everything(database, history)
    database.engine.dispose()


def test_a_night_that_comes_three_days_late_or_twice_loses_and_doubles_nothing(
    database: Database,
) -> None:
    histories = [made_up(database, seed, f"web-{seed}", THIN, DATES[:1]) for seed in range(4)]
    late = max(now for _history, now in histories) + 3 * DAY
    for moment in (late, late, late + DAY, late + 9 * DAY):
        tidied_at(database, moment)
        assert all(everything(database, history) for history, _now in histories)
    assert slots_kept(database) == sum(len(history.pings) for history, _now in histories)


def test_pings_that_are_late_by_days_are_added_and_their_rows_removed(database: Database) -> None:
    chance = random.Random(3)
    history, now = made_up(database, 11, shares=THIN)
    for number in range(3):
        tidied_at(database, now + (number + 4) * DAY)
        add_late(database, history, chance)
        assert everything(database, history)
    tidied_at(database, now + 7 * DAY)
    assert counts(database)[0] == 0
    assert everything(database, history)


def test_a_night_cut_off_at_any_statement_is_finished_by_the_next(database: Database) -> None:
    chance = random.Random(5)
    for number in chance.sample(range(1, 41), CUTS):
        history, now = made_up(database, number, f"web-{number}", THIN)
        with cut_off_at(database, number), suppress(Cut):
            tidied_at(database, now + 4 * DAY)
        assert everything(database, history), number
        tidied_at(database, now + 4 * DAY)
        assert everything(database, history), number
        assert slots_kept(database) == len(history.pings)
        with database.transaction() as session:
            change.remove(session, history.name)


ONE_NIGHT = """
import sys
from datetime import datetime
from core.settings import Settings
from handlers.instance import Instance
from handlers.worker import upkeep
here = Instance.of(Settings(database_url=sys.argv[1]))
for step in upkeep.plan(here, datetime.fromisoformat(sys.argv[2])):
    print("step", flush=True)
    step()
print("done", flush=True)
"""


def test_a_night_killed_at_any_moment_is_finished_by_the_next(
    settings: Settings, database: Database
) -> None:
    chance = random.Random(7)
    histories = [made_up(database, seed, f"web-{seed}", THIN, DATES[:1]) for seed in range(20, 24)]
    late = max(now for _history, now in histories) + 5 * DAY
    for _ in range(CUTS):
        command = [sys.executable, "-c", ONE_NIGHT, settings.database_url, late.isoformat()]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "step\n"
            for _step in range(chance.randint(0, 5)):
                process.stdout.readline()
            process.send_signal(signal.SIGKILL)
        assert all(everything(database, history) for history, _now in histories)
    tidied_at(database, late)
    assert all(everything(database, history) for history, _now in histories)
    assert slots_kept(database) == sum(len(history.pings) for history, _now in histories)


def test_two_nights_at_once_beside_late_rounds_and_removals_lose_and_double_nothing(
    database: Database,
) -> None:
    chance = random.Random(13)
    histories = [made_up(database, seed, f"web-{seed}", THIN, DATES[:1]) for seed in range(30, 36)]
    kept = [history for history, _now in histories[:4]]
    late = max(now for _history, now in histories) + 5 * DAY

    def disturb() -> None:
        for history in kept:
            add_late(database, history, chance)
        with database.transaction() as session:
            change.remove(session, histories[4][0].name)
        with database.transaction() as session:
            change.remove(session, histories[5][0].name)

    with ThreadPoolExecutor(3) as threads:
        working = [threads.submit(tidied_at, database, late) for _ in range(2)]
        working.append(threads.submit(disturb))
        for one in working:
            one.result(250)
    assert all(everything(database, history) for history in kept)
    tidied_at(database, late)
    assert all(everything(database, history) for history in kept)
    assert slots_kept(database) == sum(len(history.pings) for history in kept)


def clock(start: datetime, step: timedelta) -> Callable[[], datetime]:
    """A clock that goes on by `step` whenever somebody looks at it."""
    times = [start]

    def look() -> datetime:
        times[0] += step
        return times[0]

    return look


def paused(database: Database, seed: int) -> tuple[History, datetime]:
    """Make up a history of a server that is paused by now, so that no round pings it."""
    history, now = made_up(database, seed, shares=THIN)
    with database.transaction() as session:
        schedule.reschedule(session, {history.server_id: {"enabled": False}}, now)
    return history, now


def vouch(database: Database, now: datetime) -> None:
    """Let a round have been begun at `now`: what is kept is measured by it."""
    with database.transaction() as session:
        stretches.note(session, Reading(now, SILENT))


def nights_told(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return the dates of the nights that were logged."""
    told = [line.split() for line in caplog.messages]
    return [words[3].rstrip(":") for words in told if words[:3] == ["nightly", "upkeep", "of"]]


async def until_told(
    caplog: pytest.LogCaptureFixture, nights: int, running: "asyncio.Task[None]"
) -> None:
    while len(nights_told(caplog)) < nights:
        assert not running.done()
        await asyncio.sleep(0)


def test_the_worker_does_the_nights_work_once_a_day(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    history, now = paused(database, 1)
    caplog.set_level(logging.INFO, "pinglet.worker")

    async def three_nights() -> None:
        running = asyncio.create_task(
            rounds.run(instance(database), clock(now, timedelta(minutes=47)), ALONE)
        )
        await asyncio.wait_for(until_told(caplog, 3, running), 250)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    asyncio.run(three_nights())
    nights = nights_told(caplog)
    assert len(set(nights[1:])) == len(nights) - 1
    assert counts(database)[1] > 0
    assert everything(database, history)


def test_no_step_of_the_night_begins_while_a_round_is_under_way(database: Database) -> None:
    _history, now = paused(database, 1)
    sent: list[str] = []
    vouch(database, now + DAY)
    event.listen(
        database.engine,
        "before_cursor_execute",
        lambda _c, _cursor, text, *_more: sent.append(text),
    )

    async def a_round() -> None:
        nights = Nights(instance(database))
        with nights.held_off():
            nights.begin_if_due(now + DAY)
            for _turn in range(1_000):
                await asyncio.sleep(0)
            assert sent == []
        while counts(database)[1] == 0:
            await asyncio.sleep(0)
        nights.cancel()

    asyncio.run(a_round())


def test_a_night_that_fails_ends_no_round_and_is_not_tried_each_minute(
    sqlite_settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    database = Database(sqlite_settings)
    _history, now = paused(database, 1)

    def refuse(_connection: Any, _cursor: Any, text: str, *_more: Any) -> None:
        if text.startswith("INSERT INTO day"):
            raise RuntimeError("out of order")

    event.listen(database.engine, "before_cursor_execute", refuse)
    vouch(database, now)

    async def some_rounds() -> None:
        nights = Nights(instance(database))
        for _round in range(5):
            with nights.held_off():
                pass
            nights.begin_if_due(now)
            while "nightly upkeep failed" not in caplog.messages:
                await asyncio.sleep(0)

    asyncio.run(some_rounds())
    assert caplog.messages.count("nightly upkeep failed") == 1
    database.engine.dispose()


def test_a_night_that_the_end_of_the_process_cuts_off_is_no_failure(
    sqlite_settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    database = Database(sqlite_settings)

    async def an_end() -> None:
        over = ThreadPoolExecutor()
        over.shutdown()
        asyncio.get_running_loop().set_default_executor(over)
        nights = Nights(instance(database))
        with nights.held_off():
            nights.begin_if_due(utc_now())
        await asyncio.gather(*asyncio.all_tasks() - {asyncio.current_task()})

    asyncio.run(an_end())
    assert caplog.messages == []
    database.engine.dispose()


def test_rows_are_rounds_recorded_times_servers_alive(database: Database) -> None:
    """Rounds come twice, are cut off, or never come; servers are removed; nights pass."""
    chance = random.Random(17)
    first = datetime.fromisoformat("2026-05-01T12:00:00Z")
    with database.transaction() as session:
        wanted = [ServerWanted(name=f"web-{number}", ip=IP) for number in range(FLEET)]
        alive = {change.add(session, one, database.settings, first): one.name for one in wanted}
    recorded = dict.fromkeys(alive, 0)
    tracemalloc.start()
    used = []
    for number in range(ROUNDS):
        slot = first + number * SLOT
        measured = [a_ping(chance, server_id, 20.0) for server_id in alive]
        if number % (ROUNDS // 3) == 10:
            gc.collect()  # a large process is seldom collected: garbage would count
            used.append(tracemalloc.get_traced_memory()[0])
        if chance.random() < 0.1:
            continue  # the worker was dead
        if chance.random() < 0.1:
            with cut_off_at(database, chance.randint(1, 2)):
                try:
                    with database.transaction() as session:
                        rounds_record.record(session, slot, measured)
                    raise AssertionError("it should have been cut off")
                except Cut:
                    pass
            continue
        for _time in range(chance.choice((1, 1, 2))):
            with database.transaction() as session:
                rounds_record.record(session, slot, measured)
        for server_id in alive:
            recorded[server_id] += 1
        if chance.random() < 0.05:
            gone = chance.choice(list(alive))
            with database.transaction() as session:
                change.remove(session, alive.pop(gone))
        if number % 50 == 49:
            tidied_at(database, slot + chance.choice((0, 1, 4)) * DAY)
    tracemalloc.stop()
    expected = sum(recorded[server_id] for server_id in alive)
    tidied_at(database, first + 9 * DAY)
    assert counts(database)[0] == 0
    assert slots_kept(database) == expected
    assert max(used[1:]) - used[0] < 2_000_000, used


def test_a_ping_recorded_while_its_day_is_being_tidied_is_kept(database: Database) -> None:
    history, now = made_up(database, 41, shares=THIN)
    late = now + 5 * DAY
    steps = upkeep.plan(instance(database), late)
    slots = sorted(history.pings)
    missed = [slot for slot in (s + SLOT for s in slots[:-1]) if slot not in history.pings]
    for step, slot in zip(steps, missed[: len(steps)], strict=False):
        history.pings[slot] = a_ping(random.Random(1), history.server_id, 3.0)
        record(database, slot, history.pings[slot])
        step()
        assert everything(database, history)


def test_rounds_are_kept_as_long_as_raw_rows_are(database: Database) -> None:
    first = datetime.fromisoformat("2026-05-01T12:00:00Z")
    with database.transaction() as session:
        for number in range(5):
            round_log.begin(session, first + number * DAY, 1, first)
    tidied_at(database, first + 4 * DAY)
    with database.reading() as session:
        kept = round_log.between(session, first, first + 9 * DAY)
    assert [one.slot for one in kept] == [first + number * DAY for number in (2, 3, 4)]


def test_a_night_forgets_tokens_and_tries_at_passwords_that_are_over(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upkeep, "ROWS_AT_ONCE", 2)
    with people.nobody_but(settings) as own:
        database = Database(own)
        user = people.add(database)
        for hours in (1, 1, 1, 48):
            people.token(database, user, life=timedelta(hours=hours))
        with database.transaction() as session:
            for name in ("ann", "bob", "eve"):
                count_attempt(session, Attempts(name, "192.0.2.1"), utc_now())
        tidied_at(database, utc_now() + DAY)
        with database.reading() as session:
            assert session.scalar(select(func.count()).select_from(models.Token)) == 1
            assert not session.scalars(select(models.Attempt)).all()
        database.engine.dispose()


def test_where_less_is_kept_than_before_all_that_is_older_goes_in_one_night(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    _history, now = made_up(database, 11, shares=THIN)
    tidied_at(database, now + DAY)
    monkeypatch.setattr(upkeep, "ROWS_AT_ONCE", 2)
    packed = counts(database)[1]
    assert packed > 2
    assert tidied_at(database, now + 500 * DAY).days == packed
    assert counts(database)[1] == 0


def test_each_step_of_a_night_waits_for_room_as_long_as_the_first(database: Database) -> None:
    """Room for a connection, on a Postgres that has none to spare, is awaited by each anew."""
    _history, now = made_up(database, 1, shares=THIN)
    rooms: list[float] = []

    def spend(*_arguments: Any) -> None:
        given = patience.current(database.settings)
        rooms.append(given.room_s)
        given.spend_room(1.0)

    event.listen(database.engine, "before_cursor_execute", spend)
    steps = upkeep.plan(instance(database), now + 5 * DAY)
    for step in steps:
        rooms.clear()
        step()
        assert rooms[0] == database.settings.connect_timeout_s
    assert len(steps) > 5


def test_a_night_lays_maintenance_down_further_and_forgets_what_is_older_than_days(
    database: Database,
) -> None:
    now = datetime.fromisoformat("2026-05-01T02:00:00Z")
    make(database, {"cron": "0 12 * * *", "duration_m": 60}, now)
    with database.reading() as session:
        before = session.scalars(select(models.MAINTENANCE_RANGE.c.since)).all()
    days = database.settings.keep_days + 10
    tidied_at(database, now + days * DAY)
    with database.reading() as session:
        after = session.scalars(select(models.MAINTENANCE_RANGE.c.since)).all()
    assert (min(after), max(after)) == (min(before) + 10 * DAY, max(before) + days * DAY)
    assert len(after) == days + 90 - 10
