"""The pages as they leave the server: who is sent where, and what they may load."""

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from flask.testing import FlaskClient

from core.settings import Settings
from handlers.http import pages
from handlers.http.app import create_app
from tests import people
from tests.handlers.http.test_incidents import an_outage

ROOT = Path(__file__).parents[3]
LOCK = json.loads((ROOT / "package-lock.json").read_text())
BROWSER = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}
EXPLORER = "/dashboard/graphql"
SERVER, NO_SERVER = "/dashboard/servers/1", "/dashboard/servers/4711"
INCIDENT, NO_INCIDENT = "/dashboard/incidents/1", "/dashboard/incidents/4711"
PAGES = ["/dashboard", "/dashboard/incidents", "/dashboard/add", "/dashboard/account"]
PAGES += ["/dashboard/rules", SERVER, NO_SERVER, INCIDENT, NO_INCIDENT, EXPLORER, "/login"]
LOADED = {
    SERVER: pages.LOADED["server"],
    INCIDENT: pages.LOADED["incident"],
    EXPLORER: pages.LOADED["explorer"],
}


@pytest.fixture
def settings(sqlite_settings: Settings) -> Settings:
    """The pages know no database: one kind is enough."""
    return replace(sqlite_settings, authentication=False)


@pytest.fixture
def a_server(client: FlaskClient) -> None:
    """A server that is down; it has the id 1, and so has its incident."""
    assert an_outage(client) == (1, 1)


@pytest.fixture
def guarded(sqlite_settings: Settings) -> Iterator[FlaskClient]:
    """A client of an application that asks for tokens."""
    app = create_app(replace(sqlite_settings, authentication=True))
    for name, role in (("ann", "admin"), ("eve", "editor"), ("viv", "viewer")):
        people.add(app.extensions["pinglet"].database, name, people.Role(role))
    yield app.test_client()
    app.extensions["pinglet"].database.engine.dispose()


def policy(client: FlaskClient, page: str) -> dict[str, list[str]]:
    """Return a page's Content-Security-Policy by directive."""
    rules = client.get(page).headers["Content-Security-Policy"].split("; ")
    return {words[0]: words[1:] for words in (rule.split() for rule in rules)}


# Who is sent where


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_browser_is_sent_from_the_root_to_the_dashboard(client: FlaskClient, method: str) -> None:
    response = client.open("/", method=method, headers=BROWSER)
    assert (response.status_code, response.headers["Location"]) == (302, "/dashboard")
    assert response.data == b""


@pytest.mark.parametrize(
    "accept",
    ["*/*", "application/json", "text/html;q=0.5, application/json", "application/json, text/html"],
)
def test_a_program_is_answered_at_the_root(client: FlaskClient, accept: str) -> None:
    response = client.get("/", headers={"Accept": accept})
    assert (response.status_code, response.get_json()) == (200, {"servers": []})


def test_who_accepts_anything_or_says_nothing_is_a_program(client: FlaskClient) -> None:
    assert client.get("/").get_json() == {"servers": []}


def test_a_browser_that_names_a_server_is_answered(client: FlaskClient) -> None:
    assert client.get("/?server=web", headers=BROWSER).status_code == 404
    assert client.get("/", data=b'{"server": "web"}', headers=BROWSER).status_code == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_a_browser_that_changes_something_is_not_sent_away(
    client: FlaskClient, method: str
) -> None:
    assert client.open("/", method=method, headers=BROWSER).status_code == 400


@pytest.mark.parametrize("headers", [{}, BROWSER])
def test_caches_are_told_that_the_root_depends_on_accept(
    client: FlaskClient, headers: dict[str, str]
) -> None:
    assert "Accept" in client.get("/", headers=headers).vary


@pytest.mark.parametrize("page", PAGES[:-1])
def test_a_browser_without_a_token_is_sent_to_the_form_and_back(
    guarded: FlaskClient, page: str
) -> None:
    response = guarded.get(page, headers=BROWSER)
    assert response.status_code == 302
    assert response.headers["Location"] == f"/login?next={page.replace('/', '%2F')}"
    assert guarded.get("/login", headers=BROWSER).status_code == 200


def test_whoever_is_sent_to_the_form_keeps_the_filter_in_the_address(guarded: FlaskClient) -> None:
    response = guarded.get("/dashboard?state=down&search=a%26b", headers=BROWSER)
    wanted = parse_qs(urlsplit(response.headers["Location"]).query)["next"]
    assert wanted == ["/dashboard?state=down&search=a%26b"]


@pytest.mark.parametrize(("name", "may"), [("ann", "admin"), ("eve", "write"), ("viv", "read")])
def test_a_page_says_who_looks_and_what_they_may(guarded: FlaskClient, name: str, may: str) -> None:
    wanted = {"name": name, "password": people.PASSWORD}
    assert guarded.post("/api/v1/session", json=wanted).status_code == 201
    text = guarded.get("/dashboard", headers=BROWSER).text
    assert f'data-may="{may}"' in text
    assert f'<bdi id="who">{name}</bdi>' in text
    assert "data-open" not in text


@pytest.mark.parametrize("page", ["/", "/dashboard", "/api/v1/servers"])
def test_a_program_without_a_token_is_refused(guarded: FlaskClient, page: str) -> None:
    response = guarded.get(page)
    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"] == "Bearer"


# A server that doesn't exist


@pytest.mark.usefixtures("a_server")
@pytest.mark.parametrize("server_id", [0, 2, 4711, 2**31, 2**63, 10**40])
def test_the_page_of_no_server_says_so_and_leads_back(client: FlaskClient, server_id: int) -> None:
    assert client.get(SERVER, headers=BROWSER).status_code == 200
    response = client.get(f"/dashboard/servers/{server_id}", headers=BROWSER)
    assert response.status_code == 404
    assert "Server not found" in response.text
    assert '<a href="/dashboard">See all servers</a>' in response.text


