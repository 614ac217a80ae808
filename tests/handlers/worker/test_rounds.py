"""The worker: a round for every slot, whatever happens in the one before."""

import asyncio
import contextlib
import gc
import logging
import socket
import sqlite3
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select, text

from core import slots
from core.checks.records import Probe
from core.clock import utc_now
from core.models import WITNESS
from core.rounds import log as round_log
from core.rounds import stretches, trust
from core.rounds.kernel import SILENT
from core.rounds.measure import Measured
from core.settings import Settings
from handlers.instance import Instance
from handlers.worker import rounds as worker_rounds
from infra.database import Database
from tests.core.probe.engine import ROOT, need_root
from tests.infra.databases import opened
from tests.infra.rows import (
    MINUTE,
    SLOT,
    add,
    add_many,
    ping,
    rows_in,
    server,
    stored,
    wait_for_a_blocked_one,
)
from tests.instances import ALONE, instance

HERE = "127.0.0.1"


class Over(BaseException):
    """The test's clock has nothing more to tell."""


class Clock:
    """Tells the given seconds after SLOT, one each time it is asked; then the test is over.

    A round asks when it begins (for the slot) and starts; between rounds the worker asks for the
    slot again, and how long to sleep. A function among the seconds is called on the way.
    """

    def __init__(self, *seconds: float | Callable[[], object]) -> None:
        self.script = list(seconds)

    def __call__(self) -> datetime:
        while self.script:
            step = self.script.pop(0)
            if not callable(step):
                return SLOT + timedelta(seconds=step)
            step()
        raise Over


def run(database: Database, *seconds: float | Callable[[], object]) -> None:
    with pytest.raises(Over):
        asyncio.run(worker_rounds.run(instance(database), Clock(*seconds), ALONE))


