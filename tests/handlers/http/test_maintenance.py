"""/api/v1/maintenance: planned work is made, listed, changed and removed."""

from datetime import timedelta
from typing import Any

import pytest
from flask.testing import FlaskClient

from core.clock import utc_now
from core.reading import iso
from core.slots import SLOT
from tests.handlers.histories import add, at, this_slot
from tests.handlers.http.test_servers import problem

MAINTENANCE = "/api/v1/maintenance"
WEEKLY = {"days": ["sat"], "at": "02:00", "duration_m": 60, "zone": "Europe/Berlin"}


def make(client: FlaskClient, **words: Any) -> dict[str, Any]:
    response = client.post(MAINTENANCE, json={"name": "patches", "when": WEEKLY, **words})
    assert response.status_code == 201, response.get_json()
    made: dict[str, Any] = response.get_json()
    assert response.headers["Location"].endswith(f"{MAINTENANCE}/{made['id']}")
    return made


def now_and_for(minutes: int) -> dict[str, str]:
    return {"since": iso(utc_now()), "until": iso(this_slot() + minutes * SLOT)}


def test_it_is_shown_as_it_was_made(client: FlaskClient) -> None:
    made = make(client, **{"for": {"tags": ["Web"], "names": ["eu-*"]}})
    assert client.get(f"{MAINTENANCE}/{made['id']}").get_json() == made
    assert client.get(MAINTENANCE).get_json() == {"maintenance": [made], "next": None}
    following = made.pop("next")
    assert at(following["until"]) - at(following["since"]) == timedelta(hours=1)
    assert at(made.pop("made")) <= utc_now()
    made.pop("id")
    assert made == {
        "name": "patches",
        "for": {"tags": ["web"], "names": ["eu-*"]},
        "when": {"since": None, "until": None, "cron": None, **WEEKLY},
        "counts": False,
        "made_by": client.get("/api/v1/me").get_json()["name"],
    }


def test_it_is_changed_and_removed(client: FlaskClient) -> None:
    address = f"{MAINTENANCE}/{make(client)['id']}"
    cron = {"cron": "0 3 * * *", "duration_m": 30}
    changed = client.patch(address, json={"name": "backups", "when": cron, "counts": True})
    assert changed.get_json()["name"] == "backups"
    assert (changed.get_json()["when"]["cron"], changed.get_json()["counts"]) == ("0 3 * * *", True)
    assert client.delete(address).get_json() == {"status": "DELETED"}
    assert problem(client.get(address)) == (404, "MAINTENANCE_DID_NOT_FOUND", None)


def test_a_list_goes_on_and_what_is_over_is_apart(client: FlaskClient) -> None:
    ids = [make(client)["id"] for _ in range(3)]
    newest = client.get(MAINTENANCE, query_string={"limit": 2}).get_json()
    assert [one["id"] for one in newest["maintenance"]] == ids[:0:-1]
    rest = client.get(MAINTENANCE, query_string={"before": newest["next"]}).get_json()
    assert ([one["id"] for one in rest["maintenance"]], rest["next"]) == (ids[:1], None)
    over = client.get(MAINTENANCE, query_string={"over": "true"}).get_json()
    assert over == {"maintenance": [], "next": None}


@pytest.mark.parametrize(
    ("words", "field"),
    [
        ({"name": ""}, "name"),
        ({"name": " "}, None),
        ({"when": {}}, "when"),
        ({"when": {**WEEKLY, "zone": "Berlin"}}, "when.zone"),
        ({"when": {"cron": "* * * *", "duration_m": 5}}, "when.cron"),
        ({"when": {"since": "2020-01-01", "until": "2020-01-02"}}, "when.until"),
        ({"when": {"since": "2020-01-01", "until": "2020-01-02", "cron": ""}}, "when.cron"),
        ({"for": {"server": "web"}}, "for.server"),
    ],
)
def test_what_is_wrong_is_refused(
    client: FlaskClient, words: dict[str, Any], field: str | None
) -> None:
    refused = client.post(MAINTENANCE, json={"name": "patches", "when": WEEKLY, **words})
    assert problem(refused) == (400, "WRONG_REQUEST", field)
    made = make(client)
    refused = client.patch(f"{MAINTENANCE}/{made['id']}", json=words)
    assert problem(refused) == (400, "WRONG_REQUEST", field)
    assert client.get(MAINTENANCE).get_json()["maintenance"] == [made]


@pytest.mark.parametrize("number", [4711, 2**63])
def test_what_is_not_there_is_not_found(client: FlaskClient, number: int) -> None:
    address = f"{MAINTENANCE}/{number}"
    for refused in (client.get(address), client.delete(address), client.patch(address, json={})):
        assert problem(refused) == (404, "MAINTENANCE_DID_NOT_FOUND", None)


def test_a_server_says_what_holds_it_and_whether_it_is_exempt(client: FlaskClient) -> None:
    switch, web = add(client, "switch", "web")
    client.patch(f"/api/v1/servers/{web}", json={"parent": "switch"})
    assert client.get(f"/api/v1/servers/{web}").get_json()["exempt"] is False
    made = make(client, when=now_and_for(10), **{"for": {"names": ["switch"]}})
    for server_id in (switch, web):
        assert client.get(f"/api/v1/servers/{server_id}").get_json()["exempt"] is True
        window = {"since": iso(this_slot() - 60 * SLOT), "until": iso(this_slot() + 60 * SLOT)}
        address = f"/api/v1/servers/{server_id}/maintenance"
        held = client.get(address, query_string=window).get_json()
        assert (held["since"], held["until"], held["left_off"]) == (*window.values(), 0)
        [found] = held["ranges"]
        assert (found["id"], found["name"], found["counts"]) == (made["id"], "patches", False)
        assert found["until"] == made["next"]["until"]
    client.delete(f"{MAINTENANCE}/{made['id']}")
    later = iso(this_slot() + 60 * SLOT)
    held = client.get(f"/api/v1/servers/{web}/maintenance", query_string={"until": later})
    assert [one["id"] for one in held.get_json()["ranges"]] == [None]


def test_what_holds_nobody_or_is_no_window_is_refused(client: FlaskClient) -> None:
    refused = client.get("/api/v1/servers/4711/maintenance")
    assert problem(refused) == (404, "NAME_DID_NOT_FOUND", None)
    [web] = add(client, "web")
    same = {"since": "2026-01-01T00:00Z", "until": "2026-01-01T00:00Z"}
    refused = client.get(f"/api/v1/servers/{web}/maintenance", query_string=same)
    assert problem(refused) == (400, "WRONG_REQUEST", None)
