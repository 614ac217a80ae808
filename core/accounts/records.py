"""Who somebody is, and what they may do."""

from dataclasses import dataclass
from enum import IntEnum, StrEnum


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
