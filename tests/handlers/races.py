"""Races: several do their part again and again, each time at the same moment."""

import json
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta

from flask.testing import FlaskClient

from core.checks.records import Ping, Probe
from core.clock import utc_now
from core.history import upkeep as history_upkeep
from core.rounds.measure import Measured
from core.slots import slot_of
from handlers.worker import rounds
from infra.database import Database
from tests.counts import RACES

IP = "192.0.2.1"
SERVERS = "/api/v1/servers"
FILLERS = 100  # servers that give the others time to come in between
Racer = Callable[[FlaskClient, int], int]
"""Does its part of a race, the number of which it is given; returns the answer's code."""


def meet(clients: Sequence[FlaskClient], racers: Sequence[Racer]) -> list[set[int]]:
    """Run the races; return what each of the racers was answered."""
    start = threading.Barrier(len(racers), timeout=60)

    def race(client: FlaskClient, racer: Racer) -> set[int]:
        codes = set()
        # Where one fails the others end, and the test with what that one raised.
        with suppress(threading.BrokenBarrierError):
            for number in range(RACES):
                start.wait()
                codes.add(_run(racer, client, number, start))
        return codes

    with ThreadPoolExecutor(len(racers)) as threads:
        return list(threads.map(race, clients, racers))


def _run(racer: Racer, client: FlaskClient, race: int, start: threading.Barrier) -> int:
    try:
        return racer(client, race)
    except BaseException:
        start.abort()
        raise


def database_of(client: FlaskClient) -> Database:
    database: Database = client.application.extensions["pinglet"].database
    return database


def renames(server_id: int, *names: str) -> Racer:
    """Gives a server one of these names, by turns."""

    def rename(client: FlaskClient, race: int) -> int:
        name = names[race % len(names)]
        return client.patch(f"{SERVERS}/{server_id}", json={"name": name}).status_code

    return rename


def puts(*names: str, upsert: bool = True) -> Racer:
    """Adds servers of these names, or changes them."""

    def put(client: FlaskClient, race: int) -> int:
        some = [*names[:1], *(f"filler {number}" for number in range(FILLERS)), *names[1:]]
        wanted = [{"name": name, "ip": IP, "port": race % 9 + 1} for name in some]
        body = {"servers": wanted, "upsert": upsert}
        return client.post(f"{SERVERS}/bulk", json=body).status_code

    return put


def removes(*names: str) -> Racer:
    """Removes one server after the other, as far as they are there."""

    def remove(client: FlaskClient, _race: int) -> int:
        codes = {client.delete("/", json={"server": name}).status_code for name in names}
        return max(codes - {404}, default=404)

    return remove


def takes(*names: str) -> Racer:
    """Imports servers that began earlier each time, with pings of now and of last month."""

    def take(client: FlaskClient, race: int) -> int:
        began = utc_now() - timedelta(days=90 + race)
        plan = {"since": began.isoformat(), "interval_s": 60, "enabled": True}
        dates = [(utc_now() - timedelta(days=days)).date().isoformat() for days in (0, 30)]
        page = {
            "servers": [
                {"name": name, "ip": IP, "added": began.isoformat(), "schedule": [plan]}
                for name in names
            ],
            "days": [
                {"server": name, "date": day, "pings": [[race % 2, 1.0, 1.0, 1.0, 4, 4]]}
                for day in dates
                for name in names
            ],
        }
        body = json.dumps(page).encode()
        headers = {"Content-Type": "application/json"}
        return client.post("/api/v1/import", data=body, headers=headers).status_code

    return take


def records(*ids: int) -> Racer:
    """Records this round's pings, and the same ones of midnight, which are imported, too."""

    def record(client: FlaskClient, race: int) -> int:
        now = utc_now()
        slot = slot_of(now).replace(hour=0, minute=race % 2)
        pings = [Ping(one, IP, 4, 4, 1.0, 1.0, 1.0, Probe.TCP, None) for one in ids]
        rounds.store(database_of(client), slot, Measured(pings, []), now)
        return 200

    return record


def packs(*ids: int) -> Racer:
    """Packs last month's day and today, and forgets what is older."""

    def pack(client: FlaskClient, _race: int) -> int:
        database = database_of(client)
        today = utc_now().date()
        for day in (today - timedelta(days=30), today):
            database.write(lambda session, day=day: history_upkeep.pack(session, day, ids))
        database.write(lambda session: history_upkeep.forget_days(session, today, ids, 9))
        return 200

    return pack
