"""Ages and alarms by Pinglet's clock, whatever the browser's says, and on every page."""

import http.client
import re
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from core.checks.records import Ping, Probe
from core.clock import utc_now
from core.rounds import log as round_log
from core.rounds import record
from core.slots import SLOT, slot_of
from handlers.http import health
from tests.browser import steps
from tests.browser.conftest import watched
from tests.browser.site import Site, slots

pytestmark = pytest.mark.xdist_group("browser")
DAY, HOUR, MINUTES = timedelta(days=1), timedelta(hours=1), timedelta(minutes=1)
CLOCKS = {"an hour slow": -HOUR, "right": timedelta(0), "ten minutes fast": 10 * MINUTES}
ZONES = ["America/New_York", "Pacific/Apia", "Asia/Kolkata"]
PAGES = ["", "/add", "/account", "/graphql", "/servers/1", "/servers/4711"]
STOPPED = re.compile("Monitoring has stopped: the last round was 2[01] min ago")


@pytest.fixture
def dead_worker(site: Site) -> int:
    """A server that was up until the worker died twenty minutes ago."""
    ids = site.add("web", ago=DAY)
    site.history(ids, slots(HOUR, end=slot_of(utc_now() - 20 * MINUTES)))
    return ids[0]


@pytest.fixture
def two_servers(site: Site) -> list[int]:
    """One that is up, and one that is down."""
    ids = site.add("good", "bad", ago=DAY)
    heard(site, ids[0], received=4)
    heard(site, ids[1], received=0)
    return ids


def heard(site: Site, server_id: int, received: int, slot: datetime | None = None) -> None:
    """Record a ping of four echoes in a slot; the one we are in unless said otherwise."""
    ms = 1.5 if received else None
    ping = Ping(server_id, f"127.0.0.{server_id}", 4, received, ms, ms, ms, Probe.ICMP)
    with site.database.transaction() as session:
        record.record(session, slot or slot_of(utc_now()), [ping])


def colour_of(page: Page, selector: str) -> str:
    """Return what the browser paints over an element's colours."""
    told: str = page.locator(selector).first.evaluate("(one) => getComputedStyle(one).filter")
    return told


def icon(page: Page) -> str:
    """Return which icon the tab has."""
    link = page.locator("link[rel=icon]")
    expect(link).to_have_attribute("href", re.compile("^data:image/svg"))
    return link.get_attribute("data-kind") or ""


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("wrong", CLOCKS.values(), ids=CLOCKS)
def test_ages_are_by_pinglets_clock(
    site: Site, browser: Browser, dead_worker: int, wrong: timedelta, zone: str
) -> None:
    with watched(browser, timezone_id=zone) as (context, _seen):
        page = context.new_page()
        page.clock.install(time=datetime.now().astimezone() + wrong)
        steps.fleet(page, site)
        expect(page.locator("#warning")).to_contain_text(STOPPED)
        expect(page.locator("#age")).to_have_text(re.compile("^last round 2[01] min ago$"))
        # The list comes by 304 from now on, whose two dates could not be read.
        steps.look_again(page)
        expect(page.locator("#warning")).to_contain_text(STOPPED)
        steps.server(page, site, dead_worker)
        expect(page.locator("#address")).to_contain_text(re.compile("2[01] min ago"))
        until = page.locator("#window time").last.get_attribute("datetime")
        assert until is not None
        assert abs(datetime.fromisoformat(until) - utc_now()) < 3 * MINUTES


LIVE = "[role=alert], [role=status], [aria-live]:not([aria-live=off])"
HEAR = """(live) => {
  window.heard = [];
  new MutationObserver((changes) => {
    for (const { target } of changes) {
      const region = (target.closest ? target : target.parentNode).closest(live);
      if (region) window.heard.push(region.textContent);
    }
  }).observe(document, { subtree: true, childList: true, characterData: true });
}"""
"""Notes what screen readers say: a live region's words whenever they change."""


def later(route: Route) -> None:
    """Answer as Pinglet will in two minutes."""
    told = route.fetch().json()
    told["now"] = (datetime.fromisoformat(told["now"]) + 2 * MINUTES).isoformat()
    told["last_round_age_s"] += 120
    route.fulfill(json=told)


@pytest.mark.parametrize("where", PAGES)
def test_an_age_that_grows_is_not_announced_each_second(
    site: Site, page: Page, dead_worker: int, where: str
) -> None:
    page.clock.install()
    page.goto(f"{site.url}/dashboard{where}")
    warning = page.locator("#warning")
    expect(warning).to_contain_text(STOPPED)
    expect(page.get_by_role("alert").first).to_have_text("Monitoring has stopped")
    page.wait_for_load_state("networkidle")
    page.evaluate(HEAR, LIVE)
    page.route("**/health", later)
    page.clock.run_for(20_000)
    expect(warning).to_contain_text(re.compile("the last round was 2[234] min ago"))
    assert page.evaluate("window.heard") == []


