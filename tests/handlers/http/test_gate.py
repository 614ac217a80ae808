"""The one gate: who may do what, for every route and method there is; from where; what it says.

The table isn't written here: it is made from the application's own routes, so a route that comes
later is tested by being there; what was added without one of ours is closed.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import delete, select
from werkzeug.test import TestResponse

from core.accounts import tokens, users
from core.accounts.records import Identity, Level, Role, Scope, TokenKind
from core.errors import SettingsError
from core.models import Token, User
from core.settings import Settings
from handlers.http import origin as http_origin
from handlers.http.app import create_app
from handlers.http.routes import routes_of
from infra.database import Database
from tests import people
from tests.handlers.calls import CREATED, server, told
from tests.people import add, basic, bearer, change, cookie, token

Headers = dict[str, str]
Route = tuple[str, str]  # rule, method


@pytest.fixture
def settings(settings: Settings) -> Iterator[Settings]:
    """The same with authentication on, without users before and after."""
    with people.nobody_but(settings) as empty:
        yield empty


# The table


def routes(app: Flask) -> list[Route]:
    """Return every route and method that the application answers."""
    return sorted(
        (rule.rule, method) for rule in app.url_map.iter_rules() for method in rule.methods or ()
    )


def needed(app: Flask, route: Route) -> Level | None:
    """Return what a route asks for, None where nobody has said so."""
    rule, method = route
    known = routes_of(app).get(f"{'GET' if method == 'HEAD' else method} {rule}")
    return known.may if known else None


def path(rule: str) -> str:
    """Fill a rule's parameters in, so that nothing is found there."""
    return re.sub("<[^>]*>", "nothing", re.sub("<int:[^>]*>", "999999", rule))


@dataclass
class Shown:
    """What a request may show, made anew for each; `reaches` is None where it is good for nothing.

    `changes_reach`: the same for changes, where that differs.
    """

    headers: Callable[[Database, Identity], Headers]
    reaches: Level | None
    role: Role = Role.ADMIN
    changes_reach: Level | None = None

    def expected(self, app: Flask, route: Route) -> str:
        """Return what the gate answers."""
        level = needed(app, route)
        if level is None:
            return "nobody"
        if level is Level.NOTHING:
            return "in"
        reaches = self.reaches
        if self.changes_reach is not None and route[1] not in http_origin.SAFE:
            reaches = self.changes_reach
        if reaches is None:
            return "who?"
        return "in" if level <= reaches else "no"


def tampered(text: str) -> str:
    """Change one character in the middle."""
    other = "A" if text[20] != "A" else "B"
    return text[:20] + other + text[21:]


def revoked(database: Database, user: Identity) -> Headers:
    """Log out."""
    text = token(database, user)
    with database.transaction() as session:
        tokens.revoke_family(session, tokens.verify(session, text, people.utc_now()).family)
    return bearer(text)


def of_a_disabled_user(database: Database, user: Identity) -> Headers:
    """Make a token, then lock its user out; another admin is there for the next call."""
    return _afterwards(database, user, enabled=False)


def of_before_the_password(database: Database, user: Identity) -> Headers:
    """Make a token, then change the password; a hash that is there already serves."""
    headers = _afterwards(database, user)
    with database.transaction() as session:
        users.find_user(session, user.user_id).generation += 1
    return headers


def _afterwards(database: Database, user: Identity, **changes: Any) -> Headers:
    with database.transaction() as session:
        users.change_user(session, user.user_id, users.Change(enabled=True))
        user = users.identity_of(users.find_user(session, user.user_id))
    text = token(database, user)
    change(database, user, **changes)
    return bearer(text)


def refresh_token(database: Database, user: Identity) -> Headers:
    """Show what only gets other tokens."""
    with database.transaction() as session:
        return bearer(tokens.issue_pair(session, user, people.utc_now()).refresh)


def key(scope: Scope) -> Callable[[Database, Identity], Headers]:
    """Show a long-lived token of that scope."""
    return lambda database, user: bearer(token(database, user, TokenKind.KEY, scope))


