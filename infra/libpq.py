"""The words after ? in a Postgres URL: libpq's, and those of others that providers hand out.

Each is taken, or asks for what happens anyway, or is ignored with a warning: a URL that another
program connects by is never a reason not to start. Source:
www.postgresql.org/docs/18/libpq-connect.html#LIBPQ-PARAMKEYWORDS
"""

import logging
import re
from collections.abc import Mapping
from functools import cache
from typing import Any

from sqlalchemy import URL

from core.errors import SettingsError

log = logging.getLogger("pinglet.database")

PLACES = {"user": "username", "password": "password", "port": "port", "dbname": "database"}
"""Words that say what also stands before the ?, and SQLAlchemy's names of it."""
TAKEN = {
    *("host", "hostaddr", "application_name", "connect_timeout", "options", "search_path"),
    *("sslmode", "sslrootcert", "sslcert", "sslkey", "sslpassword", "pgbouncer", *PLACES),
}
OTHER_NAMES = {
    "fallback_application_name": "application_name",  # libpq: if the other isn't said
    "ssl": "sslmode",  # JDBC, Node
    "currentSchema": "search_path",  # JDBC
    "schema": "search_path",  # Prisma
}
HAPPENS_ANYWAY = {
    # The driver binds where the server offers it, and we verify every certificate.
    "channel_binding": {"prefer", "require"},
    "client_encoding": {"utf8", "utf-8", "unicode"},
    "gssencmode": {"disable", "prefer"},
    "keepalives": {"0", "1"},  # every wait has a time-out
    "load_balance_hosts": {"disable"},
    "replication": {"false", "off", "no", "0"},
    "ssl_min_protocol_version": {"tlsv1", "tlsv1.1", "tlsv1.2"},
    "sslcompression": {"0"},
    "sslnegotiation": {"postgres"},
    "sslsni": {"1"},
    # What a standby refuses to write is answered "try again", by another connection.
    "target_session_attrs": {"any", "read-write", "primary"},
}
SETTING = re.compile(r"(?:-c\s*|--)([A-Za-z][\w.-]*)=((?:\\.|[^\s\\])*)")
TRUE = {"1", "true", "yes", "on"}
LISTS = ("host", "hostaddr", "port")
# All before the first comma, and the other hosts; what is before @ may hold commas of its own.
HOSTS = re.compile(r"([\w+]+://(?>(?:[^:/]*(?::[^@]*)?@)?)[^/?,]*),[^/?]*")


def words(url: URL) -> dict[str, str]:
    """Return the words of `url` that mean something here; the rest is named in one warning.

    Of one that is repeated the last counts, as in libpq.
    """
    said = {
        name: value if isinstance(value, str) else value[-1] for name, value in url.query.items()
    }
    _ignore(*(name for name, value in said.items() if not _is_known(name, value)))
    taken = {name: _meant(name, value) for name, value in said.items() if name in TAKEN}
    others = {new: said[old] for old, new in OTHER_NAMES.items() if old in said}
    if "ssl" in said:
        others["sslmode"] = "require" if said["ssl"].lower() in TRUE else ""
    return others | taken


def _is_known(name: str, value: str) -> bool:
    if value.lower() in HAPPENS_ANYWAY.get(name, ()):
        return True
    return name in TAKEN or (name in OTHER_NAMES and (name != "ssl" or value.lower() in TRUE))


def _meant(name: str, value: str) -> str:
    if name == "sslmode" and value == "no-verify":  # Node
        _warn("Pinglet reads sslmode=no-verify as require, and verifies the server's certificate")
        return "require"
    return first(value) if name in LISTS else value


def first(text: str) -> str:
    """Return the first of several hosts, addresses or ports."""
    one, comma, _rest = text.partition(",")
    if comma:
        _warn_of_hosts()
    return one


def with_first_host(text_url: str) -> str:
    """Return a URL with the first of its hosts and its port; libpq would try each in turn."""
    several = HOSTS.match(text_url)
    if not several:
        return text_url
    if "@" in several[0][len(several[1]) :]:  # the comma is the password's
        raise SettingsError("DATABASE_URL: @ and , in a password must be written as %40 and %2C")
    _warn_of_hosts()
    return several[1] + text_url[several.end() :]


def _warn_of_hosts() -> None:
    _warn("Pinglet connects to the first of several hosts only")


def _ignore(*names: str) -> None:
    # Names alone: a value may be a secret, and so may a name that is none.
    told = [name if re.fullmatch("[A-Za-z][A-Za-z0-9_.]{,40}", name) else "?" for name in names]
    if told:
        _warn(f"Pinglet ignores {', '.join(told)}")


@cache
def _warn(told: str) -> None:
    # Once in a process.
    log.warning("DATABASE_URL: %s", told)


def with_places(url: URL, said: Mapping[str, str]) -> URL:
    """Return `url` with what `said` has of user, password, port and database.

    Raises SettingsError.
    """
    places: dict[str, Any] = {place: said[word] for word, place in PLACES.items() if said.get(word)}
    if "port" in places:
        text = str(places["port"])
        if not re.fullmatch("[0-9]{1,5}", text) or not 1 <= int(text) <= 65_535:
            raise SettingsError("DATABASE_URL: port must be 1 to 65535")
        places["port"] = int(text)
    return url.set(**places)


def options(text: str) -> dict[str, str]:
    """Return the settings in `options`, as in `-c search_path=pinglet`; warn of anything else."""
    if SETTING.sub("", text).strip():
        _ignore("options")
    return {
        name.replace("-", "_"): re.sub(r"\\(.)", r"\1", value)
        for name, value in SETTING.findall(text)
    }


def connect_timeout_s(said: Mapping[str, str], most: float) -> float:
    """Return how long to try to connect: libpq's word can only shorten the setting's `most`."""
    word = said.get("connect_timeout", "0").strip()
    try:
        wanted = int(word)
    except ValueError:
        _ignore("connect_timeout")
        return most
    return min(wanted, most) if wanted > 0 else most
