"""Backups of an SQLite database: made, and put back, while Pinglet runs.

SQLite copies, under its own locks. Whoever has the file open goes on, and sees what was put back
from its next transaction on. A copy is one file, its owner's alone.
"""

import contextlib
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain, count
from pathlib import Path
from typing import Any

from sqlalchemy.exc import SQLAlchemyError

from core.errors import CoreError, Unavailable
from core.models import SCHEMA_VERSION
from infra import migrations, sqlite_file
from infra.database import Database

BUSY = (5, 6)  # SQLITE_BUSY, SQLITE_LOCKED
LOOK_S = 0.01
WAIT_S = 30.0
PARTS = 100
"""A copy is made in so many steps; each moves a bar on by one."""

Progress = Callable[[int], None]
Bar = Callable[[str], AbstractContextManager[Progress | None]]
"""What shows how far something is: given its label, and then how many of PARTS were done."""


class BackupRefused(CoreError):
    """A backup can't be made there, or isn't one that can be put back."""


@dataclass(frozen=True)
class Restored:
    """What was put back: so many servers. `kept` has what was there before, if anything."""

    servers: int
    kept: Path | None
    is_another_file: bool
    """Whether who had the old one open has to start again."""


def back_up(database: Database, wanted: Path, show: Bar) -> int:
    """Copy a database into a new file; return how many servers that has.

    Raises BackupRefused, Unavailable.
    """
    live = _live_file(database)
    driver: Any = database.engine.dialect.loaded_dbapi
    with _in_our_words(driver):
        if not live.exists():
            raise BackupRefused(f"there is nothing to back up: {live} isn't there")
        with _new(wanted), closing(driver.connect(wanted)) as copy:
            with _opened(database) as source, show(f"Copying to {wanted}") as progress:
                _copy(source, copy, progress)
            _version(copy, live)
            return _servers(copy)


def restore(database: Database, given: Path, show: Bar) -> Restored:
    """Put the content of a backup into the database, upgraded to this release.

    It is there as a whole or not at all, whatever is raised. What it takes the place of is kept
    in a file beside, also where this is cut off. Raises BackupRefused, NewerSchema, Unavailable.
    """
    live = _live_file(database)
    driver: Any = database.engine.dialect.loaded_dbapi
    with _in_our_words(driver), _staging(database, live) as staged:
        _check_given(given, live)
        _fill(staged, given, driver, show)
        if not live.exists() or not _is_readable(driver, live):
            with _opened(staged) as connection:
                servers = _servers(connection)
            return Restored(servers, _swap(staged, live), is_another_file=True)
        migrations.use_write_ahead_log(database.engine)
        with _opened(staged) as source, show(f"Writing {live}") as progress:
            kept = _put_back(database, source, live, progress)
            return Restored(_servers(source), kept, is_another_file=False)


def _fill(staged: Database, given: Path, driver: Any, show: Bar) -> None:
    """Copy a backup to look at it, and upgrade the copy. Raises BackupRefused, NewerSchema."""
    with (
        closing(_as_it_is(driver, given)) as source,
        _opened(staged) as copy,
        show(f"Reading {given}") as progress,
    ):
        version = _copy_backup(source, copy, given, progress)
    staged.engine.dispose()
    migrations.use_write_ahead_log(staged.engine)
    if version != SCHEMA_VERSION:
        staged.upgrade()


def _live_file(database: Database) -> Path:
    if database.engine.dialect.name != "sqlite":
        raise BackupRefused("this is for SQLite: use pg_dump and pg_restore for Postgres")
    return Path(str(database.url.database)).resolve()


def _check_given(given: Path, live: Path) -> None:
    if not given.is_file():
        raise BackupRefused(f"FILE must be a backup, got {given}, which is no file")
    if live.exists() and given.samefile(live):
        raise BackupRefused(f"FILE must be a backup, got {given}, which is the database itself")


