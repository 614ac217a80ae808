"""What asks for too much is refused before a statement is sent, and before it takes long."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any, cast

import pytest
from flask.testing import FlaskClient
from graphql import GraphQLObjectType, get_operation_ast, parse, print_ast

from core.clock import utc_now
from handlers.http.graphql.limits import COSTS, LIMITS, SHARED, measure
from handlers.http.graphql.resolvers import SCHEMA
from infra.database import Database
from tests.handlers.conftest import Rows
from tests.handlers.graph import ask, post, refused
from tests.handlers.histories import add
from tests.infra.statements import counted

MB = 1_000_000


def nested(depth: int) -> str:
    return "{ me " * depth + "{ may }" + " }" * depth


def many(count: int, field: str) -> str:
    return f"{{ {' '.join(f'a{number}: {field}' for number in range(count))} }}"


def multiplied(levels: int) -> str:
    """Return a document whose fragments, put in their places, are 2 ** levels fields."""
    parts = [
        f"fragment f{level} on Query {{ ...f{level + 1} ...f{level + 1} }}"
        for level in range(levels)
    ]
    return " ".join(["{ ...f0 }", *parts, f"fragment f{levels} on Query {{ me {{ may }} }}"])


def chained(count: int) -> str:
    parts = [f"fragment f{n} on Query {{ ...f{n + 1} }}" for n in range(count)]
    return " ".join(["{ ...f0 }", *parts, f"fragment f{count} on Query {{ me {{ may }} }}"])


PASSWORD = 'changePassword(change: { old: "a", new: "b" }) { status }'

TOO_MUCH: dict[str, str] = {
    "depth 16": nested(15),
    "depth 50": nested(50),
    "depth 1,999": nested(1_999),
    "depth beyond Python's stack": "{ a" * 5_000,
    "depth of a list": "{ server(name: " + "[" * 5_000,
    "depth of an object": "mutation { createServer(server: " + "{a:" * 3_000,
    "depth of a type": "query($a: " + "[" * 5_000 + " { me { may } }",
    "depth of inline fragments": "{ " + "... { " * 15 + "me { may }" + " }" * 16,
    "400 inline fragments in each other": "{ " + "... { " * 400 + "me { may }" + " }" * 401,
    "31 aliases": many(31, "me { may }"),
    "1,000 aliases": many(1_000, "me{may}"),
    "10,000 aliases": many(10_000, "me{may}"),
    "aliases in a fragment that is used ten times": (
        "{" + "...a " * 10 + "} fragment a on Query " + many(4, "me { may }")
    ),
    "501 fields": "{" + " ".join(["me { " + "may " * 49 + "}"] * 11) + "}",
    "one field 1,500 times": "{ me { " + "may " * 1_500 + "} }",
    "61 fields in one pair of braces": "{ me { " + "may " * 61 + "} }",
    "a fragment that contains itself": "{ ...a } fragment a on Query { ...a }",
    "fragments that contain each other": (
        "{ ...a } fragment a on Query { me { may } ...b } fragment b on Query { ...a }"
    ),
    "a circle of fragments that nobody uses": (
        "{ me { may } } fragment a on Query { ...b } fragment b on Query { ...a }"
    ),
    "a fragment that nobody wrote": "{ ...a }",
    "fragments that multiply each other": multiplied(28),
    "31 fragments": chained(30),
    "400 fragments": chained(400),
    "1,000 directives": "{ me " + "@skip(if: false) " * 900 + "{ may } }",
    "1,000 variables": "query("
    + " ".join(f"$a{n}: Int" for n in range(1_000))
    + ") { me { may } }",
    "1,000 operations": " ".join(f"query a{n} {{ me {{ may }} }}" for n in range(1_000)),
    "a literal of 1 MB": '{ server(name: "' + "x" * (MB - 1_000) + '") { id } }',
    "a comment of 100 kB": "#" + "x" * 100_000 + "\n{ me { may } }",
    "100 kB of blanks": " " * 100_000 + "{ me { may } }",
    "a whole year of 1,000 servers": (
        '{ servers(first: 1000) { nodes { summary(window: "1y") { uptime } } } }'
    ),
    "the same in a fragment": (
        "{ servers(first: 1000) { nodes { ...a } } } "
        'fragment a on Server { summary(window: "1y") { uptime } }'
    ),
    "all series of all servers": (
        "{ servers(first: 1000) { edges { node { series(points: 2000) "
        "{ buckets { meanMs } } } } } }"
    ),
    "all pings of all servers": (
        "{ servers(first: 1000) { nodes { pings(limit: 10000) { pings { slot } } } } }"
    ),
    "a long window by its ends": (
        '{ servers(first: 1000) { nodes { summary(since: "2025-01-01", until: "2026-01-01") '
        "{ uptime } } } }"
    ),
    "a page of more digits than Python reads": (
        "{ servers(first: " + "9" * 5_000 + ") { nodes { id } } }"
    ),
    "a page of endless length": "{ servers(first: 1e999) { nodes { id } } }",
    "points without an end": '{ server(id: "1") { series(points: -1e999) { since } } }',
    "a page of endless length by default": (
        "query($n: Int! = 1e999) { servers(first: $n) { nodes { id } } }"
    ),
    "a window beyond all time": (
        '{ server(id: "1") { summary(window: "-999999999999999d") { uptime } } }'
    ),
    "three lists of all servers with their day": many(
        3, "servers(first: 1000) { nodes { uptime } }"
    ),
    "two short windows of many servers": (
        "{ servers(first: 1000) { nodes "
        '{ a: summary(window: "1h") { uptime } b: summary(window: "2h") { uptime } } } }'
    ),
    "pings of many servers that may lie a day apart": (
        "{ servers(first: 200) { nodes { pings(limit: 60) { next } } } }"
    ),
    "all tokens thirty times": many(30, "tokens(first: 1000) { id name scope }"),
    "all users thirty times": many(30, "users { id name role }"),
    "1,000 servers put nine times": "mutation($s: [BulkServer!]!) "
    + many(9, "putServers(servers: $s) { results { status } }"),
    "a huge page": "{ servers(first: 2147483647) { nodes { id } } }",
    "eleven passwords": "mutation " + many(11, PASSWORD),
    "five pings now": "mutation " + many(5, 'pingNow(id: "1") { status }'),
}


@pytest.fixture
def nothing_asked(client: FlaskClient) -> int:
    """How many statements a document takes that asks the database for nothing: the gate's."""
    database: Database = client.application.extensions["pinglet"].database
    ask(client, "{ __typename }")  # opens the connection
    with counted(database) as sent:
        ask(client, "{ __typename }")
    return len(sent)


