"""POST /api/v1/servers/bulk: many servers in one call, each with a result of its own."""

from collections.abc import Callable
from typing import Any

from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import update

from core.models import Server
from core.servers import find
from core.servers.change import AT_ONCE
from infra.database import Database
from tests.handlers.conftest import Rows
from tests.handlers.histories import IP, add, record, this_slot
from tests.infra.databases import away_after_the_first, no_address_twice

BULK = "/api/v1/servers/bulk"
LIMIT = 1_000_000


def put(client: FlaskClient, *wanted: object, upsert: bool = False) -> list[dict[str, Any]]:
    """Return the results."""
    response = client.post(BULK, json={"servers": wanted, "upsert": upsert})
    assert response.status_code == 200
    results: list[dict[str, Any]] = response.get_json()["results"]
    return results


def words(results: list[dict[str, Any]]) -> list[str]:
    return [result["status"] for result in results]


def test_each_server_has_its_own_result(client: FlaskClient) -> None:
    add(client, "there")
    results = put(
        client,
        {"name": "new", "ip": IP},
        {"name": "there", "ip": IP},
        {"name": "new", "ip": "127.0.0.9"},
        {"name": "no address"},
        {"name": "", "ip": IP},
        {"name": "wrong address", "ip": "127.1"},
        {"name": "multicast", "ip": "224.0.0.1"},
        {"name": "odd", "ip": IP, "interval_s": 7},
        {"name": "unknown key", "ip": IP, "colour": "red"},
        {"name": " last ", "ip": IP, "port": 443, "interval_s": 300, "enabled": False},
    )
    assert [(result["status"], result.get("field")) for result in results] == [
        ("CREATED", None),
        ("NAME_ALREADY_EXIST", "name"),
        ("NAME_ALREADY_EXIST", "name"),
        ("WRONG_REQUEST", "ip"),
        ("WRONG_REQUEST", "name"),
        ("WRONG_REQUEST", "ip"),
        ("WRONG_REQUEST", "ip"),
        ("WRONG_REQUEST", "interval_s"),
        ("WRONG_REQUEST", "colour"),
        ("CREATED", None),
    ]
    assert client.get("/").get_json() == {"servers": ["there", "new", "last"]}
    last = client.get(f"/api/v1/servers/{results[-1]['id']}").get_json()
    assert (last["port"], last["interval_s"], last["enabled"]) == (443, 300, False)


def test_a_parent_may_come_in_a_later_portion(client: FlaskClient) -> None:
    others = [{"name": f"web {number}", "ip": IP, "parent": "rack"} for number in range(AT_ONCE)]
    last = [{"name": "rack", "ip": IP, "parent": "switch"}, {"name": "switch", "ip": IP}]
    odd = {"name": "odd", "ip": IP, "parent": "ghost"}
    *results, refused = put(client, *others, *last, odd)
    assert set(words(results)) == {"CREATED"}
    assert refused == {
        "status": "WRONG_REQUEST",
        "detail": "parent must be a server that exists, got 'ghost'",
        "field": "parent",
    }
    for result, parent in ((results[0], "rack"), (results[-2], "switch"), (results[-1], None)):
        assert client.get(f"/api/v1/servers/{result['id']}").get_json()["parent"] == parent


def test_an_upsert_changes_what_is_said_and_nothing_else(client: FlaskClient) -> None:
    first = {"name": "web", "ip": IP, "port": 443, "probe": "tcp", "interval_s": 300}
    [made] = put(client, first)
    before = client.get(f"/api/v1/servers/{made['id']}").get_json()
    again = put(client, {"name": "web", "ip": IP}, {"name": "db", "ip": IP}, upsert=True)
    assert words(again) == ["UNCHANGED", "CREATED"]
    assert client.get(f"/api/v1/servers/{made['id']}").get_json() == before
    for change in (
        *({"port": None}, {"probe": "icmp"}, {"interval_s": 60}, {"enabled": False}),
        *({"tags": ["eu", "web"]}, {"tags": ["us"]}, {"parent": "db"}, {"parent": None}),
        *({"tags": []}, {"tags": ["last"]}),
    ):
        assert put(client, {"name": "web", "ip": IP} | change, upsert=True) == [
            {"status": "UPDATED", "id": made["id"]}
        ]
        before |= change
    shown = client.get(f"/api/v1/servers/{made['id']}").get_json()
    assert shown == before | {"counts": shown["counts"], "new": False}  # it is paused


