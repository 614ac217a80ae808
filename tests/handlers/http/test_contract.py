"""The calls at `/`: their answers, to the letter."""

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import pytest
from flask.testing import FlaskClient
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select

from core.checks.records import Probe
from core.errors import WrongRequest
from core.history.records import HistoryRequest
from core.models import Server
from core.servers.records import BulkServer
from handlers.http.contract import history_wanted, name_wanted, server_wanted
from infra.database import Database
from tests.handlers.calls import (
    CREATED,
    DELETED,
    TAKEN,
    UNKNOWN,
    UPDATED,
    WRONG,
    named,
    names,
    pair,
    server,
    slot_text,
    told,
)
from tests.handlers.conftest import Rows

pytestmark = pytest.mark.driver

NOON = datetime(2018, 1, 2, 12, tzinfo=UTC)
PAGE = 1_440
Pinged = Callable[..., None]

NAMES = [
    "google_dns",
    "/",
    "..",
    "../../etc/passwd",
    "100%",
    "%2F%00",
    "a&server=b",
    "a+b",
    "two words",
    "a;b",
    "#1",
    "?server=x",
    '"quoted"',
    "it's",
    "back\\slash",
    "<script>alert(1)</script>",
    "' OR 1=1; --",
    '{"server": "x"}',
    "null",
    "0",
    "🛰️",
    "👩‍👩‍👧‍👦",
    "שרת ראשי",
    "right to left \u05e9\u05e8\u05ea",
    "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",
    "caf\u00e9",
    "line\u2028separator",
    "x" * 255,
    "🛰" * 255,
]


def row_of(database: Database, name: str) -> Server:
    with database.reading() as session:
        found = session.scalars(select(Server).where(Server.name == name)).one()
        session.expunge(found)
        return found


def test_there_are_no_servers_at_first(client: FlaskClient) -> None:
    assert told(client.get("/")) == (200, b'{"servers":[]}\n')


def test_a_server_is_added(client: FlaskClient, database: Database) -> None:
    body = b'{"server": {"name": "google_dns", "IP": "8.8.8.8"}}'
    assert told(client.post("/", data=body)) == CREATED
    assert told(client.get("/")) == (200, b'{"servers":["google_dns"]}\n')
    assert row_of(database, "google_dns").ip == "8.8.8.8"


def test_a_second_server_of_the_same_name_is_refused(
    client: FlaskClient, rows: Callable[[], Rows]
) -> None:
    client.post("/", data=server("web", "127.0.0.1"))
    before = rows()
    assert told(client.post("/", data=server("web", "127.0.0.2"))) == TAKEN
    assert told(client.post("/", data=server("  web ", "127.0.0.1"))) == TAKEN
    assert rows() == before


def test_names_differ_by_case_but_not_by_composition(client: FlaskClient) -> None:
    for name in ("web", "WEB", "cafe\u0301"):
        assert told(client.post("/", data=server(name))) == CREATED
    for name in ("caf\u00e9", "cafe\u0301"):
        assert told(client.post("/", data=server(name))) == TAKEN
        assert client.get("/", query_string={"server": name}).get_json()["server"] == "caf\u00e9"
    assert names(client) == ["web", "WEB", "caf\u00e9"]


def test_a_servers_address_is_changed(client: FlaskClient, database: Database) -> None:
    client.post("/", data=server("web", "127.0.0.1"))
    assert told(client.put("/", data=server("web", "127.0.0.2"))) == UPDATED
    assert row_of(database, "web").ip == "127.0.0.2"
    assert told(client.put("/", data=server("web", "127.0.0.2"))) == UPDATED
    assert names(client) == ["web"]


def test_the_address_of_a_server_nobody_knows_is_not_changed(client: FlaskClient) -> None:
    assert told(client.put("/", data=server("web"))) == UNKNOWN
    assert names(client) == []


