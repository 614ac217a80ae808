"""What the pages say is for people: no status in JSON, no field's name, nothing that isn't so."""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta

import pytest
from playwright.sync_api import Browser, Page, expect

from core.settings import Settings
from tests.browser import steps
from tests.browser.conftest import Seen, watched
from tests.browser.site import Site, serve
from tests.browser.test_access import violations
from tests.people import PASSWORD

pytestmark = pytest.mark.xdist_group("browser")
SCHEMES = pytest.mark.parametrize("scheme", ["light", "dark"])
WIDTH = {"width": 320, "height": 800}


@pytest.fixture
def fresh_site(sqlite_settings: Settings, prefix: str) -> Iterator[Site]:
    """Pinglet as it has just been deployed: it asks for tokens, and nobody has any."""
    with serve(replace(sqlite_settings, authentication=True), prefix) as served:
        yield served


def by_name(site: Site) -> str:
    """Return the site's address by a name that it doesn't know; it leads to this machine."""
    return site.url.replace("127.0.0.1", "pinglet.localhost")


# Pages instead of JSON


def unknown_address(page: Page, site: Site) -> None:
    page.goto(f"{site.url}/dashbord")
    expect(page.locator("h1")).to_have_text("There is nothing here")


def unknown_name(page: Page, site: Site) -> None:
    page.goto(by_name(site))
    expect(page.locator("h1")).to_have_text("Pinglet isn't known by this name")


def from_elsewhere(page: Page, site: Site) -> None:
    page.set_extra_http_headers({"X-Forwarded-For": "192.0.2.7"})
    page.goto(f"{site.url}/dashboard")
    expect(page.locator("h1")).to_have_text("There are no users yet")


def docs(page: Page, site: Site) -> None:
    page.goto(f"{site.url}/api/v1/docs")
    expect(page.locator("h1")).to_contain_text("Pinglet")


@SCHEMES
@pytest.mark.parametrize("open_it", [unknown_address, unknown_name, from_elsewhere, docs])
def test_axe_finds_nothing_on_the_pages_of_one_sheet(
    site: Site, browser: Browser, scheme: str, open_it: Callable[[Page, Site], None]
) -> None:
    with watched(browser, color_scheme=scheme, viewport=WIDTH) as (context, _seen):
        page = context.new_page()
        open_it(page, site)
        assert violations(page) == []
        assert not page.evaluate("document.documentElement.scrollWidth > innerWidth")
        is_dark = "rgb(13, 19, 23)" == page.evaluate(
            "getComputedStyle(document.body).background.match(/rgb\\(.*?\\)/)[0]"
        )
        assert is_dark == (scheme == "dark")


def test_an_address_that_leads_nowhere_leads_on(site: Site, page: Page) -> None:
    unknown_address(page, site)
    page.get_by_role("link", name="See all servers").click()
    page.wait_for_url(f"{site.url}/dashboard")


def test_who_comes_by_an_unknown_name_is_told_what_to_set(
    site: Site, page: Page, seen: Seen
) -> None:
    unknown_name(page, site)
    expect(page.locator("main")).to_contain_text("PINGLET_HOSTS=pinglet.localhost")
    assert len(seen.requests) == 1  # it needs nothing that would be refused as well


def test_before_there_is_a_user_everybody_is_told_how_to_make_one(
    fresh_site: Site, page: Page
) -> None:
    page.goto(f"{fresh_site.url}/dashboard")
    expect(page.locator("h1")).to_have_text("There are no users yet")
    expect(page.locator("main")).to_contain_text("flask users add NAME")
    expect(page.get_by_label("Password")).to_have_count(0)


def test_a_viewer_who_opens_the_explorer_is_told_why_not(guarded_site: Site, page: Page) -> None:
    steps.log_in(page, guarded_site, "viv")
    page.goto(f"{guarded_site.url}/dashboard/graphql")
    expect(page.locator("main")).to_contain_text("This needs write access, which viv doesn't have.")


# The account


def test_a_wrong_old_password_is_said_where_it_was_typed(guarded_site: Site, page: Page) -> None:
    steps.log_in(page, guarded_site, "eve", at="/dashboard/account")
    form = page.locator("#password")
    old = form.get_by_label("Current password")
    old.fill("not it")
    form.get_by_label("New password").fill("another long password")
    steps.button(page, "Change password")
    expect(form.get_by_role("alert")).to_have_text("the old password is wrong")
    expect(old).to_have_attribute("aria-invalid", "true")
    expect(old).to_be_focused()
    expect(page).to_have_url(f"{guarded_site.url}/dashboard/account")
    old.fill(PASSWORD)
    steps.button(page, "Change password")
    page.wait_for_url("**/login")


FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:130.0) Gecko/20100101 Firefox/130.0"


def test_sessions_tell_their_browser_their_use_and_which_is_this_one(
    guarded_site: Site, browser: Browser, page: Page
) -> None:
    with watched(browser, user_agent=FIREFOX) as (context, _seen):
        steps.log_in(context.new_page(), guarded_site, "viv")
        steps.log_in(page, guarded_site, "viv", at="/dashboard/account")
        rows = page.locator("#tokens tr")
        expect(rows).to_have_count(2)
        expect(rows.nth(0)).to_contain_text("Firefox on Linux")
        expect(rows.nth(0)).not_to_contain_text("this session")
        expect(rows.nth(1)).to_contain_text(re.compile("Chrome on Linux.*this session"))
        for number in range(2):
            expect(rows.nth(number).locator("[data-label=scope]")).to_have_text("read")
            last_used = rows.nth(number).locator("[data-label='last used']")
            expect(last_used).not_to_have_text("never")
        assert violations(page) == []


@SCHEMES
def test_revoking_asks_first_by_keyboard_too(
    guarded_site: Site, browser: Browser, scheme: str
) -> None:
    with (
        watched(browser, user_agent=FIREFOX) as (other, _),
        watched(browser, color_scheme=scheme) as (context, _seen),
    ):
        elsewhere, page = other.new_page(), context.new_page()
        steps.log_in(elsewhere, guarded_site)
        steps.log_in(page, guarded_site, at="/dashboard/account")
        revoke = page.get_by_role("button", name="Revoke Firefox on Linux")
        revoke.focus()
        page.keyboard.press("Enter")
        question = page.get_by_role("alertdialog")
        expect(question).to_contain_text("That browser has to log in again.")
        expect(question.get_by_role("button", name="Cancel")).to_be_focused()
        assert violations(page) == []
        page.keyboard.press("Escape")
        expect(question).to_have_count(0)
        expect(revoke).to_be_focused()
        page.keyboard.press("Enter")
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        expect(page.locator("#tokens tr")).to_have_count(1)
        expect(page.locator("#toasts")).to_contain_text("Revoked Firefox on Linux")
        elsewhere.reload()
        elsewhere.wait_for_url("**/login?next=*")


def test_revoking_this_session_logs_out(guarded_site: Site, page: Page) -> None:
    steps.log_in(page, guarded_site, at="/dashboard/account")
    steps.button(page, "Revoke Chrome on Linux")
    expect(page.get_by_role("alertdialog")).to_contain_text("you will be logged out")
    steps.button(page, "Revoke")
    page.wait_for_url("**/login")


# Ping now


def test_ping_now_says_that_a_port_refused_and_by_which_clock(site: Site, page: Page) -> None:
    with site.database.transaction() as session:
        (server_id,) = []  # replaced below
    expect(page).to_have_url("")
