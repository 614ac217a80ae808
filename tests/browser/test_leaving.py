"""Nothing is lost by leaving a page: by F5, by Back, by closing the tab."""

import re
from collections.abc import Callable
from datetime import datetime, timedelta
from urllib.parse import quote

import pytest
from playwright.sync_api import Page, expect
from sqlalchemy import select

from core.models import User
from tests.browser import steps
from tests.browser.site import Site, slots

pytestmark = pytest.mark.xdist_group("browser")
DAY = timedelta(days=1)
LIST_PAGE = 1_000
STRICT = """for (const name of ["pushState", "replaceState"]) {
  const native = history[name];
  let times = 0;
  history[name] = function (...words) {
    times += 1;
    if (times > 100) throw new DOMException("more than 100 times per 30 seconds", "SecurityError");
    return native.apply(this, words);
  };
}"""
"""Safari's limit; Chromium drops what is too much without a word."""


@pytest.fixture
def watched_server(site: Site) -> int:
    """A server with an hour of history."""
    (server_id,) = site.add("web", ago=DAY)
    site.history([server_id], slots(timedelta(hours=1)))
    return server_id


def start_to_remove(page: Page, site: Site, server_id: int) -> None:
    steps.server(page, site, server_id)
    steps.button(page, "Remove")
    expect(page.get_by_role("button", name="Undo")).to_be_focused()


# A removal


def test_a_reload_while_undo_is_shown_keeps_the_server_and_its_history(
    site: Site, page: Page, watched_server: int
) -> None:
    page.clock.install()
    start_to_remove(page, site, watched_server)
    page.reload()
    expect(page.locator(".toast")).to_have_text(
        "web was not removed: you left the page before that"
    )
    page.clock.fast_forward(20_000)
    with page.expect_response(lambda response: "/series" in response.url):
        steps.button(page, "6 h")
    assert site.names() == ["web"]
    expect(page.locator("[data-figure=uptime]")).to_have_text("100 %")


def test_a_tab_that_is_closed_while_undo_is_shown_keeps_the_server(
    site: Site, page: Page, watched_server: int
) -> None:
    start_to_remove(page, site, watched_server)
    other = page.context.new_page()
    page.close(run_before_unload=True)
    # It would have been asked for before this page was.
    steps.fleet(other, site)
    assert site.names() == ["web"]


def test_back_while_undo_is_shown_keeps_the_server(
    site: Site, page: Page, watched_server: int
) -> None:
    page.clock.install()
    steps.fleet(page, site)
    start_to_remove(page, site, watched_server)
    page.go_back()
    expect(page.locator(".toast")).to_contain_text("web was not removed")
    page.clock.fast_forward(20_000)
    steps.look_again(page)
    assert site.names() == ["web"]


def test_a_link_takes_the_undo_along(site: Site, page: Page, watched_server: int) -> None:
    page.clock.install()
    start_to_remove(page, site, watched_server)
    page.get_by_role("link", name="Account").click()
    expect(page.locator(".toast")).to_contain_text("web and its history will be removed")
    page.get_by_role("link", name="Fleet").click()
    steps.button(page, "Undo")
    expect(page.locator(".toast")).to_have_count(0)
    page.clock.fast_forward(20_000)
    steps.look_again(page)
    assert site.names() == ["web"]


def test_a_removal_that_a_link_took_along_happens_there(
    site: Site, page: Page, watched_server: int
) -> None:
    page.clock.install()
    start_to_remove(page, site, watched_server)
    page.get_by_role("link", name="Fleet").click()
    expect(page.locator("#servers tbody tr")).to_have_count(1)
    expect(page.get_by_role("button", name="Undo")).to_be_visible()
    page.clock.fast_forward(9_000)
    expect(page.locator("#empty")).to_be_visible()
    assert site.names() == []


