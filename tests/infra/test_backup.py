"""Backups of an SQLite database: made and put back while others use it."""

import contextlib
import os
import shutil
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import event, text

from core.errors import Unavailable
from core.models import SCHEMA_VERSION
from core.settings import Settings
from infra import backup, migrations
from infra.backup import BackupRefused
from infra.database import Database
from tests.infra.databases import names, opened, unseen
from tests.infra.rows import add
from tests.upgrades import sqlite_file

ROOT = Path(__file__).parents[2]


@pytest.fixture
def file(sqlite_settings: Settings) -> Path:
    """The file of a database with one server, `early`."""
    file = Path(sqlite_settings.database_url.removeprefix("sqlite:///"))
    with opened(sqlite_settings) as database:
        add(database, "early")
    return file


@pytest.fixture
def database(file: Path) -> Iterator[Database]:
    """That database, opened."""
    with at(file) as found:
        yield found


@pytest.fixture
def backed_up(database: Database, tmp_path: Path) -> Path:
    """A backup of it; `late` came after."""
    made = tmp_path / "backup.db"
    backup.back_up(database, made, unseen)
    add(database, "late")
    return made


def at(file: Path) -> contextlib.AbstractContextManager[Database]:
    return opened(Settings(database_url=f"sqlite:///{file}"))


def names_in(file: Path) -> list[str]:
    with at(file) as found:
        return names(found)


def beside(file: Path) -> list[str]:
    """Return what else is in the folder of a database that is in use, its own files apart."""
    own = {file.name, f"{file.name}-wal", f"{file.name}-shm"}
    return sorted({path.name for path in file.parent.iterdir()} - own)


# A backup


def test_a_backup_is_one_file_its_owners_alone_and_has_what_the_log_holds(
    database: Database, file: Path, tmp_path: Path
) -> None:
    add(database, "late")
    made = tmp_path / "backup.db"
    assert backup.back_up(database, made, unseen) == 2
    assert beside(file) == ["backup.db"]
    assert stat.filemode(made.stat().st_mode) == "-rw-------"
    assert names_in(made) == ["early", "late"]


def test_a_backup_is_made_beside_a_writer_and_lacks_what_isnt_committed(
    database: Database, tmp_path: Path
) -> None:
    with database.transaction() as session:
        session.execute(text("UPDATE server SET name = 'late'"))
        backup.back_up(database, tmp_path / "backup.db", unseen)
    assert names_in(tmp_path / "backup.db") == ["early"]


def test_a_backup_never_writes_over_a_file(database: Database, tmp_path: Path) -> None:
    notes = tmp_path / "notes.txt"
    notes.write_text("mine")
    with pytest.raises(BackupRefused, match=r"notes.txt can't be used: File exists"):
        backup.back_up(database, notes, unseen)
    assert notes.read_text() == "mine"


def test_what_isnt_there_or_is_damaged_is_not_backed_up(
    database: Database, file: Path, tmp_path: Path
) -> None:
    with at(tmp_path / "nothing.db") as nothing, pytest.raises(BackupRefused, match="nothing to"):
        backup.back_up(nothing, tmp_path / "backup.db", unseen)
    damage(database)
    with pytest.raises(BackupRefused, match="is damaged: "):
        backup.back_up(database, tmp_path / "backup.db", unseen)
    assert beside(file) == []


def damage(database: Database) -> None:
    """Let an index lack what its table has."""
    with database.engine.connect() as connection:
        for statement in (
            "PRAGMA writable_schema=ON",
            "UPDATE sqlite_master SET rootpage = (SELECT rootpage FROM sqlite_master WHERE "
            "name = 'user') WHERE type = 'index' AND tbl_name = 'server'",
        ):
            connection.exec_driver_sql(statement)
        connection.commit()
    database.engine.dispose()


# What is put back


def test_a_running_process_sees_what_is_restored_and_goes_on(
    database: Database, file: Path, backed_up: Path
) -> None:
    with running(file) as process:
        assert asked(process, "names") == "early,late"
        with at(file) as ours:
            restored = backup.restore(ours, backed_up, unseen)
        assert restored == backup.Restored(1, Path(f"{file}.before-restore"), False)
        assert asked(process, "names") == "early"
        assert asked(process, "add") == "added"
    assert names(database) == ["early", "after"]


PROGRAM = """
import sys
from core.settings import Settings
from infra.database import Database
from tests.infra.databases import names
from tests.infra.rows import add

database = Database(Settings(database_url=sys.argv[1]))
for word in sys.stdin:
    if word == "add\\n":
        add(database, "after")
        print("added", flush=True)
    else:
        print(",".join(names(database)), flush=True)
"""


@contextlib.contextmanager
def running(file: Path) -> Iterator["subprocess.Popen[str]"]:
    """Another process that has a database open, and does as it is asked."""
    command = [sys.executable, "-c", PROGRAM, f"sqlite:///{file}"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, text=True) as process:
        yield process
        assert process.stdin
        process.stdin.close()


