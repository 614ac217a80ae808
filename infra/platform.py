"""What Pinglet stands on: the oldest that will do, asked where it is first used.

What won't do is refused there, in one line that says what is needed and what was found: it would
otherwise fail later, where only a log says so. tests/test_platforms.py runs on the oldest.
"""

import re
from functools import cache
from importlib.util import find_spec
from typing import Any

from core.errors import PlatformError

SQLITE = (3, 34, 0)  # Debian 11, RHEL 9
POSTGRES = 12  # INCLUDE of indexes came with 11

SQLITE_CAN = {
    "JSON (SQLITE_ENABLE_JSON1)": "SELECT json_extract('[1]', '$[0]') FROM json_each('[1]')",
    "foreign keys (no SQLITE_OMIT_FOREIGN_KEY)": "PRAGMA foreign_keys",
}
"""What it may have been compiled without, and a question that it then doesn't answer with 1."""


@cache
def check_sqlite(driver: Any) -> None:
    """Raise PlatformError unless the SQLite behind this module can do what we need."""
    found = driver.sqlite_version
    if driver.sqlite_version_info < SQLITE:
        raise PlatformError(f"SQLite must be {_dotted(SQLITE)} or newer, got {found}")
    missing = [] if driver.threadsafety else ["threads (no SQLITE_THREADSAFE=0)"]
    connection = driver.connect(":memory:")
    try:
        connection.execute("PRAGMA foreign_keys=ON")
        missing += [what for what, asked in SQLITE_CAN.items() if not _is_one(connection, asked)]
    finally:
        connection.close()
    if missing:
        needed = ", ".join(missing)
        raise PlatformError(f"SQLite must be compiled with {needed}, got {found} without")


def _is_one(connection: Any, asked: str) -> bool:
    try:
        return bool(connection.execute(asked).fetchone() == (1,))
    except connection.OperationalError:
        return False


def check_postgres(connection: Any, _record: object) -> None:
    """Raise PlatformError where this new connection of pg8000's leads to a Postgres too old."""
    found = connection.parameter_statuses.get("server_version", "")  # a pooler may not say
    major = re.match(r"\d+", found)
    if major and int(major[0]) < POSTGRES:
        connection.close()
        raise PlatformError(f"Postgres must be {POSTGRES} or newer, got {found}")


def check_boto3() -> None:
    """Raise PlatformError where the library for secrets isn't installed; AWS Lambda has it."""
    if not _is_installed("boto3"):
        raise PlatformError(
            "boto3 must be installed where PINGLET_DATABASE_SECRET is set, got none"
        )


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ValueError:  # in sys.modules without a spec
        return False


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))