def test_a_removed_server_leaves_no_page_to_come_back_to(
    site: Site, page: Page, watched_server: int
) -> None:
    site.add("other", first=9)
    page.clock.install()
    page.goto(f"{site.url}/dashboard?search=e&sort=name")
    page.locator("#servers tbody tr").first.get_by_role("link").hover()
    start_to_remove(page, site, watched_server)
    page.clock.fast_forward(9_000)
    page.wait_for_url(f"{site.url}/dashboard?search=e&sort=name")
    page.go_back()
    expect(page).to_have_url(f"{site.url}/dashboard?search=e&sort=name")
    expect(page.locator("#servers tbody tr")).to_have_count(1)


LED_NOWHERE: dict[str, Callable[[Page], object]] = {
    "a click that a script prevents": lambda page: (
        page.evaluate("addEventListener('click', (event) => event.preventDefault())"),
        page.get_by_role("link", name="Account").click(),
    ),
    "a click for another tab": lambda page: (
        page.get_by_role("link", name="Account").click(button="middle"),
        page.get_by_role("link", name="Account").click(modifiers=["Control"]),
    ),
    "a click for a download": lambda page: (
        page.locator("nav a").first.evaluate("(link) => { link.download = 'list.html'; }"),
        page.get_by_role("link", name="Fleet").click(),
    ),
    "a click to a place on the page": lambda page: (
        page.get_by_role("link", name="Skip to content").press("Enter"),
        page.wait_for_url("**#main"),
    ),
    "a click to a page that does not come": lambda page: (
        page.route("**/account", lambda _route: None),
        page.get_by_role("link", name="Account").click(no_wait_after=True),
    ),
}


@pytest.mark.parametrize("click", LED_NOWHERE)
def test_a_reload_keeps_the_server_after_a_link_that_led_nowhere(
    site: Site, page: Page, watched_server: int, click: str
) -> None:
    steps.fleet(page, site)
    page.get_by_role("link", name="web").click()
    expect(page.locator("#window")).to_have_attribute("data-minutes", "1440")
    page.clock.install()
    steps.button(page, "Remove")
    expect(page.get_by_role("button", name="Undo")).to_be_focused()
    f5 = page.context.new_cdp_session(page)  # Playwright's own would wait for where the link leads
    LED_NOWHERE[click](page)
    f5.send("Page.reload")
    expect(page.locator(".toast")).to_contain_text("web was not removed")
    page.clock.fast_forward(20_000)
    with page.expect_response(lambda response: "/series" in response.url):
        steps.button(page, "6 h")
    assert site.names() == ["web"]
    assert watched_server


def test_an_address_that_is_typed_while_undo_is_shown_keeps_the_server(
    site: Site, page: Page, watched_server: int
) -> None:
    page.clock.install()
    start_to_remove(page, site, watched_server)
    page.goto(f"{site.url}/dashboard/account")
    expect(page.locator(".toast")).to_contain_text("web was not removed")
    page.clock.fast_forward(20_000)
    assert site.names() == ["web"]


def test_a_reload_while_undo_is_shown_keeps_a_user(guarded_site: Site, page: Page) -> None:
    page.clock.install()
    steps.log_in(page, guarded_site, at="/dashboard/account")
    steps.button(page, "Remove eve")
    expect(page.get_by_role("button", name="Undo")).to_be_focused()
    page.reload()
    expect(page.locator(".toast")).to_contain_text("eve was not removed")
    page.clock.fast_forward(20_000)
    expect(page.get_by_role("button", name="Remove eve")).to_be_visible()
    with guarded_site.database.reading() as session:
        assert "eve" in set(session.scalars(select(User.name)))


# The place where one was


@pytest.fixture
def long_list(site: Site) -> Site:
    """A list of more than a page."""
    site.add(*(f"web-{number:04}" for number in range(LIST_PAGE + 200)), ago=DAY)
    return site


def rows(page: Page, first: str) -> None:
    """Wait until the list begins with this server."""
    expect(page.locator("#servers tbody tr").first).to_contain_text(first)


