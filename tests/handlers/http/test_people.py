"""/api/v1: log in and out, tokens, users; what ends when; what happens to whoever guesses."""

import base64
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any

import pytest
from argon2 import PasswordHasher
from flask import Flask
from flask.testing import FlaskClient
from hypothesis import given
from hypothesis import strategies as st
from werkzeug.test import TestResponse

from core.accounts import users as accounts_users
from core.accounts.records import Identity, Role, Scope, TokenKind
from core.clock import utc_now
from core.settings import Settings
from handlers.http import gate
from handlers.http import people as http_people
from handlers.http.app import create_app
from infra.database import Database
from tests import people
from tests.counts import API_BODIES, PASSWORDS, examples
from tests.handlers.calls import CREATED, server, told
from tests.infra.rows import wait_for_a_blocked_one
from tests.people import PASSWORD, add, basic, bearer, cookie, token

NEW_PASSWORD = "another good password"
Call = Callable[..., TestResponse]


@pytest.fixture
def settings(settings: Settings) -> Iterator[Settings]:
    """The same with authentication on, without users before and after."""
    with people.nobody_but(settings) as empty:
        yield empty


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    """A client that keeps no cookies: what is shown stands in the test."""
    return app.test_client(use_cookies=False)


@pytest.fixture
def machines(settings: Settings) -> Iterator[list[FlaskClient]]:
    """Clients of two applications with connections of their own, as on two machines."""
    apps = [create_app(settings) for _ in range(2)]
    yield [app.test_client(use_cookies=False) for app in apps]
    for app in apps:
        app.extensions["pinglet"].database.engine.dispose()


def log_in(client: FlaskClient, name: str = "ann", password: str = PASSWORD) -> dict[str, str]:
    """Get a pair of tokens for a password."""
    response = client.post("/api/v1/tokens", headers=basic(name, password))
    assert response.status_code == 201
    return response.get_json()


def problem(response: TestResponse, code: int, field: str | None = None) -> str:
    """Check that it is a problem as RFC 9457 has it; return the sentence for people."""
    assert response.status_code == code, response.data
    assert response.content_type == "application/problem+json"
    body = response.get_json()
    assert (body["type"], body["status"], body.get("field")) == ("about:blank", code, field)
    return str(body["detail"])


# Log in and out


def test_a_password_gets_a_pair_and_the_refresh_token_the_next(
    client: FlaskClient, database: Database
) -> None:
    add(database)
    pair = log_in(client)
    assert list(pair) == ["access", "refresh", "expires_in_s"]
    assert pair["expires_in_s"] == 900
    assert told(client.post("/", data=server("web"), headers=bearer(pair["access"]))) == CREATED
    response = client.post("/api/v1/tokens/refresh", json={"refresh": pair["refresh"]})
    renewed = response.get_json()
    assert (response.status_code, list(renewed)) == (201, list(pair))
    assert client.get("/", headers=bearer(renewed["access"])).status_code == 200
    again = client.post("/api/v1/tokens/refresh", json={"refresh": pair["refresh"]})
    assert "log in again" in problem(again, 401)
    for text in (pair["access"], renewed["access"]):
        assert client.get("/", headers=bearer(text)).status_code == 401
    last = client.post("/api/v1/tokens/refresh", json={"refresh": renewed["refresh"]})
    problem(last, 401)


def test_two_refreshes_at_once_leave_no_two_families(
    machines: list[FlaskClient], database: Database
) -> None:
    add(database)
    for _ in range(5):
        pair = log_in(machines[0])

        def refresh(client: FlaskClient, text: str = pair["refresh"]) -> TestResponse:
            return client.post("/api/v1/tokens/refresh", json={"refresh": text})

        with ThreadPoolExecutor(2) as threads:
            answers = list(threads.map(refresh, machines))
        assert sorted(answer.status_code for answer in answers) == [201, 401]
        made = next(answer for answer in answers if answer.status_code == 201).get_json()
        for text in (made["access"], pair["access"]):
            assert machines[1].get("/", headers=bearer(text)).status_code == 401


def set_cookie(response: TestResponse) -> tuple[str, set[str]]:
    """Return the one cookie that was set, and its attributes."""
    (line,) = response.headers.getlist("Set-Cookie")
    pair, *attributes = line.split("; ")
    name, _, value = pair.partition("=")
    assert re.fullmatch("pinglet_session_[0-9a-f]{8}", name)
    return value, {a for a in attributes if not a.startswith(("Expires=", "Max-Age="))}


