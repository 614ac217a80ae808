"""Whether this instance works, for load balancers and other monitors."""

import threading
import time
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus

from flask.typing import ResponseReturnValue

from core.clock import utc_now
from core.errors import Unavailable
from core.servers import find
from handlers.http import routes, shapes
from infra.database import Database

KEPT_S = 1.0
"""Anybody may ask, as often as they like: the database is asked once a second at most."""


@dataclass(frozen=True, slots=True)
class Looked:
    """What the database said, and when on the monotonic clock; None: nothing."""

    at_s: float
    database: bool
    last_round: datetime | None


class Health:
    """The view."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self._lock = threading.Lock()
        self._looked: Looked | None = None

    def show(self) -> ResponseReturnValue:
        """Tell whether this instance works: 200, or 503 where it doesn't."""
        wanted = routes.query(shapes.HealthQuery)
        with self._lock:
            if self._looked is None or time.monotonic() - self._looked.at_s >= KEPT_S:
                self._looked = self._look()
            looked = self._looked
        age_s = None
        if looked.last_round is not None:
            age_s = (utc_now() - looked.last_round).total_seconds()
        word = _word(looked, age_s, wanted.max_age_s or None)
        code = HTTPStatus.OK if word == "OK" else HTTPStatus.SERVICE_UNAVAILABLE
        body = shapes.Health(status=word, database=looked.database, last_round_age_s=age_s)
        return routes.reply(body, code)

    def _look(self) -> Looked:
        try:
            with self.database.reading() as session:
                return Looked(time.monotonic(), True, find.newest_slot(session, utc_now()))
        except Unavailable:
            return Looked(time.monotonic(), False, None)


def _word(looked: Looked, age_s: float | None, max_age_s: int | None) -> str:
    if not looked.database:
        return "DATABASE_UNREACHABLE"
    if max_age_s is not None and (age_s is None or age_s > max_age_s):
        return "ROUNDS_LATE"
    return "OK"
