"""/api/v1/servers/{id}: pings, series, summary, spells, and ping now."""

from datetime import timedelta
from itertools import product
from typing import Any

import pytest
from flask.testing import FlaskClient

from core.clock import utc_now
from core.history import upkeep
from core.slots import DAY_SLOTS
from infra.database import Database
from tests.handlers.calls import SLOTS
from tests.handlers.histories import MINUTE, add, at, record, record_minutes, this_slot
from tests.handlers.http.test_servers import problem


@pytest.fixture
def server_id(client: FlaskClient, database: Database) -> int:
    """A server with ten pings, of which the first five are packed."""
    [added] = add(client, "web")
    record_minutes(database, [added], SLOTS[0], 10, heard)
    with database.transaction() as session:
        upkeep.pack(session, SLOTS[0].date(), [added])
        first = SLOTS[0].hour * 60 + SLOTS[0].minute
        assert upkeep.forget_pings(session, SLOTS[0].date(), first, first + 5) == 5
    return added


def heard(number: int) -> tuple[int, float | None]:
    """Every third ping is lost, every fourth lost one echo."""
    if number % 3 == 2:
        return 0, None
    return (3 if number % 4 == 1 else 4), 1.25 + number


def page(client: FlaskClient, path: str, **query: object) -> dict[str, Any]:
    response = client.get(path, query_string=query or None)
    assert response.status_code == 200, response.data
    body: dict[str, Any] = response.get_json()
    return body


def slots(found: dict[str, Any]) -> list[int]:
    """Return the numbers of the slots on a page."""
    return [SLOTS.index(at(ping["slot"])) for ping in found["pings"]]


# Pings


def test_a_ping_shows_all_that_is_kept_of_it_raw_or_packed(
    client: FlaskClient, server_id: int
) -> None:
    found = page(client, f"/api/v1/servers/{server_id}/pings")["pings"]
    assert slots({"pings": found}) == list(range(10))
    for number, ping in enumerate(found):
        received, ms = heard(number)
        assert ping["state"] == ("down" if ms is None else "up" if received == 4 else "degraded")
        assert (ping["sent"], ping["received"], ping["response_ms"]) == (4, received, ms)
        if ms is not None:
            assert ping["best_ms"] == pytest.approx(ms / 2, abs=0.01)
            assert ping["worst_ms"] == pytest.approx(ms * 2, abs=0.01)


def test_pages_go_back_and_forth_and_meet_every_ping_once(
    client: FlaskClient, server_id: int
) -> None:
    path = f"/api/v1/servers/{server_id}/pings"
    backwards = [page(client, path, limit=3)]
    while backwards[-1]["prev"]:
        backwards.append(page(client, backwards[-1]["prev"]))
    assert [slots(one) for one in backwards] == [[7, 8, 9], [4, 5, 6], [1, 2, 3], [0]]
    forwards = [page(client, path, limit=4, since=SLOTS[0].isoformat())]
    while forwards[-1]["next"]:
        forwards.append(page(client, forwards[-1]["next"]))
    assert [slots(one) for one in forwards] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]


def test_the_page_beside_a_page_is_linked_both_ways(client: FlaskClient, server_id: int) -> None:
    path = f"/api/v1/servers/{server_id}/pings"
    newest = page(client, path, limit=3)
    before = page(client, newest["prev"])
    assert slots(page(client, before["next"])) == slots(newest)


def test_since_is_in_the_window_and_until_is_not(client: FlaskClient, server_id: int) -> None:
    path = f"/api/v1/servers/{server_id}/pings"
    window = {"since": SLOTS[2].isoformat(), "until": SLOTS[6].isoformat()}
    assert slots(page(client, path, **window)) == [2, 3, 4, 5]
    between = {"since": "2018-01-02T08:03:30+01:00", "until": "2018-01-02T07:05:00.5Z"}
    assert slots(page(client, path, **between)) == [3, 4]


# Windows


def test_a_summary_adds_a_window_up(client: FlaskClient, server_id: int) -> None:
    window = {"since": SLOTS[0].isoformat(), "until": (SLOTS[0] + 10 * MINUTE).isoformat()}
    found = page(client, f"/api/v1/servers/{server_id}/summary", **window)
    assert found["counts"] == {"up": 5, "degraded": 2, "down": 3, "unobserved": 0, "due": 10}
    assert (found["sent"], found["received"]) == (40, 26)
    assert found["uptime"] == 0.7
    assert found["lost_share"] == 14 / 40
    assert (found["p50_ms"], found["p95_ms"], found["p99_ms"]) == (5.25, 10.25, 10.25)
    assert found["mean_ms"] == pytest.approx(sum(heard(n)[1] or 0 for n in range(10)) / 7)


