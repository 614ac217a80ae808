"""Across every way out: no password, token or hash shows in logs, replies, tracebacks, output."""

import logging
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient, FlaskCliRunner
from sqlalchemy import select

from core.accounts import records, tokens
from core.errors import CoreError, SettingsError
from core.models import Token, User
from core.settings import Settings
from handlers.cli import app as local
from handlers.functions import manage
from handlers.http.app import create_app
from infra import logs
from infra.database import Database
from tests import people
from tests.handlers.conftest import environment, flask_command
from tests.instances import instance
from tests.people import add, basic, bearer, cookie, token
from tests.postgres import free_port

ROOT = Path(__file__).parents[2]
PLANTED = "p1anted-s3cret"
OWN = "my own s3cret password"
OTHER = "an other s3cret password"


@pytest.fixture
def settings(settings: Settings) -> Iterator[Settings]:
    """The same with authentication on, without users before and after."""
    with people.nobody_but(settings) as empty:
        yield empty


class Heard:
    """All that anybody could read: every log record, with its traceback, and every reply."""

    def __init__(self, caplog: pytest.LogCaptureFixture) -> None:
        self.caplog = caplog
        self.replies: list[str] = []

    def call(self, client: FlaskClient, method: str, url: str, **more: Any) -> Any:
        """Make a request and remember the reply; return its JSON."""
        response = client.open(url, method=method, **more)
        self.replies.append(f"{response.status} {response.headers} {response.data!r}")
        return response.get_json(silent=True)

    @property
    def log(self) -> str:
        """Return the log as it would be printed."""
        formatter = logging.Formatter("%(name)s %(levelname)s %(message)s %(args)s")
        return "\n".join(formatter.format(record) for record in self.caplog.records)


@pytest.fixture
def heard(caplog: pytest.LogCaptureFixture) -> Heard:
    """Listen to everything."""
    caplog.set_level(logging.DEBUG)
    return Heard(caplog)


def kept(database: Database) -> list[str]:
    """Return what the tables hold of passwords and tokens."""
    with database.reading() as session:
        hashes = session.scalars(select(User.password_hash)).all()
        return [*hashes, *session.scalars(select(Token.digest)).all()]


def live(heard: Heard, client: FlaskClient) -> list[str]:
    """Do everything that involves a secret, rightly and wrongly; return the secrets."""
    root = basic("root")
    made = {"name": "ann", "password": OWN, "role": "editor"}
    heard.call(client, "POST", "/api/v1/users", json=made, headers=root)
    heard.call(client, "POST", "/api/v1/users", json=made, headers=root)
    heard.call(client, "POST", "/api/v1/users", json=made | {"x": 1}, headers=root)
    heard.call(client, "POST", "/api/v1/users", json=made | {"name": ":"}, headers=root)
    heard.call(client, "POST", "/api/v1/users", json=made | {"name": "a\0"}, headers=root)
    heard.call(client, "POST", "/api/v1/users", json={"password": OWN}, headers=root)
    heard.call(client, "POST", "/api/v1/users", json={"name": "b", "password": [OWN]}, headers=root)
    heard.call(client, "POST", "/api/v1/users", data=f'{{"password": "{OWN}"', headers=root)
    heard.call(client, "POST", "/api/v1/session", json={"name": "ann", "password": OWN})
    heard.call(client, "POST", "/api/v1/session", json={"name": "bob", "password": OWN})
    heard.call(client, "POST", "/api/v1/session", json={"name": "a\0", "password": OWN})
    pair = heard.call(client, "POST", "/api/v1/tokens", headers=basic("ann", OWN))
    heard.call(client, "GET", "/", headers=bearer(pair["access"] + "x"))
    heard.call(client, "GET", "/", headers=bearer(pair["refresh"]))
    heard.call(client, "GET", "/", headers=cookie(pair["access"]))
    heard.call(client, "GET", "/api/v1/users", headers=bearer(pair["access"]))
    heard.call(client, "GET", "/", headers={"Authorization": f"Basic {pair['access']}\xe9"})
    shown = {"refresh": pair["refresh"]}
    again = heard.call(client, "POST", "/api/v1/tokens/refresh", json=shown)
    heard.call(client, "POST", "/api/v1/tokens/refresh", json=shown)
    heard.call(client, "POST", "/api/v1/tokens/refresh", json={"token": pair["refresh"]})
    change = {"old": OWN, "new": OTHER}
    heard.call(client, "PUT", "/api/v1/me/password", json=change, headers=basic("ann", OWN))
    heard.call(client, "PUT", "/api/v1/me/password", json=change, headers=basic("ann", OTHER))
    for _ in range(6):
        heard.call(client, "GET", "/", headers=basic("ann", OWN))
    return [OWN, OTHER, people.PASSWORD, *pair_texts(pair), *pair_texts(again)]


