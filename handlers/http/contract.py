"""The calls at `/`: the contract, in its own words. See docs/contract.md."""

from http import HTTPStatus
from urllib.parse import urlencode

from flask import Flask, request
from flask.typing import ResponseReturnValue
from flask.views import MethodView

from core.clock import utc_now
from core.errors import WrongRequest
from core.history import slices
from core.history.records import PAGE, HistoryRequest
from core.history.slices import History
from core.reading import iso, read_json
from core.servers import change, find
from core.servers.records import NameRequest, ServerRequest
from handlers.http import browser, routes
from infra.database import Database


def register(app: Flask, database: Database) -> None:
    """Serve the contract at `/`."""
    # Not strict, or an empty path would be redirected, in HTML.
    app.add_url_rule("/", view_func=Contract.as_view("contract", database), strict_slashes=False)


class Contract(MethodView):
    """Servers and their pings, by name."""

    init_every_request = False

    def __init__(self, database: Database) -> None:
        self.database = database

    def post(self) -> ResponseReturnValue:
        """Add a server."""
        wanted = ServerRequest.parse(_body())
        with self.database.transaction() as session:
            change.create(session, wanted, self.database.settings, utc_now())
        return {"status": "CREATED"}, HTTPStatus.CREATED

    def put(self) -> ResponseReturnValue:
        """Change a server's address."""
        wanted = ServerRequest.parse(_body())
        with self.database.transaction() as session:
            change.change(session, wanted, self.database.settings)
        return {"status": "UPDATED"}

    def delete(self) -> ResponseReturnValue:
        """Remove a server and its history."""
        wanted = NameRequest.parse(_body())
        with self.database.transaction() as session:
            change.remove(session, wanted.name)
        return {"status": "DELETED"}

    def get(self) -> ResponseReturnValue:
        """List all names, or the pings of one server; send a browser to the browser."""
        if not request.query_string and not request.get_data() and browser.wants_page():
            return browser.look_at("/dashboard")
        wanted = HistoryRequest.parse(request.get_data(), routes.query_words())
        with self.database.reading() as session:
            if wanted is None:
                return {"servers": list(find.names(session))}
            found = slices.history(session, find.by_name(session, wanted.name), wanted)
        body = {"server": found.name, "pings": [{iso(slot): ms} for slot, ms in found.pings]}
        return body, HTTPStatus.OK, _links(found, wanted)


def _body() -> object:
    if request.query_string:
        raise WrongRequest("this call reads its body, not the query")
    return read_json(request.get_data())


def _links(found: History, wanted: HistoryRequest) -> dict[str, str]:
    """Link to the page before or after (RFC 8288), relative, so that it survives proxies."""
    query = {"server": found.name}
    if wanted.limit != PAGE:
        query["limit"] = str(wanted.limit)
    if found.before:
        return {"Link": f'</?{urlencode(query | {"until": iso(found.before)})}>; rel="prev"'}
    if found.after:
        query["since"] = iso(found.after)
        if wanted.until:
            query["until"] = iso(wanted.until)
        return {"Link": f'</?{urlencode(query)}>; rel="next"'}
    return {}
