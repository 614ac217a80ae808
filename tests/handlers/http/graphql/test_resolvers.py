"""/graphql: the words, figures and refusals of /api/v1, in the shape that GraphQL gives them."""

import logging
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from flask import Flask
from flask.testing import FlaskClient
from graphql import (
    GraphQLEnumType,
    GraphQLInputObjectType,
    GraphQLObjectType,
    build_client_schema,
    build_schema,
    get_introspection_query,
    lexicographic_sort_schema,
    print_schema,
)
from sqlalchemy import event, insert

from core import errors
from core.accounts import records as account_records
from core.accounts import tokens, users
from core.checks.records import EchoShown, PingNow
from core.history.days import AT_ONCE
from core.history.records import Bucket, Counts, PingRecord, Series, ServerStatus, Summary
from core.incidents import maintenance_records, rules
from core.incidents import records as incident_records
from core.incidents.when import When
from core.models import Base
from core.servers import records as server_records
from core.servers.criteria import Criteria
from core.settings import Settings
from handlers.http.app import create_app
from handlers.http.graphql.resolvers import FILE, SCHEMA, in_camel_case
from handlers.http.openapi import PARAMETER
from handlers.http.servers import PingPage
from infra.database import Database
from tests import people
from tests.handlers.conftest import Rows
from tests.handlers.graph import ask, post, refused, root_fields
from tests.handlers.histories import IP, MINUTE, add, at, record_minutes, this_slot
from tests.infra.statements import counted

DOCS = Path(__file__).parents[4] / "docs" / "graphql.md"
SERVERS = "/api/v1/servers"
CREATE = """mutation($s: ServerWanted!) {
  createServer(server: $s) { status detail field server { id name } }
}"""
CHANGE = """mutation($id: ID!, $c: ServerChange!) {
  changeServer(id: $id, change: $c) { status field server { name port } }
}"""
PUT = """mutation($s: [BulkServer!]!, $u: Boolean!) {
  putServers(servers: $s, upsert: $u) { status results { status id field } }
}"""
ALL_OF_A_SERVER = """
  id name ip probe port added intervalS enabled tags parent state new exempt reason detail
  uptime coverage strip stripCounts meansMs
  lastPing { slot responseMs sent received } counts { up degraded down unobserved due }
"""
NEWER = "application/graphql-response+json"
FIGURES = """
  since until sent received bestMs worstMs meanMs p50Ms p95Ms
  counts { up degraded down unobserved due }
"""
MORE_FIGURES = "maintenance uptime coverage lostShare p99Ms"
MAINTENANCE = """
  id name for { tags names } when { since until days at cron durationM zone } counts made madeBy
  next { since until }
"""


def in_rest_words(value: Any) -> Any:
    """Return a reply with the names that /api/v1 gives its parts; an id is a number there."""
    if isinstance(value, list):
        return [in_rest_words(one) for one in value]
    if isinstance(value, dict):
        named = {re.sub("[A-Z]", lambda m: f"_{m[0].lower()}", k): v for k, v in value.items()}
        return {key: int(one) if key == "id" else in_rest_words(one) for key, one in named.items()}
    return value


# Servers


def test_a_server_is_created_changed_read_and_removed(client: FlaskClient) -> None:
    made = ask(client, CREATE, s={"name": " web ", "ip": IP, "port": 443})["createServer"]
    assert (made["status"], made["server"]["name"]) == ("CREATED", "web")
    server_id = made["server"]["id"]
    changed = ask(client, CHANGE, id=server_id, c={"name": "db", "port": None})["changeServer"]
    assert changed == {"status": "UPDATED", "field": None, "server": {"name": "db", "port": None}}
    assert ask(client, "query($id: ID) { server(id: $id) { name } }", id=server_id) == {
        "server": {"name": "db"}
    }
    remove = "mutation($id: ID!) { removeServer(id: $id) { status } }"
    assert ask(client, remove, id=server_id) == {"removeServer": {"status": "DELETED"}}
    assert ask(client, remove, id=server_id) == {"removeServer": {"status": "NAME_DID_NOT_FOUND"}}
    assert ask(client, '{ server(name: "db") { id } }') == {"server": None}


def test_tags_and_parent_are_given_shown_and_looked_for(client: FlaskClient) -> None:
    asked = """mutation($s: [BulkServer!]!) {
      putServers(servers: $s, upsert: true) { results { status field } }
    }"""
    web = {"name": "web", "ip": IP, "tags": ["Web", "eu"], "parent": "switch"}
    odd = {"name": "odd", "ip": IP, "parent": "ghost"}
    put = ask(client, asked, s=[web, {"name": "switch", "ip": IP}, odd])["putServers"]["results"]
    created = {"status": "CREATED", "field": None}
    assert put == [created, created, {"status": "WRONG_REQUEST", "field": "parent"}]
    listed = "query($t: String!) { servers(tag: $t) { totals { unobserved } nodes { %s } } }"
    shown = ask(client, listed % "name tags parent", t="WEB")["servers"]
    assert shown == {
        "totals": {"unobserved": 1},
        "nodes": [{"name": "web", "tags": ["eu", "web"], "parent": "switch"}],
    }
    change = """mutation($c: ServerChange!) {
      changeServer(id: 1, change: $c) { status field server { tags parent } }
    }"""
    found = [
        ask(client, change, c=one)["changeServer"]
        for one in ({"tags": ["us"]}, {"tags": []}, {"parent": None}, {"parent": "switch"})
    ]
    assert [(one["server"]["tags"], one["server"]["parent"]) for one in found] == [
        (["us"], "switch"),
        ([], "switch"),
        ([], None),
        ([], "switch"),
    ]
    for wrong, field in (({"tags": ["a b"]}, "tags"), ({"parent": "web"}, "parent")):
        told = ask(client, change, c=wrong)["changeServer"]
        assert told == {"status": "WRONG_REQUEST", "field": field, "server": None}
    gone = ask(client, "mutation { removeServer(id: 2) { status children } }")
    assert gone == {"removeServer": {"status": "DELETED", "children": 1}}


