"""Users: create, change, remove; check their names and passwords.

Every function takes a session inside a transaction that its caller ends.
"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import ClassVar, Self

import msgspec
from argon2 import PasswordHasher
from argon2.exceptions import VerificationError
from sqlalchemy import or_, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from core.accounts.records import Identity, Password, Role, UserListed, UserName
from core.errors import TokenRejected, UserTaken, UserUnknown, WrongRequest
from core.models import LARGEST_ID, Base, Latch, User
from core.reading import (
    PASSWORD_LENGTH,
    USER_NAME_LENGTH,
    Request,
    kept_name,
    meant_by,
    nfc,
    plain_text,
)
from core.sql import by_code_point

AUTHENTICATION = "authentication"

# Argon2id with 19 MiB, two passes, one lane: OWASP Password Storage Cheat Sheet.
HASHER = PasswordHasher(time_cost=2, memory_cost=19_456, parallelism=1)
# What an unknown name's password is compared with, so that it takes as long as a known one's: the
# hash of a random text that nobody kept. Made by HASHER, once: at each start it would cost 30 ms.
DUMMY_HASH = (
    "$argon2id$v=19$m=19456,t=2,p=1$rEuJy7yJ5BtilQfekFyahg$"
    "MiIw98YDvUqAkdel/aoGpCOkifGFjFqHOeZ0/hrH5oA"
)
LATCH = Base.metadata.tables["latch"]


class LogIn(Request, frozen=True):
    """A name and its password."""

    secrets: ClassVar[bool] = True

    name: str
    password: str


class UserWanted(Request, frozen=True):
    """A user to add."""

    secrets: ClassVar[bool] = True

    name: UserName
    password: Password
    role: Role = Role.VIEWER


class UserChange(Request, frozen=True):
    """What to change of a user; what is left out stays."""

    secrets: ClassVar[bool] = True

    password: Password | None = None
    role: Role | None = None
    enabled: bool | None = None


class PasswordChange(Request, frozen=True):
    """A user's own new password."""

    secrets: ClassVar[bool] = True

    old: str
    new: Password


# Hashes are slow on purpose, and SQLite has one writer at a time: what is to be written is made
# before its transaction begins.


@dataclass(frozen=True, slots=True)
class NewUser:
    """A user as it will be kept."""

    name: str
    password_hash: str = field(repr=False)
    role: Role

    @classmethod
    def of(cls, wanted: UserWanted) -> Self:
        """Return the user that is wanted. Raises WrongRequest."""
        name = _kept(user_name(wanted.name), "a user's name")
        return cls(name, HASHER.hash(checked_password(wanted.password)), wanted.role)


@dataclass(frozen=True, slots=True)
class Change:
    """What becomes of a user; None: it stays."""

    password_hash: str | None = field(default=None, repr=False)
    role: Role | None = None
    enabled: bool | None = None

    @classmethod
    def of(cls, wanted: UserChange) -> Self:
        """Return the change that is wanted. Raises WrongRequest."""
        if wanted.password is None:
            return cls(None, wanted.role, wanted.enabled)
        hashed = HASHER.hash(checked_password(wanted.password))
        return cls(hashed, wanted.role, wanted.enabled)


@dataclass(frozen=True, slots=True)
class Known:
    """A user who may log in, and what is kept of the password."""

    identity: Identity
    password_hash: str = field(repr=False)


