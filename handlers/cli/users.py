"""`flask users`: add and change users, issue tokens."""

import sys
from functools import partial

import click
from flask.cli import AppGroup
from sqlalchemy.orm import Session

from core.accounts import tokens, users
from core.accounts.records import Role, Scope, TokenIssued
from core.accounts.tokens import TokenWanted
from core.accounts.users import Change, NewUser, UserChange, UserWanted
from core.clock import utc_now
from handlers.cli.output import choice, current_database, print_table, refusals


@click.group("users", cls=AppGroup)
def users_group() -> None:
    """Add and change users. Creating the first user ends open access permanently."""


def _password(given: bool) -> str:
    if given:
        return sys.stdin.readline().rstrip("\n")
    password: str = click.prompt("Password", hide_input=True, confirmation_prompt=True)
    return password


from_stdin = click.option(
    "--password-stdin", is_flag=True, help="Read the password from standard input."
)


@users_group.command("add")
@click.argument("name")
@click.option(
    "--role",
    type=choice(Role),
    default=Role.ADMIN.value,
    show_default=True,
    help="What the user may do.",
)
@from_stdin
def add_user(name: str, role: str, password_stdin: bool) -> None:
    """Add a user."""
    # Before the transaction: while somebody is typing, nobody else could write to an SQLite file.
    wanted = UserWanted(name=name, password=_password(password_stdin), role=Role(role))
    with refusals():
        add_it = partial(users.create_user, new=NewUser.of(wanted), now=utc_now())
        current_database().write(add_it)
    click.echo(f"Added {name}; from now on every request must carry a token or a password")


@users_group.command("list")
def list_users() -> None:
    """List the users."""
    with refusals(), current_database().reading() as session:
        found = users.everyone(session)
        rows = [[user.name, user.role, "" if user.enabled else "disabled"] for user in found]
    print_table(["name", "role", "state"], rows)


@users_group.command("password")
@click.argument("name")
@from_stdin
def change_password(name: str, password_stdin: bool) -> None:
    """Set a new password for a user. This ends all their tokens."""
    _change_user(name, "has a new password", UserChange(password=_password(password_stdin)))


@users_group.command("disable")
@click.argument("name")
def disable_user(name: str) -> None:
    """Lock a user out immediately, on every machine."""
    _change_user(name, "is locked out", UserChange(enabled=False))


@users_group.command("enable")
@click.argument("name")
def enable_user(name: str) -> None:
    """Let a user log in again."""
    _change_user(name, "can log in again", UserChange(enabled=True))


def _change_user(name: str, outcome: str, wanted: UserChange) -> None:
    def write(session: Session) -> None:
        users.change_user(session, users.find_user_named(session, name).id, change)

    with refusals():
        change = Change.of(wanted)
        current_database().write(write)
    click.echo(f"{name} {outcome}")


@users_group.command("remove")
@click.argument("name")
def remove_user(name: str) -> None:
    """Delete a user and all their tokens."""

    def write(session: Session) -> None:
        users.remove_user(session, users.find_user_named(session, name).id)

    with refusals():
        current_database().write(write)
    click.echo(f"Removed {name}")


@users_group.command("token")
@click.argument("name")
@click.argument("label")
@click.option(
    "--scope",
    type=choice(Scope),
    default=Scope.READ.value,
    show_default=True,
    help="What the token allows.",
)
@click.option(
    "--days",
    type=click.IntRange(1, 5 * 365),
    default=365,
    show_default=True,
    help="Days until the token expires.",
)
def issue_token(name: str, label: str, scope: str, days: int) -> None:
    """Create a long-lived token for user NAME and print it. It is shown only once.

    LABEL is the name of the token, such as the script that uses it.
    """
    now = utc_now()
    wanted = TokenWanted(name=label, scope=Scope(scope), expires_in_s=days * 86_400)

    def write(session: Session) -> TokenIssued:
        user = users.identity_of(users.find_user_named(session, name))
        return tokens.issue_key(session, user, wanted, now)

    with refusals():
        issued = current_database().write(write)
    click.echo(issued.token)