def test_a_new_address_keeps_the_history(client: FlaskClient, pinged: Pinged) -> None:
    client.post("/", data=server("web"))
    pinged("web", 3)
    client.put("/", data=server("web", "127.0.0.9"))
    body = client.get("/", query_string={"server": "web"}).get_json()
    assert body["pings"] == [pair(0), pair(1), pair(2)]


def test_a_server_is_removed_with_its_rows_in_every_table(
    client: FlaskClient, pinged: Pinged, rows: Callable[[], Rows]
) -> None:
    empty = rows()
    client.post("/", data=server("web"))
    pinged("web", 3)
    assert rows() != empty
    assert told(client.delete("/", data=named("web"))) == DELETED
    assert rows() == empty
    assert told(client.delete("/", data=named("web"))) == UNKNOWN


def test_a_removed_server_takes_no_other_along(client: FlaskClient, pinged: Pinged) -> None:
    for name in ("web", "mail"):
        client.post("/", data=server(name))
        pinged(name, 1)
    client.delete("/", data=named("web"))
    body = client.get("/", query_string={"server": "mail"}).get_json()
    assert body == {"server": "mail", "pings": [pair(0)]}


def test_a_name_that_comes_back_has_no_history(client: FlaskClient, pinged: Pinged) -> None:
    client.post("/", data=server("web"))
    pinged("web", 2)
    client.delete("/", data=named("web"))
    client.post("/", data=server("web"))
    body = client.get("/", query_string={"server": "web"}).get_json()
    assert body == {"server": "web", "pings": []}


def test_servers_are_listed_in_order_of_creation(client: FlaskClient) -> None:
    for name in ("zebra", "ape", "Monkey", "ant"):
        client.post("/", data=server(name))
    client.put("/", data=server("zebra", "127.0.0.3"))
    assert names(client) == ["zebra", "ape", "Monkey", "ant"]
    client.delete("/", data=named("ape"))
    client.post("/", data=server("ape"))
    assert names(client) == ["zebra", "Monkey", "ant", "ape"]


def test_pings_are_one_pair_objects_oldest_first(client: FlaskClient, pinged: Pinged) -> None:
    client.post("/", data=server("google_dns"))
    pinged("google_dns", 2, first=1)
    pinged("google_dns", 1)
    expected = (
        b'{"server":"google_dns","pings":[{"2018-01-02T07:01:00Z":0.0},'
        b'{"2018-01-02T07:02:00Z":0.25},{"2018-01-02T07:03:00Z":null}]}\n'
    )
    assert told(client.get("/", data=named("google_dns"))) == (200, expected)
    assert told(client.get("/?server=google_dns")) == (200, expected)
    assert told(client.get("/?server=google_dns", data=named("google_dns"))) == (200, expected)


def test_a_server_without_pings_has_an_empty_list(client: FlaskClient) -> None:
    client.post("/", data=server("web"))
    assert told(client.get("/?server=web")) == (200, b'{"server":"web","pings":[]}\n')
    assert "Link" not in client.get("/?server=web").headers


def test_the_pings_of_a_server_nobody_knows_are_not_found(client: FlaskClient) -> None:
    client.post("/", data=server("web"))
    assert told(client.get("/", data=named("mail"))) == UNKNOWN
    assert told(client.get("/?server=mail")) == UNKNOWN


def test_body_and_query_must_name_the_same_server(client: FlaskClient) -> None:
    for name in ("web", "mail"):
        client.post("/", data=server(name))
    assert told(client.get("/?server=web", data=named("mail"))) == WRONG
    assert client.get("/?server=web", data=named(" web ")).status_code == 200
    assert client.get("/?server=%20web+", data=named("web")).status_code == 200


@pytest.mark.parametrize("name", NAMES)
def test_any_printable_name_goes_through_all_calls(client: FlaskClient, name: str) -> None:
    assert told(client.post("/", data=server(name))) == CREATED
    assert told(client.post("/", data=server(name))) == TAKEN
    assert names(client) == [name]
    expected = {"server": name, "pings": []}
    assert client.get("/", data=named(name)).get_json() == expected
    assert client.get(f"/?server={quote(name, safe='')}").get_json() == expected
    assert told(client.put("/", data=server(name, "127.0.0.2"))) == UPDATED
    assert told(client.delete("/", data=named(name))) == DELETED


