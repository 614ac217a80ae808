"""Across worker, database and API: many write at once, and Postgres is killed under a round."""

import asyncio
import logging
import multiprocessing
import random
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest

from core import clock
from core.checks.records import Probe, Target
from core.errors import Unavailable
from core.rounds.measure import Measured
from core.servers import find
from core.settings import Settings
from handlers.http.app import create_app
from handlers.worker import rounds
from infra.database import Database
from tests.counts import KILLS, TRANSACTIONS
from tests.infra.rows import MINUTE, SLOT, add, add_many, ping, rows_in, stored
from tests.instances import ALONE, instance
from tests.postgres import Postgres

PROCESSES = 8
SERVERS = 500
HERE = "127.0.0.1"


def early() -> datetime:
    """A clock at which a round that can't be recorded is tried again, for ever."""
    return SLOT


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port that refuses: as good an answer as any, and no queue that could overflow."""
    with socket.socket() as reserved:
        reserved.bind((HERE, 0))
        yield reserved.getsockname()[1]


# Many processes on one SQLite file


def live(settings: Settings, number: int, transactions: int) -> list[str]:
    """Post, read, ping, change and delete until so many transactions are done.

    Return the names that must be there at the end; each has a ping in every tenth slot.
    """
    app = create_app(settings)
    database: Database = app.extensions["pinglet"].database
    client = app.test_client()
    kept = []
    for step in range(transactions // 5):
        name = f"{number}-{step}"
        body = {"server": {"name": name, "IP": HERE}}
        assert client.post("/", json=body).status_code == 201
        assert name in client.get("/").get_json()["servers"]
        with database.reading() as session:
            server_id = find.by_name(session, name).id
        measured = Measured([ping(server_id, ip=HERE)], [])
        assert rounds.store(database, SLOT + step * MINUTE, measured, SLOT) == 1
        assert len(client.get("/", json={"server": name}).get_json()["pings"]) == 1
        if step % 2:
            assert client.delete("/", json={"server": name}).status_code == 200
        else:
            kept.append(name)
    database.engine.dispose()
    return kept


def test_eight_processes_on_one_sqlite_file_lose_nothing_and_are_never_locked_out(
    sqlite_settings: Settings,
) -> None:
    spawn = multiprocessing.get_context("spawn")
    settings = replace(sqlite_settings, authentication=False)
    share = TRANSACTIONS // PROCESSES
    with ProcessPoolExecutor(PROCESSES, mp_context=spawn) as processes:
        working = [processes.submit(live, settings, number, share) for number in range(PROCESSES)]
        kept = [name for done in working for name in done.result()]
    database = Database(sqlite_settings)
    with database.reading() as session:
        assert sorted(find.names(session)) == sorted(kept)
    assert len(stored(database)) == len(kept)
    database.engine.dispose()


# Postgres killed


def killed_after(cluster: Postgres, delay_s: float) -> threading.Timer:
    timer = threading.Timer(delay_s, cluster.kill)
    timer.start()
    return timer


def fresh_count(cluster: Postgres, slot: datetime) -> int:
    """Count a slot's rows over a connection that has seen nothing of what went before."""
    other = Database(Settings(database_url=cluster.url()))
    try:
        return rows_in(other, slot)
    finally:
        other.engine.dispose()


class Missed(logging.Handler):
    """Does something as soon as a round can't be recorded and is to be tried again."""

    def __init__(self, act: Callable[[], object]) -> None:
        super().__init__()
        self.act = act

    def emit(self, record: logging.LogRecord) -> None:
        """Look whether the worker says so."""
        if "waits for the database" in record.getMessage():
            self.act()


@contextmanager
def when_missed(act: Callable[[], object]) -> Iterator[None]:
    handler = Missed(act)
    logging.getLogger("pinglet.worker").addHandler(handler)
    try:
        yield
    finally:
        logging.getLogger("pinglet.worker").removeHandler(handler)


def is_recorded(database: Database, slot: datetime, targets: list[Target]) -> bool:
    """Run a round without a second attempt; whether it was acknowledged."""

    async def one_attempt() -> bool:
        running = asyncio.create_task(
            rounds.run_round(instance(database), slot, targets, now=lambda: slot)
        )
        with when_missed(running.cancel):
            [done] = await asyncio.gather(running, return_exceptions=True)
        if isinstance(done, asyncio.CancelledError | Unavailable):
            return False
        assert not isinstance(done, BaseException), done
        assert len(done.pings) == SERVERS
        return True

    return asyncio.run(one_attempt())


