"""/api/v1/servers: listed, added, changed, removed."""

import gzip
from collections.abc import Callable
from datetime import timedelta
from itertools import product
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from core.clock import utc_now
from infra.database import Database
from tests.handlers.conftest import Rows
from tests.handlers.histories import IP, MINUTE, add, at, record, this_slot

SERVERS = "/api/v1/servers"
HUGE = 2**63


def problem(response: TestResponse) -> tuple[int, str, str | None]:
    """Return what was refused, a problem as RFC 9457 has it: the code, the word, the field."""
    assert response.content_type == "application/problem+json"
    body = response.get_json()
    assert body["status"] == response.status_code
    assert {"type", "title", "detail"} <= set(body)
    return response.status_code, body["code"], body.get("field")


def names(page: dict[str, Any]) -> list[str]:
    return [server["name"] for server in page["servers"]]


def every_page(client: FlaskClient, **query: object) -> list[str]:
    """Return the names of all pages, one after the other."""
    found, after = [], ""
    while after is not None:
        page = client.get(SERVERS, query_string=query | {"after": after}).get_json()
        found += names(page)
        after = page["next"]
    return found


# Adding


def test_a_server_is_added_and_shown(client: FlaskClient) -> None:
    response = client.post(SERVERS, json={"name": " web ", "ip": "127.0.0.2", "port": 443})
    assert response.status_code == 201
    shown = response.get_json()
    assert response.headers["Location"] == f"{SERVERS}/{shown['id']}"
    assert client.get(response.headers["Location"]).get_json() == shown
    added = at(shown.pop("added"))
    assert utc_now() - added < timedelta(minutes=5)
    assert shown == {
        "id": shown["id"],
        "name": "web",
        "ip": "127.0.0.2",
        "probe": "auto",
        "port": 443,
        "interval_s": 60,
        "enabled": True,
        "tags": [],
        "parent": None,
        "state": "unobserved",
        "new": True,
        "last_ping": None,
        "exempt": False,
        "reason": None,
        "detail": None,
        "uptime": None,
        "coverage": None,
        "counts": {"up": 0, "degraded": 0, "down": 0, "unobserved": 0, "due": 0},
        "strip": [None] * 48,
        "strip_counts": [None] * 48,
        "means_ms": [None] * 48,
    }


def test_a_server_is_added_with_an_interval_of_its_own_and_paused(client: FlaskClient) -> None:
    wanted = {"name": "web", "ip": IP, "interval_s": 300, "enabled": False, "probe": "tcp"}
    shown = client.post(SERVERS, json=wanted).get_json()
    assert {key: shown[key] for key in wanted} == wanted


WRONG_SERVERS: list[tuple[dict[str, object], str]] = [
    ({"name": ""}, "name"),
    ({"name": "  "}, "name"),
    ({"name": "a\nb"}, "name"),
    ({"name": "n" * 256}, "name"),
    ({"name": None}, "name"),
    ({"ip": "127.1"}, "ip"),
    ({"ip": "224.0.0.1"}, "ip"),
    ({"ip": "::1"}, "ip"),
    ({"ip": 2130706433}, "ip"),
    ({"port": 0}, "port"),
    ({"port": 65_536}, "port"),
    ({"port": True}, "port"),
    ({"port": 1.5}, "port"),
    ({"probe": "smoke"}, "probe"),
    ({"interval_s": 61}, "interval_s"),
    ({"interval_s": 420}, "interval_s"),
    ({"interval_s": 0}, "interval_s"),
    ({"enabled": "yes"}, "enabled"),
    ({"IP": IP}, "IP"),
]


def test_a_refusal_says_which_field_is_wrong(client: FlaskClient, rows: Callable[[], Rows]) -> None:
    before = rows()
    for change, field in WRONG_SERVERS:
        response = client.post(SERVERS, json={"name": "web", "ip": IP} | change)
        assert problem(response) == (400, "WRONG_REQUEST", field), change
    assert rows() == before


def test_a_whole_number_may_be_written_with_a_point(client: FlaskClient) -> None:
    body = b'{"name": "web", "ip": "127.0.0.1", "port": 443.0}'
    assert client.post(SERVERS, data=body).get_json()["port"] == 443


def test_a_name_is_taken_once(client: FlaskClient) -> None:
    add(client, "web")
    response = client.post(SERVERS, json={"name": "web", "ip": IP})
    assert problem(response) == (409, "NAME_ALREADY_EXIST", None)


# Changing


def test_only_what_is_said_is_changed(client: FlaskClient) -> None:
    wanted = {"name": "web", "ip": IP, "port": 443, "probe": "tcp"}
    before = client.post(SERVERS, json=wanted).get_json()
    after = client.patch(f"{SERVERS}/{before['id']}", json={"interval_s": 120}).get_json()
    assert after == before | {"interval_s": 120}


