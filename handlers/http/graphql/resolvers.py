"""What stands behind each field: the calls that /api/v1 makes, and their shapes as they are.

A field of a shape is resolved by its name, in snake_case. What a server is asked for beyond its
own fields is read for all servers of the same list at once.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import wraps
from pathlib import Path
from typing import Any, cast

from ariadne import MutationType, ObjectType, QueryType, ScalarType, make_executable_schema
from graphql import GraphQLError, GraphQLResolveInfo, GraphQLSchema

from core.accounts.records import Identity
from core.errors import CoreError, Unavailable, WrongRequest
from core.history.slices import Page
from core.reading import iso
from core.servers.records import server_name
from handlers.http import shapes
from handlers.http.people import PeopleCalls
from handlers.http.ping_now import ping_now
from handlers.http.servers import ServerCalls, ping_shown

FILE = Path(__file__).parent / "schema.graphql"

QUERY, MUTATION, SERVER = QueryType(), MutationType(), ObjectType("Server")
DATE_TIME = ScalarType("DateTime", serializer=iso)


@dataclass(frozen=True, slots=True)
class Asker:
    """Who asks, and whom we ask."""

    servers: ServerCalls
    people: PeopleCalls
    identity: Identity


Info = GraphQLResolveInfo
Load = Callable[[Sequence[int]], Mapping[int, Any]]


@dataclass(frozen=True, slots=True)
class Level:
    """The servers of one list: what one of them is asked for is read for all of them, once."""

    ids: Sequence[int]
    read: dict[object, Mapping[int, Any]] = field(default_factory=dict)

    def value(self, server_id: int, key: object, load: Load) -> Any:
        """Return one server's part of what `load` reads; None where it is gone."""
        if key not in self.read:
            self.read[key] = load(self.ids)
        return self.read[key].get(server_id)


@dataclass(frozen=True, slots=True)
class Listed:
    """A server among those that were listed with it."""

    shown: shapes.ServerShown
    level: Level

    def __getattr__(self, name: str) -> Any:
        return getattr(self.shown, name)


def _listed(shown: Sequence[shapes.ServerShown]) -> list[Listed]:
    level = Level([server.id for server in shown])
    return [Listed(server, level) for server in shown]


def in_camel_case(name: str) -> str:
    """Return a name of /api/v1 as GraphQL writes it: `last_ping` is `lastPing`."""
    return re.sub("_([a-z0-9])", lambda found: found[1].upper(), name)


def in_snake_case(name: str, *_schema: object) -> str:
    """Return a name of GraphQL's as /api/v1 writes it."""
    return re.sub("[A-Z]", lambda found: f"_{found[0].lower()}", name)


@DATE_TIME.value_parser
def read_time(value: object) -> str:
    """Take a time as it is written: the calls read it, and say what is wrong with it."""
    if not isinstance(value, str):
        raise GraphQLError("a DateTime is text, such as 2018-01-02T07:01:00Z")
    return value


# Queries


@QUERY.field("servers")
def find(_root: object, info: Info, **words: Any) -> dict[str, Any]:
    """Return a page of servers as Relay has it."""
    asker: Asker = info.context
    turned = "-" if words.pop("descending") else ""
    words |= {"sort": turned + words["sort"], "limit": words.pop("first")}
    page, cursors = asker.servers.find(_read(shapes.FleetQuery, words, limit="first"))
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
        "last_round": page.last_round,
    }


@QUERY.field("server")
def find_one(_root: object, info: Info, **words: Any) -> Listed | None:
    """Return the server of that id, or of that name."""
    asker: Asker = info.context
    match words:
        case {"id": str() as text, **others} if text and not others.get("name"):
            found = asker.servers.listed([_number(text)])
        case {"name": str() as name, **others} if name and not others.get("id"):
            wanted = shapes.FleetQuery(name=server_name(name))
            found = asker.servers.find(wanted)[0].servers
        case _:
            raise WrongRequest("say which server: by id or by name")
    return next(iter(_listed(found)), None)


@QUERY.field("me")
def me(_root: object, info: Info) -> shapes.Me:
    """Say who is asking."""
    asker: Asker = info.context
    return asker.people.me(asker.identity)


@QUERY.field("tokens")
def tokens(_root: object, info: Info) -> Sequence[shapes.TokenListed]:
    """List one's own tokens."""
    asker: Asker = info.context
    return asker.people.tokens(asker.identity).tokens


@QUERY.field("users")
def users(_root: object, info: Info) -> Sequence[shapes.UserListed]:
    """List every user."""
    asker: Asker = info.context
    return asker.people.users().users


# A server's history


@SERVER.field("pings")
def pings(server: Listed, info: Info, **words: Any) -> dict[str, Any] | None:
    """Return a page of its pings."""
    asker: Asker = info.context
    wanted = _read(shapes.PingsQuery, words)
    page: Page | None = server.level.value(
        server.id, ("pings", wanted), lambda ids: asker.servers.pings(ids, wanted)
    )
    if page is None:
        return None
    shown = [ping_shown(ping) for ping in page.pings]
    return {"pings": shown, "prev": page.before, "next": page.after}