def test_a_name_may_arrive_unescaped(client: FlaskClient) -> None:
    body = '{"server": {"name": "שרת 🛰️", "IP": "127.0.0.1"}}'.encode()
    assert told(client.post("/", data=body)) == CREATED
    assert names(client) == ["שרת 🛰️"]


@pytest.mark.parametrize("blank", [" ", "   ", "\u00a0", "\u3000", "\u2003 "])
def test_blanks_around_a_name_are_trimmed(client: FlaskClient, blank: str) -> None:
    name = f"{blank}my web{blank}"
    assert told(client.post("/", data=server(name))) == CREATED
    assert names(client) == ["my web"]
    assert client.get("/", query_string={"server": name}).get_json()["server"] == "my web"
    assert told(client.put("/", data=server(name))) == UPDATED
    assert told(client.delete("/", data=named(name))) == DELETED


def test_255_characters_are_counted_after_trimming(client: FlaskClient) -> None:
    assert told(client.post("/", data=server(" " * 300 + "x" * 255 + " " * 300))) == CREATED
    assert names(client) == ["x" * 255]
    assert told(client.post("/", data=server("x" * 256))) == WRONG


@pytest.mark.parametrize(("how", "port"), [("auto", 1), ("icmp", 443), ("tcp", 65_535)])
def test_a_server_may_say_how_it_is_probed(
    client: FlaskClient, database: Database, how: str, port: int
) -> None:
    assert told(client.post("/", data=server("web", probe=how, port=port))) == CREATED
    added = row_of(database, "web")
    assert (added.probe, added.port) == (how, port)


def test_what_a_change_leaves_out_stays(client: FlaskClient, database: Database) -> None:
    client.post("/", data=server("web", probe="tcp", port=443))
    client.put("/", data=server("web", "127.0.0.2"))
    changed = row_of(database, "web")
    assert (changed.ip, changed.probe, changed.port) == ("127.0.0.2", "tcp", 443)
    client.put("/", data=server("web", "127.0.0.2", probe="icmp", port=80))
    changed = row_of(database, "web")
    assert (changed.probe, changed.port) == ("icmp", 80)


def test_keys_may_stand_in_any_order(client: FlaskClient) -> None:
    body = b'{"server":{"port":80,"IP":"127.0.0.1","probe":"tcp","name":"web"}}'
    assert told(client.post("/", data=body)) == CREATED


CONTENT_TYPES = [
    "",
    "application/json",
    "text/plain",
    "text/html",
    "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=x",
    "application/json; charset=utf-16",
    "nonsense",
    ";;;=",
]


@pytest.mark.parametrize("content_type", CONTENT_TYPES)
def test_what_a_body_is_depends_on_nothing_but_itself(
    client: FlaskClient, content_type: str
) -> None:
    headers = {"Content-Type": content_type} if content_type else {}
    assert told(client.post("/", data=server("web"), headers=headers)) == CREATED
    assert told(client.put("/", data=server("web"), headers=headers)) == UPDATED
    assert client.get("/", data=named("web"), headers=headers).get_json()["server"] == "web"
    assert told(client.delete("/", data=named("web"), headers=headers)) == DELETED
    for method in ("POST", "PUT", "DELETE", "GET"):
        assert told(client.open("/", method=method, data=b"a=b", headers=headers)) == WRONG


# Pages


def link(response: Any) -> tuple[str, str]:
    """Return the target and the relation of a reply's only link, two empty texts without one."""
    match = re.fullmatch(r'<(/\?[!-~]+)>; rel="(\w+)"', response.headers.get("Link", ""))
    return (match[1], match[2]) if match else ("", "")