def test_a_browser_gets_a_cookie_that_scripts_and_other_sites_cannot_use(
    client: FlaskClient, database: Database
) -> None:
    add(database)
    body = {"name": "ann", "password": PASSWORD}
    for base, secure in [("http://localhost", set()), ("https://localhost", {"Secure"})]:
        response = client.post("/api/v1/session", json=body, base_url=base)
        assert response.get_json() == {"name": "ann", "may": "admin", "open": False}
        text, attributes = set_cookie(response)
        assert attributes == {"HttpOnly", "Path=/", "SameSite=Lax"} | secure
        assert text not in response.get_data(as_text=True)
        assert client.get("/api/v1/me", headers=cookie(text)).status_code == 200
        out = client.delete("/api/v1/session", headers=cookie(text), base_url=base)
        assert set_cookie(out) == ("", attributes)
        assert client.get("/api/v1/me", headers=cookie(text)).status_code == 401


def test_a_wrong_password_gets_no_cookie(client: FlaskClient, database: Database) -> None:
    add(database)
    told_of = set()
    for name, password in [("ann", "wrong password"), ("bob", PASSWORD), ("", ""), ("ann", "")]:
        body = {"name": name, "password": password}
        response = client.post("/api/v1/session", json=body)
        told_of.add((problem(response, 401), str(response.headers)))
        assert "Set-Cookie" not in response.headers
    assert len(told_of) == 1  # nothing tells a name that exists from one that doesn't


# What ends when, on every machine


def everything_of(client: FlaskClient, database: Database, user: Identity) -> list[dict[str, str]]:
    """Return one of everything that a user can show."""
    response = client.post("/api/v1/session", json={"name": user.name, "password": PASSWORD})
    key = token(database, user, TokenKind.KEY)
    return [
        bearer(log_in(client, user.name)["access"]),
        bearer(key),
        cookie(set_cookie(response)[0]),
    ]


ENDS: dict[str, Callable[[FlaskClient, Identity], TestResponse]] = {
    "a new password of one's own": lambda client, user: client.put(
        "/api/v1/me/password",
        json={"old": PASSWORD, "new": NEW_PASSWORD},
        headers=basic(user.name),
    ),
    "a new password from an admin": lambda client, user: client.patch(
        f"/api/v1/users/{user.user_id}", json={"password": NEW_PASSWORD}, headers=basic("root")
    ),
    "being disabled": lambda client, user: client.patch(
        f"/api/v1/users/{user.user_id}", json={"enabled": False}, headers=basic("root")
    ),
    "being removed": lambda client, user: client.delete(
        f"/api/v1/users/{user.user_id}", headers=basic("root")
    ),
}


@pytest.mark.parametrize("end", ENDS)
def test_all_that_hangs_on_a_user_ends_at_the_next_request_elsewhere(
    machines: list[FlaskClient], database: Database, end: str
) -> None:
    here, there = machines
    add(database, "root")
    user = add(database, "ann", Role.EDITOR)
    shown = everything_of(here, database, user)
    refresh = log_in(here, "ann")["refresh"]
    for headers in shown:
        assert there.get("/", headers=headers).status_code == 200
    assert ENDS[end](here, user).status_code == 200
    for headers in shown:
        assert there.get("/", headers=headers).status_code == 401
    problem(there.post("/api/v1/tokens/refresh", json={"refresh": refresh}), 401)
    assert there.get("/", headers=basic("ann")).status_code == 401
    new = there.get("/", headers=basic("ann", NEW_PASSWORD))
    assert new.status_code == (200 if "password" in end else 401)


def test_a_lower_role_holds_at_the_next_request_elsewhere(
    machines: list[FlaskClient], database: Database
) -> None:
    here, there = machines
    add(database, "root")
    user = add(database, "ann")
    shown = everything_of(here, database, user)
    for role, users, change in [("editor", 403, 400), ("viewer", 403, 403), ("admin", 200, 400)]:
        change_to = {"role": role}
        url = f"/api/v1/users/{user.user_id}"
        assert here.patch(url, json=change_to, headers=basic("root")).status_code == 200
        for headers in shown:
            assert there.get("/api/v1/users", headers=headers).status_code == users
            assert there.post("/", headers=headers).status_code == change


