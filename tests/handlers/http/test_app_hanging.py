"""Whatever hangs, a request is answered within five seconds: 503, and when to try again."""

import contextlib
import socket
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace

import pytest
from flask import Flask
from sqlalchemy import text
from werkzeug.test import TestResponse

from core.settings import Settings
from handlers.http import health, routes
from handlers.http.app import create_app
from handlers.http.routes import READ, Done, Route
from infra.database import Database
from tests import people
from tests.postgres import Postgres

ANSWER_S = 5
HURRIED_S = 0.6
SETTINGS = [{"request_timeout_s": HURRIED_S}, pytest.param({}, marks=pytest.mark.slow)]
Hang = Callable[[Database], contextlib.AbstractContextManager[None]]


@contextlib.contextmanager
def application(settings: Settings, **more: object) -> Iterator[Flask]:
    app = create_app(replace(settings, authentication=True, **more))
    yield app
    app.extensions["pinglet"].database.engine.dispose()


@pytest.fixture
def token(postgres_settings: Settings) -> Iterator[str]:
    """A token of somebody who may do everything, in Postgres."""
    with people.nobody_but(postgres_settings) as settings:
        database = Database(settings)
        yield people.token(database, people.add(database))
        database.engine.dispose()


def asked(app: Flask, method: str, url: str, shown: str, **more: object) -> TestResponse:
    """Return the answer; it must come in time."""
    began = time.monotonic()
    with app.test_client() as client:
        answer = client.open(url, method=method, headers=people.bearer(shown), **more)
    assert time.monotonic() - began < ANSWER_S
    return answer


def refused(answer: TestResponse) -> bool:
    """Whether the answer is to try again."""
    return answer.status_code == 503 and int(answer.headers["Retry-After"]) > 0


@contextlib.contextmanager
def locked(database: Database, table: str, mode: str = "ACCESS EXCLUSIVE") -> Iterator[None]:
    """Somebody has a table to themselves."""
    with database.engine.begin() as connection:
        connection.execute(text(f'LOCK TABLE "{table}" IN {mode} MODE'))
        yield


@pytest.mark.parametrize("hurry", SETTINGS)
@pytest.mark.parametrize("warm", [True, False])
def test_a_postgres_that_hangs_is_answered_for(
    postgres: Postgres, postgres_settings: Settings, token: str, warm: bool, hurry: dict[str, float]
) -> None:
    with application(postgres_settings, **hurry) as app:
        if warm:
            assert asked(app, "GET", "/api/v1/servers", token).status_code == 200
        with postgres.frozen():
            assert refused(asked(app, "GET", "/api/v1/servers", token))
            assert refused(asked(app, "POST", "/", token, json={"server": {}}))
        assert asked(app, "GET", "/api/v1/servers", token).status_code == 200


@pytest.mark.parametrize("hurry", SETTINGS)
@pytest.mark.parametrize("table", ["token", "user", "server", "data"])
def test_a_table_that_is_locked_is_answered_for(
    postgres_settings: Settings, token: str, table: str, hurry: dict[str, float]
) -> None:
    with application(postgres_settings, **hurry) as app:
        database = Database(postgres_settings)
        with locked(database, table):
            wanted = {"server": {"name": "web", "IP": "127.0.0.1"}}
            first = asked(app, "GET", "/api/v1/servers", token)
            assert refused(first)
            changed = asked(app, "POST", "/", token, json=wanted)
            assert refused(changed) or table == "data"
        database.engine.dispose()
        assert asked(app, "GET", "/api/v1/servers", token).status_code == 200


MANY = [
    ("POST", "/api/v1/servers/bulk", {"servers": [{"name": "web", "ip": "127.0.0.1"}]}),
    ("POST", "/api/v1/import", [{"name": "web", "ip": "127.0.0.1"}]),
    ("GET", "/api/v1/export", None),
]