def session_of(database: Database, user: Identity) -> Headers:
    """Show a browser's session."""
    return cookie(token(database, user, TokenKind.SESSION))


def only_the_cookie(database: Database, user: Identity) -> Headers:
    """Show a session as a form of another site would, if the browser sent the cookie along."""
    return {"Cookie": session_of(database, user)["Cookie"]}


SHOWN = {
    "nothing": Shown(lambda *_: {}, None),
    "a token nobody made": Shown(lambda *_: bearer("pinglet_" + "A" * 43), None),
    "an empty token": Shown(lambda *_: bearer(""), None),
    "an expired token": Shown(
        lambda database, user: bearer(token(database, user, life=timedelta(0))), None
    ),
    "a tampered token": Shown(lambda db, user: bearer(tampered(token(db, user))), None),
    "half a token": Shown(lambda db, user: bearer(token(db, user)[:30]), None),
    "a token in other letters": Shown(lambda db, user: bearer(token(db, user).swapcase()), None),
    "a token's hash": Shown(lambda db, user: bearer(tokens.digest(token(db, user))), None),
    "a revoked token": Shown(revoked, None),
    "a refresh token": Shown(refresh_token, None),
    "a token of a disabled user": Shown(of_a_disabled_user, None),
    "a token from before the password": Shown(of_before_the_password, None),
    "a session as a bearer token": Shown(
        lambda db, user: bearer(token(db, user, TokenKind.SESSION)), None
    ),
    "an access token in the cookie": Shown(lambda db, user: cookie(token(db, user)), None),
    "a key in the cookie": Shown(lambda db, user: cookie(token(db, user, TokenKind.KEY)), None),
    "a tampered cookie": Shown(
        lambda db, user: cookie(tampered(token(db, user, TokenKind.SESSION))), None
    ),
    "a token as another scheme": Shown(
        lambda db, user: {"Authorization": f"Digest {token(db, user)}"}, None
    ),
    "a dead token beside a session": Shown(
        lambda db, user: session_of(db, user) | bearer("pinglet_x"), None
    ),
    "a session without the header": Shown(
        only_the_cookie, Level.ADMIN, changes_reach=Level.NOTHING
    ),
    "a viewer": Shown(lambda db, user: bearer(token(db, user)), Level.READ, Role.VIEWER),
    "an editor": Shown(lambda db, user: bearer(token(db, user)), Level.WRITE, Role.EDITOR),
    "an admin": Shown(lambda db, user: bearer(token(db, user)), Level.ADMIN),
    "a viewer's session": Shown(session_of, Level.READ, Role.VIEWER),
    "an editor's session": Shown(session_of, Level.WRITE, Role.EDITOR),
    "an admin's session": Shown(session_of, Level.ADMIN),
    "an admin's password": Shown(lambda *_: basic("eve"), Level.ADMIN),
    "an admin's key to read": Shown(key(Scope.READ), Level.READ),
    "an admin's key to write": Shown(key(Scope.WRITE), Level.WRITE),
    "an admin's key to administer": Shown(key(Scope.ADMIN), Level.ADMIN),
    "an editor's key to administer": Shown(key(Scope.ADMIN), Level.WRITE, Role.EDITOR),
    "a viewer's key to write": Shown(key(Scope.WRITE), Level.READ, Role.VIEWER),
}


def verdict(response: TestResponse) -> str:
    """Return what the gate said, from what came back."""
    code = response.status_code
    assert code < 500, response.data
    assert code != 429
    if code == 401:
        assert response.headers["WWW-Authenticate"] == "Bearer"
    return {401: "who?", 403: "no"}.get(code, "in")