def asked(process: "subprocess.Popen[str]", word: str) -> str:
    assert process.stdin
    assert process.stdout
    process.stdin.write(f"{word}\n")
    process.stdin.flush()
    return process.stdout.readline().strip()


def test_what_was_there_is_kept_each_time(database: Database, file: Path, backed_up: Path) -> None:
    first = backup.restore(database, backed_up, unseen).kept
    second = backup.restore(database, backed_up, unseen).kept
    assert [first, second] == [Path(f"{file}.before-restore{end}") for end in ("", "-2")]
    assert stat.filemode(Path(f"{file}.before-restore").stat().st_mode) == "-rw-------"
    assert names_in(Path(f"{file}.before-restore")) == ["early", "late"]
    assert names_in(Path(f"{file}.before-restore-2")) == ["early"]
    backup.restore(database, Path(f"{file}.before-restore"), unseen)
    assert names(database) == ["early", "late"]


def test_a_log_that_a_killed_process_left_undoes_nothing(
    database: Database, file: Path, backed_up: Path, tmp_path: Path
) -> None:
    left = tmp_path / "killed" / file.name
    left.parent.mkdir()
    for path in (file, Path(f"{file}-wal")):
        # By another process: this one would lose its locks on what it opens and closes.
        subprocess.run(["cp", path, left.parent], check=True)
    assert Path(f"{left}-wal").stat().st_size > 0
    with at(left) as killed:
        backup.restore(killed, backed_up, unseen)
    assert names_in(left) == ["early"]
    with contextlib.closing(sqlite3.connect(left)) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_whoever_writes_is_waited_for_and_what_he_wrote_is_kept(
    database: Database, file: Path, backed_up: Path
) -> None:
    with opened(Settings(database_url=f"sqlite:///{file}", statement_timeout_s=0.1)) as ours:
        with database.transaction() as session:
            session.execute(text("UPDATE server SET name = 'x' WHERE name = 'late'"))
            with pytest.raises(Unavailable, match="others have written into the database"):
                backup.restore(ours, backed_up, unseen)
            assert beside(file) == ["backup.db"]
        backup.restore(ours, backed_up, unseen)
    assert names_in(Path(f"{file}.before-restore")) == ["early", "x"]


def test_nobody_writes_between_what_is_kept_and_what_is_put_back(
    database: Database, file: Path, backed_up: Path
) -> None:
    tries = 0

    @contextlib.contextmanager
    def trying(label: str) -> Iterator[backup.Progress]:
        done = 0

        def try_to_write(parts: int) -> None:
            nonlocal done, tries
            done += parts
            if label.startswith("Writing") and done < backup.PARTS:
                tries += 1
                with (
                    contextlib.closing(sqlite3.connect(file, timeout=0)) as other,
                    pytest.raises(sqlite3.OperationalError, match="locked"),
                ):
                    other.execute("UPDATE server SET name = 'lost'")
                assert names(database) == ["early", "late"]

        yield try_to_write

    backup.restore(database, backed_up, trying)
    assert tries > 10
    assert names(database) == ["early"]


def test_what_comes_into_an_empty_file_before_it_is_locked_is_kept(
    tmp_path: Path, backed_up: Path
) -> None:
    file = tmp_path / "empty.db"
    file.touch()
    with at(file) as empty, contextlib.closing(sqlite3.connect(file)) as other:
        statements: list[str] = []

        def be_quicker(statement: str) -> None:
            statements.append(statement)
            if statement == LAST_BEFORE_THE_LOCK and "PRAGMA synchronous=FULL" in statements:
                other.execute("CREATE TABLE note (words)")

        @event.listens_for(empty.engine, "connect")
        def watch(connection: sqlite3.Connection, _record: object) -> None:
            connection.set_trace_callback(be_quicker)

        restored = backup.restore(empty, backed_up, unseen)
        assert names(empty) == ["early"]
    assert restored.kept == Path(f"{file}.before-restore")
    with contextlib.closing(sqlite3.connect(restored.kept)) as kept:
        assert kept.execute("SELECT count(*) FROM note").fetchone() == (0,)


LAST_BEFORE_THE_LOCK = "PRAGMA busy_timeout=0"