@contextlib.contextmanager
def _in_our_words(driver: Any) -> Iterator[None]:
    try:
        yield
    except (driver.Error, SQLAlchemyError) as error:
        cause = getattr(error, "orig", error)
        raise Unavailable(f"the database can't be copied now: {cause}") from error
    except OSError as error:
        raise BackupRefused(f"{error.filename} can't be used: {error.strerror}") from error


@contextlib.contextmanager
def _new(file: Path) -> Iterator[None]:
    """Make an empty file, its owner's alone; remove it if what fills it fails. Raises OSError."""
    os.close(os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, sqlite_file.OURS_ALONE))
    try:
        yield
    except BaseException:
        file.unlink()
        raise


@contextlib.contextmanager
def _staging(database: Database, live: Path) -> Iterator[Database]:
    """A new database beside this one, for as long as it takes to look at what is put back."""
    with tempfile.TemporaryDirectory(prefix=f"{live.name}.restoring-", dir=live.parent) as folder:
        url = database.url.set(database=str(Path(folder) / live.name))
        staged = Database(replace(database.settings, database_url=url.render_as_string()))
        try:
            yield staged
        finally:
            staged.engine.dispose()


@contextlib.contextmanager
def _opened(database: Database) -> Iterator[Any]:
    """A connection of the driver's."""
    with closing(database.engine.raw_connection()) as connection:
        yield connection.driver_connection


def _as_it_is(driver: Any, file: Path) -> Any:
    """Open a file without changing it or needing to write beside it."""
    is_whole = not any(sqlite_file.beside(file, suffix).exists() for suffix in ("-wal", "-journal"))
    uri = f"{file.resolve().as_uri()}?mode=ro{'&immutable=1' if is_whole else ''}"
    return driver.connect(uri, uri=True)


def _copy_backup(source: Any, copy: Any, given: Path, progress: Progress | None) -> str:
    """Copy a backup; return the version of its tables. Raises BackupRefused, NewerSchema."""
    try:
        _copy(source, copy, progress)
    except copy.DatabaseError as error:
        raise _unfit(given, error) from error
    return _version(copy, given)


def _version(copy: Any, file: Path) -> str:
    """Return the version of the tables in the copy of a file.

    Raises BackupRefused where it isn't intact or isn't ours, NewerSchema.
    """
    try:
        (found,) = copy.execute("PRAGMA integrity_check(1)").fetchone()
        _servers(copy)
        (version,) = copy.execute("SELECT max(version_num) FROM alembic_version").fetchone()
    except copy.DatabaseError as error:
        raise _unfit(file, error) from error
    if found != "ok":
        raise BackupRefused(f"{file} is damaged: {found}")
    if str(version) > SCHEMA_VERSION:
        raise migrations.NewerSchema(
            f"{file} must have tables up to version {SCHEMA_VERSION}, got {version} of a newer "
            "release: upgrade Pinglet"
        )
    return str(version)


def _servers(connection: Any) -> int:
    (number,) = connection.execute("SELECT count(*) FROM server").fetchone()
    return int(number)


def _unfit(file: Path, error: Any) -> BackupRefused:
    if str(error.sqlite_errorname).startswith("SQLITE_CORRUPT"):
        return BackupRefused(f"{file} is damaged: {error}")
    return BackupRefused(f"{file} must be a database of Pinglet's, got another file ({error})")


