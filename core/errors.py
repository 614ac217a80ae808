"""Everything Pinglet refuses, as one tree. handlers/http/errors.py turns it into replies.

CoreError
├── WrongRequest       what was sent can't be understood or isn't allowed
│   └── RefusedLate    after some steps of long work; the message says what is done
├── NameUnknown        no server has that name
│   └── IdUnknown      or that id
├── NameTaken          another server has that name
├── IncidentUnknown    no incident has that id
├── IncidentOver       it is resolved already
├── MaintenanceUnknown no maintenance has that id
├── RuleUnknown        no rule has that id
├── RuleTaken          another rule has that name
├── UserUnknown        no such user
├── UserTaken          another user has that name
├── TokenUnknown       the user has no token of that id
├── TokenRejected      no token or password, or one that isn't valid
├── Forbidden          known, but may not do this, or not from there
│   └── HostUnknown    or not by that host name
├── TooManyAttempts    passwords were tried too often: wait
├── Unavailable        the database can't be reached, or is too busy: try again
│   ├── SchemaMismatch its tables are older than this release
│   ├── Misconfigured  it refuses what the settings ask for: somebody has to see to it
│   ├── PlatformError  it is too old, or was built without what is needed; told at the start
│   ├── DatabaseReplaced its file was removed, or another one put in its place
│   ├── CutOff         in the midst of long work; the message says what is done
│   └── Busy           enough costly work is being done already: try again
├── ClockContradicted  this machine's clock is wrong: nothing is recorded by it
└── SettingsError      a setting is wrong; raised at the start, never by a request

A lost echo is none of these: it is a result.
"""

import json
import math
from collections.abc import Sequence
from typing import Any, Self


class CoreError(Exception):
    """Base of all. `status` is the word the contract uses; str() is the sentence for people."""

    status = "WRONG_REQUEST"

    @property
    def logged(self) -> str:
        """The sentence for logs, which repeat nothing of what was sent: it may be a secret."""
        return str(self)


NOTHING = object()
SHOWN_LENGTH = 60  # characters of a value that was refused


def shown(value: object) -> str:
    """Return a value as a sentence shows it: texts in quotes, cut where they are long."""
    if isinstance(value, list):
        return f"a list of {len(value):,}"
    if isinstance(value, dict):
        return "an object"
    text = repr(str(value)) if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= SHOWN_LENGTH else f"{text[: SHOWN_LENGTH - 3]}..."


def shape(value: object) -> str:
    """Return what a value is, without what it says."""
    if isinstance(value, str):
        return f"text of {len(value):,} character{'s' * (len(value) != 1)}"
    if isinstance(value, int | float) and not isinstance(value, bool):
        return "a number"
    return shown(value)


class WrongRequest(CoreError):
    """The request is malformed or asks for what isn't allowed; `field` says where, if anywhere.

    `got` is the value that was refused: in the place of {} in the sentence, or else at its end,
    str() shows it to the caller and `logged` tells its shape, as both do where it may be `secret`.
    """

    def __init__(
        self,
        sentence: str,
        field: str | None = None,
        *,
        got: object = NOTHING,
        secret: bool = False,
    ) -> None:
        self._logged = sentence if got is NOTHING else _with(shape(got), sentence)
        is_shown = got is not NOTHING and not secret
        super().__init__(_with(shown(got), sentence) if is_shown else self._logged)
        self.field = field

    @property
    def logged(self) -> str:
        """The sentence without the value."""
        return self._logged

    def at(self, field: str) -> Self:
        """Return the same, about another field."""
        self.field = field
        return self

    def called(self, name: str) -> Self:
        """Return the same where the field has another name: the sentence begins with it."""
        old, (told,) = self.field or "", self.args
        if old and told.startswith(f"{old} "):
            self.args = (name + told.removeprefix(old),)
            self._logged = name + self._logged.removeprefix(old)
        return self.at(name)


def _with(got: str, sentence: str) -> str:
    return sentence.replace("{}", got) if "{}" in sentence else f"{sentence}, got {got}"


class RefusedLate(WrongRequest):
    """A step of long work was refused after others were done; `done` is what they returned."""

    def __init__(self, refusal: CoreError, told: str, done: Sequence[Any]) -> None:
        super().__init__(f"{refusal}\n{told}", getattr(refusal, "field", None))
        self._logged = f"{refusal.logged}\n{told}"
        self.done = done


class NameUnknown(CoreError):
    """No server has that name."""

    status = "NAME_DID_NOT_FOUND"

    def __init__(self, name: str) -> None:
        super().__init__(f"no server is named {name!r}")

    @property
    def logged(self) -> str:
        """The sentence without the name."""
        return "no server has that name"


class IdUnknown(NameUnknown):
    """No server has that id."""

    def __init__(self, server_id: int) -> None:
        super().__init__("")
        self.args = (f"no server has the id {server_id}",)

    @property
    def logged(self) -> str:
        """The sentence, as an id is no secret."""
        return str(self)


