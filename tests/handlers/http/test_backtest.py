"""/api/v1/rules/test: a draft of a rule is tried on the past, and nothing is stored."""

from typing import Any

import pytest
from flask.testing import FlaskClient

from core.slots import SLOT
from handlers.http import backtest
from handlers.http.routes import routes_of
from tests.handlers.graph import ask
from tests.handlers.histories import add, record_minutes, this_slot
from tests.handlers.http.test_servers import problem
from tests.handlers.races import database_of

TEST = "/api/v1/rules/test"
DRAFT = {"name": "web down", "when": {"down": 3, "of": 3}}
DOCUMENT = """query ($rule: RuleWanted!) {
  testRule(rule: $rule, days: 2, zone: "Europe/Prague") {
    since until zone servers outages
    draft { ...all } inForce { ...all }
  }
}
fragment all on Effect {
  rules incidents flaps hours missed delayMedianS delayWorstS nights
  servers { server { id name } incidents durationS }
  longest { server { name } since until durationS }
  outages { server { name } since until durationS }
}"""


def an_outage(client: FlaskClient, *names: str) -> None:
    """Have servers be down for twelve minutes of the last hour, and for two."""
    ids = add(client, *names)
    silent = {*range(10, 22), 40, 41}
    record_minutes(
        database_of(client),
        ids,
        this_slot() - 60 * SLOT,
        60,
        lambda number: (0, None) if number in silent else (4, 1.0),
    )


def test_a_draft_stands_beside_the_rules_in_force(client: FlaskClient) -> None:
    an_outage(client, "web")
    found = client.post(TEST, json={"rule": DRAFT, "days": 2}).get_json()
    assert (found["servers"], found["outages"], found["zone"]) == (1, 1, "UTC")
    draft, in_force = found["draft"], found["in_force"]
    assert (draft["rules"], draft["incidents"], draft["delay_worst_s"]) == (["web down"], 1, 120)
    assert (in_force["rules"], in_force["incidents"]) == (["default"], 2)
    assert draft["longest"]["duration_s"] == 720
    assert client.get("/api/v1/rules").get_json() == {"rules": []}
    assert client.get("/api/v1/incidents").get_json()["incidents"] == []


def test_graphql_says_the_same(client: FlaskClient) -> None:
    an_outage(client, "web")
    asked = {"rule": DRAFT, "days": 2, "zone": "Europe/Prague"}
    rest = client.post(TEST, json=asked).get_json()
    told = ask(client, DOCUMENT, rule=DRAFT)["testRule"]
    assert (told["servers"], told["zone"]) == (rest["servers"], rest["zone"])
    for camel, snake in (("draft", "draft"), ("inForce", "in_force")):
        assert told[camel]["incidents"] == rest[snake]["incidents"]
        assert told[camel]["hours"] == rest[snake]["hours"]
        assert told[camel]["delayMedianS"] == rest[snake]["delay_median_s"]
        assert told[camel]["longest"]["since"] == rest[snake]["longest"]["since"]
        assert told[camel]["servers"][0]["server"]["name"] == "web"


@pytest.mark.parametrize(
    ("words", "field"),
    [
        ({"rule": {"name": "x", "when": {"down": 4, "of": 3}}}, "rule.when.down"),
        ({"rule": {"name": "x", "when": {"down": 1, "of": 3}, "clear": 1}}, "rule.clear"),
        ({"rule": {"when": {"down": 1, "of": 3}}}, "rule.name"),
        ({"days": 401}, "days"),
        ({"zone": "Mars/Olympus"}, "zone"),
        ({"dayz": 3}, "dayz"),
    ],
)
def test_what_is_wrong_with_a_draft_is_named(
    client: FlaskClient, words: dict[str, Any], field: str
) -> None:
    answer = client.post(TEST, json={"rule": DRAFT} | words)
    assert problem(answer) == (400, "WRONG_REQUEST", field)


def test_more_days_than_a_request_has_room_for_are_refused_and_the_command_named(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    an_outage(client, "web", "mail")
    monkeypatch.setattr(backtest, "MOST_SERVER_DAYS", 20)
    assert client.post(TEST, json={"rule": DRAFT, "days": 10}).status_code == 200
    answer = client.post(TEST, json={"rule": DRAFT})
    assert problem(answer) == (400, "WRONG_REQUEST", "days")
    assert answer.get_json()["detail"] == (
        "days must be at most 10 for 2 servers: `flask rules test` takes as many as you like, "
        "got 30"
    )


def test_nobody_waits_for_a_machine_that_is_too_slow(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    an_outage(client, "web")
    monkeypatch.setattr(backtest, "LONGEST_S", -1.0)
    answer = client.post(TEST, json={"rule": DRAFT})
    assert problem(answer) == (400, "WRONG_REQUEST", "days")
    assert "`flask rules test`" in answer.get_json()["detail"]


def test_it_takes_a_turn(client: FlaskClient) -> None:
    route = routes_of(client.application)[f"POST {TEST}"]
    assert route.costly is not None
    assert route.costly(DRAFT)