@pytest.mark.parametrize("what", TOO_MUCH)
def test_what_is_too_much_is_refused_before_a_statement(
    client: FlaskClient, nothing_asked: int, what: str
) -> None:
    database: Database = client.application.extensions["pinglet"].database
    variables = {"s": [{}] * 1_000} if "$s" in TOO_MUCH[what] else {}
    with counted(database) as sent:
        response = post(client, TOO_MUCH[what], **variables)
    assert refused(response) == (400, "WRONG_REQUEST", "query")
    assert len(sent) == nothing_asked
    assert ask(client, "{ me { may } }") == {"me": {"may": "admin"}}


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        (" " * 20_001, "has 20,001 characters; the limit is 20,000: send long values as variables"),
        (chained(30), "has 31 fragments; the limit is 30"),
        (nested(15), "is 16 levels deep; the limit is 15"),
        (many(251, "me{may}"), "has 502 fields; the limit is 500"),
        (many(31, "me { may }"), "has 31 aliases; the limit is 30"),
        ("{ me {" + " may" * 61 + " } }", "has 61 fields in one pair of braces; the limit is 60"),
        (many(30, "tokens(first: 1000) { id name scope }"), "costs 120,000; the limit is 100,000"),
    ],
)
def test_a_refusal_says_what_was_found_and_what_the_limit_is(
    client: FlaskClient, query: str, sentence: str
) -> None:
    error = post(client, query).get_json()["errors"][0]
    assert error["message"] == f"the document {sentence}"