@pytest.mark.parametrize("what", SHOWN)
def test_every_route_answers_as_the_table_says(app: Flask, database: Database, what: str) -> None:
    add(database, "root")
    user = add(database, "eve", SHOWN[what].role)
    client = app.test_client(use_cookies=False)
    answers = {}
    for rule, method in routes(app):
        headers = SHOWN[what].headers(database, user)
        answers[rule, method] = verdict(client.open(path(rule), method=method, headers=headers))
        # There are more routes than anybody may have keys.
        with database.transaction() as session:
            session.execute(delete(Token))
    assert answers == {route: SHOWN[what].expected(app, route) for route in routes(app)}


def test_a_wrong_password_opens_no_route(app: Flask, database: Database) -> None:
    add(database, "ann")
    client = app.test_client()
    closed = [route for route in routes(app) if needed(app, route) is not Level.NOTHING]
    for number, (rule, method) in enumerate(closed):
        response = client.open(
            path(rule),
            method=method,
            headers=basic("ann", "wrong"),
            environ_base={"REMOTE_ADDR": f"192.0.2.{number}"},
        )
        assert verdict(response) == "who?"


def unlisted(app: Flask) -> list[Route]:
    """Return the routes that nobody has said anything about."""
    return [route for route in routes(app) if needed(app, route) is None]


def test_every_route_has_its_entry(app: Flask) -> None:
    assert unlisted(app) == []


def test_every_entry_has_its_route(app: Flask) -> None:
    listed = [(route.rule, route.method) for route in routes_of(app).values()]
    assert set(listed) <= set(routes(app))


def test_what_is_public_is_a_short_list(app: Flask) -> None:
    public = [
        endpoint
        for endpoint, route in routes_of(app).items()
        if route.may is Level.NOTHING and route.rule.startswith(("/api/", "/graphql"))
    ]
    assert sorted(public) == [
        "GET /api/v1/docs",
        "GET /api/v1/health",
        "GET /api/v1/openapi.json",
        "POST /api/v1/session",
        "POST /api/v1/tokens/refresh",
    ]


def test_a_new_route_without_an_entry_is_found_and_closed_to_everybody(
    app: Flask, database: Database
) -> None:
    app.add_url_rule("/new/<int:number>", "new", lambda number: {"number": number})
    app.add_url_rule("/api/v1/tokens", "too", lambda: {}, methods=["PATCH"])
    assert unlisted(app) == [
        ("/api/v1/tokens", "PATCH"),
        ("/new/<int:number>", "GET"),
        ("/new/<int:number>", "HEAD"),
    ]
    client = app.test_client()
    admin = bearer(token(database, add(database)))
    for rule, method in unlisted(app):
        for headers in ({}, admin):
            assert client.open(path(rule), method=method, headers=headers).status_code == 503


OTHER_METHODS = ["OPTIONS", "TRACE", "PATCH", "CONNECT", "PROPFIND", "X"]


def test_other_methods_do_nothing(app: Flask, database: Database) -> None:
    client = app.test_client()
    admin = bearer(token(database, add(database)))
    rules = {rule for rule, _method in routes(app)}
    others = {(rule, method) for rule in rules for method in OTHER_METHODS} - set(routes(app))
    for rule, method in others:
        for headers in ({}, admin):
            response = client.open(path(rule), method=method, headers=headers)
            assert response.status_code == 405, (rule, method)
            assert "Access-Control-Allow-Origin" not in response.headers


SPELLINGS = [
    *("//", "/./", "/../", "/%2e/", "/;x", "/?", "/#", "/%00", "/api//v1/users"),
    *(
        "/api/v1/users/",
        "/API/v1/users",
        "/api/v1/users;.css",
        "/api/v1/users%2f",
        "/api/v1/users.",
    ),
    *("/static/../api/v1/users", "/api/v1/./users", "/api/v1/users%00", "/api/v1/users%20"),
    *("/api/v1/tokens/refresh/../../users", "/api/v1/session/../users", "/api/v1/users?/static/"),
    *(
        "http://localhost/api/v1/users",
        "/%61pi/v1/users",
        "/api/v1/tokens/refresh%2f..%2f..%2fusers",
    ),
]


