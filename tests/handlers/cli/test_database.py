"""`flask db` and `flask demo`, and a database that can't be used: one line each."""

import re
from pathlib import Path

import pytest
from flask.testing import FlaskCliRunner

from core.models import SCHEMA_VERSION
from core.settings import Settings
from handlers.cli import app as local
from tests.handlers.cli.commands import done, refused
from tests.handlers.conftest import ROOT, Flask, open_to_all
from tests.infra.databases import database_in, role
from tests.postgres import Postgres


def test_an_upgrade_says_where_the_tables_are(cli: FlaskCliRunner) -> None:
    for _ in range(2):
        assert SCHEMA_VERSION in done(cli, "db", "upgrade")


def test_the_demo_makes_up_servers_and_history_once(sqlite_settings: Settings) -> None:
    app = local.create_app(open_to_all(sqlite_settings.database_url))
    cli = app.test_cli_runner()
    assert "5 servers with 1 day of" in done(cli, "demo", "--days", "1")
    listed = done(cli, "servers", "list").splitlines()
    assert len(listed) == 5
    assert all(line.startswith("demo ") for line in listed)
    # Of the day's 1,440 slots twenty are unobserved on purpose.
    history = app.test_client().get("/?server=demo%20office&limit=2000").get_json()
    assert len(history["pings"]) == 1_420
    assert {None} < {ms for ping in history["pings"] for ms in ping.values()}
    assert "exists already" in refused(cli, "demo")
    assert done(cli, "servers", "list").splitlines() == listed
    app.extensions["pinglet"].database.engine.dispose()


def console_lines(page: str) -> list[list[str]]:
    """Return the commands that a page of docs shows behind `flask`."""
    shown = (ROOT / "docs" / page).read_text()
    return [line.split() for line in re.findall(r"^\$ flask (.*)$", shown, re.MULTILINE)]


def test_a_backup_is_made_and_put_back_as_the_page_says(
    flask: Flask, sqlite_settings: Settings, tmp_path: Path
) -> None:
    backup, restore = console_lines("keeping.md")
    assert (backup[:2], restore[:2]) == (["db", "backup"], ["db", "restore"])
    made = str(tmp_path / backup[2])
    flask("servers", "add", "web", "127.0.0.1")
    done = flask("db", "backup", made)
    assert (done.stdout, done.stderr) == (f"Backed up 1 server to {made}\n", "")
    flask("servers", "add", "mail", "127.0.0.2")
    done = flask("db", "restore", str(tmp_path / restore[2]))
    file = sqlite_settings.database_url.removeprefix("sqlite:///")
    kept = f"what was there is in {file}.before-restore"
    assert done.stdout == f"Restored 1 server from {made}; {kept}\n"
    assert done.stderr == ""
    assert flask("servers", "list").stdout.startswith("web\t")


def test_a_restored_database_that_was_gone_says_who_starts_again(
    flask: Flask, no_database: Path, tmp_path: Path
) -> None:
    made = str(tmp_path / "backup.db")
    flask("db", "backup", made)
    url = f"sqlite:///{no_database}"
    refused = flask("db", "backup", made, database_url=url)
    nothing = f"Error: there is nothing to back up: {no_database} isn't there\n"
    assert (refused.returncode, refused.stderr) == (1, nothing)
    done = flask("db", "restore", made, database_url=url)
    again = "start Pinglet again if it is running"
    assert done.stdout == f"Restored 0 servers from {made}; {again}\n"


@pytest.mark.parametrize("command", ["backup", "restore"])
def test_a_postgres_has_its_own_backups(postgres_settings: Settings, command: str) -> None:
    app = local.create_app(postgres_settings)
    said = refused(app.test_cli_runner(), "db", command, "backup.db")
    assert said == "Error: this is for SQLite: use pg_dump and pg_restore for Postgres\n"
    app.extensions["pinglet"].database.engine.dispose()


@pytest.mark.parametrize(
    ("database_url", "reason"),
    [
        ("nonsense", "must be a URL such as sqlite:///FILE or postgres://"),
        ("postgres://127.0.0.1:port/x", "must be a URL such as sqlite:///FILE or postgres://"),
        ("mysql://127.0.0.1/x", "must begin with sqlite:// or postgres://, got mysql://"),
        ("sqlite://", "must name a file: sqlite:///FILE"),
        ("sqlite:///:memory:", "must name a file: sqlite:///FILE"),
        ("sqlite:////tmp", "must name a file, got '/tmp', which is none"),
        ("sqlite:////dev/null/pinglet.db", "got '/dev/null/pinglet.db' (File exists)"),
        ("postgresql://127.0.0.1/x?sslmode=nonsense", "sslmode must be disable, allow, prefer"),
    ],
)
def test_a_database_url_that_cannot_be_used_is_one_line(database_url: str, reason: str) -> None:
    with pytest.raises(SystemExit) as ended:
        local.create_app(Settings(database_url=database_url))
    said = str(ended.value)
    assert said.startswith("Error: DATABASE_URL")
    assert reason in said
    assert "\n" not in said


@pytest.mark.parametrize("command", [["servers", "list"], ["db", "upgrade"], ["worker", "--once"]])
def test_a_database_that_cannot_be_used_is_one_line(
    not_a_database: Path, command: list[str]
) -> None:
    for database_url, reason in (
        (f"sqlite:///{not_a_database}", "not a database"),
        ("postgres://127.0.0.1:1/pinglet", "refused"),
    ):
        app = local.create_app(Settings(database_url=database_url))
        said = refused(app.test_cli_runner(), *command)
        assert reason in said
        assert said.count("\n") == 1
        app.extensions["pinglet"].database.engine.dispose()


def refusal_of_upgrade(database_url: str) -> str:
    """Return the one line that `flask db upgrade` ends with."""
    app = local.create_app(Settings(database_url=database_url))
    said = refused(app.test_cli_runner(), "db", "upgrade")
    app.extensions["pinglet"].database.engine.dispose()
    assert said.count("\n") == 1
    return said


def test_a_postgres_that_isnt_utf8_is_one_line(postgres: Postgres) -> None:
    with database_in(postgres, "LATIN1") as url:
        said = refusal_of_upgrade(url)
    assert "must be encoded in UTF8, got LATIN1" in said
    assert "CREATE DATABASE" in said


def test_a_user_without_rights_is_told_what_to_grant_in_one_line(postgres: Postgres) -> None:
    with role(postgres, "needy"), database_in(postgres, "UTF8") as url:
        said = refusal_of_upgrade(url.replace("//postgres:", "//needy:"))
    assert 'GRANT USAGE, CREATE ON SCHEMA public TO "needy"' in said


def test_a_postgres_without_tables_says_what_to_do(postgres_settings: Settings) -> None:
    url = postgres_settings.database_url.rpartition("/")[0] + "/template1"
    app = local.create_app(Settings(database_url=url))
    assert "flask db upgrade" in refused(app.test_cli_runner(), "servers", "list")
    app.extensions["pinglet"].database.engine.dispose()
