"""From 320 to 2,560 pixels nothing is cut off, and no page is wider than its window."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from playwright.sync_api import Page, expect

from core.clock import utc_now
from core.incidents import change, rulebook
from core.incidents.records import Acknowledgement, Comment
from core.incidents.rules import Rule
from tests import people
from tests.browser import steps
from tests.browser.site import Site, slots

pytestmark = pytest.mark.xdist_group("browser")
DAY = timedelta(days=1)
WIDTHS = [
    *(320, 360, 390, 480, 560, 640, 700, 720, 721, 768, 820, 831, 900, 960, 1000, 1001),
    *(1100, 1200, 1280, 1440, 1920, 2560),
]
LONG = "the-longest-name-of-a-server-that-anybody-has-ever-seen.rack-17.example.org"

# What sticks out of the window or of its own box, or is cut off there. What ends in dots must tell
# all of it in its title; what scrolls by itself is no fault.
FAULTS = """async () => {
  const frame = () => new Promise((done) => requestAnimationFrame(done));
  await frame(); await frame(); await frame();
  const wide = document.documentElement.clientWidth;
  const found = [];
  const told = (element) => `${element.tagName.toLowerCase()}#${element.id}.${element.className}` +
    ` "${(element.innerText ?? "").slice(0, 40)}"`;
  if (document.documentElement.scrollWidth > wide) {
    found.push(`the page is ${document.documentElement.scrollWidth} wide`);
  }
  const clipped = (element) => element &&
    (getComputedStyle(element).clipPath === "inset(50%)" || clipped(element.parentElement));
  // GraphiQL's own parts scroll by themselves.
  const others = ".skip, svg, .graphiql-container *";
  const filled = "input, textarea, select, canvas";
  for (const element of document.body.querySelectorAll("*")) {
    if (!element.checkVisibility() || element.closest(others) || clipped(element)) continue;
    const { left, right, width } = element.getBoundingClientRect();
    if (!width) continue;
    if (right > wide + 1 || left < -1) found.push(`outside: ${told(element)}`);
    const style = getComputedStyle(element);
    if (style.display === "inline" || element.matches(filled)) continue;
    if (["auto", "scroll"].includes(style.overflowX)) continue;
    const across = element.scrollWidth - element.clientWidth;
    const down = element.scrollHeight - element.clientHeight;
    const isCut = across > 1 || (style.overflowY === "hidden" && down > 1);
    if (isCut && !element.title) found.push(`cut off by ${across}, ${down}: ${told(element)}`);
  }
  return found;
}"""


def faults(page: Page) -> dict[int, list[str]]:
    """Return what is wrong at each width."""
    found = {}
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 800})
        if wrong := page.evaluate(FAULTS):
            found[width] = wrong
    return found


def opened(path: str, shown: str) -> Callable[[Page, Site], None]:
    """Return how to open a page and wait until `shown` is there."""

    def open_it(page: Page, site: Site) -> None:
        page.goto(site.url + path)
        expect(page.locator(shown).first).to_be_visible()

    return open_it


def with_all_open(page: Page, site: Site) -> None:
    """Open a server, zoomed, pinged, and about to be removed."""
    steps.server(page, site, 1)
    page.locator(".chart").focus()
    page.keyboard.press("+")
    expect(page.locator("#out")).to_be_visible()
    steps.button(page, "Ping now")
    expect(page.locator("#echoes li")).to_have_count(4)
    steps.button(page, "Remove")
    expect(page.get_by_role("button", name="Undo")).to_be_visible()


def edited(page: Page, site: Site) -> None:
    """Open a server's form, with something wrong in it."""
    steps.server(page, site, 1)
    steps.button(page, "Edit")
    form = page.get_by_role("dialog")
    form.get_by_label("IPv4 address").fill("127.1" + 30 * "9")
    form.get_by_role("button", name="Save").click()
    expect(form.get_by_role("alert")).not_to_be_empty()


