"""An outage and a gap have a start, an end, a length and a reason: pointed at, by keys, listed."""

import json
import re
from datetime import UTC, datetime, timedelta

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from core.checks.records import Ping, Probe
from core.clock import utc_now
from core.rounds import log as round_log
from core.rounds import record
from core.servers import change
from core.servers.records import ServerChange
from core.slots import SLOT, slot_of
from tests.browser import steps
from tests.browser.conftest import PHONE, PHONE_WIDTH, Seen, watched
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
    expect(gap).to_contain_text(re.compile("since .* (59 min|1 h|1 h 1 min) "))


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
    with watched(browser, **PHONE) as (context, _seen):
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
        assert tip["x"] + tip["width"] <= PHONE_WIDTH


# What goes on beyond the window


def window(page: Page, site: Site, server_id: int, since: datetime, until: datetime) -> Locator:
    """Open the page of a server in a window; return its list of outages and gaps."""
    zoom = f"since={since:%Y-%m-%dT%H:%MZ}&until={until:%Y-%m-%dT%H:%MZ}"
    page.goto(f"{site.url}/dashboard/servers/{server_id}?{zoom}")
    minutes = (until - since) // MINUTES
    expect(page.locator("#window")).to_have_attribute("data-minutes", str(minutes))
    open_list(page)
    return page.locator("#spells li")


def test_what_begins_and_ends_with_the_window_is_told_so(
    site: Site, page: Page, story: Story
) -> None:
    spell = window(page, site, story.server_id, *story.outage)
    expect(spell).to_have_count(1)
    expect(spell).to_contain_text(told(*story.outage))
    expect(spell).to_contain_text("1 h none")


def test_what_goes_on_beyond_the_window_is_told_so(site: Site, page: Page, story: Story) -> None:
    since, until = story.outage[0] + 5 * MINUTES, story.outage[1] - 10 * MINUTES
    spell = window(page, site, story.server_id, since, until)
    expect(spell).to_contain_text(f"before {since.day} {since:%b %Y, %H:%M} \u2013 after ")
    expect(spell).to_contain_text(f"{until:%H:%M} 45 min at least none of")


def test_what_began_before_the_window_is_told_so_also_between_two_checks(
    site: Site, page: Page, lasting: "Lasting"
) -> None:
    since = lasting.began + 60 * MINUTES
    spell = window(page, site, lasting.server_id, since, lasting.now + MINUTES)
    expect(spell).to_have_count(1)
    expect(spell).to_contain_text(f"down since {lasting.began.day} {lasting.began:%b %Y, %H:%M}")


def test_the_zone_is_named_once_in_an_hour_that_comes_twice(site: Site, browser: Browser) -> None:
    (server_id,) = site.add("web")
    with watched(browser, timezone_id="America/New_York", locale="en-US") as (context, _seen):
        page = context.new_page()
        now = datetime(2026, 11, 1, 6, 29, tzinfo=UTC)  # half an hour after the clocks went back
        health = page.request.get(f"{site.url}/api/v1/health").json() | {"now": now.isoformat()}
        page.route("**/api/v1/health", lambda route: route.fulfill(body=json.dumps(health)))
        steps.server(page, site, server_id)
        expect(page.locator("#window")).to_have_text(
            "Oct 31, 2026, 2:30 AM EDT to Nov 1, 2026, 1:30 AM EST"
        )


def test_without_a_chart_times_follow_the_switch_to_utc(
    site: Site, browser: Browser, story: Story
) -> None:
    with watched(browser, timezone_id="Asia/Kolkata") as (context, _seen):
        page = context.new_page()
        page.route("**/chart.js", lambda route: route.abort())
        page.goto(f"{site.url}/dashboard/servers/{story.server_id}")
        expect(page.locator(".chart")).to_contain_text("Chart.js didn't load")
        expect(page.locator("#window")).to_contain_text("GMT+5:30")
        open_list(page)
        steps.button(page, "Show UTC")
        expect(page.locator("#window")).not_to_contain_text("GMT")
        expect(page.locator("#spells li").first).to_contain_text(told(*story.gap))


# The list: its strips of 24 hours


SIX_HOURS = timedelta(hours=6)


class Lasting:
    """A server that is checked every six hours, and didn't answer the last two times."""

    def __init__(self, site: Site) -> None:
        self.site = site
        interval_s = int(SIX_HOURS.total_seconds())
        (self.server_id,) = site.add("bad", ago=3 * DAY, first=2, interval_s=interval_s)
        self.now = slot_of(utc_now())
        midnight = self.now.replace(hour=0, minute=0)
        self.began = midnight + (self.now - midnight) // SIX_HOURS * SIX_HOURS - SIX_HOURS
        for slot in (self.began, self.began + SIX_HOURS):
            self.record(slot, received=0)

    def record(self, slot: datetime, received: int) -> None:
        """Record a ping of four echoes."""
        ms = 1.5 if received else None
        ping = Ping(self.server_id, "127.0.0.2", 4, received, ms, ms, ms, Probe.ICMP)
        with self.site.database.transaction() as session:
            record.record(session, slot, [ping])