def test_what_a_user_did_wrong_is_told_in_the_contracts_words_and_changes_nothing(
    client: FlaskClient, rows: Callable[[], Rows]
) -> None:
    add(client, "web", "db")
    before = rows()
    web = {"name": "web", "ip": IP}
    told = [
        ask(client, CREATE, s=web)["createServer"],
        ask(client, CREATE, s={"name": "x", "ip": "127.1"})["createServer"],
        ask(client, CREATE, s={"name": "x", "ip": IP, "intervalS": 61})["createServer"],
        ask(client, CREATE, s={"name": "x", "ip": IP, "port": 65_536})["createServer"],
        ask(client, CHANGE, id="1", c={"name": "db"})["changeServer"],
        ask(client, CHANGE, id="1", c={"name": None})["changeServer"],
        ask(client, CHANGE, id="99", c={"name": "x"})["changeServer"],
        ask(client, CHANGE, id="9" * 30, c={"name": "x"})["changeServer"],
        ask(client, CHANGE, id="1 or 1=1", c={"name": "x"})["changeServer"],
        ask(client, 'mutation { pingNow(id: "x") { status field } }')["pingNow"],
    ]
    assert [(one["status"], one["field"]) for one in told] == [
        ("NAME_ALREADY_EXIST", None),
        ("WRONG_REQUEST", "ip"),
        ("WRONG_REQUEST", "intervalS"),
        ("WRONG_REQUEST", "port"),
        ("NAME_ALREADY_EXIST", None),
        ("WRONG_REQUEST", "name"),
        ("NAME_DID_NOT_FOUND", None),
        ("NAME_DID_NOT_FOUND", None),
        ("NAME_DID_NOT_FOUND", None),
        ("NAME_DID_NOT_FOUND", None),
    ]
    assert rows() == before


def test_a_thousand_servers_are_put_at_once_and_each_has_its_result(client: FlaskClient) -> None:
    wanted = [{"name": f"web-{number}", "ip": IP} for number in range(997)]
    wanted += [{"name": "web-1", "ip": IP}, {"name": "x", "ip": "127.1"}, {"name": "", "ip": IP}]
    results = ask(client, PUT, s=wanted, u=False)["putServers"]["results"]
    assert [one["status"] for one in results] == [
        *["CREATED"] * 997,
        "NAME_ALREADY_EXIST",
        *["WRONG_REQUEST"] * 2,
    ]
    assert [one["field"] for one in results[-3:]] == ["name", "ip", "name"]
    again = ask(client, PUT, s=[*wanted[:2], {"name": "web-2", "ip": "127.0.0.9"}], u=True)
    assert [one["status"] for one in again["putServers"]["results"]] == [
        "UNCHANGED",
        "UNCHANGED",
        "UPDATED",
    ]


def test_one_server_more_is_refused_before_a_statement(
    client: FlaskClient, rows: Callable[[], Rows]
) -> None:
    before = rows()
    wanted = [{"name": f"web-{number}", "ip": IP} for number in range(1_001)]
    assert refused(post(client, PUT, s=wanted, u=False)) == (400, "WRONG_REQUEST", "servers")
    assert rows() == before


def test_pages_are_walked_by_cursors_in_every_order(client: FlaskClient) -> None:
    add(client, *(f"web-{number % 7}-{number}" for number in range(23)))
    query = """query($sort: Sort!, $down: Boolean!, $after: String!) {
      servers(sort: $sort, descending: $down, first: 5, after: $after, search: "web") {
        edges { cursor node { name } } nodes { name }
        pageInfo { hasNextPage hasPreviousPage startCursor endCursor }
      }
    }"""
    for sort in ("added", "name", "state", "response_ms"):
        for down in (False, True):
            found: list[str] = []
            after, pages = "", 0
            while True:
                page = ask(client, query, sort=sort, down=down, after=after)["servers"]
                names = [edge["node"]["name"] for edge in page["edges"]]
                assert [node["name"] for node in page["nodes"]] == names
                cursors = [edge["cursor"] for edge in page["edges"]]
                assert page["pageInfo"] == {
                    "hasNextPage": pages < 4,
                    "hasPreviousPage": pages > 0,
                    "startCursor": cursors[0],
                    "endCursor": cursors[-1],
                }
                found += names
                after, pages = cursors[-1], pages + 1
                if not page["pageInfo"]["hasNextPage"]:
                    break
            order = f"-{sort}" if down else sort
            shown = client.get(SERVERS, query_string={"sort": order}).get_json()["servers"]
            assert found == [server["name"] for server in shown]


def test_any_cursor_is_a_place_to_go_on_from(client: FlaskClient) -> None:
    add(client, "a", "b", "c", "d")
    edges = ask(client, "{ servers { edges { cursor node { name } } } }")["servers"]["edges"]
    query = "query($after: String!) { servers(after: $after) { nodes { name } } }"
    rest = ask(client, query, after=edges[1]["cursor"])["servers"]["nodes"]
    assert rest == [{"name": "c"}, {"name": "d"}]
    assert refused(post(client, query, after="nonsense")) == (400, "WRONG_REQUEST", "after")


