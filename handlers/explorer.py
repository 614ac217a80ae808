"""The page to explore /graphql with: GraphiQL, from npm if it is there, else from a CDN."""

from dataclasses import dataclass
from pathlib import Path
from secrets import token_urlsafe

from flask import Flask, Response, abort, render_template, send_from_directory
from flask.typing import ResponseReturnValue

from handlers import auth
from handlers.dashboard import MODULES, PAGES


@dataclass(frozen=True, slots=True)
class Library:
    """A file of an npm package: which, and the hash that it has wherever it comes from."""

    package: str
    version: str
    file: str
    integrity: str

    @property
    def path(self) -> Path:
        """Where npm puts it, below node_modules."""
        return Path(self.package) / self.file

    @property
    def cdn(self) -> str:
        """Where it is when npm isn't."""
        return f"https://cdn.jsdelivr.net/npm/{self.package}@{self.version}/{self.file}"


# In the order in which they are loaded.
LIBRARIES = {
    "react.js": Library(
        "react",
        "18.3.1",
        "umd/react.production.min.js",
        "sha384-DGyLxAyjq0f9SPpVevD6IgztCFlnMF6oW/XQGmfe+IsZ8TqEiDrcHkMLKI6fiB/Z",
    ),
    "react-dom.js": Library(
        "react-dom",
        "18.3.1",
        "umd/react-dom.production.min.js",
        "sha384-gTGxhz21lVGYNMcdJOyq01Edg0jhn/c22nsx0kyqP0TxaV5WVdsSH1fSDUf5YJj1",
    ),
    "graphiql.js": Library(
        "graphiql",
        "4.1.2",
        "dist/index.umd.js",
        "sha384-9XdHu7ajgGJziD4J1zNBKQ842Q/+zZfDv+ib1eMhZWBH6hPAs806x+Jbcf0yNO6B",
    ),
    "graphiql.css": Library(
        "graphiql",
        "4.1.2",
        "dist/style.css",
        "sha384-1el1QShFBnnXTx9x/Cprg82hZWKt0ry29OAYIXt05swbi0KcZDFoj0CWguMpopJr",
    ),
}


def register(app: Flask) -> None:
    """Serve the page and what it loads."""
    app.add_url_rule("/dashboard/graphql", "GET explorer", page)
    app.add_url_rule("/static/explorer/<name>", "explorer", library)


def page() -> ResponseReturnValue:
    """Return the page."""
    own = all((MODULES / one.path).is_file() for one in LIBRARIES.values())
    found = {name: Script(name, one, own) for name, one in LIBRARIES.items()}
    nonce = token_urlsafe(16)
    html = render_template(
        "explorer.html",
        page="explorer",
        title="GraphQL",
        pages=PAGES,
        me=auth.whoami(),
        libraries=found,
        nonce=nonce,
    )
    response = Response(html)
    scripts = " ".join(found[name].source for name in found if name.endswith(".js"))
    styles = found["graphiql.css"].source
    # As on all pages, and a style element that GraphiQL makes for its dialogs: it bears the nonce.
    response.headers["Content-Security-Policy"] = (
        f"default-src 'none'; script-src 'self' {scripts}; style-src 'self' {styles} "
        f"'nonce-{nonce}'; font-src data:; img-src 'self' data:; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    )
    return response


@dataclass(frozen=True, slots=True)
class Script:
    """Where the browser finds a library."""

    name: str
    library: Library
    own: bool

    @property
    def address(self) -> str:
        """What the page refers to."""
        return f"/static/explorer/{self.name}" if self.own else self.library.cdn

    @property
    def integrity(self) -> str:
        """What the browser is to check: nothing where it is ours."""
        return "" if self.own else self.library.integrity

    @property
    def source(self) -> str:
        """What the policy allows."""
        return "'self'" if self.own else self.library.cdn


def library(name: str) -> ResponseReturnValue:
    """Return a library's file, where npm has put it."""
    if name not in LIBRARIES:
        abort(404)
    response = send_from_directory(MODULES, LIBRARIES[name].path.as_posix())
    response.headers["Cache-Control"] = "no-cache"  # asked for again, answered by 304
    return response
