"""What stands behind each field: the calls that /api/v1 makes, and their shapes as they are.

A field of a shape is resolved by its name, in snake_case. What a server is asked for beyond its
own fields is read for all servers of the same list at once, its last 24 hours only where they are
asked for.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar, cast

from ariadne import MutationType, ObjectType, QueryType, ScalarType, make_executable_schema
from graphql import GraphQLError, GraphQLSchema

from core.accounts.records import Level, Me, TokenIssued, TokenListed, TokenPair, UserListed
from core.accounts.tokens import TokensQuery, TokenWanted
from core.accounts.users import PasswordChange, UserChange, UserWanted
from core.checks.records import PingNow
from core.errors import (
    CoreError,
    IdUnknown,
    IncidentUnknown,
    MaintenanceUnknown,
    RuleUnknown,
    Unavailable,
    WrongRequest,
)
from core.history.records import (
    PingsPage,
    PingsQuery,
    Series,
    SeriesQuery,
    ServerPage,
    ServerStatus,
    Summary,
    SummaryQuery,
    WindowQuery,
)
from core.incidents.maintenance_records import (
    HeldRanges,
    Maintenance,
    MaintenanceChange,
    MaintenancePage,
    MaintenanceQuery,
    MaintenanceWanted,
)
from core.incidents.records import (
    Acknowledgement,
    Backtest,
    BacktestWanted,
    Comment,
    EventPage,
    EventsQuery,
    IncidentPage,
    IncidentsQuery,
    IncidentTold,
    Resolution,
)
from core.incidents.rules import Rule, RuleListed
from core.reading import Request, iso
from core.servers.records import (
    BulkItem,
    FleetPage,
    FleetQuery,
    ServerChange,
    ServerWanted,
    Standing,
    server_name,
)
from handlers.http import backtest, bulk, incidents, maintenance, people, rules, servers
from handlers.http.graphql.selection import Info, asks_servers
from handlers.http.ping_now import ping_now
from handlers.http.routes import ADMIN, READ, WRITE, Done
from handlers.instance import Instance

FILE = Path(__file__).parent / "schema.graphql"

QUERY, MUTATION, SERVER = QueryType(), MutationType(), ObjectType("Server")
MAINTENANCE = ObjectType("Maintenance")
MAINTENANCE.set_alias("for", "whom")
RULE, WHEN = ObjectType("Rule"), ObjectType("When")
INTROSPECTION = {"__schema": WRITE, "__type": WRITE}
LEVELS: dict[str, dict[str, Level]] = {
    "query": {"__typename": READ, **INTROSPECTION},
    "mutation": {"__typename": READ},
}
"""Who may call each field, by operation: as it is said beside the field."""
DATE_TIME = ScalarType("DateTime", serializer=iso)


Call = Callable[..., Any]
Wanted = TypeVar("Wanted", bound=Request)
Read = Callable[[Sequence[int]], Mapping[int, Any]]
Load = Callable[[Instance, Any, Sequence[int]], Mapping[int, Any]]


@dataclass(frozen=True, slots=True)
class Listing:
    """The servers of one list: what one of them is asked for is read for all of them, once."""

    ids: Sequence[int]
    found: dict[object, Mapping[int, Any]] = field(default_factory=dict)

    def value(self, server_id: int, wanted: object, read: Read) -> Any:
        """Return one server's part of what `read` finds; None where it is gone."""
        if wanted not in self.found:
            self.found[wanted] = read(self.ids)
        return self.found[wanted].get(server_id)


@dataclass(frozen=True, slots=True)
class Listed:
    """A server among those that were listed with it."""

    shown: Standing
    listing: Listing

    def __getattr__(self, name: str) -> Any:
        return getattr(self.shown, name)


def _listed(shown: Sequence[Standing]) -> list[Listed]:
    listing = Listing([server.id for server in shown])
    return [Listed(server, listing) for server in shown]


def in_camel_case(name: str) -> str:
    """Return a name of /api/v1 as GraphQL writes it: `last_ping` is `lastPing`."""
    return re.sub("_([a-z0-9])", lambda found: found[1].upper(), name)


def in_snake_case(name: str, *_schema: object) -> str:
    """Return a name of GraphQL's as /api/v1 writes it."""
    return re.sub("[A-Z]", lambda found: f"_{found[0].lower()}", name)


OF_DAY = frozenset(
    in_camel_case(name)
    for name in ServerStatus.__struct_fields__
    if name not in Standing.__struct_fields__
)
"""A server's fields that its last 24 hours are read for."""


@DATE_TIME.value_parser
def read_time(value: object) -> str:
    """Take a time as it is written: the calls read it, and say what is wrong with it."""
    if not isinstance(value, str):
        raise GraphQLError("a DateTime must be text such as 2018-01-02T07:01:00Z")
    return value


