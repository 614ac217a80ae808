"""The calls at `/`: the contract, in its own words. See docs/contract.md."""

import re
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode

from flask import request
from flask.typing import ResponseReturnValue

from core.clock import utc_now
from core.errors import WrongRequest
from core.history import slices
from core.history.records import PAGE, PAGE_LIMIT, HistoryRequest
from core.history.slices import History
from core.reading import iso, moment, read_json
from core.servers import change, find
from core.servers.records import BulkServer, server_name
from handlers.http import browser, routes
from handlers.http.routes import READ, WRITE, Routes
from handlers.instance import Instance

ROUTES = Routes()
SERVER_SHAPE = 'expected {"server": {"name": "web", "IP": "192.0.2.10"}}'
NAME_SHAPE = 'expected {"server": "name"}'


@ROUTES("POST", "/", may=WRITE)
def add(here: Instance) -> ResponseReturnValue:
    """Add a server."""
    wanted = server_wanted(_body())
    now = utc_now()
    here.database.write(lambda session: change.add(session, wanted, here.settings, now))
    return {"status": "CREATED"}, HTTPStatus.CREATED


@ROUTES("PUT", "/", may=WRITE)
def move(here: Instance) -> ResponseReturnValue:
    """Change a server's address."""
    wanted = server_wanted(_body())
    now = utc_now()
    here.database.write(lambda session: change.change(session, wanted, here.settings, now))
    return {"status": "UPDATED"}


@ROUTES("DELETE", "/", may=WRITE)
def remove(here: Instance) -> ResponseReturnValue:
    """Remove a server and its history."""
    name = name_wanted(_body())
    here.database.write(lambda session: change.remove(session, name))
    return {"status": "DELETED"}


@ROUTES("GET", "/", may=READ)
def show(here: Instance) -> ResponseReturnValue:
    """List all names, or the pings of one server; send a browser to the dashboard."""
    if not request.query_string and not request.get_data() and browser.wants_page():
        return browser.look_at(browser.address("/dashboard"))
    wanted = history_wanted(request.get_data(), routes.query_words())
    with here.database.reading() as session:
        if wanted is None:
            return {"servers": list(find.names(session))}
        found = slices.history(session, find.by_name(session, wanted.name), wanted)
    body = {"server": found.name, "pings": [{iso(slot): ms} for slot, ms in found.pings]}
    return body, HTTPStatus.OK, _links(found, wanted)


def _body() -> object:
    if request.query_string:
        raise WrongRequest("this call takes a body and no query")
    return read_json(request.get_data())


def _links(found: History, wanted: HistoryRequest) -> dict[str, str]:
    """Link to the page before or after (RFC 8288), relative, so that it survives proxies."""
    root = browser.address("/")
    query = {"server": found.name}
    if wanted.limit != PAGE:
        query["limit"] = str(wanted.limit)
    if found.before:
        return {"Link": f'<{root}?{urlencode(query | {"until": iso(found.before)})}>; rel="prev"'}
    if found.after:
        query["since"] = iso(found.after)
        if wanted.until:
            query["until"] = iso(wanted.until)
        return {"Link": f'<{root}?{urlencode(query)}>; rel="next"'}
    return {}


def server_wanted(body: object) -> BulkServer:
    """Read `{"server": {"name": ..., "IP": ...}}`; `probe` and `port` are optional in it.

    Raises WrongRequest.
    """
    match body:
        case {"server": {"name": name, "IP": ip, **more}, **rest} if not rest:
            return _with_more({"name": name, "ip": ip}, more)
    raise WrongRequest(SERVER_SHAPE)


def _with_more(words: dict[Any, object], more: dict[Any, object]) -> BulkServer:
    if not set(more) <= {"probe", "port"}:
        raise WrongRequest(f"{SERVER_SHAPE}, optionally with probe and port in it")
    # Elsewhere null takes a port away, and 443.0 is one.
    if isinstance(more.get("port", 0), float | None):
        raise WrongRequest("port must be 1 to 65535", got=more["port"])
    return BulkServer.saying(words | more)


def name_wanted(body: object) -> str:
    """Read `{"server": "name"}`, exactly. Raises WrongRequest."""
    match body:
        case {"server": name, **rest} if not rest:
            return server_name(name)
    raise WrongRequest(NAME_SHAPE)


def history_wanted(body: bytes, query: Mapping[str, Sequence[str]]) -> HistoryRequest | None:
    """Read a GET: the server from `body` or `query`, the rest from `query`.

    None when neither names a server, which asks for the list. Raises WrongRequest.
    """
    words = _once_each(query, {"server", "since", "until", "limit"})
    named = [server_name(words["server"])] if "server" in words else []
    if body:
        named.append(name_wanted(read_json(body)))
    if len(set(named)) > 1:
        raise WrongRequest("body and query must name the same server")
    if not named:
        if words:
            raise WrongRequest(f"{' and '.join(words)} can't be used without server=NAME")
        return None
    return HistoryRequest(
        name=named[0],
        since=moment(words["since"], "since") if "since" in words else None,
        until=moment(words["until"], "until") if "until" in words else None,
        limit=_limit(words["limit"]) if "limit" in words else PAGE,
    )


def _once_each(query: Mapping[str, Sequence[str]], known: set[str]) -> dict[str, str]:
    for name in query:
        if name not in known:
            raise WrongRequest(f"query parameters must be {', '.join(sorted(known))}", got=name)
    return routes.once_each(query)


def _limit(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,5}", text, re.ASCII) or not 1 <= int(text) <= PAGE_LIMIT:
        raise WrongRequest(f"limit must be 1 to {PAGE_LIMIT}", got=text)
    return int(text)