def test_everything_of_a_server_is_what_rest_says_of_it(client: FlaskClient) -> None:
    ids = add(client, "web", "db")
    database: Database = client.application.extensions["pinglet"].database
    record_minutes(
        database, ids, this_slot() - 40 * MINUTE, 38, lambda n: (n % 5, None if n % 5 == 0 else n)
    )
    query = f"query($id: ID) {{ server(id: $id) {{ {ALL_OF_A_SERVER} }} }}"
    shown = ask(client, query, id=str(ids[0]))["server"]
    assert in_rest_words(shown) == client.get(f"{SERVERS}/{ids[0]}").get_json()
    query = f"""{{ servers {{
      lastRound paused new totals {{ up down degraded unobserved }} nodes {{ {ALL_OF_A_SERVER} }}
    }} }}"""
    listed = ask(client, query)["servers"]
    page = client.get(SERVERS).get_json()
    assert in_rest_words(listed["nodes"]) == page["servers"]
    assert (listed["totals"], listed["lastRound"]) == (page["totals"], page["last_round"])
    assert (listed["paused"], listed["new"]) == (page["paused"], page["new"])


def test_a_history_is_what_rest_says_it_is(client: FlaskClient) -> None:
    ids = add(client, "web", "db")
    database: Database = client.application.extensions["pinglet"].database
    first = this_slot() - timedelta(hours=3)
    record_minutes(database, ids[:1], first, 100, lambda n: (n % 5, None if n % 5 == 0 else n))
    record_minutes(database, ids[1:], first, 50)
    window = {"since": first.isoformat(), "until": (first + timedelta(hours=2)).isoformat()}
    query = f"""query($since: DateTime, $until: DateTime) {{ servers(first: 2) {{ nodes {{
      pings(since: $since, until: $until, limit: 30) {{
        pings {{ slot state responseMs bestMs worstMs sent received reason detail }} prev next }}
      newest: pings(limit: 7) {{ pings {{ slot }} prev next }}
      series(since: $since, until: $until, points: 10) {{ since until buckets {{ {FIGURES} }} }}
      summary(since: $since, until: $until) {{ {FIGURES} {MORE_FIGURES} }}
      month: summary(window: "30d") {{ {FIGURES} {MORE_FIGURES} }}
    }} }} }}"""
    nodes = ask(client, query, **window)["servers"]["nodes"]
    for server_id, node in zip(ids, nodes, strict=True):
        here = f"{SERVERS}/{server_id}"

        def rest(part: str, here: str = here, **words: object) -> Any:
            return client.get(f"{here}/{part}", query_string=words).get_json()

        page = rest("pings", limit=30, **window)
        assert in_rest_words(node["pings"]["pings"]) == page["pings"]
        assert f"since={node['pings']['next'].replace(':', '%3A')}" in page["next"]
        newest = rest("pings", limit=7)
        assert [one["slot"] for one in node["newest"]["pings"]] == [
            one["slot"] for one in newest["pings"]
        ]
        assert f"until={node['newest']['prev'].replace(':', '%3A')}" in newest["prev"]
        assert in_rest_words(node["series"]) == rest("series", points=10, **window)
        assert in_rest_words(node["summary"]) == rest("summary", **window)
        assert in_rest_words(node["month"]) == rest("summary", window="30d")


def test_a_list_of_incidents_is_what_rest_says(client: FlaskClient) -> None:
    asked = '{ incidents(first: 5, before: "9") { incidents { id } open next } }'
    assert ask(client, asked)["incidents"] == client.get("/api/v1/incidents").get_json()


def test_planned_work_is_made_changed_shown_and_removed(client: FlaskClient) -> None:
    add(client, "web")
    make = f"""mutation($m: MaintenanceWanted!) {{
      createMaintenance(maintenance: $m) {{ status field maintenance {{ {MAINTENANCE} }} }}
    }}"""
    until = this_slot() + 10 * MINUTE
    when = {"since": this_slot().isoformat(), "until": until.isoformat()}
    wanted = {"name": "patches", "for": {"names": ["we?"]}, "when": when}
    made = ask(client, make, m=wanted)["createMaintenance"]["maintenance"]
    shown = client.get(f"/api/v1/maintenance/{made['id']}").get_json()
    assert in_rest_words(made) == shown
    asked = f"""query($id: ID!) {{
      maintenance(id: $id) {{ {MAINTENANCE} }}
      maintenances {{ maintenance {{ {MAINTENANCE} }} next }}
      over: maintenances(over: true, before: $id) {{ maintenance {{ id }} }}
      servers {{ nodes {{ exempt maintenance {{ since until leftOff ranges {{
        since until id name counts
      }} }} }} }}
    }}"""
    found = ask(client, asked, id=made["id"])
    assert (found["maintenance"], found["over"]) == (made, {"maintenance": []})
    assert found["maintenances"] == {"maintenance": [made], "next": None}
    [web] = found["servers"]["nodes"]
    held = client.get(f"{SERVERS}/1/maintenance").get_json()
    assert (web["exempt"], in_rest_words(web["maintenance"])) == (True, held)
    change = """mutation($id: ID!, $c: MaintenanceChange!) {
      changeMaintenance(id: $id, change: $c) { status field maintenance { name counts } }
    }"""
    told = ask(client, change, id=made["id"], c={"name": "disks", "counts": True})
    assert told["changeMaintenance"]["maintenance"] == {"name": "disks", "counts": True}
    weekly = {"days": ["sat"], "at": "02:00", "durationM": 0}
    told = ask(client, change, id=made["id"], c={"when": weekly})["changeMaintenance"]
    assert (told["status"], told["field"]) == ("WRONG_REQUEST", "when.durationM")
    remove = "mutation($id: ID!) { removeMaintenance(id: $id) { status } }"
    for word in ("DELETED", "MAINTENANCE_DID_NOT_FOUND"):
        assert ask(client, remove, id=made["id"]) == {"removeMaintenance": {"status": word}}
    assert ask(client, asked, id=made["id"])["maintenance"] is None