@pytest.mark.parametrize("hurry", SETTINGS)
@pytest.mark.parametrize(("method", "url", "body"), MANY)
def test_what_works_by_steps_is_answered_for_as_soon(
    postgres_settings: Settings,
    token: str,
    method: str,
    url: str,
    body: object,
    hurry: dict[str, float],
) -> None:
    with application(postgres_settings, **hurry) as app:
        database = Database(postgres_settings)
        with locked(database, "server"):
            assert refused(asked(app, method, url, token, json=body))
        database.engine.dispose()
        assert asked(app, method, url, token, json=body).status_code in (200, 201)


def test_steps_may_take_longer_together_than_a_request(
    postgres_settings: Settings, token: str
) -> None:
    with application(postgres_settings, request_timeout_s=1.0) as app:
        database = app.extensions["pinglet"].database
        steps = Route(
            method="GET", rule="/x", view=lambda _: slow(database, 4), may=READ, gives=Done
        )
        app.view_functions["GET /api/v1/me"] = routes._served(
            app.extensions["pinglet"], replace(steps, by_steps=True)
        )
        assert asked(app, "GET", "/api/v1/me", token).status_code == 200
        app.view_functions["GET /api/v1/me"] = routes._served(app.extensions["pinglet"], steps)
        assert refused(asked(app, "GET", "/api/v1/me", token))


def test_who_reads_does_not_wait_for_the_note_that_a_token_is_in_use(
    postgres_settings: Settings, token: str
) -> None:
    """It may be read but not written: what a backup, or an index that is being made, does."""
    with application(postgres_settings, request_timeout_s=60, statement_timeout_s=60) as app:
        database = Database(postgres_settings)
        with locked(database, "token", "SHARE"):
            assert asked(app, "GET", "/api/v1/servers", token).status_code == 200
        database.engine.dispose()


def test_whoever_asks_for_thirty_things_in_one_document_waits_once(
    postgres_settings: Settings, token: str
) -> None:
    fields = " ".join(f"x{number}: server(id: {number}) {{ id }}" for number in range(30))
    with application(postgres_settings, request_timeout_s=HURRIED_S) as app:
        database = Database(postgres_settings)
        with locked(database, "server"):
            answer = asked(app, "POST", "/graphql", token, json={"query": f"{{ {fields} }}"})
        database.engine.dispose()
        assert refused(answer)


def test_the_gate_and_the_view_share_one_bound(postgres_settings: Settings, token: str) -> None:
    """Each of several statements that are slow, but not too slow alone, adds to the same wait."""
    with application(postgres_settings, request_timeout_s=1.0) as app:
        database = app.extensions["pinglet"].database
        app.view_functions["GET /api/v1/me"] = lambda: slow(database, 20)
        assert refused(asked(app, "GET", "/api/v1/me", token))


def slow(database: Database, times: int) -> Done:
    for _ in range(times):
        with database.reading() as session:
            session.execute(text("SELECT pg_sleep(0.4)"))
    return Done(status="OK")