# Queries


def _query(name: str, *, may: Level) -> Callable[[Call], Call]:
    """Let whoever `may` ask for a field of Query."""
    LEVELS["query"][name] = may
    return QUERY.field(name)


@_query("servers", may=READ)
def find(_root: object, info: Info, **words: Any) -> dict[str, Any]:
    """Return a page of servers as Relay has it."""
    turned = "-" if words.pop("descending") else ""
    words |= {"sort": turned + words["sort"], "limit": words.pop("first")}
    page, cursors = _page(info, _read(FleetQuery, words, limit="first"))
    nodes = _listed(page.servers)
    edges = [{"cursor": one, "node": node} for one, node in zip(cursors, nodes, strict=True)]
    return {
        "edges": edges,
        "nodes": nodes,
        "page_info": {
            "has_next_page": page.next is not None,
            "has_previous_page": bool(words["after"]),
            "start_cursor": cursors[0] if cursors else None,
            "end_cursor": cursors[-1] if cursors else None,
        },
        "totals": page.totals,
        "paused": page.paused,
        "new": page.new,
        "last_round": page.last_round,
    }


@_query("server", may=READ)
def find_one(_root: object, info: Info, **words: Any) -> Listed | None:
    """Return the server of that id, or of that name."""
    match words:
        case {"id": str() as text, **others} if text and not others.get("name"):
            found = _there(info, _number(text))
        case {"name": str() as name, **others} if name and not others.get("id"):
            found = _page(info, FleetQuery(name=server_name(name)))[0].servers
        case _:
            raise WrongRequest("server must be asked for by either id or name")
    return next(iter(_listed(found)), None)


def _page(info: Info, wanted: FleetQuery) -> tuple[ServerPage | FleetPage, Sequence[str]]:
    if asks_servers(info, OF_DAY):
        return servers.listed_with_cursors(info.context, wanted)
    return servers.standing_with_cursors(info.context, wanted)


def _there(info: Info, server_id: int) -> Sequence[Standing]:
    show = servers.show if asks_servers(info, OF_DAY) else servers.show_standing
    try:
        return [show(info.context, server_id)]
    except IdUnknown:
        return []


@_query("incidents", may=READ)
def list_incidents(_root: object, info: Info, **words: Any) -> IncidentPage:
    """Return a page of incidents."""
    here: Instance = info.context
    numbers = {name: _number(words.pop(name)) for name in ("server", "before") if words.get(name)}
    limit = words.pop("first")
    given = words | numbers | {"limit": limit}
    return incidents.listed(here, _read(IncidentsQuery, given, limit="first"))


@_query("incident", may=READ)
def find_incident(_root: object, info: Info, **words: Any) -> IncidentTold | None:
    """Return an incident with its timeline."""
    here: Instance = info.context
    with suppress(IncidentUnknown):
        return incidents.show(here, _number(words["id"]))
    return None


@_query("maintenances", may=READ)
def list_maintenance(_root: object, info: Info, **words: Any) -> MaintenancePage:
    """Return a page of planned work."""
    here: Instance = info.context
    given = {"over": words["over"], "limit": words["first"]}
    if words.get("before"):
        given["before"] = _number(words["before"])
    return maintenance.listed(here, _read(MaintenanceQuery, given, limit="first"))


@_query("maintenance", may=READ)
def find_maintenance(_root: object, info: Info, **words: Any) -> Maintenance | None:
    """Return planned work."""
    here: Instance = info.context
    with suppress(MaintenanceUnknown):
        return maintenance.show(here, _number(words["id"]))
    return None


@_query("rules", may=READ)
def list_rules(_root: object, info: Info) -> Sequence[RuleListed]:
    """Return every rule that somebody made."""
    here: Instance = info.context
    return rules.listed(here).rules


@_query("rule", may=READ)
def find_rule(_root: object, info: Info, **words: Any) -> RuleListed | None:
    """Return a rule."""
    here: Instance = info.context
    with suppress(RuleUnknown):
        return rules.show(here, _number(words["id"]))
    return None


@_query("testRule", may=READ)
def try_rule(_root: object, info: Info, **words: Any) -> Backtest:
    """Say what a draft of a rule would have made of the past."""
    here: Instance = info.context
    return backtest.test(here, _read(BacktestWanted, words))


# What JSON calls so has another name in Python.
RULE.set_field("for", lambda rule, _info: rule.whom)
WHEN.set_field("of", lambda when, _info: when.span)


@_query("events", may=ADMIN)
def events(_root: object, info: Info, **words: Any) -> EventPage:
    """Return a page of who changed rules."""
    here: Instance = info.context
    given = {"limit": words["first"]}
    if words.get("before"):
        given["before"] = _number(words["before"])
    return rules.list_events(here, _read(EventsQuery, given, limit="first"))


