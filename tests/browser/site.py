"""Pinglet as a browser meets it: served on loopback, with servers and history to look at."""

import asyncio
import random
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from queue import Queue

from flask import Response, request
from sqlalchemy import event, select
from werkzeug.exceptions import NotFound
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.serving import WSGIRequestHandler, make_server

from core import slots as core_slots
from core.checks.records import Ping, Probe, Reason, figures_ms
from core.clock import utc_now
from core.incidents import announce
from core.models import SERVER
from core.rounds import record
from core.servers import change, find
from core.servers.records import ServerWanted
from core.settings import Settings
from core.slots import SLOT
from handlers.http.app import create_app
from handlers.worker import rounds
from infra.database import Database
from tests.instances import instance

ECHOES = 4


class Quiet(WSGIRequestHandler):
    """Without a line for each request; a browser that says nothing more isn't waited for."""

    timeout = 5  # seconds

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Say nothing."""


@dataclass
class Site:
    """A served Pinglet; what it says to its database is noted."""

    url: str
    database: Database
    statements: list[str] = field(default_factory=list)
    answered: Queue[str] = field(default_factory=Queue)

    def add(
        self, *names: str, ago: timedelta = timedelta(0), first: int = 1, interval_s: int = 60
    ) -> list[int]:
        """Add servers on 127.0.0.0/8 as if `ago`; return their ids."""
        wanted = [
            ServerWanted(
                name=name,
                ip=f"127.{number >> 16}.{number >> 8 & 255}.{number & 255}",
                interval_s=interval_s,
            )
            for number, name in enumerate(names, first)
        ]
        with self.database.transaction() as session:
            now = utc_now() - ago
            done = change.put(session, wanted, self.database.settings, now, upsert=False)
        return [outcome.id for outcome in done if outcome.id is not None]

    def names(self) -> list[str]:
        """Return the names of all servers, in order of creation."""
        with self.database.reading() as session:
            return list(find.names(session))

    def wait_for(self, method: str, status: int) -> None:
        """Wait until a call of this method has been answered so; empties what was before it."""
        while self.answered.get(timeout=250) != f"{method} {status}":
            pass

    def round(self) -> None:
        """Ping whatever is due in this minute, as the worker does."""
        # In a thread of its own: Playwright's loop runs in the caller's.
        with ThreadPoolExecutor(1) as thread:
            thread.submit(self._round).result()

    def _round(self) -> None:
        slot = core_slots.slot_of(utc_now())
        asyncio.run(
            rounds.run_round(instance(self.database), slot, rounds.due(self.database, slot))
        )

    def history(self, ids: Sequence[int], slots: Sequence[datetime]) -> None:
        """Record made-up rounds of these servers in these slots."""
        chance = random.Random(7)
        for slot in slots:
            made = [made_up(chance, number, server_id) for number, server_id in enumerate(ids)]
            with self.database.transaction() as session:
                record.record(session, slot, made)

    def judge(self, seen: Mapping[int, str], slots: Sequence[datetime]) -> None:
        """Record what servers are in these slots, a letter for each, and decide what comes of it.

        They are good (g), lose half of their echoes (l), or are bad (b).
        """
        with self.database.reading() as session:
            ips = dict(session.execute(select(SERVER.c.id, SERVER.c.ip)).all())
        for place, slot in enumerate(slots):
            rounds.close(self.database, slot)
            pings = [good_or_bad(one, ips[one], each[place]) for one, each in seen.items()]
            with self.database.transaction() as session:
                record.record(session, slot, pings)
            rounds.announce(self.database, slot)
        # Of the other servers nothing will come any more.
        rounds.close(self.database, slots[-1] + announce.FENCE)


def good_or_bad(server_id: int, ip: str, letter: str) -> Ping:
    """Return the ping of a server that answers all echoes, half of them or none."""
    if letter == "b":
        why = (Reason.TIMEOUT, "no answer within a second")
        return Ping(server_id, ip, ECHOES, 0, None, None, None, Probe.ICMP, None, *why)
    received = ECHOES // 2 if letter == "l" else ECHOES
    return Ping(server_id, ip, ECHOES, received, 12.0, 11.0, 14.0, Probe.ICMP)


def made_up(chance: random.Random, number: int, server_id: int) -> Ping:
    """Return a ping such as one sees: most are whole, every tenth server loses some echoes."""
    lost_share = {3: 0.3, 7: 0.98}.get(number % 10, 0.0)
    base_ms = 1.0 + 7 * (number % 23)
    times = [
        base_ms * chance.uniform(0.9, 1.2) for _ in range(ECHOES) if chance.random() >= lost_share
    ]
    return Ping(
        server_id=server_id,
        ip=f"127.{number + 1 >> 16}.{number + 1 >> 8 & 255}.{number + 1 & 255}",
        sent=ECHOES,
        received=len(times),
        **figures_ms(times),
        probe=Probe.ICMP,
    )


def slots(length: timedelta, step: timedelta = SLOT, end: datetime | None = None) -> list[datetime]:
    """Return slots up to `end`, which is the one we are in unless said otherwise."""
    last = end or core_slots.slot_of(utc_now())
    return [last - step * number for number in range(int(length / step), -1, -1)]


@contextmanager
def serve(settings: Settings, prefix: str = "") -> Iterator[Site]:
    """Serve the application on a free port of this machine, and nothing outside its prefix."""
    app = create_app(settings)
    mounted = DispatcherMiddleware(NotFound(), {prefix: app})
    server = make_server("127.0.0.1", 0, mounted, threaded=True, request_handler=Quiet)
    # Closing waits for the requests that are being answered: they hold connections.
    server.daemon_threads = False
    database: Database = app.extensions["pinglet"].database
    site = Site(f"http://127.0.0.1:{server.server_port}{prefix}", database)
    event.listen(
        database.engine,
        "before_cursor_execute",
        lambda _connection, _cursor, statement, *_more: site.statements.append(statement),
    )

    def note(response: Response) -> Response:
        site.answered.put(f"{request.method} {response.status_code}")
        return response

    app.after_request(note)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield site
    finally:
        server.shutdown()
        thread.join(250)
        server.server_close()
        database.engine.dispose()
