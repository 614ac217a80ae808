"""The pages: plain HTML around JavaScript that calls /api/v1, and the libraries that they load."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from pathlib import Path
from secrets import token_urlsafe

from flask import Response, abort, render_template
from flask.typing import ResponseReturnValue

from core.clock import utc_now
from core.errors import IncidentUnknown
from core.incidents import find as incidents
from core.servers import find
from handlers.http import assets, browser, gate, notice
from handlers.http.routes import PUBLIC, READ, WRITE, Routes
from handlers.instance import Instance

ROUTES = Routes()
MODULES = Path(__file__).parents[2] / "node_modules"
CDN = "https://cdn.jsdelivr.net/npm"


@dataclass(frozen=True, slots=True)
class Library:
    """A file of an npm package; `integrity` is its hash, wherever it comes from."""

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
        return f"{CDN}/{self.package}@{self.version}/{self.file}"


@dataclass(frozen=True, slots=True)
class Source:
    """Where the browser finds a library; `integrity` where that isn't us."""

    address: str
    integrity: str = ""

    @property
    def policy(self) -> str:
        """What a Content-Security-Policy allows: the CDN holds all of npm, so it is one file."""
        return self.address if self.integrity else "'self'"


LIBRARIES: Mapping[str, Library] = {
    "chart.js": Library(
        "chart.js",
        "4.6.1",
        "dist/chart.umd.min.js",
        "sha384-Emf5ZVIUiarAdhkgtqK+5/Z5qIvM6QoVrS+qAVtfyZVuD5lIHrac0me485+Antp0",
    ),
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
"""By the name under which we serve them. What Lambda runs holds only Chart.js (infra/build.py)."""


def source(name: str) -> Source:
    """Return where the browser finds a library."""
    library = LIBRARIES[name]
    file = MODULES / library.path
    if file.is_file():
        return Source(browser.address(f"/static/lib/{assets.hash_of(file)}/{name}"))
    return Source(library.cdn, library.integrity)


@ROUTES("GET", "/static/lib/<hash_there>/<name>", may=PUBLIC)
def library_file(_here: Instance, hash_there: str, name: str) -> Response:
    """Return a library's file; 404 for what is none, or isn't installed."""
    file = MODULES / LIBRARIES[name].path if name in LIBRARIES else None
    if file is None or not file.is_file():
        abort(404)
    return assets.answer(file, hash_there, assets.hash_of(file))


PAGES = (
    ("fleet", "/dashboard", "Fleet", READ),
    ("incidents", "/dashboard/incidents", "Incidents", READ),
    ("add", "/dashboard/add", "Add", READ),
    ("rules", "/dashboard/rules", "Rules", READ),
    ("account", "/dashboard/account", "Account", READ),
    ("explorer", "/dashboard/graphql", "GraphQL", WRITE),
)
"""Their templates, addresses and labels, and who may see them."""
LOADED = {
    "server": ("chart.js",),
    "incident": ("chart.js",),
    "explorer": ("react.js", "react-dom.js", "graphiql.js", "graphiql.css"),
}
"""The libraries of a page, in the order in which they are loaded."""


def page(_here: Instance, name: str, title: str) -> ResponseReturnValue:
    """Return one of the pages."""
    return _rendered(name, title)


def gone(title: str, address: str, label: str) -> ResponseReturnValue:
    """Return the page that says that something isn't there, and leads elsewhere."""
    return _rendered("gone", title, HTTPStatus.NOT_FOUND, instead=(address, label))


def _rendered(
    name: str, title: str, code: HTTPStatus = HTTPStatus.OK, **more: object
) -> ResponseReturnValue:
    loaded = {each: source(each) for each in LOADED.get(name, ())}
    me = None if name == "login" else gate.whoami()
    # GraphiQL makes a style element for its dialogs; the page tells it what lets it stand.
    nonce = token_urlsafe(16) if name == "explorer" else ""
    html = render_template(
        f"{name}.html",
        page=name,
        title=title,
        pages=PAGES,
        libraries=loaded,
        me=me,
        nonce=nonce,
        **more,
    )
    response = Response(html, code)
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


def _sources(loaded: Iterable[Source]) -> str:
    return " ".join(dict.fromkeys(["'self'", *(one.policy for one in loaded)]))


@ROUTES("GET", "/dashboard/servers/<int:server_id>", may=READ)
def server_page(here: Instance, server_id: int) -> ResponseReturnValue:
    """Return the page of one server, whose script reads the id from the address; 404 without it."""
    with here.database.reading() as session:
        found = find.existing(session, [server_id])
    if not found:
        return gone("Server not found", "/dashboard", "See all servers")
    return page(here, "server", f"Server {server_id}")


@ROUTES("GET", "/dashboard/incidents/<int:incident_id>", may=READ)
def incident_page(here: Instance, incident_id: int) -> ResponseReturnValue:
    """Return the page of one incident; its script reads the id from the address."""
    try:
        with here.database.reading() as session:
            incidents.one(session, incident_id, utc_now())
    except IncidentUnknown:
        return gone("Incident not found", "/dashboard/incidents", "See all incidents")
    return page(here, "incident", f"Incident {incident_id}")


@ROUTES("GET", "/login", may=PUBLIC)
def login(here: Instance) -> ResponseReturnValue:
    """Return the form to log in, or what has to be done before anybody can."""
    if gate.is_before_users(here) and not gate.is_open_to_caller(here):
        found = notice.nobody_yet(is_closed=here.settings.authentication)
        return notice.page(found, HTTPStatus.OK)
    return page(here, "login", "Log in")


for _name, _address, _label, _level in PAGES:
    ROUTES("GET", _address, may=_level)(partial(page, name=_name, title=_label))
