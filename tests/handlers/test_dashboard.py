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
from handlers import api, dashboard
from tests import people

ROOT = Path(__file__).parents[2]
LOCK = json.loads((ROOT / "package-lock.json").read_text())
BROWSER = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}
PAGES = ["/dashboard", "/dashboard/add", "/dashboard/account", "/dashboard/servers/1", "/login"]
CDN = "https://cdn.jsdelivr.net"


@pytest.fixture
def settings(sqlite_settings: Settings) -> Settings:
    """The pages know no database: one kind is enough."""
    return replace(sqlite_settings, authentication=False)


@pytest.fixture
def guarded(sqlite_settings: Settings) -> Iterator[FlaskClient]:
    """A client of an application that asks for tokens."""
    app = api.create_app(replace(sqlite_settings, authentication=True))
    for name, role in (("ann", "admin"), ("eve", "editor"), ("viv", "viewer")):
        people.add(app.extensions["pinglet"], name, people.Role(role))
    yield app.test_client()
    app.extensions["pinglet"].engine.dispose()


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


# What a page may load


@pytest.mark.parametrize("page", PAGES)
def test_a_page_loads_only_what_is_ours(
    client: FlaskClient, page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = tmp_path / "chart.js" / "dist" / "chart.umd.min.js"
    installed.parent.mkdir(parents=True)
    installed.write_text("// what npm has put there")
    monkeypatch.setattr(dashboard, "MODULES", tmp_path)
    rules = policy(client, page)
    assert rules["default-src"] == rules["base-uri"] == rules["frame-ancestors"] == ["'none'"]
    assert rules["script-src"] == rules["style-src"] == rules["connect-src"] == ["'self'"]
    with client.get("/static/chart.js") as response:
        assert response.data == installed.read_bytes()


@pytest.mark.parametrize("page", PAGES)
def test_without_npm_only_the_page_with_a_chart_may_use_the_cdn(
    client: FlaskClient, page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dashboard, "MODULES", tmp_path)
    has_chart = "/servers/" in page
    allowed = ["'self'", dashboard.CDN_CHART.address] if has_chart else ["'self'"]
    assert policy(client, page)["script-src"] == allowed
    tags = re.findall(r"<script[^>]*cdn[^>]*>", client.get(page).text)
    assert len(tags) == has_chart
    for tag in tags:
        assert f'integrity="{dashboard.CDN_CHART.integrity}"' in tag
        assert 'crossorigin="anonymous"' in tag


def test_the_cdn_is_asked_for_the_version_that_npm_installs() -> None:
    version = LOCK["packages"]["node_modules/chart.js"]["version"]
    assert dashboard.CDN_CHART.address.startswith(f"{CDN}/npm/chart.js@{version}/")
    assert json.loads((ROOT / "package.json").read_text())["dependencies"]["chart.js"] == version


@pytest.mark.parametrize("page", PAGES)
def test_nothing_is_inline(client: FlaskClient, page: str) -> None:
    text = client.get(page).text
    assert re.findall(r"<style|\sstyle=|\son\w+=|<script>|javascript:", text) == []


@pytest.mark.parametrize("page", PAGES)
def test_no_page_is_kept_by_the_browser(client: FlaskClient, page: str) -> None:
    assert client.get(page).headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize(
    "path", ["../dashboard.py", "..%2Fdashboard.py", "%2e%2e/dashboard.py", "missing.js", ""]
)
def test_only_static_files_are_served(client: FlaskClient, path: str) -> None:
    assert client.get(f"/static/{path}").status_code == 404
