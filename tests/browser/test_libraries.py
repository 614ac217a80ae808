"""Chart.js from a CDN, where npm hasn't put it beside us: npm's own file or none."""

import base64
import hashlib
from pathlib import Path

import pytest
from playwright.sync_api import Page, Route, expect

from handlers.http import pages
from handlers.http.pages import LIBRARIES
from tests.browser import steps
from tests.browser.site import Site
from tests.infra.npm import ROOT, need_tools

pytestmark = pytest.mark.xdist_group("browser")
CHART = LIBRARIES["chart.js"]
FILE = ROOT / "node_modules" / CHART.path


@pytest.fixture
def without_npm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """There are no node_modules."""
    monkeypatch.setattr(pages, "MODULES", tmp_path)


def cdn_answers(page: Page, script: bytes) -> None:
    """Have the CDN, which isn't asked, answer so."""
    headers = {"Content-Type": "text/javascript", "Access-Control-Allow-Origin": "*"}

    def answer(route: Route) -> None:
        route.fulfill(body=script, headers=headers)

    page.route(CHART.cdn, answer)


@pytest.mark.parametrize("name", LIBRARIES)
def test_the_hash_in_the_page_is_that_of_what_npm_installs(name: str) -> None:
    need_tools("the libraries' hashes")
    file = ROOT / "node_modules" / LIBRARIES[name].path
    digest = base64.b64encode(hashlib.sha384(file.read_bytes()).digest()).decode()
    assert LIBRARIES[name].integrity == f"sha384-{digest}"


@pytest.mark.usefixtures("without_npm")
def test_the_chart_is_drawn_with_the_cdns_file(site: Site, page: Page) -> None:
    (server_id,) = site.add("web")
    cdn_answers(page, FILE.read_bytes())
    steps.server(page, site, server_id)
    assert steps.ink(page, "#chart")[0] > 1_000


@pytest.mark.usefixtures("without_npm")
def test_a_changed_file_of_the_cdn_does_not_run_and_the_page_says_so(
    site: Site, page: Page
) -> None:
    (server_id,) = site.add("web")
    cdn_answers(page, FILE.read_bytes() + b"\nalert(1)")
    with page.expect_console_message(lambda message: "integrity" in message.text):
        page.goto(f"{site.url}/dashboard/servers/{server_id}")
    expect(page.locator(".chart")).to_contain_text("Chart.js didn't load")
    expect(page.locator("h1")).to_have_text("web")
    assert page.evaluate("typeof Chart") == "undefined"