def test_no_spelling_of_a_path_goes_round_the_gate(app: Flask, database: Database) -> None:
    add(database)
    client = app.test_client()
    for spelling in SPELLINGS:
        for method in ("GET", "HEAD", "POST", "DELETE"):
            response = client.open(spelling, method=method, data=server("web"))
            assert response.status_code in (401, 404, 405), spelling
            assert b"ann" not in response.data


# Headers


ON_EVERY_REPLY = {
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
}


def replies(app: Flask, database: Database, base: str) -> Iterator[TestResponse]:
    """Return replies of every code there is, and of every route."""
    user = add(database)
    admin, in_vain = bearer(token(database, user)), bearer(token(database, user))
    client = app.test_client()
    for headers in ({}, in_vain, {"Host": "evil.example"}, {"Authorization": "Basic \xe9"}):
        for rule, method in [*routes(app), ("/nothing", "GET"), ("/", "PATCH")]:
            yield client.open(path(rule), method=method, headers=headers, base_url=base)
    yield client.post("/", headers=admin, data=server("web"), base_url=base)
    yield client.post("/", headers=admin, data=server("web"), base_url=base)
    yield client.post("/", headers=admin, data=b" " * 1_000_001, base_url=base)
    for _ in range(6):
        yield client.get("/", headers=basic("x", "wrong"), base_url=base)
    with database.engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE token RENAME TO elsewhere")
    yield client.get("/", headers=admin, base_url=base)
    with database.engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE elsewhere RENAME TO token")


@pytest.mark.parametrize("base", ["http://localhost", "https://localhost"])
def test_every_reply_says_what_browsers_must_not_do(
    app: Flask, database: Database, base: str
) -> None:
    codes = set()
    for response in replies(app, database, base):
        codes.add(response.status_code)
        said = {name: response.headers.get(name, "") for name in ON_EVERY_REPLY}
        policy, caching = said.pop("Content-Security-Policy"), said.pop("Cache-Control")
        assert said.items() <= ON_EVERY_REPLY.items()
        # Pages and files may loosen these two, but never as far as to let in what isn't ours.
        assert policy.startswith("default-src 'none'; ")
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert caching in ("no-store", "no-cache", "private, no-cache")
        assert ("Strict-Transport-Security" in response.headers) == base.startswith("https")
        assert "Access-Control-Allow-Origin" not in response.headers
    assert codes >= {200, 201, 400, 401, 403, 404, 405, 409, 413, 429, 503}


def test_the_date_is_left_to_the_server_that_serves_us(app: Flask, database: Database) -> None:
    admin = bearer(token(database, add(database)))
    first = app.test_client().get("/api/v1/servers", headers=admin)
    known = {"If-None-Match": first.headers["ETag"]}
    again = app.test_client().get("/api/v1/servers", headers=admin | known)
    assert (first.status_code, again.status_code) == (200, 304)
    assert "Date" not in first.headers
    assert "Date" not in again.headers


def test_only_a_401_asks_who_it_is(app: Flask, database: Database) -> None:
    for response in replies(app, database, "http://localhost"):
        asks = response.headers.get("WWW-Authenticate")
        assert asks == ("Bearer" if response.status_code == 401 else None)


# Open access