def slots_of(database: Database) -> list[float]:
    return [(slot - SLOT) / MINUTE for _id, slot, _ms in stored(database)]


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port that refuses: as good an answer as any, and no queue that could overflow."""
    with socket.socket() as reserved:
        reserved.bind((HERE, 0))
        yield reserved.getsockname()[1]


@pytest.fixture
def watched(database: Database, closed_port: int) -> int:
    return add(database, ip=HERE, probe=Probe.TCP, port=closed_port)


def one_round(
    database: Database, slot: datetime = SLOT, **more: object
) -> worker_rounds.RoundReport:
    targets = worker_rounds.due(database, slot)
    words: dict[str, Any] = {"now": lambda: slot} | more
    return asyncio.run(worker_rounds.run_round(instance(database), slot, targets, **words))


@pytest.mark.usefixtures("watched")
def test_a_round_begins_with_the_slot_we_are_in_and_bears_its_time(database: Database) -> None:
    run(database, 42.5, 42.5)
    assert slots_of(database) == [0]


@pytest.mark.usefixtures("watched")
def test_every_slot_has_one_round(database: Database) -> None:
    run(database, 0, 0, 1, 60, 60, 60, 61, 120, 120, 120)
    assert slots_of(database) == [0, 1, 2]


@pytest.mark.usefixtures("watched")
def test_waking_early_is_no_second_round_of_the_slot(database: Database) -> None:
    run(database, 0, 0, 59.99, 60, 59.999, 60, 60, 60)
    assert slots_of(database) == [0, 1]


@pytest.mark.usefixtures("watched")
def test_a_round_that_overruns_shifts_nothing_and_what_it_missed_stays_missed(
    database: Database,
) -> None:
    run(database, 0, 0, 150, 150, 151, 180, 180, 180)
    assert slots_of(database) == [0, 2, 3]


@pytest.mark.usefixtures("watched")
def test_a_machine_that_slept_fills_nothing_in(database: Database) -> None:
    run(database, 0, 0, 1, 60, 3600.5, 3600.5)
    assert slots_of(database) == [0, 60]


@pytest.mark.usefixtures("watched")
def test_a_clock_that_steps_back_records_nothing_twice(database: Database) -> None:
    run(database, 0, 0, 60, 60, 30, 30, 61, 61)
    assert slots_of(database) == [0, 1]


def test_servers_that_are_not_due_are_not_pinged(database: Database, closed_port: int) -> None:
    with database.transaction() as session:
        session.execute(text("SELECT 1"))
    run(database, 0, 0, 0, 60, 60, 60)
    assert slots_of(database) == []
    add(database, ip=HERE, probe=Probe.TCP, port=closed_port)
    with database.transaction() as session:
        session.execute(text("UPDATE schedule SET interval_s = 300"))
    run(database, 60, 60, 120, 120, 180, 180, 240, 240)
    assert slots_of(database) == [4]


def test_an_exception_in_one_round_does_not_end_the_next(
    database: Database, watched: int, caplog: pytest.LogCaptureFixture
) -> None:
    def rename(old: str, new: str) -> Callable[[], None]:
        def change() -> None:
            with database.transaction() as session:
                session.execute(text(f"ALTER TABLE {old} RENAME TO {new}"))

        return change

    away, back = rename("data", "elsewhere"), rename("elsewhere", "data")
    run(database, away, 0, 0, back, 60, 60)
    assert slots_of(database) == [1]
    assert [r.message for r in caplog.records if r.exc_info] == [
        "round 2026-01-02T07:01:00Z failed"
    ]


def test_two_workers_at_once_write_each_ping_once(database: Database, closed_port: int) -> None:
    names = [f"web-{number}" for number in range(30)]
    add_many(database, names, HERE, probe=Probe.TCP, port=closed_port)
    other = Database(database.settings)

    async def both() -> Sequence[worker_rounds.RoundReport]:
        work = [
            worker_rounds.run_round(instance(d), SLOT, worker_rounds.due(d, SLOT), now=lambda: SLOT)
            for d in (database, other)
        ]
        return await asyncio.gather(*work)

    rounds = asyncio.run(both())
    assert sum(done.recorded for done in rounds) == rows_in(database, SLOT) == 30
    other.engine.dispose()


def test_no_connection_is_held_while_echoes_are_out(database: Database, watched: int) -> None:
    held = []
    one_round(database, progress=lambda _n: held.append(database.engine.pool.checkedout()))
    assert held
    assert not any(held)


def test_a_round_says_what_became_of_it(
    database: Database, watched: int, caplog: pytest.LogCaptureFixture
) -> None:
    icmp_nowhere = add(database, "nowhere", "127.0.0.2")
    with database.transaction() as session:
        # Not watched any more, as if the deployment's rules had changed after it was added.
        session.execute(text("UPDATE server SET ip = '0.0.0.1' WHERE name = 'nowhere'"))
    done = one_round(database)
    assert (done.recorded, [lost.server_id for lost in done.unobserved]) == (1, [icmp_nowhere])
    assert "0 up, 0 degraded, 1 down, 1 unobserved" in str(done)  # its port refuses
    assert f"server {icmp_nowhere} unobserved" in caplog.text
    assert server(database, "nowhere").last_slot is None
    assert [server_id for server_id, _slot, _ms in stored(database)] == [watched]


def test_witnesses_are_asked_with_the_servers(database: Database, watched: int) -> None:
    here = Instance(replace(database.settings, witnesses=("127.0.0.3",)), database)
    targets = worker_rounds.due(database, SLOT)
    asyncio.run(worker_rounds.run_round(here, SLOT, targets, now=lambda: SLOT))
    assert [server_id for server_id, _slot, _ms in stored(database)] == [watched]
    with database.reading() as session:
        assert session.execute(select(WITNESS)).all() == [("127.0.0.3", SLOT, SLOT)]


@pytest.mark.usefixtures("watched")
def test_nothing_is_left_unawaited_or_open(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    with warnings.catch_warnings(record=True) as caught, caplog.at_level("WARNING", "asyncio"):
        warnings.simplefilter("always")
        with pytest.raises(Over):
            asyncio.run(
                worker_rounds.run(instance(database), Clock(0, 0, 60, 60), ALONE), debug=True
            )
        gc.collect()
    assert [str(warning.message) for warning in caught] == []
    said = [r.getMessage() for r in caplog.records if r.name == "asyncio"]
    assert [line for line in said if not line.startswith("Executing")] == []  # that is slowness


@pytest.mark.usefixtures("watched")
def test_a_cancelled_worker_ends_at_once_and_leaves_the_database_in_order(
    database: Database,
) -> None:
    async def cancelled() -> None:
        begun = asyncio.Event()

        def now() -> datetime:
            begun.set()
            return SLOT

        running = asyncio.create_task(worker_rounds.run(instance(database), now, ALONE))
        await begun.wait()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    asyncio.run(cancelled())
    assert rows_in(database, SLOT) <= 1
    assert one_round(database, SLOT + MINUTE).recorded == 1


@pytest.mark.usefixtures("watched")
def test_a_clock_that_is_ahead_of_the_databases_records_nothing_for_slots_to_come(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    """First come, first kept: it would stand in the way of what is true of that slot."""
    in_an_hour = (slots.slot_of(utc_now()) - SLOT).total_seconds() + 3_600
    run(database, in_an_hour)  # asked a third time it would sleep until the next slot
    assert stored(database) == []
    with database.reading() as session:
        assert round_log.between(session, SLOT, SLOT + timedelta(days=36_500)) == []
    assert "slot must not be in the future by the database's clock" in caplog.text
    run(database, 0, 0)
    assert slots_of(database) == [0]


@pytest.mark.usefixtures("watched")
def test_a_round_notes_what_was_due_and_what_came_of_it(database: Database) -> None:
    add_many(database, ["out of reach"], ip="224.0.0.1")  # nobody may probe it: a fault of ours
    one_round(database, now=Clock(0.5))
    with database.reading() as session:
        [tally] = round_log.between(session, SLOT, SLOT + MINUTE)
    assert (tally.slot, tally.due, tally.observed, tally.unobserved) == (SLOT, 2, 1, 1)
    assert tally.lag == timedelta(seconds=0.5)
    assert tally.duration is not None


@pytest.mark.usefixtures("watched")
def test_a_round_made_twice_is_noted_once(database: Database) -> None:
    one_round(database)
    one_round(database)
    with database.reading() as session:
        [tally] = round_log.between(session, SLOT, SLOT + MINUTE)
    assert (tally.due, tally.observed) == (1, 1)


# Others who write


@contextlib.contextmanager
def writing(database: Database) -> Iterator[Callable[[], None]]:
    """Somebody else writes, and nobody can note that a round begins, until the call given."""
    holding, over = threading.Event(), threading.Event()

    def hold() -> None:
        with opened(database.settings) as other, other.transaction() as session:
            if other.engine.dialect.name == "postgresql":
                session.execute(text("LOCK TABLE round IN EXCLUSIVE MODE"))
            holding.set()
            assert over.wait(60)

    holder = threading.Thread(target=hold)
    holder.start()
    assert holding.wait(60)
    try:
        yield over.set
    finally:
        over.set()
        holder.join()


@pytest.mark.usefixtures("watched")
def test_a_round_is_measured_while_somebody_else_writes_and_recorded_when_he_is_done(
    database: Database,
) -> None:
    echoed, released = threading.Event(), threading.Event()

    def release(stop: Callable[[], None]) -> None:
        if echoed.wait(10):
            released.set()
            stop()

    with writing(database) as stop:
        releasing = threading.Thread(target=release, args=[stop])
        releasing.start()
        done = one_round(database, progress=lambda _count: echoed.set())
        releasing.join()
    assert released.is_set()
    assert done.recorded == rows_in(database, SLOT) == 1


@pytest.mark.usefixtures("watched")
def test_a_beginning_that_could_not_be_noted_is_noted_with_what_came_of_the_round(
    settings: Settings, database: Database
) -> None:
    def stop_then(record: logging.LogRecord) -> bool:
        if record.getMessage().startswith("can't note that round"):
            stop()
        return True

    with opened(settings, statement_timeout_s=0.2) as hurried, writing(database) as stop:
        worker_rounds.log.addFilter(stop_then)
        try:
            done = one_round(hurried)
        finally:
            worker_rounds.log.removeFilter(stop_then)
    with database.reading() as session:
        [tally] = round_log.between(session, SLOT, SLOT + MINUTE)
    assert (done.recorded, tally.due, tally.observed) == (1, 1, 1)


def test_who_is_due_is_asked_again_within_the_slot(
    sqlite_settings: Settings, caplog: pytest.LogCaptureFixture, closed_port: int
) -> None:
    with opened(sqlite_settings, statement_timeout_s=0.2, echo_gap_s=0) as database:
        add(database, ip=HERE, probe=Probe.TCP, port=closed_port)
        database.engine.dispose()
        alone = sqlite3.connect(str(database.url.database), isolation_level=None)
        alone.execute("PRAGMA locking_mode=EXCLUSIVE")
        alone.execute("BEGIN IMMEDIATE")
        run(database, 0, alone.close, 5, 5, 6)
        assert slots_of(database) == [0]
    assert "round 2026-01-02T07:01:00Z waits for the database" in caplog.text


UNPRIVILEGED = """
import logging, os
from handlers.worker import rounds
logging.basicConfig(format="%(message)s")
os.setgroups([]); os.setgid(65534); os.setuid(65534)
rounds.say_what_is_missing()
"""


def test_a_worker_says_at_its_start_what_it_may_not_use() -> None:
    need_root()
    done = subprocess.run(
        ["unshare", "--net", sys.executable, "-c", UNPRIVILEGED],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    told = done.stderr.splitlines()
    assert "over TCP" in told[0]
    assert "net.ipv4.ping_group_range" in told[0]
    # That network has no loopback to try stamps on.
    assert "SO_TIMESTAMPNS" in told[1]


def test_a_worker_that_lacks_nothing_says_nothing(caplog: pytest.LogCaptureFixture) -> None:
    need_root()
    worker_rounds.say_what_is_missing()
    assert caplog.messages == []


def test_a_round_waits_for_the_clocks_stretches_before_it_touches_a_server(
    database: Database,
) -> None:
    server_id = add(database)
    reading = trust.Reading(SLOT, SILENT)
    beginning = worker_rounds.Beginning(1, reading)
    given = [database, SLOT, Measured([ping(server_id)], []), SLOT + MINUTE]
    with ThreadPoolExecutor(1) as thread:
        with database.transaction() as session:
            stretches.note(session, reading)
            recorded = thread.submit(worker_rounds.store, *given, beginning=beginning)
            wait_for_a_blocked_one(database)
            stretches.put_right(session, SLOT)
        assert recorded.result(60) == 1
