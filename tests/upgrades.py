"""What an older release's database is asked after an upgrade, and its rows on Postgres."""

import csv
import hashlib
import io
import json
import lzma
import re
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any

from tests.pins.pins import pages
from tests.pins.world import Place, insert_rows, postgres_connection, postgres_tables, stopped

FIXTURE = Path(__file__).parent / "fixtures" / "v0_1_0"
LONG = 5_000
METRIC = re.compile(r"^(?:# (?:HELP|TYPE) )?([a-z_]+)")


def asked() -> Iterator[str]:
    """Yield the addresses."""
    yield from ("/", "/?server=web&limit=100", "/?server=was+changed&since=2026-09-17&limit=100")
    yield from ("/api/v1/servers", "/api/v1/servers?sort=state", "/api/v1/metrics")
    yield from ("/api/v1/me", "/api/v1/users", "/api/v1/tokens", "/api/v1/health")
    yield "/api/v1/export?format=json"
    for number in range(1, 7):
        server = f"/api/v1/servers/{number}"
        yield server
        yield from (f"{server}/pings?limit=20", f"{server}/pings?since=2026-09-09T10&limit=20")
        yield f"{server}/pings?since=2026-09-29&limit=10000"
        yield f"{server}/series"
        yield f"{server}/series?since=2026-09-24T12:34:56Z&points=300"
        yield f"{server}/series?since=2026-09-01T12:34:56Z&points=300"
        for window in ("1h", "24h", "7d", "30d"):
            yield f"{server}/summary?window={window}"
        yield f"{server}/summary?since=2026-09-09T10:07:00Z&until=2026-09-29T23:59:00Z"


def answers(place: Place, token: str, now: datetime) -> dict[str, Any]:
    """Return each answer as data."""
    shown = {"Authorization": f"Bearer {token}"}
    with stopped(now):
        return {address: _answer(place, address, shown) for address in asked()}


def figures(told: dict[str, Any], known: Iterable[str]) -> dict[str, Any]:
    """Return what is `known` of each answer; of long ones the hash.

    A later release may say more. What the older one said must be the same.
    """
    keys = set(known)
    return {address: _short(known_part(answer, keys)) for address, answer in told.items()}


def _answer(place: Place, address: str, shown: dict[str, str]) -> Any:
    if "format=json" in address:
        return [json.loads(page) | {"next": None} for page in pages(place, "json", shown)]
    if "format=csv" in address:
        texts = pages(place, "csv", shown)
        return [row for text in texts for row in csv.DictReader(io.StringIO(text))]
    answer = place.client.get(address, headers=shown)
    if not answer.is_json:
        return _by_metric(answer.text)
    # When a token was last used changes with asking.
    body = re.sub(r'"last_used":"[^"]*"', '"last_used":""', answer.text)
    return [answer.status_code, json.loads(body)]


def _by_metric(text: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        (name,) = METRIC.findall(line)
        found.setdefault(name, []).append(line)
    return found


def known_part(value: Any, keys: set[str]) -> Any:
    """Leave out what has another key; those that are times stay."""
    if isinstance(value, list):
        return [known_part(one, keys) for one in value]
    if isinstance(value, dict):
        kept = {key for key in value if key in keys or key[:1].isdigit()}
        return {key: known_part(value[key], keys) for key in value if key in kept}
    return value


def keys_of(value: Any) -> set[str]:
    """Return all keys in it, but those that are times."""
    if isinstance(value, list):
        return set().union(*map(keys_of, value))
    if isinstance(value, dict):
        ours = {key for key in value if not key[:1].isdigit()}
        return ours.union(*map(keys_of, value.values()))
    return set()


def _short(value: Any) -> Any:
    text = json.dumps(value, sort_keys=True)
    if len(text) < LONG:
        return value
    return f"{len(text)} characters, sha256 {hashlib.sha256(text.encode()).hexdigest()}"


def sqlite_file(folder: Path) -> str:
    """Unpack the database; return its URL."""
    file = folder / "upgraded.db"
    file.write_bytes(lzma.decompress((FIXTURE / "pinglet.db.xz").read_bytes()))
    return f"sqlite:///{file}"


def fill_postgres(url: str, folder: Path) -> None:
    """Make the tables that v0.1.0 had there, with the same rows."""
    source = sqlite3.connect(sqlite_file(folder).removeprefix("sqlite:///"))
    with closing(source), closing(postgres_connection(url)) as target:
        cursor = target.cursor()
        for statement in (FIXTURE / "postgres.sql").read_text().split(";\n"):
            if statement.strip():
                cursor.execute(statement)
        cursor.execute("SET TIME ZONE 'UTC'")
        cursor.execute("SET session_replication_role = replica")
        for table in postgres_tables(cursor):
            _copy(source, cursor, table)
        target.commit()


def _copy(source: sqlite3.Connection, cursor: Any, table: str) -> None:
    cursor.execute(
        "SELECT column_name, data_type FROM information_schema.columns "
        "WHERE table_schema = 'public' AND table_name = %s",
        (table,),
    )
    kinds = dict(cursor.fetchall())
    rows = source.execute(f'SELECT * FROM "{table}"')
    columns = [name for name, *_ in rows.description]
    readers = [READERS.get(kinds[name], _as_it_is) for name in columns]
    read = [[reader(value) for reader, value in zip(readers, row, strict=True)] for row in rows]
    insert_rows(cursor, table, columns, read)


def _as_it_is(value: Any) -> Any:
    return value


def _time(value: str | None) -> datetime | None:
    return None if value is None else datetime.fromisoformat(f"{value}+00:00")


READERS: dict[str, Any] = {
    "timestamp with time zone": _time,
    "date": lambda value: datetime.fromisoformat(value).date(),
    "boolean": bool,
}
