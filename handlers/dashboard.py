"""The pages: plain HTML around JavaScript that calls /api/v1. All they say is who is looking."""

from collections.abc import Iterable
from pathlib import Path
from secrets import token_urlsafe

from flask import Flask, Response, render_template, send_from_directory
from flask.typing import ResponseReturnValue

from handlers import auth, libraries

HERE = Path(__file__).parent
PAGES = (
    ("fleet", "/dashboard", "Fleet"),
    ("add", "/dashboard/add", "Add"),
    ("account", "/dashboard/account", "Account"),
    ("explorer", "/dashboard/graphql", "GraphQL"),
)
LOADED = {
    "server": ("chart.js",),
    "explorer": ("react.js", "react-dom.js", "graphiql.js", "graphiql.css"),
}
"""The libraries of a page, in the order in which they are loaded."""


def register(app: Flask) -> None:
    """Serve the pages and what they load."""
    for name, address, label in PAGES:
        app.add_url_rule(address, f"GET {address}", page, defaults={"name": name, "title": label})
    app.add_url_rule("/dashboard/servers/<int:server_id>", "GET server page", server_page)
    app.add_url_rule("/login", "GET /login", page, defaults={"name": "login", "title": "Log in"})
    app.add_url_rule("/static/<path:filename>", "static", static)
    app.add_url_rule("/static/lib/<name>", "library", libraries.serve)


def page(name: str, title: str) -> ResponseReturnValue:
    """Return one of the pages."""
    loaded = {each: libraries.source(each) for each in LOADED.get(name, ())}
    me = None if name == "login" else auth.whoami()
    # GraphiQL makes a style element for its dialogs; the page tells it what lets it stand.
    nonce = token_urlsafe(16) if name == "explorer" else ""
    html = render_template(
        f"{name}.html", page=name, title=title, pages=PAGES, libraries=loaded, me=me, nonce=nonce
    )
    response = Response(html)
    # Nothing inline, nothing from elsewhere: a name that gets through as markup can do nothing.
    scripts = _sources(one for each, one in loaded.items() if each.endswith(".js"))
    styles = _sources(one for each, one in loaded.items() if each.endswith(".css"))
    if nonce:
        styles += f" 'nonce-{nonce}'; font-src data:"
    response.headers["Content-Security-Policy"] = (
        f"default-src 'none'; script-src {scripts}; style-src {styles}; img-src 'self' data:; "
        "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    )
    return response


def _sources(loaded: Iterable[libraries.Source]) -> str:
    return " ".join(dict.fromkeys(["'self'", *(one.policy for one in loaded)]))


def server_page(server_id: int) -> ResponseReturnValue:
    """Return the page of one server; its script reads the id from the address."""
    return page("server", f"Server {server_id}")


def static(filename: str) -> ResponseReturnValue:
    """Return a file of ours that the pages load."""
    response = send_from_directory(HERE / "static", filename)
    response.headers["Cache-Control"] = "no-cache"  # asked for again, answered by 304
    return response