def test_a_rule_is_made_changed_read_and_removed_as_rest_does(client: FlaskClient) -> None:
    inside = """id name for { tags names } when { of down lossPct p95Ms k coveragePct } clear
      say { channel afterM } remindM severity made changed hints"""
    make = f"""mutation($r: RuleWanted!) {{
      createRule(rule: $r) {{ status detail field rule {{ {inside} }} }}
    }}"""
    wanted = {"name": "slow", "for": {"tags": ["web"]}, "when": {"p95Ms": 250.5, "of": 20}}
    made = ask(client, make, r=wanted)["createRule"]
    rest = client.get("/api/v1/rules").get_json()["rules"][0]
    assert made["rule"].pop("when") == {
        **dict.fromkeys(["down", "lossPct", "coveragePct"]),
        "of": 20,
        "p95Ms": 250.5,
        "k": 2,
    }
    assert rest.pop("when") == {"of": 20, "p95_ms": 250.5, "k": 2}
    number = str(rest["id"])
    assert made["rule"] == {in_camel_case(name): value for name, value in rest.items()} | {
        "id": number
    }
    taken = ask(client, make, r=wanted)["createRule"]
    assert (taken["status"], taken["rule"]) == ("RULE_ALREADY_EXIST", None)
    wrong = ask(client, make, r=wanted | {"when": {"of": 3, "lossPct": 101}})["createRule"]
    assert (wrong["status"], wrong["field"]) == ("WRONG_REQUEST", "when.lossPct")
    change = """mutation($id: ID!, $r: RuleWanted!) {
      changeRule(id: $id, rule: $r) { status rule { id hints } }
    }"""
    once = {"name": "once", "when": {"down": 1, "of": 1}, "severity": "info"}
    changed = ask(client, change, id=number, r=once)["changeRule"]["rule"]
    assert (changed["id"], len(changed["hints"])) == (number, 1)
    read = "query($id: ID!) { rule(id: $id) { name } rules { name } }"
    assert ask(client, read, id=number) == {"rule": {"name": "once"}, "rules": [{"name": "once"}]}
    remove = "mutation($id: ID!) { removeRule(id: $id) { status } }"
    assert ask(client, remove, id=number) == {"removeRule": {"status": "DELETED"}}
    assert ask(client, remove, id=number) == {"removeRule": {"status": "RULE_DID_NOT_FOUND"}}
    assert ask(client, read, id=number) == {"rule": None, "rules": []}
    page = ask(client, "{ events(first: 2) { events { id at kind who note } next } }")["events"]
    assert [one["kind"] for one in page["events"]] == ["rule removed", "rule changed"]
    older = "query($id: ID) { events(before: $id) { events { kind } next } }"
    assert ask(client, older, id=page["next"]) == {
        "events": {"events": [{"kind": "rule made"}], "next": None}
    }


def test_a_time_that_is_none_is_told_where_it_stands(client: FlaskClient) -> None:
    add(client, "web")
    query = '{ servers { nodes { name summary(since: "yesterday") { uptime } } } }'
    body = post(client, query).get_json()
    assert body["data"] == {"servers": {"nodes": [{"name": "web", "summary": None}]}}
    (error,) = body["errors"]
    assert error["path"] == ["servers", "nodes", 0, "summary"]
    assert error["extensions"] == {"code": "WRONG_REQUEST", "field": "since"}


def test_a_ping_now_shows_every_echo_and_stores_nothing(
    client: FlaskClient, rows: Callable[[], Rows]
) -> None:
    (server_id,) = add(client, "web")
    before = rows()
    query = """mutation($id: ID!) { pingNow(id: $id) {
      status
      ping { state responseMs probe port reason echoes { verdict rttMs clock boundMs reason } }
    } }"""
    found = ask(client, query, id=str(server_id))["pingNow"]
    assert (found["status"], found["ping"]["state"]) == ("PINGED", "up")
    assert [echo["verdict"] for echo in found["ping"]["echoes"]] == ["answered"] * 4
    assert rows() == before


def test_a_server_is_named_by_id_or_by_name(client: FlaskClient) -> None:
    add(client, "web")
    for given in ("", '(id: "1", name: "web")', '(id: "", name: "")', '(id: "")', '(name: "")'):
        (error,) = post(client, f"{{ server{given} {{ id }} }}").get_json()["errors"]
        assert error["message"] == "server must be asked for by either id or name"
        assert error["extensions"]["code"] == "WRONG_REQUEST"
    assert ask(client, '{ server(id: "1") { name } }') == {"server": {"name": "web"}}


