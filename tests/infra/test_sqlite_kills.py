"""A process is killed (-9) at any moment: what it acknowledged is there, and nothing is torn."""

import asyncio
import multiprocessing
import random
import shutil
import socket
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress
from datetime import timedelta
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from core.checks.records import Probe
from core.settings import Settings
from handlers.http.app import create_app
from handlers.worker import rounds
from infra import backup
from infra.database import Database
from tests.counts import PROCESS_KILLS
from tests.infra.databases import names, opened, unseen
from tests.infra.rows import IP, MINUTE, SLOT, add, add_many
from tests.instances import instance

DEADLINE_S = 250
HERE = "127.0.0.1"
SERVERS = [f"web-{number}" for number in range(300)]
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload([__name__])  # a child is there in a moment, and killed in its work
Do = Callable[[FlaskClient, int], int]
"""Does the task of this number, and once more where it was done in part; returns what was new."""

WHOLE = """
    SELECT 'a server without a schedule' FROM server
        WHERE id NOT IN (SELECT server_id FROM schedule)
    UNION SELECT 'a server that shows another than its newest ping' FROM server
        WHERE last_slot <> (SELECT max(datetime) FROM data WHERE server_id = server.id)
    UNION SELECT 'a torn round' FROM data GROUP BY datetime HAVING count(*) <> 300
    UNION SELECT 'a round without its row' FROM data
        WHERE datetime NOT IN (SELECT slot FROM round WHERE observed = 300)
"""
KEPT = [
    "SELECT name, ip, last_slot FROM server ORDER BY name",
    "SELECT name, schedule.interval_s, enabled FROM server JOIN schedule ON server.id = server_id "
    "ORDER BY name",
    "SELECT name, data.datetime, sent FROM server JOIN data ON server.id = server_id "
    "ORDER BY name, data.datetime",
    "SELECT name, date, packed FROM server JOIN day ON server.id = server_id ORDER BY name, date",
]
"""What must be the same whether somebody was killed or not: not ids, nor what was measured."""


def database_of(client: FlaskClient) -> Database:
    database: Database = client.application.extensions["pinglet"].database
    return database


def imports(client: FlaskClient, number: int) -> int:
    """Import a page that takes several steps."""
    began = SLOT - timedelta(days=900)
    pings = [[minute, 1.5, 1.0, 2.0, 4, 4] for minute in (number, 700)]
    dates = [(began + timedelta(days=day)).date().isoformat() for day in range(1, 300)]
    page = {
        "servers": [{"name": f"old-{number}", "ip": IP, "added": began.isoformat()}],
        "days": [{"server": f"old-{number}", "date": date, "pings": pings} for date in dates],
    }
    reply = client.post("/api/v1/import", json=page)
    assert reply.status_code == 200, reply.text
    return sum(reply.get_json().values())


def bulk(client: FlaskClient, number: int) -> int:
    """Put so many servers that it takes several steps."""
    wanted = [{"name": f"{number}-{one}", "ip": IP} for one in range(2_200)]
    reply = client.post("/api/v1/servers/bulk", json={"servers": wanted, "upsert": True})
    assert reply.status_code == 200, reply.text
    return sum(result["status"] != "UNCHANGED" for result in reply.get_json()["results"])


def one_by_one(client: FlaskClient, number: int) -> int:
    """Add a server by the contract, or find it there."""
    reply = client.post("/", json={"server": {"name": f"one-{number}", "IP": IP}})
    assert reply.status_code in (201, 400, 409), reply.text
    return int(reply.status_code == 201)


def make_round(client: FlaskClient, number: int) -> int:
    """Ping all servers, and record it."""
    slot, database = SLOT + number * MINUTE, database_of(client)
    targets = rounds.due(database, slot)[: len(SERVERS)]
    running = rounds.run_round(instance(database), slot, targets, now=lambda: slot)
    done = asyncio.run(running)
    assert len(done.pings) == len(SERVERS)
    return done.recorded


TASKS = [(imports, 3), (bulk, 2), (one_by_one, 40), (make_round, 6)]


def work(settings: Settings, do: Do, count: int, pipe: Connection) -> None:
    """Do one task after the other, and say so."""
    client = create_app(settings).test_client()
    pipe.send("ready")
    for number in range(count):
        do(client, number)
        pipe.send(number)


def begun(target: Callable[..., None], *given: Any) -> tuple[BaseProcess, Connection]:
    """Begin in a process of its own; return when it is about to work."""
    ours, its = CONTEXT.Pipe(duplex=False)
    process = CONTEXT.Process(target=target, args=[*given, its])
    process.start()
    its.close()
    assert ours.recv() == "ready"
    return process, ours