def test_an_upsert_to_a_new_address_forgets_what_the_old_one_said(
    client: FlaskClient, database: Database
) -> None:
    moved, stays = add(client, "moved", "stays")
    record(database, [moved, stays], this_slot(), (4, 1.5))
    wanted = [{"name": "moved", "ip": "127.0.0.9"}, {"name": "stays", "ip": IP, "port": 80}]
    assert words(put(client, *wanted, upsert=True)) == ["UPDATED", "UPDATED"]
    states = {
        one["id"]: one["state"] for one in client.get("/api/v1/servers").get_json()["servers"]
    }
    assert states == {moved: "unobserved", stays: "up"}


def test_servers_of_a_bulk_are_due_at_once_and_in_their_order(
    client: FlaskClient, database: Database
) -> None:
    names = [f"server {number}" for number in (3, 1, 2)]
    ids = add(client, *names)
    assert client.get("/").get_json() == {"servers": names}
    with database.reading() as session:
        assert [target.server_id for target in find.targets(session, this_slot())] == ids


def test_ten_thousand_servers_fit_into_one_call(client: FlaskClient) -> None:
    wanted = [
        {"name": f"server-{number:05}", "ip": f"127.1.{number % 250}.9"} for number in range(10_000)
    ]
    body = {"servers": wanted, "upsert": True}
    response = client.post(BULK, json=body)
    assert words(response.get_json()["results"]) == ["CREATED"] * 10_000
    assert int(response.request.headers["Content-Length"]) < LIMIT
    again = client.post(BULK, json=body).get_json()["results"]
    assert words(again) == ["UNCHANGED"] * 10_000
    assert len(client.get("/").get_json()["servers"]) == 10_000


COMPOSED, APART = "caf\u00e9", "cafe\u0301"


def web(count: int) -> list[dict[str, str]]:
    return [{"name": f"web {number}", "ip": IP} for number in range(count)]


def test_of_who_exists_no_parent_is_wanted_without_upsert_however_long_the_list(
    client: FlaskClient,
) -> None:
    add(client, "switch")
    itself = {"name": "switch", "ip": IP, "parent": "switch"}
    first, *others = put(client, itself, *web(AT_ONCE + 1))
    assert first["status"] == "NAME_ALREADY_EXIST"
    assert words(others) == ["CREATED"] * (AT_ONCE + 1)


def test_the_answer_of_the_list_is_a_list(client: FlaskClient) -> None:
    add(client, "web", "db")
    told = client.get("/api/v1/servers").get_data(as_text=True)
    assert words(put_list(client, told, "?upsert=true")) == ["UNCHANGED"] * 2


def test_what_was_put_before_the_database_went_away_is_told(
    app: Flask, client: FlaskClient
) -> None:
    wanted = [
        *web(AT_ONCE),
        {"name": "late", "ip": IP},
        {"name": "odd"},
        {"name": "last", "ip": IP},
    ]
    with away_after_the_first(app.extensions["pinglet"].database):
        *stored, late, odd, last = put(client, *wanted)
    assert words(stored) == ["CREATED"] * AT_ONCE
    assert words([late, odd, last]) == [
        *("SERVICE_UNAVAILABLE", "WRONG_REQUEST", "SERVICE_UNAVAILABLE")
    ]
    told = "the database went away: only 2,000 servers of the request were put"
    assert late["detail"] == told
    assert len(client.get("/").get_json()["servers"]) == AT_ONCE
    assert words(put(client, *wanted)[-3:]) == ["CREATED", "WRONG_REQUEST", "CREATED"]


def test_what_was_put_before_a_fault_of_ours_is_told(app: Flask, client: FlaskClient) -> None:
    wanted = [
        {"name": f"web {number}", "ip": f"127.0.{number // 250}.{1 + number % 250}"}
        for number in range(AT_ONCE)
    ]
    with no_address_twice(app.extensions["pinglet"].database):
        *stored, last = put(client, *wanted, {"name": "last", "ip": "127.0.0.1"})
    assert words(stored) == ["CREATED"] * AT_ONCE
    told = "Pinglet failed; its log says why: only 2,000 servers of the request were put"
    assert last == {"status": "SERVICE_UNAVAILABLE", "detail": told}
    assert len(client.get("/").get_json()["servers"]) == AT_ONCE


def test_where_nothing_was_put_the_whole_is_unavailable(app: Flask, client: FlaskClient) -> None:
    add(client, "there")
    with away_after_the_first(app.extensions["pinglet"].database):
        response = client.post(BULK, json={"servers": web(AT_ONCE + 1)})
    assert (response.status_code, response.headers["Retry-After"]) == (503, "5")


def test_a_name_is_one_in_both_spellings_however_far_apart_they_stand(client: FlaskClient) -> None:
    wanted = [
        {"name": COMPOSED, "ip": IP},
        *web(AT_ONCE),
        {"name": APART, "ip": "127.0.0.9"},
    ]
    first, *others, second = put(client, *wanted, upsert=True)
    assert words([first, second]) == ["CREATED", "NAME_ALREADY_EXIST"]
    assert second["detail"] == "this name appears twice in the request"
    assert words(others) == ["CREATED"] * AT_ONCE
    assert client.get(f"/api/v1/servers/{first['id']}").get_json()["ip"] == IP


