"""The JSON of /api/v1 as types: they validate what comes in and generate openapi.json."""

from datetime import datetime
from typing import Annotated

import msgspec

from core.accounts.records import Kind, Role, Scope
from core.checks.records import Probe, State
from core.reading import NAME_PATTERN, Record, Request

Label = Annotated[str, msgspec.Meta(min_length=1, max_length=64, pattern=NAME_PATTERN)]
UserName = Annotated[
    str,
    msgspec.Meta(
        min_length=1,
        max_length=64,
        pattern=NAME_PATTERN.replace("[^", "[^:"),
        description="No colon in it",
    ),
]
Password = Annotated[str, msgspec.Meta(min_length=8, max_length=256)]


class Done(Record, frozen=True):
    """A word for what was done."""

    status: str


class LogIn(Request, frozen=True):
    """A name and its password."""

    name: str
    password: str


class Refresh(Request, frozen=True):
    """A refresh token, to be traded."""

    refresh: str


class TokenWanted(Request, frozen=True):
    """A named token for a script."""

    name: Label
    scope: Scope = Scope.READ
    expires_in_s: Annotated[int, msgspec.Meta(ge=60, le=5 * 365 * 86_400)] = 365 * 86_400


class UserWanted(Request, frozen=True):
    """A user to add."""

    name: UserName
    password: Password
    role: Role = Role.VIEWER


class UserChange(Request, frozen=True):
    """What to change of a user; what is left out stays."""

    password: Password | None = None
    role: Role | None = None
    enabled: bool | None = None


class PasswordChange(Request, frozen=True):
    """A user's own new password."""

    old: str
    new: Password


class TokenIssued(Record, frozen=True):
    """A token as it is shown this once."""

    id: int
    token: str
    kind: Kind
    scope: Scope
    expires: datetime


class TokenPair(Record, frozen=True):
    """What a log-in gets: the refresh token buys the next pair, once."""

    access: str
    refresh: str
    expires_in_s: int


class TokenListed(Record, frozen=True):
    """A token that works, without itself."""

    id: int
    name: str
    kind: Kind
    scope: Scope
    created: datetime
    expires: datetime
    last_used: datetime | None


class TokenList(Record, frozen=True):
    """One's own tokens that work, oldest first."""

    tokens: list[TokenListed]


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


class Me(Record, frozen=True):
    """Who is asking, and what they may do."""

    name: str
    may: str
    open: bool


# Servers


class EchoShown(Record, frozen=True):
    """One echo of a ping that was asked for."""

    verdict: str
    rtt_ms: float | None
    clock: str | None
    bound_ms: float | None
    reason: str


class PingNow(Record, frozen=True):
    """The echoes of a ping that was asked for; nothing is stored.

    Where we couldn't observe the server, `state` is unobserved and `reason` says why.
    """

    state: State
    probe: Probe | None
    response_ms: float | None
    port: int | None
    echoes: list[EchoShown]
    reason: str | None


class Problem(Record, frozen=True):
    """What went wrong (RFC 9457): `code` for programs, `detail` for people, `field` where."""

    type: str
    title: str
    status: int
    code: str
    detail: str
    field: str | msgspec.UnsetType = msgspec.UNSET


class HealthQuery(Request, frozen=True):
    """With `max_age_s`, a newest round older than that is a failure, too."""

    max_age_s: Annotated[int, msgspec.Meta(ge=1, le=31_536_000)] | msgspec.UnsetType = msgspec.UNSET


class Health(Record, frozen=True):
    """Whether this instance works: its database, and how old the newest round is.

    `status`: OK, ROUNDS_LATE (only where an age was asked for) or DATABASE_UNREACHABLE.
    """

    status: str
    database: bool
    last_round_age_s: float | None
