"""Each state is shown as what it is: no server is unobserved that nobody was to look at."""

from collections.abc import Sequence
from datetime import datetime, timedelta

import pytest
from playwright.sync_api import Locator, Page, expect

from core.checks.records import Ping, Probe, figures_ms
from core.clock import utc_now
from core.rounds import record
from core.servers import change
from core.servers.records import ServerChange
from tests.browser import steps
from tests.browser.site import ECHOES, Site, slots

pytestmark = pytest.mark.xdist_group("browser")
DAY, HOUR, MINUTE = timedelta(days=1), timedelta(hours=1), timedelta(minutes=1)

# How many pixels of a canvas have each state's colour, between two shares of its width.
COLOURS = """(canvas, [from, to]) => {
  const context = canvas.getContext("2d");
  const left = Math.round(from * canvas.width), right = Math.round(to * canvas.width);
  const { data } = context.getImageData(left, 0, right - left, canvas.height);
  const style = getComputedStyle(document.documentElement);
  const found = {};
  for (const state of ["up", "degraded", "down", "unobserved"]) {
    context.fillStyle = style.getPropertyValue(`--${state}`).trim();
    const ink = [1, 3, 5].map((at) => parseInt(context.fillStyle.slice(at, at + 2), 16));
    found[state] = 0;
    for (let at = 0; at < data.length; at += 4) {
      const off = ink.reduce((sum, one, place) => sum + Math.abs(data[at + place] - one), 0);
      if (data[at + 3] > 100 && off < 12) found[state] += 1;
    }
  }
  return found;
}"""


def colours(canvas: Locator, since: float = 0, until: float = 1) -> dict[str, int]:
    found: dict[str, int] = canvas.evaluate(COLOURS, [since, until])
    return found


def pings(site: Site, server_id: int, every: Sequence[datetime], received: int) -> None:
    """Record these rounds of one of the first servers, `received` echoes in each."""
    for slot in every:
        ping = Ping(
            server_id=server_id,
            ip=f"127.0.0.{server_id}",
            sent=ECHOES,
            received=received,
            **figures_ms([1.0] * received),
            probe=Probe.ICMP,
        )
        with site.database.transaction() as session:
            record.record(session, slot, [ping])


def pause(site: Site, server_id: int) -> None:
    with site.database.transaction() as session:
        paused = ServerChange(enabled=False)
        change.alter(session, server_id, paused, site.database.settings, utc_now())


# Paused and new


@pytest.fixture
def mixed(site: Site) -> Site:
    """A server of each kind that nobody looks at, and one that is up."""
    ids = site.add("seen", "late", "resting", ago=DAY)
    pings(site, ids[0], slots(MINUTE), ECHOES)
    pings(site, ids[1], slots(MINUTE, end=slots(HOUR)[0]), ECHOES)
    pause(site, ids[2])
    site.add("fresh", first=9)
    return site


def test_paused_and_new_servers_are_called_so(mixed: Site, page: Page) -> None:
    steps.fleet(page, mixed)
    told = page.locator("#servers tbody tr td:nth-child(2)")
    expect(told).to_have_text(["up", "unobserved", "paused", "new"])
    marks = told.locator(".mark").evaluate_all("(all) => all.map((mark) => mark.className)")
    assert marks == ["mark up", "mark unobserved", "mark paused", "mark new"]
    expect(page.locator("#summary .tile:visible")).to_have_text(
        ["1up", "0degraded", "0down", "1unobserved", "1new", "1paused"]
    )


@pytest.mark.parametrize(
    ("word", "name"), [("unobserved", "late"), ("new", "fresh"), ("paused", "resting")]
)
def test_a_tile_finds_what_it_counts(mixed: Site, page: Page, word: str, name: str) -> None:
    steps.fleet(page, mixed)
    page.locator("#summary").get_by_role("button", name=word).click()
    rows = page.locator("#servers tbody tr")
    expect(rows).to_have_count(1)
    expect(rows).to_contain_text(name)
    expect(page).to_have_url(f"{mixed.url}/dashboard?state={word}")
    expect(page.locator("#summary .tile:visible")).to_have_count(6)


def test_where_none_is_paused_or_new_there_is_no_tile_for_it(site: Site, page: Page) -> None:
    (server_id,) = site.add("seen", ago=DAY)
    pings(site, server_id, slots(MINUTE), ECHOES)
    steps.fleet(page, site)
    expect(page.locator("#summary .tile:visible")).to_have_count(4)


@pytest.mark.parametrize(("number", "word"), [(3, "paused"), (4, "new")])
def test_the_page_of_a_server_says_it_too(mixed: Site, page: Page, number: int, word: str) -> None:
    steps.server(page, mixed, number)
    expect(page.locator("#address")).to_contain_text(word)
    expect(page.locator("#address")).not_to_contain_text("unobserved")
    expect(page.locator("#mark")).to_have_class(f"mark {word}")


def test_a_new_server_that_is_never_looked_at_is_not_new_for_ever(site: Site, page: Page) -> None:
    site.add("forgotten", ago=3 * MINUTE)
    steps.fleet(page, site)
    expect(page.locator("#servers tbody tr")).to_contain_text("unobserved")


# Shares


@pytest.fixture
def lossy(site: Site) -> int:
    """A server that lost one echo in each half hour of a day but the last, which has an outage."""
    (server_id,) = site.add("lossy", ago=DAY)
    every = slots(DAY - MINUTE)
    lossy = set(every[15::30]) - set(every[-30:])
    pings(site, server_id, [slot for slot in every if slot not in lossy], ECHOES)
    pings(site, server_id, sorted(lossy), ECHOES - 1)
    return server_id


def drawn(page: Page) -> Locator:
    return page.locator("#servers canvas").first


def test_a_lost_echo_colours_its_share_of_a_half_hour(site: Site, page: Page, lossy: int) -> None:
    steps.fleet(page, site)
    found = colours(drawn(page))
    assert lossy
    assert 0 < found["degraded"] < found["up"] / 4
    assert found["down"] == 0


def test_a_minute_of_outage_is_seen_among_thirty(site: Site, page: Page) -> None:
    (server_id,) = site.add("web", ago=DAY)
    every = slots(DAY - MINUTE)
    down = every[-45]  # in the last half hour but one
    pings(site, server_id, [slot for slot in every if slot != down], ECHOES)
    pings(site, server_id, [down], 0)
    steps.fleet(page, site)
    found = colours(drawn(page), 46 / 48, 47 / 48)
    assert found["up"] > found["down"] > 0
    assert colours(drawn(page), 0, 46 / 48)["down"] == 0
    box = drawn(page).bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] * 46.5 / 48, box["y"] + 30)
    expect(page.locator("#tip")).to_contain_text("29 up")
    expect(page.locator("#tip")).to_contain_text("1 down")


def test_a_half_hour_without_an_answer_is_all_down(site: Site, page: Page) -> None:
    (server_id,) = site.add("web", ago=DAY)
    pings(site, server_id, slots(DAY - MINUTE)[-30:], 0)
    steps.fleet(page, site)
    found = colours(drawn(page), 47 / 48, 1)
    assert found["down"] > 30
    assert found["up"] == found["degraded"] == 0


def test_the_strip_below_a_chart_shows_shares_too(site: Site, page: Page, lossy: int) -> None:
    steps.server(page, site, lossy)
    steps.button(page, "7 d")  # a bucket is half an hour
    steps.shows(page, hours=168)
    found = colours(page.locator("#states"))
    assert 0 < found["degraded"] < found["up"] / 4
