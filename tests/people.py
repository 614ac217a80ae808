"""Users and tokens for the tests, and how they are shown."""

import base64
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache

from sqlalchemy import delete, insert

from core.accounts import tokens, users
from core.accounts.records import Identity, Role, Scope, TokenKind
from core.accounts.tokens import Grant
from core.clock import utc_now
from core.models import Attempt, Latch, User
from core.settings import Settings
from infra.database import Database

PASSWORD = "correct horse battery staple"
NOW = datetime(2026, 1, 2, 7, 1, tzinfo=UTC)
SECOND = timedelta(seconds=1)
Headers = dict[str, str]


@contextmanager
def nobody_but(settings: Settings) -> Iterator[Settings]:
    """Ask for tokens; no user before, none afterwards."""
    with_authentication = replace(settings, authentication=True)
    database = Database(with_authentication)
    forget_everybody(database)
    try:
        yield with_authentication
    finally:
        forget_everybody(database)
        database.engine.dispose()


def forget_everybody(database: Database) -> None:
    """Delete all users, and that there ever were any."""
    with database.transaction() as session:
        for model in (User, Attempt, Latch):
            session.execute(delete(model))


@cache
def password_hash() -> str:
    """Return the hash of PASSWORD: one is enough for a whole run."""
    return users.HASHER.hash(PASSWORD)


def add(database: Database, name: str = "ann", role: Role = Role.ADMIN) -> Identity:
    """Add a user whose password is PASSWORD; return who that is."""
    with database.transaction() as session:
        row = {"name": name, "role": role, "enabled": True, "generation": 0, "created": utc_now()}
        session.execute(insert(User).values(row | {"password_hash": password_hash()}))
        if users.access_is_open(session):
            session.add(Latch(name=users.AUTHENTICATION, since=utc_now()))
        return users.identity_of(users.find_user_named(session, name))


def token(
    database: Database,
    user: Identity,
    kind: TokenKind = TokenKind.ACCESS,
    scope: Scope = Scope.ADMIN,
    life: timedelta | None = None,
) -> str:
    """Return a new token of that user."""
    with database.transaction() as session:
        return tokens.issue(session, user, Grant(kind, scope, "made", life), utc_now()).token


def change(database: Database, user: Identity, **changes: object) -> None:
    """Change a user in a transaction of its own."""
    wanted = users.Change.of(users.UserChange(**changes))
    with database.transaction() as session:
        users.change_user(session, user.user_id, wanted)


def bearer(text: str) -> Headers:
    """Show a token as scripts do."""
    return {"Authorization": f"Bearer {text}"}


def basic(name: str = "ann", password: str = PASSWORD) -> Headers:
    """Show a name and a password as `curl -u` does."""
    return {"Authorization": "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()}


def cookie(text: str) -> Headers:
    """Show a token as a page of ours does, with the header that forms can't send."""
    return {"Cookie": f"pinglet_session={text}", "X-Requested-With": "fetch"}