def open_row(page: Page, name: str) -> None:
    page.get_by_role("link", name=name).click()
    page.wait_for_url("**/servers/*")
    expect(page.locator("h1")).to_contain_text(name)


def in_sight(page: Page, name: str) -> float:
    """Wait until a row is seen; return how far down in the window."""
    row = page.get_by_role("link", name=name)
    expect(row).to_be_in_viewport()
    box = row.bounding_box()
    assert box is not None
    return box["y"]


def told(page: Page) -> None:
    """Wait until what stands above the list is there, too."""
    expect(page.locator("#warning")).to_contain_text("Monitoring has not started")


LEAVINGS: dict[str, Callable[[Page], object]] = {
    "a look at a server and Back": lambda page: (open_row(page, "web-1050"), page.go_back()),
    "F5": lambda page: page.reload(),
    "another page and Back": lambda page: (
        page.get_by_role("link", name="Add", exact=True).click(),
        page.wait_for_url("**/add"),
        page.go_back(),
    ),
}


@pytest.mark.parametrize("leaving", LEAVINGS)
def test_the_same_page_filter_and_place_of_the_list_are_there_after(
    long_list: Site, page: Page, leaving: str
) -> None:
    page.goto(f"{long_list.url}/dashboard?search=web&sort=name")
    rows(page, "web-0000")
    steps.button(page, "Next")
    rows(page, "web-1000")
    in_sight(page, "web-1000")
    told(page)
    page.get_by_role("link", name="web-1050").scroll_into_view_if_needed()
    down = in_sight(page, "web-1050")
    LEAVINGS[leaving](page)
    rows(page, "web-1000")
    assert in_sight(page, "web-1050") == pytest.approx(down, abs=2)
    expect(page.get_by_label("Search")).to_have_value("web")
    expect(page.get_by_label("Order")).to_have_value("name")
    steps.button(page, "Previous")
    rows(page, "web-0000")


def in_the_midst(page: Page, site: Site) -> float:
    """Look at the middle of the list; return how far down in the window it is."""
    steps.fleet(page, site)
    told(page)
    page.get_by_role("link", name="web-0500").scroll_into_view_if_needed()
    return in_sight(page, "web-0500")


def test_who_reloads_before_the_list_is_there_keeps_the_place(long_list: Site, page: Page) -> None:
    down = in_the_midst(page, long_list)
    lists = "**/servers?limit=1000*"
    page.route(lists, lambda _route: None)  # it doesn't come
    for _impatience in range(2):
        page.keyboard.press("F5")  # of which the page hears, and Playwright does nothing
        page.reload()
    page.unroute(lists)
    page.reload()
    rows(page, "web-0000")
    assert in_sight(page, "web-0500") == pytest.approx(down, abs=2)


def test_the_place_waits_for_a_list_that_comes_late(long_list: Site, page: Page) -> None:
    down = in_the_midst(page, long_list)
    lists = "**/servers?limit=1000*"
    page.route(lists, lambda route: route.fulfill(status=503, body='{"detail": "away"}'))
    page.reload()
    expect(page.locator("#warning")).to_contain_text("away")
    page.unroute(lists)
    steps.look_again(page)
    rows(page, "web-0000")
    expect(page.locator("#warning")).not_to_contain_text("away")
    assert in_sight(page, "web-0500") == pytest.approx(down, abs=100)  # the warning was longer


def test_back_and_forward_turn_the_pages_of_the_list(long_list: Site, page: Page) -> None:
    steps.fleet(page, long_list)
    rows(page, "web-0000")
    told(page)
    more = page.get_by_role("button", name="Next", exact=True)
    page.get_by_role("link", name="web-0999").scroll_into_view_if_needed()
    down = in_sight(page, "web-0999")
    more.click()
    rows(page, "web-1000")
    in_sight(page, "web-1000")
    page.go_back()
    rows(page, "web-0000")
    assert in_sight(page, "web-0999") == pytest.approx(down, abs=2)
    page.go_forward()
    rows(page, "web-1000")
    expect(more).to_be_disabled()