@pytest.mark.usefixtures("a_server")
@pytest.mark.parametrize("incident_id", [0, 2, 4711, 2**63])
def test_the_page_of_no_incident_says_so_and_leads_back(
    client: FlaskClient, incident_id: int
) -> None:
    assert client.get(INCIDENT, headers=BROWSER).status_code == 200
    response = client.get(f"/dashboard/incidents/{incident_id}", headers=BROWSER)
    assert response.status_code == 404
    assert "Incident not found" in response.text
    assert '<a href="/dashboard/incidents">See all incidents</a>' in response.text


@pytest.mark.parametrize("headers", [{}, BROWSER])
def test_a_stranger_is_not_told_which_servers_there_are(
    guarded: FlaskClient, headers: dict[str, str]
) -> None:
    made = guarded.post(
        "/api/v1/servers", json={"name": "web", "ip": "127.0.0.1"}, headers=people.basic("ann")
    )
    assert made.status_code == 201
    there, missing = (
        guarded.get(f"/dashboard/servers/{server_id}", headers=headers) for server_id in (1, 2)
    )
    assert there.status_code == missing.status_code == (302 if headers else 401)
    assert there.data == missing.data


# What a page may load


def nothing_but(page: str, allowed: dict[str, list[str]]) -> dict[str, list[str]]:
    """Return what a page's policy is to be; that of the explorer also lets its own style stand."""
    return {
        "default-src": ["'none'"],
        "script-src": ["'self'"],
        "style-src": ["'self'"],
        "img-src": ["'self'", "data:"],
        "connect-src": ["'self'"],
        "form-action": ["'self'"],
        "base-uri": ["'none'"],
        "frame-ancestors": ["'none'"],
        **({"font-src": ["data:"]} if page == EXPLORER else {}),
        **allowed,
    }


def without_nonce(rules: dict[str, list[str]]) -> dict[str, list[str]]:
    """Return a policy without the word that is another one each time."""
    return {
        name: [word for word in words if not word.startswith("'nonce-")]
        for name, words in rules.items()
    }


@pytest.mark.usefixtures("a_server")
@pytest.mark.parametrize("page", PAGES)
def test_a_page_loads_only_what_is_ours(
    client: FlaskClient, page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for library in pages.LIBRARIES.values():
        (tmp_path / library.path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / library.path).write_text(f"// {library.path} as npm has put it there")
    monkeypatch.setattr(pages, "MODULES", tmp_path)
    assert without_nonce(policy(client, page)) == nothing_but(page, {})
    for name in LOADED.get(page, ()):
        loads = re.findall(rf'"(/static/lib/[0-9a-f]{{16}}/{name})"', client.get(page).text)
        assert client.get(loads[0]).text.startswith(f"// {pages.LIBRARIES[name].path} ")


@pytest.mark.usefixtures("a_server")
@pytest.mark.parametrize("page", PAGES)
def test_without_npm_a_page_may_load_its_libraries_from_the_cdn_and_nothing_else(
    client: FlaskClient, page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "MODULES", tmp_path)
    needed = [(name, pages.LIBRARIES[name]) for name in LOADED.get(page, ())]
    kinds = {"script-src": ".js", "style-src": ".css"}
    allowed = {
        rule: ["'self'", *(one.cdn for name, one in needed if name.endswith(kind))]
        for rule, kind in kinds.items()
    }
    assert without_nonce(policy(client, page)) == nothing_but(page, allowed)
    tags = re.findall(r"<(?:script|link)[^>]*jsdelivr[^>]*>", client.get(page).text)
    assert len(tags) == len(needed)
    for tag, (_name, one) in zip(tags, needed, strict=True):
        assert f'"{one.cdn}"' in tag
        assert f'integrity="{one.integrity}"' in tag
        assert 'crossorigin="anonymous"' in tag


@pytest.mark.parametrize("name", pages.LIBRARIES)
def test_the_cdn_is_asked_for_the_version_that_npm_installs(name: str) -> None:
    library = pages.LIBRARIES[name]
    assert LOCK["packages"][f"node_modules/{library.package}"]["version"] == library.version
    wanted = json.loads((ROOT / "package.json").read_text())["dependencies"]
    assert wanted[library.package] == library.version


def test_the_explorers_style_is_allowed_by_a_word_that_is_said_once(client: FlaskClient) -> None:
    seen = set()
    for _ in range(3):
        response = client.get(EXPLORER)
        (nonce,) = re.findall(r'name="style-nonce" content="([^"]{20,})"', response.text)
        assert f"'nonce-{nonce}'" in response.headers["Content-Security-Policy"]
        seen.add(nonce)
    assert len(seen) == 3


@pytest.mark.usefixtures("a_server")
@pytest.mark.parametrize("page", PAGES)
def test_nothing_is_inline(client: FlaskClient, page: str) -> None:
    text = client.get(page).text
    assert re.findall(r"<style|\sstyle=|\son\w+=|<script>|javascript:", text) == []


@pytest.mark.usefixtures("a_server")
@pytest.mark.parametrize("page", PAGES)
def test_no_page_is_kept_by_the_browser(client: FlaskClient, page: str) -> None:
    assert client.get(page).headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize(
    "path", ["../dashboard.py", "..%2Fdashboard.py", "%2e%2e/dashboard.py", "missing.js", ""]
)
def test_only_static_files_are_served(client: FlaskClient, path: str) -> None:
    assert client.get(f"/static/{path}").status_code == 404
    for folder in ("0123456789abcdef", "lib", "lib/0123456789abcdef"):
        assert client.get(f"/static/{folder}/{path}").status_code == 404
