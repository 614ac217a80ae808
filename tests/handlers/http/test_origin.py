"""From where something may be changed: not from another page, and under no unknown name."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from flask.testing import FlaskClient

from core.settings import Settings
from handlers.http.app import create_app
from tests.handlers.calls import CREATED, DELETED, UPDATED, named, server, told
from tests.handlers.conftest import Rows, open_to_all

FORBIDDEN = (403, b'{"status":"FORBIDDEN"}\n')

STRANGE_HEADERS = [
    {"Origin": "http://evil.example"},
    {"Origin": "https://localhost.evil.example"},
    {"Origin": "http://evil.example/localhost"},
    {"Origin": "http://localhost:8080"},
    {"Origin": "http://127.0.0.1"},
    {"Origin": "http://localhost@evil.example"},
    {"Origin": "http://evil.example#localhost"},
    {"Origin": "http://evil.example\\localhost"},
    {"Origin": "http://localhost.", "Host": "localhost"},
    {"Origin": "null"},
    {"Origin": ""},
    {"Origin": "localhost"},
    {"Origin": "//"},
    {"Origin": "http://["},
    {"Origin": "http://[::1"},
    {"Origin": "http://[::1]"},
    {"Origin": "file://"},
    {"Origin": "chrome-extension://abcdefgh"},
    {"Origin": "x" * 70_000},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Sec-Fetch-Site": "SAME-ORIGIN"},
    {"Sec-Fetch-Site": ""},
    {"Sec-Fetch-Site": "nonsense"},
    {"Sec-Fetch-Site": "cross-site", "Origin": "http://localhost"},
    {"Sec-Fetch-Site": "same-origin", "Origin": "http://evil.example"},
    {"Sec-Fetch-Site": "same-origin", "Host": "evil.example"},
    {"Host": "evil.example"},
    {"Host": "evil.example", "Origin": "http://evil.example"},
    {"Host": "localhost.evil.example"},
    {"Host": "127.0.0.1.evil.example"},
    {"Host": "evil.example:80"},
    {"Host": "localhost."},
    {"Host": "localhost:port"},
    {"Host": "localhost, evil.example"},
    {"Host": "evil@127.0.0.1"},
    {"Host": "127.0.0.1/evil"},
    {"Host": "127.0.0.1\\evil"},
    {"Host": "127.0.0.1#evil"},
    {"Host": "127.1"},
    {"Host": "2130706433"},
    {"Host": "0x7f.0.0.1"},
    {"Host": "[::1"},
    {"Host": "[]"},
    {"Host": "::1"},
    {"Host": "a b"},
    {"Host": ""},
    {"Host": "\xe9"},
    {"Host": "x" * 70_000},
]
OUR_OWN_HEADERS: list[dict[str, str]] = [
    {},
    {"Host": "localhost"},
    {"Host": "LocalHost:5000"},
    {"Host": "127.0.0.1"},
    {"Host": "127.0.0.1:5000"},
    {"Host": "127.9.9.9"},
    {"Host": "[::1]"},
    {"Host": "[::1]:5000"},
    {"Origin": "http://localhost"},
    {"Origin": "https://localhost"},
    {"Host": "localhost:5000", "Origin": "http://LOCALHOST:5000"},
    {"Host": "[::1]:5000", "Origin": "http://[::1]:5000"},
    {"Sec-Fetch-Site": "same-origin", "Origin": "http://localhost"},
    {"Sec-Fetch-Site": "none"},
]


@pytest.fixture
def settings(sqlite_settings: Settings) -> Settings:
    """Strangers don't get as far as a database: one kind is enough."""
    return open_to_all(sqlite_settings.database_url)


@pytest.mark.parametrize("headers", STRANGE_HEADERS, ids=lambda headers: repr(headers)[:60])
def test_nothing_is_changed_from_elsewhere(
    client: FlaskClient, rows: Callable[[], Rows], headers: dict[str, str]
) -> None:
    client.post("/", data=server("web"))
    before = rows()
    # Header values go past the client's own checks, as a hostile client's would.
    over = {f"HTTP_{name.upper().replace('-', '_')}": value for name, value in headers.items()}
    assert told(client.post("/", data=server("new"), environ_overrides=over)) == FORBIDDEN
    assert told(client.put("/", data=server("web", "1.1.1.1"), environ_overrides=over)) == FORBIDDEN
    assert told(client.delete("/", data=named("web"), environ_overrides=over)) == FORBIDDEN
    assert rows() == before


@pytest.mark.parametrize("headers", OUR_OWN_HEADERS, ids=repr)
def test_curl_and_our_own_pages_may_change_things(
    client: FlaskClient, headers: dict[str, str]
) -> None:
    assert told(client.post("/", data=server("web"), headers=headers)) == CREATED
    assert told(client.put("/", data=server("web"), headers=headers)) == UPDATED
    assert told(client.delete("/", data=named("web"), headers=headers)) == DELETED


def test_a_name_that_somebody_points_here_reads_nothing(client: FlaskClient) -> None:
    client.post("/", data=server("web"))
    headers = {"Host": "rebound.example"}
    assert told(client.get("/", headers=headers)) == FORBIDDEN
    assert told(client.get("/?server=web", headers=headers)) == FORBIDDEN


def test_no_reply_lets_another_origin_read_it(client: FlaskClient) -> None:
    response = client.get("/", headers={"Origin": "http://evil.example"})
    assert not [name for name, _ in response.headers if name.startswith("Access-Control")]


HOSTS = [
    (("pinglet.example",), "pinglet.example", True),
    (("pinglet.example",), "PINGLET.example:8443", True),
    (("pinglet.example", "other.example"), "other.example", True),
    (("pinglet.example",), "www.pinglet.example", False),
    (("pinglet.example",), "pinglet.example.evil", False),
    (("pinglet.example",), "evil.example", False),
    (("*",), "anything.example", True),
    ((), "192.0.2.7", True),
    ((), "192.0.2.7:5000", True),
    ((), "[2001:db8::7]:5000", True),
    ((), "pinglet.example", False),
]


@pytest.mark.parametrize(("hosts", "host", "known"), HOSTS)
def test_an_instance_answers_to_the_names_it_was_given_and_to_addresses(
    sqlite_settings: Settings, hosts: tuple[str, ...], host: str, known: bool
) -> None:
    app = create_app(replace(open_to_all(sqlite_settings.database_url), hosts=hosts))
    client = app.test_client()
    for headers in ({"Host": host}, {"Host": host, "Origin": f"https://{host}"}):
        answer = told(client.put("/", data=server("web"), headers=headers))
        assert (answer != FORBIDDEN) == known
    app.extensions["pinglet"].database.engine.dispose()