def test_what_changes_is_announced_once(site: Site, page: Page, two_servers: list[int]) -> None:
    page.clock.install()
    steps.fleet(page, site)
    expect(page.locator("#warning")).to_be_hidden()
    page.evaluate(HEAR, LIVE)
    page.context.set_offline(True)
    page.clock.run_for(20_000)
    expect(page.locator("#warning")).to_contain_text("can't be reached")
    page.clock.run_for(60_000)
    assert page.evaluate("window.heard") == [page.get_by_role("alert").first.inner_text()]


def test_an_answer_says_its_date_once(site: Site, page: Page, two_servers: list[int]) -> None:
    where = urlsplit(f"{site.url}/api/v1/servers")
    asked = {"Host": where.netloc}
    for status in (200, 304):
        caller = http.client.HTTPConnection(where.netloc)
        caller.request("GET", where.path, headers=asked)
        response = caller.getresponse()
        response.read()
        assert response.status == status
        assert len(response.headers.get_all("Date") or []) == 1
        asked |= {"If-None-Match": response.headers["ETag"] or ""}
        caller.close()


@pytest.mark.parametrize("where", PAGES)
def test_a_dead_worker_is_told_on_every_page_and_in_its_title(
    site: Site, page: Page, dead_worker: int, where: str
) -> None:
    page.goto(f"{site.url}/dashboard{where}")
    expect(page.locator("#warning")).to_contain_text(STOPPED)
    expect(page).to_have_title(re.compile("^Monitoring stopped · .*Pinglet$"))
    assert icon(page) == "late"


def test_who_is_not_logged_in_yet_is_told_too(guarded_site: Site, page: Page) -> None:
    ids = guarded_site.add("web", ago=DAY)
    guarded_site.history(ids, slots(HOUR, end=slot_of(utc_now() - 20 * MINUTES)))
    page.goto(f"{guarded_site.url}/login")
    expect(page.locator("#warning")).to_contain_text(STOPPED)


def test_a_filter_hides_no_dead_worker(site: Site, page: Page, dead_worker: int) -> None:
    page.goto(f"{site.url}/dashboard?search=nowhere")
    expect(page.locator("#nothing")).to_be_visible()
    expect(page.locator("#warning")).to_contain_text(STOPPED)


def test_before_the_first_round_monitoring_has_not_started(site: Site, page: Page) -> None:
    site.add("web", ago=4 * MINUTES)
    page.goto(f"{site.url}/dashboard/account")
    expect(page.locator("#warning")).to_contain_text("Monitoring has not started")
    expect(page).to_have_title("Monitoring not started · Account · Pinglet")


def test_who_has_just_added_the_first_server_is_not_alarmed(site: Site, page: Page) -> None:
    site.add("web")
    page.goto(f"{site.url}/dashboard/account")
    expect(page.locator("link[rel=icon]")).to_have_attribute("data-kind", "well")
    expect(page.locator("#warning")).to_be_hidden()


def test_the_title_counts_the_whole_instance_whatever_the_filter(
    site: Site, page: Page, two_servers: list[int]
) -> None:
    page.goto(f"{site.url}/dashboard?search=good")
    expect(page.locator("#servers tbody tr")).to_have_count(1)
    expect(page).to_have_title("1 down · Pinglet")
    assert icon(page) == "down"
    steps.server(page, site, two_servers[0])
    expect(page).to_have_title("1 down · good · Pinglet")


def test_where_all_is_well_title_and_icon_are_plain(site: Site, page: Page) -> None:
    (server_id,) = site.add("web", ago=DAY)
    heard(site, server_id, received=4)
    steps.server(page, site, server_id)
    expect(page.locator("#address")).to_contain_text(" ago")
    expect(page).to_have_title("web · Pinglet")
    expect(page.locator("#warning")).to_be_hidden()
    assert icon(page) == "well"


def test_a_tab_in_the_background_goes_on_telling(site: Site, page: Page) -> None:
    (server_id,) = site.add("web", ago=DAY)
    heard(site, server_id, received=4)
    page.clock.install()
    steps.fleet(page, site)
    expect(page).to_have_title("Fleet · Pinglet")
    page.evaluate("Object.defineProperty(document, 'hidden', { value: true })")
    heard(site, server_id, received=0, slot=slot_of(utc_now()) + SLOT)
    page.clock.run_for(61_000)
    expect(page).to_have_title("1 down · Pinglet")
    assert icon(page) == "down"


def refused(page: Page, site: Site) -> Callable[[], object]:
    """Have nothing answer; return what mends it."""
    page.context.set_offline(True)
    return lambda: page.context.set_offline(False)


