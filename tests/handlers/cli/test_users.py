"""`flask users`: what it prints, its exit codes, and that what it says is so."""

from collections.abc import Iterator

import pytest
from flask.testing import FlaskCliRunner

from core.accounts import tokens, users
from core.accounts.records import Identity, Scope
from core.clock import utc_now
from core.errors import TokenRejected
from core.settings import Settings
from infra.database import Database
from tests import people
from tests.handlers.cli.commands import done, refused, run

PASSWORD = "correct horse battery staple"
OTHER = "another good password"


@pytest.fixture
def settings(settings: Settings) -> Iterator[Settings]:
    """The same without users before and after."""
    with people.nobody_but(settings) as empty:
        yield empty


def add(cli: FlaskCliRunner, name: str, *more: str) -> str:
    return done(cli, "users", "add", name, "--password-stdin", *more, stdin=f"{PASSWORD}\n")


def gets_in(database: Database, name: str, password: str) -> bool:
    with database.reading() as session:
        try:
            users.check_password(session, name, password)
        except TokenRejected:
            return False
        return True


def identified(database: Database, token: str) -> Identity:
    with database.reading() as session:
        return tokens.verify(session, token, utc_now())


def test_users_are_added_listed_and_removed(cli: FlaskCliRunner, database: Database) -> None:
    assert "every request needs a token or a password" in add(cli, "ann")
    add(cli, "bob", "--role", "viewer")
    assert done(cli, "users", "list").splitlines() == ["ann\tadmin\t", "bob\tviewer\t"]
    assert gets_in(database, "bob", PASSWORD)
    assert done(cli, "users", "remove", "bob") == "Removed bob\n"
    assert done(cli, "users", "list").splitlines() == ["ann\tadmin\t"]


def test_a_password_is_asked_for_twice_and_never_shown(
    cli: FlaskCliRunner, database: Database
) -> None:
    result = run(cli, "users", "add", "ann", stdin=f"{PASSWORD}\n{PASSWORD}\n")
    assert result.exit_code == 0
    assert PASSWORD not in result.output
    assert gets_in(database, "ann", PASSWORD)
    assert run(cli, "users", "password", "ann", stdin=f"{OTHER}\nnot the same\n").exit_code == 1
    assert gets_in(database, "ann", PASSWORD)


def test_a_new_password_ends_the_tokens_and_the_old_one(
    cli: FlaskCliRunner, database: Database
) -> None:
    add(cli, "ann")
    token = done(cli, "users", "token", "ann", "a script").strip()
    said = done(cli, "users", "password", "ann", "--password-stdin", stdin=f"{OTHER}\n")
    assert said == "ann has a new password\n"
    assert (gets_in(database, "ann", PASSWORD), gets_in(database, "ann", OTHER)) == (False, True)
    with pytest.raises(TokenRejected):
        identified(database, token)


def test_who_is_locked_out_gets_in_again_when_enabled(
    cli: FlaskCliRunner, database: Database
) -> None:
    add(cli, "ann")
    add(cli, "vic", "--role", "editor")
    assert done(cli, "users", "disable", "vic") == "vic is locked out\n"
    assert "vic\teditor\tdisabled" in done(cli, "users", "list")
    assert not gets_in(database, "vic", PASSWORD)
    assert done(cli, "users", "enable", "vic") == "vic can log in again\n"
    assert gets_in(database, "vic", PASSWORD)


def test_a_token_alone_is_printed_and_reaches_as_far_as_was_said(
    cli: FlaskCliRunner, database: Database
) -> None:
    add(cli, "ann")
    token = done(cli, "users", "token", "ann", "backup", "--scope", "write").removesuffix("\n")
    who = identified(database, token)
    assert (who.name, who.level) == ("ann", Scope.WRITE.level)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["add", "ann", "--password-stdin"], "'ann' exists already"),
        (["add", "a:b", "--password-stdin"], "colon"),
        (["remove", "nobody"], "'nobody'"),
        (["disable", "ann"], "last admin"),
        (["token", "nobody", "a script"], "'nobody'"),
        (["token", "ann", " "], "name"),
    ],
)
def test_what_core_refuses_is_one_line_and_exit_code_1(
    cli: FlaskCliRunner, arguments: list[str], reason: str
) -> None:
    add(cli, "ann")
    said = refused(cli, "users", *arguments, stdin=f"{PASSWORD}\n")
    assert reason in said
    assert said.count("\n") == 1
    assert PASSWORD not in said