@pytest.mark.parametrize("url", ["/api/v1/session", "/api/v1/tokens/current"])
def test_a_log_out_ends_all_of_that_log_in_elsewhere_and_nothing_else(
    machines: list[FlaskClient], database: Database, url: str
) -> None:
    here, there = machines
    user = add(database)
    for headers in everything_of(here, database, user):
        assert here.delete(url, headers=headers).status_code == 200
        assert there.get("/", headers=headers).status_code == 401
    pair, other = log_in(here), log_in(here)
    assert here.delete(url, headers=bearer(pair["access"])).status_code == 200
    problem(there.post("/api/v1/tokens/refresh", json={"refresh": pair["refresh"]}), 401)
    assert there.get("/", headers=bearer(other["access"])).status_code == 200


def test_a_token_revoked_by_its_id_ends_elsewhere(
    machines: list[FlaskClient], database: Database
) -> None:
    here, there = machines
    user = add(database)
    key = bearer(token(database, user, TokenKind.KEY))
    listed = here.get("/api/v1/tokens", headers=basic()).get_json()["tokens"]
    assert [(row["name"], row["kind"], row["scope"]) for row in listed] == [
        ("made", "key", "admin")
    ]
    url = f"/api/v1/tokens/{listed[0]['id']}"
    add(database, "bob")
    problem(there.delete(url, headers=basic("bob")), 404)
    assert there.get("/", headers=key).status_code == 200
    assert here.delete(url, headers=basic()).status_code == 200
    assert there.get("/", headers=key).status_code == 401


class Clock:
    """The time, as the handlers are told it."""

    def __init__(self) -> None:
        self.now = utc_now()

    def __call__(self) -> datetime:
        return self.now

    def go(self, **by: float) -> None:
        """Let time pass."""
        self.now += timedelta(**by)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """A clock that only goes when it is told to."""
    made = Clock()
    for module in (gate, http_people):
        monkeypatch.setattr(module, "utc_now", made)
    return made


def test_tokens_end_when_their_time_is_over(
    machines: list[FlaskClient], database: Database, clock: Clock
) -> None:
    here, there = machines
    add(database)
    pair = log_in(here)
    session = set_cookie(here.post("/api/v1/session", json={"name": "ann", "password": PASSWORD}))[
        0
    ]
    wanted = {"name": "an hour", "expires_in_s": 3600}
    key = here.post("/api/v1/tokens", json=wanted, headers=basic()).get_json()["token"]

    def works() -> list[bool]:
        shown = bearer(pair["access"]), bearer(key), cookie(session)
        return [there.get("/", headers=headers).status_code == 200 for headers in shown]

    clock.go(minutes=15, seconds=-1)
    assert works() == [True, True, True]
    clock.go(seconds=1)
    assert works() == [False, True, True]
    clock.go(minutes=45)
    assert works() == [False, False, True]
    clock.go(days=7, hours=-1, seconds=-1)
    assert works() == [False, False, True]
    renewed = there.post("/api/v1/tokens/refresh", json={"refresh": pair["refresh"]})
    assert renewed.status_code == 201
    clock.go(seconds=1)
    assert works() == [False, False, False]


# Keys


def test_a_key_reaches_no_further_than_it_was_made_for(
    client: FlaskClient, database: Database
) -> None:
    add(database, "root")
    add(database, "ann", Role.EDITOR)
    for scope, code in [("read", 201), ("write", 201), ("admin", 403)]:
        wanted = {"name": "script", "scope": scope}
        response = client.post("/api/v1/tokens", json=wanted, headers=basic())
        assert response.status_code == code
        if code == 201:
            key = bearer(response.get_json()["token"])
            adds = client.post("/", data=server(scope), headers=key)
            assert adds.status_code == (201 if scope == "write" else 403)
            assert client.get("/api/v1/users", headers=key).status_code == 403


