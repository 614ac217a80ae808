"""A small world that never changes: two databases, a stopped clock, users, servers, pings.

The one file of the pins that imports Pinglet. Everything else goes through its front doors.
"""

import base64
import json
import os
import re
import sqlite3
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from datetime import datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any
from unittest import mock
from urllib.parse import urlsplit

import pg8000.dbapi
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import BindParameter, func, literal
from sqlalchemy.types import TypeEngine

from core.checks.records import Ping, Probe, Target, Unobserved
from core.rounds.messages import Batch, Results
from core.settings import Settings
from handlers import api
from tests.postgres import Postgres

ROOT = Path(__file__).parents[2]
NOW = datetime.fromisoformat("2026-01-20T12:00:30+00:00")
PASSWORD = "correct horse battery staple"
USERS = {"ann": "admin", "eve": "editor", "vic": "viewer"}
SCOPES = {"admin": "admin", "editor": "write", "viewer": "read"}
KINDS = ("sqlite", "postgres")
TOKEN = re.compile(r"pinglet_[\w-]{43}")
Headers = dict[str, str]


@contextmanager
def stopped(moment: datetime) -> Iterator[None]:
    """Let Pinglet's one clock stand still, and the databases' with it."""
    with (
        mock.patch("core.clock.datetime", StoppedClock(moment)),
        mock.patch("core.rounds.log.func", StoppedDatabase(moment)),
    ):
        yield


@dataclass
class StoppedClock:
    """Says always the same."""

    moment: datetime

    def now(self, _zone: object) -> datetime:
        """Return it."""
        return self.moment


@dataclass
class StoppedDatabase:
    """The same of a database."""

    moment: datetime

    def now(self, **kind: TypeEngine[Any]) -> BindParameter[Any]:
        """Return it, as SQL."""
        return literal(self.moment, kind["type_"])

    def __getattr__(self, name: str) -> Any:
        """Everything else is as ever."""
        return getattr(func, name)


def application(database_url: str, **variables: str) -> Flask:
    """Return the application, by its front door."""
    return api.create_app(Settings.from_env({"DATABASE_URL": database_url, **variables}))


def environment(database_url: str = "", **more: str) -> dict[str, str]:
    """Return this process's environment without anything that was set for Pinglet or Flask."""
    ours = ("PINGLET_", "FLASK_", "DATABASE_", "AWS_", "WERKZEUG_", "COLUMNS", "FORCE_COLOR")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    given = {"DATABASE_URL": database_url} if database_url else {}
    return kept | given | {"COLUMNS": "80", "PYTHONUTF8": "1"} | more


def run(
    *arguments: str, database_url: str = "", stdin: str = "", **more: str
) -> subprocess.CompletedProcess[str]:
    """Run `python -m ARGUMENTS` in the project's folder."""
    return subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=ROOT,
        env=environment(database_url, **more),
        input=stdin,
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )


