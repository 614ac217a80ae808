"""What the pages load of others: npm's files where npm has put them, else a CDN's by their hash."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from flask import Response, abort, send_from_directory

MODULES = Path(__file__).parent.parent / "node_modules"
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
    if (MODULES / library.path).is_file():
        return Source(f"/static/lib/{name}")
    return Source(library.cdn, library.integrity)


def serve(name: str) -> Response:
    """Return a library's file; 404 for what is none, or isn't installed."""
    if name not in LIBRARIES:
        abort(404)
    response = send_from_directory(MODULES, LIBRARIES[name].path.as_posix())
    response.headers["Cache-Control"] = "no-cache"  # asked for again, answered by 304
    return response
