"""Everything Pinglet refuses, as one tree. handlers/api.py turns it into replies.

CoreError
├── WrongRequest       what was sent can't be understood or isn't allowed
├── NameUnknown        no server has that name
├── NameTaken          another server has that name
├── Forbidden          the request comes from somewhere that may not change anything
├── Unavailable        the database can't be reached, or is too busy: try again
│   └── SchemaMismatch its tables are older than this release
└── SettingsError      a setting is wrong; raised at the start, never by a request

A lost echo is none of these: it is a result.
"""


class CoreError(Exception):
    """Base of all. `status` is the word the contract uses; str() is the sentence for people."""

    status = "WRONG_REQUEST"


class WrongRequest(CoreError):
    """The request is malformed or asks for what isn't allowed."""


class NameUnknown(CoreError):
    """No server has that name."""

    status = "NAME_DID_NOT_FOUND"

    def __init__(self, name: str) -> None:
        super().__init__(f"no server is named {name!r}")


class NameTaken(CoreError):
    """A server of that name exists already."""

    status = "NAME_ALREADY_EXIST"

    def __init__(self, name: str) -> None:
        super().__init__(f"a server named {name!r} exists already")


class Forbidden(CoreError):
    """The caller may not do this from where it is."""

    status = "FORBIDDEN"


class Unavailable(CoreError):
    """The database can't serve this now; nothing was changed. `retry_after_s` is a hint."""

    status = "SERVICE_UNAVAILABLE"
    retry_after_s = 5


class SchemaMismatch(Unavailable):
    """The database's tables are not the ones this release needs."""

    retry_after_s = 30


class SettingsError(CoreError):
    """A setting can't be used; the message names its variable."""
