"""Many servers at once, beside others who change the same ones: nobody waits in a circle."""

import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

import pytest
from flask import Flask
from flask.testing import FlaskClient

from core.checks.records import Ping, Probe
from core.clock import utc_now
from core.history import upkeep as history_upkeep
from core.settings import Settings
from core.slots import slot_of
from handlers.http.app import create_app
from handlers.worker import rounds
from infra.database import Database
from tests.counts import RACES
from tests.handlers.calls import server

IP = "192.0.2.1"
SERVERS = "/api/v1/servers"
FILLERS = 100  # servers that give the others time to come in between
Racer = Callable[[FlaskClient, int], int]
"""Does its part of a race, the number of which it is given; returns the answer's code."""


@pytest.fixture
def app(postgres_settings: Settings) -> Iterator[Flask]:
    made = create_app(replace(postgres_settings, authentication=False))
    yield made
    made.extensions["pinglet"].database.engine.dispose()


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
        rounds.store(database_of(client), slot, pings, now)
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


@pytest.mark.parametrize(
    "racers",
    [
        pytest.param(
            [renames(1, "x", "a"), renames(2, "y", "b"), puts("y", "b", "x", "a")],
            id="two renames and a bulk upsert",
        ),
        pytest.param(
            [renames(1, "x", "a"), renames(2, "y", "b"), puts("y", "b", "x", "a", upsert=False)],
            id="two renames and a bulk insert",
        ),
        pytest.param(
            [renames(1, "b", "a"), renames(2, "a", "b"), renames(3, "a", "c")],
            id="names that go round",
        ),
        pytest.param(
            [puts("a", "b", "c", "new", "more"), puts("more", "new", "c", "b", "a")],
            id="two bulk upserts in opposite orders",
        ),
        pytest.param(
            [
                takes("a", "b", "c", "new"),
                takes("new", "c", "b", "a"),
                puts("new", "b", "a"),
                records(3, 2, 1),
                packs(1, 2, 3),
            ],
            id="imports, a bulk upsert, a round, packing",
        ),
        pytest.param(
            [
                removes("c", "new"),
                takes("new", "c", "a"),
                puts("a", "new", "c"),
                records(1, 2, 3),
                renames(1, "x", "a"),
            ],
            id="removals",
        ),
    ],
)
def test_nobody_is_refused_and_nobody_waits_in_a_circle(
    app: Flask, racers: list[Racer], caplog: pytest.LogCaptureFixture
) -> None:
    clients = [app.test_client() for _racer in racers]
    for name in "abc":
        clients[0].post("/", data=server(name))
    start = threading.Barrier(len(racers), timeout=60)

    def race(racer: Racer, client: FlaskClient) -> set[int]:
        codes = set()
        for number in range(RACES):
            start.wait()
            codes.add(racer(client, number))
        return codes

    with ThreadPoolExecutor(len(racers)) as threads:
        answers = set().union(*threads.map(race, racers, clients))
    assert answers <= {200, 404, 409}
    assert [line for line in caplog.messages if "made way" in line] == []