def test_kill_9_of_postgres_tears_no_round_and_loses_none_that_was_acknowledged(
    cluster: Postgres, closed_port: int
) -> None:
    database = Database(Settings(database_url=cluster.url(), echo_gap_s=0))
    names = [f"web-{number}" for number in range(SERVERS)]
    add_many(database, names, HERE, probe=Probe.TCP, port=closed_port)
    targets = rounds.due(database, SLOT)
    began = time.monotonic()
    assert is_recorded(database, SLOT, targets)
    usual_s = time.monotonic() - began
    chance = random.Random(4)
    acknowledged = [SLOT]
    for kill in range(1, KILLS + 1):
        slot = SLOT + 2 * kill * MINUTE
        timer = killed_after(cluster, chance.uniform(0, 1.2 * usual_s))
        if is_recorded(database, slot, targets):
            acknowledged.append(slot)
        timer.join()
        cluster.start()
        assert fresh_count(cluster, slot) in (0, SERVERS), "a torn round"
        assert is_recorded(database, slot + MINUTE, targets), "the next round, unaided"
        acknowledged.append(slot + MINUTE)
        assert [fresh_count(cluster, known) for known in acknowledged] == [SERVERS] * len(
            acknowledged
        )
    database.engine.dispose()


def test_kill_9_in_the_midst_of_recording_tears_nothing_either(cluster: Postgres) -> None:
    database = Database(Settings(database_url=cluster.url()))
    ids = add_many(database, [f"web-{number}" for number in range(2_000)])
    chance = random.Random(5)
    for kill in range(KILLS):
        slot = SLOT + kill * MINUTE
        timer = killed_after(cluster, chance.uniform(0, 0.2))
        acknowledged = True
        try:
            rounds.store(database, slot, Measured([ping(server_id) for server_id in ids], []), slot)
        except Unavailable:
            acknowledged = False
        timer.join()
        cluster.start()
        assert fresh_count(cluster, slot) in ([len(ids)] if acknowledged else [0, len(ids)])
        rounds.store(database, slot, Measured([ping(server_id) for server_id in ids], []), slot)
        assert fresh_count(cluster, slot) == len(ids)
    database.engine.dispose()


def test_a_database_that_is_away_when_the_echoes_are_back_gets_the_round_later(
    cluster: Postgres, closed_port: int
) -> None:
    database = Database(Settings(database_url=cluster.url(), echo_gap_s=0))
    add(database, ip=HERE, probe=Probe.TCP, port=closed_port)
    missed = threading.Event()

    def come_back() -> None:
        assert missed.wait(250)
        cluster.start()

    def go_away(_count: int) -> None:
        if not returning.is_alive():
            cluster.kill()
            returning.start()

    returning = threading.Thread(target=come_back)
    with when_missed(missed.set):
        done = asyncio.run(
            rounds.run_round(
                instance(database), SLOT, rounds.due(database, SLOT), go_away, now=early
            )
        )
    returning.join()
    assert done.recorded == rows_in(database, SLOT) == 1
    database.engine.dispose()


def test_a_database_that_is_away_at_the_start_costs_that_round_and_no_other(
    cluster: Postgres, closed_port: int
) -> None:
    database = Database(Settings(database_url=cluster.url(), echo_gap_s=0, connect_timeout_s=2))
    add(database, ip=HERE, probe=Probe.TCP, port=closed_port)
    script: list[Any] = [
        cluster.kill,
        SLOT,
        cluster.start,
        SLOT + MINUTE,
        SLOT + MINUTE,
        SLOT + MINUTE,
    ]

    def now() -> datetime:
        while callable(step := script.pop(0)):
            step()
        assert isinstance(step, datetime)
        return step

    with pytest.raises(IndexError):
        asyncio.run(rounds.run(instance(database), now, ALONE))
    assert [slot for _id, slot, _ms in stored(database)] == [SLOT + MINUTE]
    database.engine.dispose()


def test_a_database_that_stays_away_is_given_up_when_the_slot_after_next_begins(
    cluster: Postgres, closed_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = Database(Settings(database_url=cluster.url(), echo_gap_s=0, connect_timeout_s=2))
    add(database, ip=HERE, probe=Probe.TCP, port=closed_port)
    targets = rounds.due(database, SLOT)
    cluster.kill()

    def two_minutes_pass() -> None:
        late_s = clock.uptime_s() + 120
        monkeypatch.setattr(clock, "uptime_s", lambda: late_s)

    with when_missed(two_minutes_pass), pytest.raises(Unavailable):
        asyncio.run(rounds.run_round(instance(database), SLOT, targets, now=lambda: SLOT))
    database.engine.dispose()
