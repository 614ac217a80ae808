"""Whether this instance works, for load balancers and other monitors."""

import threading
import time
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from typing import Annotated
from weakref import WeakKeyDictionary

from flask import Response
from msgspec import UNSET, Meta, UnsetType

from core.clock import utc_now
from core.errors import Unavailable
from core.reading import Record, Request
from core.rounds import log as round_log
from core.servers import find
from handlers.http import routes
from handlers.http.routes import PUBLIC, Routes
from handlers.instance import Instance
from infra.database import Database

KEPT_S = 1.0
"""Anybody may ask, as often as they like: the database is asked once a second at most."""


@dataclass(frozen=True, slots=True)
class Looked:
    """What the database said, and when on the monotonic clock; None: nothing."""

    at_s: float
    database: bool
    last_round: datetime | None
    rounds_fail: bool = False
    rounds_ceased: bool = False


class HealthQuery(Request, frozen=True):
    """With `max_age_s`, a newest round older than that is a failure, too."""

    max_age_s: Annotated[int, Meta(ge=1, le=31_536_000)] | UnsetType = UNSET


class Health(Record, frozen=True):
    """Whether this instance works: its database, and how old the newest round is.

    `status`: OK; ROUNDS_FAIL: of the newest round nothing was recorded; ROUNDS_LATE: the newest is
    older than was asked for, or rounds no longer begin; or DATABASE_UNREACHABLE.
    """

    status: str
    database: bool
    last_round_age_s: float | None


ROUTES = Routes()
LOOKED: WeakKeyDictionary[Database, Looked] = WeakKeyDictionary()
LOCK = threading.Lock()


@ROUTES(
    "GET",
    "/api/v1/health",
    may=PUBLIC,
    query=HealthQuery,
    gives=Health,
    errors=[HTTPStatus.SERVICE_UNAVAILABLE],
)
def show(here: Instance, wanted: HealthQuery) -> Response:
    """Tell whether this instance works: 200, or 503 where it doesn't."""
    looked = _looked(here.database)
    age_s = None
    if looked.last_round is not None:
        age_s = (utc_now() - looked.last_round).total_seconds()
    word = _word(looked, age_s, wanted.max_age_s or None)
    code = HTTPStatus.OK if word == "OK" else HTTPStatus.SERVICE_UNAVAILABLE
    body = Health(status=word, database=looked.database, last_round_age_s=age_s)
    return routes.reply(body, code)


def _looked(database: Database) -> Looked:
    with LOCK:
        looked = LOOKED.get(database)
        if looked is None or time.monotonic() - looked.at_s >= KEPT_S:
            looked = LOOKED[database] = _look(database)
        return looked


def _look(database: Database) -> Looked:
    try:
        with database.reading() as session:
            now = utc_now()
            return Looked(
                time.monotonic(),
                True,
                find.newest_slot(session, now),
                round_log.fails(session, now),
                round_log.ceased(session, now),
            )
    except Unavailable:
        return Looked(time.monotonic(), False, None)


def _word(looked: Looked, age_s: float | None, max_age_s: int | None) -> str:
    if not looked.database:
        return "DATABASE_UNREACHABLE"
    if looked.rounds_fail:
        return "ROUNDS_FAIL"
    if looked.rounds_ceased:
        return "ROUNDS_LATE"
    if max_age_s is not None and (age_s is None or age_s > max_age_s):
        return "ROUNDS_LATE"
    return "OK"
