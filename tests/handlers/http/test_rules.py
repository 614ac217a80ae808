"""/api/v1/rules: made, shown, replaced, removed; each change is an event."""

import pytest
from flask.testing import FlaskClient

from core.clock import utc_now
from core.rounds.measure import Measured
from core.slots import SLOT
from handlers.worker import rounds
from tests.handlers.histories import add, this_slot
from tests.handlers.http.test_incidents import down
from tests.handlers.http.test_servers import problem
from tests.handlers.races import database_of

RULES, EVENTS = "/api/v1/rules", "/api/v1/events"
WANTED = {
    "name": "web down",
    "for": {"tags": ["web"], "names": ["eu-*"]},
    "when": {"down": 2, "of": 3},
    "clear": 2,
    "say": [],
    "remind_m": 240,
    "severity": "critical",
}


def test_a_rule_is_answered_as_it_was_sent_with_its_id_and_hints(client: FlaskClient) -> None:
    assert client.get(RULES).get_json() == {"rules": []}
    made = client.post(RULES, json=WANTED)
    assert made.status_code == 201
    kept = made.get_json()
    assert made.headers["Location"] == f"{RULES}/{kept['id']}"
    assert client.get(f"{RULES}/{kept['id']}").get_json() == kept
    assert client.get(RULES).get_json() == {"rules": [kept]}
    assert kept.pop("made") == kept.pop("changed")
    assert kept == WANTED | {"id": kept["id"], "hints": []}


def test_a_rule_is_replaced_as_a_whole_and_removed(client: FlaskClient) -> None:
    address = client.post(RULES, json=WANTED).headers["Location"]
    anew = client.put(address, json={"name": "one", "when": {"down": 1, "of": 1}}).get_json()
    assert (anew["name"], anew["for"], anew["clear"]) == ("one", {"tags": [], "names": []}, 2)
    assert "again and again" in anew["hints"][0]
    assert client.delete(address).get_json() == {"status": "DELETED"}
    for answer in (client.get(address), client.put(address, json=WANTED), client.delete(address)):
        assert problem(answer) == (404, "RULE_DID_NOT_FOUND", None)
    kinds = [one["kind"] for one in client.get(EVENTS).get_json()["events"]]
    assert kinds == ["rule removed", "rule changed", "rule made"]


@pytest.mark.parametrize(
    ("words", "field"),
    [
        ({"when": {"of": 3}}, "when"),
        ({"when": {"down": 4, "of": 3}}, "when.down"),
        ({"when": {"down": 1, "of": 3}}, "clear"),
        ({"say": [{"channel": "ops"}]}, "say[0].channel"),
        ({"for": {"tags": ["a b"]}}, "for.tags[0]"),
        ({"id": 7}, "id"),
    ],
)
def test_what_is_wrong_is_refused_with_its_field(
    client: FlaskClient, words: dict[str, object], field: str
) -> None:
    assert problem(client.post(RULES, json=WANTED | words)) == (400, "WRONG_REQUEST", field)
    address = client.post(RULES, json=WANTED).headers["Location"]
    assert problem(client.put(address, json=WANTED | words)) == (400, "WRONG_REQUEST", field)


def test_a_name_is_taken_once(client: FlaskClient) -> None:
    client.post(RULES, json=WANTED)
    other = client.post(RULES, json=WANTED | {"name": "other"}).headers["Location"]
    for answer in (client.post(RULES, json=WANTED), client.put(other, json=WANTED)):
        assert problem(answer) == (409, "RULE_ALREADY_EXIST", None)


def test_a_rule_opens_incidents_from_the_next_slot_on(client: FlaskClient) -> None:
    [server_id] = add(client, "eu-1")
    rule = WANTED | {"for": {}, "when": {"down": 1, "of": 1}, "severity": "info"}
    database, slot = database_of(client), this_slot()
    rounds.close(database, slot)
    client.post(RULES, json=rule)
    rounds.store(database, slot, Measured([down(server_id)], []), utc_now())
    rounds.announce(database, slot)
    [incident] = client.get("/api/v1/incidents").get_json()["incidents"]
    assert (incident["rule"], incident["severity"]) == ("web down", "info")
    [rule] = client.get(RULES).get_json()["rules"]
    client.delete(f"{RULES}/{rule['id']}")
    rounds.store(database, slot + SLOT, Measured([down(server_id)], []), slot + SLOT)
    rounds.announce(database, slot + SLOT)
    [incident] = client.get("/api/v1/incidents").get_json()["incidents"]
    assert (incident["state"], incident["how"]) == ("resolved", "rule")
