"""How often a password is tried, and how long to wait then.

Every function takes a session inside a transaction that its caller ends, and the time.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import IPv6Address, ip_address, ip_network

from sqlalchemy import case, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from core.errors import TooManyAttempts
from core.models import Attempt, Base
from core.reading import nfc
from core.slots import AHEAD
from core.sql import written

ATTEMPT = Base.metadata.tables["attempt"]
WINDOW = timedelta(minutes=15)
KNOWN_ADDRESS = timedelta(days=30)
TRIES_FROM_ADDRESS_AT_ACCOUNT = 5
TRIES_FROM_ADDRESS = 30
TRIES_AT_ACCOUNT = 100


@dataclass(frozen=True, slots=True)
class Attempts:
    """The counters that one attempt at a password moves, in whatever spelling the name came."""

    name: str
    address: str

    @property
    def pair(self) -> str:
        """The subject of the counter of this name from this address."""
        return _subject("pair", nfc(self.name), _network(self.address))

    @property
    def limits(self) -> dict[str, int]:
        """Each counter's subject and how many tries it allows in a window.

        The order is the same for all, so that of two attempts at once neither waits for the other
        with what the other waits for.
        """
        return {
            _subject("address", _network(self.address)): TRIES_FROM_ADDRESS,
            self.pair: TRIES_FROM_ADDRESS_AT_ACCOUNT,
            _subject("account", nfc(self.name)): TRIES_AT_ACCOUNT,
        }

    @property
    def known(self) -> str:
        """The subject that remembers that this user has logged in from this address."""
        return _subject("known", nfc(self.name), _network(self.address))


def count_attempt(session: Session, attempts: Attempts, now: datetime) -> list[str]:
    """Count an attempt; commit it before the password is looked at. Return what was counted.

    An address may try one account 5 times and all accounts 30 times in a quarter of an hour; an
    account may be tried 100 times. The last two don't hold for an address its user has logged in
    from within 30 days, so neither strangers nor neighbours can lock the owner out by them.

    Raises TooManyAttempts; the caller's transaction then counts nothing. So what is refused is
    free: one address can't use up what an account is allowed from all of them, and doesn't
    fill the table with names it makes up.
    """
    is_known = _is_known(session, attempts, now)
    counted = []
    for subject, limit in attempts.limits.items():
        if _take(session, subject, limit, now):
            counted.append(subject)
        elif subject == attempts.pair or not is_known:
            raise TooManyAttempts(int(_wait(session, subject, now).total_seconds()) + 1)
    return counted


def _is_known(session: Session, attempts: Attempts, now: datetime) -> bool:
    known = select(Attempt.since).where(Attempt.subject == attempts.known)
    since = session.scalar(known)
    return since is not None and now - KNOWN_ADDRESS < since <= now + AHEAD


def _take(session: Session, subject: str, limit: int, now: datetime) -> bool:
    # One statement: two attempts at once can't both be the last that is allowed.
    # A window that begins in the future was begun by a clock that was wrong.
    stale = or_(Attempt.since <= now - WINDOW, Attempt.since > now + AHEAD)
    counted = (
        insert(ATTEMPT)
        .values(subject=subject, since=now, tries=1)
        .on_conflict_do_update(
            index_elements=["subject"],
            set_={
                "tries": case((stale, 1), else_=Attempt.tries + 1),
                "since": case((stale, now), else_=Attempt.since),
            },
            where=or_(stale, Attempt.tries < limit),
        )
    )
    return bool(written(session, counted))


def _wait(session: Session, subject: str, now: datetime) -> timedelta:
    begun = session.scalar(select(Attempt.since).where(Attempt.subject == subject))
    return (begun or now) + WINDOW - now


def forgive_attempts(
    session: Session, attempts: Attempts, counted: Iterable[str], now: datetime
) -> None:
    """Take a successful attempt off the counters and remember the address as the user's own.

    `counted` is what count_attempt returned: what was full before isn't emptied by the owner.
    """
    for subject in counted:
        one_less = update(Attempt).where(Attempt.subject == subject, Attempt.tries > 0)
        session.execute(one_less.values(tries=Attempt.tries - 1))
    session.execute(
        insert(ATTEMPT)
        .values(subject=attempts.known, since=now, tries=0)
        .on_conflict_do_update(index_elements=["subject"], set_={"since": now})
    )


def _subject(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode(errors="surrogatepass")).hexdigest()


def _network(address: str) -> str:
    # Whoever has one IPv6 address has 2^64 of them. On a socket for both kinds an IPv4 caller is
    # ::ffff:192.0.2.1: by its first 64 bits the whole of IPv4 would be one address.
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    if not isinstance(parsed, IPv6Address):
        return str(parsed)
    return str(parsed.ipv4_mapped or ip_network((parsed, 64), strict=False))
