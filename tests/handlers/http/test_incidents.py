"""/api/v1/incidents: listed, shown, acknowledged, resolved by hand, commented on."""

from datetime import timedelta
from typing import Any

import pytest
from flask.testing import FlaskClient

from core.checks.records import Ping, Probe, Reason
from core.clock import utc_now
from core.rounds.measure import Measured
from core.slots import SLOT
from handlers.worker import rounds
from tests.handlers.histories import IP, add, at, this_slot
from tests.handlers.http.test_servers import problem
from tests.handlers.races import database_of

INCIDENTS = "/api/v1/incidents"


def down(server_id: int) -> Ping:
    return Ping(
        server_id, IP, 4, 0, None, None, None, Probe.ICMP, None, Reason.TIMEOUT, "no answer"
    )


def up(server_id: int) -> Ping:
    return Ping(server_id, IP, 4, 4, 1.0, 1.0, 1.0, Probe.ICMP)


def minutes(client: FlaskClient, *pings: Ping) -> None:
    """Record rounds, the last one of the slot we are in."""
    database = database_of(client)
    slot = this_slot() - len(pings) * SLOT
    rounds.close(database, slot + SLOT)
    for ping in pings:
        slot += SLOT
        rounds.store(database, slot, Measured([ping], []), utc_now())
        rounds.announce(database, slot)


def an_outage(client: FlaskClient) -> tuple[int, int]:
    """Have a server go down; return its id, and the incident's."""
    [server_id] = add(client, "web")
    minutes(client, down(server_id), down(server_id))
    page = client.get(INCIDENTS).get_json()
    return server_id, page["incidents"][0]["id"]


def kinds(told: dict[str, Any]) -> list[str]:
    return [one["kind"] for one in told["timeline"]]


def test_without_an_outage_there_is_none(client: FlaskClient) -> None:
    assert client.get(INCIDENTS).get_json() == {"incidents": [], "open": 0, "next": None}


def test_an_outage_is_listed_and_shown(client: FlaskClient) -> None:
    server_id, incident_id = an_outage(client)
    told = client.get(f"{INCIDENTS}/{incident_id}").get_json()
    page = client.get(INCIDENTS).get_json()
    told["incident"].pop("duration_s")
    assert page["incidents"][0].pop("duration_s") >= 60
    assert page == {"incidents": [told["incident"]], "open": 1, "next": None}
    opened = at(told["incident"].pop("opened"))
    assert at(told["incident"].pop("confirmed")) == opened + SLOT == this_slot()
    assert told["incident"] == {
        "id": incident_id,
        "rule": "default",
        "severity": "critical",
        "kind": "down",
        "state": "open",
        "flapping": False,
        "flaps": 0,
        "extent": "server",
        "server": {"id": server_id, "name": "web"},
        "parent": None,
        "tag": None,
        "network": None,
        "servers": 1,
        "held": None,
        "resolved": None,
        "how": None,
        "acked_by": None,
        "acked_until": None,
        "reason": "timeout",
        "detail": "no answer",
    }
    assert kinds(told) == ["opened"]
    assert told["members"] == []


def test_a_group_is_shown_with_its_members(client: FlaskClient) -> None:
    names = [f"web{number}" for number in range(5)]
    ids = add(client, *names)
    database = database_of(client)
    rounds.close(database, this_slot() - SLOT)
    for slot in (this_slot() - SLOT, this_slot()):
        rounds.store(database, slot, Measured([down(one) for one in ids], []), utc_now())
        rounds.announce(database, slot)
    [one] = client.get(INCIDENTS).get_json()["incidents"]
    assert (one["extent"], one["network"], one["servers"]) == ("network", "127.0.0.0/24", 5)
    told = client.get(f"{INCIDENTS}/{one['id']}").get_json()
    assert [member["server"]["name"] for member in told["members"]] == names
    assert {member["until"] for member in told["members"]} == {None}


def test_it_shows_the_name_that_its_server_has_now_and_the_last_one_when_it_is_gone(
    client: FlaskClient,
) -> None:
    server_id, incident_id = an_outage(client)
    client.patch(f"/api/v1/servers/{server_id}", json={"name": "renamed"})
    shown = client.get(f"{INCIDENTS}/{incident_id}").get_json()["incident"]
    assert shown["server"] == {"id": server_id, "name": "renamed"}
    client.delete(f"/api/v1/servers/{server_id}")
    shown = client.get(f"{INCIDENTS}/{incident_id}").get_json()["incident"]
    assert shown["server"] == {"id": None, "name": "web"}