@SERVER.field("series")
def series(server: Listed, info: Info, **words: Any) -> shapes.Series | None:
    """Return the points of a chart."""
    asker: Asker = info.context
    wanted = _read(shapes.SeriesQuery, words)
    found = server.level.value(
        server.id, ("series", wanted), lambda ids: asker.servers.series(ids, wanted)
    )
    return cast(shapes.Series | None, found)


@SERVER.field("summary")
def summary(server: Listed, info: Info, **words: Any) -> shapes.SummaryShown | None:
    """Return a window in figures."""
    asker: Asker = info.context
    wanted = _read(shapes.SummaryQuery, words)
    found = server.level.value(
        server.id, ("summary", wanted), lambda ids: asker.servers.summaries(ids, wanted)
    )
    return cast(shapes.SummaryShown | None, found)


# Mutations

Call = Callable[..., Any]


def _answers(word: str, made_as: str = "made") -> Callable[[Call], Call]:
    """Have a mutation answer `word` and what it made, or the word of what was wrong."""

    def decorated(call: Call) -> Call:
        @wraps(call)
        def resolve(_root: object, info: Info, **words: Any) -> dict[str, Any]:
            given = {"which" if name == "id" else name: value for name, value in words.items()}
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


@MUTATION.field("createServer")
@_answers("CREATED", "server")
def create_server(asker: Asker, server: dict[str, Any]) -> Listed:
    """Add a server."""
    return _listed([asker.servers.add(_read(shapes.ServerWanted, server))])[0]


@MUTATION.field("changeServer")
@_answers("UPDATED", "server")
def change_server(asker: Asker, which: str, change: dict[str, Any]) -> Listed:
    """Change a server."""
    wanted = _read(shapes.ServerChange, change)
    return _listed([asker.servers.change(_number(which), wanted)])[0]


@MUTATION.field("removeServer")
@_answers("DELETED")
def remove_server(asker: Asker, which: str) -> shapes.Done:
    """Delete a server."""
    return asker.servers.remove(_number(which))


@MUTATION.field("putServers")
@_answers("UPDATED", "results")
def put_servers(
    asker: Asker, servers: list[dict[str, Any]], upsert: bool
) -> Sequence[shapes.BulkItem]:
    """Add many servers, or add and change them."""
    return asker.servers.put(shapes.Bulk(servers=servers, upsert=upsert)).results


@MUTATION.field("pingNow")
@_answers("PINGED", "ping")
def ping(asker: Asker, which: str) -> shapes.PingNow:
    """Ping a server now."""
    return ping_now(asker.servers.database, _number(which))


@MUTATION.field("createToken")
@_answers("CREATED", "token")
def create_token(asker: Asker, token: dict[str, Any]) -> shapes.TokenIssued:
    """Make a named token."""
    return asker.people.issue_key(asker.identity, _read(shapes.TokenWanted, token))


@MUTATION.field("createTokenPair")
@_answers("CREATED", "tokens")
def create_token_pair(asker: Asker) -> shapes.TokenPair:
    """Make an access and a refresh token."""
    return asker.people.issue_pair(asker.identity)


@MUTATION.field("removeToken")
@_answers("DELETED")
def remove_token(asker: Asker, which: str) -> shapes.Done:
    """End a token."""
    return asker.people.revoke(asker.identity, which)


@MUTATION.field("changePassword")
@_answers("UPDATED")
def change_password(asker: Asker, change: dict[str, Any]) -> shapes.Done:
    """Change one's own password."""
    return asker.people.change_password(asker.identity, _read(shapes.PasswordChange, change))


@MUTATION.field("createUser")
@_answers("CREATED", "user")
def create_user(asker: Asker, user: dict[str, Any]) -> shapes.UserListed:
    """Add a user."""
    return asker.people.create_user(_read(shapes.UserWanted, user))


@MUTATION.field("changeUser")
@_answers("UPDATED", "user")
def change_user(asker: Asker, which: str, change: dict[str, Any]) -> shapes.UserListed:
    """Change a user."""
    return asker.people.change_user(_number(which), _read(shapes.UserChange, change))


@MUTATION.field("removeUser")
@_answers("DELETED")
def remove_user(asker: Asker, which: str) -> shapes.Done:
    """Delete a user."""
    return asker.people.remove_user(_number(which))


# What comes in


def _read(shape: type[shapes.Shape], words: Mapping[str, Any], **called_here: str) -> shapes.Shape:
    """Make `words` a shape of /api/v1's; `called_here` says what has another name in GraphQL."""
    # Of a query's optional words null says the same as leaving them out; of a change it doesn't.
    if issubclass(cast(type, shape), QUERIES):
        words = {name: value for name, value in words.items() if value is not None}
    try:
        return shapes.convert(shape, dict(words))
    except WrongRequest as error:
        raise WrongRequest(str(error), called_here.get(error.field or "", error.field)) from None


QUERIES = (shapes.FleetQuery, shapes.PingsQuery, shapes.SeriesQuery, shapes.SummaryQuery)


def _number(text: str) -> int:
    """Return an id; 0, which nothing has, for what is none."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 20 else 0


def _schema() -> GraphQLSchema:
    bindables = (QUERY, MUTATION, SERVER, DATE_TIME)
    return make_executable_schema(
        FILE.read_text(encoding="utf-8"), *bindables, convert_names_case=in_snake_case
    )


SCHEMA = _schema()