@dataclass
class Place:
    """A database of one kind with its application."""

    kind: str
    url: str
    opened: bool = False  # whoever sits at this machine may do everything
    app: Flask = field(init=False)
    client: FlaskClient = field(init=False)

    def __post_init__(self) -> None:
        """Make its tables and open it."""
        done = run("flask", "db", "upgrade", database_url=self.url)
        assert done.returncode == 0, done.stderr
        self.open()

    def open(self) -> None:
        """Build the application."""
        authentication = "0" if self.opened else "1"
        self.app = application(self.url, PINGLET_AUTHENTICATION=authentication)
        self.client = self.app.test_client(use_cookies=False)

    def close(self) -> None:
        """Let go of the database."""
        for name in {"_copy", "_sqlite", "_postgres"} & set(vars(self)):
            vars(self).pop(name).close()
        self.app.extensions["pinglet"].database.engine.dispose()

    def keep(self) -> None:
        """Remember all rows."""
        if self.kind == "sqlite":
            self._copy = sqlite3.connect(":memory:")
            self._sqlite.backup(self._copy)
            self._seen = self._data_version()
        else:
            cursor = self._postgres.cursor()
            self._rows = {name: rows_of(cursor, name) for name in postgres_tables(cursor)}
            self._marks = self._fingerprints()

    def restore(self) -> None:
        """Have exactly the rows again that were there at `keep`."""
        if self.kind == "sqlite":
            seen = self._data_version()
            if seen != self._seen:
                self._copy.backup(self._sqlite)
                self._seen = self._data_version()
        else:
            self._write_back()

    def _data_version(self) -> int:
        # It changes when another connection has committed something.
        (version,) = self._sqlite.execute("PRAGMA data_version").fetchone()
        return int(version)

    def _write_back(self) -> None:
        cursor = self._postgres.cursor()
        cursor.execute("SET LOCAL session_replication_role = replica")
        marks = self._fingerprints()
        for table, (columns, rows) in self._rows.items():
            if marks[table] != self._marks[table]:
                cursor.execute(f'DELETE FROM "{table}"')
                insert_rows(cursor, table, columns, rows)
            elif "id" in columns:
                count_on(cursor, table)
        self._postgres.commit()

    def _fingerprints(self) -> dict[str, str]:
        one = "SELECT '{0}', md5(string_agg(t::text, ',' ORDER BY t::text)) FROM \"{0}\" t"
        cursor = self._postgres.cursor()
        cursor.execute(" UNION ALL ".join(one.format(table) for table in self._rows))
        return dict(cursor.fetchall())

    @cached_property
    def _sqlite(self) -> sqlite3.Connection:
        return sqlite3.connect(self.url.removeprefix("sqlite:///"), isolation_level=None)

    @cached_property
    def _postgres(self) -> Any:
        return postgres_connection(self.url)


def rows_of(cursor: Any, table: str) -> tuple[list[str], Sequence[Any]]:
    """Return a table's columns and rows."""
    cursor.execute(f'SELECT * FROM "{table}"')
    return [column[0] for column in cursor.description], cursor.fetchall()


def postgres_connection(url: str) -> Any:
    """Connect to it past Pinglet."""
    parts = urlsplit(url)
    return pg8000.dbapi.connect(
        user=parts.username or "",
        password=parts.password,
        host=parts.hostname or "",
        port=parts.port or 5432,
        database=parts.path[1:],
    )


def postgres_tables(cursor: Any) -> list[str]:
    """Return the names of all tables."""
    cursor.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1")
    return [name for (name,) in cursor.fetchall()]


def insert_rows(cursor: Any, table: str, columns: list[str], rows: Sequence[Any]) -> None:
    """Insert rows with their ids; new ones get greater ids."""
    names = ", ".join(f'"{column}"' for column in columns)
    places = f"({', '.join(['%s'] * len(columns))})"
    for some in (rows[start : start + 200] for start in range(0, len(rows), 200)):
        values = ", ".join([places] * len(some))
        statement = f'INSERT INTO "{table}" ({names}) VALUES {values}'
        cursor.execute(statement, [value for row in some for value in row])
    if "id" in columns:
        count_on(cursor, table)


def count_on(cursor: Any, table: str) -> None:
    """Let the next id be the one after the greatest."""
    cursor.execute(
        f"SELECT setval(pg_get_serial_sequence('\"{table}\"', 'id'), "
        f'(SELECT coalesce(max(id), 0) + 1 FROM "{table}"), false)'
    )