def test_somebody_looks_after_it_and_no_longer(client: FlaskClient) -> None:
    _, incident_id = an_outage(client)
    address = f"{INCIDENTS}/{incident_id}"
    until = (utc_now() + timedelta(hours=1)).isoformat()
    told = client.post(f"{address}/ack", json={"until": until, "note": "on my way"}).get_json()
    assert at(told["incident"]["acked_until"]) > utc_now()
    assert told["incident"]["acked_by"] == told["timeline"][-1]["who"]
    assert told["timeline"][-1]["note"] == "on my way"
    told = client.post(f"{address}/unack").get_json()
    assert told["incident"]["acked_by"] is None
    assert client.post(f"{address}/ack").get_json()["incident"]["acked_until"] is None
    told = client.post(f"{address}/comment", json={"note": "a cable"}).get_json()
    assert kinds(told) == ["opened", "acknowledged", "unacknowledged", "acknowledged", "comment"]


def test_an_acknowledgement_in_the_past_is_refused(client: FlaskClient) -> None:
    _, incident_id = an_outage(client)
    refused = client.post(f"{INCIDENTS}/{incident_id}/ack", json={"until": "2020-01-01T00:00:00Z"})
    assert problem(refused) == (400, "WRONG_REQUEST", "until")


def test_resolved_by_hand_it_takes_two_new_bad_slots_to_open_another(client: FlaskClient) -> None:
    server_id, incident_id = an_outage(client)
    address = f"{INCIDENTS}/{incident_id}"
    told = client.post(f"{address}/resolve", json={"note": "known"}).get_json()
    assert (told["incident"]["state"], told["incident"]["how"]) == ("resolved", "hand")
    assert (told["timeline"][-1]["kind"], told["timeline"][-1]["note"]) == ("resolved", "known")
    for action in ("ack", "unack", "resolve"):
        again = client.post(f"{address}/{action}")
        assert problem(again) == (409, "INCIDENT_IS_RESOLVED", None)
    assert client.post(f"{address}/comment", json={"note": "still\nhere"}).status_code == 200
    unseen = client.post(f"{address}/comment", json={"note": "a\0b"})
    assert problem(unseen) == (400, "WRONG_REQUEST", "note")
    database = database_of(client)
    for number in (1, 2):
        assert client.get(INCIDENTS).get_json()["open"] == 0
        slot = this_slot() + number * SLOT
        rounds.store(database, slot, Measured([down(server_id)], []), slot)
        rounds.announce(database, slot)
    page = client.get(INCIDENTS).get_json()
    assert (page["open"], len(page["incidents"])) == (1, 2)


def test_a_list_is_filtered_and_goes_on(client: FlaskClient) -> None:
    ids = add(client, "web", "db")
    rounds.close(database_of(client), this_slot() - SLOT)
    for slot in (this_slot() - SLOT, this_slot()):
        rounds.store(database_of(client), slot, Measured([down(one) for one in ids], []), utc_now())
        rounds.announce(database_of(client), slot)
    found = client.get(INCIDENTS, query_string={"server": ids[0]}).get_json()["incidents"]
    assert [one["server"]["name"] for one in found] == ["web"]
    newest = client.get(INCIDENTS, query_string={"limit": 1}).get_json()
    rest = client.get(INCIDENTS, query_string={"before": newest["next"]}).get_json()
    assert [one["server"]["name"] for one in newest["incidents"] + rest["incidents"]] == [
        "db",
        "web",
    ]
    assert rest["next"] is None
    for state, number in (("open", 2), ("resolved", 0)):
        page = client.get(INCIDENTS, query_string={"state": state}).get_json()
        assert len(page["incidents"]) == number
    later = (utc_now() + timedelta(days=1)).isoformat().replace("+00:00", "Z")
    assert len(client.get(INCIDENTS, query_string={"since": later}).get_json()["incidents"]) == 2


@pytest.mark.parametrize("number", [4711, 2**63])
def test_an_incident_that_is_not_there_is_not_found(client: FlaskClient, number: int) -> None:
    address = f"{INCIDENTS}/{number}"
    assert problem(client.get(address)) == (404, "INCIDENT_DID_NOT_FOUND", None)
    for action, body in (("ack", {}), ("unack", {}), ("resolve", {}), ("comment", {"note": "x"})):
        refused = client.post(f"{address}/{action}", json=body)
        assert problem(refused) == (404, "INCIDENT_DID_NOT_FOUND", None)
