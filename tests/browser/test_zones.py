"""Times in the zone of who looks, or in UTC: ticks on its midnights, dates and zone by name."""

import json
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser import steps
from tests.browser.conftest import watched
from tests.browser.site import Site, slots

pytestmark = pytest.mark.xdist_group("browser")
DAY = timedelta(days=1)
NOVEMBER = datetime(2026, 11, 27, 17, tzinfo=UTC)
BACK = datetime(2026, 11, 1, 6, tzinfo=UTC)  # the clocks of New York go back

TICKS = """() => Chart.getChart("chart").scales.x.ticks.map(({ value, label }) => [value, label])"""
ASK = """async ([since, until, most]) => {
  const loaded = performance.getEntriesByType("resource").map(({ name }) => name);
  const { ticksOf } = await import(loaded.find((name) => name.endsWith("/zone.js")));
  return ticksOf(since, until, most).map(({ value, label }) => [value, label]);
}"""


class Tick(NamedTuple):
    """A tick as it stands below the chart."""

    at: datetime
    label: str


def read(found: Sequence[tuple[float, str]], zone: str) -> list[Tick]:
    """Read ticks as the page gave them."""
    return [Tick(datetime.fromtimestamp(ms / 1000, ZoneInfo(zone)), label) for ms, label in found]


def ticks(page: Page, zone: str) -> list[Tick]:
    """Return the ticks below the chart."""
    return read(page.evaluate(TICKS), zone)


def at_the_time(page: Page, site: Site, now: datetime) -> None:
    """Have Pinglet say that it is that time."""
    told = page.request.get(f"{site.url}/api/v1/health").json() | {"now": now.isoformat()}
    body = json.dumps(told)
    page.route("**/api/v1/health", lambda route: route.fulfill(status=200, body=body))


def is_first_of_day(moment: datetime) -> bool:
    """Whether a day begins then; where clocks go forward at midnight that is at one."""
    before = (moment.astimezone(UTC) - timedelta(minutes=1)).astimezone(moment.tzinfo)
    return before.date() != moment.date()


def assert_each_is_named_once(found: Sequence[Tick]) -> None:
    """No two have the same words; the same time of two days is told apart by what lies between."""
    named = [(tick.at.date(), tick.label) for tick in found]
    assert len(set(named)) == len(named), named
    dates = [tick.label for tick in found if ":" not in tick.label]
    assert len(set(dates)) == len(dates), dates


def days(found: Sequence[Tick]) -> list[str]:
    """Return the dates of those ticks that stand where a day begins."""
    return [f"{tick.at:%b} {tick.at.day}" for tick in found if is_first_of_day(tick.at)]


def test_days_stand_on_midnights_on_both_sides_of_a_change_of_clocks(
    site: Site, browser: Browser
) -> None:
    zone = "America/New_York"
    (server_id,) = site.add("web")
    with watched(browser, timezone_id=zone, locale="en-US") as (context, _seen):
        page = context.new_page()
        at_the_time(page, site, NOVEMBER)
        steps.server(page, site, server_id)
        steps.button(page, "30 d")
        steps.shows(page, hours=720)
        assert [tick.label for tick in ticks(page, zone)] == days(ticks(page, zone))
        steps.button(page, "90 d")
        steps.shows(page, hours=2_160)
        found = ticks(page, zone)
        assert [tick.label for tick in found] == days(found)
        assert {tick.at.astimezone(UTC).hour for tick in found} == {4, 5}  # summer, then winter


def test_no_day_stands_twice_where_it_has_25_hours(site: Site, browser: Browser) -> None:
    zone = "America/New_York"
    (server_id,) = site.add("web")
    with watched(browser, timezone_id=zone, locale="en-US") as (context, _seen):
        page = context.new_page()
        at_the_time(page, site, BACK + 3 * DAY)
        steps.server(page, site, server_id)
        steps.button(page, "7 d")
        steps.shows(page, hours=168)
        page.locator(".chart").focus()
        for _ in range(3):
            found = ticks(page, zone)
            assert all(is_first_of_day(tick.at) for tick in found if ":" not in tick.label)
            assert_each_is_named_once(found)
            before = steps.minutes(page)
            page.keyboard.press("+")
            expect(page.locator("#window")).not_to_have_attribute("data-minutes", f"{before:g}")


CHANGES = [
    ("America/New_York", BACK),
    ("America/New_York", datetime(2026, 3, 8, 7, tzinfo=UTC)),
    ("America/Havana", datetime(2026, 11, 1, 5, tzinfo=UTC)),  # from 1:00 to midnight
    ("Africa/Cairo", datetime(2026, 4, 23, 22, tzinfo=UTC)),  # from midnight to 1:00
    ("Australia/Lord_Howe", datetime(2026, 4, 4, 15, tzinfo=UTC)),  # by half an hour
    ("Pacific/Apia", datetime(2011, 12, 30, 10, tzinfo=UTC)),  # by a day
    ("Pacific/Apia", NOVEMBER),
    ("Asia/Kolkata", NOVEMBER),
    ("Asia/Kathmandu", NOVEMBER),
    ("Europe/London", datetime(2026, 10, 25, 1, tzinfo=UTC)),
]
LENGTHS = [timedelta(hours=hours) for hours in (0.1, 0.5, 1, 2, 3, 6, 12, 24, 48, 72, 144)]
LENGTHS += [DAY * days for days in (7, 10, 30, 90, 365, 1_000, 8_000)]