def test_a_server_is_renamed_and_keeps_its_history(client: FlaskClient, database: Database) -> None:
    [server_id] = add(client, "web")
    record(database, [server_id], this_slot(), (4, 1.5))
    response = client.patch(f"{SERVERS}/{server_id}", json={"name": "w/e..b%"})
    assert response.get_json()["name"] == "w/e..b%"
    assert len(client.get(f"{SERVERS}/{server_id}/pings").get_json()["pings"]) == 1
    assert client.get("/").get_json() == {"servers": ["w/e..b%"]}


def test_a_taken_name_is_not_given_twice(client: FlaskClient, rows: Callable[[], Rows]) -> None:
    first, _second = add(client, "web", "db")
    before = rows()
    response = client.patch(f"{SERVERS}/{first}", json={"name": "db", "ip": "127.0.0.9"})
    assert problem(response) == (409, "NAME_ALREADY_EXIST", None)
    assert rows() == before


def test_a_new_address_forgets_what_the_old_one_said(
    client: FlaskClient, database: Database
) -> None:
    [server_id] = add(client, "web")
    record(database, [server_id], this_slot(), (4, 1.5))
    assert client.get(f"{SERVERS}/{server_id}").get_json()["state"] == "up"
    after = client.patch(f"{SERVERS}/{server_id}", json={"ip": "127.0.0.9"}).get_json()
    assert (after["state"], after["last_ping"]) == ("unobserved", None)
    assert after["counts"]["up"] == 1


def test_a_port_is_taken_away_with_null(client: FlaskClient) -> None:
    shown = client.post(SERVERS, json={"name": "web", "ip": IP, "port": 443}).get_json()
    assert client.patch(f"{SERVERS}/{shown['id']}", json={"port": None}).get_json()["port"] is None


def test_tags_and_parent_are_given_changed_and_taken_away(client: FlaskClient) -> None:
    [switch] = add(client, "switch-1")
    wanted = {"name": "web", "ip": IP, "tags": ["Web", "eu", "web"], "parent": "switch-1"}
    shown = client.post(SERVERS, json=wanted).get_json()
    assert (shown["tags"], shown["parent"]) == (["eu", "web"], "switch-1")
    where = f"{SERVERS}/{shown['id']}"
    client.patch(f"{SERVERS}/{switch}", json={"name": "switch-2", "tags": ["net"]})
    assert client.get(where).get_json()["parent"] == "switch-2"
    for change in ({"tags": ["us"]}, {"tags": []}, {"parent": None}):
        shown |= client.patch(where, json=change).get_json()
        assert {key: shown[key] for key in change} == change
    client.patch(where, json={"parent": "switch-2"})
    gone = client.delete(f"{SERVERS}/{switch}").get_json()
    assert gone == {"status": "DELETED", "children": 1}
    assert client.get(where).get_json()["parent"] is None


def test_a_tag_finds_whoever_has_it(client: FlaskClient) -> None:
    for name, tags in (("a", ["web", "eu"]), ("b", ["web-2"]), ("c", ["web"])):
        client.post(SERVERS, json={"name": name, "ip": IP, "tags": tags})
    for tag, found in (("web", "ac"), ("WEB", "ac"), ("web-2", "b"), ("we", ""), ("%", "")):
        page = client.get(SERVERS, query_string={"tag": tag}).get_json()
        assert "".join(server["name"] for server in page["servers"]) == found
        assert sum(page["totals"].values()) == len(found)
    page = client.get(SERVERS, query_string={"tag": "web", "limit": 1}).get_json()
    further = client.get(SERVERS, query_string={"tag": "web", "after": page["next"]}).get_json()
    assert [server["name"] for server in further["servers"]] == ["c"]


@pytest.mark.parametrize(
    "tag",
    [
        "<img src=x onerror=alert(1)>",
        "a'b",
        'a"b',
        "\u202ea",
        "a\0",
        "w\u0435b",
        "K\u212a",
        "a\n",
        "%",
    ],
)
def test_a_hostile_tag_is_refused_by_name(
    client: FlaskClient, rows: Callable[[], Rows], tag: str
) -> None:
    before = rows()
    response = client.post(SERVERS, json={"name": "web", "ip": IP, "tags": ["fine", tag]})
    assert problem(response) == (400, "WRONG_REQUEST", "tags")
    assert rows() == before


def test_a_paused_server_is_unobserved(client: FlaskClient, database: Database) -> None:
    [server_id] = add(client, "web")
    record(database, [server_id], this_slot(), (4, 1.5))
    paused = client.patch(f"{SERVERS}/{server_id}", json={"enabled": False}).get_json()
    assert (paused["enabled"], paused["state"]) == (False, "unobserved")


