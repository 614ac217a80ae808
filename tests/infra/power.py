"""A process whose power is cut after each call: does the disk hold what it acknowledged?

    LD_PRELOAD=synced.so WATCHED=FOLDER SYNCED=OTHER python -m tests.infra.power

synced.c keeps in SYNCED what the process has synced of the database in FOLDER. After each call that
copy is opened as the next start would, and compared with the database itself. Writes a list of
[what was called, whether the copy holds the same], as JSON.
"""

import json
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from flask.testing import FlaskClient

from core.rounds.measure import Measured
from core.settings import Settings
from handlers.http.app import create_app
from handlers.worker import rounds
from infra.database import Database
from tests.infra.rows import SLOT, ping
from tests.people import PASSWORD, basic

WATCHED, SYNCED = (Path(os.environ.get(name, "")) for name in ("WATCHED", "SYNCED"))
EVERYTHING = (
    "SELECT * FROM server ORDER BY id",
    "SELECT * FROM schedule ORDER BY 1, 2",
    "SELECT * FROM user ORDER BY id",
    "SELECT * FROM token ORDER BY id",
    "SELECT * FROM latch ORDER BY name",
    "SELECT * FROM day ORDER BY 1, 2",
)
ANN = {"name": "ann", "password": PASSWORD, "role": "admin"}
BOB = {"name": "bob", "password": PASSWORD}
EXPORT = {
    "servers": [
        {
            "name": "imported",
            "ip": "192.0.2.9",
            "added": "2026-01-01T00:00:00Z",
            "schedule": [{"since": "2026-01-01T00:00:00Z", "interval_s": 60, "enabled": True}],
        }
    ],
    "days": [{"server": "imported", "date": "2026-01-01", "pings": [[1, 1.5, 1.5, 1.5, 4, 4]]}],
}
CALLS: list[tuple[str, str, object]] = [
    *(("POST", "/", {"server": {"name": f"web-{n}", "IP": "192.0.2.1"}}) for n in range(20)),
    ("PUT", "/", {"server": {"name": "web-1", "IP": "192.0.2.2"}}),
    ("DELETE", "/", {"server": "web-2"}),
    ("POST", "/api/v1/servers/bulk", {"servers": [{"name": "many", "ip": "192.0.2.3"}]}),
    ("POST", "/api/v1/import", EXPORT),
    ("POST", "/api/v1/users", ANN),
    ("POST", "/api/v1/users", BOB),
    ("PATCH", "/api/v1/users/2", {"enabled": False}),
    ("POST", "/api/v1/tokens", {"name": "script"}),
    ("POST", "/api/v1/session", {"name": "ann", "password": PASSWORD}),
    ("PUT", "/api/v1/me/password", {"old": PASSWORD, "new": PASSWORD}),
    ("POST", "/graphql", {"query": "mutation { removeServer(id: 2) { status } }"}),
]


def main() -> None:
    """Make every call, with a round before each, and print what the disk would hold."""
    url = f"sqlite:///{WATCHED}/pinglet.db"
    app = create_app(Settings(database_url=url, authentication=False))
    database = app.extensions["pinglet"].database
    told = [(name, is_kept()) for name in _called(app.test_client(), database)]
    print(json.dumps(told))


def _called(client: FlaskClient, database: Database) -> Iterator[str]:
    users = False
    for number, (method, path, body) in enumerate(CALLS):
        rounds.store(database, SLOT.replace(minute=number), Measured([ping(number)], []), SLOT)
        reply = client.open(path, method=method, json=body, headers=basic() if users else {})
        assert reply.status_code in (200, 201), reply.text
        users = users or path == "/api/v1/users"
        yield f"{number} {method} {path}"


def is_kept() -> bool:
    """Whether a copy of what is synced, opened, holds what the database does."""
    with tempfile.TemporaryDirectory() as folder:
        left = shutil.copytree(SYNCED, Path(folder, "left"))
        return _read(left, _kept) == _read(WATCHED, _kept)


def _read(folder: Path, read: Callable[[sqlite3.Connection], object]) -> object:
    connection = sqlite3.connect(folder / "pinglet.db")
    try:
        return read(connection)
    finally:
        connection.close()


def _kept(connection: sqlite3.Connection) -> object:
    rows = [connection.execute(query).fetchall() for query in EVERYTHING]
    return connection.execute("PRAGMA integrity_check").fetchall(), rows


if __name__ == "__main__":
    main()
