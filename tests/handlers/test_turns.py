"""Turns: no caller's costly work stops another's, and none of it stops what is cheap."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import event
from werkzeug.test import TestResponse

from core.accounts.records import Role
from core.errors import Busy
from core.settings import Settings
from handlers.http.app import create_app
from handlers.http.routes import PUBLIC, routes_of
from handlers.turns import Turns
from infra.database import Database
from tests import people

DOCUMENT = {"query": '{servers(first: 1000) {nodes {id summary(window: "1d") {p99Ms}}}}'}
COSTLY = (
    "/api/v1/servers?limit=1000",
    "/api/v1/servers/1/pings?limit=10000",
    "/api/v1/servers/1/summary?window=1y",
    "/api/v1/servers/1/series?points=2000",
    "/api/v1/export",
    "/api/v1/export?format=csv",
    "/api/v1/metrics",
)
CHEAP = (
    "/",
    "/api/v1/health",
    "/api/v1/servers",
    "/api/v1/servers/1/summary",
    "/api/v1/servers/1/pings?limit=1000",
    "/api/v1/servers/1/series",
    "/api/v1/openapi.json",
)
DEADLINE_S = 60
Ask = Callable[..., TestResponse]


def test_whoever_has_a_turn_waits_for_it_and_others_have_theirs() -> None:
    turns = Turns(patience_s=0)
    with turns.taken("ann"):
        with pytest.raises(Busy, match="too many costly answers at once"), turns.taken("ann"):
            pass
        with turns.taken("bob"):
            pass
    with turns.taken("ann"):
        pass


def test_what_fails_gives_its_turn_back() -> None:
    turns = Turns(patience_s=0)
    for _ in range(3):
        with pytest.raises(KeyError), turns.taken("ann"):
            raise KeyError
    assert turns == Turns(patience_s=0, _changed=turns._changed)  # and nobody is remembered


def test_callers_together_have_no_more_turns_than_there_are() -> None:
    turns = Turns(at_once=2, patience_s=0)
    with turns.taken("ann"), turns.taken("bob"), pytest.raises(Busy), turns.taken("cid"):
        pass


def test_a_turn_that_comes_up_is_taken_by_whoever_waits() -> None:
    turns = Turns(patience_s=DEADLINE_S)
    with ThreadPoolExecutor(2) as pool:
        with turns.taken("ann"):
            waiting = [pool.submit(_take, turns, "ann") for _ in range(2)]
            _until(lambda: turns._in_line["ann"] == 2)
            with pytest.raises(Busy), turns.taken("ann"):  # who comes third isn't kept waiting
                pass
        assert [one.result(DEADLINE_S) for one in waiting] == ["ann", "ann"]


def _take(turns: Turns, caller: str) -> str:
    with turns.taken(caller):
        return caller


def _until(is_so: Callable[[], bool]) -> None:
    deadline = threading.Event()
    for _ in range(DEADLINE_S * 100):
        if is_so():
            return
        deadline.wait(0.01)
    raise AssertionError("it never came")


def test_two_hundred_callers_in_threads_are_never_more_at_once_than_there_are_turns() -> None:
    turns, lock = Turns(waiting=200, each_waiting=200, patience_s=DEADLINE_S), threading.Lock()
    at_work: list[str] = []
    seen: list[list[str]] = []

    def work(number: int) -> None:
        caller = "abc"[number % 3]
        with turns.taken(caller):
            with lock:
                at_work.append(caller)
                seen.append(list(at_work))
            with lock:
                at_work.remove(caller)

    with ThreadPoolExecutor(20) as pool:
        list(pool.map(work, range(200)))
    assert len(seen) == 200
    assert all(len(one) <= 2 and len(set(one)) == len(one) for one in seen)


@pytest.fixture
def users(settings: Settings) -> Iterator[Any]:
    """An application, and a way to ask it as one of two viewers."""
    with people.nobody_but(settings) as closed:
        app, database = create_app(closed), Database(closed)
        tokens = {
            name: people.token(database, people.add(database, name, Role.VIEWER))
            for name in ("ann", "bob")
        }
        database.engine.dispose()
        app.extensions["pinglet"].turns.patience_s = DEADLINE_S
        yield app, lambda name, path: _ask(app, tokens[name], path)
        app.extensions["pinglet"].database.engine.dispose()


def _ask(app: Flask, token: str, path: str) -> TestResponse:
    headers, client = people.bearer(token), app.test_client()
    if path == "/graphql":
        return client.post(path, json=DOCUMENT, headers=headers)
    return client.get(path, headers=headers)


@contextmanager
def held(app: Flask) -> Iterator[threading.Event]:
    """Hold the statements that threads called `held` send once they know who asks, until the end.

    What is yielded is set as soon as one is held.
    """
    engine, is_held, go = (
        app.extensions["pinglet"].database.engine,
        threading.Event(),
        threading.Event(),
    )

    def hold(_connection: Any, _cursor: Any, statement: str, *_more: Any) -> None:
        if threading.current_thread().name.startswith("held") and "FROM server" in statement:
            is_held.set()
            go.wait(DEADLINE_S)

    event.listen(engine, "before_cursor_execute", hold)
    try:
        yield is_held
    finally:
        go.set()  # and it holds nothing from now on: a listener can't be removed while others run


def test_eight_costly_documents_of_one_caller_stop_nobody_else(users: tuple[Flask, Ask]) -> None:
    app, ask = users
    with ThreadPoolExecutor(8, "held") as pool:
        with held(app) as is_held:
            asked = [pool.submit(ask, "ann", "/graphql") for _ in range(8)]
            assert is_held.wait(DEADLINE_S)
            refused = _first(asked, 5)
            assert {one.status_code for one in refused} == {503}
            assert {one.headers["Retry-After"] for one in refused} == {"2"}
            assert refused[0].get_json()["errors"][0]["extensions"]["code"] == "SERVICE_UNAVAILABLE"
            for path in ("/", "/api/v1/health", "/api/v1/servers"):
                assert ask("ann", path).status_code == 200
            for path in ("/graphql", "/api/v1/servers?limit=1000", "/api/v1/metrics"):
                assert ask("bob", path).status_code == 200
        codes = sorted(one.result(DEADLINE_S).status_code for one in asked)
    assert codes == [200] * 3 + [503] * 5


def _first(asked: list[Future[TestResponse]], count: int) -> list[TestResponse]:
    """Return the replies that come first."""
    left = set(asked)
    while len(asked) - len(left) < count:
        done, left = wait(left, DEADLINE_S, FIRST_COMPLETED)
        assert done
    return [one.result() for one in asked if one not in left]


@pytest.mark.parametrize("path", [*COSTLY, "/graphql"])
def test_rest_and_graphql_share_the_turns(users: tuple[Flask, Ask], path: str) -> None:
    app, ask = users
    app.extensions["pinglet"].turns.patience_s = 0
    with app.extensions["pinglet"].turns.taken("ann"):
        reply = ask("ann", path)
        assert (reply.status_code, reply.headers["Retry-After"]) == (503, "2")
        assert ask("bob", path).status_code in (200, 404)
    assert ask("ann", path).status_code in (200, 404)


def test_what_is_cheap_needs_no_turn(users: tuple[Flask, Ask]) -> None:
    app, ask = users
    turns = app.extensions["pinglet"].turns
    turns.patience_s = 0
    with turns.taken("cid"), turns.taken("ann"):
        assert {path: ask("ann", path).status_code for path in CHEAP} == {
            path: 404 if "/1/" in path else 200 for path in CHEAP
        }


def test_a_public_route_is_never_costly(app: Flask) -> None:
    costly = [route for route in routes_of(app).values() if route.costly]
    assert costly
    assert not [route for route in costly if route.may is PUBLIC]
