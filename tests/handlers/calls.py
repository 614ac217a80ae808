"""The calls of the contract, short to write in a test."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from core.checks.records import quantised_ms

FIRST_SLOT = datetime(2018, 1, 2, 7, 1, tzinfo=UTC)
SLOTS = [FIRST_SLOT + timedelta(minutes=number) for number in range(6_000)]

CREATED = (201, b'{"status":"CREATED"}\n')
UPDATED = (200, b'{"status":"UPDATED"}\n')
DELETED = (200, b'{"status":"DELETED"}\n')
WRONG = (400, b'{"status":"WRONG_REQUEST"}\n')
UNKNOWN = (404, b'{"status":"NAME_DID_NOT_FOUND"}\n')
TAKEN = (409, b'{"status":"NAME_ALREADY_EXIST"}\n')
TOO_LARGE = (413, b'{"status":"REQUEST_TOO_LARGE"}\n')


def server(name: object, ip: object = "127.0.0.1", **more: object) -> bytes:
    """Return the body that adds or changes a server."""
    return json.dumps({"server": {"name": name, "IP": ip} | more}).encode()


def named(name: object) -> bytes:
    """Return the body that names a server."""
    return json.dumps({"server": name}).encode()


def told(response: TestResponse) -> tuple[int, bytes]:
    """Return what a call was answered; every answer is JSON, and no more than that is said."""
    assert response.content_type == "application/json"
    return response.status_code, response.data


def names(client: FlaskClient) -> list[str]:
    """Return the names that the list holds."""
    response = client.get("/")
    assert response.status_code == 200
    body: dict[str, Any] = response.get_json()
    assert list(body) == ["servers"]
    found: list[str] = body["servers"]
    return found


def slot_text(number: int) -> str:
    """Return the time of a slot as the contract writes it."""
    return SLOTS[number].strftime("%Y-%m-%dT%H:%M:%SZ")


def mean_ms(number: int) -> float | None:
    """Return what the fixture `pinged` records in a slot: every third one unanswered."""
    return None if number % 3 == 2 else quantised_ms(number / 4)


def pair(number: int) -> dict[str, float | None]:
    """Return what `pings` holds for a slot that the fixture `pinged` filled."""
    return {slot_text(number): mean_ms(number)}