def test_a_key_makes_no_tokens_and_ends_none_but_itself(
    client: FlaskClient, database: Database
) -> None:
    user = add(database)
    for scope in Scope:
        key = bearer(token(database, user, TokenKind.KEY, scope))
        other = token(database, user, TokenKind.KEY)
        problem(client.post("/api/v1/tokens", headers=key), 400)
        problem(client.post("/api/v1/tokens", json={"name": "x"}, headers=key), 403)
        ids = [row["id"] for row in client.get("/api/v1/tokens", headers=key).get_json()["tokens"]]
        problem(client.delete(f"/api/v1/tokens/{ids[-1]}", headers=key), 403)
        assert client.get("/", headers=bearer(other)).status_code == 200
        assert client.delete(f"/api/v1/tokens/{ids[-2]}", headers=key).status_code == 200
        assert client.get("/", headers=key).status_code == 401


def test_a_key_needs_the_password_where_the_request_was_made_without_it(
    client: FlaskClient, database: Database
) -> None:
    user = add(database)
    session = cookie(token(database, user, TokenKind.SESSION))
    access = bearer(token(database, user))
    key = bearer(token(database, user, TokenKind.KEY))
    wanted = {"name": "script", "scope": "admin"}
    for shown in (session, access):
        problem(client.post("/api/v1/tokens", json=wanted, headers=shown), 400, "password")
        wrong = wanted | {"password": "not it"}
        problem(client.post("/api/v1/tokens", json=wrong, headers=shown), 400, "password")
        right = wanted | {"password": PASSWORD}
        made = client.post("/api/v1/tokens", json=right, headers=shown)
        assert made.status_code == 201
        assert client.get("/", headers=bearer(made.get_json()["token"])).status_code == 200
        problem(client.post("/api/v1/tokens", json=right, headers=key), 403)
    assert client.post("/api/v1/tokens", json=wanted, headers=basic()).status_code == 201


def test_the_password_for_a_key_is_guessed_no_oftener_than_any_other(
    client: FlaskClient, database: Database
) -> None:
    session = cookie(token(database, add(database), TokenKind.SESSION))
    wrong = {"name": "script", "password": "not it"}
    codes = [
        client.post("/api/v1/tokens", json=wrong, headers=session).status_code for _ in range(6)
    ]
    assert codes == [400] * 5 + [429]


def test_nobody_sets_their_own_password_without_the_old_one(
    client: FlaskClient, database: Database
) -> None:
    user = add(database)
    url, wanted = f"/api/v1/users/{user.user_id}", {"password": "another long password"}
    for kind, shown in [(TokenKind.SESSION, cookie), (TokenKind.ACCESS, bearer)]:
        problem(client.patch(url, json=wanted, headers=shown(token(database, user, kind))), 403)
    problem(
        client.patch(url, json=wanted, headers=bearer(token(database, user, TokenKind.KEY))), 403
    )
    assert client.get("/", headers=basic()).status_code == 200
    assert client.patch(url, json=wanted, headers=basic()).status_code == 200


def test_a_session_is_listed_by_its_browser_and_as_this_one(
    client: FlaskClient, database: Database
) -> None:
    add(database, "vic", Role.VIEWER)
    agents = [
        "Mozilla/5.0 (X11; Linux x86_64; rv:130.0) Gecko/20100101 Firefox/130.0",
        "curl/8.5.0",
    ]
    wanted = {"name": "vic", "password": PASSWORD}
    begun = [
        client.post("/api/v1/session", json=wanted, headers={"User-Agent": agent})
        for agent in agents
    ]
    first, second = ({"Cookie": one.headers["Set-Cookie"].partition(";")[0]} for one in begun)
    client.get("/api/v1/me", headers=second)
    listed = client.get("/api/v1/tokens", headers=first).get_json()["tokens"]
    assert [one["name"] for one in listed] == ["Firefox on Linux", "curl"]
    assert [one["current"] for one in listed] == [True, False]
    assert [one["scope"] for one in listed] == ["read", "read"]
    assert all(one["last_used"] for one in listed)


def test_tokens_are_listed_page_by_page(client: FlaskClient, database: Database) -> None:
    user = add(database)
    for _ in range(3):
        token(database, user, TokenKind.KEY)
    first = client.get("/api/v1/tokens?limit=2", headers=basic()).get_json()
    rest = client.get(f"/api/v1/tokens?after={first['next']}", headers=basic()).get_json()
    assert (len(first["tokens"]), len(rest["tokens"]), rest["next"]) == (2, 1, None)
    for wrong in ("after=x", "limit=0", "limit=1001"):
        field = wrong.partition("=")[0]
        problem(client.get(f"/api/v1/tokens?{wrong}", headers=basic()), 400, field)