@pytest.mark.parametrize(("zone", "change"), CHANGES)
def test_ticks_are_round_in_order_and_none_is_named_twice(
    site: Site, browser: Browser, zone: str, change: datetime
) -> None:
    with watched(browser, timezone_id=zone) as (context, _seen):
        page = context.new_page()
        steps.fleet(page, site)
        for length in LENGTHS:
            for share in (0, 0.3, 0.5, 1):
                since = change - length * share
                window = [since.timestamp() * 1000, (since + length).timestamp() * 1000]
                found = read(page.evaluate(ASK, [*window, 8]), zone)
                told = f"{since} {length}: {found}"
                assert 1 <= len(found) <= 10, told
                moments = [tick.at.astimezone(UTC) for tick in found]
                assert moments == sorted(set(moments)), told
                assert_each_is_named_once(found)
                if length > 8 * DAY:
                    assert all(is_first_of_day(tick.at) for tick in found), told
                else:
                    assert all(tick.at.second == 0 for tick in found), told


def test_an_hour_that_comes_twice_is_named_by_its_zone(site: Site, browser: Browser) -> None:
    zone = "America/New_York"
    with watched(browser, timezone_id=zone, locale="en-US") as (context, _seen):
        page = context.new_page()
        steps.fleet(page, site)
        since = BACK - timedelta(minutes=90)
        window = [since.timestamp() * 1000, (since + timedelta(hours=3)).timestamp() * 1000]
        labels = [tick.label for tick in read(page.evaluate(ASK, [*window, 8]), zone)]
        assert labels == [
            *("12:30 AM", "1:00 AM EDT", "1:30 AM EDT", "1:00 AM EST", "1:30 AM EST"),
            *("2:00 AM", "2:30 AM"),
        ]


def test_dates_and_the_zone_are_named(site: Site, browser: Browser) -> None:
    (server_id,) = site.add("web")
    with watched(browser, timezone_id="Asia/Kolkata") as (context, _seen):
        page = context.new_page()
        at_the_time(page, site, NOVEMBER)
        steps.server(page, site, server_id)
        expect(page.locator("#window")).to_have_text(
            "26 Nov 2026, 22:31 GMT+5:30 to 27 Nov 2026, 22:31 GMT+5:30"
        )
        expect(page.locator("#zone-name")).to_have_text(re.compile("Asia/(Kolkata|Calcutta)"))
        assert "27 Nov" in [tick.label for tick in ticks(page, "Asia/Kolkata")]


def test_times_are_shown_in_utc_by_a_switch_that_stays(site: Site, browser: Browser) -> None:
    (server_id,) = site.add("web", ago=DAY)
    site.history([server_id], slots(DAY, timedelta(minutes=5)))
    with watched(browser, timezone_id="Asia/Kolkata") as (context, _seen):
        page = context.new_page()
        at_the_time(page, site, NOVEMBER)
        steps.server(page, site, server_id)
        assert {tick.at.minute for tick in ticks(page, "UTC")} == {30}
        steps.button(page, "Show UTC")
        expect(page.locator("#window")).to_have_text(
            "26 Nov 2026, 17:01 UTC to 27 Nov 2026, 17:01 UTC"
        )
        assert {tick.at.minute for tick in ticks(page, "UTC")} == {0}
        expect(page.locator("#zone-name")).to_have_text("UTC")
        page.reload()
        expect(page.locator("#window")).to_contain_text("17:01 UTC")
        expect(page.locator("#zone")).to_have_text(re.compile("^Show Asia/"))
        page.locator("#zone").click()
        expect(page.locator("#window")).to_contain_text("22:31 GMT+5:30")


def test_whose_zone_is_utc_needs_no_switch(site: Site, page: Page) -> None:
    site.add("web")
    steps.fleet(page, site)
    expect(page.locator("#zone-name")).to_have_text("UTC")
    expect(page.locator("#zone")).to_be_hidden()


@pytest.mark.parametrize("locale", ["ar-EG", "he-IL", "fa-IR"])
def test_dates_that_run_the_other_way_stay_in_their_places(
    site: Site, browser: Browser, locale: str
) -> None:
    (server_id,) = site.add("web")
    with watched(browser, locale=locale, timezone_id="Africa/Cairo") as (context, _seen):
        page = context.new_page()
        steps.server(page, site, server_id)
        dates = page.locator("#window bdi")
        expect(dates).to_have_count(2)
        assert dates.evaluate_all("(all) => all.every((one) => one.matches(':dir(rtl)'))")
        since, until = [one.bounding_box() for one in dates.all()]
        assert since is not None
        assert until is not None
        assert since["x"] + since["width"] < until["x"]