@pytest.fixture(params=["silent", "dropping"])
def nobody(request: pytest.FixtureRequest) -> Iterator[socket.socket]:
    """A port where connections are taken and nothing is said, or where they are dropped."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        if request.param == "dropping":
            threading.Thread(target=_drop, args=[listener], daemon=True).start()
        yield listener
        listener.shutdown(socket.SHUT_RDWR)


def _drop(listener: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while True:
            listener.accept()[0].close()


@pytest.mark.parametrize("hurry", SETTINGS)
def test_whoever_is_no_postgres_is_answered_for(
    nobody: socket.socket, hurry: dict[str, float]
) -> None:
    url = f"postgres://postgres@127.0.0.1:{nobody.getsockname()[1]}/postgres"
    with application(Settings(database_url=url), **hurry) as app:
        assert refused(asked(app, "GET", "/api/v1/servers", "pinglet_" + 43 * "A"))
        login = {"name": "ann", "password": "long enough"}
        assert refused(asked(app, "POST", "/api/v1/session", "", json=login))


@pytest.mark.parametrize("hurry", SETTINGS)
def test_more_requests_than_connections_are_all_answered(
    nobody: socket.socket, hurry: dict[str, float]
) -> None:
    url = f"postgres://postgres@127.0.0.1:{nobody.getsockname()[1]}/postgres"
    with application(Settings(database_url=url), **hurry) as app, ThreadPoolExecutor(25) as many:
        shown = ["pinglet_" + 43 * "A"] * 25
        for answer in many.map(lambda one: asked(app, "GET", "/api/v1/servers", one), shown):
            assert refused(answer)


@pytest.mark.parametrize(
    "shown", ["x", "pinglet_", "pinglet_short", "pinglet_" + 43 * "B", "a.b.c"]
)
def test_what_can_be_no_token_is_refused_without_the_database(shown: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"postgres://postgres@127.0.0.1:{silent.getsockname()[1]}/postgres"
        with application(Settings(database_url=url)) as app:
            client = app.test_client(use_cookies=False)
            assert client.get("/", headers=people.bearer(shown)).status_code == 401
            assert client.get("/", headers=people.cookie(shown)).status_code == 401
            spent = client.post("/api/v1/tokens/refresh", json={"refresh": shown})
            assert spent.status_code == 401
        silent.setblocking(False)
        with pytest.raises(BlockingIOError):
            silent.accept()


@pytest.mark.parametrize("hurry", SETTINGS)
@pytest.mark.parametrize("lock", ["IMMEDIATE", "EXCLUSIVE"])
def test_an_sqlite_file_that_is_locked_is_answered_for(
    sqlite_settings: Settings, lock: str, hurry: dict[str, float]
) -> None:
    database = Database(sqlite_settings)
    shown = people.token(database, people.add(database))
    database.engine.dispose()
    file = sqlite_settings.database_url.removeprefix("sqlite:///")
    with application(sqlite_settings, **hurry) as app, closing(sqlite3.connect(file)) as other:
        other.isolation_level = None
        other.execute(f"BEGIN {lock}")
        wanted = {"server": {"name": "web", "IP": "127.0.0.1"}}
        assert refused(asked(app, "POST", "/", shown, json=wanted))
        assert asked(app, "GET", "/api/v1/servers", shown).status_code == 200
        other.execute("ROLLBACK")
        assert asked(app, "POST", "/", shown, json=wanted).status_code == 201


@pytest.mark.parametrize("hurry", SETTINGS)
def test_an_sqlite_file_that_is_no_ones_but_anothers_is_answered_for(
    sqlite_settings: Settings, hurry: dict[str, float]
) -> None:
    """A program that locks out readers, too, as some backup programs do."""
    file = sqlite_settings.database_url.removeprefix("sqlite:///")
    with application(sqlite_settings, **hurry) as app, closing(sqlite3.connect(file)) as other:
        other.execute("PRAGMA locking_mode=EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")
        assert refused(asked(app, "GET", "/api/v1/servers", "pinglet_" + 43 * "A"))


def test_health_is_told_at_once_by_one_who_looks_while_the_others_dont_wait(
    postgres: Postgres, postgres_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "KEPT_S", 0.0)
    with application(postgres_settings) as app, ThreadPoolExecutor(20) as many:
        assert asked(app, "GET", "/api/v1/health", "").status_code == 200
        with postgres.frozen():
            looking = many.submit(asked, app, "GET", "/api/v1/health", "")
            answers = many.map(lambda _: asked(app, "GET", "/api/v1/health", ""), range(100))
            assert {answer.status_code for answer in answers} <= {200, 503}
            assert looking.result().status_code == 503
            assert asked(app, "GET", "/api/v1/health", "").status_code == 503
        assert asked(app, "GET", "/api/v1/health", "").status_code == 200