def test_a_page_of_the_list_can_be_sent_to_somebody(long_list: Site, page: Page) -> None:
    steps.fleet(page, long_list)
    steps.button(page, "Next")
    rows(page, "web-1000")
    other = page.context.new_page()
    other.goto(page.url)
    rows(other, "web-1000")
    steps.button(other, "Previous")
    rows(other, "web-0000")
    expect(other).to_have_url(f"{long_list.url}/dashboard")


def test_what_was_sought_a_moment_ago_is_in_the_address(site: Site, page: Page) -> None:
    site.add("alpha", "beta", ago=DAY)
    page.clock.install()
    steps.fleet(page, site)
    page.clock.pause_at(page.evaluate("Date.now() + 1000"))
    page.get_by_label("Search").fill("bet")
    # Nothing has been asked for yet: time stands still.
    page.reload()
    expect(page.locator("#servers tbody tr")).to_have_count(1)
    expect(page.get_by_label("Search")).to_have_value("bet")


LEAVINGS_AT_ONCE: dict[str, Callable[[Page], object]] = {
    "F5": lambda page: page.reload(),
    "a link and Back": lambda page: (
        page.get_by_role("link", name="Add", exact=True).click(),
        page.wait_for_url("**/add"),
        page.go_back(),
    ),
    "Back and Forward": lambda page: (
        page.go_back(),
        expect(page.get_by_label("Search")).to_have_value(""),
        page.go_forward(),
    ),
}


@pytest.mark.parametrize("leaving", LEAVINGS_AT_ONCE)
def test_the_last_letter_is_kept_however_soon_one_leaves(
    long_list: Site, page: Page, leaving: str
) -> None:
    steps.fleet(page, long_list)
    steps.button(page, "Next")
    rows(page, "web-1000")
    page.clock.install()
    page.clock.pause_at(page.evaluate("Date.now() + 1000"))
    page.get_by_label("Search").press_sequentially("web-00")
    LEAVINGS_AT_ONCE[leaving](page)
    expect(page.get_by_label("Search")).to_have_value("web-00")
    expect(page).to_have_url(f"{long_list.url}/dashboard?search=web-00")
    rows(page, "web-0000")


def test_a_long_filter_is_kept_by_a_browser_that_counts(site: Site, page: Page) -> None:
    page.add_init_script(STRICT)
    site.add("alpha", "beta", ago=DAY)
    steps.fleet(page, site)
    long = "beta" * 30
    page.get_by_label("Search").press_sequentially(long)
    expect(page.get_by_label("Search")).to_have_value(long)
    expect(page).to_have_url(f"{site.url}/dashboard?search={long}")
    expect(page.locator("#nothing")).to_be_visible()
    page.reload()
    expect(page.get_by_label("Search")).to_have_value(long)


def test_a_key_that_is_held_down_moves_the_chart_to_its_end(
    site: Site, page: Page, watched_server: int
) -> None:
    page.add_init_script(STRICT)
    steps.server(page, site, watched_server)
    page.locator(".chart").focus()
    page.keyboard.press("+")
    steps.shows(page, hours=12)
    until = page.locator("#window time").last
    latest = datetime.fromisoformat(until.get_attribute("datetime") or "")
    for _repeat in range(120):
        page.keyboard.down("ArrowLeft")
    page.keyboard.up("ArrowLeft")
    earliest = f"{latest - 120 * timedelta(hours=3):%Y-%m-%dT%H:%M:%SZ}"
    expect(until).to_have_attribute("datetime", earliest)
    expect(page).to_have_url(re.compile(quote(earliest)))


def test_holding_enter_on_next_turns_each_page_once(long_list: Site, page: Page) -> None:
    steps.fleet(page, long_list)
    rows(page, "web-0000")
    page.get_by_role("button", name="Next", exact=True).focus()
    for _repeat in range(5):
        page.keyboard.down("Enter")
    page.keyboard.up("Enter")
    rows(page, "web-1000")
    steps.button(page, "Previous")
    rows(page, "web-0000")
    expect(page).to_have_url(f"{long_list.url}/dashboard")