# Removing, and what isn't there


def test_a_server_goes_with_all_its_rows(
    client: FlaskClient, database: Database, rows: Callable[[], Rows]
) -> None:
    [server_id] = add(client, "web")
    record(database, [server_id], this_slot(), (4, 1.5))
    gone = {"status": "DELETED", "children": 0}
    assert client.delete(f"{SERVERS}/{server_id}").get_json() == gone
    assert {name: len(rows()[name]) for name in ("server", "schedule", "data", "day")} == {
        "server": 0,
        "schedule": 0,
        "data": 0,
        "day": 0,
    }


CALLS_BY_ID = [
    *(("GET", ""), ("PATCH", ""), ("DELETE", "")),
    *(("GET", "/pings"), ("GET", "/series"), ("GET", "/summary"), ("POST", "/ping")),
]


def test_an_id_that_nobody_has_is_not_found(client: FlaskClient) -> None:
    for server_id, (method, path) in product([0, 1, HUGE - 1, HUGE, 10**40], CALLS_BY_ID):
        response = client.open(f"{SERVERS}/{server_id}{path}", method=method, json={})
        assert problem(response) == (404, "NAME_DID_NOT_FOUND", None), (method, server_id, path)


def test_what_is_no_id_is_no_route(client: FlaskClient) -> None:
    for server_id in ("-1", "web", "1.5", "", "1/", "%31x"):
        assert problem(client.get(f"{SERVERS}/{server_id}"))[0] == 404


# The list


def test_the_list_tells_how_the_fleet_stands(client: FlaskClient, database: Database) -> None:
    up, degraded, down, _unseen, late = add(client, "up", "degraded", "down", "unseen", "late")
    now = this_slot()
    record(database, [late], now - 5 * MINUTE, (4, 9.0))
    record(database, [up], now, (4, 1.5))
    record(database, [degraded], now, (3, 2.5))
    record(database, [down], now, (0, None))
    page = client.get(SERVERS).get_json()
    assert {server["name"]: server["state"] for server in page["servers"]} == {
        "up": "up",
        "degraded": "degraded",
        "down": "down",
        "unseen": "unobserved",
        "late": "unobserved",
    }
    assert page["totals"] == {"up": 1, "degraded": 1, "down": 1, "unobserved": 2}
    assert at(page["last_round"]) == now
    first = page["servers"][0]
    assert at(first.pop("last_ping")["slot"]) == now
    assert (first["uptime"], first["counts"]["up"], first["strip"][-1]) == (1.0, 1, "up")


def test_an_empty_fleet_is_a_page_too(client: FlaskClient) -> None:
    assert client.get(SERVERS).get_json() == {
        "servers": [],
        "totals": {"up": 0, "degraded": 0, "down": 0, "unobserved": 0},
        "paused": 0,
        "new": 0,
        "last_round": None,
        "next": None,
    }


SEARCHES = [
    ("WEB", ["web-1", "Web 2"]),
    ("%", ["50%"]),
    ("_", ["a_b"]),
    ("127.0.0.7", ["by address"]),
    ("\\", []),
    ("nobody", []),
    ("", ["web-1", "Web 2", "50%", "a_b", "by address"]),
]


def test_search_looks_into_names_and_addresses_literally(client: FlaskClient) -> None:
    add(client, "web-1", "Web 2", "50%", "a_b")
    add(client, "by address", ip="127.0.0.7")
    for search, found in SEARCHES:
        page = client.get(SERVERS, query_string={"search": search}).get_json()
        assert (names(page), sum(page["totals"].values())) == (found, len(found)), search


def test_a_name_finds_its_id_whatever_is_in_it(client: FlaskClient) -> None:
    strange = "a/../b%2F c"
    _, wanted, _ = add(client, "a", strange, f"{strange}!")
    page = client.get(SERVERS, query_string={"name": strange}).get_json()
    assert [server["id"] for server in page["servers"]] == [wanted]


def test_paused_and_new_servers_are_told_from_those_that_nobody_looked_at(
    client: FlaskClient, database: Database
) -> None:
    _new, paused, seen = add(client, "new", "paused", "seen")
    client.patch(f"{SERVERS}/{paused}", json={"enabled": False})
    record(database, [seen], this_slot() - 9 * MINUTE, (4, 1.0))
    page = client.get(SERVERS).get_json()
    assert (page["totals"]["unobserved"], page["paused"], page["new"]) == (3, 1, 1)
    for query, name in [
        ("new=true", "new"),
        ("enabled=false", "paused"),
        ("state=unobserved&enabled=true&new=false", "seen"),
    ]:
        assert names(client.get(f"{SERVERS}?{query}").get_json()) == [name], query