def test_a_field_that_has_another_name_here_has_it_in_the_sentence_too(client: FlaskClient) -> None:
    query = "{ servers(first: 0) { nodes { id } } }"
    (error,) = post(client, query).get_json()["errors"]
    assert error["message"] == "first must be 1 to 1000, got 0"
    assert error["extensions"]["field"] == "first"
    change = """mutation { createServer(server: {name: "web", ip: "127.0.0.1", intervalS: 7}) {
      status field detail
    } }"""
    told = ask(client, change)["createServer"]
    assert told["field"] == "intervalS"
    assert told["detail"].startswith("intervalS must be whole minutes that divide a day")


# A few statements for many: what is read of a hundred servers is read at once

MANY = """query($first: Int!) { servers(first: $first) { nodes {
  name state lastPing { slot responseMs } uptime coverage summary(window: "3d") { uptime p95Ms }
} } }"""
FEW = """query($first: Int!) { servers(first: $first) { nodes {
  name pings(limit: 20) { pings { slot } } series(points: 10) { buckets { meanMs } }
  day: summary { uptime } week: summary(window: "7d") { uptime }
} } }"""


@pytest.mark.parametrize(("query", "count"), [(MANY, 1_000), (FEW, 100)], ids=["many", "few"])
def test_a_hundred_servers_take_hardly_more_statements_than_one(
    client: FlaskClient, query: str, count: int
) -> None:
    database: Database = client.application.extensions["pinglet"].database
    ids = add(client, *(f"web-{number}" for number in range(count)))
    record_minutes(database, ids, this_slot() - 3 * MINUTE, 3)
    sent = {}
    for first in (1, count):
        with counted(database) as statements:
            nodes = ask(client, query, first=first)["servers"]["nodes"]
        assert len(nodes) == first
        sent[first] = len(statements)
    assert sent[1] <= 24
    assert sent[count] <= sent[1] + 5 * count / AT_ONCE


def test_what_a_field_costs_is_read_once_for_each_way_of_asking(client: FlaskClient) -> None:
    database: Database = client.application.extensions["pinglet"].database
    add(client, "a", "b", "c")
    with counted(database) as one:
        ask(client, '{ servers { nodes { summary(window: "7d") { uptime } } } }')
    with counted(database) as two:
        ask(
            client,
            '{ servers { nodes { x: summary(window: "7d") { uptime } '
            'y: summary(window: "7d") { coverage } } } }',
        )
    assert len(two) == len(one)


# The schema


def test_what_is_served_is_what_the_file_says(client: FlaskClient) -> None:
    told = build_client_schema(ask(client, get_introspection_query(schema_description=True)))
    served, written = (
        print_schema(lexicographic_sort_schema(one))
        for one in (told, build_schema(FILE.read_text()))
    )
    assert served == written


SHAPES: dict[str, type[msgspec.Struct]] = {
    "Server": ServerStatus,
    "LastPing": server_records.LastPing,
    "Counts": Counts,
    "Ping": PingRecord,
    "PingPage": PingPage,
    "Series": Series,
    "Bucket": Bucket,
    "Summary": Summary,
    "PingNow": PingNow,
    "Echo": EchoShown,
    "Me": account_records.Me,
    "User": account_records.UserListed,
    "Token": account_records.TokenListed,
    "TokenIssued": account_records.TokenIssued,
    "TokenPair": account_records.TokenPair,
    "BulkItem": server_records.BulkItem,
    "ServerWanted": server_records.ServerWanted,
    "ServerChange": server_records.ServerChange,
    "BulkServer": server_records.BulkServer,
    "TokenWanted": tokens.TokenWanted,
    "PasswordChange": users.PasswordChange,
    "UserWanted": users.UserWanted,
    "UserChange": users.UserChange,
    "Incident": incident_records.Incident,
    "IncidentServer": incident_records.Watched,
    "IncidentPage": incident_records.IncidentPage,
    "IncidentTold": incident_records.IncidentTold,
    "Happened": incident_records.Happened,
    "IncidentMember": incident_records.MemberTold,
    "When": When,
    "WhenWanted": When,
    "Criteria": Criteria,
    "CriteriaWanted": Criteria,
    "Rule": rules.RuleListed,
    "RuleWanted": rules.Rule,
    "Say": rules.Say,
    "SayWanted": rules.Say,
    "Backtest": incident_records.Backtest,
    "Effect": incident_records.Effect,
    "Outage": incident_records.Outage,
    "ServerCount": incident_records.ServerCount,
    "Event": incident_records.Event,
    "EventPage": incident_records.EventPage,
    "Maintenance": maintenance_records.Maintenance,
    "MaintenancePage": maintenance_records.MaintenancePage,
    "MaintenanceWanted": maintenance_records.MaintenanceWanted,
    "MaintenanceChange": maintenance_records.MaintenanceChange,
    "MaintenanceWhen": maintenance_records.MaintenanceWhen,
    "MaintenanceWhenWanted": maintenance_records.MaintenanceWhen,
    "Between": maintenance_records.Between,
    "HeldRanges": maintenance_records.HeldRanges,
    "HeldRange": maintenance_records.HeldRange,
}
HISTORY = {"pings", "series", "summary", "maintenance"}


@pytest.mark.parametrize("name", SHAPES)
def test_the_names_are_those_of_openapi_in_camel_case(name: str) -> None:
    kind = SCHEMA.type_map[name]
    assert isinstance(kind, GraphQLObjectType | GraphQLInputObjectType)
    fields = set(kind.fields) - (HISTORY if name == "Server" else set())
    assert fields == {in_camel_case(one) for one in SHAPES[name].__struct_encode_fields__}