# Users


def test_an_admin_adds_changes_and_removes_users(client: FlaskClient, database: Database) -> None:
    root = basic("root")
    add(database, "root")
    body = {"name": "ann", "password": PASSWORD}
    made = client.post("/api/v1/users", json=body, headers=root)
    assert made.status_code == 201
    assert {key: made.get_json()[key] for key in ("name", "role", "enabled")} == {
        "name": "ann",
        "role": "viewer",
        "enabled": True,
    }
    problem(client.post("/api/v1/users", json=body, headers=root), 409)
    url = f"/api/v1/users/{made.get_json()['id']}"
    assert client.patch(url, json={}, headers=root).get_json() == made.get_json()
    assert client.patch(url, json={"role": "editor"}, headers=root).get_json()["role"] == "editor"
    listed = client.get("/api/v1/users", headers=root).get_json()["users"]
    assert [(user["name"], user["role"]) for user in listed] == [
        ("ann", "editor"),
        ("root", "admin"),
    ]
    assert "password" not in str(listed)
    assert client.delete(url, headers=root).status_code == 200
    problem(client.delete(url, headers=root), 404)
    problem(client.patch(url, json={}, headers=root), 404)


def test_the_last_admin_stays(client: FlaskClient, database: Database) -> None:
    root = add(database, "root")
    url = f"/api/v1/users/{root.user_id}"
    problem(client.delete(url, headers=basic("root")), 400)
    problem(client.patch(url, json={"enabled": False}, headers=basic("root")), 400)
    problem(client.patch(url, json={"role": "viewer"}, headers=basic("root")), 400)
    assert client.get("/api/v1/users", headers=basic("root")).status_code == 200


def test_one_needs_the_old_password_for_a_new_one(client: FlaskClient, database: Database) -> None:
    user = add(database)
    shown = bearer(token(database, user))
    url = "/api/v1/me/password"
    wrong = {"old": NEW_PASSWORD, "new": NEW_PASSWORD}
    # Not 401: whoever asks is known.
    said = problem(client.put(url, json=wrong, headers=shown), 400, "old")
    assert said == "the old password is wrong"
    short = {"old": PASSWORD, "new": "short"}
    problem(client.put(url, json=short, headers=shown), 400, "new")
    for _ in range(5):
        answer = client.put(url, json=wrong, headers=shown)
    problem(answer, 429)
    assert client.get("/", headers=shown).status_code == 200


@pytest.mark.parametrize("given", [{"password": NEW_PASSWORD}, {"enabled": False}])
def test_the_old_password_changes_nothing_while_an_admin_takes_it_away(
    client: FlaskClient, database: Database, given: dict[str, Any]
) -> None:
    add(database, "root")
    user = add(database, "ann", Role.EDITOR)
    body = {"old": PASSWORD, "new": "the thief's password"}

    def steal() -> TestResponse:
        return client.put("/api/v1/me/password", json=body, headers=basic())

    with ThreadPoolExecutor(1) as thread:
        with database.transaction() as session:
            change = accounts_users.Change.of(accounts_users.UserChange(**given))
            accounts_users.change_user(session, user.user_id, change)
            stolen = thread.submit(steal)
            wait_for_a_blocked_one(database)
        problem(stolen.result(250), 401)
    assert client.get("/", headers=basic("ann", body["new"])).status_code == 401


class Watching(PasswordHasher):
    """Notes how many connections are in use while it hashes, or looks at a hash."""

    def __init__(self, database: Database) -> None:
        super().__init__(time_cost=1, memory_cost=8, parallelism=1)
        self.pool: Any = database.engine.pool
        self.seen: list[int] = []

    def hash(self, *given: Any, **more: Any) -> str:
        self.seen.append(self.pool.checkedout())
        return super().hash(*given, **more)

    def verify(self, *given: Any, **more: Any) -> Any:
        self.seen.append(self.pool.checkedout())
        return super().verify(*given, **more)