def walk(client: FlaskClient, url: str, relation: str) -> Iterator[list[dict[str, Any]]]:
    """Follow the links from `url` to the end; yield each page's pings."""
    while url:
        response = client.get(url)
        assert response.status_code == 200
        yield response.get_json()["pings"]
        url, found = link(response)
        assert found in ("", relation)


def test_without_since_come_the_newest_1440_and_links_lead_back_to_the_first(
    client: FlaskClient, pinged: Pinged
) -> None:
    client.post("/", data=server("web"))
    pinged("web", 2 * PAGE + 7)
    pages = list(walk(client, "/?server=web", "prev"))
    assert [len(page) for page in pages] == [PAGE, PAGE, 7]
    assert [p for page in reversed(pages) for p in page] == [pair(n) for n in range(2 * PAGE + 7)]


def test_since_and_limit_lead_forward_to_the_last_ping(client: FlaskClient, pinged: Pinged) -> None:
    client.post("/", data=server("web"))
    pinged("web", 100)
    pages = list(walk(client, f"/?server=web&since={slot_text(5)}&limit=30", "next"))
    assert [len(page) for page in pages] == [30, 30, 30, 5]
    assert [p for page in pages for p in page] == [pair(n) for n in range(5, 100)]


def test_a_limit_holds_on_the_way_back_too(client: FlaskClient, pinged: Pinged) -> None:
    client.post("/", data=server("web"))
    pinged("web", 100)
    pages = list(walk(client, f"/?server=web&until={slot_text(95)}&limit=30", "prev"))
    assert [len(page) for page in pages] == [30, 30, 30, 5]
    assert [p for page in reversed(pages) for p in page] == [pair(n) for n in range(95)]


def test_pings_that_arrive_meanwhile_move_no_page(client: FlaskClient, pinged: Pinged) -> None:
    client.post("/", data=server("web"))
    pinged("web", 10)
    pages = walk(client, "/?server=web&limit=4", "prev")
    seen = [next(pages)]
    pinged("web", 5, first=10)
    seen += list(pages)
    assert [p for page in reversed(seen) for p in page] == [pair(n) for n in range(10)]


@pytest.mark.parametrize("count", [1, 4, 5, 8])
def test_there_is_a_link_only_where_there_is_more(
    client: FlaskClient, pinged: Pinged, count: int
) -> None:
    client.post("/", data=server("web"))
    pinged("web", count)
    back = list(walk(client, "/?server=web&limit=4", "prev"))
    onward = list(walk(client, f"/?server=web&limit=4&since={slot_text(0)}", "next"))
    assert [len(page) for page in back] == [len(page) for page in onward]
    assert all(back)
    assert sum(map(len, back)) == count


def test_until_is_exclusive_and_since_inclusive(client: FlaskClient, pinged: Pinged) -> None:
    client.post("/", data=server("web"))
    pinged("web", 10)
    query = {"server": "web", "since": slot_text(2), "until": slot_text(5)}
    assert client.get("/", query_string=query).get_json()["pings"] == [pair(2), pair(3), pair(4)]
    query = {"server": "web", "until": slot_text(2)}
    assert client.get("/", query_string=query).get_json()["pings"] == [pair(0), pair(1)]
    query = {"server": "web", "since": slot_text(5), "until": slot_text(2)}
    assert client.get("/", query_string=query).get_json()["pings"] == []


def test_until_holds_on_every_page_forward(client: FlaskClient, pinged: Pinged) -> None:
    client.post("/", data=server("web"))
    pinged("web", 10)
    url = f"/?server=web&since={slot_text(1)}&until={slot_text(8)}&limit=3"
    pages = list(walk(client, url, "next"))
    assert pages == [[pair(n) for n in part] for part in ((1, 2, 3), (4, 5, 6), (7,))]


def test_links_carry_any_name(client: FlaskClient, pinged: Pinged) -> None:
    for name in NAMES:
        client.post("/", data=server(name))
        pinged(name, 3)
        url = f"/?server={quote(name, safe='')}&limit=2"
        assert list(walk(client, url, "prev")) == [[pair(1), pair(2)], [pair(0)]], name


