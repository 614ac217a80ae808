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
from sqlalchemy.orm import Session

from core.clock import utc_now
from core.errors import ClockContradicted, DatabaseReplaced, Unavailable
from core.reading import Record, Request
from core.rounds import log as round_log
from core.rounds import stretches, trust, witnesses
from core.servers import find
from handlers.http import routes
from handlers.http.routes import PUBLIC, Routes
from handlers.instance import Instance
from infra import patience
from infra.database import Database

KEPT_S = 1.0
"""Anybody may ask, as often as they like: the database is asked once a second at most."""

PATIENCE_S = 2.0
"""Who asks whether all is well wants to know before they have an answer of their own."""


@dataclass(frozen=True, slots=True)
class Looked:
    """What the database said, and when on the monotonic clock; None: nothing."""

    at_s: float
    database: bool
    last_round: datetime | None
    problem: str = "DATABASE_UNREACHABLE"  # where the database said nothing
    removal_waits: str | None = None
    rounds_fail: bool = False
    rounds_ceased: bool = False
    late: bool = False
    left_out: tuple[str, ...] = ()


class HealthQuery(Request, frozen=True):
    """With `max_age_s`, a newest round older than that is a failure, too."""

    max_age_s: Annotated[int, Meta(ge=1, le=31_536_000)] | UnsetType = UNSET


class Health(Record, frozen=True):
    """Whether this instance works: its database, and how old the newest round is.

    `status`: OK; ROUNDS_FAIL: of the newest round nothing was recorded; ROUNDS_LATE: the newest is
    older than was asked for, or unasked: none has begun for five minutes; DATABASE_UNREACHABLE; or
    DATABASE_REPLACED: its file was removed, or another one put in its place. What is wrong with
    rounds is 503 only where an age was asked for: whoever sends requests here may go on.
    `removal_waits` says why nothing old is removed: the clock is doubted. Else it is null.
    `now` is our clock: whoever tells ages by it needs no clock of their own. `late`: a
    server is due, but two of its intervals and a minute have passed since the newest ping of any,
    or since it was added or went on. `left_out` are the witnesses that don't answer, so that
    nothing is known of our own network by them.
    """

    status: str
    database: bool
    last_round_age_s: float | None
    removal_waits: str | None
    now: datetime
    late: bool
    left_out: tuple[str, ...]


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
    now = utc_now()
    age_s = None
    if looked.last_round is not None:
        # The clock of who recorded it may be a little ahead of ours.
        age_s = max(0.0, (now - looked.last_round).total_seconds())
    word = _word(looked, age_s, wanted.max_age_s or None)
    # Whoever asks for no age wants to know whether to send requests here, dead worker or not.
    serves = looked.database and (word == "OK" or not wanted.max_age_s)
    code = HTTPStatus.OK if serves else HTTPStatus.SERVICE_UNAVAILABLE
    body = Health(
        status=word,
        database=looked.database,
        last_round_age_s=age_s,
        removal_waits=looked.removal_waits,
        now=now,
        late=looked.late,
        left_out=looked.left_out,
    )
    return routes.reply(body, code)


def _looked(database: Database) -> Looked:
    looked = LOOKED.get(database)
    if looked is not None and time.monotonic() - looked.at_s < KEPT_S:
        return looked
    # One looks. Who comes meanwhile is told what was last known, and waits only where nothing was:
    # however many ask while the database hangs, they don't pile up. `with` knows no time-out.
    if not LOCK.acquire(timeout=0 if looked else PATIENCE_S):  # pylint: disable=consider-using-with
        return looked or Looked(time.monotonic(), False, None)
    try:
        return _look_again(database)
    finally:
        LOCK.release()


def _look_again(database: Database) -> Looked:
    looked = LOOKED.get(database)
    if looked is None or time.monotonic() - looked.at_s >= KEPT_S:
        looked = LOOKED[database] = _look(database)
    return looked


def _look(database: Database) -> Looked:
    try:
        hurry = patience.Patience(PATIENCE_S, PATIENCE_S, PATIENCE_S)
        with patience.of(hurry), database.reading() as session:
            now = utc_now()
            newest = find.newest_slot(session, now)
            return Looked(
                time.monotonic(),
                True,
                newest,
                removal_waits=_removal_waits(session),
                rounds_fail=round_log.fails(session, now),
                rounds_ceased=round_log.ceased(session, now),
                late=find.is_late(session, newest, now),
                left_out=tuple(witnesses.left_out(session, now)),
            )
    except DatabaseReplaced:
        return Looked(time.monotonic(), False, None, "DATABASE_REPLACED")
    except Unavailable:
        return Looked(time.monotonic(), False, None)


def _removal_waits(session: Session) -> str | None:
    try:
        trust.check(trust.Trust([]), utc_now(), round_log.database_time(session))
    except ClockContradicted as error:
        return str(error)
    return stretches.kept(session).removal_waits


def _word(looked: Looked, age_s: float | None, max_age_s: int | None) -> str:
    if not looked.database:
        return looked.problem
    if looked.rounds_fail:
        return "ROUNDS_FAIL"
    is_late = looked.rounds_ceased
    if max_age_s is not None:
        is_late = age_s is None or age_s > max_age_s
    return "ROUNDS_LATE" if is_late else "OK"