def test_a_hash_that_takes_its_time_keeps_nobody_from_the_database(
    client: FlaskClient, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(database, "root")
    hasher = Watching(client.application.extensions["pinglet"].database)
    monkeypatch.setattr(accounts_users, "HASHER", hasher)
    ann = {"name": "ann", "password": PASSWORD, "role": "editor"}
    user_id = client.post("/api/v1/users", json=ann, headers=basic("root")).get_json()["id"]
    new = {"password": NEW_PASSWORD}
    client.patch(f"/api/v1/users/{user_id}", json=new, headers=basic("root"))
    body = {"old": NEW_PASSWORD, "new": PASSWORD}
    client.put("/api/v1/me/password", json=body, headers=basic("ann", NEW_PASSWORD))
    assert client.get("/", headers=basic("ann")).status_code == 200
    assert hasher.seen == [0] * 8


# Whoever guesses


FORGED = ["X-Forwarded-For", "Forwarded", "X-Real-IP", "X-Client-IP", "CF-Connecting-IP"]


def guess(client: FlaskClient, number: int, address: str, name: str = "ann") -> TestResponse:
    """Try a wrong password; what the caller says of its address is different each time."""
    said = {header: f"198.51.100.{number % 250}" for header in FORGED}
    return client.get(
        "/",
        headers=basic(name, f"wrong password {number}") | said,
        environ_overrides={"REMOTE_ADDR": address},
    )


def owner(client: FlaskClient, address: str, password: str = PASSWORD) -> int:
    """Show the right password; return the answer's code."""
    return client.get(
        "/", headers=basic("ann", password), environ_overrides={"REMOTE_ADDR": address}
    ).status_code


def test_wrong_passwords_from_one_address_are_looked_at_five_times(
    client: FlaskClient, database: Database, clock: Clock
) -> None:
    add(database)
    answers = [guess(client, number, "192.0.2.1") for number in range(PASSWORDS)]
    assert Counter(answer.status_code for answer in answers) == {401: 5, 429: PASSWORDS - 5}
    assert answers[-1].headers["Retry-After"] == "901"
    assert told(answers[-1]) == (429, b'{"status":"TOO_MANY_REQUESTS"}\n')
    assert owner(client, "192.0.2.1") == 429  # the right password at last changes nothing
    assert owner(client, "203.0.113.1") == 200
    clock.go(minutes=15)
    assert owner(client, "192.0.2.1") == 200


def test_wrong_passwords_from_a_hundred_addresses_are_looked_at_a_hundred_times(
    client: FlaskClient, database: Database, clock: Clock
) -> None:
    add(database)
    assert owner(client, "203.0.113.1") == 200
    answers = [guess(client, number, f"192.0.2.{number % 100}") for number in range(PASSWORDS)]
    assert Counter(answer.status_code for answer in answers) == {401: 100, 429: PASSWORDS - 100}
    assert owner(client, "203.0.113.1") == 200
    assert owner(client, "203.0.113.2") == 429
    clock.go(minutes=15)
    assert owner(client, "203.0.113.2") == 200


def test_one_address_guesses_at_all_names_thirty_times(
    client: FlaskClient, database: Database, clock: Clock
) -> None:
    add(database)
    answers = [
        guess(client, number, "192.0.2.1", f"name {number}").status_code for number in range(100)
    ]
    assert Counter(answers) == {401: 30, 429: 70}
    assert owner(client, "192.0.2.2") == 200
    clock.go(minutes=15)
    assert owner(client, "192.0.2.1") == 200


def test_every_door_that_takes_a_password_has_the_one_limit(
    client: FlaskClient, database: Database
) -> None:
    shown = bearer(token(database, add(database)))
    body = {"name": "ann", "password": "wrong password"}
    change = {"old": "wrong password", "new": NEW_PASSWORD}
    doors = [
        lambda: client.post("/api/v1/session", json=body),
        lambda: client.post("/api/v1/tokens", headers=basic("ann", "wrong password")),
        lambda: client.put("/api/v1/me/password", json=change, headers=shown),
        lambda: client.get("/", headers=basic("ann", "wrong password")),
        lambda: client.delete("/api/v1/session", headers=basic("ann", "wrong password")),
    ]
    assert [door().status_code for door in doors] == [401, 401, 400, 401, 401]
    assert [door().status_code for door in doors] == [429] * 5


def test_tokens_need_no_luck_while_somebody_guesses(
    client: FlaskClient, database: Database
) -> None:
    shown = bearer(token(database, add(database)))
    for number in range(10):
        guess(client, number, "127.0.0.1")
    assert client.get("/", headers=shown).status_code == 200


# Whatever arrives


API_ROUTES = [
    *[("POST", "/api/v1/session"), ("PUT", "/api/v1/me/password"), ("POST", "/api/v1/tokens")],
    *[("POST", "/api/v1/tokens/refresh"), ("POST", "/api/v1/users"), ("PATCH", "/api/v1/users/1")],
    *[("DELETE", "/api/v1/tokens/1"), ("DELETE", "/api/v1/users/999999"), ("GET", "/api/v1/me")],
    *[("GET", "/api/v1/tokens"), ("GET", "/api/v1/users")],
]
WORDS = ["name", "password", "role", "enabled", "old", "new", "refresh", "scope", "expires_in_s"]
TEXTS = st.text(st.characters(), max_size=12) | st.sampled_from(
    ["ann", PASSWORD, "a\0b", "\ud800", "a" * 65, "x" * 257, "viewer", "read", "null", ":", " ", ""]
)
# Whoever takes the password for a field's name is told the name of that field.
KEYS = TEXTS.filter(lambda key: key != PASSWORD)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=6,
)
OBJECTS = st.dictionaries(st.sampled_from(WORDS), VALUES, max_size=4)
BODIES = st.binary(max_size=60) | (VALUES | OBJECTS).map(lambda value: json.dumps(value).encode())