NEAR = {"REMOTE_ADDR": "127.0.0.1", "HTTP_HOST": "localhost:5000"}
FROM_HERE: list[Headers] = [
    {},
    {"HTTP_HOST": "127.0.0.1:5000"},
    {"HTTP_HOST": "127.9.9.9"},
    {"HTTP_HOST": "[::1]:5000"},
    {"REMOTE_ADDR": "::1"},
    {"REMOTE_ADDR": "127.0.0.2"},
    {"HTTP_ORIGIN": "http://localhost:5000"},
]
FROM_ELSEWHERE: list[Headers] = [
    {"REMOTE_ADDR": "192.168.1.7"},
    {"REMOTE_ADDR": "10.0.0.1"},
    {"REMOTE_ADDR": "8.8.8.8"},
    {"REMOTE_ADDR": "::ffff:8.8.8.8"},
    {"REMOTE_ADDR": "0.0.0.0"},
    {"REMOTE_ADDR": ""},
    {"REMOTE_ADDR": "unix:"},
    {"HTTP_HOST": "192.168.1.7:5000"},
    {"HTTP_HOST": "0.0.0.0:5000"},
    {"HTTP_HOST": "pinglet.example"},
    {"HTTP_X_FORWARDED_FOR": "127.0.0.1"},
    {"HTTP_X_FORWARDED_FOR": ""},
    {"HTTP_X_FORWARDED_PROTO": "http"},
    {"HTTP_X_FORWARDED_HOST": "localhost"},
    {"HTTP_FORWARDED": "for=127.0.0.1"},
    {"HTTP_X_REAL_IP": "127.0.0.1"},
    {"HTTP_VIA": "1.1 proxy"},
    {"HTTP_CF_CONNECTING_IP": "127.0.0.1"},
    {"HTTP_TRUE_CLIENT_IP": "127.0.0.1"},
]
PAGE_ELSEWHERE = {"HTTP_ORIGIN": "https://pinglet.example", "HTTP_SEC_FETCH_SITE": "same-origin"}
"""What a silent proxy passes on of our own page."""


@pytest.fixture
def open_app(settings: Settings) -> Iterator[Flask]:
    """The application with authentication switched off, on a database without users."""
    made = create_app(replace(settings, authentication=False, hosts=("pinglet.example",)))
    yield made
    made.extensions["pinglet"].database.engine.dispose()


def test_open_access_is_for_whoever_sits_at_the_machine(open_app: Flask) -> None:
    client = open_app.test_client()
    for here in FROM_HERE:
        me = client.get("/api/v1/me", environ_overrides=NEAR | here)
        assert (me.status_code, me.json and me.json["open"]) == (200, True)
    assert told(client.post("/", data=server("web"), environ_overrides=NEAR)) == CREATED


def test_open_access_is_for_nobody_else(open_app: Flask) -> None:
    client = open_app.test_client()
    for elsewhere in FROM_ELSEWHERE:
        for rule, method in [("/", "GET"), ("/", "POST"), ("/api/v1/users", "POST")]:
            response = client.open(rule, method=method, environ_overrides=NEAR | elsewhere)
            assert response.status_code == 401, elsewhere
    changed = client.post("/", data=server("web"), environ_overrides=NEAR | PAGE_ELSEWHERE)
    assert changed.status_code == 401


def test_without_the_setting_nothing_is_open(client: FlaskClient, app: Flask) -> None:
    for rule, method in routes(app):
        if needed(app, (rule, method)) is not Level.NOTHING:
            response = client.open(path(rule), method=method, environ_overrides=NEAR)
            assert response.status_code == 401


def test_the_first_user_ends_open_access_for_good_everywhere(
    open_app: Flask, database: Database
) -> None:
    other = create_app(open_app.extensions["pinglet"].database.settings)
    here, there = open_app.test_client(), other.test_client()
    assert there.get("/", environ_overrides=NEAR).status_code == 200
    body = {"name": "ann", "password": people.PASSWORD, "role": "admin"}
    assert here.post("/api/v1/users", json=body, environ_overrides=NEAR).status_code == 201
    for client in (here, there):
        assert client.get("/", environ_overrides=NEAR).status_code == 401
        assert client.get("/", headers=basic(), environ_overrides=NEAR).status_code == 200
    with database.transaction() as session:
        session.execute(delete(User))
    for client in (here, there):
        assert client.get("/", environ_overrides=NEAR).status_code == 401
    other.extensions["pinglet"].database.engine.dispose()


