"""The application: its views, its one gate, its one table of errors."""

from typing import Any

from flask import Flask, Request
from flask.json.provider import DefaultJSONProvider
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge

from core.errors import CoreError
from core.settings import Settings
from handlers.http import compression, contract, gate, pages, people, routes, servers
from handlers.http.errors import reply_with_error, reply_with_fault, reply_with_refusal
from infra.database import Database

MAX_BODY = 1_000_000  # bytes; more is 413 before it is read


class BoundedRequest(Request):
    """A request whose body is at most MAX_BODY long, also when it came without a length.

    Werkzeug cuts a chunked body off at the limit without a word; what is left would be read as if
    it were all. So Werkzeug may take one octet more than we do.
    """

    def get_data(self, *args: Any, **kwargs: Any) -> Any:
        """Return the body. Raises RequestEntityTooLarge."""
        body = super().get_data(*args, **kwargs)
        if len(body) > MAX_BODY:
            raise RequestEntityTooLarge
        return body


class OrderedJson(DefaultJSONProvider):
    """JSON with its keys in the order the contract gives them."""

    sort_keys = False
    compact = True


def create_app(settings: Settings | None = None) -> Flask:
    """Build the application. Opens no connection. Raises SettingsError."""
    settings = settings or Settings.from_env()
    database = Database(settings)
    app = Flask(__name__, static_folder=None)
    app.json = OrderedJson(app)
    app.request_class = BoundedRequest
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY + 1
    app.config["PROVIDE_AUTOMATIC_OPTIONS"] = False
    app.url_map.merge_slashes = False  # or // would be redirected, in HTML
    app.extensions["pinglet"] = database
    gate.guard(app, database)
    contract.register(app, database)
    people.register(app, database)
    pages.register(app)
    servers.register(app, database)
    graphql = routes.Later("handlers.http.graphql.answer", database)
    app.add_url_rule("/graphql", "graphql", graphql, methods=["GET", "POST"])
    compression.register(app)
    app.register_error_handler(CoreError, reply_with_error)
    app.register_error_handler(HTTPException, reply_with_refusal)
    app.register_error_handler(Exception, reply_with_fault)
    return app
