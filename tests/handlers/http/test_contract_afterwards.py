"""Limits of size, and the same process after hostile requests."""

from collections.abc import Callable

import pytest
from flask.testing import FlaskClient

from tests.handlers.calls import (
    CREATED,
    DELETED,
    TAKEN,
    TOO_LARGE,
    UNKNOWN,
    UPDATED,
    named,
    names,
    server,
    told,
)
from tests.handlers.conftest import Rows

MB = 1_000_000


@pytest.fixture
def watched(client: FlaskClient, rows: Callable[[], Rows]) -> Rows:
    """The rows as they are with one server, `web`."""
    assert told(client.post("/", data=server("web"))) == CREATED
    return rows()


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "GET"])
def test_a_body_above_1_mb_is_too_large(
    client: FlaskClient, rows: Callable[[], Rows], watched: Rows, method: str
) -> None:
    for size in (MB + 1, 3 * MB):
        right = server("web") if method in ("POST", "PUT") else named("web")
        assert told(client.open("/", method=method, data=right.ljust(size))) == TOO_LARGE
    assert rows() == watched


def test_a_body_of_exactly_1_mb_is_read(client: FlaskClient) -> None:
    assert told(client.post("/", data=server("web").ljust(MB))) == CREATED
    assert client.get("/", data=named("web").ljust(MB)).status_code == 200
    assert told(client.delete("/", data=named("web").ljust(MB))) == DELETED


@pytest.mark.parametrize("size", [MB, MB + 1, 3 * MB])
def test_a_body_without_a_length_has_the_same_limit(client: FlaskClient, size: int) -> None:
    # Chunked: the server says that the stream ends by itself, and the client no length.
    response = client.post(
        "/",
        data=server("web").ljust(size),
        environ_overrides={"wsgi.input_terminated": True, "CONTENT_LENGTH": ""},
    )
    assert told(response) == (CREATED if size <= MB else TOO_LARGE)


# The process after it

TWENTY_TEXTS = [
    "a\ud800",
    "\udfff",
    "\udc00\ud800",
    "NUL\x00",
    "\x00",
    "%ED%A0%80",
    "escape \x1b[31m",
    "newline\n",
    "'; DROP TABLE server; --",
    "' OR '1'='1",
    '"; SELECT pg_sleep(9); --',
    "%s %(name)s {0} $1 :name ?",
    "%",
    "x" * 256,
    "x" * 900_000,
    "🛰" * 256,
    "\u202e\u2066\u200f",
    "\ufffe\uffff\U0010ffff",
    "\\\\\\'\\",
    "Z͑ͫ̓ͪ̂ͫ̽͏̴̙̤̞͉͚̯̞̠͍A̴̵̜̰͔ͫ͗͢L̠ͨͧͩ͘G̴̻͈͍͔̹̑͗̎̅͛́Ǫ̵̹̻̝̳͂̌̌͘!͖̬̰̙̗̿̋ͥͥ̂ͣ̐́́͜͞",
]


def test_after_each_of_twenty_hostile_texts_fifty_requests_are_all_right(
    client: FlaskClient,
) -> None:
    assert len(set(TWENTY_TEXTS)) == 20
    for text in TWENTY_TEXTS:
        send_everywhere(client, text)
        for number in range(10):
            five_right_requests(client, f"server {number}")
        assert names(client) == []


def send_everywhere(client: FlaskClient, text: str) -> None:
    """Send `text` as a name through every call, and leave no server behind."""
    query = text.encode("utf-8", "surrogatepass")
    answers = [
        told(client.post("/", data=server(text))),
        told(client.put("/", data=server(text))),
        told(client.get("/", data=named(text)))[:1],
        told(client.get("/", query_string={"server": query}))[:1],
        told(client.get("/", query_string={"server": "web", "since": query}))[:1],
        told(client.post("/", data=server("web", text))),
        told(client.delete("/", data=named(text))),
    ]
    assert {answer[0] for answer in answers} <= {200, 201, 400, 404}


def five_right_requests(client: FlaskClient, name: str) -> None:
    expected = b'{"server":"%s","pings":[]}\n' % name.encode()
    assert told(client.post("/", data=server(name))) == CREATED
    assert told(client.put("/", data=server(name, "127.0.0.2"))) == UPDATED
    assert told(client.get("/", data=named(name))) == (200, expected)
    assert told(client.get("/")) == (200, b'{"servers":["%s"]}\n' % name.encode())
    assert told(client.delete("/", data=named(name))) == DELETED


def test_an_error_is_forgotten_by_the_next_request(client: FlaskClient) -> None:
    client.post("/", data=server("web"))
    for _ in range(50):
        assert told(client.post("/", data=server("web"))) == TAKEN
        assert told(client.put("/", data=server("mail"))) == UNKNOWN
        assert told(client.delete("/", data=named("mail"))) == UNKNOWN
        assert names(client) == ["web"]
