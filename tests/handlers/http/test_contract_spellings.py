"""Names by every way in: kept in one spelling, found by each, refused where nobody sees them."""

import json
from collections.abc import Callable

import pytest
from flask.testing import FlaskClient
from sqlalchemy import update
from werkzeug.test import TestResponse

from core.models import Server
from infra.database import Database
from tests.handlers.calls import CREATED, server, told
from tests.handlers.graph import post
from tests.infra.databases import names

IP = "127.0.0.1"
SERVERS = "/api/v1/servers"
COMPOSED, APART = "Z\u00fcrich \u0645\u06cc\u200c\u062e", "Zu\u0308rich \u0645\u06cc\u200c\u062e"
ADD = "mutation($new: ServerWanted!) { createServer(server: $new) { status detail } }"
UNSEEN = [
    *("\u202a", "\u202e", "\u2066", "\u2069", "\u200e", "\u200f", "\u061c"),
    *("\u200b", "\u2060", "\ufeff", "\ufdd0", "\ufffe", "\U0001ffff", "\u200d", "\u00ad"),
]


def by_list(client: FlaskClient, name: str) -> TestResponse:
    listed = f"name,ip\n{name},{IP}\n".encode()
    return client.post("/api/v1/import", data=listed, content_type="text/csv")


def by_export(client: FlaskClient, name: str) -> TestResponse:
    one = {"name": name, "ip": IP, "added": "2026-01-01T00:00:00Z"}
    return client.post("/api/v1/import", json={"servers": [one]})


def by_bulk(client: FlaskClient, name: str) -> TestResponse:
    return client.post(f"{SERVERS}/bulk", json={"servers": [{"name": name, "ip": IP}]})


def by_renaming(client: FlaskClient, name: str) -> TestResponse:
    made = client.post(SERVERS, json={"name": "was", "ip": IP})
    done = client.patch(f"{SERVERS}/{made.get_json()['id']}", json={"name": name})
    if not done.status_code < 300:
        client.delete("/", data=json.dumps({"server": "was"}))
    return done


def by_graph(client: FlaskClient, name: str) -> TestResponse:
    return post(client, ADD, new={"name": name, "ip": IP})


WAYS: dict[str, Callable[[FlaskClient, str], TestResponse]] = {
    "/": lambda client, name: client.post("/", data=server(name)),
    "one": lambda client, name: client.post(SERVERS, json={"name": name, "ip": IP}),
    "bulk": by_bulk,
    "list": by_list,
    "export": by_export,
    "renaming": by_renaming,
    "GraphQL": by_graph,
}


@pytest.mark.parametrize("way", WAYS)
def test_every_way_in_keeps_one_spelling(client: FlaskClient, database: Database, way: str) -> None:
    done = WAYS[way](client, APART)
    assert done.status_code < 300, done.text
    assert names(database) == [COMPOSED], done.text
    for again in ("/", "one"):
        assert WAYS[again](client, APART).status_code == 409
    for spelling in (COMPOSED, APART):
        shown = client.get("/", query_string={"server": spelling})
        assert shown.get_json()["server"] == COMPOSED


@pytest.mark.parametrize("way", WAYS)
def test_no_way_in_takes_what_nobody_sees(
    client: FlaskClient, database: Database, way: str
) -> None:
    for letter in UNSEEN:
        done = WAYS[way](client, f"we{letter} b")
        assert f"U+{ord(letter):04X}" in done.text or done.get_json() == {"status": "WRONG_REQUEST"}
        assert done.status_code < 500
    assert names(database) == []


@pytest.mark.parametrize("name", [APART, "web\u202egpj.exe", "\u200bweb"])
def test_a_name_from_before_goes_through_all_calls(
    client: FlaskClient, database: Database, name: str
) -> None:
    assert told(client.post("/", data=server("was"))) == CREATED
    with database.transaction() as session:
        session.execute(update(Server).values(name=name))
    assert client.get("/").get_json() == {"servers": [name]}
    assert client.get("/", query_string={"server": name}).get_json()["server"] == name
    found = client.get(SERVERS, query_string={"name": name}).get_json()["servers"]
    assert [one["name"] for one in found] == [name]
    query = "query($name: String) { server(name: $name) { name } }"
    assert post(client, query, name=name).get_json()["data"]["server"]["name"] == name
    assert client.put("/", data=server(name, "127.0.0.9")).status_code == 200
    form = {"name": name, "ip": "127.0.0.8"}
    assert client.patch(f"{SERVERS}/{found[0]['id']}", json=form).status_code == 200
    listed = {"servers": [{"name": name, "ip": "127.0.0.7"}], "upsert": True}
    bulk = client.post(f"{SERVERS}/bulk", json=listed).get_json()
    assert [one["status"] for one in bulk["results"]] == ["UPDATED"]
    exported = client.get("/api/v1/export", query_string={"format": "json"})
    assert client.post("/api/v1/import", json=exported.get_json()).status_code == 200
    assert names(database) == [name]
    assert client.post("/", data=server(name)).status_code == 409
    assert client.delete("/", data=json.dumps({"server": name})).status_code == 200
    assert names(database) == []


def test_rest_and_graphql_find_a_name_in_any_case(client: FlaskClient) -> None:
    for name in (COMPOSED, "web"):
        client.post("/", data=server(name))
    for sought in ("Z\u00dcR", "zu\u0308r"):
        page = client.get(SERVERS, query_string={"search": sought}).get_json()
        assert [one["name"] for one in page["servers"]] == [COMPOSED]
        query = "query($text: String) { servers(search: $text) { nodes { name } } }"
        found = post(client, query, text=sought).get_json()["data"]["servers"]["nodes"]
        assert [one["name"] for one in found] == [COMPOSED]