def test_the_range_may_stand_in_the_query_and_the_name_in_the_body(
    client: FlaskClient, pinged: Pinged
) -> None:
    client.post("/", data=server("web"))
    pinged("web", 3)
    response = client.get("/?limit=1", data=named("web"))
    assert response.get_json()["pings"] == [pair(2)]


SINCE = [
    "2018-01-02T07:03:00Z",
    "2018-01-02T07:03:00+00:00",
    "2018-01-02T07:03:00",
    "2018-01-02T07:03",
    "2018-01-02 07:03:00Z",
    "2018-01-02T08:03:00+01:00",
    "2018-01-02T07:02:00.000001Z",
    "20180102T070300Z",
]


def test_a_time_is_any_iso_8601(client: FlaskClient, pinged: Pinged) -> None:
    client.post("/", data=server("web"))
    pinged("web", 3)
    for since in SINCE:
        response = client.get("/", query_string={"server": "web", "since": since})
        assert response.get_json()["pings"] == [pair(2)], since


def test_a_limit_is_at_least_1_and_at_most_10000(client: FlaskClient) -> None:
    client.post("/", data=server("web"))
    for limit in ("1", "1440", "10000", "00007"):
        assert client.get(f"/?server=web&limit={limit}").status_code == 200


def test_a_history_is_asked_for_in_body_or_query() -> None:
    assert history_wanted(b"", {}) is None
    for body, query in (
        (b'{"server": "web"}', {}),
        (b"", {"server": ["web"]}),
        (b'{"server": "web"}', {"server": ["web "]}),
    ):
        assert history_wanted(body, query) == HistoryRequest("web", limit=1440)


def test_a_range_is_read_from_the_query() -> None:
    query = {"server": ["web"], "since": ["2018-01-02"], "until": ["2018-01-02T13:00+01:00"]}
    wanted = history_wanted(b"", query | {"limit": ["7"]})
    assert wanted == HistoryRequest(
        "web", datetime(2018, 1, 2, tzinfo=UTC), datetime(2018, 1, 2, 12, tzinfo=UTC), 7
    )


def test_probe_and_port_are_unset_where_nothing_was_said() -> None:
    wanted = server_wanted({"server": {"name": " web ", "IP": "1.2.3.4"}})
    assert wanted == BulkServer(name="web", ip="1.2.3.4")
    full = {"name": "web", "IP": "1.2.3.4", "probe": "tcp", "port": 443}
    assert server_wanted({"server": full}) == BulkServer(
        name="web", ip="1.2.3.4", probe=Probe.TCP, port=443
    )


@given(value=st.recursive(st.none() | st.integers() | st.text(), st.lists))
def test_what_names_a_server_is_one_text(value: object) -> None:
    for body in (value, {"server": value}, {"server": "web", "x": value}):
        try:
            name = name_wanted(body)
        except WrongRequest:
            continue
        assert isinstance(value, str)
        assert name == value.strip()


def test_a_reason_names_what_is_wrong() -> None:
    for body, reason in (
        ({}, "expected"),
        ({"server": {"name": 1, "IP": "1.2.3.4"}}, "name"),
        ({"server": {"name": "a", "IP": "1.2.3"}}, "ip"),
        ({"server": {"name": "a", "IP": "1.2.3.4", "port": 0}}, "port"),
        ({"server": {"name": "a", "IP": "1.2.3.4", "probe": "x"}}, "probe"),
        ({"server": {"name": "a", "IP": "1.2.3.4", "x": 1}}, "optionally with probe and port"),
    ):
        with pytest.raises(WrongRequest, match=reason):
            server_wanted(body)


@pytest.mark.parametrize("port", [None, 443.0, True, "443", 0, 65_536])
def test_a_port_is_a_whole_number_and_neither_null_nor_written_with_a_point(port: object) -> None:
    with pytest.raises(WrongRequest, match="port must be 1 to 65535, got"):
        server_wanted({"server": {"name": "web", "IP": "1.2.3.4", "port": port}})