@pytest.mark.parametrize("cut_off_at", [1, backup.PARTS // 2, backup.PARTS])
def test_whoever_is_cut_off_while_it_is_put_back_keeps_what_was_there(
    database: Database, file: Path, backed_up: Path, cut_off_at: int
) -> None:
    @contextlib.contextmanager
    def cut_off(label: str) -> Iterator[backup.Progress]:
        done = 0

        def count(parts: int) -> None:
            nonlocal done
            done += parts
            if label.startswith("Writing") and done >= cut_off_at:
                raise KeyboardInterrupt

        yield count

    with pytest.raises(KeyboardInterrupt):
        backup.restore(database, backed_up, cut_off)
    assert names_in(Path(f"{file}.before-restore")) == ["early", "late"]
    assert names(database) in (["early", "late"], ["early"])


def test_a_backup_of_an_earlier_release_is_upgraded_before_it_is_put_back(
    database: Database, tmp_path: Path
) -> None:
    folder = tmp_path / "v0.1.0"
    folder.mkdir()
    sqlite_file(folder)
    backup.restore(database, folder / "upgraded.db", unseen)
    assert "web" in names(database)
    with database.reading() as session:
        version = session.scalar(text("SELECT version_num FROM alembic_version"))
    assert version == SCHEMA_VERSION


@pytest.mark.parametrize("size", [1024, 65536])
def test_pages_of_another_size_are_put_back(database: Database, backed_up: Path, size: int) -> None:
    with contextlib.closing(sqlite3.connect(backed_up)) as connection:
        for statement in ("journal_mode=DELETE", f"page_size={size}"):
            connection.execute(f"PRAGMA {statement}")
        connection.execute("VACUUM")
    backup.restore(database, backed_up, unseen)
    assert names(database) == ["early"]


def test_a_database_that_is_gone_is_made_again(file: Path, backed_up: Path) -> None:
    for path in file.parent.glob("pinglet.db*"):
        path.unlink()
    with at(file) as anew:
        assert backup.restore(anew, backed_up, unseen) == backup.Restored(1, None, True)
        assert names(anew) == ["early"]
    assert beside(file) == ["backup.db"]
    assert stat.filemode(file.stat().st_mode) == "-rw-------"
    with contextlib.closing(sqlite3.connect(file)) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


@pytest.mark.parametrize("offset", [0, 100, 4096 * 3])
def test_a_damaged_database_is_replaced_and_kept(
    file: Path, backed_up: Path, database: Database, offset: int
) -> None:
    database.engine.dispose()
    with file.open("r+b") as damaged:
        damaged.seek(offset)
        damaged.write(b"\xff" * 4096)
    before = file.read_bytes()
    with at(file) as ours:
        restored = backup.restore(ours, backed_up, unseen)
        assert names(ours) == ["early"]
    assert restored.kept
    assert len(restored.kept.read_bytes()) == len(before)
    assert restored.is_another_file == (offset < 4096)


def test_what_a_database_that_is_gone_left_beside_it_is_kept(
    database: Database, file: Path, backed_up: Path
) -> None:
    with database.reading():  # so that nobody empties the -wal
        file.unlink()
        before = Path(f"{file}-wal").stat().st_size
        with at(file) as anew:
            backup.restore(anew, backed_up, unseen)
            assert names(anew) == ["early"]
        assert Path(f"{file}.before-restore-wal").stat().st_size == before > 0


def test_a_file_that_root_puts_back_is_its_owners(file: Path, backed_up: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("NOT TESTED: files of another user; needs root")
    file.unlink()
    os.chown(file.parent, 12_345, 12_346)
    with at(file) as ours:
        backup.restore(ours, backed_up, unseen)
    assert (file.stat().st_uid, file.stat().st_gid) == (12_345, 12_346)


def test_a_database_that_was_cut_off_is_replaced(
    file: Path, backed_up: Path, database: Database
) -> None:
    database.engine.dispose()
    os.truncate(file, 4096 * 5 + 100)
    with at(file) as ours:
        backup.restore(ours, backed_up, unseen)
        assert names(ours) == ["early"]


# What is refused


def test_what_is_no_backup_is_refused_and_changes_nothing(
    database: Database, file: Path, backed_up: Path, tmp_path: Path
) -> None:
    other, notes, damaged, newer, folder = (
        tmp_path / name for name in ("other.db", "notes.txt", "damaged.db", "newer.db", "folder")
    )
    with contextlib.closing(sqlite3.connect(other)) as connection:
        connection.execute("CREATE TABLE note (words)")
    notes.write_text("Dear Sir or Madam, this is no database. " * 100)
    shutil.copy(backed_up, damaged)
    with at(damaged) as to_damage:
        damage(to_damage)
    shutil.copy(backed_up, newer)
    with contextlib.closing(sqlite3.connect(newer)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
        connection.commit()
    folder.mkdir()
    for given, reason in (
        (tmp_path / "nothing.db", "nothing.db, which is no file"),
        (folder, "folder, which is no file"),
        (file, "the database itself"),
        (notes, "must be a database of Pinglet's, got another file .file is not a database"),
        (other, "must be a database of Pinglet's, got another file .no such table: server"),
        (damaged, "damaged.db is damaged: "),
    ):
        with pytest.raises(BackupRefused, match=reason):
            backup.restore(database, given, unseen)
    with pytest.raises(migrations.NewerSchema, match="got 9999 of a newer release"):
        backup.restore(database, newer, unseen)
    assert names(database) == ["early", "late"]
    made = {"backup.db", "other.db", "notes.txt", "damaged.db", "newer.db", "folder"}
    assert set(beside(file)) == made


def test_a_postgres_is_for_its_own_programs(postgres_settings: Settings, tmp_path: Path) -> None:
    with opened(postgres_settings) as database:
        for do in (backup.back_up, backup.restore):
            with pytest.raises(BackupRefused, match="use pg_dump and pg_restore for Postgres"):
                do(database, tmp_path / "backup.db", unseen)