@_query("me", may=READ)
def me(_root: object, info: Info) -> Me:
    """Say who is asking."""
    here: Instance = info.context
    return people.me(here)


@_query("tokens", may=READ)
def tokens(_root: object, info: Info, **words: Any) -> Sequence[TokenListed]:
    """List one's own tokens."""
    here: Instance = info.context
    words["limit"] = words.pop("first")
    return people.list_tokens(here, _read(TokensQuery, words, limit="first")).tokens


@_query("users", may=ADMIN)
def users(_root: object, info: Info) -> Sequence[UserListed]:
    """List every user."""
    here: Instance = info.context
    return people.list_users(here).users


# A server's history


@SERVER.field("pings")
def pings(server: Listed, info: Info, **words: Any) -> dict[str, Any] | None:
    """Return a page of its pings."""
    page: PingsPage | None = _of_all(server, info, _read(PingsQuery, words), servers.all_pings)
    if page is None:
        return None
    return {"pings": page.pings, "prev": page.before, "next": page.after}


@SERVER.field("series")
def series(server: Listed, info: Info, **words: Any) -> Series | None:
    """Return the points of a chart."""
    found = _of_all(server, info, _read(SeriesQuery, words), servers.all_series)
    return cast(Series | None, found)


@SERVER.field("summary")
def summary(server: Listed, info: Info, **words: Any) -> Summary | None:
    """Return a window in figures."""
    found = _of_all(server, info, _read(SummaryQuery, words), servers.summaries)
    return cast(Summary | None, found)


@SERVER.field("maintenance")
def maintenance_of(server: Listed, info: Info, **words: Any) -> HeldRanges | None:
    """Return from when to when it was or will be in maintenance."""
    found = _of_all(server, info, _read(WindowQuery, words), maintenance.all_held)
    return cast(HeldRanges | None, found)


def _of_all(server: Listed, info: Info, wanted: Request, load: Load) -> Any:
    """What `load` reads of this server, and with it of all that were listed with it."""
    return server.listing.value(server.id, wanted, lambda ids: load(info.context, wanted, ids))


# Mutations

RENAMED = {"id": "which", "servers": "wanted"}
"""Arguments whose names mean something else here."""


def _mutation(name: str, word: str, made_as: str = "made", *, may: Level) -> Callable[[Call], Call]:
    """Let whoever `may` call a mutation: it answers `word` and what it made, or what was wrong."""
    LEVELS["mutation"][name] = may

    def decorated(call: Call) -> Call:
        @MUTATION.field(name)
        @wraps(call)
        def resolve(_root: object, info: Info, **words: Any) -> dict[str, Any]:
            given = {RENAMED.get(key, key): value for key, value in words.items()}
            try:
                return {"status": word, made_as: call(info.context, **given)}
            except Unavailable:
                raise
            except CoreError as error:
                at = getattr(error, "field", None)
                told = {"status": error.status, "detail": str(error)}
                return told | {"field": in_camel_case(at) if at else None}

        return resolve

    return decorated


@_mutation("createServer", "CREATED", "server", may=WRITE)
def create_server(here: Instance, server: dict[str, Any]) -> Listed:
    """Add a server."""
    return _listed([servers.add(here, _read(ServerWanted, server))])[0]


@_mutation("changeServer", "UPDATED", "server", may=WRITE)
def change_server(here: Instance, which: str, change: dict[str, Any]) -> Listed:
    """Change a server."""
    wanted = _read(ServerChange, change)
    return _listed([servers.alter(here, wanted, _number(which))])[0]


@_mutation("removeServer", "DELETED", "children", may=WRITE)
def remove_server(here: Instance, which: str) -> int:
    """Delete a server."""
    return servers.remove(here, _number(which)).children


@_mutation("putServers", "UPDATED", "results", may=WRITE)
def put_servers(here: Instance, wanted: list[dict[str, Any]], upsert: bool) -> Sequence[BulkItem]:
    """Add many servers, or add and change them."""
    return bulk.put_all(here, wanted, upsert).results


@_mutation("pingNow", "PINGED", "ping", may=WRITE)
def ping(here: Instance, which: str) -> PingNow:
    """Ping a server now."""
    return ping_now(here, _number(which))


@_mutation("acknowledgeIncident", "UPDATED", "incident", may=WRITE)
def acknowledge_incident(here: Instance, which: str, **words: Any) -> IncidentTold:
    """Say that one looks after an incident."""
    return incidents.acknowledge(here, _read(Acknowledgement, words), _number(which))


@_mutation("unacknowledgeIncident", "UPDATED", "incident", may=WRITE)
def unacknowledge_incident(here: Instance, which: str) -> IncidentTold:
    """Take it back."""
    return incidents.unacknowledge(here, _number(which))


