"""SQLite: real transactions, readers beside a writer, a file that is locked."""

import threading
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


def test_a_process_that_has_just_begun_reads_beside_a_writer(sqlite_settings: Settings) -> None:
    with opened(sqlite_settings) as database:
        add(database)
        with database.transaction() as session:
            session.execute(text("UPDATE server SET name = 'other'"))
            with opened(sqlite_settings, statement_timeout_s=0.1) as fresh:
                assert names(fresh) == ["web"]


def test_what_would_rather_stay_undone_waits_for_nobody(sqlite_settings: Settings) -> None:
    with opened(sqlite_settings, statement_timeout_s=60) as database:
        with database.transaction() as session:
            session.execute(text("UPDATE server SET name = 'other'"))
            with pytest.raises(Unavailable, match="locked"), database.transaction(waits=False) as s:
                s.execute(text("SELECT 1"))
        with database.transaction(waits=False) as session:
            session.execute(text("UPDATE server SET name = 'other'"))


def test_who_waits_to_write_has_his_turn_between_many_short_transactions(
    sqlite_settings: Settings,
) -> None:
    """A long job leaves the file free for some ms at a time: SQLite alone looks each 100 ms."""
    begun, over = threading.Event(), threading.Event()

    def work_on() -> None:
        with opened(sqlite_settings) as busy:
            while not over.is_set():
                with busy.transaction() as session:
                    session.execute(text("UPDATE server SET port = 1"))
                    begun.set()
                    over.wait(0.19)
                over.wait(0.01)

    working = threading.Thread(target=work_on)
    with opened(sqlite_settings, statement_timeout_s=1) as database:
        add(database)
        working.start()
        try:
            assert begun.wait(60)
            for number in range(8):
                add(database, f"web {number}")
        finally:
            over.set()
            working.join()
        assert len(names(database)) == 9
