"""The file of an SQLite database: whose it is, who may read it, and whether it is still the one."""

import contextlib
import logging
import os
import stat
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, event
from sqlalchemy.exc import InvalidatePoolError

from core.errors import DatabaseReplaced
from core.settings import LOCAL_DATABASE

log = logging.getLogger("pinglet.database")

OURS_ALONE = 0o600
OUR_FOLDER = 0o700
LOG = "-wal"
BESIDE = ("", LOG, "-shm", "-journal")
"""What SQLite calls its files, after the database's name. Source: sqlite.org/tempfiles.html"""

Identity = tuple[int, int]
"""A file's device and inode: they stay while its name may come to mean another."""


def guard(engine: Engine, file: Path) -> None:
    """Keep an engine's file to its owner, and the engine to that file.

    Whoever removes the file, or puts another one in its place, leaves every open connection with
    one that nobody will find again. So each looks before it begins and before it commits. From then
    on the engine refuses (DatabaseReplaced) until its process starts again, or its file is back.
    Where the -wal alone was removed, its content is saved from the connection that has it open.
    """
    _make_private(file)
    target = file.resolve()  # SQLite puts its other files beside what a link leads to
    log_file = _beside(target, LOG)
    opened: list[Identity] = []

    def is_other() -> bool:
        return bool(opened) and _identity(file) != opened[0]

    @event.listens_for(engine, "do_connect")
    def look_before_opening(*_given: object) -> None:
        if is_other():
            raise DatabaseReplaced(str(file), is_there=file.exists())
        # SQLite would let everybody read it; what it puts beside a file has that file's mode.
        with contextlib.suppress(OSError):  # it is there, or SQLite says why it can't be
            os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_RDWR, OURS_ALONE))

    @event.listens_for(engine, "connect")
    def remember(*_given: object) -> None:
        found = _identity(file)
        if found and not opened:
            opened.append(found)

    @event.listens_for(engine, "checkin")
    def remember_log(_connection: object, record: Any) -> None:
        record.info[LOG] = record.info.get(LOG) or _identity(log_file)

    @event.listens_for(engine, "checkout")
    def look_before_use(connection: Any, record: Any, _proxy: object) -> None:
        has_lost_log = record.info.get(LOG) and record.info[LOG] != _identity(log_file)
        if is_other() or has_lost_log:
            _empty_log(connection)
            raise InvalidatePoolError  # drops this connection and its like, and opens another

    @event.listens_for(engine, "commit")
    def look_before_commit(connection: Connection) -> None:
        if is_other() and not connection.get_execution_options().get("reading", False):
            raise DatabaseReplaced(str(file), is_there=file.exists())


def _empty_log(connection: Any) -> None:
    """Write a connection's -wal into its own file: beside another one, it would undo that one.

    SQLite itself leaves it as it is when it closes a file that was moved.
    """
    with contextlib.suppress(connection.Error):  # another process has it open, and does the same
        connection.execute("PRAGMA busy_timeout=0")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _beside(file: Path, suffix: str) -> Path:
    return file.with_name(file.name + suffix)


def _identity(file: Path) -> Identity | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def make_folder(folder: Path) -> None:
    """Make the folder of a database, for its owner alone. Raises OSError."""
    folder.mkdir(mode=OUR_FOLDER, parents=True, exist_ok=True)


def is_ours(file: Path) -> bool:
    """Whether a file is there that is an SQLite database, or empty, as SQLite begins one.

    Source: sqlite.org/fileformat2.html, 1.3.
    """
    try:
        if not file.is_file():
            return False
        with file.open("rb") as opened:
            return opened.read(len(MAGIC)) in (b"", MAGIC)
    except OSError:
        return False


MAGIC = b"SQLite format 3\0"


def _make_private(file: Path) -> None:
    """Take from everybody else what earlier releases let them read: it holds passwords' hashes.

    What was opened to a group alone was opened by somebody; that stays.
    """
    for suffix in BESIDE if is_ours(file) else ():
        _take_from_others(_beside(file.resolve(), suffix), OURS_ALONE)
    if file.parent.resolve() == LOCAL_DATABASE.parent:
        _take_from_others(file.parent, OUR_FOLDER)


def _take_from_others(path: Path, mode: int) -> None:
    try:
        found = path.stat()
        if not found.st_mode & stat.S_IRWXO:
            return
        if found.st_uid != os.geteuid():
            log.warning(
                "%s can be read by everybody, and belongs to another user: see to it",
                path,
            )
            return
        path.chmod(mode)
        log.warning("%s could be read by everybody; now only by its owner", path)
    except FileNotFoundError:
        return
    except OSError as error:
        log.warning(
            "%s can be read by everybody (%s): change its mode yourself", path, error.strerror
        )
