"""Two at the same moment, in threads and in processes: the database decides."""

import multiprocessing
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import text

from core.servers import change
from core.settings import Settings
from handlers.http.app import create_app
from infra.database import Database
from tests.handlers.calls import CREATED, TAKEN, UNKNOWN, named, names, server, told

NAMES = [f"server {number}" for number in range(10)]
Answers = list[tuple[int, bytes]]


def post_all(app: Flask, together: Callable[[], object]) -> Answers:
    """Add the servers one after the other, each at the moment when the others do the same."""
    client = app.test_client()
    answers = []
    for name in NAMES:
        together()
        answers.append(told(client.post("/", data=server(name))))
    return answers


def test_of_threads_that_add_one_name_exactly_one_succeeds(app: Flask) -> None:
    at_once = 8
    barrier = threading.Barrier(at_once, timeout=250)
    with ThreadPoolExecutor(at_once) as pool:
        started = [pool.submit(post_all, app, barrier.wait) for _ in range(at_once)]
        answers = [answer for thread in started for answer in thread.result()]
    assert Counter(answers) == {CREATED: len(NAMES), TAKEN: (at_once - 1) * len(NAMES)}
    assert names(app.test_client()) == NAMES


def post_from_a_process(
    settings: Settings,
    barrier: "multiprocessing.synchronize.Barrier",
    answers: "multiprocessing.Queue[Answers]",
) -> None:
    app = create_app(settings)
    names(app.test_client())  # connected, before it counts
    answers.put(post_all(app, barrier.wait))
    app.extensions["pinglet"].database.engine.dispose()


def test_of_processes_that_add_one_name_exactly_one_succeeds(
    settings: Settings, client: FlaskClient
) -> None:
    at_once = 2
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(at_once, timeout=250)
    told_to: multiprocessing.Queue[Answers] = context.Queue()
    arguments = (settings, barrier, told_to)
    started = [context.Process(target=post_from_a_process, args=arguments) for _ in range(at_once)]
    for process in started:
        process.start()
    answers = [answer for _ in started for answer in told_to.get(timeout=250)]
    for process in started:
        process.join(250)
        process.close()
    assert Counter(answers) == {CREATED: len(NAMES), TAKEN: len(NAMES)}
    assert names(client) == NAMES


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
def test_a_server_that_is_being_removed_is_not_found(
    app: Flask, database: Database, method: str
) -> None:
    client = app.test_client()
    client.post("/", data=server("web"))
    body = server("web", "127.0.0.2") if method == "PUT" else named("web")
    with ThreadPoolExecutor(1) as pool:
        with database.transaction() as session:
            change.remove(session, "web")
            answer = pool.submit(client.open, "/", method=method, data=body)
            if database.engine.dialect.name == "postgresql":
                wait_until_somebody_waits(database)
        assert told(answer.result(250)) == UNKNOWN
    assert names(client) == []


def test_a_name_that_is_being_removed_can_be_given_again(app: Flask, database: Database) -> None:
    client = app.test_client()
    client.post("/", data=server("web"))
    with ThreadPoolExecutor(1) as pool:
        with database.transaction() as session:
            change.remove(session, "web")
            answer = pool.submit(client.post, "/", data=server("web", "127.0.0.2"))
            if database.engine.dialect.name == "postgresql":
                wait_until_somebody_waits(database)
        assert told(answer.result(250)) == CREATED
    assert names(client) == ["web"]


def wait_until_somebody_waits(database: Database) -> None:
    """Return when a statement waits for a lock."""
    give_up = time.monotonic() + 250
    waiting = text("SELECT count(*) FROM pg_locks WHERE NOT granted")
    with database.engine.connect() as connection:
        while not connection.scalar(waiting):
            assert time.monotonic() < give_up, "nobody waits"
            connection.rollback()