@pytest.fixture
def lasting(site: Site) -> Lasting:
    """See Lasting."""
    return Lasting(site)


def listed(page: Page, site: Site) -> None:
    """Open the list and wait for its rows, and for the clock that times are told by."""
    with page.expect_response(lambda response: response.url.endswith("/api/v1/health")):
        page.goto(f"{site.url}/dashboard")
    expect(page.locator("#servers .mark").first).to_be_visible()
    page.wait_for_load_state("networkidle")


def strip_of(page: Page, name: str) -> Locator:
    """Return the strip in a server's row."""
    return page.locator("#servers tbody tr", has_text=name).locator("canvas")


def in_strip(page: Page, name: str, ago: timedelta) -> tuple[float, float]:
    """Return where a time is in a server's strip."""
    box = strip_of(page, name).bounding_box()
    assert box is not None
    return box["x"] + box["width"] * (1 - ago / DAY), box["y"] + 32


def asked(seen: Seen) -> list[str]:
    """Return the ids of the servers whose outages were asked for."""
    return [address.split("/")[-2] for address in seen.calls() if "/spells?" in address]


@pytest.mark.usefixtures("story")
def test_pointing_at_a_strip_says_when_how_long_and_why(
    site: Site, page: Page, story: Story
) -> None:
    listed(page, site)
    spell = page.locator("#tip .spell")
    for name, (since, until), words in (
        ("down", story.outage, ("1 h", "none of 240 echoes came back")),
        ("unobserved", story.gap, ("30 min", "no round ran")),
    ):
        page.mouse.move(*in_strip(page, "web", story.now - since - (until - since) / 2))
        expect(spell).to_contain_text(name)
        expect(spell).to_contain_text(told(since, until))
        for word in words:
            expect(spell).to_contain_text(word)
    page.mouse.move(2, 2)
    expect(page.locator("#tip")).to_be_hidden()


def test_what_lasts_is_said_to_last_in_a_strip(site: Site, page: Page, lasting: Lasting) -> None:
    listed(page, site)
    page.mouse.move(*in_strip(page, "bad", (lasting.now - lasting.began) / 2))
    spell = page.locator("#tip .spell")
    began = f"{lasting.began.day} {lasting.began:%b %Y, %H:%M}"
    expect(spell).to_have_text(re.compile(f"^down since {began} .* none of 8 echoes came back$"))


def test_only_where_somebody_points_outages_are_asked_for_and_once(
    site: Site, page: Page, seen: Seen, story: Story, lasting: Lasting
) -> None:
    def point() -> None:
        for hours in (4.5, 1.7, 4.5, 1.7):
            page.mouse.move(*in_strip(page, "web", timedelta(hours=hours)))
            expect(page.locator("#tip .spell").first).to_be_visible()
        page.mouse.move(2, 2)

    listed(page, site)
    assert asked(seen) == []
    point()
    before = len(asked(seen))
    steps.look_again(page)
    point()
    # The list may have been read anew by itself, too.
    assert (
        1 <= before < len(asked(seen)) <= sum("/servers?limit=1000" in one for one in seen.calls())
    )
    assert str(lasting.server_id) not in asked(seen)
    assert set(asked(seen)) == {str(story.server_id)}


def test_nothing_is_asked_where_each_minute_had_an_answer(
    site: Site, page: Page, seen: Seen, story: Story, lasting: Lasting
) -> None:
    page.clock.install()
    listed(page, site)
    page.mouse.move(*in_strip(page, "web", 3.25 * 60 * MINUTES))
    expect(page.locator("#tip")).to_contain_text("up1.50 ms", use_inner_text=False)
    page.clock.run_for(1_000)
    page.mouse.move(*in_strip(page, "bad", (lasting.now - lasting.began) / 2))
    page.clock.run_for(1_000)
    expect(page.locator("#tip .spell")).to_be_visible()
    assert str(story.server_id) not in asked(seen)


def test_that_outages_cannot_be_read_is_no_outage(site: Site, page: Page, story: Story) -> None:
    listed(page, site)
    page.route("**/spells?*", lambda route: route.abort())
    middle = in_strip(page, "web", story.now - story.outage[0] - 30 * MINUTES)
    page.mouse.move(*middle)
    ours = "Outages and gaps can't be shown now: Pinglet can't be reached"
    expect(page.locator("#tip")).to_contain_text(ours)
    expect(page.locator("#tip .spell")).to_have_count(0)
    strip_of(page, "web").focus()
    page.keyboard.press("ArrowLeft")
    expect(page.locator("#said")).to_have_text(ours)
    page.unroute("**/spells?*")
    page.keyboard.press("ArrowLeft")
    expect(page.locator("#said")).to_contain_text(told(*story.gap))