def pair_texts(pair: dict[str, str]) -> list[str]:
    """Return the two tokens of a pair."""
    return [pair["access"], pair["refresh"]]


def test_no_secret_shows_in_a_log_or_where_it_was_not_asked_for(
    heard: Heard, client: FlaskClient, database: Database
) -> None:
    add(database, "root")
    secrets = live(heard, client)
    assert len(heard.caplog.records) > 15
    shown = "\n".join(reply for reply in heard.replies if "201 CREATED" not in reply)
    for secret in [*secrets, *kept(database)]:
        assert secret not in heard.log
        assert secret not in shown
    created = "\n".join(heard.replies)
    assert not [secret for secret in [*secrets[:3], *kept(database)] if secret in created]


CREATE_USER = "mutation($user: UserWanted!) {createUser(user: $user) {status detail}}"
WELL = {"name": "bob", "password": "long enough", "role": "viewer"}
MISPLACED: list[tuple[str, str, object]] = [
    ("POST", "/api/v1/users", WELL | {"role": OWN}),
    ("POST", "/api/v1/users", WELL | {"name": f"{OWN}:"}),
    ("POST", "/api/v1/users", WELL | {"name": [OWN]}),
    ("POST", "/api/v1/users", OWN),
    ("PATCH", "/api/v1/users/1", {"enabled": OWN}),
    ("PATCH", "/api/v1/users/1", {"role": OWN}),
    ("POST", "/api/v1/session", {"name": OWN}),
    ("POST", "/api/v1/tokens", {"name": "script", "scope": OWN}),
    ("POST", "/api/v1/tokens", {"name": "script", "expires_in_s": OWN}),
    ("POST", "/api/v1/tokens", {"name": OWN * 5}),
    ("POST", "/api/v1/tokens/refresh", {"refresh": [OWN]}),
    ("PUT", "/api/v1/me/password", {"old": OWN, "new": [OWN]}),
    *(
        ("POST", "/graphql", {"query": query})
        for query in (
            f'mutation {{createUser(user: {{name: "bob", password: "{OWN}"}})}}',
            f'mutation {{createUser(user: {{name: "bob", password: "x", role: "{OWN}"}})}}',
            f'mutation {{createUser(user: {{name: "{OWN}"}}) {{status}}}}',
            f'mutation {{createUser(user: ["{OWN}"]) {{status}}}}',
            f'mutation {{createUser(user: {{name: "bob", password "{OWN}"}}) {{status}}}}',
            f'mutation {{createToken(token: {{name: "x", scope: "{OWN}"}}) {{status}}}}',
            f'mutation {{changeUser(id: ["{OWN}"], change: {{}}) {{status}}}}',
            f'mutation {{removeToken(id: {{x: "{OWN}"}}) {{status}}}}',
        )
    ),
    *(
        ("POST", "/graphql", {"query": CREATE_USER, "variables": {"user": user}})
        for user in (
            WELL | {"role": OWN},
            {"name": OWN},
            WELL | {"name": [OWN]},
            OWN,
        )
    ),
]
"""A secret where another word belongs, in calls that take secrets."""


