"""The file of an SQLite database: who may read it, and whether it is still the one."""

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
from flask.testing import FlaskClient
from sqlalchemy import text

from core import settings as core_settings
from core.errors import DatabaseReplaced, Misconfigured, SettingsError, Unavailable
from core.rounds.measure import Measured
from core.settings import Settings
from handlers.http.app import create_app
from handlers.worker import rounds
from infra import sqlite_file
from infra.database import Database
from tests.infra.databases import names, opened
from tests.infra.rows import SLOT, add, ping

EARLY = {"server": {"name": "early", "IP": "192.0.2.1"}}
SERVER = {"server": {"name": "late", "IP": "192.0.2.1"}}
WELL = (200, "OK")
REPLACED = (503, "DATABASE_REPLACED")
OF_THREE = ["pinglet.db", "pinglet.db-shm", "pinglet.db-wal"]


def mode(path: Path) -> str:
    return stat.filemode(path.stat().st_mode)


def file_of(settings: Settings) -> Path:
    return Path(settings.database_url.removeprefix("sqlite:///"))


def use(file: Path) -> None:
    """Do with a file what every start does."""
    with opened(Settings(database_url=f"sqlite:///{file}")) as database:
        names(database)


@pytest.fixture
def file(sqlite_settings: Settings) -> Path:
    """The file of an empty database."""
    return file_of(sqlite_settings)


@pytest.fixture
def database(sqlite_settings: Settings) -> Iterator[Database]:
    """That database, opened."""
    with opened(sqlite_settings) as found:
        yield found


# What DATABASE_URL may name


@pytest.mark.parametrize("kind", ["folder", "pipe"])
def test_what_is_no_file_is_refused_and_keeps_its_mode(tmp_path: Path, kind: str) -> None:
    named = tmp_path / kind
    named.mkdir(mode=0o755) if kind == "folder" else os.mkfifo(named, 0o644)
    mode = named.stat().st_mode
    with pytest.raises(SettingsError, match="DATABASE_URL must name a file, got"):
        Database(Settings(database_url=f"sqlite:///{named}"))
    assert named.stat().st_mode == mode


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("x" * 300, "File name too long"),
        ("x" * 250, "File name too long"),  # with -journal
        ("/".join(["x" * 100] * 6), "File name too long"),
        ("loop.db", "Too many levels of symbolic links"),
        ("loop.db/pinglet.db", "File exists"),
        ("loop.db/folder/pinglet.db", "Too many levels of symbolic links"),
        ("notes.txt/pinglet.db", "File exists"),
        ("notes.txt/folder/pinglet.db", "Not a directory"),
    ],
)
def test_a_file_that_cannot_be_made_is_refused(tmp_path: Path, name: str, reason: str) -> None:
    (tmp_path / "loop.db").symlink_to("loop.db")
    (tmp_path / "notes.txt").touch()
    with pytest.raises(SettingsError) as refusal:
        Database(Settings(database_url=f"sqlite:///{tmp_path}/{name}"))
    wanted = f"DATABASE_URL must name a file that can be made, got '{tmp_path}/{name}' ({reason})"
    assert str(refusal.value) == wanted


def test_the_longest_name_is_used(tmp_path: Path) -> None:
    use(tmp_path / ("x" * (255 - len("-journal"))))


@pytest.mark.parametrize("blank", [" ", "\t\n"])
def test_a_blank_url_is_refused(blank: str) -> None:
    wanted = "DATABASE_URL must be a URL such as sqlite:///FILE or postgres://"
    with pytest.raises(SettingsError, match=wanted):
        Settings.from_env({"DATABASE_URL": blank})
    with pytest.raises(SettingsError, match=wanted):
        Database(Settings(database_url=blank))


@pytest.mark.parametrize("url", ["sqlite:///x.db?mode=ro", "sqlite:///file:x.db?uri=true"])
def test_words_after_the_file_are_refused(url: str) -> None:
    with pytest.raises(SettingsError, match="must be sqlite:///FILE"):
        Database(Settings(database_url=url))


# Who may read it


@pytest.fixture
def _usual_umask() -> Iterator[None]:
    """As it is on most machines: everybody may read what somebody makes."""
    before = os.umask(0o022)
    yield
    os.umask(before)


@pytest.mark.usefixtures("_usual_umask")
def test_what_we_make_is_its_owners_alone(tmp_path: Path) -> None:
    folder = tmp_path / "instance"
    with opened(Settings(database_url=f"sqlite:///{folder}/pinglet.db")) as database:
        add(database)
        assert mode(folder) == "drwx------"
        made = {path.name: mode(path) for path in folder.iterdir()}
        assert made == dict.fromkeys(OF_THREE, "-rw-------")


