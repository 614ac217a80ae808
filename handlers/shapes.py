"""The JSON of /api/v1 as types: they validate what comes in and generate openapi.json."""

import re
from datetime import datetime
from typing import Annotated, TypeVar

import msgspec

from core.accounts import Kind, Role, Scope
from core.errors import WrongRequest
from core.schema import read_json

UserName = Annotated[str, msgspec.Meta(min_length=1, max_length=64, description="No colon in it")]
Password = Annotated[str, msgspec.Meta(min_length=8, max_length=256)]
Any = TypeVar("Any")


class Request(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What comes in: a key we don't know is refused, it may be a typing error."""


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """What goes out."""


class LogIn(Request, frozen=True):
    """A name and its password."""

    name: str
    password: str


class Refresh(Request, frozen=True):
    """A refresh token, to be traded."""

    refresh: str


class TokenWanted(Request, frozen=True):
    """A named token for a script."""

    name: UserName
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


class TokenIssued(Reply, frozen=True):
    """A token as it is shown this once."""

    id: int
    token: str
    kind: Kind
    scope: Scope
    expires: datetime


class TokenPair(Reply, frozen=True):
    """What a log-in gets: the refresh token buys the next pair, once."""

    access: str
    refresh: str
    expires_in_s: int


class TokenListed(Reply, frozen=True):
    """A token that works, without itself."""

    id: int
    name: str
    kind: Kind
    scope: Scope
    created: datetime
    expires: datetime
    last_used: datetime | None


class UserListed(Reply, frozen=True):
    """A user."""

    id: int
    name: str
    role: Role
    enabled: bool
    created: datetime


class Me(Reply, frozen=True):
    """Who is asking, and what they may do."""

    name: str
    may: str
    open: bool


def parse(shape: type[Any], body: bytes) -> Any:
    """Read strict JSON into `shape`. Raises WrongRequest with the field that is wrong."""
    return convert(shape, read_json(body))


def convert(shape: type[Any], value: object) -> Any:
    """Make `value`, as JSON gave it, a `shape`. Raises WrongRequest with the field."""
    try:
        return msgspec.convert(value, shape)
    except msgspec.ValidationError as error:
        # "Expected `int`, got `str` - at `$.port`"; "Object missing required field `port`"
        sentence, _, path = str(error).partition(" - at `$")
        named = re.search("(?:required|unknown) field `(.*)`$", sentence, re.DOTALL)
        places = [path.strip(".`"), named[1] if named else ""]
        raise WrongRequest(sentence, ".".join(filter(None, places)) or None) from None