def hanging(page: Page, site: Site) -> Callable[[], object]:
    """Have every call taken and none answered; return what mends it."""
    waiting: list[Route] = []
    page.route("**/api/v1/**", lambda route: waiting.append(route))
    return lambda: page.unroute("**/api/v1/**")


def broken(page: Page, site: Site) -> Callable[[], object]:
    """Have a proxy answer that there is nothing behind it; return what mends it."""
    away = "<h1>502 Bad Gateway</h1>"
    page.route("**/api/v1/**", lambda route: route.fulfill(status=502, body=away))
    return lambda: page.unroute("**/api/v1/**")


def in_front(page: Page, site: Site) -> Callable[[], object]:
    """Have a gateway answer in Pinglet's place, as AWS's does; return what mends it."""
    body = '{"message": "Internal Server Error"}'
    page.route("**/api/v1/**", lambda route: route.fulfill(status=502, body=body))
    return lambda: page.unroute("**/api/v1/**")


@pytest.mark.parametrize("cut_off", [refused, hanging, broken, in_front])
def test_while_pinglet_cannot_be_reached_ages_go_on_and_marks_lose_their_colour(
    site: Site,
    page: Page,
    two_servers: list[int],
    cut_off: Callable[[Page, Site], Callable[[], object]],
) -> None:
    page.clock.install()
    steps.fleet(page, site)
    expect(page).to_have_title("1 down · Pinglet")
    shown = ("#servers .mark", "#servers canvas")
    for one in shown:
        expect(page.locator(one).first).to_be_visible()
    assert [colour_of(page, one) for one in shown] == ["none", "none"]
    mend = cut_off(page, site)
    page.clock.run_for(40_000)
    expect(page.locator("#warning")).to_contain_text("can't be reached")
    expect(page).to_have_title("Can't be reached · 1 down · Pinglet")
    assert icon(page) == "silent"
    assert "grayscale(1)" in colour_of(page, "#servers .mark")
    assert "grayscale(1)" in colour_of(page, "#servers canvas")
    page.clock.run_for(600_000)
    expect(page.locator("#age")).to_have_text(re.compile("^last round 1[012] min ago$"))
    mend()
    steps.look_again(page)
    expect(page.locator("#age")).to_have_text(re.compile(r"^last round \d+ (s|min) ago$"))
    expect(page.locator("#warning")).not_to_contain_text("can't be reached")
    assert [colour_of(page, one) for one in (".mark", "canvas")] == ["none", "none"]


def test_the_page_of_a_server_loses_its_colour_too(
    site: Site, page: Page, two_servers: list[int]
) -> None:
    page.clock.install()
    steps.server(page, site, two_servers[0])
    page.context.set_offline(True)
    page.clock.run_for(120_000)
    expect(page.locator("#warning")).to_contain_text("can't be reached")
    expect(page.locator("#address")).to_contain_text(re.compile("[23] min ago"))
    assert ["grayscale(1)" in colour_of(page, one) for one in ("#mark", "#states")] == [True, True]


def test_a_list_that_is_refused_loses_its_colour_although_pinglet_answers(
    site: Site, page: Page, two_servers: list[int]
) -> None:
    steps.fleet(page, site)
    problem = '{"detail": "the database is away"}'
    page.route("**/servers?limit=1000*", lambda route: route.fulfill(status=503, body=problem))
    steps.look_again(page)
    expect(page.locator("#warning")).to_have_text(
        "This page can't be updated: the database is away"
    )
    assert "grayscale(1)" in colour_of(page, ".mark")
    page.unroute("**/servers?limit=1000*")
    steps.look_again(page)
    expect(page.locator("#warning")).to_be_hidden()


def test_a_database_that_is_away_is_told_on_a_page_that_asks_for_nothing_else(
    site: Site, page: Page, two_servers: list[int]
) -> None:
    page.goto(f"{site.url}/dashboard/add")
    expect(page).to_have_title("1 down · Add · Pinglet")
    file = Path(site.database.settings.database_url.removeprefix("sqlite:///"))
    file.rename(file.with_suffix(".away"))
    health.LOOKED.clear()
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    expect(page.locator("#warning")).to_contain_text("can't reach its database")
    expect(page).to_have_title("No database · 1 down · Add · Pinglet")
    assert icon(page) == "silent"


def test_rounds_that_fail_are_told_on_the_page_of_a_server(
    site: Site, page: Page, two_servers: list[int]
) -> None:
    over = slots(3 * MINUTES)[0]
    with site.database.transaction() as session:
        round_log.begin(session, over, 1, over)
    health.LOOKED.clear()
    steps.server(page, site, two_servers[0])
    expect(page.locator("#warning")).to_contain_text("of the newest one nothing was recorded")
    expect(page).to_have_title("Rounds fail · 1 down · good · Pinglet")
