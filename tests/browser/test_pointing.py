"""An outage and a gap have a start, an end, a length and a reason: pointed at, by keys, listed."""

import re
from datetime import datetime, timedelta

import pytest
from playwright.sync_api import Browser, Page, expect

from core.checks.records import Ping, Probe
from core.clock import utc_now
from core.rounds import log as round_log
from core.rounds import record
from core.servers import change
from core.servers.records import ServerChange
from core.slots import SLOT, slot_of
from tests.browser import steps
from tests.browser.conftest import watched
from tests.browser.site import Site, slots

pytestmark = pytest.mark.xdist_group("browser")
DAY, MINUTES = timedelta(days=1), timedelta(minutes=1)


class Story:
    """A server's last six hours: an outage of an hour, then a gap of half an hour."""

    def __init__(self, site: Site) -> None:
        (self.server_id,) = site.add("web", ago=DAY)
        self.now = slot_of(utc_now())
        self.outage = (self.now - 300 * MINUTES, self.now - 240 * MINUTES)
        self.gap = (self.now - 120 * MINUTES, self.now - 90 * MINUTES)
        with site.database.transaction() as session:
            for slot in slots(360 * MINUTES, end=self.now):
                if not self.gap[0] <= slot < self.gap[1]:
                    round_log.begin(session, slot, 1, slot)
                    record.record(session, slot, [self.ping(slot)])
                    round_log.add(session, slot, 1, slot)

    def ping(self, slot: datetime) -> Ping:
        """Return what came back in a slot."""
        is_down = self.outage[0] <= slot < self.outage[1]
        ms = None if is_down else 1.5
        return Ping(self.server_id, "127.0.0.1", 4, 4 * (not is_down), ms, ms, ms, Probe.ICMP)


@pytest.fixture
def story(site: Site) -> Story:
    """See Story."""
    return Story(site)


def told(since: datetime, until: datetime) -> re.Pattern[str]:
    """What the page says of a span, in UTC and British English."""
    end = f"{until:%H:%M}" if since.date() == until.date() else f"{until.day} {until:%b %Y, %H:%M}"
    return re.compile(re.escape(f"{since.day} {since:%b %Y, %H:%M} \u2013 {end}"))


def six_hours(page: Page, site: Site, story: Story) -> None:
    """Open the page and wait for its last six hours."""
    steps.server(page, site, story.server_id)
    steps.button(page, "6 h")
    steps.shows(page, hours=6)
    expect(page.locator("#spells li")).to_have_count(2)


def point_at(page: Page, moment: datetime, below: str = "#chart") -> None:
    """Move the mouse to where a time is."""
    x = page.evaluate(
        "(time) => Chart.getChart('chart').scales.x.getPixelForValue(time)",
        moment.timestamp() * 1000,
    )
    left, box = page.locator("#chart").bounding_box(), page.locator(below).bounding_box()
    assert left is not None
    assert box is not None
    page.mouse.move(left["x"] + x, box["y"] + box["height"] / 2)


def open_list(page: Page) -> None:
    """Open the list of outages and gaps by keyboard."""
    page.locator("#spelled summary").focus()
    page.keyboard.press("Enter")


@pytest.mark.parametrize("below", ["#chart", "#states"])
def test_pointing_at_an_outage_says_when_how_long_and_why(
    site: Site, page: Page, story: Story, below: str
) -> None:
    six_hours(page, site, story)
    point_at(page, story.outage[0] + 30 * MINUTES, below)
    spell = page.locator("#tip .spell")
    expect(spell).to_contain_text("down")
    expect(spell).to_contain_text(told(*story.outage))
    expect(spell).to_contain_text("1 h")
    expect(spell).to_contain_text("none of 240 echoes came back")
    expect(page.locator("#pointed")).to_be_visible()
    page.mouse.move(2, 2)
    expect(page.locator("#tip")).to_be_hidden()


def test_pointing_at_a_gap_says_when_how_long_and_why(site: Site, page: Page, story: Story) -> None:
    six_hours(page, site, story)
    point_at(page, story.gap[0] + 10 * MINUTES)
    spell = page.locator("#tip .spell")
    expect(spell).to_contain_text("unobserved")
    expect(spell).to_contain_text(told(*story.gap))
    expect(spell).to_contain_text("30 min")
    expect(spell).to_contain_text("no round ran")


def test_an_outage_is_told_to_the_minute_in_a_bucket_of_hours(
    site: Site, page: Page, story: Story
) -> None:
    steps.server(page, site, story.server_id)
    steps.button(page, "30 d")
    steps.shows(page, hours=720)
    point_at(page, story.outage[0] + 30 * MINUTES)
    expect(page.locator("#tip .spell").first).to_contain_text(told(*story.outage))


