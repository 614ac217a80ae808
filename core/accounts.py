"""People: users and tokens; hash, issue, verify, expire, revoke; how often a password is tried.

Every function takes a session inside a transaction that its caller ends, and the time.
"""

import hashlib
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import IntEnum, StrEnum
from ipaddress import IPv6Address, ip_address, ip_network

from argon2 import PasswordHasher
from argon2.exceptions import VerificationError
from sqlalchemy import CursorResult, and_, case, delete, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from core.errors import TokenRejected, TooManyAttempts, UserTaken, UserUnknown, WrongRequest
from core.models import Attempt, Base, Latch, Token, User
from core.schema import PASSWORD_LENGTH, USER_NAME_LENGTH, plain_text

PREFIX = "pinglet_"  # lets secret scanners find a token that was committed by mistake
LAST_USED_STEP = timedelta(minutes=1)  # finer would write on every request
AUTHENTICATION = "authentication"
ID_BITS = 63

# Argon2id with 19 MiB, two passes, one lane: OWASP Password Storage Cheat Sheet.
HASHER = PasswordHasher(time_cost=2, memory_cost=19_456, parallelism=1)
# What an unknown name's password is compared with, so that it takes as long as a known one's: the
# hash of a random text that nobody kept. Made by HASHER, once: at each start it would cost 30 ms.
DUMMY_HASH = (
    "$argon2id$v=19$m=19456,t=2,p=1$rEuJy7yJ5BtilQfekFyahg$"
    "MiIw98YDvUqAkdel/aoGpCOkifGFjFqHOeZ0/hrH5oA"
)

ATTEMPT = Base.metadata.tables["attempt"]
LATCH = Base.metadata.tables["latch"]
WINDOW = timedelta(minutes=15)
KNOWN_ADDRESS = timedelta(days=30)
TRIES_FROM_ADDRESS_AT_ACCOUNT = 5
TRIES_FROM_ADDRESS = 30
TRIES_AT_ACCOUNT = 100


class Level(IntEnum):
    """What may be done; each includes the ones before."""

    NOTHING = 0
    READ = 1
    WRITE = 2
    ADMIN = 3


class Role(StrEnum):
    """What a user may do."""

    VIEWER = "viewer"
    EDITOR = "editor"
    ADMIN = "admin"

    @property
    def level(self) -> Level:
        """The highest level this role reaches."""
        return Level(list(Role).index(self) + 1)


class Scope(StrEnum):
    """What a token may be used for, as far as its user's role goes."""

    READ = "read"
    WRITE = "write"
    ADMIN = "admin"

    @property
    def level(self) -> Level:
        """The highest level this scope reaches."""
        return Level(list(Scope).index(self) + 1)


class Kind(StrEnum):
    """What a token is for."""

    ACCESS = "access"  # a script's, for a quarter of an hour
    REFRESH = "refresh"  # gets the next access token, once
    SESSION = "session"  # a browser's cookie
    KEY = "key"  # long-lived, named


LIVES = {
    Kind.ACCESS: timedelta(minutes=15),
    Kind.REFRESH: timedelta(days=7),
    Kind.SESSION: timedelta(days=7),
    Kind.KEY: timedelta(days=365),
}


@dataclass(frozen=True, slots=True)
class Identity:
    """Who is asking. `user_id` is 0 for whoever sits at this machine while access is open."""

    name: str
    level: Level
    user_id: int = 0
    generation: int = 0
    token_id: int | None = None
    family: str = ""
    kind: Kind | None = None
    used_lately: bool = False


@dataclass(frozen=True, slots=True)
class Grant:
    """What a token is to be good for; without `life` it lives as long as its kind does."""

    kind: Kind
    scope: Scope = Scope.ADMIN
    name: str = ""
    life: timedelta | None = None


@dataclass(frozen=True, slots=True)
class Issued:
    """A token as its user gets to see it, this once."""

    id: int
    token: str = field(repr=False)  # a log must not show it by accident
    kind: Kind
    scope: Scope
    expires: datetime


# Users