class World:
    """Databases in `folder` and in a cluster, made when they are asked for."""

    def __init__(self, folder: Path, cluster: Postgres) -> None:
        self.folder = folder
        self.cluster = cluster
        self.places: dict[tuple[str, str], Place] = {}
        self.tokens: dict[str, Headers] = {}

    def place(self, kind: str, name: str, opened: bool = False) -> Place:
        """Return a database of that kind and name, empty at first."""
        if (kind, name) not in self.places:
            url = self.new_url(kind, name)
            self.places[kind, name] = Place(kind, url, opened)
        return self.places[kind, name]

    def new_url(self, kind: str, name: str) -> str:
        """Return the URL of an empty database without tables."""
        if kind == "sqlite":
            return f"sqlite:///{self.folder}/{name}.db"
        return new_database(self.cluster, name)

    def guarded(self, kind: str) -> tuple[Place, dict[str, Headers]]:
        """Return the place with users and servers, and what each of them shows."""
        place = self.place(kind, "guarded", opened=True)
        if f"{kind} is ready" not in self.tokens:
            with stopped(NOW):
                fill(place)
                self._people(place, kind)
            place.keep()
            self.tokens[f"{kind} is ready"] = {}
        return place, {
            name: self.tokens[f"{kind} {name}"] for name in ("viewer", "editor", "admin", "session")
        }

    def _people(self, place: Place, kind: str) -> None:
        # The first user ends open access; from then on she adds the others.
        headers: Headers = {}
        for name, role in USERS.items():
            user = {"name": name, "password": PASSWORD, "role": role}
            answer = place.client.post("/api/v1/users", json=user, headers=headers)
            assert answer.status_code == 201, answer.text
            headers = {"Authorization": basic("ann")}
        place.close()
        place.opened = False
        place.open()
        for name, role in USERS.items():
            wanted = {"name": "of the pins", "scope": SCOPES[role]}
            shown = {"Authorization": basic(name)}
            answer = place.client.post("/api/v1/tokens", json=wanted, headers=shown)
            assert answer.status_code == 201, answer.text
            bearer = f"Bearer {answer.get_json()['token']}"
            self.tokens[f"{kind} {role}"] = {"Authorization": bearer}
        log_in = {"name": "eve", "password": PASSWORD}
        answer = place.client.post("/api/v1/session", json=log_in)
        (cookie,) = TOKEN.findall(answer.headers["Set-Cookie"])
        shown = {"Cookie": f"pinglet_session={cookie}", "X-Requested-With": "fetch"}
        self.tokens[f"{kind} session"] = shown

    def open_to_all(self, kind: str) -> Place:
        """Return the place with the same servers, and without users."""
        place = self.place(kind, "opened", opened=True)
        if f"{kind} is open" not in self.tokens:
            with stopped(NOW):
                fill(place)
            place.keep()
            self.tokens[f"{kind} is open"] = {}
        return place

    def close(self) -> None:
        """Let go of all databases."""
        for place in self.places.values():
            place.close()


def new_database(cluster: Postgres, name: str) -> str:
    """Return the URL of an empty database in a cluster; one of that name goes."""
    connection = postgres_connection(cluster.url())
    connection.autocommit = True
    cursor = connection.cursor()
    cursor.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
    cursor.execute(f"CREATE DATABASE {name}")
    connection.close()
    return cluster.url(name)


def basic(name: str, password: str = PASSWORD) -> str:
    """Return the header by which `curl -u` logs in."""
    return "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()


def fill(place: Place) -> None:
    """Add some servers with pings of three days; all but today's are packed."""
    answer = place.client.post("/api/v1/import", data=json.dumps(history()))
    assert answer.status_code == 200, answer.text


def history() -> dict[str, Any]:
    """Return the export that makes the world."""
    servers = [
        server("web", "127.0.0.1", schedule=[planned(-3, 60)], last=(719, 12.5, 4, 4)),
        server("db", "127.0.0.2", "tcp", 1, schedule=[planned(-3, 300)], last=(715, 3.25, 4, 3)),
        server(
            "cache",
            "127.0.0.3",
            "icmp",
            schedule=[planned(-3, 60), planned(-1, 120)],
            last=(718, None, 4, 0),
        ),
        server("old", "127.0.0.4", schedule=[planned(-3, 60), planned(-1, 60, enabled=False)]),
        server('a, "b" <i>é', "127.0.0.5", "tcp", 443, schedule=[planned(0, 3600)]),
    ]
    days = [
        {"server": "web", "date": "2026-01-18", "pings": [up(n) for n in range(600, 660)]},
        {"server": "web", "date": "2026-01-19", "pings": [up(n) for n in range(0, 1440, 7)]},
        {"server": "web", "date": "2026-01-20", "pings": [up(n) for n in range(660, 720)]},
        {"server": "db", "date": "2026-01-18", "pings": [lossy(n) for n in range(0, 1440, 5)]},
        {"server": "db", "date": "2026-01-20", "pings": [lossy(n) for n in range(0, 720, 5)]},
        {"server": "cache", "date": "2026-01-20", "pings": [lost(n) for n in range(0, 720, 2)]},
        {"server": "old", "date": "2026-01-18", "pings": [up(n) for n in range(10, 20)]},
    ]
    return {"servers": servers, "days": days, "next": None}