@pytest.mark.parametrize(
    ("called", "argument", "query"),
    [
        ("Query.servers", "first", "{ servers%s { nodes { pings(limit: 5000) { next } } } }"),
        ("Server.pings", "limit", "{ servers(first: 1000) { nodes { pings%s { next } } } }"),
        ("Server.series", "points", "{ servers(first: 1000) { nodes { series%s { since } } } }"),
        (
            "Server.summary",
            "window",
            '{ servers(first: 1000) { nodes { summary%s { uptime } a: summary(window: "9d") '
            "{ uptime } } } }",
        ),
    ],
)
def test_an_argument_that_is_left_out_costs_what_its_default_costs(
    client: FlaskClient, called: str, argument: str, query: str
) -> None:
    kind, field = called.split(".")
    default = cast(Any, SCHEMA.type_map[kind]).fields[field].args[argument].ast_node.default_value
    left_out = post(client, query % "").get_json()
    assert "costs" in left_out["errors"][0]["message"]
    assert left_out == post(client, query % f"({argument}: {print_ast(default)})").get_json()


def test_an_operation_that_is_not_executed_counts_too(client: FlaskClient) -> None:
    large = "query large { " + "...a " * 60 + "} fragment a on Query { me { " + "may " * 20 + "} }"
    body = {"query": "query small { me { may } } " + large, "operationName": "small"}
    assert refused(client.post("/graphql", json=body)) == (400, "WRONG_REQUEST", "query")


def test_a_value_in_a_variable_or_its_default_costs_what_it_costs_in_its_place(
    client: FlaskClient,
) -> None:
    query = '{{ servers(first: {}) {{ nodes {{ summary(window: "60d") {{ uptime }} }} }} }}'
    add(client, "web")
    assert ask(client, query.format(10))
    given, default = "query($n: Int!) ", "query($n: Int! = 1000) "
    assert ask(client, given + query.format("$n"), n=10)
    assert refused(post(client, given + query.format("$n"), n=1_000))[2] == "query"
    assert refused(post(client, default + query.format("$n")))[2] == "query"
    assert ask(client, default + query.format("$n"), n=10)


@pytest.mark.parametrize("count", [1, 2, 10_000])
def test_a_batch_is_refused(
    client: FlaskClient, nothing_asked: int, rows: Callable[[], Rows], count: int
) -> None:
    database: Database = client.application.extensions["pinglet"].database
    add(client, "web")
    before = rows()
    mutation = "mutation { removeServer(id: 1) { status } }"
    with counted(database) as sent:
        response = client.post("/graphql", json=[{"query": mutation}] * count)
    assert refused(response) == (400, "WRONG_REQUEST", None)
    assert len(sent) == nothing_asked
    assert rows() == before


def test_a_body_of_more_than_1_mb_is_not_read(client: FlaskClient, nothing_asked: int) -> None:
    database: Database = client.application.extensions["pinglet"].database
    with counted(database) as sent:
        response = post(client, "query($n: String) { server(name: $n) { id } }", n="x" * MB)
    assert refused(response)[:2] == (413, "REQUEST_TOO_LARGE")
    assert len(sent) == nothing_asked


WITHIN: dict[str, tuple[str, dict[str, Any]]] = {
    "30 aliases": (many(30, "me { may }"), {}),
    "60 fields in one pair of braces": ("{ me { " + "may " * 60 + "} }", {}),
    "1,000 servers with three days of each": (
        '{ servers(first: 1000) { nodes { name state summary(window: "3d") { uptime } } } }',
        {},
    ),
    "the same with fragments": (
        "{ servers(first: 1000) { nodes { ...a } } } fragment a on Server { ...b state } "
        'fragment b on Server { name ... on Server { summary(window: "3d") { uptime } } }',
        {},
    ),
    "one server's year": (
        '{ server(name: "web") { summary(window: "1y") { uptime } '
        'series(since: "2026-01-01", points: 400) { buckets { meanMs p95Ms counts { due } } } } }',
        {},
    ),
    "one server's pings of 400 days": (
        '{ server(name: "web") { pings(limit: 400) { pings { slot responseMs } } } }',
        {},
    ),
    "what 500 servers have had since yesterday": (
        "query($s: DateTime) { servers(first: 500) { nodes { pings(since: $s) { next } } } }",
        {"s": (utc_now() - timedelta(hours=23)).isoformat()},
    ),
    "four pings now": (f"mutation {many(4, 'pingNow(id: 1) { status }')}", {}),
    "ten passwords": (f"mutation {many(10, PASSWORD)}", {}),
    "1,000 servers put four times": (
        "mutation($s: [BulkServer!]!) " + many(4, "putServers(servers: $s) { results { status } }"),
        {"s": [{"name": f"web-{number}", "ip": "127.0.0.1"} for number in range(1_000)]},
    ),
    "10,000 pings": (
        '{ server(name: "web") { pings(limit: 10000) { pings { slot responseMs state } } } }',
        {},
    ),
}