def create_user(session: Session, name: str, password: str, role: Role, now: datetime) -> User:
    """Add a user, the first one as an admin. From then on open access has ended for good.

    Raises UserTaken, WrongRequest.
    """
    if role is not Role.ADMIN and not _has_admin(session):
        raise WrongRequest("the first user is an admin: nobody else could add others", "role")
    user = User(
        name=user_name(name),
        password_hash=HASHER.hash(checked_password(password)),
        role=role,
        enabled=True,
        generation=0,
        created=now,
    )
    try:
        with session.begin_nested():
            session.add(user)
    except IntegrityError:
        raise UserTaken(user.name) from None
    session.execute(insert(LATCH).values(name=AUTHENTICATION, since=now).on_conflict_do_nothing())
    return user


def change_user(
    session: Session,
    user_id: int,
    *,
    password: str | None = None,
    role: Role | None = None,
    enabled: bool | None = None,
    generation: int | None = None,
) -> User:
    """Change what is given. A new password and being disabled end all the user's tokens.

    With the `generation` of who was identified, nothing is changed for whoever has since been
    disabled or given a new password: TokenRejected. Raises UserUnknown, WrongRequest.
    """
    _lock_admins(session)
    user = find_user(session, user_id)
    if generation not in (None, user.generation):
        raise TokenRejected("this user is disabled, or has a new password")
    if password is not None:
        user.password_hash = HASHER.hash(checked_password(password))
    if password is not None or enabled is False:
        user.generation += 1
    user.role = role or user.role
    user.enabled = user.enabled if enabled is None else enabled
    _refuse_without_admin(session)
    return user


def remove_user(session: Session, user_id: int) -> None:
    """Delete a user and all tokens. Raises UserUnknown, WrongRequest for the last admin."""
    _lock_admins(session)
    session.delete(find_user(session, user_id))
    _refuse_without_admin(session)


def _lock_admins(session: Session) -> None:
    # Two admins who end each other at once would both find the other one still there.
    admins = select(User.id).where(User.role == Role.ADMIN).order_by(User.id)
    session.scalars(admins.with_for_update()).all()


def _refuse_without_admin(session: Session) -> None:
    session.flush()
    if not _has_admin(session):
        raise WrongRequest("somebody must stay who may administer: this is the last admin")


def _has_admin(session: Session) -> bool:
    admins = select(User.id).where(User.role == Role.ADMIN, User.enabled).limit(1)
    return session.scalar(admins) is not None


def find_user(session: Session, user_id: int) -> User:
    """Return the user of that id, locked against changes until the transaction ends."""
    # Neither database has a larger id, and neither takes one as a question.
    if user_id.bit_length() > ID_BITS:
        raise UserUnknown(str(user_id))
    # What this session read before is read again: it may have changed while we waited.
    user = session.get(User, user_id, with_for_update=True, populate_existing=True)
    if user is None:
        raise UserUnknown(str(user_id))
    return user


def find_user_named(session: Session, name: str) -> User:
    """Return the user of that name. Raises UserUnknown."""
    user = _named(session, name)
    if user is None:
        raise UserUnknown(name)
    return user


def _named(session: Session, name: str) -> User | None:
    # What can't be a user's name isn't looked for: Postgres fails at a NUL.
    try:
        user_name(name)
    except WrongRequest:
        return None
    return session.scalar(select(User).where(User.name == name))


def users(session: Session) -> Sequence[User]:
    """Return every user, by name."""
    return session.scalars(select(User).order_by(User.name)).all()


def access_is_open(session: Session) -> bool:
    """Whether no user was ever made here."""
    return session.get(Latch, AUTHENTICATION) is None


def user_name(value: object) -> str:
    """Return `value` as a user's name: trimmed, 1 to 64 characters, no colon (RFC 7617)."""
    name = label(value, "a user's name")
    if ":" in name:
        raise WrongRequest("a user's name holds no colon: HTTP Basic ends the name there", "name")
    return name


def label(value: object, what: str = "a token's name") -> str:
    """Return `value` as what people call a user or a token: trimmed, 1 to 64 characters."""
    try:
        return plain_text(value, what, USER_NAME_LENGTH)
    except WrongRequest as error:
        raise WrongRequest(str(error), "name") from None