def _copy(
    source: Any,
    wanted: Any,
    progress: Progress | None,
    once_locked: Callable[[], None] = lambda: None,
    wait_s: float = WAIT_S,
) -> None:
    """Copy all of one connection's database into another's, as it is now.

    `once_locked` is called as soon as nobody else can write there; what it raises ends the copy,
    and nothing was written. Raises Unavailable when others write there for too long.
    """
    # Within a transaction: else it would begin anew whenever somebody writes into the source.
    source.execute("BEGIN")
    (pages,) = source.execute("PRAGMA page_count").fetchone()
    wanted.execute("PRAGMA busy_timeout=0")  # the steps look more often
    give_up_s = time.monotonic() + wait_s
    shown = -1

    def step(status: int, remaining: int, _pages: int) -> None:
        nonlocal shown
        if status in BUSY:
            if time.monotonic() > give_up_s:
                raise Unavailable(f"others have written into the database for {wait_s:g} s")
            return
        if shown < 0:
            shown = 0
            once_locked()
        done = PARTS * (pages - remaining) // pages
        if progress:
            progress(done - shown)
        shown = done

    # More than one step, or all would be done before `once_locked`.
    source.backup(wanted, pages=max(1, pages // PARTS), progress=step, sleep=LOOK_S)
    source.execute("COMMIT")


def _is_readable(driver: Any, live: Path) -> bool:
    """Whether SQLite can read a file as a database, and so can write into it."""
    with closing(driver.connect(live)) as connection:
        try:
            connection.execute("SELECT count(*) FROM sqlite_master")
        except driver.DatabaseError as error:
            if str(error.sqlite_errorname).startswith(("SQLITE_NOTADB", "SQLITE_CORRUPT")):
                return False
            raise
    return True


def _swap(staged: Database, live: Path) -> Path | None:
    """Move a file into the place of another; return where that is kept, if it was there."""
    staged.engine.dispose()  # now it is one file
    ready, kept = Path(str(staged.url.database)), _free_name(live)
    owner = (live if live.exists() else live.parent).stat()
    with contextlib.suppress(PermissionError):  # only root can, and only there it matters
        os.chown(ready, owner.st_uid, owner.st_gid)
    for suffix in reversed(sqlite_file.BESIDE):
        with contextlib.suppress(FileNotFoundError):
            sqlite_file.beside(live, suffix).rename(sqlite_file.beside(kept, suffix))
    ready.rename(live)
    _sync_names(live.parent)
    return kept if kept.exists() else None


def _sync_names(folder: Path) -> None:
    """Have the disk hold the names in a folder, so that no power cut takes what was moved."""
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def _put_back(
    database: Database, source: Any, live: Path, progress: Progress | None
) -> Path | None:
    """Copy the source into the database; return where what was there is kept, if anything."""
    driver: Any = database.engine.dialect.loaded_dbapi
    wait_s = database.settings.statement_timeout_s
    kept = _free_name(live)
    with _opened(database) as wanted:
        _match_pages(source, wanted)
        wanted.execute("PRAGMA synchronous=FULL")
        # Nobody can write in between: what is kept is what is replaced, to the last change.
        _copy(source, wanted, progress, partial(_keep, driver, live, kept), wait_s)
        with contextlib.suppress(driver.OperationalError):  # others still read what was there
            wanted.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return kept if kept.exists() else None


def _keep(driver: Any, live: Path, kept: Path) -> None:
    """Copy what there is, if anything, into a file that then stays: it may be all that is left."""
    with closing(driver.connect(live)) as source:
        (pages,) = source.execute("PRAGMA page_count").fetchone()
        if pages <= 1:  # no tables yet
            return
        with _new(kept), closing(driver.connect(kept)) as copy:
            _copy(source, copy, None)


def _match_pages(source: Any, wanted: Any) -> None:
    """Give the source pages as large as those of the file that it goes into, or SQLite refuses."""
    (size,) = wanted.execute("PRAGMA page_size").fetchone()
    if source.execute("PRAGMA page_size").fetchone() != (size,):
        source.execute("PRAGMA journal_mode=DELETE")
        source.execute(f"PRAGMA page_size={size}")
        source.execute("VACUUM")
        source.execute("PRAGMA journal_mode=WAL")


def _free_name(live: Path) -> Path:
    first = sqlite_file.beside(live, ".before-restore")
    later = (sqlite_file.beside(first, f"-{number}") for number in count(2))
    return next(name for name in chain([first], later) if not name.exists())
