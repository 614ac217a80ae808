"""All that can be set, read once. The only reader of the environment."""

import contextlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import Any, Literal, NamedTuple, Self

from core.addresses import AddressRules
from core.errors import SettingsError

LOCAL_DATABASE = Path(__file__).parent.parent / "instance" / "pinglet.db"


class Parser(NamedTuple):
    """Reads a variable: `parse` returns None or raises ValueError for what isn't `right`."""

    parse: Callable[[str], object]
    right: str = "text"


TRUTHS = {"1": True, "true": True, "yes": True, "on": True}
TRUTHS |= {"0": False, "false": False, "no": False, "off": False}
TRUTH = Parser(lambda value: TRUTHS.get(value.lower()), "1 or 0 (or true/false, yes/no, on/off)")


INTERVALS_S = tuple(60 * minutes for minutes in range(1, 1_441) if 1_440 % minutes == 0)
"""How often a server can be pinged: whole minutes that divide a day."""


def _interval_s(value: str) -> int | None:
    seconds = int(value)
    return seconds if seconds in INTERVALS_S else None


INTERVAL_S = Parser(_interval_s, "whole minutes that divide a day, in seconds, such as 60 or 300")


def _between(low: float, high: float, read: Callable[[str], float] = float) -> Parser:
    def parse(value: str) -> float | None:
        number = read(value)
        return number if low <= number <= high else None

    whole = "a whole number, " if read is int else ""
    return Parser(parse, f"{whole}{low} to {high}")


def _one_of(*choices: str) -> Parser:
    return Parser(lambda value: value if value in choices else None, " or ".join(choices))


def _words(value: str) -> tuple[str, ...]:
    return tuple(word.strip().lower() for word in value.split(",") if word.strip())


TEXT, WORDS = Parser(str), Parser(_words)
URL = Parser(str, "a URL such as sqlite:///FILE or postgres://...")

UNIX_SOCKET: Literal["unix"] = "unix"
Proxy = IPv4Network | IPv6Network | Literal["unix"]
"""From where a proxy asks: a network, or a Unix socket of this machine."""


def _proxy(word: str) -> Proxy:
    return UNIX_SOCKET if word == UNIX_SOCKET else ip_network(word)


PROXIES = Parser(
    lambda value: tuple(map(_proxy, _words(value))),
    "networks, comma-separated, such as 127.0.0.1 or 10.0.0.0/8, or unix",
)


GATEWAY = "gateway"
MOST_WITNESSES = 3


def _witnesses(value: str) -> tuple[str, ...] | None:
    words = _words(value)
    if words in ((GATEWAY,), ("none",)):
        return tuple(word for word in words if word == GATEWAY)
    found = tuple(str(ip_address(word)) for word in words)
    return found if 1 <= len(found) <= MOST_WITNESSES else None


WITNESSES = Parser(_witnesses, "gateway, none, or up to 3 IP addresses, comma-separated")


def _setting(default: object, variable: str, meaning: str, parser: Parser = TEXT) -> Any:
    metadata = {"variable": variable, "meaning": meaning, "parser": parser}
    # pylint: disable-next=invalid-field-call  # it is called where a dataclass has its fields
    return field(default=default, metadata=metadata)