def checked_password(password: str) -> str:
    """Return `password` if it may be one: 8 to 256 characters, any of them (NIST SP 800-63B)."""
    low, high = PASSWORD_LENGTH
    if not low <= len(password) <= high:
        raise WrongRequest(f"a password has {low} to {high} characters", "password")
    try:
        password.encode()
    except UnicodeEncodeError:
        raise WrongRequest("a password holds no lone surrogates", "password") from None
    return password


# Passwords, and how often they are tried


@dataclass(frozen=True, slots=True)
class Attempts:
    """The counters that one attempt at a password moves."""

    name: str
    address: str

    @property
    def pair(self) -> str:
        """The subject of the counter of this name from this address."""
        return _subject("pair", self.name, _network(self.address))

    @property
    def limits(self) -> dict[str, int]:
        """Each counter's subject and how many tries it allows in a window.

        The order is the same for all, so that of two attempts at once neither waits for the other
        with what the other waits for.
        """
        return {
            _subject("address", _network(self.address)): TRIES_FROM_ADDRESS,
            self.pair: TRIES_FROM_ADDRESS_AT_ACCOUNT,
            _subject("account", self.name): TRIES_AT_ACCOUNT,
        }

    @property
    def known(self) -> str:
        """The subject that remembers that this user has logged in from this address."""
        return _subject("known", self.name, _network(self.address))


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
    return since is not None and since > now - KNOWN_ADDRESS


def _take(session: Session, subject: str, limit: int, now: datetime) -> bool:
    # One statement: two attempts at once can't both be the last that is allowed.
    stale = Attempt.since <= now - WINDOW
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
        .returning(ATTEMPT.c.tries)
    )
    return session.execute(counted).first() is not None


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


def check_password(session: Session, name: str, password: str) -> Identity:
    """Return who `name` is if the password is right.

    Takes as long for unknown names. Count the attempt first. Raises TokenRejected.
    """
    user = _named(session, name)
    user = user if user and user.enabled else None
    try:
        HASHER.verify(user.password_hash if user else DUMMY_HASH, password)
    except (VerificationError, UnicodeEncodeError):
        raise TokenRejected("wrong name or password") from None
    if user is None:
        raise TokenRejected("wrong name or password")
    return identity_of(user)


def identity_of(user: User) -> Identity:
    """Return `user` as somebody whose password was right."""
    return Identity(user.name, Role(user.role).level, user.id, user.generation)


# Tokens


def issue(
    session: Session, user: Identity, grant: Grant, now: datetime, family: str | None = None
) -> Issued:
    """Make a token for a user who has just been identified. It is shown once and kept nowhere.

    Raises TokenRejected when the user has since been removed, disabled, or given a new password.
    """
    same = select(User.id).where(User.id == user.user_id, User.generation == user.generation)
    if session.scalar(same.where(User.enabled).with_for_update(read=True, key_share=True)) is None:
        raise TokenRejected("this user is gone, disabled, or has a new password")
    text = PREFIX + secrets.token_urlsafe(32)
    row = Token(
        user_id=user.user_id,
        kind=grant.kind,
        digest=digest(text),
        name=grant.name,
        scope=grant.scope,
        family=family or secrets.token_hex(16),
        # As it was when the user was identified: if the password changes at this moment, the
        # token is born dead.
        generation=user.generation,
        created=now,
        expires=now + (LIVES[grant.kind] if grant.life is None else grant.life),
    )
    session.add(row)
    session.flush()
    return Issued(row.id, text, grant.kind, grant.scope, row.expires)


def issue_pair(
    session: Session, user: Identity, now: datetime, family: str | None = None
) -> tuple[Issued, Issued]:
    """Make an access and a refresh token that end together."""
    family = family or secrets.token_hex(16)
    access = issue(session, user, Grant(Kind.ACCESS), now, family)
    return access, issue(session, user, Grant(Kind.REFRESH), now, family)


