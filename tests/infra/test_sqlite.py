"""SQLite: real transactions, readers beside a writer, a file that is locked."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import select, text

from core import models
from core.errors import Unavailable
from core.settings import Settings
from tests.infra.databases import names, opened
from tests.infra.rows import add


def test_sqlite_takes_its_write_lock_at_the_start_so_that_nobody_loses_what_he_read(
    sqlite_settings: Settings,
) -> None:
    with opened(sqlite_settings) as database:
        add(database, "0")

        def increment(_number: int) -> None:
            with database.transaction() as session:
                server = session.scalars(select(models.Server)).one()
                server.name = str(int(server.name) + 1)

        with ThreadPoolExecutor(8) as threads:
            list(threads.map(increment, range(80)))
        assert names(database) == ["80"]


def test_sqlite_readers_dont_wait_for_a_writer(sqlite_settings: Settings) -> None:
    with opened(sqlite_settings, statement_timeout_s=0.1) as database:
        add(database)
        with database.transaction() as session:
            session.execute(text("UPDATE server SET name = 'other'"))
            assert names(database) == ["web"]


def test_sqlite_is_in_wal_mode_with_foreign_keys_on(sqlite_settings: Settings) -> None:
    with opened(sqlite_settings) as database, database.reading() as session:
        assert session.scalar(text("PRAGMA journal_mode")) == "wal"
        assert session.scalar(text("PRAGMA foreign_keys")) == 1


def test_sqlite_waits_for_the_disk_unless_what_is_written_can_be_done_again(
    sqlite_settings: Settings,
) -> None:
    def synchronous(**how: bool) -> object:
        with database.transaction(**how) as session:
            return session.scalar(text("PRAGMA synchronous"))

    normal, full = 1, 2
    with opened(sqlite_settings) as database:
        assert synchronous() == full
        assert synchronous(durable=False) == normal
        assert synchronous() == full


def test_an_sqlite_file_that_stays_locked_is_unavailable(sqlite_settings: Settings) -> None:
    with opened(sqlite_settings, statement_timeout_s=0.1) as database:
        with database.transaction(), pytest.raises(Unavailable, match="locked"):
            add(database)
        assert add(database)
