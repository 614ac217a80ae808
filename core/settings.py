"""All that can be set, read once. The only reader of the environment."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Self

from core.addresses import AddressRules
from core.errors import SettingsError

DAY_S = 86_400
MINUTE_S = 60
LOCAL_DATABASE = Path(__file__).parent.parent / "instance" / "pinglet.db"


def _text(value: str) -> str:
    return value


def _truth(value: str) -> bool:
    known = {"1": True, "true": True, "yes": True, "on": True}
    known |= {"0": False, "false": False, "no": False, "off": False}
    if value.lower() not in known:
        raise ValueError("expected 1 or 0 (also true/false, yes/no, on/off)")
    return known[value.lower()]


def _interval_s(value: str) -> int:
    seconds = int(value)
    if seconds < MINUTE_S or seconds % MINUTE_S or DAY_S % seconds:
        raise ValueError("expected seconds that make whole minutes and divide a day, such as 60")
    return seconds


def _between(low: float, high: float) -> Callable[[str], float]:
    def parse(value: str) -> float:
        number = float(value)
        if not low <= number <= high:
            raise ValueError(f"expected a number from {low:g} to {high:g}")
        return number

    return parse


def _count(low: int, high: int) -> Callable[[str], int]:
    def parse(value: str) -> int:
        number = int(value)
        if not low <= number <= high:
            raise ValueError(f"expected a whole number from {low} to {high}")
        return number

    return parse


def _one_of(*choices: str) -> Callable[[str], str]:
    def parse(value: str) -> str:
        if value not in choices:
            raise ValueError(f"expected one of {', '.join(choices)}")
        return value

    return parse


def _words(value: str) -> tuple[str, ...]:
    return tuple(word.strip().lower() for word in value.split(",") if word.strip())


def _setting(
    default: object, variable: str, meaning: str, parse: Callable[[str], object] = _text
) -> Any:
    metadata = {"variable": variable, "meaning": meaning, "parse": parse}
    return field(default=default, metadata=metadata)  # pylint: disable=invalid-field-call


@dataclass(frozen=True, slots=True)
class Settings:
    """Every setting with its default; `docs/settings.md` lists them (a test compares)."""

    database_url: str = _setting(
        f"sqlite:///{LOCAL_DATABASE}",
        "DATABASE_URL",
        "The database: `sqlite:///FILE`, or a `postgres://` URL",
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
        "The database cancels a statement that takes longer than this",
        _between(0.1, 900),
    )
    connect_timeout_s: float = _setting(
        10.0,
        "PINGLET_CONNECT_TIMEOUT_S",
        "How long to try to connect to the database, all attempts included",
        _between(0.1, 60),
    )
    interval_s: int = _setting(
        60,
        "PINGLET_INTERVAL_S",
        "How often a new server is pinged; must be whole minutes that divide a day evenly",
        _interval_s,
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
        _truth,
    )
    allow_loopback: bool = _setting(
        True,
        "PINGLET_ALLOW_LOOPBACK",
        "Whether servers in 127.0.0.0/8 may be watched; off by default on AWS Lambda",
        _truth,
    )
    allow_private: bool = _setting(
        True,
        "PINGLET_ALLOW_PRIVATE",
        "Whether servers in private networks (10.0.0.0/8 and the like) may be watched; "
        "off by default on AWS Lambda",
        _truth,
    )
    authentication: bool = _setting(
        True,
        "PINGLET_AUTHENTICATION",
        "Whether requests need a token or a password. If off, anyone on the machine itself may do "
        "everything until the first user is created; can't be switched off on AWS Lambda",
        _truth,
    )
    hosts: tuple[str, ...] = _setting(
        (),
        "PINGLET_HOSTS",
        "Host names of this instance, besides localhost and IP addresses; "
        "comma-separated, `*` for any",
        _words,
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
        _truth,
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
        _count(1, 1_000),
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
        """Read every setting from `environ`; an empty variable means the default.

        Raises SettingsError naming the variable that can't be used.
        """
        given = dict(_deployed_defaults(environ))
        for setting in fields(cls):
            variable = setting.metadata["variable"]
            if environ.get(variable):
                given[setting.name] = _parsed(setting.metadata["parse"], variable, environ)
        if _is_deployed(environ) and not given.get("authentication", True):
            raise SettingsError("PINGLET_AUTHENTICATION can't be switched off on AWS Lambda")
        return cls(**given)


def _is_deployed(environ: Mapping[str, str]) -> bool:
    # Set by the runtime and by nobody else:
    # docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html
    return bool(environ.get("AWS_LAMBDA_FUNCTION_NAME"))


def _deployed_defaults(environ: Mapping[str, str]) -> dict[str, Any]:
    if _is_deployed(environ):
        return {"allow_loopback": False, "allow_private": False}
    return {}


def _parsed(parse: Callable[[str], object], variable: str, environ: Mapping[str, str]) -> object:
    try:
        return parse(environ[variable])
    except ValueError as error:
        raise SettingsError(f"{variable}={environ[variable]!r} can't be used: {error}") from None