def test_every_type_that_holds_something_of_ours_is_compared() -> None:
    ours = {
        name
        for name, kind in SCHEMA.type_map.items()
        if isinstance(kind, GraphQLObjectType | GraphQLInputObjectType) and name[0] != "_"
    }
    around = {name for name in ours if name.endswith("Payload")}
    relay = {"ServerConnection", "ServerEdge", "PageInfo", "Totals"}
    assert ours - around - relay - {"Query", "Mutation"} == set(SHAPES)


def values(name: str) -> list[str]:
    """Return what an enum may be."""
    kind = SCHEMA.type_map[name]
    assert isinstance(kind, GraphQLEnumType)
    return list(kind.values)


@pytest.mark.parametrize("name", ["State", "Probe", "Role", "Scope", "Severity", "Weekday"])
def test_the_values_are_those_of_openapi(client: FlaskClient, name: str) -> None:
    schemas = client.get("/api/v1/openapi.json").get_json()["components"]["schemas"]
    assert sorted(values(name)) == sorted(schemas[name]["enum"])


def test_every_word_of_an_error_is_a_status() -> None:
    found = [one for one in vars(errors).values() if isinstance(one, type)]
    words = {one.status for one in found if issubclass(one, errors.CoreError)}
    # The one concerns the whole request: it is a 503. The other is for rounds alone.
    assert words - {"SERVICE_UNAVAILABLE", "CLOCK_CONTRADICTED"} <= set(values("Status"))


def rule_in_openapi(rule: str) -> str:
    """Return a rule with its parameters as OpenAPI writes them."""
    return PARAMETER.sub(r"{\g<name>}", rule)


def test_every_rest_call_has_its_twin_or_a_reason(app: Flask) -> None:
    table = dict(re.findall(r"^\| `(\w+ /api/v1\S*)` \| (.*) \|$", DOCS.read_text(), re.MULTILINE))
    rest = {
        f"{method} {rule_in_openapi(rule.rule)}"
        for rule in app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
        if rule.rule.startswith("/api/v1/")
    }
    assert set(table) == rest
    known = {name for _, name, _ in root_fields()} | HISTORY
    twins = {words for words in table.values() if words.startswith("`")}
    assert {name for words in twins for name in re.findall(r"`(?:Server\.)?(\w+)`", words)} == known
    assert all(words.startswith("REST only: ") for words in set(table.values()) - twins)


# HTTP


def test_a_query_may_be_sent_with_get_and_is_left_out_where_it_is_known(
    client: FlaskClient,
) -> None:
    add(client, "web")
    words = {
        "query": "query A($n: String!) { server(name: $n) { name } } query B { me { may } }",
        "variables": '{"n": "web"}',
        "operationName": "A",
    }
    response = client.get("/graphql", query_string=words)
    assert response.get_json() == {"data": {"server": {"name": "web"}}}
    tag = response.headers["ETag"]
    again = client.get("/graphql", query_string=words, headers={"If-None-Match": tag})
    assert (again.status_code, again.data) == (304, b"")


def test_what_is_empty_in_a_query_string_was_left_out(client: FlaskClient) -> None:
    words = {"query": "{ me { may } }", "variables": "", "operationName": "", "extensions": ""}
    response = client.get("/graphql", query_string=words)
    assert response.get_json() == {"data": {"me": {"may": "admin"}}}
    assert refused(client.get("/graphql", query_string={"query": ""}))[2] == "query"


def test_what_changes_something_is_not_sent_with_get(
    client: FlaskClient, rows: Callable[[], Rows]
) -> None:
    add(client, "web")
    before = rows()
    response = client.get(
        "/graphql", query_string={"query": 'mutation { removeServer(id: "1") { status } }'}
    )
    assert refused(response)[:2] == (405, "METHOD_NOT_ALLOWED")
    assert response.headers["Allow"] == "POST"
    assert rows() == before


@pytest.mark.parametrize(
    ("accept", "answered"),
    [
        ("*/*", "application/json"),
        ("application/json", "application/json"),
        ("application/graphql-response+json", NEWER),
        ("application/graphql-response+json, application/json", NEWER),
        ("application/graphql-response+json, application/json;q=0.9", NEWER),
        ("application/graphql-response+json; charset=utf-8, application/json; q=0.9", NEWER),
        ("APPLICATION/GRAPHQL-RESPONSE+JSON", NEWER),
        ("application/graphql-response+json, */*;q=0.1", NEWER),
        ("application/graphql-response+json;q=0", "application/json"),
        ("application/graphql-response+json;q=0, */*", "application/json"),
        ("application/graphql-response+json;q=0.5, application/json", "application/json"),
        ("application/graphql-response+json;q=0.5, */*", "application/json"),
        ("text/html", "application/json"),
        ("", "application/json"),
    ],
)
def test_the_answer_has_the_type_that_was_asked_for_whatever_it_says(
    client: FlaskClient, accept: str, answered: str
) -> None:
    headers = {"Accept": accept}
    query = {"query": "{ me { may } }"}
    answers = [
        client.post("/graphql", json=query, headers=headers),
        client.get("/graphql", query_string=query, headers=headers),
        client.post("/graphql", json={"query": "{ nothing }"}, headers=headers),
        client.post("/graphql", json=[], headers=headers),
        client.delete("/graphql", headers=headers),
        client.post("/graphql", json=query, headers=headers | {"Origin": "https://evil.example"}),
    ]
    assert [response.status_code for response in answers] == [200, 200, 400, 400, 405, 403]
    assert [response.mimetype for response in answers] == [answered] * len(answers)
    assert all("Accept" in response.vary for response in answers)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "query"),
        ({"query": None}, "query"),
        ({"query": ["{ me { may } }"]}, "query"),
        ({"query": ""}, "query"),
        ({"query": "# nothing"}, "query"),
        ({"query": "type A { b: Int }"}, "operationName"),
        ({"query": "{ me { may } }", "variables": []}, "variables"),
        ({"query": "{ me { may } }", "variables": "{}"}, "variables"),
        ({"query": "{ me { may } }", "operationName": 1}, "operationName"),
        ({"query": "{ me { may } }", "operationName": "A"}, "operationName"),
        ({"query": "query A { me { may } } query B { me { may } }"}, "operationName"),
        ({"query": "subscription { me }"}, "query"),
        ({"query": "{ nothing }"}, "query"),
        ({"query": "{ me }"}, "query"),
        ({"query": "{ me { may } } { me { may } }"}, "operationName"),
        ({"query": "query($a: Int!) { servers(first: $a) { totals { up } } }"}, "variables"),
        ({"query": "{ me { ...A } }"}, "query"),
        ({"query": "{ me { may } }", "id": 1}, None),
    ],
)
def test_what_is_no_request_is_told_so(
    client: FlaskClient, body: dict[str, object], field: str | None
) -> None:
    assert refused(client.post("/graphql", json=body)) == (400, "WRONG_REQUEST", field)


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
def test_another_method_is_refused_in_graphqls_shape(client: FlaskClient, method: str) -> None:
    response = client.open("/graphql", method=method)
    assert refused(response) == (405, "METHOD_NOT_ALLOWED", None)