def pasted(page: Page, site: Site) -> None:
    """Add a list of which some lines are wrong."""
    page.goto(f"{site.url}/dashboard/add")
    page.get_by_label("One server per line").fill(f"{LONG}{LONG}, 127.1\nfine, 127.0.0.9")
    steps.button(page, "Add all")
    expect(page.locator("#results .bad")).to_have_count(1)


def tried(page: Page, site: Site) -> None:
    """Open a rule with long names, and try it on the past."""
    opened("/dashboard/rules", "#rules tbody tr")(page, site)
    page.locator("#rules button").first.click()
    steps.button(page, "Try on the last 30 days")
    expect(page.locator("#trial")).to_be_visible()


VIEWS: dict[str, Callable[[Page, Site], None]] = {
    "fleet": opened("/dashboard", "#servers tbody tr"),
    "fleet, searched": opened("/dashboard?search=the-long&state=down", "#nothing"),
    "server": with_all_open,
    "server, edited": edited,
    "incidents": opened("/dashboard/incidents", "#incidents li"),
    "incidents, none": opened("/dashboard/incidents?search=nowhere", "#nothing"),
    "incident": opened("/dashboard/incidents/1", "#flags a"),
    "incident, gone": opened("/dashboard/incidents/4711", "h1:has-text('not found')"),
    "server, gone": opened("/dashboard/servers/4711", "h1:has-text('not found')"),
    "rules": tried,
    "add": pasted,
    "explorer": opened("/dashboard/graphql", ".graphiql-container"),
    "docs": opened("/api/v1/docs", "h1"),
}


@pytest.fixture
def everything(site: Site) -> Site:
    """Servers of each state, with long names, and a worker that died twenty minutes ago."""
    names = (LONG, "db", "paused", f"{LONG}2")
    ids = site.add(*names, ago=DAY)
    died = slots(timedelta(minutes=20))[0]
    site.history(ids, slots(DAY, timedelta(minutes=5), end=died))
    looked_after(site, ids)
    wanted = {"name": LONG * 3, "for": {"names": [LONG * 3, "w" * 255, "*"]}}
    with site.database.transaction() as session:
        rule = Rule.of(wanted | {"when": {"down": 1, "of": 1}})
        rulebook.make(session, rule, "ann", utc_now())
    site.add("new", first=9)
    return site


def looked_after(site: Site, ids: list[int]) -> None:
    """Have two of the servers be down since twenty minutes ago, and somebody look after one."""
    site.judge(dict.fromkeys(ids[::3], "bbbb"), slots(timedelta(minutes=23))[1:5])
    wanted = Acknowledgement(note="w" * 400)
    with site.database.transaction() as session:
        change.acknowledge(session, 1, wanted, "u" * 64, utc_now())
        change.comment(session, 1, Comment(note="a cable\n\nand another one"), "ann", utc_now())


@pytest.mark.parametrize("view", VIEWS)
def test_nothing_is_cut_off_at_any_width(everything: Site, page: Page, view: str) -> None:
    VIEWS[view](page, everything)
    assert faults(page) == {}


def test_an_empty_fleet_fits_too(site: Site, page: Page) -> None:
    steps.fleet(page, site)
    assert faults(page) == {}


def test_the_form_to_log_in_fits(guarded_site: Site, page: Page) -> None:
    page.goto(f"{guarded_site.url}/login")
    steps.button(page, "Log in")
    assert faults(page) == {}


def test_an_account_with_long_names_fits(guarded_site: Site, page: Page) -> None:
    people.add(guarded_site.database, "u" * 64, people.Role.VIEWER)
    steps.log_in(page, guarded_site, at="/dashboard/account")
    form = page.locator("#new-token")
    form.get_by_label("Name").fill("a-token-for-a-script-" * 3)
    form.get_by_label("Your password").fill(people.PASSWORD)
    steps.button(page, "Create token")
    expect(page.locator("#made")).to_be_visible()
    expect(page.locator("#users tr")).to_have_count(4)
    assert faults(page) == {}