def refresh(session: Session, text: str, now: datetime) -> tuple[Issued, Issued] | None:
    """Trade a refresh token for a new pair of its family; it has then been spent.

    None when it was spent before: somebody else has it too, so the whole family is revoked. That
    is returned, not raised, so that the caller commits it. Raises TokenRejected for tokens that
    aren't valid. Source: RFC 9700, section 4.14.
    """
    row, user = _valid(session, text, now)
    if row.kind != Kind.REFRESH:
        raise TokenRejected("this is no refresh token")
    _lock_owner(session, row.family)
    mine = update(Token).where(Token.id == row.id, Token.spent.is_(None)).values(spent=now)
    if session.scalar(mine.returning(Token.id)) is None:
        revoke_family(session, row.family)
        return None
    return issue_pair(session, identity_of(user), now, row.family)


def verify(session: Session, text: str, now: datetime) -> Identity:
    """Return who shows this token. Raises TokenRejected: expired, revoked, unknown, or refresh."""
    row, user = _valid(session, text, now)
    if row.kind == Kind.REFRESH:
        raise TokenRejected("a refresh token only gets other tokens")
    return replace(
        identity_of(user),
        level=min(Role(user.role).level, Scope(row.scope).level),
        token_id=row.id,
        family=row.family,
        kind=Kind(row.kind),
        used_lately=row.last_used is not None and row.last_used > now - LAST_USED_STEP,
    )


def _valid(session: Session, text: str, now: datetime) -> tuple[Token, User]:
    found = session.execute(
        select(Token, User)
        .join(User, User.id == Token.user_id)
        .where(Token.digest == digest(text), Token.expires > now)
        .where(User.enabled, User.generation == Token.generation)
    ).first()
    if found is None:
        raise TokenRejected("this token is unknown, expired or revoked")
    return found[0], found[1]


def note_use(session: Session, token_id: int, now: datetime) -> None:
    """Write down that a token is in use, at most once a minute."""
    stale = or_(Token.last_used.is_(None), Token.last_used < now - LAST_USED_STEP)
    session.execute(update(Token).where(Token.id == token_id, stale).values(last_used=now))


def tokens(session: Session, user_id: int, now: datetime) -> Sequence[Token]:
    """Return a user's tokens that still work, oldest first."""
    return session.scalars(
        select(Token)
        .join(User, User.id == Token.user_id)
        .where(Token.user_id == user_id, Token.expires > now, Token.spent.is_(None))
        .where(User.generation == Token.generation)
        .order_by(Token.id)
    ).all()


def revoke(session: Session, user_id: int, token_id: int) -> bool:
    """End one of a user's tokens and all that were made from the same log-in; False if unknown."""
    family = session.scalar(
        select(Token.family).where(Token.id == token_id, Token.user_id == user_id)
    )
    if family is None:
        return False
    revoke_family(session, family)
    return True


def revoke_family(session: Session, family: str) -> None:
    """End all tokens of one log-in, also a pair that is being made from them at this moment."""
    _lock_owner(session, family)
    session.execute(delete(Token).where(Token.family == family))


def _lock_owner(session: Session, family: str) -> None:
    # A refresh that has not been committed yet has put its pair where DELETE doesn't see it: who
    # refreshes and who revokes wait for each other.
    owner = select(Token.user_id).where(Token.family == family)
    session.scalars(select(User.id).where(User.id.in_(owner)).with_for_update(key_share=True)).all()


def sweep(session: Session, now: datetime, limit: int) -> int:
    """Forget tokens and attempts that no longer mean anything; return how many.

    At most `limit` of each: while strangers try passwords there may be very many.
    """
    over = Attempt.tries > 0, Attempt.since <= now - WINDOW
    unknown_again = Attempt.since <= now - KNOWN_ADDRESS
    dead = select(Token.id).where(Token.expires <= now).limit(limit)
    stale = select(Attempt.subject).where(or_(and_(*over), unknown_again)).limit(limit)
    gone = [
        session.execute(delete(Token).where(Token.id.in_(dead))),
        session.execute(delete(Attempt).where(Attempt.subject.in_(stale))),
    ]
    return sum(result.rowcount for result in gone if isinstance(result, CursorResult))


def digest(text: str) -> str:
    """Return what is kept of a token. It has 256 random bits, so a fast hash is enough."""
    return hashlib.sha256(text.encode(errors="replace")).hexdigest()
