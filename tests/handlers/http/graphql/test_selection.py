"""The 24 hours of a list are read where a document asks for them, in whatever way it is written."""

from typing import Any

import pytest
from flask.testing import FlaskClient

from handlers.http.graphql.resolvers import OF_DAY, in_snake_case
from infra.database import Database
from tests.handlers.graph import ask
from tests.handlers.histories import MINUTE, add, record_minutes, this_slot
from tests.infra.statements import counted

VALUES = {"counts": "counts { up degraded down unobserved due }"}
ASKING = {
    "in its place": "{ servers { nodes { %s } } }",
    "by an edge": "{ servers { edges { node { %s } } } }",
    "under another name": "{ a: servers { b: nodes { c: %s } } }",
    "in a fragment": "{ servers { nodes { id ...a } } } fragment a on Server { %s }",
    "in a fragment of the list": (
        "{ servers { ...a } } fragment a on ServerConnection { nodes { ...b } } "
        "fragment b on Server { %s }"
    ),
    "in a fragment of the query": "{ ...a } fragment a on Query { servers { nodes { %s } } }",
    "inline": "{ servers { ... { nodes { ... on Server { %s } } } } }",
    "beside a list without it": "{ servers { nodes { id } } servers { nodes { %s } } }",
    "only by a variable": (
        "query($a: Boolean! = true) { servers { nodes { id ... @include(if: $a) { %s } } } }"
    ),
    "of one by name": '{ server(name: "web") { %s } }',
    "of one by id": '{ server(id: "1") { %s } }',
}
WITHOUT = {
    "its state": "{ servers { nodes { id name state lastPing { slot } } } }",
    "the totals": "{ servers { totals { up } lastRound pageInfo { endCursor } } }",
    "a summary's uptime": "{ servers { nodes { summary { uptime counts { up } } } } }",
    "one by name": '{ server(name: "web") { state } }',
    "one by id": '{ server(id: "1") { state } }',
}


@pytest.fixture
def client(client: FlaskClient) -> FlaskClient:
    """A client of an application with two servers that were pinged for some minutes."""
    ids = add(client, "web", "db")
    record_minutes(
        client.application.extensions["pinglet"].database, ids, this_slot() - 9 * MINUTE, 7
    )
    return client


def days_read(client: FlaskClient, query: str) -> tuple[int, Any]:
    """Return how many statements add half hours up, and what is answered."""
    database: Database = client.application.extensions["pinglet"].database
    with counted(database) as sent:
        data = ask(client, query)
    return sum("avg(" in statement.lower() for statement in sent), data


@pytest.mark.parametrize("name", sorted(OF_DAY))
@pytest.mark.parametrize("way", ASKING)
def test_whoever_asks_for_the_day_is_answered_it_however_it_is_written(
    client: FlaskClient, way: str, name: str
) -> None:
    asked = VALUES.get(name, name)
    read, data = days_read(client, ASKING[way] % asked)
    assert read == 1
    shown = client.get("/api/v1/servers/1").get_json()[in_snake_case(name)]
    # Nobody has said why these servers aren't observed any more.
    assert (shown is None) == (name in ("reason", "detail"))
    assert f"{shown}" in f"{data}"


@pytest.mark.parametrize("what", WITHOUT)
def test_where_nothing_of_the_day_is_asked_it_is_not_read(client: FlaskClient, what: str) -> None:
    assert days_read(client, WITHOUT[what])[0] == 0


def test_a_list_without_the_day_takes_four_statements_less(client: FlaskClient) -> None:
    database: Database = client.application.extensions["pinglet"].database
    ask(client, "{ me { may } }")
    sent = {}
    for asked in ("state", "state uptime"):
        with counted(database) as statements:
            ask(client, f"{{ servers {{ nodes {{ {asked} }} }} }}")
        sent[asked] = len(statements)
    assert sent["state"] == sent["state uptime"] - 4


def test_a_list_without_the_day_is_the_same_list(client: FlaskClient) -> None:
    query = """{ servers(sort: name, first: 1) {
      edges { cursor } totals { up unobserved } lastRound pageInfo { hasNextPage endCursor }
      nodes { id name ip probe port added intervalS enabled state lastPing { slot sent } %s }
    } }"""
    without, whole = (ask(client, query % more)["servers"] for more in ("", "uptime"))
    assert whole["nodes"][0].pop("uptime") == 1
    assert without == whole


@pytest.mark.parametrize("given", ["0", "9223372036854775807", "9223372036854775808", "x"])
def test_one_that_is_not_there_is_null_with_its_day_and_without(
    client: FlaskClient, given: str
) -> None:
    for asked in ("state", "uptime"):
        query = f'{{ server(id: "{given}") {{ {asked} }} }}'
        assert ask(client, query) == {"server": None}