@dataclass(frozen=True, slots=True)
class Settings:
    """Every setting with its default; `docs/settings.md` lists them (a test compares)."""

    database_url: str = _setting(
        f"sqlite:///{LOCAL_DATABASE}",
        "DATABASE_URL",
        "The database: `sqlite:///FILE`, or a `postgres://` URL",
        URL,
    )
    database_ca: str = _setting(
        "",
        "PINGLET_DATABASE_CA",
        "File of CA certificates to verify the Postgres server with; if empty, the system's",
    )
    database_pool: str = _setting(
        "keep",
        "PINGLET_DATABASE_POOL",
        "`keep` one connection open between requests, or `none` to connect each time",
        _one_of("keep", "none"),
    )
    statement_timeout_s: float = _setting(
        30.0,
        "PINGLET_STATEMENT_TIMEOUT_S",
        "The database cancels a statement of a round or a command that takes longer than this",
        _between(0.1, 900),
    )
    request_timeout_s: float = _setting(
        4.0,
        "PINGLET_REQUEST_TIMEOUT_S",
        "How long a request waits for the database in all, before the answer is 503",
        _between(0.1, 60),
    )
    job_timeout_s: float = _setting(
        600.0,
        "PINGLET_JOB_TIMEOUT_S",
        "How long a statement of an upgrade or of the night's work may take",
        _between(1, 86_400),
    )
    connect_timeout_s: float = _setting(
        10.0,
        "PINGLET_CONNECT_TIMEOUT_S",
        "How long to try to connect to the database while it has no room, all attempts included",
        _between(0.1, 60),
    )
    interval_s: int = _setting(
        60,
        "PINGLET_INTERVAL_S",
        "How often a new server is pinged; must be whole minutes that divide a day evenly",
        INTERVAL_S,
    )
    echo_timeout_s: float = _setting(
        1.0,
        "PINGLET_ECHO_TIMEOUT_S",
        "How long to wait for an echo to come back",
        _between(0.01, 10),
    )
    echo_gap_s: float = _setting(
        0.1,
        "PINGLET_ECHO_GAP_S",
        "Minimum time between two echoes to the same server",
        _between(0, 5),
    )
    rate_pps: float = _setting(
        0.0,
        "PINGLET_RATE_PPS",
        "Maximum number of packets sent per second; 0 means no limit",
        _between(0, 1_000_000),
    )
    ping_now: bool = _setting(
        True,
        "PINGLET_PING_NOW",
        "Whether servers may be pinged on demand; switch it off where the API itself can't reach "
        "them",
        TRUTH,
    )
    allow_loopback: bool = _setting(
        True,
        "PINGLET_ALLOW_LOOPBACK",
        "Whether servers in 127.0.0.0/8 may be watched; off by default on AWS Lambda",
        TRUTH,
    )
    allow_private: bool = _setting(
        True,
        "PINGLET_ALLOW_PRIVATE",
        "Whether servers in private networks (10.0.0.0/8 and the like) may be watched; "
        "off by default on AWS Lambda",
        TRUTH,
    )
    authentication: bool = _setting(
        True,
        "PINGLET_AUTHENTICATION",
        "Whether requests need a token or a password. If off, anyone on the machine itself may do "
        "everything until the first user is created; can't be switched off on AWS Lambda",
        TRUTH,
    )
    witnesses: tuple[str, ...] = _setting(
        (GATEWAY,),
        "PINGLET_WITNESSES",
        "Up to three addresses that answer while our own network works, comma-separated: while all "
        "of them are silent no server is down, we can't see. `gateway` is this machine's default "
        "gateway, `none` asks nobody, and is the default on AWS Lambda",
        WITNESSES,
    )
    hosts: tuple[str, ...] = _setting(
        (),
        "PINGLET_HOSTS",
        "Host names of this instance, besides localhost and IP addresses; "
        "comma-separated, `*` for any",
        WORDS,
    )
    trusted_proxies: tuple[Proxy, ...] = _setting(
        (),
        "PINGLET_TRUSTED_PROXIES",
        "Networks of the proxies whose X-Forwarded-For, -Proto, -Host, -Port and -Prefix are "
        "believed, comma-separated; `unix` for those on a Unix socket. Can't be used on AWS Lambda",
        PROXIES,
    )
    keep_raw_hours: float = _setting(
        48.0,
        "PINGLET_KEEP_RAW_HOURS",
        "How long each ping keeps its own row, at least; rows are removed by whole UTC days, once "
        "the day is packed and this old",
        _between(26, 24 * 31),
    )
    keep_days: float = _setting(
        400.0,
        "PINGLET_KEEP_DAYS",
        "How many days of packed history to keep",
        _between(3, 3_660),
    )
    worker_in_server: bool = _setting(
        False,
        "PINGLET_WORKER_IN_SERVER",
        "Whether `flask run` also runs the worker, which pings the servers",
        TRUTH,
    )

    batch_queue_url: str = _setting(
        "",
        "PINGLET_BATCH_QUEUE_URL",
        "SQS queue to which `schedule` sends a round's batches",
    )
    result_queue_url: str = _setting(
        "",
        "PINGLET_RESULT_QUEUE_URL",
        "SQS queue to which `probe` sends its results",
    )
    batch_size: int = _setting(
        100,
        "PINGLET_BATCH_SIZE",
        "How many servers one message to a prober contains",
        _between(1, 1_000, int),
    )
    database_secret: str = _setting(
        "",
        "PINGLET_DATABASE_SECRET",
        "ARN of a secret in AWS Secrets Manager that contains the database URL, or the user and "
        "password as RDS stores them; read at the first connection, and once more when the "
        "database refuses the password",
    )

    @property
    def address_rules(self) -> AddressRules:
        """What may be probed from here."""
        return AddressRules(loopback=self.allow_loopback, private=self.allow_private)

    @classmethod
    def from_env(cls, environ: Mapping[str, str] = os.environ) -> Self:
        """Read every setting from `environ`, blanks around it apart; an empty one is the default.

        Raises SettingsError naming the variable that can't be used.
        """
        given = dict(_deployed_defaults(environ))
        for setting in fields(cls):
            variable = setting.metadata["variable"]
            if environ.get(variable):
                given[setting.name] = _parsed(setting.metadata["parser"], variable, environ)
        if _is_deployed(environ) and not given.get("authentication", True):
            raise SettingsError("PINGLET_AUTHENTICATION can't be switched off on AWS Lambda")
        if _is_deployed(environ) and given.get("trusted_proxies"):
            # Only API Gateway says who asks; whoever reaches it can write any other header.
            raise SettingsError("PINGLET_TRUSTED_PROXIES can't be used on AWS Lambda")
        return cls(**given)


def _refuse_odd(text: str, variable: str) -> None:
    """Refuse what no setting holds. The text isn't told: it may be a URL with its password."""
    odd = [place for place, letter in enumerate(text, 1) if not letter.isprintable()]
    if odd:
        got = f"character {odd[0]} is U+{ord(text[odd[0] - 1]):04X}"
        raise SettingsError(f"{variable} must be printable text in one line, but {got}")
    if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'":
        raise SettingsError(f"{variable} must stand without quotes, got it in {text[0]}")


def _is_deployed(environ: Mapping[str, str]) -> bool:
    # Set by the runtime and by nobody else:
    # docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html
    return bool(environ.get("AWS_LAMBDA_FUNCTION_NAME"))


def _deployed_defaults(environ: Mapping[str, str]) -> dict[str, Any]:
    if _is_deployed(environ):
        return {"allow_loopback": False, "allow_private": False, "witnesses": ()}
    return {}


def _parsed(parser: Parser, variable: str, environ: Mapping[str, str]) -> object:
    text = environ[variable].strip()  # a file of secrets ends with a newline
    _refuse_odd(text, variable)
    with contextlib.suppress(ValueError):
        parsed = parser.parse(text)
        if parsed is not None and text:
            return parsed
    raise SettingsError(f"{variable} must be {parser.right}, got {environ[variable]!r}")
