"""Pages in a browser that keeps nothing for them, or has no room left."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from playwright.sync_api import Page, expect

from tests.browser import steps
from tests.browser.site import Site, slots

pytestmark = pytest.mark.xdist_group("browser")
REFUSALS = {
    "blocked": """for (const name of ["localStorage", "sessionStorage"]) {
      const get = () => { throw new DOMException("access is denied", "SecurityError"); };
      Object.defineProperty(window, name, { get });
    }""",
    "not there": """for (const name of ["localStorage", "sessionStorage"]) {
      Object.defineProperty(window, name, { value: null });
    }""",
    "full": """Storage.prototype.setItem = () => {
      throw new DOMException("there is no room", "QuotaExceededError");
    };""",
}
"""What browsers do that were told to block cookies, in some views of apps, and without room."""


@pytest.fixture(params=REFUSALS.values(), ids=REFUSALS)
def forgetful(request: pytest.FixtureRequest, site: Site, page: Page) -> Page:
    """A page of such a browser; there are two servers."""
    page.add_init_script(request.param)
    ids = site.add("web", "db", ago=timedelta(days=1))
    site.history(ids, slots(timedelta(hours=1)))
    return page


SHOWN = {
    "": "#servers .mark",
    "/servers/1": "#window[data-minutes]",
    "/servers/4711": "h1",
    "/add": "#one",
    "/account": "#open",
    "/graphql": ".graphiql-container",
}


@pytest.mark.parametrize("where", SHOWN)
def test_every_page_works(site: Site, forgetful: Page, where: str) -> None:
    forgetful.goto(f"{site.url}/dashboard{where}")
    expect(forgetful.locator(SHOWN[where]).first).to_be_visible()
    theme = forgetful.locator("html").get_attribute("data-theme")
    steps.button(forgetful, "Light or dark")
    expect(forgetful.locator("html")).not_to_have_attribute("data-theme", theme or "")
    forgetful.get_by_role("link", name="Fleet").click()
    expect(forgetful.locator("#servers .mark")).to_have_count(2)


def test_the_form_to_log_in_works(guarded_site: Site, page: Page) -> None:
    page.add_init_script(REFUSALS["blocked"])
    steps.log_in(page, guarded_site)
    steps.button(page, "Log out")
    page.wait_for_url("**/login")


def test_the_list_is_sought_and_the_address_keeps_it(site: Site, forgetful: Page) -> None:
    steps.fleet(forgetful, site)
    forgetful.get_by_label("Search").fill("db")
    expect(forgetful.locator("#servers .mark")).to_have_count(1)
    expect(forgetful).to_have_url(f"{site.url}/dashboard?search=db")
    forgetful.reload()
    expect(forgetful.locator("#servers .mark")).to_have_count(1)
    expect(forgetful.get_by_label("Search")).to_have_value("db")
    forgetful.get_by_role("link", name="db").click()
    forgetful.get_by_role("link", name="All servers").click()
    expect(forgetful.locator("#servers .mark")).to_have_count(2)


def lists(page: Page) -> None:
    """Add two servers of a list, one of which is refused."""
    page.get_by_label("One server per line").fill("new, 127.0.0.9\nbad, 127.1")
    steps.button(page, "Add all")
    expect(page.locator("#done")).to_have_text("1 server saved, 1 refused")


def one(page: Page) -> None:
    """Add one server."""
    page.get_by_label("Name", exact=True).fill("new")
    page.get_by_label("IPv4 address").fill("127.0.0.9")
    steps.button(page, "Add")
    expect(page.locator(".toast")).to_have_text("Added new")


@pytest.mark.parametrize("add", [one, lists])
def test_servers_are_added(site: Site, forgetful: Page, add: Callable[[Page], None]) -> None:
    forgetful.goto(f"{site.url}/dashboard/add")
    add(forgetful)
    assert site.names() == ["web", "db", "new"]


def test_a_removal_happens_and_who_leaves_before_keeps_the_server(
    site: Site, forgetful: Page
) -> None:
    forgetful.clock.install()
    steps.server(forgetful, site, 1)
    steps.button(forgetful, "Remove")
    expect(forgetful.get_by_role("button", name="Undo")).to_be_focused()
    forgetful.get_by_role("link", name="Fleet").click()
    expect(forgetful.locator("#servers .mark")).to_have_count(2)
    forgetful.clock.fast_forward(20_000)
    assert site.names() == ["web", "db"]
    steps.server(forgetful, site, 1)
    steps.button(forgetful, "Remove")
    forgetful.clock.fast_forward(9_000)
    forgetful.wait_for_url(f"{site.url}/dashboard")
    expect(forgetful.locator("#servers .mark")).to_have_count(1)
    assert site.names() == ["db"]