def test_totals_count_also_what_another_state_hides(
    client: FlaskClient, database: Database
) -> None:
    first, second, _third = add(client, "web 1", "web 2", "db")
    record(database, [first], this_slot(), (4, 1.0))
    record(database, [second], this_slot(), (0, None))
    page = client.get(SERVERS, query_string={"search": "web", "state": "down"}).get_json()
    assert names(page) == ["web 2"]
    assert page["totals"] == {"up": 1, "degraded": 0, "down": 1, "unobserved": 0}


ORDERS = {
    "added": ["c", "a", "d", "b"],
    "name": ["a", "b", "c", "d"],
    "state": ["a", "b", "d", "c"],
    "response_ms": ["c", "b", "a", "d"],
}


def test_pages_hold_every_server_once_in_each_order(
    client: FlaskClient, database: Database
) -> None:
    up, down, _unseen, degraded = add(client, "c", "a", "d", "b")
    record(database, [up], this_slot(), (4, 1.5))
    record(database, [down], this_slot(), (0, None))
    record(database, [degraded], this_slot(), (1, 10.25))
    for (sort, order), limit in product(ORDERS.items(), [1, 2, 3, 1000]):
        assert every_page(client, sort=sort, limit=limit) == order
        assert every_page(client, sort=f"-{sort}", limit=limit) == order[::-1]


def test_a_page_goes_on_where_it_ended_though_a_server_went(client: FlaskClient) -> None:
    _, second, _ = add(client, "a", "b", "c")
    first = client.get(SERVERS, query_string={"sort": "name", "limit": 2}).get_json()
    client.delete(f"{SERVERS}/{second}")
    rest = {"sort": "name", "limit": 2, "after": first["next"]}
    assert names(client.get(SERVERS, query_string=rest).get_json()) == ["c"]


WRONG_QUERIES: list[tuple[str, str | None]] = [
    ("limit=0", "limit"),
    ("limit=1001", "limit"),
    ("limit=x", "limit"),
    ("limit=1&limit=2", "limit"),
    ("sort=age", "sort"),
    ("state=asleep", "state"),
    ("after=x", "after"),
    ("after=1:x&sort=state", "after"),
    (f"after={HUGE}:1", "after"),
    (f"after=1:{HUGE}", "after"),
    ("after=1:nan&sort=response_ms", "after"),
    ("search=%00", "search"),
    ("search=%0A", "search"),
    ("search=%ff", None),
    ("colour=red", "colour"),
]


def test_a_query_that_is_wrong_says_where(client: FlaskClient) -> None:
    for query, field in WRONG_QUERIES:
        response = client.get(f"{SERVERS}?{query}")
        assert problem(response) == (400, "WRONG_REQUEST", field), query


# Replies


def test_what_has_not_changed_is_not_sent_again(client: FlaskClient) -> None:
    [server_id] = add(client, "web")
    for path in (SERVERS, f"{SERVERS}/{server_id}", f"{SERVERS}/{server_id}/pings"):
        first = client.get(path)
        again = client.get(path, headers={"If-None-Match": first.headers["ETag"]})
        assert (again.status_code, again.data) == (304, b"")
        assert again.headers["Cache-Control"] == "private, no-cache"
    client.patch(f"{SERVERS}/{server_id}", json={"name": "changed"})
    later = client.get(path.removesuffix("/pings"), headers={"If-None-Match": 'W/"x"'})
    assert later.status_code == 200


def test_large_replies_are_compressed_for_those_who_take_them_so(client: FlaskClient) -> None:
    add(client, *(f"server {number}" for number in range(20)))
    plain = client.get(SERVERS)
    packed = client.get(SERVERS, headers={"Accept-Encoding": "gzip"})
    assert packed.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(packed.data) == plain.data
    assert len(packed.data) < len(plain.data) / 5
    assert "Content-Encoding" not in plain.headers
    for response in (plain, packed):
        assert "Accept-Encoding" in response.headers["Vary"]
        assert response.headers["ETag"] == plain.headers["ETag"]
        assert int(response.headers["Content-Length"]) == len(response.data)


def test_who_does_not_take_gzip_gets_none(client: FlaskClient) -> None:
    add(client, *(f"server {number}" for number in range(20)))
    for accepted in ("", "identity", "gzip;q=0", "br"):
        response = client.get(SERVERS, headers={"Accept-Encoding": accepted})
        assert "Content-Encoding" not in response.headers
        assert len(response.get_json()["servers"]) == 20


def test_small_replies_leave_as_they_are(client: FlaskClient) -> None:
    response = client.get("/", headers={"Accept-Encoding": "gzip"})
    assert response.data == b'{"servers":[]}\n'
    assert "Accept-Encoding" not in response.headers.get("Vary", "")
