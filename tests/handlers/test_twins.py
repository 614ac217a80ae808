"""What can be done over REST can be done over GraphQL and by a command, or there is a reason.

The table is held to the routes, the schema and the commands that there are: one that comes later
has to say here which twins it has.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import click
from flask import Flask

from core.accounts.records import Level
from core.settings import Settings
from handlers.cli.commands import COMMANDS
from handlers.http.app import create_app
from handlers.http.graphql.resolvers import LEVELS, SCHEMA
from handlers.http.routes import routes_of
from tests.handlers.graph import root_fields

SERVERS, SERVER = "/api/v1/servers", "/api/v1/servers/<int:server_id>"
INCIDENT = "/api/v1/incidents/<int:incident_id>"
MAINTENANCE = "/api/v1/maintenance/<int:maintenance_id>"
RULES, RULE = "/api/v1/rules", "/api/v1/rules/<int:rule_id>"
USERS, USER = "/api/v1/users", "/api/v1/users/<int:user_id>"


@dataclass(frozen=True)
class No:
    """There is none, and why."""

    reason: str


OF_PAGES = No("charts and figures are for pages and programs; `servers list` shows the state")
OF_CHARTS = No("who points at a chart asks where states turn; `series` counts the same slots")
OF_PROGRAMS = No("a program asks for it over HTTP; a person at this machine has the commands")
OF_THIS_MACHINE = No("it is done at the machine, by whoever runs this instance")
OF_NOBODY = No("a command asks as nobody: whoever runs this instance needs no token")
OF_FILES = No("it is a format of files, for `import` and for spreadsheets")
OF_REST = No("it describes REST; a GraphQL schema describes itself, in the explorer, too")
OF_COOKIES = No("a browser's session is a cookie of HTTP")
BY_THE_SCRIPT = No("scripts change servers over HTTP; the command line adds and removes them")

TWINS: list[tuple[str | No, str | No, str | No]] = [
    # Servers
    (f"GET {SERVERS}", "query servers", "servers list"),
    (f"POST {SERVERS}", "mutation createServer", "servers add"),
    (f"POST {SERVERS}/bulk", "mutation putServers", "servers import"),
    (f"GET {SERVER}", "query server", No("`servers list` shows every server")),
    (f"PATCH {SERVER}", "mutation changeServer", BY_THE_SCRIPT),
    (f"DELETE {SERVER}", "mutation removeServer", "servers remove"),
    (f"POST {SERVER}/ping", "mutation pingNow", "ping"),
    # History
    (f"GET {SERVER}/pings", "Server pings", OF_PAGES),
    (f"GET {SERVER}/series", "Server series", OF_PAGES),
    (f"GET {SERVER}/summary", "Server summary", OF_PAGES),
    (f"GET {SERVER}/spells", OF_CHARTS, OF_PAGES),
    ("GET /api/v1/export", OF_FILES, "servers export"),
    ("POST /api/v1/import", OF_FILES, No("`servers import` takes servers; history goes over HTTP")),
    # Incidents
    ("GET /api/v1/incidents", "query incidents", "incidents list"),
    (f"GET {INCIDENT}", "query incident", "incidents show"),
    (f"POST {INCIDENT}/ack", "mutation acknowledgeIncident", "incidents ack"),
    (f"POST {INCIDENT}/unack", "mutation unacknowledgeIncident", "incidents unack"),
    (f"POST {INCIDENT}/resolve", "mutation resolveIncident", "incidents resolve"),
    (f"POST {INCIDENT}/comment", "mutation commentIncident", "incidents comment"),
    # Maintenance
    (f"GET {SERVER}/maintenance", "Server maintenance", OF_PAGES),
    ("GET /api/v1/maintenance", "query maintenances", "maintenance list"),
    ("POST /api/v1/maintenance", "mutation createMaintenance", "maintenance add"),
    ("POST /api/v1/maintenance", "mutation createMaintenance", "quiet"),
    (f"GET {MAINTENANCE}", "query maintenance", No("`maintenance list` shows all that is said")),
    (f"PATCH {MAINTENANCE}", "mutation changeMaintenance", No("it is removed and added anew")),
    (f"DELETE {MAINTENANCE}", "mutation removeMaintenance", "maintenance remove"),
    # Rules
    (f"GET {RULES}", "query rules", "rules list"),
    (f"POST {RULES}", "mutation createRule", "rules add"),
    (f"GET {RULE}", "query rule", No("`rules list` shows every rule")),
    (f"PUT {RULE}", "mutation changeRule", "rules change"),
    (f"DELETE {RULE}", "mutation removeRule", "rules remove"),
    (f"POST {RULES}/test", "query testRule", "rules test"),
    ("GET /api/v1/events", "query events", No("whoever runs this instance can do all of it")),
    # Oneself
    ("POST /api/v1/session", OF_COOKIES, OF_NOBODY),
    ("DELETE /api/v1/session", OF_COOKIES, OF_NOBODY),
    ("GET /api/v1/me", "query me", OF_NOBODY),
    ("PUT /api/v1/me/password", "mutation changePassword", No("`users password` asks for no old")),
    # Tokens
    ("GET /api/v1/tokens", "query tokens", OF_NOBODY),
    ("POST /api/v1/tokens", "mutation createToken", "users token"),
    ("POST /api/v1/tokens", "mutation createTokenPair", OF_NOBODY),
    (
        "POST /api/v1/tokens/refresh",
        No("whoever needs it has no token that /graphql would accept"),
        OF_NOBODY,
    ),
    (
        "DELETE /api/v1/tokens/<token>",
        "mutation removeToken",
        No("`users disable` and `users password` end all of a user's tokens"),
    ),
    # Users
    (f"GET {USERS}", "query users", "users list"),
    (f"POST {USERS}", "mutation createUser", "users add"),
    (f"PATCH {USER}", "mutation changeUser", "users password"),
    (f"PATCH {USER}", "mutation changeUser", "users disable"),
    (f"PATCH {USER}", "mutation changeUser", "users enable"),
    (f"DELETE {USER}", "mutation removeUser", "users remove"),
    # About this instance
    ("GET /api/v1/metrics", No("Prometheus has a format of its own"), OF_PROGRAMS),
    ("GET /api/v1/health", No("load balancers read a status code, without a token"), OF_PROGRAMS),
    ("GET /api/v1/openapi.json", OF_REST, OF_PROGRAMS),
    ("GET /api/v1/docs", OF_REST, OF_PROGRAMS),
    (OF_THIS_MACHINE, OF_THIS_MACHINE, "worker"),
    (OF_THIS_MACHINE, OF_THIS_MACHINE, "tidy"),
    (OF_THIS_MACHINE, OF_THIS_MACHINE, "db upgrade"),
    (OF_THIS_MACHINE, OF_THIS_MACHINE, "db backup"),
    (OF_THIS_MACHINE, OF_THIS_MACHINE, "db restore"),
    (OF_THIS_MACHINE, OF_THIS_MACHINE, "demo"),
    (OF_THIS_MACHINE, OF_THIS_MACHINE, "estimate"),
]


def column(number: int) -> set[str]:
    """Return what the table names in a column."""
    cells = (row[number] for row in TWINS)
    return {cell for cell in cells if isinstance(cell, str)}


def fields() -> Iterator[str]:
    """Yield every field that can be called, and what a server is asked for beyond itself."""
    yield from (f"{operation} {name}" for operation, name, _ in root_fields())
    beyond = SCHEMA.type_map["Server"].fields
    yield from (f"Server {name}" for name, field in beyond.items() if field.args)


def commands(command: click.Command, *before: str) -> Iterator[str]:
    """Yield what can be typed behind `flask`."""
    words = (*before, command.name or "")
    if not isinstance(command, click.Group):
        yield " ".join(words)
        return
    for one in command.commands.values():
        yield from commands(one, *words)


def routes() -> dict[str, Level]:
    """Return every call of /api/v1, and who may make it."""
    app: Flask = create_app(Settings())
    table = routes_of(app).items()
    return {name: route.may for name, route in table if route.rule.startswith("/api/v1/")}


def test_every_rest_call_is_in_the_table_and_no_other() -> None:
    assert column(0) == set(routes())


def test_every_field_of_graphql_is_in_the_table_and_no_other() -> None:
    assert column(1) == set(fields())


def test_every_command_is_in_the_table_and_no_other() -> None:
    assert column(2) == {name for command in COMMANDS for name in commands(command)}


def test_nothing_is_said_twice_and_each_row_is_about_something() -> None:
    assert max(Counter(TWINS).values()) == 1
    assert all(any(isinstance(cell, str) for cell in row) for row in TWINS)


def test_what_has_no_twin_has_a_reason_in_words() -> None:
    reasons = [cell.reason for row in TWINS for cell in row if isinstance(cell, No)]
    assert min(len(reason.split()) for reason in reasons) >= 4


def test_twins_are_for_the_same_people() -> None:
    may = routes()
    for rest, field, _command in TWINS:
        if isinstance(rest, str) and isinstance(field, str) and not field.startswith("Server "):
            operation, name = field.split()
            assert LEVELS[operation][name] is may[rest], name