@pytest.mark.parametrize("suffix", ["-wal", "-shm"])
def test_what_everybody_could_read_is_mended_at_the_start_and_said_once(
    file: Path, suffix: str, caplog: pytest.LogCaptureFixture
) -> None:
    file.chmod(0o600)
    loose = file.with_name(file.name + suffix)
    loose.write_text("left by a crash")
    loose.chmod(0o644)
    with opened(Settings(database_url=f"sqlite:///{file}")) as database:
        add(database)
        assert mode(loose) == "-rw-------"
        use(file)
    assert caplog.messages == [f"{loose}: could be read by everybody; now only by the owner"]


def test_a_loose_file_is_mended_with_what_is_beside_it(
    file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file.chmod(0o644)
    with opened(Settings(database_url=f"sqlite:///{file}")) as database:
        add(database)
        made = {path.name: mode(path) for path in file.parent.glob("pinglet.db*")}
    assert made == dict.fromkeys(OF_THREE, "-rw-------")
    [line] = caplog.messages
    assert line.startswith(f"{file}, {file}-wal, {file}-shm: could be read by everybody")


def test_what_was_opened_to_a_group_alone_stays(
    file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file.chmod(0o660)
    use(file)
    assert (mode(file), caplog.messages) == ("-rw-rw----", [])


def test_another_users_file_is_told_not_changed(
    file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    if os.geteuid() != 0:
        pytest.skip("NOT TESTED: files of another user; needs root")
    file.chmod(0o644)
    os.chown(file, 12_345, 12_345)
    use(file)
    assert mode(file) == "-rw-r--r--"
    [line] = caplog.messages
    assert line.startswith(f"{file}, ")
    assert line.endswith(": can be read by everybody, and belongs to another user: see to it")


def test_our_own_folder_is_closed_and_yours_left_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, yours = tmp_path / "instance", tmp_path / "yours"
    monkeypatch.setattr(sqlite_file, "LOCAL_DATABASE", ours / core_settings.LOCAL_DATABASE.name)
    for folder in (ours, yours):
        folder.mkdir(mode=0o755)
        use(folder / "pinglet.db")
    assert (mode(ours), mode(yours)) == ("drwx------", "drwxr-xr-x")


def test_a_file_of_another_kind_keeps_its_mode(tmp_path: Path) -> None:
    notes = tmp_path / "notes.txt"
    notes.write_text("not a database")
    notes.chmod(0o644)
    with pytest.raises(Unavailable, match="not a database"):
        use(notes)
    assert stat.S_IMODE(notes.stat().st_mode) == 0o644


def test_what_a_link_leads_to_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    (tmp_path / "link.db").symlink_to(tmp_path / "real.db")
    database = Database(Settings(database_url=f"sqlite:///{tmp_path}/link.db"))
    with database.reading():
        assert stat.S_IMODE((tmp_path / "real.db").stat().st_mode) == 0o600
    database.engine.dispose()


@pytest.mark.parametrize("suffix", ["-wal", "-shm", "-journal"])
@pytest.mark.parametrize("kind", ["link", "dangling link", "folder", "pipe", "socket"])
def test_what_is_no_file_beside_the_database_is_refused_and_keeps_its_mode(
    file: Path, suffix: str, kind: str
) -> None:
    beside, notes = file.with_name(file.name + suffix), file.with_name("notes.txt")
    notes.touch(0o644)
    {
        "link": lambda: beside.symlink_to(notes),
        "dangling link": lambda: beside.symlink_to("nowhere"),
        "folder": lambda: beside.mkdir(0o755),
        "pipe": lambda: os.mkfifo(beside, 0o644),
        "socket": lambda: os.mknod(beside, stat.S_IFSOCK | 0o644),
    }[kind]()
    before = beside.lstat().st_mode
    with pytest.raises(Misconfigured, match=f"{beside} must be a file, got something else"):
        use(file)
    assert (beside.lstat().st_mode, mode(notes)) == (before, "-rw-r--r--")
    assert not file.with_name("nowhere").exists()


# Its locks


def in_another_process(file: Path, statement: str) -> str:
    """Run a statement on a file as another program does; return how that ended."""
    program = (
        "import sqlite3, sys;"
        "file, statement = sys.argv[1:];"
        "sqlite3.connect(file, timeout=0, isolation_level=None).execute(statement)"
    )
    command = [sys.executable, "-c", program, str(file), statement]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stderr.strip().rpartition("\n")[2] or "done"


@pytest.mark.parametrize(
    ("journal", "statement"),
    [
        ("wal", "BEGIN IMMEDIATE"),
        ("wal", "PRAGMA journal_mode=DELETE"),
        ("delete", "BEGIN IMMEDIATE"),
    ],
)
def test_another_engine_of_the_process_leaves_the_locks_of_the_first_in_force(
    database: Database, file: Path, journal: str, statement: str
) -> None:
    """POSIX drops them when the process closes any descriptor of the file; SQLite never does."""
    assert in_another_process(file, f"PRAGMA journal_mode={journal}") == "done"
    with database.transaction() as session:
        session.execute(text("UPDATE server SET name = 'other'"))
        use(file)
        refusal = "sqlite3.OperationalError: database is locked"
        assert in_another_process(file, statement) == refusal
    database.engine.dispose()
    assert in_another_process(file, statement) == "done"


# Whether it is still the one


def names_in(file: Path) -> list[str]:
    """Return the servers of a file that no Pinglet has open."""
    with contextlib.closing(sqlite3.connect(file)) as connection:
        return [name for (name,) in connection.execute("SELECT name FROM server")]


@pytest.fixture
def client(sqlite_settings: Settings) -> Iterator[FlaskClient]:
    """A client of an application whose connection is open."""
    app = create_app(Settings(database_url=sqlite_settings.database_url, authentication=False))
    client = app.test_client()
    assert client.post("/", json=EARLY).status_code == 201
    yield client
    app.extensions["pinglet"].database.engine.dispose()


@pytest.fixture
def other(sqlite_template: Path, tmp_path: Path) -> Path:
    """Another file that is a database of ours."""
    return Path(shutil.copy(sqlite_template, tmp_path / "backup.db"))


def health(client: FlaskClient) -> tuple[int, str]:
    reply = client.get("/api/v1/health")
    return reply.status_code, reply.get_json()["status"]


def test_a_file_that_was_removed_is_said_and_takes_no_change(
    client: FlaskClient, file: Path
) -> None:
    file.unlink()
    assert health(client) == REPLACED
    assert client.post("/", json=SERVER).status_code == 503
    assert client.get("/").status_code == 503
    assert not file.exists()


def test_a_file_that_was_replaced_is_said_and_neither_takes_a_change(
    client: FlaskClient, file: Path, other: Path, caplog: pytest.LogCaptureFixture
) -> None:
    gone = file.rename(file.with_name("gone.db"))
    other.rename(file)
    before = file.read_bytes()
    assert health(client) == REPLACED
    assert client.post("/", json=SERVER).status_code == 503
    assert f"the database file {file} was replaced by another one" in caplog.text
    assert file.read_bytes() == before
    # What the -wal held went into the file it belongs to, and not into the new one.
    assert names_in(gone) == ["early"]
    assert file.with_name(file.name + "-wal").stat().st_size == 0
    with opened(Settings(database_url=f"sqlite:///{file}")) as restarted:
        assert names(restarted) == []


def test_a_file_that_was_put_back_serves_again(client: FlaskClient, file: Path) -> None:
    away = file.rename(file.with_name("away.db"))
    assert client.get("/").status_code == 503
    away.rename(file)
    assert client.post("/", json=SERVER).status_code == 201
    assert health(client) == WELL


def test_a_change_under_way_when_the_file_is_replaced_is_refused(
    database: Database, file: Path, other: Path
) -> None:
    add(database, "early")
    gone = file.with_name("gone.db")

    def change() -> None:
        with database.transaction() as session:
            session.connection().exec_driver_sql("UPDATE server SET name = 'late'")
            file.rename(gone)
            other.rename(file)

    with pytest.raises(DatabaseReplaced, match="replaced"):
        change()
    with pytest.raises(DatabaseReplaced):
        names(database)
    assert names_in(gone) == ["early"]


def test_every_connection_to_a_removed_file_is_dropped(database: Database, file: Path) -> None:
    add(database)
    with database.reading() as one, database.reading() as two:
        assert one.connection() is not two.connection()
    file.unlink()
    for _time in range(3):
        with pytest.raises(DatabaseReplaced, match="removed"):
            names(database)
    held = [os.path.realpath(f"/proc/self/fd/{number}") for number in os.listdir("/proc/self/fd")]
    assert [path for path in held if path.startswith(str(file))] == []


def test_a_log_that_was_removed_alone_is_saved_and_nothing_is_lost(
    client: FlaskClient, file: Path, tmp_path: Path
) -> None:
    file.with_name(file.name + "-wal").unlink()
    assert health(client) == WELL
    assert client.post("/", json=SERVER).status_code == 201
    left = tmp_path / "left"  # what the next start would find, were this process killed now
    left.mkdir()
    # By another process: this one would lose its locks on what it opens and closes.
    subprocess.run(["cp", *file.parent.glob("pinglet.db*"), left], check=True)
    assert names_in(left / file.name) == ["early", "late"]


def test_a_worker_notices_in_the_round_that_follows(database: Database, file: Path) -> None:
    server_id = add(database)
    file.unlink()
    with pytest.raises(DatabaseReplaced):
        rounds.due(database, SLOT)
    with pytest.raises(DatabaseReplaced):
        rounds.store(database, SLOT, Measured([ping(server_id)], []), SLOT)
