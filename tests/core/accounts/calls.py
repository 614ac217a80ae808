"""The calls of core/accounts, each in a transaction of its own, short to write in a test."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from core.accounts import tokens
from core.accounts.attempts import Attempts, count_attempt, forgive_attempts
from core.accounts.records import Identity, TokenKind
from core.accounts.tokens import Grant
from core.errors import TooManyAttempts
from core.models import Token, User
from infra.database import Database
from tests.people import NOW

MINUTE = timedelta(minutes=1)
PAIR, ADDRESS, ACCOUNT = 5, 30, 100  # the limits as docs/accounts.md states them
WINDOW = timedelta(minutes=15)
Tries = Iterable[tuple[str, str, datetime]]
HOME, ELSEWHERE = "203.0.113.1", "203.0.113.2"


# Tokens


def issue(database: Database, user: Identity, now: datetime = NOW, **grant: Any) -> str:
    """Make a token at `now`."""
    with database.transaction() as session:
        return tokens.issue(session, user, Grant(**({"kind": TokenKind.ACCESS} | grant)), now).token


def verify(database: Database, text: str, now: datetime = NOW) -> Identity:
    """Return who shows that token at `now`."""
    with database.reading() as session:
        return tokens.verify(session, text, now)


def pair(database: Database, user: Identity) -> tuple[str, str]:
    """Make an access and a refresh token at NOW."""
    with database.transaction() as session:
        made = tokens.issue_pair(session, user, NOW)
    return made.access, made.refresh


def refresh(database: Database, text: str, now: datetime = NOW) -> tuple[str, str] | None:
    """Trade a refresh token at `now`."""
    with database.transaction() as session:
        made = tokens.refresh(session, text, now)
    return (made.access, made.refresh) if made else None


def is_dead(database: Database, text: str, now: datetime = NOW) -> bool:
    """Whether a token is good for nothing at `now`."""
    with database.reading() as session:
        query = select(Token).join(User).where(Token.digest == tokens.digest(text))
        query = query.where(Token.expires > now, Token.spent.is_(None), User.enabled)
        return session.scalar(query.where(User.generation == Token.generation)) is None


# Attempts


def attempt(
    database: Database, name: str = "ann", address: str = "192.0.2.1", now: datetime = NOW
) -> int | None:
    """Try a wrong password: None if it would be looked at, else the seconds to wait."""
    return attempts(database, [(name, address, now)])[0]


def attempts(database: Database, tries: Tries) -> list[int | None]:
    """Try wrong passwords one after the other."""
    with database.transaction() as session:
        return [_attempt(session, Attempts(name, address), now) for name, address, now in tries]


def _attempt(session: Session, one: Attempts, now: datetime) -> int | None:
    try:
        with session.begin_nested():
            count_attempt(session, one, now)
    except TooManyAttempts as error:
        return error.retry_after_s
    return None


def from_everywhere(count: int, now: datetime = NOW) -> Tries:
    """Tries at one account from many addresses."""
    return [("ann", f"192.0.2.{number % 60}", now) for number in range(count)]


def at_everybody(count: int) -> Tries:
    """Tries at many accounts from one address."""
    return [(f"user {number}", "192.0.2.1", NOW) for number in range(count)]


def succeed(
    database: Database, name: str = "ann", address: str = "192.0.2.1", now: datetime = NOW
) -> None:
    """Try the right password."""
    one = Attempts(name, address)
    with database.transaction() as session:
        counted = count_attempt(session, one, now)
    with database.transaction() as session:
        forgive_attempts(session, one, counted, now)


def looked_at(answers: list[int | None]) -> int:
    """Return how many of the passwords tried were looked at."""
    return answers.count(None)
