"""Who may call which field of /graphql: the table of test_gate, over every field there is.

As with routes, the fields are the schema's own: one that comes later is tested by being there, and
is called by nobody before it says who may.
"""

import json
from collections.abc import Iterator
from dataclasses import replace

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from core.accounts.records import Level
from core.settings import Settings
from handlers.http.app import create_app
from handlers.http.graphql.resolvers import LEVELS
from infra.database import Database
from tests import people
from tests.handlers.graph import document, post, refused, root_fields
from tests.handlers.http.test_gate import SHOWN
from tests.people import add

META = {"__typename": "{ __typename }", "__schema": "{ __schema { description } }"}
META["__type"] = '{ __type(name: "Query") { name } }'
CALLS = {
    (operation, name): document(operation, name, field) for operation, name, field in root_fields()
} | {("query", name): (text, {}) for name, text in META.items()}


@pytest.fixture
def settings(settings: Settings) -> Iterator[Settings]:
    """The same with authentication on, without users before and after."""
    with people.nobody_but(settings) as empty:
        yield empty


def verdict(response: TestResponse) -> str:
    """Return what the gate said."""
    assert response.status_code < 500, response.data
    if response.status_code in (401, 403):
        assert refused(response)[1] == {401: "UNAUTHORIZED", 403: "FORBIDDEN"}[response.status_code]
    if response.status_code == 401:
        assert response.headers["WWW-Authenticate"] == "Bearer"
    return {401: "who?", 403: "no"}.get(response.status_code, "in")


def expected(what: str, operation: str, name: str) -> str:
    """Return what the gate is to say; whatever is called, it is posted."""
    shown = SHOWN[what]
    reaches = shown.reaches if shown.changes_reach is None else shown.changes_reach
    if reaches is None:
        return "who?"
    return "in" if LEVELS[operation][name] <= reaches else "no"


@pytest.mark.parametrize("what", SHOWN)
def test_every_field_answers_as_the_table_says(app: Flask, database: Database, what: str) -> None:
    add(database, "root")
    user = add(database, "eve", SHOWN[what].role)
    client = app.test_client(use_cookies=False)
    answers = {}
    for call, (query, variables) in CALLS.items():
        headers = SHOWN[what].headers(database, user)
        answers[call] = verdict(post(client, query, headers, **variables))
    assert answers == {call: expected(what, *call) for call in CALLS}


def test_every_field_has_its_entry_and_every_entry_its_field() -> None:
    listed = {(operation, name) for operation in LEVELS for name in LEVELS[operation]}
    assert listed == set(CALLS) | {("mutation", "__typename")}


@pytest.mark.parametrize(
    "query",
    [
        "{ me { may } users { name } }",
        "{ me { may } ... { users { name } } }",
        "{ me { may } ...a } fragment a on Query { ... on Query { u: users { name } } }",
        'mutation { removeToken(id: "1") { status } removeUser(id: "1") { status } }',
    ],
)
def test_one_field_that_is_not_allowed_stops_all_of_them(
    app: Flask, database: Database, query: str
) -> None:
    add(database, "root")
    headers = people.basic("root")
    editor = people.bearer(people.token(database, add(database, "eve", people.Role.EDITOR)))
    client = app.test_client()
    assert refused(post(client, query, editor))[:2] == (403, "FORBIDDEN")
    assert post(client, query, headers).status_code == 200


def test_another_operation_of_the_document_needs_no_right(app: Flask, database: Database) -> None:
    viewer = people.bearer(people.token(database, add(database, "eve", people.Role.VIEWER)))
    body = {"query": "query a { me { may } } query b { users { name } }", "operationName": "a"}
    client = app.test_client()
    assert client.post("/graphql", json=body, headers=viewer).status_code == 200
    body["operationName"] = "b"
    assert client.post("/graphql", json=body, headers=viewer).status_code == 403


def test_a_page_of_another_origin_calls_nothing_even_where_access_is_open(
    sqlite_settings: Settings,
) -> None:
    app = create_app(replace(sqlite_settings, authentication=False))
    client: FlaskClient = app.test_client()
    query = 'mutation { createServer(server: {name: "x", ip: "127.0.0.1"}) { status } }'
    for headers in ({"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}):
        text = client.post(
            "/graphql",
            data=json.dumps({"query": query}),
            content_type="text/plain",
            headers=headers,
        )
        assert refused(text)[:2] == (403, "FORBIDDEN")
    assert client.get("/").get_json() == {"servers": []}
    app.extensions["pinglet"].database.engine.dispose()


def test_head_changes_nothing(sqlite_settings: Settings) -> None:
    app = create_app(replace(sqlite_settings, authentication=False))
    client = app.test_client()
    for operation, name, field in root_fields():
        query, variables = document(operation, name, field)
        words = {"query": query, "variables": json.dumps(variables)}
        response = client.head("/graphql", query_string=words)
        assert (response.status_code == 405) == (operation == "mutation"), name
    app.extensions["pinglet"].database.engine.dispose()


def test_a_session_asks_with_get_and_posts_with_the_header(app: Flask, database: Database) -> None:
    add(database, "root")
    shown = SHOWN["an admin's session"]
    cookie = {"Cookie": shown.headers(database, add(database, "eve"))["Cookie"]}
    client = app.test_client(use_cookies=False)
    asked = client.get("/graphql", query_string={"query": "{ me { may } }"}, headers=cookie)
    assert asked.get_json() == {"data": {"me": {"may": "admin"}}}
    assert refused(post(client, "{ me { may } }", cookie))[:2] == (403, "FORBIDDEN")
    assert post(client, "{ me { may } }", cookie | {"X-Requested-With": "x"}).status_code == 200


def test_who_may_look_at_the_schema_may_write() -> None:
    assert LEVELS["query"]["__schema"] is Level.WRITE