@pytest.mark.parametrize("what", WITHIN)
def test_what_is_much_but_not_too_much_is_answered(client: FlaskClient, what: str) -> None:
    add(client, "web")
    query, variables = WITHIN[what]
    assert ask(client, query, **variables)


def test_a_document_that_compares_every_field_with_every_other_is_answered_soon(
    client: FlaskClient,
) -> None:
    """The rule that fields of one name must agree looks at all pairs: the bounds keep them few."""
    field = 'servers(search: "a", first: 1) { totals { up } }'
    query = "{" + " ".join([field] * 60) + "}"
    assert ask(client, query)["servers"]["totals"] == {"up": 0}


def cost(query: str) -> int:
    document = parse(query)
    operation = get_operation_ast(document)
    assert operation
    return measure(document, operation, {}).cost


DAY_OF_1000 = 30_000
LISTS = {
    "in its place": "{ servers(first: 1000) { nodes { %s } } }",
    "in a fragment": "{ servers(first: 1000) { nodes { ...a } } } fragment a on Server { %s }",
    "by edges": "{ servers(first: 1000) { edges { node { ... on Server { %s } } } } }",
    "in a fragment of the query": (
        "{ ...a } fragment a on Query { servers(first: 1000) { nodes { %s } } }"
    ),
}


@pytest.mark.parametrize("way", LISTS)
@pytest.mark.parametrize("name", ["uptime", "coverage", "strip", "stripCounts", "meansMs"])
def test_the_day_weighs_where_it_is_asked_for(way: str, name: str) -> None:
    own = 1_000 * COSTS.get(f"Server.{name}", lambda *_: 1)({}, 0)
    asked, without = (cost(LISTS[way] % fields) for fields in (f"id {name}", "id"))
    assert asked == without + own + DAY_OF_1000


@pytest.mark.parametrize(
    ("asked", "values"),
    [
        ("nodes { uptime coverage counts { due } }", 5),
        ("nodes { uptime ... { coverage } ... on Server { uptime } }", 4),
        ("nodes { uptime } edges { node { a: uptime b: uptime } }", 6),
    ],
)
def test_what_is_read_once_weighs_once(asked: str, values: int) -> None:
    once = cost("{ servers(first: 1000) { nodes { uptime } } }")
    assert once == 1_000 * (10 + 2) + DAY_OF_1000
    assert cost(f"{{ servers(first: 1000) {{ {asked} }} }}") == once + 1_000 * (values - 2)


def test_each_list_weighs_its_own_day() -> None:
    one = "servers(first: 1000) { nodes { uptime } }"
    assert cost(many(2, one)) == 2 * cost(many(1, one))


@pytest.mark.parametrize(
    "query",
    [
        many(3, "servers(first: 1000) { totals { up } nodes { name state } }"),
        "{ servers(first: 1000) { nodes { name state lastPing { slot responseMs } uptime coverage "
        'summary(window: "3d") { uptime p95Ms } } } }',
    ],
    ids=["three lists of all servers", "all servers with their day and their three days"],
)
def test_lists_of_all_servers_weigh_no_more_than_they_may(query: str) -> None:
    assert cost(query) <= LIMITS.cost


def test_figures_of_a_summary_do_not_weigh_a_day() -> None:
    asked = 'summary(window: "1d") { %s }'
    alike = [cost(LISTS["in its place"] % asked % name) for name in ("uptime", "p95Ms")]
    assert alike[0] == alike[1]


def test_every_field_with_a_cost_of_its_own_is_in_the_schema() -> None:
    for kind, _, field in (name.partition(".") for name in [*COSTS, *SHARED]):
        assert field in cast(GraphQLObjectType, SCHEMA.get_type(kind)).fields
