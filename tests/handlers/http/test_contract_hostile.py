"""What must not get through: it is told WRONG_REQUEST and changes nothing.

All of it reaches one application one after the other, as an attacker's would.
"""

import json
from collections.abc import Callable, Iterator

import pytest
from flask import Flask
from flask.testing import FlaskClient

from core.settings import Settings
from handlers.http.app import create_app
from infra.database import Database
from tests.handlers.calls import CREATED, WRONG, named, server, told
from tests.handlers.conftest import Rows, standing_settings

RIGHT = '{"server": {"name": "new", "IP": "127.0.0.1"}}'
MB = 1_000_000
DEEP = 100_000

NO_JSON = {
    "one blank": b" ",
    "word": b"hello",
    "form": b"server=web",
    "html": b"<html></html>",
    "half": b'{"server": ',
    "two documents": RIGHT.encode() * 2,
    "something after it": RIGHT.encode() + b"x",
    "comma at the end": b'{"server": "web",}',
    "single quotes": b"{'server': 'web'}",
    "comment": b'{"server": "web"} // yes',
    "NUL": b"\x00",
    "NUL after it": RIGHT.encode() + b"\x00",
    "bare NUL in a text": b'{"server": "we\x00b"}',
    "bare newline in a text": b'{"server": "we\nb"}',
    "UTF-16": RIGHT.encode("utf-16"),
    "UTF-16, no BOM": RIGHT.encode("utf-16-le"),
    "UTF-32": RIGHT.encode("utf-32"),
    "UTF-8 BOM": b"\xef\xbb\xbf" + RIGHT.encode(),
    "Latin-1": b'{"server": {"name": "caf\xe9", "IP": "127.0.0.1"}}',
    "overlong slash": b'{"server": "\xc0\xaf"}',
    "encoded surrogate": b'{"server": "\xed\xa0\x80"}',
    "beyond Unicode": b'{"server": "\xf4\x90\x80\x80"}',
    "half a character": b'{"server": "\xf0\x9f\x9b"}',
    "NaN": b"NaN",
    "NaN inside": b'{"server": {"name": "new", "IP": "127.0.0.1", "port": NaN}}',
    "Infinity": b'{"server": Infinity}',
    "minus Infinity": b'{"server": -Infinity}',
    "1e999": b'{"server": {"name": "new", "IP": "127.0.0.1", "port": 1e999}}',
    "-1e999": b"[-1e999]",
    "a number of 5000 digits": b"1" * 5000,
    "a port of 5000 digits": b'{"server": {"name": "new", "IP": "127.0.0.1", "port": %s}}'
    % (b"1" * 5000),
    "deep [": b"[" * DEEP,
    "deep []": b"[" * DEEP + b"]" * DEEP,
    'deep {"a":': b'{"a":' * DEEP,
    'deep {"a":1}': b'{"a":' * DEEP + b"1" + b"}" * DEEP,
    "deep mixed": b'[{"a":' * DEEP,
    "900 deep": b"[" * 900 + b"]" * 900,
    "deep in the right place": b'{"server": ' + b"[" * DEEP + b"]" * DEEP + b"}",
    "1 MB of blanks": b" " * MB,
    "1 MB of {}": b"[" + b"{}," * (MB // 3 - 1) + b"0]",
    "1 MB of digits": b"9" * MB,
    "1 MB of quotes": b'"' * MB,
    "1 MB of backslashes": b'"' + b"\\" * (MB - 2) + b'"',
    "1 MB of keys": json.dumps({f"{n:06}": n for n in range(50_000)}).encode(),
}

WRONG_EVERYWHERE = {
    "null": b"null",
    "true": b"true",
    "false": b"false",
    "0": b"0",
    "-0.0": b"-0.0",
    "text": b'"web"',
    "list": b"[]",
    "list of one": b'[{"server": "web"}]',
    "object": b"{}",
    "other key": b'{"name": "web"}',
    "key in capitals": b'{"Server": "web"}',
    "key with a blank": b'{"server ": "web"}',
    "empty key": b'{"": "web"}',
    "look-alike key": '{"\u0455erver": "web"}'.encode(),
    "server: null": b'{"server": null}',
    "server: true": b'{"server": true}',
    "server: 1": b'{"server": 1}',
    "server: list": b'{"server": ["web"]}',
    "server: {}": b'{"server": {}}',
    "only a name": b'{"server": {"name": "web"}}',
    "only an IP": b'{"server": {"IP": "127.0.0.1"}}',
    "server: ''": b'{"server": ""}',
    "server: blanks": b'{"server": "   "}',
    "extra key beside a name": b'{"server": "web", "x": 1}',
    "extra key beside a server": b'{"server": {"name": "new", "IP": "127.0.0.1"}, "x": 1}',
    "twice the same": b'{"server": "web", "server": "web"}',
    "twice, once escaped": b'{"server": "web", "\\u0073erver": "web"}',
    "a server twice": b'{"server": {"name": "new", "IP": "127.0.0.1"}, "server": 1}',
    "surrogate as key": b'{"\\ud800": "web"}',
    "surrogate beside a name": b'{"server": "web", "\\udfff": 1}',
    "surrogate deep inside": b'{"server": "web", "x": [{"y": "\\ud800"}]}',
    "surrogate as name": b'{"server": "\\ud800"}',
    "surrogates the wrong way round": b'{"server": "\\udc00\\ud800"}',
    "NUL as name": b'{"server": "\\u0000"}',
    "NUL after the name": b'{"server": "web\\u0000"}',
    "newline after the name": b'{"server": "web\\n"}',
    "tab before the name": b'{"server": "\\tweb"}',
    "256 characters": named("x" * 256),
}

WRONG_NAMES = {
    "null": None,
    "true": True,
    "0": 0,
    "1.5": 1.5,
    "list": ["new"],
    "object": {"name": "new"},
    "nothing": "",
    "blanks": "    ",
    "wide blanks": "\u3000\u00a0",
    "256 characters": "x" * 256,
    "256 wide characters": "🛰" * 256,
    "a megabyte, nearly": "x" * 900_000,
    "NUL": "new\x00",
    "NUL alone": "\x00",
    "newline at the end": "new\n",
    "newline in front": "\nnew",
    "carriage return": "ne\rw",
    "tab at the end": "new\t",
    "escape": "\x1b[31mnew",
    "delete": "new\x7f",
    "C1: next line": "new\x85",
    "C1: CSI": "\x9b31mnew",
    "lone high surrogate": "new\ud800",
    "lone low surrogate": "\udfffnew",
    "surrogates the wrong way round": "\udc00\ud800",
}

WRONG_IPS = [
    None,
    True,
    0,
    2130706433,
    1.1,
    [127, 0, 0, 1],
    ["127.0.0.1"],
    {"v4": "127.0.0.1"},
    "",
    " ",
    "localhost",
    "example.org",
    "08.8.8.8",
    "8.8.8.08",
    "127.0.0.01",
    "00.0.0.0",
    "127.1",
    "127.0.1",
    "127",
    "2130706433",
    "0x7f.1",
    "0x7f.0.0.1",
    "0x7f000001",
    "0177.0.0.1",
    "256.0.0.1",
    "1.2.3.999",
    "1.2.3.1000",
    "1.2.3",
    "1.2.3.",
    ".1.2.3",
    "1..2.3",
    "1.2.3.4.",
    "1.2.3.4.5",
    "1.2.3.-4",
    "+1.2.3.4",
    "1.2.3.4e0",
    "1,2,3,4",
    "1.2.3.4 ",
    " 1.2.3.4",
    "1.2.3.4\n",
    "1.2.3.4\t",
    "1.2.3.4\x00",
    "1.2. 3.4",
    "1.2.3.4:80",
    "1.2.3.4/32",
    "1.2.3.4/0",
    "[1.2.3.4]",
    "1.2.3.4%eth0",
    "http://1.2.3.4",
    "1.2.3.4, 5.6.7.8",
    "::1",
    "::",
    "::ffff:1.2.3.4",
    "2001:db8::1",
    "fe80::1%eth0",
    # Digits to `str.isdigit`, but not to us: fullwidth, ideographic stops, Arabic, Devanagari, ².
    "\uff11.2.3.4",
    "\uff11.\uff12.\uff13.\uff14",
    "1\u30022\u30023\u30024",
    "\u0661.\u0662.\u0663.\u0664",
    "\u0967.\u0968.\u0969.\u096a",
    "1.2.3.\u00b2",
    "\u2460.2.3.4",
    "1.2.3.4\u200b",
    "\u202e4.3.2.1",
    "1.2.3.4\ud800",
    "1" * 100_000,
    "1.2.3." + "4" * 5000,
    # Dotted quads that nobody may watch.
    "0.0.0.0",
    "0.1.2.3",
    "169.254.169.254",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
    "192.0.0.8",
]

WRONG_PORTS = [True, False, None, 0, -1, 65_536, 10**12, 1.0, 80.5, "80", "", [80], {"tcp": 80}]
WRONG_PROBES = ["ICMP", "Icmp", "", " icmp", "udp", "http", None, True, 1, ["icmp"], {"icmp": 1}]

WRONG_SERVERS = (
    {f"name {what}": server(name) for what, name in WRONG_NAMES.items()}
    | {f"IP {str(ip)[:30]!a} {number}": server("new", ip) for number, ip in enumerate(WRONG_IPS)}
    | {f"port {port!r}": server("new", port=port) for port in WRONG_PORTS}
    | {f"probe {probe!r}": server("new", probe=probe) for probe in WRONG_PROBES}
    | {f"extra {key!r}": server("new", **{key: 1}) for key in ("x", "ip", "Name", "id", "", "IP ")}
    | {
        "no name": b'{"server": {"IP": "127.0.0.1"}}',
        "no IP": b'{"server": {"name": "new"}}',
        "ip in small letters": b'{"server": {"name": "new", "ip": "127.0.0.1"}}',
        "name twice": b'{"server": {"name": "new", "name": "new", "IP": "127.0.0.1"}}',
        "IP twice": b'{"server": {"name": "new", "IP": "127.0.0.1", "IP": "127.0.0.1"}}',
        "surrogate as an extra key": b'{"server": {"name": "new", "IP": "127.0.0.1", "\\ud800":1}}',
        "wrapped twice": b'{"server": {"server": {"name": "new", "IP": "127.0.0.1"}}}',
        "not wrapped": b'{"name": "new", "IP": "127.0.0.1"}',
        "only named": b'{"server": "web"}',
        "a list of servers": b'{"server": [{"name": "new", "IP": "127.0.0.1"}]}',
        "in the plural": b'{"servers": {"name": "new", "IP": "127.0.0.1"}}',
        "port 65535 and a bit": b'{"server": {"name":"new","IP":"127.0.0.1","port":6.5535e4}}',
    }
)
WRONG_NAMED = {what: named(name) for what, name in WRONG_NAMES.items()} | {
    "a server": b'{"server": {"name": "web", "IP": "127.0.0.1"}}',
    "a name in an object": b'{"server": {"name": "web"}}',
    "null": b"null",
}

WRONG_QUERIES = [
    "server",
    "server=",
    "server=%20%20",
    "server=web&server=web",
    "server=web&server=mail",
    "server=web&x=1",
    "server=web&Server=web",
    "Server=web",
    "x",
    "=",
    "=web",
    "name=web",
    "server[]=web",
    "server=%00",
    "server=web%00",
    "server=web%0A",
    "server=%09web",
    "server=%1b[31mweb",
    "server=%ED%A0%80",
    "server=web%ED%BF%BF",
    "server=%ff",
    "server=caf%e9",
    "server=%C0%AF",
    "server=%F4%90%80%80",
    "server=%F0%9F%9B",
    "%ED%A0%80=web",
    "server=web&%ff",
    "server=" + "x" * 256,
    "server=" + "x" * 60_000,
    "limit=10",
    "since=2018-01-02T07:01:00Z",
    "until=2018-01-02T07:01:00Z",
    "server=web&limit=",
    "server=web&limit=0",
    "server=web&limit=-1",
    "server=web&limit=%2B1",
    "server=web&limit=10001",
    "server=web&limit=99999",
    "server=web&limit=" + "1" * 5000,
    "server=web&limit=1.0",
    "server=web&limit=1e3",
    "server=web&limit=0x10",
    "server=web&limit=1_0",
    "server=web&limit=%201",
    "server=web&limit=1%0A",
    "server=web&limit=%EF%BC%91",
    "server=web&limit=%D9%A1",
    "server=web&limit=ten",
    "server=web&limit=1&limit=1",
    "server=web&since=",
    "server=web&since=now",
    "server=web&since=0",
    "server=web&since=1514876460",
    "server=web&since=2018-13-01T00:00:00Z",
    "server=web&since=2018-02-30",
    "server=web&since=2018-01-02T25:00:00Z",
    "server=web&since=2018-01-02T07:01:00ZZ",
    "server=web&since=2018-01-02T07:01:00%2B25:00",
    "server=web&since=2018-01-02T07:01:00+01:00",
    "server=web&since=%D9%A2%D9%A0%D9%A1%D9%A8-01-02",
    "server=web&since=2018-01-02%00",
    "server=web&since=%ED%A0%80",
    "server=web&since=10000-01-01T00:00:00Z",
    "server=web&since=9999-12-31T23:59:59-01:00",
    "server=web&since=0001-01-01T00:00:00%2B01:00",
    "server=web&since=" + "2" * 50_000,
    "server=web&until=never",
    "server=web&until=2018-01-02&until=2018-01-02",
]


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def settings(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return standing_settings(request, tmp_path_factory)


@pytest.fixture(scope="module")
def app(settings: Settings) -> Iterator[Flask]:
    """An application that watches one server, `web`."""
    made = create_app(settings)
    assert told(made.test_client().post("/", data=server("web"))) == CREATED
    yield made
    made.extensions["pinglet"].database.engine.dispose()


@pytest.fixture(scope="module")
def database(app: Flask) -> Database:
    opened: Database = app.extensions["pinglet"].database
    return opened


@pytest.fixture
def watched(rows: Callable[[], Rows]) -> Rows:
    """The rows before anything is sent."""
    found = rows()
    assert len(found["server"]) == 1
    return found


def some(*tables: dict[str, bytes]) -> pytest.MarkDecorator:
    cases = {what: body for table in tables for what, body in table.items()}
    return pytest.mark.parametrize("body", cases.values(), ids=cases.keys())


@some(NO_JSON, WRONG_EVERYWHERE)
def test_no_call_takes_this_body(
    client: FlaskClient, rows: Callable[[], Rows], watched: Rows, body: bytes
) -> None:
    for method in ("POST", "PUT", "DELETE", "GET"):
        assert told(client.open("/", method=method, data=body)) == WRONG, method
    assert rows() == watched


@some(WRONG_SERVERS)
def test_a_server_is_not_added_or_changed_like_this(
    client: FlaskClient, rows: Callable[[], Rows], watched: Rows, body: bytes
) -> None:
    assert told(client.post("/", data=body)) == WRONG
    assert told(client.put("/", data=body)) == WRONG
    # PUT must refuse it also where the name is known.
    known = body.replace(b'"new"', b'"web"')
    assert told(client.put("/", data=known)) == WRONG
    assert rows() == watched


@some(WRONG_NAMED)
def test_a_server_is_not_named_like_this(
    client: FlaskClient, rows: Callable[[], Rows], watched: Rows, body: bytes
) -> None:
    assert told(client.delete("/", data=body)) == WRONG
    assert told(client.get("/", data=body)) == WRONG
    assert rows() == watched


@pytest.mark.parametrize("query", WRONG_QUERIES, ids=[query[:40] for query in WRONG_QUERIES])
@pytest.mark.usefixtures("watched")
def test_pings_are_not_asked_for_like_this(client: FlaskClient, query: str) -> None:
    # Past the client's own quoting: these octets arrive as they stand here.
    response = client.get("/", environ_overrides={"QUERY_STRING": query})
    assert told(response) == WRONG


def test_octets_that_nobody_escaped_are_no_query(client: FlaskClient) -> None:
    for query in ("server=\xff", "server=caf\xe9", "server=\xed\xa0\x80"):
        assert told(client.get("/", environ_overrides={"QUERY_STRING": query})) == WRONG


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_a_call_that_changes_something_needs_its_body(
    client: FlaskClient, rows: Callable[[], Rows], watched: Rows, method: str
) -> None:
    assert told(client.open("/", method=method)) == WRONG
    assert told(client.open("/?server=web", method=method)) == WRONG
    assert rows() == watched


@pytest.mark.parametrize("query", ["server=web", "x=1", "server=other", "%ff"])
def test_a_call_that_changes_something_takes_no_query(
    client: FlaskClient, rows: Callable[[], Rows], watched: Rows, query: str
) -> None:
    over = {"QUERY_STRING": query}
    assert told(client.post("/", data=server("new"), environ_overrides=over)) == WRONG
    assert told(client.put("/", data=server("web"), environ_overrides=over)) == WRONG
    assert told(client.delete("/", data=named("web"), environ_overrides=over)) == WRONG
    assert rows() == watched
