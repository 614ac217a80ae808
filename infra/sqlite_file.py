"""The file of an SQLite database: whose it is, who may read it, and whether it is still the one.

Nothing here opens the file: when a process closes a descriptor of it, it loses all the locks that
its connections hold on it. Only SQLite knows how to wait with that.
Source: sqlite.org/howtocorrupt.html, 2.2.
"""

import contextlib
import errno
import logging
import os
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, event
from sqlalchemy.exc import InvalidatePoolError

from core.errors import DatabaseReplaced, Misconfigured
from core.settings import LOCAL_DATABASE

log = logging.getLogger("pinglet.database")

OURS_ALONE = 0o600
OUR_FOLDER = 0o700
LOG = "-wal"
BESIDE = ("", LOG, "-shm", "-journal")
"""What SQLite calls its files, after the database's name. Source: sqlite.org/tempfiles.html"""
LONGEST_PATH = 512
"""Octets, as SQLite is usually compiled. Source: sqlite.org/src, MAX_PATHNAME of os_unix.c"""

Identity = tuple[int, int]
"""A file's device and inode: they stay while its name may come to mean another."""


def guard(engine: Engine, file: Path) -> None:
    """Keep an engine's file to its owner, and the engine to that file.

    Whoever removes the file, or puts another one in its place, leaves every open connection with
    one that nobody will find again. So each looks before it begins and before it commits. From then
    on the engine refuses (DatabaseReplaced) until its process starts again, or its file is back.
    Where the -wal alone was removed, its content is saved from the connection that has it open.
    """
    target = file.resolve()  # SQLite puts its other files beside what a link leads to
    log_file = beside(target, LOG)
    opened: list[Identity] = []

    def is_other() -> bool:
        return bool(opened) and _identity(file) != opened[0]

    @event.listens_for(engine, "do_connect")
    def look_before_opening(*_given: object) -> None:
        if is_other():
            raise DatabaseReplaced(str(file), is_there=file.exists())
        _check_beside(target)
        # SQLite would let everybody read it; what it puts beside a file has that file's mode.
        with contextlib.suppress(OSError):  # it is there, or SQLite says why it can't be
            os.mknod(target, stat.S_IFREG | OURS_ALONE)

    @event.listens_for(engine, "connect")
    def remember(connection: Any, _record: object) -> None:
        found = _identity(file)
        if found and not opened:
            opened.append(found)
            if _is_database(connection):
                _make_private(target)

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


def _check_beside(file: Path) -> None:
    """Raise Misconfigured where a link, a pipe or a folder has a name that SQLite would use."""
    for suffix in BESIDE[1:]:
        path = beside(file, suffix)
        if path.is_symlink() or (path.exists() and not path.is_file()):
            raise Misconfigured(f"{path} must be a file, got something else: remove it")


def _empty_log(connection: Any) -> None:
    """Write a connection's -wal into its own file: beside another one, it would undo that one.

    SQLite itself leaves it as it is when it closes a file that was moved.
    """
    with contextlib.suppress(connection.Error):  # another process has it open, and does the same
        connection.execute("PRAGMA busy_timeout=0")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def beside(file: Path, suffix: str) -> Path:
    """Return the file whose name has this at its end."""
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


def check_length(file: Path) -> None:
    """Raise OSError where a file, or what SQLite will put beside it, has too long a name."""
    longest = beside(file, max(BESIDE, key=len))
    if len(os.fsencode(longest)) > LONGEST_PATH:
        raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG))
    with contextlib.suppress(FileNotFoundError):
        longest.lstat()


def _is_database(connection: Any) -> bool:
    """Whether SQLite takes the file for a database, or is kept from it by who uses it as one."""
    try:
        connection.execute("PRAGMA busy_timeout=0")
        connection.execute("PRAGMA schema_version")
    except connection.DatabaseError as error:
        return str(error.sqlite_errorname).startswith("SQLITE_BUSY")
    return True


def _make_private(file: Path) -> None:
    """Take from everybody else what earlier releases let them read: it holds passwords' hashes.

    What was opened to a group alone was opened by somebody; that stays.
    """
    _take_from_others([beside(file, suffix) for suffix in BESIDE], stat.S_IFREG, OURS_ALONE)
    if file.parent == LOCAL_DATABASE.parent.resolve():
        _take_from_others([file.parent], stat.S_IFDIR, OUR_FOLDER)


def _take_from_others(paths: Iterable[Path], kind: int, mode: int) -> None:
    """Give what is of this kind that mode; never what a link leads to, nor anything else."""
    told: dict[str, list[str]] = {}
    for path in paths:
        if what := _taken_from_others(path, kind, mode):
            told.setdefault(what, []).append(str(path))
    for what, whose in told.items():
        log.warning("%s: %s", ", ".join(whose), what)


def _taken_from_others(path: Path, kind: int, mode: int) -> str | None:
    """Return what is to be said of it, if anything."""
    try:
        found = path.lstat()
        if stat.S_IFMT(found.st_mode) != kind or not found.st_mode & stat.S_IRWXO:
            return None
        if found.st_uid != os.geteuid():
            return "can be read by everybody, and belongs to another user: see to it"
        path.chmod(mode)
    except FileNotFoundError:
        return None
    except OSError as error:
        return f"can be read by everybody ({error.strerror}): change the mode yourself"
    return "could be read by everybody; now only by the owner"
