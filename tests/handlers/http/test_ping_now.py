"""POST /api/v1/servers/<id>/ping: the real engine, asked by hand; nothing is stored."""

import socket
from dataclasses import replace
from typing import Any

from flask.testing import FlaskClient

from core.checks.records import Reason
from core.settings import Settings
from handlers.http.app import create_app
from tests.handlers.conftest import Rows
from tests.handlers.histories import add
from tests.handlers.http.test_servers import problem


def test_ping_now_shows_every_echo_and_stores_nothing(client: FlaskClient, rows: Any) -> None:
    [added] = add(client, "web")
    before: Rows = rows()
    response = client.post(f"/api/v1/servers/{added}/ping")
    found = response.get_json()
    assert found["state"] in ("up", "unobserved")
    assert (found["reason"] is None) == (found["state"] == "up")
    if found["state"] == "up":
        assert len(found["echoes"]) == 4
        assert {echo["verdict"] for echo in found["echoes"]} <= {"answered", "refused"}
    assert rows() == before


def test_ping_now_by_tcp_names_the_port_that_answered(client: FlaskClient) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        wanted = {"name": "tcp", "ip": "127.0.0.1", "probe": "tcp", "port": port}
        added = client.post("/api/v1/servers", json=wanted).get_json()["id"]
        found = client.post(f"/api/v1/servers/{added}/ping").get_json()
    assert (found["state"], found["probe"], found["port"]) == ("up", "tcp", port)
    assert {echo["verdict"] for echo in found["echoes"]} == {"answered"}
    assert found["response_ms"] >= 0


def test_a_service_that_refuses_is_down_and_says_so(client: FlaskClient) -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))  # nobody listens, and nobody else gets the port meanwhile
        wanted = {"name": "tcp", "ip": "127.0.0.1", "probe": "tcp", "port": bound.getsockname()[1]}
        added = client.post("/api/v1/servers", json=wanted).get_json()["id"]
        found = client.post(f"/api/v1/servers/{added}/ping").get_json()
    assert (found["state"], found["reason"]) == ("down", Reason.REFUSED)
    assert found["detail"] == "connection refused"


def test_an_address_that_may_not_be_probed_any_more_is_unobserved(
    client: FlaskClient, settings: Settings
) -> None:
    [added] = add(client, "web")
    stricter = create_app(replace(settings, allow_loopback=False))
    found = stricter.test_client().post(f"/api/v1/servers/{added}/ping").get_json()
    stricter.extensions["pinglet"].database.engine.dispose()
    assert (found["state"], found["response_ms"]) == ("unobserved", None)
    assert found["reason"] == Reason.NOT_ALLOWED
    assert "not allowed" in found["detail"]


def test_where_there_is_no_way_to_the_servers_ping_now_says_so_and_calls_nobody_down(
    client: FlaskClient, settings: Settings
) -> None:
    [added] = add(client, "web")
    enclosed = create_app(replace(settings, ping_now=False))
    response = enclosed.test_client().post(f"/api/v1/servers/{added}/ping")
    enclosed.extensions["pinglet"].database.engine.dispose()
    assert problem(response) == (403, "FORBIDDEN", None)
    assert "can't reach the servers" in response.get_json()["detail"]