def server(
    name: str,
    ip: str,
    probe: str = "auto",
    port: int | None = None,
    schedule: Sequence[dict[str, Any]] = (),
    last: tuple[int, float | None, int, int] | None = None,
) -> dict[str, Any]:
    """Return a server as an export has it; `last` is its newest ping, by today's minute."""
    shown = {"name": name, "ip": ip, "added": time(-3), "probe": probe, "port": port}
    if last is not None:
        keys = ("slot", "response_ms", "sent", "received")
        shown["last_ping"] = dict(zip(keys, (time(0, last[0]), *last[1:]), strict=True))
    return shown | {"schedule": list(schedule)}


def time(day: int, minute: int = 0) -> str:
    """Return a time of today or of some days before."""
    midnight = NOW.replace(hour=0, minute=0, second=0)
    moment = midnight + timedelta(days=day, minutes=minute)
    return moment.isoformat().replace("+00:00", "Z")


def planned(day: int, interval_s: int, enabled: bool = True) -> dict[str, Any]:
    """Return a row of a schedule that holds from that day on."""
    return {"since": time(day), "interval_s": interval_s, "enabled": enabled}


def up(minute: int) -> list[Any]:
    """Return a ping of which all echoes came back."""
    ms = 10 + minute % 97 / 4
    return [minute, ms, ms / 2, ms * 2, 4, 4]


def lossy(minute: int) -> list[Any]:
    """Return one of which sometimes one got lost, and sometimes all."""
    if minute % 100 == 35:
        return lost(minute)
    return [minute, 3.25, 3, 3.5, 4, 3 if minute % 15 == 10 else 4]


def lost(minute: int) -> list[Any]:
    """Return one that nothing came back of."""
    return [minute, None, None, None, 4, 0]


# What can't be seen through a front door


SLOT = NOW.replace(second=0)


def batch_texts() -> list[str]:
    """Return a Batch with every kind of target, as it goes over the queue."""
    targets = [
        Target(1, "192.0.2.1", Probe.AUTO, None, None),
        Target(2, "192.0.2.2", Probe.AUTO, None, 443),
        Target(3, "192.0.2.3", Probe.ICMP, None, None),
        Target(4, "192.0.2.4", Probe.TCP, 5432, None),
        Target(2**63 - 1, "192.0.2.5", Probe.TCP, 65535, 1),
    ]
    deadline = SLOT + timedelta(seconds=50)
    return [Batch(SLOT, deadline, targets).text(), Batch(SLOT, deadline, []).text()]


def results_texts() -> list[str]:
    """Return Results with every kind of ping and of none, as they go over the queue."""
    pings = [
        Ping(1, "192.0.2.1", 4, 4, 12.34, 1.5, 20.0, Probe.ICMP, None),
        Ping(2, "192.0.2.2", 4, 3, 0.01, 0.01, 0.02, Probe.TCP, 443),
        Ping(3, "192.0.2.3", 4, 0, None, None, None, Probe.ICMP),
        Ping(4, "192.0.2.4", 4, 0, None, None, None, Probe.TCP, 22),
        Ping(5, "192.0.2.5", 1, 1, 3599999.99, 0.0, 1e-05, Probe.TCP, 65535),
    ]
    lost = [
        Unobserved(6, "our network"),
        Unobserved(2**63 - 1, 'na\u00efve \u2028 "quoted" \\ \U0001f6f0' + "x" * 400),
    ]
    many = [Unobserved(number, "x" * 300) for number in range(1, 701)]
    found = [Results(SLOT, pings, lost), Results(SLOT, [], []), Results(SLOT, [], many)]
    return [text for results in found for text in results.texts()]


def settings() -> list[tuple[str, str, str, str]]:
    """Return each setting's variable, name, default and meaning."""
    return [
        (one.metadata["variable"], one.name, repr(one.default), one.metadata["meaning"])
        for one in fields(Settings)
    ]
