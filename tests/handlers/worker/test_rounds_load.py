"""Rounds go on, each of them whole, whatever load others put on the database meanwhile."""

import asyncio
import socket
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from itertools import count

from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from core.checks.records import Probe
from handlers.worker import rounds
from infra.database import Database
from tests.counts import ROUNDS_LOADED
from tests.infra.rows import IP, MINUTE, SLOT, add_many
from tests.instances import instance

HERE = "127.0.0.1"
SERVERS = [f"web-{number}" for number in range(200)]
DOCUMENT = '{servers(first: 1000) {nodes {id summary(window: "1d") {p99Ms}}}}'
Ask = Callable[[FlaskClient, int], TestResponse]


def imports(client: FlaskClient, number: int) -> TestResponse:
    """Import a server with a year of days, in several steps."""
    began, name = SLOT - timedelta(days=500), f"old-{number}"
    dates = [(began + timedelta(days=day)).date().isoformat() for day in range(1, 366)]
    days = [{"server": name, "date": one, "pings": [[7, 1.5, 1, 2, 4, 4]]} for one in dates]
    server = {"name": name, "ip": IP, "added": began.isoformat(), "schedule": [PAUSED]}
    return client.post("/api/v1/import", json={"servers": [server], "days": days})


PAUSED = {"since": "2020-01-01T00:00:00Z", "interval_s": 60, "enabled": False}


def puts(client: FlaskClient, number: int) -> TestResponse:
    """Put many servers, of which each is changed every time."""
    wanted = [
        {"name": f"new-{one}", "ip": IP, "port": number % 9 + 1, "enabled": False}
        for one in range(2_200)
    ]
    return client.post("/api/v1/servers/bulk", json={"servers": wanted, "upsert": True})


def asks(client: FlaskClient, _number: int) -> TestResponse:
    """Ask by GraphQL for as much as a document may."""
    return client.post("/graphql", json={"query": DOCUMENT})


def test_every_round_is_whole_beside_imports_bulk_changes_and_long_documents(
    app: Flask, database: Database
) -> None:
    over = threading.Event()

    def press(ask: Ask) -> list[TestResponse]:
        answers = []
        for number in count():
            answers.append(ask(app.test_client(), number))
            if over.is_set():
                return answers
        raise AssertionError

    with socket.socket() as closed, ThreadPoolExecutor(3) as threads:
        closed.bind((HERE, 0))  # a port that refuses: as good an answer as any
        add_many(database, SERVERS, HERE, probe=Probe.TCP, port=closed.getsockname()[1])
        pressing = [threads.submit(press, ask) for ask in (imports, puts, asks)]
        try:
            for number in range(ROUNDS_LOADED):
                slot = SLOT + number * MINUTE
                targets = rounds.due(database, slot)
                done = asyncio.run(
                    rounds.run_round(instance(database), slot, targets, now=lambda now=slot: now)
                )
                assert (done.recorded, len(done.unobserved)) == (len(SERVERS), 0)
        finally:
            over.set()
        for answers in (one.result() for one in pressing):
            codes = {answer.status_code for answer in answers}
            assert 200 in codes
            assert codes <= {200, 503}
            assert all("Retry-After" in one.headers for one in answers if one.status_code == 503)