def acceptable(response: TestResponse) -> bool:
    """Whether a reply is JSON of ours, and no fault of ours."""
    if response.status_code < 400:
        return response.content_type == "application/json"
    problem(response, response.status_code, response.get_json().get("field"))
    return response.status_code in (400, 401, 403, 404, 405, 409, 413, 429)


@examples(12, API_BODIES)
@given(body=BODIES, start=st.integers(0, len(API_ROUTES) - 1))
def test_no_body_is_a_fault_of_ours(
    app: Flask, database: Database, body: bytes, start: int
) -> None:
    people.forget_everybody(database)
    shown = bearer(token(database, add(database)))
    client = app.test_client()
    for method, url in API_ROUTES[start:] + API_ROUTES[:start]:
        assert acceptable(client.open(url, method=method, data=body, headers=shown))


WRONG: list[tuple[str, str, dict[str, Any], str]] = [
    ("POST", "/api/v1/users", {"name": "a:b", "password": PASSWORD}, "name"),
    ("POST", "/api/v1/users", {"name": "a\0b", "password": PASSWORD}, "name"),
    ("POST", "/api/v1/users", {"name": " ", "password": PASSWORD}, "name"),
    ("POST", "/api/v1/users", {"name": "a" * 65, "password": PASSWORD}, "name"),
    ("POST", "/api/v1/users", {"name": 7, "password": PASSWORD}, "name"),
    ("POST", "/api/v1/users", {"name": "b", "password": "1234567"}, "password"),
    ("POST", "/api/v1/users", {"name": "b"}, "password"),
    ("POST", "/api/v1/users", {"password": PASSWORD}, "name"),
    ("POST", "/api/v1/users", {"name": "b", "password": PASSWORD, "role": "root"}, "role"),
    ("POST", "/api/v1/users", {"name": "b", "password": PASSWORD, "admin": True}, "admin"),
    ("PATCH", "/api/v1/users/1", {"enabled": "no"}, "enabled"),
    ("PATCH", "/api/v1/users/1", {"enabled": 0}, "enabled"),
    ("PATCH", "/api/v1/users/1", {"id": 2}, "id"),
    ("PATCH", "/api/v1/users/1", {"generation": 0}, "generation"),
    ("POST", "/api/v1/tokens", {"name": "a\0b"}, "name"),
    ("POST", "/api/v1/tokens", {"name": ""}, "name"),
    ("POST", "/api/v1/tokens", {}, "name"),
    ("POST", "/api/v1/tokens", {"name": "b", "scope": "root"}, "scope"),
    ("POST", "/api/v1/tokens", {"name": "b", "expires_in_s": 59}, "expires_in_s"),
    ("POST", "/api/v1/tokens", {"name": "b", "expires_in_s": -1}, "expires_in_s"),
    ("POST", "/api/v1/tokens", {"name": "b", "expires_in_s": 10**30}, "expires_in_s"),
    ("POST", "/api/v1/tokens", {"name": "b", "expires_in_s": True}, "expires_in_s"),
    ("POST", "/api/v1/tokens", {"name": "b", "user_id": 1}, "user_id"),
    ("POST", "/api/v1/session", {"name": "ann"}, "password"),
    ("POST", "/api/v1/session", {"name": None, "password": "x"}, "name"),
    ("POST", "/api/v1/tokens/refresh", {"refresh": 7}, "refresh"),
    ("PUT", "/api/v1/me/password", {"old": PASSWORD}, "new"),
]


