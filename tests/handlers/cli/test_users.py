"""`flask users`: what it prints, its exit codes, and what it leaves behind."""

import io
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from flask.testing import FlaskClient, FlaskCliRunner
from sqlalchemy import delete

from core.accounts.records import Level, Role
from core.models import Attempt
from core.settings import Settings
from handlers.cli import app as local
from infra.database import Database
from tests import people
from tests.core.accounts.calls import verify
from tests.handlers.cli.commands import done, refused
from tests.people import PASSWORD, add, basic, bearer, token, utc_now

TYPED = f"{PASSWORD}\n"


@pytest.fixture
def settings(settings: Settings) -> Iterator[Settings]:
    """The same with authentication on, without users before and after."""
    with people.nobody_but(settings) as empty:
        yield empty


def test_users_are_added_listed_changed_and_removed(cli: FlaskCliRunner) -> None:
    said = done(cli, "users", "add", "root", "--password-stdin", stdin=TYPED)
    assert said == "Added root; from now on every request must carry a token or a password\n"
    done(cli, "users", "add", "ann", "--role", "editor", "--password-stdin", stdin=TYPED)
    assert done(cli, "users", "list") == "ann\teditor\t\nroot\tadmin\t\n"
    assert done(cli, "users", "disable", "ann") == "ann is locked out\n"
    assert done(cli, "users", "list") == "ann\teditor\tdisabled\nroot\tadmin\t\n"
    assert done(cli, "users", "enable", "ann") == "ann can log in again\n"
    assert done(cli, "users", "remove", "ann") == "Removed ann\n"
    assert done(cli, "users", "list") == "root\tadmin\t\n"


def test_a_new_password_and_being_locked_out_end_every_token(
    cli: FlaskCliRunner, client: FlaskClient, database: Database
) -> None:
    add(database, "root")
    add(database, "ann")
    for arguments in (["password", "ann", "--password-stdin"], ["disable", "ann"]):
        done(cli, "users", "enable", "ann")
        key = bearer(done(cli, "users", "token", "ann", "script").strip())
        assert client.get("/", headers=key).status_code == 200
        done(cli, "users", *arguments, stdin="another good password\n")
        assert client.get("/", headers=key).status_code == 401


def test_a_token_reaches_as_far_as_its_scope_and_its_user_and_lives_as_long_as_it_was_told(
    cli: FlaskCliRunner, client: FlaskClient, database: Database
) -> None:
    add(database, "root")
    add(database, "vic", Role.VIEWER)
    for name, scope, level in [
        ("root", "read", Level.READ),
        ("root", "admin", Level.ADMIN),
        ("vic", "admin", Level.READ),
    ]:
        text = done(cli, "users", "token", name, scope, "--scope", scope, "--days", "1").strip()
        assert verify(database, text, utc_now()).level is level
    listed = client.get("/api/v1/tokens", headers=basic("root")).get_json()["tokens"]
    assert [(one["name"], one["kind"], one["scope"]) for one in listed] == [
        ("read", "key", "read"),
        ("admin", "key", "admin"),
    ]
    assert all(one["expires"][:10] > one["created"][:10] for one in listed)


def test_what_core_refuses_is_one_line_and_exit_code_1(
    cli: FlaskCliRunner, database: Database
) -> None:
    assert "first user" in refused(
        cli, "users", "add", "eve", "--role", "viewer", "--password-stdin", stdin=TYPED
    )
    add(database, "ann")
    token(database, add(database, "eve", Role.EDITOR))
    for arguments, stdin, told in [
        (["add", "ann", "--password-stdin"], TYPED, "exists already"),
        (["add", "a:b", "--password-stdin"], TYPED, "colon"),
        (["add", "bob", "--password-stdin"], "short\n", "8 to 256 characters"),
        (["password", "ann", "--password-stdin"], "short\n", "8 to 256 characters"),
        (["password", "bob", "--password-stdin"], TYPED, "'bob'"),
        (["disable", "ann"], "", "last admin"),
        (["remove", "ann"], "", "last admin"),
        (["remove", "bob"], "", "'bob'"),
        (["token", "bob", "script"], "", "'bob'"),
        (["token", "ann", " "], "", "1 to 64 characters"),
    ]:
        assert told in refused(cli, "users", *arguments, stdin=stdin), arguments


def test_what_cannot_be_typed_is_exit_code_2(cli: FlaskCliRunner, database: Database) -> None:
    add(database, "ann")
    for arguments in (
        ["add", "bob", "--role", "king"],
        ["token", "ann", "script", "--scope", "all"],
        ["token", "ann", "script", "--days", "0"],
        ["token", "ann", "script", "--days", "1826"],
        ["token", "ann"],
    ):
        refused(cli, "users", *arguments, code=2)


class TypedSlowly(io.BytesIO):
    """A password, and what happens while somebody is typing it."""

    def __init__(self, meanwhile: Callable[[], object]) -> None:
        super().__init__(PASSWORD.encode() + b"\n")
        self.meanwhile = meanwhile

    def read1(self, size: int | None = -1, /) -> bytes:
        """Read on; first let it happen."""
        self.meanwhile()
        return super().read1(size)


def test_nobody_waits_while_a_password_is_typed(settings: Settings, client: FlaskClient) -> None:
    other = Database(replace(settings, statement_timeout_s=30))

    def write() -> None:
        with other.transaction() as session:
            session.execute(delete(Attempt))

    command_line = local.create_app(settings)
    done = command_line.test_cli_runner().invoke(
        args=["users", "add", "ann", "--password-stdin"], input=TypedSlowly(write)
    )
    assert done.exit_code == 0, done.output
    assert client.get("/", headers=basic()).status_code == 200
    for opened in (other, command_line.extensions["pinglet"].database):
        opened.engine.dispose()
