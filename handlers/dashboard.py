"""The pages: plain HTML around JavaScript that calls /api/v1. All they say is who is looking."""

from dataclasses import dataclass
from pathlib import Path

from flask import Flask, Response, render_template, send_from_directory
from flask.typing import ResponseReturnValue

from handlers import auth

HERE = Path(__file__).parent
CHART = Path("chart.js") / "dist" / "chart.umd.min.js"
MODULES = HERE.parent / "node_modules"
PAGES = (
    ("fleet", "/dashboard", "Fleet"),
    ("add", "/dashboard/add", "Add"),
    ("account", "/dashboard/account", "Account"),
)


@dataclass(frozen=True, slots=True)
class Script:
    """Where the browser finds Chart.js; `integrity` where that isn't us."""

    address: str
    integrity: str = ""


OWN_CHART = Script("/static/chart.js")
CDN_CHART = Script(
    "https://cdn.jsdelivr.net/npm/chart.js@4.6.1/dist/chart.umd.min.js",
    "sha384-Emf5ZVIUiarAdhkgtqK+5/Z5qIvM6QoVrS+qAVtfyZVuD5lIHrac0me485+Antp0",
)


def register(app: Flask) -> None:
    """Serve the pages and what they load."""
    for name, address, label in PAGES:
        app.add_url_rule(address, f"GET {address}", page, defaults={"name": name, "title": label})
    app.add_url_rule("/dashboard/servers/<int:server_id>", "GET server page", server_page)
    app.add_url_rule("/login", "GET /login", page, defaults={"name": "login", "title": "Log in"})
    app.add_url_rule("/static/<path:filename>", "static", static)


def page(name: str, title: str) -> ResponseReturnValue:
    """Return one of the pages."""
    chart = OWN_CHART if (MODULES / CHART).is_file() else CDN_CHART
    me = None if name == "login" else auth.whoami()
    html = render_template(f"{name}.html", page=name, title=title, pages=PAGES, chart=chart, me=me)
    response = Response(html)
    # Nothing inline, nothing from elsewhere: a name that gets through as markup can do nothing.
    # The CDN holds all of npm, so it is one file of it that may run.
    scripts = f"'self' {chart.address}" if name == "server" and chart is CDN_CHART else "'self'"
    response.headers["Content-Security-Policy"] = (
        f"default-src 'none'; script-src {scripts}; style-src 'self'; img-src 'self' data:; "
        "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    )
    return response


def server_page(server_id: int) -> ResponseReturnValue:
    """Return the page of one server; its script reads the id from the address."""
    return page("server", f"Server {server_id}")


def static(filename: str) -> ResponseReturnValue:
    """Return a file that the pages load: ours, or Chart.js where npm has put it."""
    if filename == "chart.js":
        response = send_from_directory(MODULES, CHART.as_posix())
    else:
        response = send_from_directory(HERE / "static", filename)
    response.headers["Cache-Control"] = "no-cache"  # asked for again, answered by 304
    return response