class NameTaken(CoreError):
    """A server of that name exists already."""

    status = "NAME_ALREADY_EXIST"

    def __init__(self, name: str) -> None:
        super().__init__(f"a server named {name!r} exists already")

    @property
    def logged(self) -> str:
        """The sentence without the name."""
        return "a server of that name exists already"


class IncidentUnknown(CoreError):
    """No incident has that id."""

    status = "INCIDENT_DID_NOT_FOUND"

    def __init__(self, incident_id: int) -> None:
        super().__init__(f"no incident has the id {incident_id}")


class IncidentOver(CoreError):
    """The incident is resolved: there is nothing left to acknowledge or to resolve."""

    status = "INCIDENT_IS_RESOLVED"

    def __init__(self, incident_id: int) -> None:
        super().__init__(f"incident {incident_id} is resolved already; it can only be commented on")


class MaintenanceUnknown(CoreError):
    """No maintenance has that id."""

    status = "MAINTENANCE_DID_NOT_FOUND"

    def __init__(self, maintenance_id: int) -> None:
        super().__init__(f"no maintenance has the id {maintenance_id}")


class RuleUnknown(CoreError):
    """No rule has that id."""

    status = "RULE_DID_NOT_FOUND"

    def __init__(self, rule_id: int) -> None:
        super().__init__(f"no rule has the id {rule_id}")


class RuleTaken(CoreError):
    """A rule of that name exists already."""

    status = "RULE_ALREADY_EXIST"

    def __init__(self, name: str) -> None:
        super().__init__(f"a rule named {name!r} exists already")

    @property
    def logged(self) -> str:
        """The sentence without the name."""
        return "a rule of that name exists already"


class UserUnknown(CoreError):
    """No such user."""

    status = "USER_DID_NOT_FOUND"

    def __init__(self, name: str) -> None:
        super().__init__(f"there is no user {name!r}")

    @property
    def logged(self) -> str:
        """The sentence without the name."""
        return "there is no such user"


class UserTaken(CoreError):
    """A user of that name exists already."""

    status = "USER_ALREADY_EXIST"

    def __init__(self, name: str) -> None:
        super().__init__(f"a user named {name!r} exists already")

    @property
    def logged(self) -> str:
        """The sentence without the name."""
        return "a user of that name exists already"


class TokenUnknown(CoreError):
    """The user has no token of that id."""

    status = "TOKEN_DID_NOT_FOUND"

    def __init__(self) -> None:
        # Without what was asked for: somebody may have put the token itself in the id's place.
        super().__init__("you have no token of that id")


class TokenRejected(CoreError):
    """The caller didn't show who it is, or what it showed isn't valid."""

    status = "UNAUTHORIZED"


class TooManyAttempts(CoreError):
    """Passwords were tried too often. `retry_after_s`: when to try again."""

    status = "TOO_MANY_REQUESTS"

    def __init__(self, retry_after_s: int) -> None:
        minutes = math.ceil(retry_after_s / 60)
        wait = "1 minute" if minutes == 1 else f"{minutes} minutes"
        super().__init__(f"too many attempts: try again in {wait}")
        self.retry_after_s = retry_after_s


class Forbidden(CoreError):
    """The caller may not do this, or not from where it is."""

    status = "FORBIDDEN"


class HostUnknown(Forbidden):
    """The caller came by a host name that isn't ours."""

    def __init__(self, host: str) -> None:
        super().__init__(
            f"the host {host!r} isn't known here: add it to PINGLET_HOSTS if it is yours"
        )
        self.host = host


class Unavailable(CoreError):
    """The database can't serve this now; nothing was changed. `retry_after_s` is a hint."""

    status = "SERVICE_UNAVAILABLE"
    retry_after_s = 5


class SchemaMismatch(Unavailable):
    """The database's tables are not the ones this release needs."""

    retry_after_s = 30


class Misconfigured(Unavailable):
    """The database refuses what the settings ask of it, and will until somebody changes either."""

    retry_after_s = 30


class PlatformError(Unavailable):
    """What Pinglet stands on can't do what it needs; the message says what is needed, and found."""

    retry_after_s = 30


class DatabaseReplaced(Unavailable):
    """The file that was opened isn't the one that its name means now."""

    retry_after_s = 60

    def __init__(self, file: str, *, is_there: bool) -> None:
        what = "replaced by another one" if is_there else "removed"
        super().__init__(
            f"the database file {file} was {what} while Pinglet was using it: stop Pinglet, see "
            "that the right file is there and no -wal or -shm beside it, and start Pinglet again"
        )


class CutOff(Unavailable):
    """Long work ended after some of its steps; `done` is what they returned."""

    def __init__(self, why: str, told: str, done: Sequence[Any]) -> None:
        super().__init__(f"{why}: {told}")
        self.done = done


class Busy(Unavailable):
    """Enough costly work is being done already, for this caller or for all."""

    retry_after_s = 2

    def __init__(self) -> None:
        super().__init__("too many costly answers at once: wait for one of them, then try again")


class ClockContradicted(CoreError):
    """Something says that this machine's clock is wrong. Raised by rounds, never by a request."""

    status = "CLOCK_CONTRADICTED"


class SettingsError(CoreError):
    """A setting can't be used; the message names its variable."""