def test_the_log_says_who_may_and_when_that_changes(
    open_app: Flask, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    client = open_app.test_client()
    for _ in range(2):
        client.get("/", environ_overrides=NEAR)
    assert caplog.text.count("open access") == 1
    add(database)
    caplog.clear()
    for _ in range(2):
        client.get("/", environ_overrides=NEAR)
    assert caplog.text.count("every request must carry a token") == 1
    assert "open access" not in caplog.text


def test_whoever_sits_at_the_machine_has_no_tokens(open_app: Flask) -> None:
    client = open_app.test_client()
    for data in (b"", b'{"name": "script"}'):
        response = client.post("/api/v1/tokens", data=data, environ_overrides=NEAR)
        assert response.status_code == 400
    wanted = {"old": "", "new": people.PASSWORD}
    response = client.put("/api/v1/me/password", json=wanted, environ_overrides=NEAR)
    assert response.status_code == 400


@pytest.mark.parametrize("value", ["0", "false", "no", "OFF"])
def test_on_lambda_authentication_cannot_be_switched_off(value: str) -> None:
    environ = {"PINGLET_AUTHENTICATION": value}
    assert not Settings.from_env(environ).authentication
    with pytest.raises(SettingsError, match="PINGLET_AUTHENTICATION"):
        Settings.from_env(environ | {"AWS_LAMBDA_FUNCTION_NAME": "pinglet-api"})


@pytest.mark.parametrize("value", ["", "1", "true"])
def test_authentication_is_on_unless_switched_off(value: str) -> None:
    assert Settings.from_env({"PINGLET_AUTHENTICATION": value}).authentication


def test_the_log_says_how_to_begin_until_somebody_has(
    client: FlaskClient, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    client.get("/")
    assert "flask users add" in caplog.text
    add(database)
    caplog.clear()
    for _ in range(2):
        assert client.get("/").status_code == 401
    assert "flask users add" not in caplog.text


# The browser next door


EVIL: list[Headers] = [
    {"Origin": "http://evil.example"},
    {"Origin": "null"},
    {"Origin": "http://localhost:8080"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Host": "rebound.example"},
    {"Host": "rebound.example", "Origin": "http://rebound.example"},
]


def test_a_page_next_door_changes_nothing_even_with_open_access(open_app: Flask) -> None:
    client = open_app.test_client()
    simple = {"Content-Type": "text/plain"}
    for evil in EVIL:
        response = client.post(
            "/",
            data=server("web"),
            headers=simple | evil,
            environ_base={"REMOTE_ADDR": "127.0.0.1"},
        )
        assert told(response) == (403, b'{"status":"FORBIDDEN"}\n')
        for rule, method in routes(open_app):
            if method not in http_origin.SAFE:
                assert client.open(path(rule), method=method, headers=evil).status_code == 403
    assert client.get("/").json == {"servers": []}
    assert told(client.post("/", data=server("web"), headers=simple)) == CREATED


def test_a_page_next_door_changes_nothing_with_somebodys_session(
    app: Flask, database: Database
) -> None:
    client = app.test_client(use_cookies=False)
    ours = session_of(database, add(database))
    for evil in EVIL:
        response = client.post("/", data=server("web"), headers=ours | evil)
        assert response.status_code == 403
    for origin in ({}, {"Origin": "http://localhost"}, {"Sec-Fetch-Site": "same-origin"}):
        name = str(origin)
        assert told(client.post("/", data=server(name), headers=ours | origin)) == CREATED


def test_who_reads_with_a_token_waits_for_nobody_who_writes(sqlite_settings: Settings) -> None:
    """That the token was used is noted by the next request."""
    app = create_app(replace(sqlite_settings, authentication=True))
    database: Database = app.extensions["pinglet"].database
    key = token(database, add(database), TokenKind.KEY)
    with database.transaction() as session:
        session.execute(delete(User).where(User.name == "nobody"))
        assert app.test_client().get("/api/v1/me", headers=bearer(key)).status_code == 200
    assert app.test_client().get("/api/v1/me", headers=bearer(key)).status_code == 200
    with database.reading() as session:
        assert session.scalar(select(Token.last_used)) is not None
    database.engine.dispose()