@_mutation("resolveIncident", "UPDATED", "incident", may=WRITE)
def resolve_incident(here: Instance, which: str, **words: Any) -> IncidentTold:
    """Resolve an incident by hand."""
    return incidents.resolve(here, _read(Resolution, words), _number(which))


@_mutation("commentIncident", "UPDATED", "incident", may=WRITE)
def comment_incident(here: Instance, which: str, **words: Any) -> IncidentTold:
    """Write into a timeline."""
    return incidents.comment(here, _read(Comment, words), _number(which))


@_mutation("createMaintenance", "CREATED", "maintenance", may=WRITE)
def create_maintenance(here: Instance, **words: Any) -> Maintenance:
    """Plan work."""
    return maintenance.make(here, _read(MaintenanceWanted, words["maintenance"]))


@_mutation("changeMaintenance", "UPDATED", "maintenance", may=WRITE)
def change_maintenance(here: Instance, which: str, change: dict[str, Any]) -> Maintenance:
    """Have planned work otherwise."""
    return maintenance.alter(here, _read(MaintenanceChange, change), _number(which))


@_mutation("removeMaintenance", "DELETED", may=WRITE)
def remove_maintenance(here: Instance, which: str) -> Done:
    """Remove planned work."""
    return maintenance.remove(here, _number(which))


@_mutation("createRule", "CREATED", "rule", may=ADMIN)
def create_rule(here: Instance, rule: dict[str, Any]) -> RuleListed:
    """Make a rule."""
    return rules.make(here, _read(Rule, rule))


@_mutation("changeRule", "UPDATED", "rule", may=ADMIN)
def change_rule(here: Instance, which: str, rule: dict[str, Any]) -> RuleListed:
    """Replace a rule."""
    return rules.change(here, _read(Rule, rule), _number(which))


@_mutation("removeRule", "DELETED", may=ADMIN)
def remove_rule(here: Instance, which: str) -> Done:
    """Delete a rule."""
    return rules.remove(here, _number(which))


@_mutation("createToken", "CREATED", "token", may=READ)
def create_token(here: Instance, token: dict[str, Any]) -> TokenIssued:
    """Make a named token."""
    return people.issue_key(here, _read(TokenWanted, token))


@_mutation("createTokenPair", "CREATED", "tokens", may=READ)
def create_token_pair(here: Instance) -> TokenPair:
    """Make an access and a refresh token."""
    return people.issue_pair(here)


@_mutation("removeToken", "DELETED", may=READ)
def remove_token(here: Instance, which: str) -> Done:
    """End a token."""
    return people.revoke(here, which)


@_mutation("changePassword", "UPDATED", may=READ)
def change_password(here: Instance, change: dict[str, Any]) -> Done:
    """Change one's own password."""
    return people.change_password(here, _read(PasswordChange, change))


@_mutation("createUser", "CREATED", "user", may=ADMIN)
def create_user(here: Instance, user: dict[str, Any]) -> UserListed:
    """Add a user."""
    return people.create_user(here, _read(UserWanted, user))


@_mutation("changeUser", "UPDATED", "user", may=ADMIN)
def change_user(here: Instance, which: str, change: dict[str, Any]) -> UserListed:
    """Change a user."""
    return people.change_user(here, _read(UserChange, change), _number(which))


@_mutation("removeUser", "DELETED", may=ADMIN)
def remove_user(here: Instance, which: str) -> Done:
    """Delete a user."""
    return people.remove_user(here, _number(which))


# What comes in


def _read(shape: type[Wanted], words: Mapping[str, Any], **called_here: str) -> Wanted:
    """Make `words` a shape of /api/v1's; `called_here` says what has another name in GraphQL."""
    # Of a query's optional words null says the same as leaving them out; of a change it doesn't.
    if issubclass(shape, QUERIES):
        words = {name: value for name, value in words.items() if value is not None}
    try:
        return shape.of(dict(words))
    except WrongRequest as error:
        if error.field is None:
            raise
        name = called_here.get(error.field) or in_camel_case(error.field)
        raise error.called(name) from None


QUERIES = (
    FleetQuery,
    IncidentsQuery,
    MaintenanceQuery,
    PingsQuery,
    WindowQuery,
    SeriesQuery,
    SummaryQuery,
    TokensQuery,
)


def _number(text: str) -> int:
    """Return an id; 0, which nothing has, for what is none."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 20 else 0


def _schema() -> GraphQLSchema:
    bindables = (QUERY, MUTATION, SERVER, MAINTENANCE, RULE, WHEN, DATE_TIME)
    return make_executable_schema(
        FILE.read_text(encoding="utf-8"), *bindables, convert_names_case=in_snake_case
    )


SCHEMA = _schema()