def test_pointing_where_all_is_well_says_the_figures(site: Site, page: Page, story: Story) -> None:
    six_hours(page, site, story)
    point_at(page, story.now - 10 * MINUTES)
    expect(page.locator("#tip")).to_contain_text("mean 1.50 ms, p95 1.50 ms")
    expect(page.locator("#tip")).to_contain_text("0 of 4 echoes lost")
    expect(page.locator("#tip .spell")).to_have_count(0)


def test_keys_go_from_one_outage_or_gap_to_the_next(site: Site, page: Page, story: Story) -> None:
    six_hours(page, site, story)
    page.locator(".chart").focus()
    said = page.locator("#said")
    page.keyboard.press("Shift+ArrowLeft")
    expect(said).to_contain_text(told(*story.gap))
    expect(page.locator("#tip")).to_contain_text("no round ran")
    page.keyboard.press("Shift+ArrowLeft")
    expect(said).to_contain_text(told(*story.outage))
    expect(said).to_contain_text(" 1 h none of 240 echoes came back")
    page.keyboard.press("Shift+ArrowRight")
    expect(said).to_contain_text(told(*story.gap))
    page.keyboard.press("Escape")
    expect(page.locator("#tip")).to_be_hidden()
    steps.shows(page, hours=6)


def test_the_list_says_them_all_and_looks_closer(site: Site, page: Page, story: Story) -> None:
    six_hours(page, site, story)
    open_list(page)
    listed = page.locator("#spells li")
    expect(listed.first).to_contain_text(told(*story.gap))
    expect(listed.last).to_contain_text(told(*story.outage))
    listed.last.get_by_role("button").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#window")).to_have_attribute("data-minutes", "120")
    expect(page.locator(".chart")).to_be_focused()
    expect(listed).to_have_count(1)


def test_a_pause_is_no_gap(site: Site, page: Page, story: Story) -> None:
    with site.database.transaction() as session:
        settings = site.database.settings
        pause = ServerChange(enabled=False)
        change.alter(session, story.server_id, pause, settings, story.gap[0] - 10 * MINUTES)
    steps.server(page, site, story.server_id)
    # The minute that has just begun may be one more.
    told_in_all = re.compile("^1 outage, 1 gap, [12] pauses?$")
    expect(page.locator("#spells-count")).to_have_text(told_in_all)
    open_list(page)
    paused = page.locator("#spells li", has_text="paused").last
    expect(paused).to_contain_text(told(*story.gap))
    expect(paused).to_contain_text("30 min")


def test_what_lasts_has_no_end(site: Site, page: Page) -> None:
    (server_id,) = site.add("web", ago=DAY)
    site.history([server_id], slots(60 * MINUTES, end=slot_of(utc_now()) - 60 * MINUTES))
    steps.server(page, site, server_id)
    open_list(page)
    gap = page.locator("#spells li").first
    expect(gap).to_contain_text(re.compile("until now (59 min|1 h|1 h 1 min) "))


def test_a_refresh_keeps_the_focus_in_the_list(site: Site, page: Page, story: Story) -> None:
    six_hours(page, site, story)
    open_list(page)
    first = page.locator("#spells li").first.get_by_role("button")
    first.focus()
    with site.database.transaction() as session:
        lost = story.now + SLOT
        record.record(
            session, lost, [Ping(story.server_id, "127.0.0.1", 4, 0, None, None, None, Probe.ICMP)]
        )
    with page.expect_response(lambda response: "/spells" in response.url):
        steps.look_again(page)
    expect(page.locator("#spells button:focus")).to_contain_text(told(*story.gap))


def test_a_finger_points_and_what_it_pointed_at_stays(
    site: Site, browser: Browser, story: Story
) -> None:
    phone = {"width": 390, "height": 844}
    with watched(browser, viewport=phone, has_touch=True, is_mobile=True) as (context, _seen):
        page = context.new_page()
        six_hours(page, site, story)
        page.locator("#chart").scroll_into_view_if_needed()
        box = page.locator("#chart").bounding_box()
        assert box is not None
        x = page.evaluate(
            "(time) => Chart.getChart('chart').scales.x.getPixelForValue(time)",
            (story.outage[0] + 30 * MINUTES).timestamp() * 1000,
        )
        page.touchscreen.tap(box["x"] + x, box["y"] + 90)
        expect(page.locator("#tip .spell")).to_contain_text(told(*story.outage))
        tip = page.locator("#tip").bounding_box()
        assert tip is not None
        assert tip["x"] >= 0
        assert tip["x"] + tip["width"] <= phone["width"]