@pytest.mark.parametrize("number", range(len(MISPLACED)))
def test_a_secret_in_a_wrong_place_is_repeated_to_nobody(
    heard: Heard, client: FlaskClient, database: Database, number: int
) -> None:
    add(database, "root")
    method, path, body = MISPLACED[number]
    heard.call(client, method, path, json=body, headers=basic("root"))
    assert "400 BAD REQUEST" in heard.replies[0] or "401 UNAUTHORIZED" in heard.replies[0]
    assert OWN not in heard.log
    assert OWN not in heard.replies[0]


ELSEWHERE: list[tuple[str, str, dict[str, Any]]] = [
    ("POST", "/api/v1/users", {"json": WELL | {OWN: 1}}),
    ("POST", "/api/v1/session", {"json": {"name": "ann", "password": "x", OWN: ""}}),
    ("POST", "/api/v1/tokens/refresh", {"json": {OWN: OWN}}),
    ("GET", f"/?server={OWN}", {}),
    ("GET", f"/?{OWN}=1", {}),
    ("DELETE", "/", {"json": {"server": OWN}}),
    ("PUT", "/", {"json": {"server": {"name": OWN, "IP": "192.0.2.1"}}}),
    ("POST", "/", {"json": {"server": {"name": "web", "IP": OWN}}}),
    ("GET", f"/api/v1/servers?limit={OWN}", {}),
    ("GET", f"/api/v1/servers?{OWN}=1", {}),
    ("GET", f"/api/v1/servers?state={OWN}", {}),
    ("GET", f"/api/v1/export?after={OWN}", {}),
    ("POST", "/api/v1/servers", {"json": {"name": "web", "ip": OWN}}),
    ("POST", "/api/v1/servers", {"json": {"name": "web", OWN: 1}}),
    ("PATCH", "/api/v1/servers/1", {"json": {OWN: 1}}),
    ("POST", "/api/v1/servers/bulk", {"json": {OWN: []}}),
    ("POST", "/api/v1/servers/bulk", {"data": f"name,ip,{OWN}\n", "content_type": "text/csv"}),
    ("POST", "/api/v1/servers/bulk", {"data": OWN, "content_type": "text/csv"}),
    ("POST", "/api/v1/import", {"json": {OWN: 1}}),
    ("POST", "/api/v1/import", {"data": f'{{"{OWN}": 1, "{OWN}": 2}}'}),
    ("POST", "/graphql", {"json": {"query": f'{{servers(state: "{OWN}") {{nodes {{id}}}}}}'}}),
    ("POST", "/graphql", {"json": {"query": "{me {name}}", "operationName": OWN}}),
]
"""A secret where nobody expects one: its sender is told what was wrong with it."""


@pytest.mark.parametrize("number", range(len(ELSEWHERE)))
def test_what_is_refused_stays_out_of_the_log(
    heard: Heard, client: FlaskClient, database: Database, number: int
) -> None:
    add(database, "root")
    method, url, more = ELSEWHERE[number]
    heard.call(client, method, url, headers=basic("root"), **more)
    assert "400 BAD REQUEST" in heard.replies[0] or "404 NOT FOUND" in heard.replies[0]
    assert OWN not in heard.log


def broken(database: Database, table: str) -> None:
    """Take a table away: whatever uses it is a fault of ours, with a traceback."""
    with database.engine.begin() as connection:
        connection.exec_driver_sql(f'ALTER TABLE "{table}" RENAME TO elsewhere')


def mended(database: Database, table: str) -> None:
    """Put it back."""
    with database.engine.begin() as connection:
        connection.exec_driver_sql(f'ALTER TABLE elsewhere RENAME TO "{table}"')