def test_keys_go_from_one_outage_or_gap_to_the_next_in_a_strip(
    site: Site, page: Page, story: Story
) -> None:
    listed(page, site)
    strip, said = strip_of(page, "web"), page.locator("#said")
    expect(strip).to_have_accessible_name(re.compile("^web, rounds of the last 24 hours: "))
    page.get_by_role("link", name="web").focus()
    page.keyboard.press("Tab")
    expect(strip).to_be_focused()
    # The hours before the story are one more.
    expect(said).to_have_text("1 outage, 2 gaps in these 24 hours")
    for key, spell in (("Left", story.gap), ("Left", story.outage), ("Right", story.gap)):
        page.keyboard.press(f"Arrow{key}")
        expect(said).to_contain_text(told(*spell))
        expect(page.locator("#tip")).to_contain_text(told(*spell))
    frame, box = page.locator("#pointed").bounding_box(), strip.bounding_box()
    assert frame is not None
    assert box is not None
    middle = box["x"] + box["width"] * (1 - 105 / 1440)
    assert frame["x"] < middle < frame["x"] + frame["width"]
    page.keyboard.press("Escape")
    expect(page.locator("#tip")).to_be_hidden()
    expect(page.get_by_role("link", name="web")).to_be_focused()


@pytest.mark.parametrize("way", ["pointer", "keys"])
def test_a_refresh_tells_anew_what_is_pointed_at(
    site: Site, page: Page, lasting: Lasting, way: str
) -> None:
    listed(page, site)
    if way == "keys":
        strip_of(page, "bad").focus()
        page.keyboard.press("ArrowLeft")
    else:
        page.mouse.move(*in_strip(page, "bad", (lasting.now - lasting.began) / 2))
    spell = page.locator("#tip")
    expect(spell).to_contain_text("down since")
    lasting.record(lasting.now, received=4)
    steps.look_again(page)
    expect(spell).to_contain_text(told(lasting.began, lasting.now))
    expect(spell).not_to_contain_text("since")


# A key that is held, as fast as can be.
HELD = """(times) => {
  for (let time = 0; time < times; time += 1) {
    const pressed = new KeyboardEvent("keydown", { key: "ArrowDown", bubbles: true });
    document.activeElement.dispatchEvent(pressed);
  }
}"""


def test_a_hundred_rows_have_one_strip_in_the_way_of_the_tab_key(
    site: Site, page: Page, seen: Seen
) -> None:
    site.add(*(f"web-{number:03}" for number in range(100)), ago=DAY)
    listed(page, site)
    tabbable = page.locator("#servers canvas[tabindex='0']")
    expect(tabbable).to_have_count(1)
    strip_of(page, "web-000").focus()
    with page.expect_response("**/servers/61/spells?*"):
        page.evaluate(HELD, 60)
    expect(strip_of(page, "web-060")).to_be_focused()
    expect(tabbable).to_have_count(1)
    expect(page.locator("#said")).to_have_text("1 gap in these 24 hours")
    assert asked(seen)[-1] == "61"
    assert set(asked(seen)) <= {"1", "61"}  # none of those in between
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="web-061")).to_be_focused()
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="web-062")).to_be_focused()
    page.keyboard.press("ArrowLeft")
    expect(strip_of(page, "web-062")).to_be_focused()
    expect(page.locator("#said")).to_contain_text("unobserved")
    page.get_by_placeholder("Search names and addresses").fill("web-00")
    expect(page.locator("#servers tbody tr")).to_have_count(10)
    expect(tabbable).to_have_count(1)
    expect(page.locator("#tip")).to_be_hidden()


def test_a_focused_strip_is_not_hidden_below_what_stays_in_sight(site: Site, page: Page) -> None:
    site.add(*(f"web-{number:03}" for number in range(30)), ago=DAY)
    page.set_viewport_size({"width": 390, "height": 800})
    listed(page, site)
    strip_of(page, "web-020").focus()
    for number in range(19, 4, -1):
        page.keyboard.press("ArrowUp")
        expect(strip_of(page, f"web-{number:03}")).to_be_focused()
        box, bar = (page.locator(one).bounding_box() for one in ("canvas:focus", "#summary"))
        assert box is not None
        assert bar is not None
        assert box["y"] > bar["y"] + bar["height"]


def test_a_finger_points_at_a_strip_and_leads_nowhere(
    site: Site, browser: Browser, story: Story
) -> None:
    with watched(browser, **PHONE) as (context, _seen):
        page = context.new_page()
        listed(page, site)
        middle = in_strip(page, "web", story.now - story.outage[0] - 30 * MINUTES)
        page.touchscreen.tap(*middle)
        expect(page.locator("#tip .spell")).to_contain_text(told(*story.outage))
        tip = page.locator("#tip").bounding_box()
        assert tip is not None
        assert tip["x"] >= 0
        assert tip["x"] + tip["width"] <= PHONE_WIDTH
        page.touchscreen.tap(200, 20)
        expect(page.locator("#tip")).to_be_hidden()
        page.touchscreen.tap(100, middle[1] - 90)
        page.wait_for_url("**/servers/1")