def test_a_series_cuts_the_same_window_into_buckets(client: FlaskClient, server_id: int) -> None:
    window = {"since": SLOTS[0].isoformat(), "until": (SLOTS[0] + 10 * MINUTE).isoformat()}
    path = f"/api/v1/servers/{server_id}"
    whole = page(client, f"{path}/summary", **window)
    for points in (1, 3, 10, 2_000):
        found = page(client, f"{path}/series", **window, points=points)
        assert 1 <= len(found["buckets"]) <= points
        for state, count in whole["counts"].items():
            assert sum(bucket["counts"][state] for bucket in found["buckets"]) == count
        edges = [bucket["since"] for bucket in found["buckets"]] + [found["until"]]
        assert edges == [found["since"], *(bucket["until"] for bucket in found["buckets"])]


def test_spells_tell_from_when_to_when_and_why(client: FlaskClient, server_id: int) -> None:
    window = {"since": SLOTS[0].isoformat(), "until": (SLOTS[0] + 10 * MINUTE).isoformat()}
    found = page(client, f"/api/v1/servers/{server_id}/spells", **window, limit=2)
    outages = [
        (one["state"], at(one["since"]), at(one["until"]), one["detail"]) for one in found["spells"]
    ]
    why = "none of 4 echoes came back"
    assert outages == [("down", SLOTS[n], SLOTS[n + 1], why) for n in (2, 5)]
    assert found["left_off"] == 1
    assert client.get("/api/v1/servers/4711/spells").status_code == 404


def test_without_a_window_it_is_the_last_day_up_to_this_slot(
    client: FlaskClient, database: Database
) -> None:
    [added] = add(client, "web")
    record(database, [added], this_slot(), (4, 1.5))
    for part in ("summary", "series"):
        found = page(client, f"/api/v1/servers/{added}/{part}")
        assert at(found["until"]) - at(found["since"]) == timedelta(days=1)
        assert utc_now() <= at(found["until"]) <= utc_now() + MINUTE
    assert page(client, f"/api/v1/servers/{added}/summary")["counts"]["up"] == 1
    shown = client.get(f"/api/v1/servers/{added}").get_json()
    assert shown["counts"] == page(client, f"/api/v1/servers/{added}/summary")["counts"]


@pytest.mark.parametrize(
    ("window", "length"),
    [
        *(("1m", MINUTE), ("90m", timedelta(minutes=90)), ("1h", timedelta(hours=1))),
        *(("30d", timedelta(days=30)), ("2w", timedelta(days=14)), ("1y", timedelta(days=365))),
    ],
)
def test_a_window_has_a_length(client: FlaskClient, window: str, length: timedelta) -> None:
    [added] = add(client, "web")
    found = page(client, f"/api/v1/servers/{added}/summary", window=window)
    assert at(found["until"]) - at(found["since"]) == length


WRONG_TIMES = ["yesterday", "2018-13-01", "", "0001-01-01T00:00:00+23:59", "0000-01-01"]
WRONG_TIMES += ["9999-12-31T23:59:59.999999-23:59", "9999-12-31", "1969-12-31", "1e9", "\u0661"]
WRONG_WINDOWS = [
    *("window=0d", "window=30", "window=-1d", "window=1000000d", "window=999999y", "window="),
    *("window=1d%0A", "window=801d", "since=2018-01-01", "until=1970-01-01"),
    "since=2018-01-02&until=2018-01-02",
    "since=2018-01-03&until=2018-01-02",
    "since=1970-01-01&until=8999-01-01",
]


def test_a_time_that_is_none_is_refused_with_its_field(client: FlaskClient) -> None:
    [added] = add(client, "web")
    parts, fields = ("pings", "series", "summary", "spells"), ("since", "until")
    for part, field, time in product(parts, fields, WRONG_TIMES):
        response = client.get(f"/api/v1/servers/{added}/{part}", query_string={field: time})
        assert problem(response) == (400, "WRONG_REQUEST", field), (part, field, time)


def test_a_window_that_holds_nothing_or_too_much_is_refused(client: FlaskClient) -> None:
    [added] = add(client, "web")
    for query in WRONG_WINDOWS:
        response = client.get(f"/api/v1/servers/{added}/summary?{query}")
        assert problem(response)[:2] == (400, "WRONG_REQUEST"), query


def test_numbers_out_of_their_range_are_refused_with_their_field(client: FlaskClient) -> None:
    [added] = add(client, "web")
    wrong = ["pings?limit=0", "pings?limit=10001", "series?points=0", "series?points=2001"]
    for query in (*wrong, "spells?limit=0", "spells?limit=10001"):
        field = query.partition("?")[2].partition("=")[0]
        response = client.get(f"/api/v1/servers/{added}/{query}")
        assert problem(response) == (400, "WRONG_REQUEST", field)


def test_a_window_at_the_ends_of_time_is_served(client: FlaskClient) -> None:
    [added] = add(client, "web")
    for since, until in (("1970-01-01", "1970-01-02"), ("8999-12-30", "8999-12-31")):
        window = {"since": since, "until": until}
        for part in ("summary", "series", "spells", "pings"):
            page(client, f"/api/v1/servers/{added}/{part}", **window)
    counts = page(client, f"/api/v1/servers/{added}/summary", **window)["counts"]
    assert counts["due"] == 0
    assert DAY_SLOTS == 1_440