@pytest.mark.parametrize("table", ["user", "token", "attempt", "latch"])
def test_no_secret_shows_in_a_traceback(
    heard: Heard, client: FlaskClient, database: Database, table: str
) -> None:
    user = add(database, "root")
    text, session = token(database, user), token(database, user, records.TokenKind.SESSION)
    made = {"name": "ann", "password": OWN}
    broken(database, table)
    try:
        heard.call(client, "GET", "/", headers=bearer(text))
        heard.call(client, "GET", "/", headers=cookie(session))
        heard.call(client, "GET", "/", headers=basic("root"))
        heard.call(client, "POST", "/api/v1/users", json=made, headers=bearer(text))
        heard.call(client, "POST", "/api/v1/tokens", headers=basic("root"))
        heard.call(client, "POST", "/api/v1/tokens/refresh", json={"refresh": text})
        heard.call(client, "POST", "/api/v1/session", json={"name": "root", "password": OWN})
    finally:
        mended(database, table)
    assert "Traceback" in heard.log
    for secret in [text, session, OWN, people.PASSWORD, "$argon2id", tokens.digest(text)]:
        assert secret not in heard.log
        assert secret not in "\n".join(heard.replies)


def test_no_hash_shows_where_a_command_fails(heard: Heard, database: Database) -> None:
    def rename(old: str, new: str) -> None:
        with database.engine.begin() as connection:
            connection.exec_driver_sql(f'ALTER TABLE "user" RENAME COLUMN {old} TO {new}')

    rename("created", "elsewhere")
    try:
        done = manage.run_command(
            instance(database), ["users", "add", "ann", "--password-stdin"], OWN
        )
    finally:
        rename("elsewhere", "created")
    assert done["exit_code"] == 1
    assert "INSERT INTO" in heard.log
    for secret in (OWN, "$argon2id"):
        assert secret not in heard.log + done["output"]


def test_a_token_in_the_address_is_not_written_down(
    heard: Heard, client: FlaskClient, database: Database
) -> None:
    user = add(database)
    text = token(database, user)
    for method, url in [
        ("DELETE", f"/api/v1/tokens/{text}"),
        ("GET", f"/api/v1/me?token={text}"),
        ("GET", f"/?server={text}"),
        ("GET", f"/{text}"),
    ]:
        heard.call(client, method, url, headers=bearer(text))
    heard.call(client, "GET", "/", headers={"Host": "evil.example", "Origin": text})
    line = f"GET /?{text} HTTP/1.1"  # what a server may log of itself
    logging.getLogger("werkzeug").info("%s", line, exc_info=ValueError(line))
    for formatter in (local.Lines(), local.PlainLines(), logs.JsonLines()):
        written = "\n".join(formatter.format(record) for record in heard.caplog.records)
        assert "pinglet_..." in written
        assert text not in written
    assert text not in "\n".join(heard.replies)


def test_a_methods_control_characters_reach_no_terminal(heard: Heard, client: FlaskClient) -> None:
    heard.call(client, "\x1b[31mX\n", "/", headers={"Host": "evil.example"})
    assert "evil.example" in heard.log
    assert "\x1b" not in heard.log
    assert len(heard.caplog.records) == 1


# The password of the database


def wrong_urls() -> list[str]:
    """Return values of DATABASE_URL that hold the secret and lead nowhere."""
    port = free_port()
    return [
        f"postgresql://pinglet:{PLANTED}@127.0.0.1:{port}/pinglet",
        f"postgresql://pinglet:{PLANTED}@127.0.0.1:{port}/pinglet?sslmode=require",
        f"postgresql://pinglet:{PLANTED}@127.0.0.1:{port}/pinglet?sslmode=nonsense",
        f"postgresql://pinglet:{PLANTED}@127.0.0.1:{port}/pinglet?password={PLANTED}",
        f"postgresql://pinglet:{PLANTED}@127.0.0.1:{port}/pinglet?x=1&x=2",
        f"postgresql://pinglet:{PLANTED}@127.0.0.1:{port}/pinglet?host=relative",
        f"postgresql://pinglet:{PLANTED}@127.0.0.1:{port}/pinglet?host=/nowhere",
        f"postgresql://pinglet:{PLANTED}@127.0.0.1:port/pinglet",
        f"postgresql://pinglet:{PLANTED}@127.0.0.1:99999/pinglet",
        f"postgresql://pinglet:{PLANTED}@[::1/pinglet",
        f"postgresql//pinglet:{PLANTED}@127.0.0.1/pinglet",
        f"mysql://pinglet:{PLANTED}@127.0.0.1/pinglet",
        f"pinglet:{PLANTED}@127.0.0.1/pinglet",
        f"sqlite://pinglet:{PLANTED}@127.0.0.1/",
        PLANTED,
    ]