def test_a_problem_names_the_field_that_is_wrong(client: FlaskClient, database: Database) -> None:
    shown = bearer(token(database, add(database)))
    for method, url, body, field in WRONG:
        problem(client.open(url, method=method, json=body, headers=shown), 400, field)


def coded(octets: bytes) -> str:
    """Return a Basic header that holds these octets."""
    return "Basic " + base64.b64encode(octets).decode()


AUTHORIZATIONS = [
    *(
        "Basic",
        "Basic ",
        "Basic !!!",
        "Basic \xe9",
        "Basic " + "\xff" * 99,
        "Basic a",
        "basic ====",
    ),
    *(coded(b""), coded(b"ann"), coded(b":"), coded(b"a\0b:x"), coded(b"ann:\0"), coded(b"\xff:x")),
    *(coded("é:é".encode("latin-1")), coded("é:é".encode()), coded(b"\xed\xa0\x80:x")),
    *(coded(b"x" * 50_000 + b":x"), coded(b"ann:" + b"x" * 50_000), coded(b"a:b:c:" * 99)),
    *("Bearer", "Bearer ", "Bearer \xff", "Bearer a=b", 'Bearer "', "Bearer a, b", "Bearer\ta"),
    *("Bearer " + "x" * 60_000, "Bearer a*=utf-8''%ff", "Bearer a*0=x", "Digest a=b", "=", "é", ""),
]


def test_no_authorization_is_a_fault_of_ours(client: FlaskClient, database: Database) -> None:
    add(database)
    for number, header in enumerate(AUTHORIZATIONS):
        over = {"HTTP_AUTHORIZATION": header, "REMOTE_ADDR": f"192.0.2.{number}"}
        for url in ("/api/v1/me", "/"):
            assert client.get(url, environ_overrides=over).status_code == 401, header
    session = {"REMOTE_ADDR": "192.0.2.250"}
    for name in ("a\0b", "a" * 100_000, "", "\u202e"):
        body = {"name": name, "password": "\0"}
        problem(client.post("/api/v1/session", json=body, environ_overrides=session), 401)
    assert client.get("/", headers=basic(), environ_overrides=session).status_code == 200


COOKIES = [
    *(
        "pinglet_session",
        "pinglet_session=",
        'pinglet_session="',
        "pinglet_session=\xff\xfe",
        "=;;",
    ),
    *('pinglet_session="\\377\\000"', "pinglet_session=a; pinglet_session=b", "\x00", "é=é", ""),
    "pinglet_session=" + "x" * 60_000,
]


def test_no_cookie_is_a_fault_of_ours(client: FlaskClient, database: Database) -> None:
    add(database)
    for sent in COOKIES:
        answer = client.get("/api/v1/me", environ_overrides={"HTTP_COOKIE": sent})
        assert answer.status_code == 401, sent


IDS = [
    *("0", "-1", "999999", str(2**63 - 1), str(2**63), "9" * 30, "9" * 5_000, "1.0", "1e3", "0x1"),
    *(
        "%00",
        "%ff",
        "%ED%A0%80",
        "\u0661",
        "null",
        "True",
        "current2",
        "pinglet_",
        " 1",
        "1%0a",
        "'",
    ),
]


def test_no_id_is_a_fault_of_ours(client: FlaskClient, database: Database) -> None:
    add(database)
    user = add(database, "bob")
    for number in IDS:
        shown = bearer(token(database, user))
        for method, url in [("DELETE", "tokens"), ("PATCH", "users"), ("DELETE", "users")]:
            if number == "\u0661" and url == "users":
                continue  # int() reads it as 1, and a user of that id there may be
            answer = client.open(
                f"/api/v1/{url}/{number}", method=method, data=b"{}", headers=shown
            )
            assert answer.status_code in (404, 405), (method, url, number)
