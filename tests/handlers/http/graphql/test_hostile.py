"""The tables of hostile input, over /graphql: none gets through, none is our fault."""

import json
from collections.abc import Callable, Iterator

import pytest
from flask import Flask
from flask.testing import FlaskClient

from infra.database import Database
from tests.handlers.conftest import Rows
from tests.handlers.graph import ask, post, refused
from tests.handlers.histories import IP, add
from tests.handlers.http.test_contract_hostile import (
    NO_JSON,
    WRONG_EVERYWHERE,
    WRONG_IPS,
    WRONG_NAMES,
)

CREATE = "mutation($s: ServerWanted!) { createServer(server: $s) { status field } }"
CHANGE = "mutation($c: ServerChange!) { changeServer(id: 1, change: $c) { status field } }"
PUT = "mutation($s: [BulkServer!]!) { putServers(servers: $s) { status results { status field } } }"


@pytest.fixture(scope="module")
def app(standing: Flask) -> Flask:
    """An application that watches one server, `web`."""
    add(standing.test_client(), "web")
    return standing


@pytest.fixture
def database(app: Flask) -> Database:
    """Its database."""
    found: Database = app.extensions["pinglet"].database
    return found


@pytest.fixture(autouse=True)
def unchanged(rows: Callable[[], Rows], app: Flask) -> Iterator[None]:
    """Compare all rows before and after, and ask something right afterwards."""
    before = rows()
    yield
    assert ask(app.test_client(), '{ server(name: "web") { ip } }') == {"server": {"ip": IP}}
    assert rows() == before


@pytest.mark.parametrize("what", [*NO_JSON, *WRONG_EVERYWHERE])
def test_a_body_that_is_no_request_is_refused(client: FlaskClient, what: str) -> None:
    body = (NO_JSON | WRONG_EVERYWHERE)[what]
    code, word, _field = refused(client.post("/graphql", data=body))
    assert (code, word) in [(400, "WRONG_REQUEST"), (413, "REQUEST_TOO_LARGE")]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(pytest.param("name", value, id=f"name: {what}") for what, value in WRONG_NAMES.items()),
        *(pytest.param("ip", value, id=f"ip: {value!r}"[:40]) for value in WRONG_IPS),
    ],
)
def test_a_server_is_not_created_or_changed_like_this(
    client: FlaskClient, field: str, value: object
) -> None:
    wanted = {"name": "new", "ip": IP} | {field: value}
    for query, variables in (
        (CREATE, {"s": wanted}),
        (CHANGE, {"c": {field: value}}),
        (PUT, {"s": [wanted]}),
    ):
        response = post(client, query, **variables)
        if response.status_code == 200:
            payload = next(iter(response.get_json()["data"].values()))
            told = payload["results"][0] if "results" in payload else payload
            assert (told["status"], told["field"]) == ("WRONG_REQUEST", field)
        else:
            assert refused(response)[:2] == (400, "WRONG_REQUEST")


@pytest.mark.parametrize("what", WRONG_NAMES)
def test_a_server_is_not_found_by_such_a_name(client: FlaskClient, what: str) -> None:
    value = WRONG_NAMES[what]
    by_variable = post(client, "query($n: String) { server(name: $n) { id } }", n=value)
    in_place = post(client, f"{{ server(name: {json.dumps(value)}) {{ id }} }}")
    searched = post(client, "query($n: String!) { servers(search: $n) { nodes { id } } }", n=value)
    for response in (by_variable, in_place, searched):
        assert response.status_code in (200, 400), response.data
        body = response.get_json()
        found = (body.get("data") or {}).get("servers") or {"nodes": []}
        assert response.status_code == 400 or not (body["data"].get("server"))
        assert what in ("nothing", "blanks") or found["nodes"] == []


WORDS = ["query=%7B__typename%7D&query=x", "query=%ff", "query=%00", "quer=x", "variables=%7B%7D"]
WORDS += [
    "query=%7B__typename%7D&variables=x",
    "query=%7B__typename%7D&variables=[]",
    "x",
    "=",
    "&",
]
WORDS += ["query=%7B__typename%7D&operationName=%00", "query=%7B__typename%7D&id=1", ""]


@pytest.mark.parametrize("words", WORDS)
def test_a_query_string_that_is_no_request_is_refused(client: FlaskClient, words: str) -> None:
    assert refused(client.get(f"/graphql?{words}"))[:2] == (400, "WRONG_REQUEST")