def told(pipe: Connection) -> list[Any]:
    """Return what a process said until it ended."""
    said = []
    with suppress(EOFError):
        while True:
            said.append(pipe.recv())
    return said


def usual_s(target: Callable[..., None], *given: Any) -> float:
    """How long it works if nobody kills it."""
    process, pipe = begun(target, *given)
    began = time.monotonic()
    told(pipe)
    process.join(DEADLINE_S)
    assert process.exitcode == 0
    return time.monotonic() - began


def killed(after_s: float, target: Callable[..., None], *given: Any) -> list[Any]:
    """Kill it so long after it began; return what it had acknowledged."""
    process, pipe = begun(target, *given)
    process.join(after_s)
    process.kill()
    process.join(DEADLINE_S)
    return told(pipe)


def faults(file: Path) -> list[Any]:
    """Return what is torn."""
    with closing(sqlite3.connect(file)) as connection:
        found = connection.execute("PRAGMA integrity_check").fetchall()
        found += connection.execute("PRAGMA foreign_key_check").fetchall()
        found += connection.execute(WHOLE).fetchall()
    return [one for one in found if one != ("ok",)]


def kept(file: Path) -> list[list[Any]]:
    """Return what is kept of servers, by their names."""
    with closing(sqlite3.connect(file)) as connection:
        return [connection.execute(query).fetchall() for query in KEPT]


def finish(settings: Settings, do: Do, count: int, acknowledged: Sequence[int]) -> None:
    """Do everything once more: of what was acknowledged nothing is new."""
    client = create_app(settings).test_client()
    news = [do(client, number) for number in range(count)]
    assert [news[number] for number in acknowledged] == [0] * len(acknowledged)
    database_of(client).engine.dispose()


@pytest.fixture
def filled(tmp_path: Path, sqlite_template: Path) -> Iterator[Callable[[str], Settings]]:
    """Make a file with servers; return the settings of an instance that anybody here may use."""
    first = Path(shutil.copy(sqlite_template, tmp_path / "first.db"))
    with socket.socket() as closed:
        closed.bind((HERE, 0))  # a port that refuses: as good an answer as any
        with opened(Settings(database_url=f"sqlite:///{first}")) as database:
            add_many(database, SERVERS, HERE, probe=Probe.TCP, port=closed.getsockname()[1])

        def make(name: str) -> Settings:
            file = Path(shutil.copy(first, tmp_path / name))
            url = f"sqlite:///{file}"
            return Settings(database_url=url, authentication=False, echo_gap_s=0.0)

        yield make


@pytest.mark.parametrize(("do", "count"), TASKS)
def test_whoever_writes_and_is_killed_loses_nothing_acknowledged_and_tears_nothing(
    filled: Callable[[str], Settings], tmp_path: Path, do: Do, count: int
) -> None:
    chance = random.Random(13)
    length_s = usual_s(work, filled("whole.db"), do, count)
    whole = kept(tmp_path / "whole.db")
    for kill in range(PROCESS_KILLS):
        settings, file = filled(f"{kill}.db"), tmp_path / f"{kill}.db"
        acknowledged = killed(chance.uniform(0, 1.1 * length_s), work, settings, do, count)
        assert faults(file) == []
        finish(settings, do, count, acknowledged)
        assert faults(file) == []
        assert kept(file) == whole
        file.unlink()


def restore(given: Path, wanted: Path, pipe: Connection) -> None:
    """Restore a backup."""
    pipe.send("ready")
    with opened(Settings(database_url=f"sqlite:///{wanted}")) as database:
        backup.restore(database, given, unseen)
    pipe.send("restored")


def test_a_restore_that_is_killed_leaves_the_old_or_the_new(
    filled: Callable[[str], Settings], tmp_path: Path
) -> None:
    chance = random.Random(14)
    with opened(filled("backup.db")) as database:
        add_many(database, [f"more {number}" for number in range(20_000)])
    given, new = tmp_path / "backup.db", kept(tmp_path / "backup.db")
    filled("now.db")
    length_s = usual_s(restore, given, tmp_path / "now.db")
    for kill in range(PROCESS_KILLS):
        settings, file = filled(f"{kill}.db"), tmp_path / f"{kill}.db"
        with opened(settings) as database:
            add(database, "late")  # and a -wal may be left beside it
        old = kept(file)
        said = killed(chance.uniform(0, 1.1 * length_s), restore, given, file)
        with opened(settings) as database:
            assert ("late" in names(database)) == (kept(file) == old)
        assert kept(file) in ([new] if said else [old, new])
        assert faults(file) == []
        file.unlink()
