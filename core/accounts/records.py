"""Who somebody is, what they may do, and what is told of users and tokens."""

from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum, StrEnum
from typing import Annotated, Self

import msgspec

from core.reading import NEW_NAME_PATTERN, PASSWORD_LENGTH, USER_NAME_LENGTH, Record

# Lengths are held to where a request is read; what a pattern says, core's `label` and `user_name`
# hold to in words for people.
Label = Annotated[
    str,
    msgspec.Meta(
        min_length=1, max_length=USER_NAME_LENGTH, extra_json_schema={"pattern": NEW_NAME_PATTERN}
    ),
]
UserName = Annotated[
    str,
    msgspec.Meta(
        min_length=1,
        max_length=USER_NAME_LENGTH,
        description="Must not contain a colon",
        extra_json_schema={"pattern": NEW_NAME_PATTERN.replace("[^", "[^:")},
    ),
]
Password = Annotated[
    str, msgspec.Meta(min_length=PASSWORD_LENGTH[0], max_length=PASSWORD_LENGTH[1])
]


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

    @classmethod
    def of(cls, role: Role) -> Self:
        """Return the scope that reaches as far as a role."""
        return next(scope for scope in cls if scope.level is role.level)


class TokenKind(StrEnum):
    """What a token is for."""

    ACCESS = "access"  # a script's, for a quarter of an hour
    REFRESH = "refresh"  # gets the next access token, once
    SESSION = "session"  # a browser's cookie
    KEY = "key"  # long-lived, named


@dataclass(frozen=True, slots=True)
class Identity:
    """Who is asking. `user_id` is 0 for whoever sits at this machine while access is open."""

    name: str
    level: Level
    user_id: int = 0
    generation: int = 0
    token_id: int | None = None
    family: str = ""
    kind: TokenKind | None = None
    used_lately: bool = False


class Me(Record, frozen=True):
    """Who you are, and what you may do."""

    name: str
    may: str
    open: bool

    @classmethod
    def of(cls, identity: Identity) -> Self:
        """Return what `identity` is told of itself."""
        return cls(name=identity.name, may=identity.level.name.lower(), open=not identity.user_id)


class UserListed(Record, frozen=True):
    """A user."""

    id: int
    name: str
    role: Role
    enabled: bool
    created: datetime


class UserList(Record, frozen=True):
    """Every user, by name."""

    users: list[UserListed]


class TokenListed(Record, frozen=True):
    """A token that is valid, or a named one that has expired, without its secret.

    `scope` is what it allows, so never more than its user's role; a session's name is its browser.
    """

    id: int
    name: str
    kind: TokenKind
    scope: Scope
    created: datetime
    expires: datetime
    last_used: datetime | None
    current: Annotated[bool, msgspec.Meta(description="Whether this request was made with it")]


class TokenList(Record, frozen=True):
    """Your tokens, oldest first: those that are valid, and named ones that have expired.

    `next`: the `after` of the page that follows.
    """

    tokens: list[TokenListed]
    next: str | None


class TokenIssued(Record, frozen=True):
    """A new token. It is shown only once."""

    id: int
    token: str
    kind: TokenKind
    scope: Scope
    expires: datetime

    def __repr__(self) -> str:
        # A log must not show the token by accident.
        return f"TokenIssued(id={self.id}, kind={self.kind}, scope={self.scope})"


class TokenPair(Record, frozen=True):
    """What a log-in returns: the refresh token can be exchanged for the next pair, once."""

    access: str
    refresh: str
    expires_in_s: int

    def __repr__(self) -> str:
        return "TokenPair(...)"
