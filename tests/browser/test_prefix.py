"""Under a prefix each page works: the quick sibling of all other tests here, which run there, too.

Whatever leaves the prefix finds nothing: nobody serves what is outside.
"""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest
from playwright.sync_api import Page, expect

from core.settings import Settings
from tests import people
from tests.browser import steps
from tests.browser.conftest import Seen
from tests.browser.site import Site, serve, slots

pytestmark = pytest.mark.xdist_group("browser")


@pytest.fixture
def prefixed(sqlite_settings: Settings) -> Iterator[Site]:
    """Pinglet under a prefix, with an admin "ann"."""
    with serve(replace(sqlite_settings, authentication=True), "/monitor/pinglet") as served:
        people.add(served.database)
        yield served


def test_ten_pages_work_under_a_prefix(prefixed: Site, page: Page, seen: Seen) -> None:
    wrong: list[str] = []
    page.on("response", lambda one: wrong.append(one.url) if one.status >= 400 else None)
    page.goto(f"{prefixed.url}/")
    page.wait_for_url(f"{prefixed.url}/login?next=*")
    steps.log_in(page, prefixed)
    expect(page.locator("#example")).to_contain_text(f"curl -X POST {prefixed.url}/")
    page.get_by_role("link", name="Add servers").last.click()
    page.get_by_label("Name", exact=True).fill("web")
    page.get_by_label("IPv4 address").fill("127.0.0.1")
    steps.button(page, "Add")
    expect(page.locator("#toasts")).to_contain_text("web")
    prefixed.history([1], slots(timedelta(minutes=5)))
    page.get_by_role("link", name="Fleet").click()
    page.get_by_role("link", name="web").click()
    page.wait_for_url(f"{prefixed.url}/dashboard/servers/1")
    expect(page.locator("#figures .tile")).to_have_count(6)
    page.get_by_role("link", name="All servers").click()
    page.get_by_label("Search").fill("we")
    page.wait_for_url(f"{prefixed.url}/dashboard?search=we")
    page.get_by_role("link", name="GraphQL").click()
    with page.expect_response(lambda response: response.url == f"{prefixed.url}/graphql"):
        page.get_by_role("button", name="Execute").click()
    page.goto(f"{prefixed.url}/api/v1/docs")
    page.get_by_role("link", name="openapi.json", exact=True).click()
    page.wait_for_url(f"{prefixed.url}/api/v1/openapi.json")
    page.goto(f"{prefixed.url}/dashboard/servers/4711")
    page.get_by_role("link", name="See all servers").click()
    page.get_by_role("link", name="Account").click()
    expect(page.locator("#users tr")).to_have_count(1)
    steps.button(page, "Log out")
    page.wait_for_url(f"{prefixed.url}/login")
    page.goto(f"{prefixed.url}/dashboard/add")
    page.wait_for_url(f"{prefixed.url}/login?next=*")
    assert seen.outside(prefixed) == []
    assert wrong == [f"{prefixed.url}/dashboard/servers/4711"]