def create_user(session: Session, new: NewUser, now: datetime) -> UserListed:
    """Add a user, the first one as an admin. From then on open access has ended for good.

    Raises UserTaken, WrongRequest.
    """
    if new.role is not Role.ADMIN and not _has_admin(session):
        raise WrongRequest("role of the first user must be admin", "role", got=new.role)
    if not new.name.isascii() and named(session, new.name) is not None:
        raise UserTaken(new.name)
    user = User(
        name=new.name,
        password_hash=new.password_hash,
        role=new.role,
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
    return _listed(user)


def change_user(
    session: Session,
    user_id: int,
    change: Change,
    generation: int | None = None,
) -> UserListed:
    """Change what is given. A new password and being disabled end all the user's tokens.

    With the `generation` of who was identified, nothing is changed for whoever has since been
    disabled or given a new password: TokenRejected. Raises UserUnknown, WrongRequest.
    """
    _lock_admins_and(session, user_id)
    user = find_user(session, user_id)
    if generation not in (None, user.generation):
        raise TokenRejected("this user was disabled or given a new password")
    user.password_hash = change.password_hash or user.password_hash
    if change.password_hash is not None or change.enabled is False:
        user.generation += 1
    user.role = change.role or user.role
    user.enabled = user.enabled if change.enabled is None else change.enabled
    _refuse_without_admin(session)
    return _listed(user)


def remove_user(session: Session, user_id: int) -> None:
    """Delete a user and all tokens. Raises UserUnknown, WrongRequest for the last admin."""
    _lock_admins_and(session, user_id)
    session.delete(find_user(session, user_id))
    _refuse_without_admin(session)


def _lock_admins_and(session: Session, user_id: int) -> None:
    # Two admins who end each other at once would both find the other one still there. All in one
    # order: whoever locks several users does it by their ids.
    wanted = User.id == min(user_id, LARGEST_ID)
    together = select(User.id).where(or_(User.role == Role.ADMIN, wanted))
    session.scalars(together.order_by(User.id).with_for_update()).all()


def _refuse_without_admin(session: Session) -> None:
    session.flush()
    if not _has_admin(session):
        raise WrongRequest("the last admin can't be removed, disabled or given another role")


def _has_admin(session: Session) -> bool:
    admins = select(User.id).where(User.role == Role.ADMIN, User.enabled).limit(1)
    return session.scalar(admins) is not None


def find_user(session: Session, user_id: int) -> User:
    """Return the user of that id, locked against changes until the transaction ends."""
    # No database has a larger id, and none takes one as a question. What this session read before
    # is read again: it may have changed while we waited.
    wanted = min(user_id, LARGEST_ID)
    user = session.get(User, wanted, with_for_update=True, populate_existing=True)
    if user is None:
        raise UserUnknown(str(user_id))
    return user


def find_user_named(session: Session, name: str) -> User:
    """Return the user of that name. Raises UserUnknown."""
    user = named(session, name)
    if user is None:
        raise UserUnknown(name)
    return user


def named(session: Session, name: str) -> User | None:
    """Return the user of that name, if there is one."""
    # What can't be a user's name isn't looked for: Postgres fails at a NUL.
    try:
        user_name(name)
    except WrongRequest:
        return None
    if not name.isascii():
        # Known or not, it takes the same.
        name = meant_by(name, set(session.scalars(select(User.name)))) or nfc(name)
    return session.scalar(select(User).where(User.name == name))


def everyone(session: Session) -> list[UserListed]:
    """Return every user, by name."""
    by_name = select(User).order_by(by_code_point(User.name))
    return [_listed(user) for user in session.scalars(by_name)]


def _listed(user: User) -> UserListed:
    return msgspec.convert(user, UserListed, from_attributes=True)


def access_is_open(session: Session) -> bool:
    """Whether no user was ever made here."""
    return session.get(Latch, AUTHENTICATION) is None


def user_name(value: object) -> str:
    """Return `value` as a user's name: trimmed, 1 to 64 characters, no colon (RFC 7617)."""
    name = label(value, "a user's name")
    if ":" in name:
        raise WrongRequest("a user's name must not contain a colon", "name")
    return name


def new_label(value: object) -> str:
    """Return `value` as the name of a new token. Raises WrongRequest."""
    return _kept(label(value), "a token's name")


def _kept(name: str, what: str) -> str:
    try:
        return kept_name(name, what, USER_NAME_LENGTH)
    except WrongRequest as error:
        raise error.at("name") from None


def label(value: object, what: str = "a token's name") -> str:
    """Return `value` as what people call a user or a token: trimmed, 1 to 64 characters."""
    try:
        return plain_text(value, what, USER_NAME_LENGTH)
    except WrongRequest as error:
        raise error.at("name") from None


def checked_password(password: str) -> str:
    """Return `password` if it may be one: 8 to 256 characters, any of them (NIST SP 800-63B)."""
    low, high = PASSWORD_LENGTH
    if not low <= len(password) <= high:
        raise WrongRequest(f"password must be {low} to {high} characters long", "password")
    try:
        password.encode()
    except UnicodeEncodeError:
        raise WrongRequest("password must not contain lone surrogates", "password") from None
    return password


def known(session: Session, name: str) -> Known | None:
    """Return the user of that name, if there is one who may log in."""
    user = named(session, name)
    return Known(identity_of(user), user.password_hash) if user and user.enabled else None


def check_password(user: Known | None, password: str) -> Identity:
    """Return who `user` is if the password is right. Needs no transaction, as it takes its time.

    Takes as long for nobody. Count the attempt first. Raises TokenRejected.
    """
    try:
        HASHER.verify(user.password_hash if user else DUMMY_HASH, password)
    except (VerificationError, UnicodeEncodeError):
        raise TokenRejected("wrong name or password") from None
    if user is None:
        raise TokenRejected("wrong name or password")
    return user.identity


def identity_of(user: User) -> Identity:
    """Return `user` as somebody whose password was right."""
    return Identity(user.name, Role(user.role).level, user.id, user.generation)