def made_or_refused(settings: Settings) -> Flask | str:
    """Return the application, or why there is none."""
    try:
        return create_app(settings)
    except SettingsError as error:
        return str(error)


@pytest.mark.parametrize("number", range(len(wrong_urls())))
def test_the_databases_password_shows_nowhere(heard: Heard, number: int, tmp_path: Path) -> None:
    environ = {"DATABASE_URL": wrong_urls()[number], "PINGLET_CONNECT_TIMEOUT_S": "0.5"}
    app = made_or_refused(Settings.from_env(environ))
    if not isinstance(app, Flask):
        assert PLANTED not in app
        assert "DATABASE_URL" in app
        return
    client = app.test_client()
    for method, url in [("GET", "/"), ("POST", "/api/v1/session"), ("GET", "/api/v1/users")]:
        body = {"name": "ann", "password": OWN}
        heard.call(client, method, url, json=body, headers=basic("ann", OWN))
    app.extensions["pinglet"].database.engine.dispose()
    for secret in (PLANTED, OWN):
        assert secret not in heard.log
        assert secret not in "\n".join(heard.replies)


def test_a_setting_that_cannot_be_used_is_named_without_the_others() -> None:
    environ = {"DATABASE_URL": f"postgresql://x:{PLANTED}@127.0.0.1/x", "PINGLET_RATE_PPS": "much"}
    with pytest.raises(CoreError) as refused:
        Settings.from_env(environ)
    assert PLANTED not in str(refused.value)


@pytest.mark.parametrize("number", [0, 3, 11])
def test_no_command_prints_the_databases_password(number: int) -> None:
    for arguments in (["users", "list"], ["db", "upgrade"]):
        done = subprocess.run(
            flask_command(*arguments),
            cwd=ROOT,
            env=environment(wrong_urls()[number], PINGLET_CONNECT_TIMEOUT_S="0.5"),
            capture_output=True,
            text=True,
            check=False,
            timeout=250,
        )
        assert done.returncode != 0
        assert PLANTED not in done.stdout + done.stderr


# The command line


@pytest.fixture
def runner(settings: Settings) -> Iterator[FlaskCliRunner]:
    """The command line on an empty database."""
    app: Flask = local.create_app(settings)
    yield app.test_cli_runner()
    app.extensions["pinglet"].database.engine.dispose()


def test_a_password_typed_to_a_command_is_not_said_again(
    heard: Heard, runner: FlaskCliRunner, database: Database
) -> None:
    said = ""
    for arguments, typed in [
        (["users", "add", "ann", "--role", "admin", "--password-stdin"], OWN),
        (["users", "add", "ann", "--role", "admin", "--password-stdin"], OWN),
        (["users", "add", ":", "--role", "admin", "--password-stdin"], OWN),
        (["users", "password", "ann", "--password-stdin"], OTHER),
        (["users", "password", "bob", "--password-stdin"], OTHER),
        (["users", "password", "ann", "--password-stdin"], "1234567"),
        (["users", "list"], ""),
        (["users", "remove", "ann"], ""),
    ]:
        done = runner.invoke(args=arguments, input=typed + "\n")
        said += f"{done.output} {done.stderr} {done.exception!r}"
    asked = ["users", "token", "ann", "script", "--scope", "read"]
    issued = runner.invoke(args=asked).stdout.strip()
    assert issued.startswith(tokens.PREFIX), said
    for secret in [OWN, OTHER, "1234567", *kept(database)]:
        assert secret not in said + heard.log
    assert issued not in heard.log


def test_a_repr_of_what_holds_secrets_may_be_logged(database: Database) -> None:
    user = add(database)
    with database.transaction() as session:
        issued = tokens.issue(session, user, tokens.Grant(records.TokenKind.KEY), people.utc_now())
        row = session.scalars(select(Token)).one()
        assert issued.token not in repr(issued)
        assert row.digest not in repr(row)