def test_servers_from_before_that_have_both_spellings_are_both_put(
    client: FlaskClient, database: Database
) -> None:
    ids = add(client, "older", "newer")
    with database.transaction() as session:
        for server_id, name in zip(ids, (APART, COMPOSED), strict=True):
            session.execute(update(Server).where(Server.id == server_id).values(name=name))
    wanted = [{"name": APART, "ip": IP}, *web(AT_ONCE), {"name": COMPOSED, "ip": "127.0.0.9"}]
    first, *_others, last = put(client, *wanted, upsert=True)
    assert [(one["status"], one["id"]) for one in (first, last)] == [
        ("UNCHANGED", ids[0]),
        ("UPDATED", ids[1]),
    ]


def test_an_empty_bulk_does_nothing(client: FlaskClient, rows: Callable[[], Rows]) -> None:
    before = rows()
    assert put(client) == []
    assert put(client, {}, upsert=True)[0]["status"] == "WRONG_REQUEST"
    assert rows() == before


def test_what_is_no_list_of_objects_is_refused_as_a_whole(client: FlaskClient) -> None:
    for wrong in ("web", [1], [["web", IP]], {"web": IP}, None, [{}] * 10_001):
        response = client.post(BULK, json={"servers": wrong})
        assert (response.status_code, response.get_json()["code"]) == (400, "WRONG_REQUEST"), wrong
        assert response.get_json()["field"].startswith("servers")


# A list, as people bring it

LIST = """\
# ours
name;ip;port;enabled
new;127.0.0.7;443;no
there;127.0.0.8
odd;127.0.0.9;70000
multicast;224.0.0.1
"""
REFUSED = [
    {
        "status": "WRONG_REQUEST",
        "detail": "port must be 1 to 65535, got 70000",
        "field": "port",
        "place": "line 5",
        "text": "odd;127.0.0.9;70000",
    },
    {
        "status": "WRONG_REQUEST",
        "detail": "224.0.0.1 is multicast and can't be watched",
        "field": "ip",
        "place": "line 6",
        "text": "multicast;224.0.0.1",
    },
]


def put_list(client: FlaskClient, text: str, query: str = "") -> list[dict[str, Any]]:
    """Return the results."""
    response = client.post(f"{BULK}{query}", data=text, content_type="text/csv; charset=utf-8")
    assert response.status_code == 200
    results: list[dict[str, Any]] = response.get_json()["results"]
    return results


def test_a_list_in_csv_says_what_is_wrong_on_which_line(client: FlaskClient) -> None:
    [there] = add(client, "there")
    new, taken, *refused = put_list(client, LIST)
    assert (new["status"], list(new)) == ("CREATED", ["status", "id"])
    assert (taken["status"], taken["place"]) == ("NAME_ALREADY_EXIST", "line 4")
    assert taken["text"] == "there;127.0.0.8"
    assert refused == REFUSED
    shown = client.get(f"/api/v1/servers/{new['id']}").get_json()
    assert (shown["port"], shown["enabled"]) == (443, False)
    line = LIST.splitlines()[2]
    same = {"status": "UNCHANGED", "id": new["id"], "place": "line 3", "text": line}
    moved = {"status": "UPDATED", "id": there}
    assert put_list(client, LIST, "?upsert=true") == [same, moved, *REFUSED]


def test_a_list_may_be_json_in_any_form(client: FlaskClient) -> None:
    results = put_list(client, '[{"server": "web", "address": "127.0.0.7"}, {"name": "db"}]')
    assert words(results) == ["CREATED", "WRONG_REQUEST"]
    assert (results[1]["place"], results[1]["text"]) == ("server 2", '{"name": "db"}')


def test_what_is_no_list_is_refused_in_one_sentence(client: FlaskClient) -> None:
    response = client.post(BULK, data="It was a dark night", content_type="text/csv")
    assert response.status_code == 400
    sentence = "expected JSON, or lines such as web,192.0.2.10, got 'It was a dark night'"
    assert response.get_json()["detail"] == sentence


def test_an_upsert_may_be_asked_for_in_the_query_by_whatever_form(client: FlaskClient) -> None:
    add(client, "web")
    body = {"servers": [{"name": "web", "ip": "127.0.0.9"}]}
    response = client.post(f"{BULK}?upsert=true", json=body)
    assert words(response.get_json()["results"]) == ["UPDATED"]
    assert client.post(f"{BULK}?upset=true", json=body).get_json()["field"] == "upset"