# Defects of ours


def test_a_defect_is_masked_and_logged_under_the_id_that_is_told(
    client: FlaskClient, caplog: pytest.LogCaptureFixture
) -> None:
    (server_id,) = add(client, "web")
    database: Database = client.application.extensions["pinglet"].database
    day = Base.metadata.tables["day"]
    yesterday = (this_slot() - timedelta(days=1)).date()
    numbers = {column.name: 0 for column in day.columns if not column.nullable}
    row = numbers | {"server_id": server_id, "date": yesterday, "held": "f" * 360}
    with database.transaction() as session:
        session.execute(insert(day).values(row | {"packed": b"\x01 no packed day"}))
    with caplog.at_level(logging.ERROR):
        body = post(client, '{ servers { nodes { name summary(window: "3d") { uptime } } } }')
    assert body.get_json()["data"] == {"servers": {"nodes": [{"name": "web", "summary": None}]}}
    (error,) = body.get_json()["errors"]
    assert error["message"] == "Pinglet failed; its log says why"
    assert error["extensions"]["code"] == "SERVICE_UNAVAILABLE"
    assert error["extensions"]["id"] in caplog.text
    assert "Traceback" in caplog.text


def test_a_database_out_of_reach_is_a_503_in_graphqls_shape() -> None:
    nowhere = Settings(database_url="postgresql+pg8000://x@127.0.0.1:1/x", connect_timeout_s=0.1)
    response = post(create_app(nowhere).test_client(), "{ me { may } }", people.basic())
    assert refused(response) == (503, "SERVICE_UNAVAILABLE", None)
    assert response.headers["Retry-After"]


def begun_by_the_gate(client: FlaskClient) -> int:
    """Return how many transactions a request begins before its first field is called."""
    database: Database = client.application.extensions["pinglet"].database
    begun: list[object] = []
    note = begun.append
    ask(client, "{ me { may } }")  # looks at the tables' version, too
    event.listen(database.engine, "begin", note)
    ask(client, "{ me { may } }")
    event.remove(database.engine, "begin", note)
    return len(begun)


@contextmanager
def gone_after(database: Database, transactions: int) -> Iterator[None]:
    """Have the way to the database break when so many transactions were begun."""
    left = [transactions]

    def fail(*_arguments: Any) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise ConnectionResetError("the database at 192.0.2.7 hung up")

    event.listen(database.engine, "begin", fail)
    try:
        yield
    finally:
        event.remove(database.engine, "begin", fail)


TWO = """mutation {
  a: createServer(server: { name: "a", ip: "127.0.0.1" }) {
    status server { id name summary { uptime } }
  }
  b: createServer(server: { name: "b", ip: "127.0.0.1" }) { status }
}"""


@pytest.mark.parametrize("lost", ["b", "a.server.summary"])
def test_what_was_done_before_the_database_went_away_is_told(
    client: FlaskClient, caplog: pytest.LogCaptureFixture, lost: str
) -> None:
    database: Database = client.application.extensions["pinglet"].database
    before = begun_by_the_gate(client)
    query = TWO if lost != "b" else TWO.replace("summary { uptime }", "")
    with gone_after(database, before + 1), caplog.at_level(logging.ERROR):
        response = post(client, query)
    body = response.get_json()
    assert response.status_code == 200
    assert (body["data"]["a"]["status"], body["data"]["a"]["server"]["name"]) == ("CREATED", "a")
    assert body["data"]["b"] is None
    assert lost in [".".join(error["path"]) for error in body["errors"]]
    for error in body["errors"]:
        assert error["message"] == "try again later"
        assert error["extensions"]["code"] == "SERVICE_UNAVAILABLE"
        assert error["extensions"]["id"] in caplog.text
    assert client.get("/").get_json() == {"servers": ["a"]}