def test_the_link_to_all_servers_finds_the_list_as_it_was_left(site: Site, page: Page) -> None:
    site.add("alpha", "beta", ago=DAY)
    page.goto(f"{site.url}/dashboard?search=bet")
    open_row(page, "beta")
    page.get_by_role("link", name="All servers").click()
    expect(page.get_by_label("Search")).to_have_value("bet")
    expect(page.locator("#servers tbody tr")).to_have_count(1)


def test_range_and_zoom_are_in_the_address(site: Site, page: Page, watched_server: int) -> None:
    steps.server(page, site, watched_server)
    steps.button(page, "6 h")
    steps.shows(page, hours=6)
    expect(page).to_have_url(f"{site.url}/dashboard/servers/{watched_server}?range=6h")
    page.reload()
    steps.shows(page, hours=6)
    expect(page.get_by_role("button", name="6 h")).to_have_attribute("aria-pressed", "true")
    page.locator(".chart").focus()
    page.keyboard.press("+")
    steps.shows(page, hours=3)
    latest = page.locator("#window").inner_text()
    page.keyboard.press("ArrowLeft")
    expect(page.locator("#window")).not_to_have_text(latest)
    window = page.locator("#window").inner_text()
    page.reload()
    steps.shows(page, hours=3)
    expect(page.locator("#window")).to_have_text(window)
    page.keyboard.press("Tab")
    steps.button(page, "Show the full range")
    steps.shows(page, hours=6)
    expect(page).to_have_url(f"{site.url}/dashboard/servers/{watched_server}?range=6h")


def test_back_from_a_chart_that_was_looked_into_leads_to_the_list(
    site: Site, page: Page, watched_server: int
) -> None:
    steps.fleet(page, site)
    open_row(page, "web")
    steps.button(page, "1 h")
    page.locator(".chart").focus()
    page.keyboard.press("+")
    expect(page.locator("#out")).to_be_visible()
    page.go_back()
    expect(page).to_have_url(f"{site.url}/dashboard")
    page.go_forward()
    expect(page.locator("#out")).to_be_visible()
    assert watched_server


@pytest.mark.parametrize("words", ["range=forever", "since=2026&until=never", "since=5&until=4"])
def test_an_address_that_names_no_window_shows_a_day(
    site: Site, page: Page, watched_server: int, words: str
) -> None:
    page.goto(f"{site.url}/dashboard/servers/{watched_server}?{words}")
    steps.shows(page, hours=24)


# What was typed


@pytest.mark.parametrize("leaving", ["F5", "Back"])
def test_a_list_that_was_typed_is_there_until_it_is_sent(
    site: Site, page: Page, leaving: str
) -> None:
    page.goto(f"{site.url}/dashboard/add")
    box = page.get_by_label("One server per line")
    box.fill("web, 127.0.0.2\nbad, 127.1")
    page.get_by_label("Update existing servers").check()
    if leaving == "F5":
        page.reload()
    else:
        page.get_by_role("link", name="Fleet").click()
        expect(page.locator("#empty")).to_be_visible()
        page.go_back()
    expect(box).to_have_value("web, 127.0.0.2\nbad, 127.1")
    expect(page.get_by_label("Update existing servers")).to_be_checked()
    steps.button(page, "Add all")
    expect(page.locator("#results .bad")).to_have_count(1)
    page.reload()
    expect(box).to_have_value("bad, 127.1")


def test_who_logs_in_next_is_not_told_what_was_typed(guarded_site: Site, page: Page) -> None:
    steps.log_in(page, guarded_site, at="/dashboard/add")
    page.get_by_label("One server per line").fill("secret, 127.0.0.2")
    steps.button(page, "Log out")
    page.wait_for_url("**/login")
    steps.log_in(page, guarded_site, "eve", at="/dashboard/add")
    expect(page.get_by_label("One server per line")).to_have_value("")