def test_where_nothing_was_done_the_whole_request_is_a_503(client: FlaskClient) -> None:
    database: Database = client.application.extensions["pinglet"].database
    before = begun_by_the_gate(client)
    for query in (
        TWO,
        TWO.replace("mutation {", "mutation { __typename"),
        "{ servers { nodes { id } } }",
    ):
        with gone_after(database, before):
            response = post(client, query)
        assert refused(response) == (503, "SERVICE_UNAVAILABLE", None)
        assert response.headers["Retry-After"]
    assert client.get("/").get_json() == {"servers": []}


# People


@pytest.fixture
def closed(settings: Settings) -> Any:
    """An application that asks for tokens, with an admin named ann."""
    with people.nobody_but(settings) as empty:
        app = create_app(empty)
        people.add(app.extensions["pinglet"].database)
        yield app
        app.extensions["pinglet"].database.engine.dispose()


def test_people_and_tokens_are_managed_as_by_rest(closed: Flask) -> None:
    client, by_password = closed.test_client(), people.basic()

    def told(query: str, headers: dict[str, str] = by_password, **variables: object) -> Any:
        return next(iter(post(client, query, headers, **variables).get_json()["data"].values()))

    pair = told("mutation { createTokenPair { status tokens { access refresh expiresInS } } }")
    assert (pair["status"], pair["tokens"]["expiresInS"]) == ("CREATED", 900)
    access = people.bearer(pair["tokens"]["access"])
    assert told("{ me { name may open } }", access) == {
        "name": "ann",
        "may": "admin",
        "open": False,
    }
    make = """mutation($t: TokenWanted!) {
      createToken(token: $t) { status field token { id token scope } }
    }"""
    wanted = {"name": "ci", "scope": "write", "expiresInS": 3600}
    assert told(make, access, t=wanted)["field"] == "password"
    key = told(make, access, t=wanted | {"password": people.PASSWORD})
    assert (key["status"], key["token"]["scope"]) == ("CREATED", "write")
    assert told(make, access, t={"name": "ci", "expiresInS": 59})["field"] == "expiresInS"
    by_key = people.bearer(key["token"]["token"])
    assert told(make, by_key, t={"name": "more"})["status"] == "FORBIDDEN"
    assert told("mutation { createTokenPair { status } }", by_key)["status"] == "WRONG_REQUEST"
    assert "ci" in [one["name"] for one in told("{ tokens { name kind scope lastUsed } }", access)]
    page = "query($after: String!) { tokens(first: 1, after: $after) { id } }"
    (first,) = told(page, access, after="")
    assert told(page, access, after=first["id"]) != [first]
    end = "mutation($id: ID!) { removeToken(id: $id) { status } }"
    assert told(end, access, id="nothing")["status"] == "TOKEN_DID_NOT_FOUND"
    assert told(end, access, id=key["token"]["id"])["status"] == "DELETED"
    assert post(client, "{ me { may } }", by_key).status_code == 401
    bob = {"name": "bob", "password": people.PASSWORD, "role": "editor"}
    user = "mutation($u: UserWanted!) { createUser(user: $u) { status field user { id role } } }"
    made = told(user, access, u=bob)
    assert (made["status"], made["user"]["role"]) == ("CREATED", "editor")
    assert told(user, access, u=bob)["status"] == "USER_ALREADY_EXIST"
    assert told(user, access, u=bob | {"password": "short"})["field"] == "password"
    change = """mutation($id: ID!, $c: UserChange!) {
      changeUser(id: $id, change: $c) { status user { enabled } }
    }"""
    assert told(change, access, id=made["user"]["id"], c={"enabled": False}) == {
        "status": "UPDATED",
        "user": {"enabled": False},
    }
    assert told(change, access, id="0", c={})["status"] == "USER_DID_NOT_FOUND"
    assert [one["name"] for one in told("{ users { name } }", access)] == ["ann", "bob"]
    gone = "mutation($id: ID!) { removeUser(id: $id) { status } }"
    assert told(gone, access, id=made["user"]["id"])["status"] == "DELETED"
    password = "mutation($c: PasswordChange!) { changePassword(change: $c) { status } }"
    new = {"old": "wrong", "new": "another long password"}
    assert told(password, access, c=new)["status"] == "WRONG_REQUEST"
    assert told(password, access, c=new | {"old": people.PASSWORD})["status"] == "UPDATED"
    assert post(client, "{ me { may } }", access).status_code == 401


@pytest.mark.parametrize(
    ("query", "variables"),
    [
        ("mutation($u: UserWanted!) { createUser(user: $u) { status } }", True),
        ('mutation { createUser(user: { name: "bob", password: SECRET }) { status } }', False),
        ('mutation { createUser(user: { name: "bob", password: "SECRET }) { status } }', False),
    ],
)
def test_a_password_that_is_no_text_is_in_no_log(
    client: FlaskClient, caplog: pytest.LogCaptureFixture, query: str, variables: bool
) -> None:
    user = {"name": "bob", "password": 31_415_926}
    with caplog.at_level(logging.DEBUG):
        response = post(
            client, query.replace("SECRET", "31415926"), **({"u": user} if variables else {})
        )
    assert refused(response)[:2] == (400, "WRONG_REQUEST")
    assert "WRONG_REQUEST" in caplog.text
    assert "31415926" not in caplog.text


def test_times_are_written_as_rest_writes_them(client: FlaskClient) -> None:
    add(client, "web")
    (node,) = ask(client, "{ servers { nodes { added } } }")["servers"]["nodes"]
    (shown,) = client.get(SERVERS).get_json()["servers"]
    assert node["added"] == shown["added"]
    assert at(node["added"]) == at(shown["added"])
