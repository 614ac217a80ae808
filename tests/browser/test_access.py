"""Everybody can use the pages: axe finds nothing, and the keyboard reaches everything."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from playwright.sync_api import Browser, Page, expect

from core.servers import parents, tags
from tests.browser import steps
from tests.browser.conftest import watched
from tests.browser.site import Site, slots
from tests.browser.test_rules import made as a_rule
from tests.infra.npm import ROOT

pytestmark = pytest.mark.xdist_group("browser")
DAY = timedelta(days=1)
Opened = Callable[[Page, Site], None]


def opened(path: str, shown: str) -> Opened:
    """Return how to open a page and wait until `shown` is there."""

    def open_it(page: Page, site: Site) -> None:
        page.goto(site.url + path)
        expect(page.locator(shown).first).to_be_visible()

    return open_it


def pinged(page: Page, site: Site) -> None:
    """Open a server and everything that opens on its page."""
    steps.server(page, site, 1)
    steps.button(page, "Ping now")
    expect(page.locator("#echoes li")).to_have_count(4)
    steps.button(page, "Remove")
    expect(page.locator(".toast")).to_be_visible()


def edited(page: Page, site: Site) -> None:
    """Open a server's form."""
    steps.server(page, site, 1)
    steps.button(page, "Edit")
    expect(page.get_by_role("dialog")).to_be_visible()


def pointed(page: Page, site: Site) -> None:
    """Open the list and go to an outage or a gap of its first server."""
    opened("/dashboard", "#servers tbody tr")(page, site)
    page.locator("#servers canvas").first.focus()
    page.keyboard.press("ArrowLeft")
    expect(page.locator("#tip .spell")).to_be_visible()


def asked(page: Page, site: Site) -> None:
    """Open an incident, and be asked whether it is to be resolved."""
    steps.incident(page, site, 1)
    steps.button(page, "Resolve")
    expect(page.get_by_role("alertdialog")).to_be_visible()


VIEWS: dict[str, Opened] = {
    "fleet": opened("/dashboard", "#servers tbody tr"),
    "pointed": pointed,
    "nothing found": opened("/dashboard?search=nowhere", "#nothing"),
    "edit": edited,
    "add": opened("/dashboard/add", "#one"),
    "rules": opened("/dashboard/rules", "#rules tbody tr"),
    "account": opened("/dashboard/account", "#users tr"),
    "server": pinged,
    "incidents": opened("/dashboard/incidents", "#incidents li"),
    "no incidents": opened("/dashboard/incidents?search=nowhere", "#nothing"),
    "an incident": opened("/dashboard/incidents/1", "#flags a"),
    "a question": asked,
    "no such incident": opened("/dashboard/incidents/4711", "h1"),
    "explorer": opened("/dashboard/graphql", ".graphiql-container"),
    "documentation": opened("/api/v1/docs", "h1"),
    "nothing there": opened("/nowhere", "h1"),
    "no such server": opened("/dashboard/servers/4711", "h1"),
}


# What has just appeared is still pale; the line that shows how long an Undo is there moves on.
STILL = """() => Promise.all(document.getAnimations()
  .filter((one) => one.effect.getComputedTiming().endTime <= 1000)
  .map((one) => one.finished.catch(() => null)))"""


def violations(page: Page, without: str = "#none") -> list[str]:
    """Return what axe finds wrong, best practices included, `without` what isn't ours."""
    page.evaluate((ROOT / "node_modules" / "axe-core" / "axe.min.js").read_text())
    page.evaluate(STILL)
    run = "(without) => axe.run({ exclude: [without] }).then((result) => result.violations)"
    found = page.evaluate(run, without)
    return [f"{one['id']}: {node['html']}" for one in found for node in one["nodes"]]


@pytest.mark.parametrize("width", [390, 1440])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_on_any_page(
    guarded_site: Site, browser: Browser, scheme: str, width: int
) -> None:
    ids = guarded_site.add("web", "db", "lossy", "mail", "unseen", ago=DAY)
    guarded_site.history(ids[:4], slots(DAY, timedelta(hours=2))[:-1])
    guarded_site.judge({ids[0]: "gbb", ids[3]: "bbb"}, slots(timedelta(minutes=2)))
    with guarded_site.database.transaction() as session:
        tags.put(session, {ids[0]: ["eu", "web"], ids[1]: [f"rack-{one}" for one in range(20)]})
        parents.put(session, {ids[0]: "db"})
    a_rule(guarded_site)
    viewport = {"width": width, "height": 900}
    with watched(browser, color_scheme=scheme, viewport=viewport) as (context, _seen):
        page = context.new_page()
        found = {}
        page.goto(f"{guarded_site.url}/login")
        found["log in"] = violations(page)
        steps.log_in(page, guarded_site)
        for name, open_it in VIEWS.items():
            open_it(page, guarded_site)
            found[name] = violations(page, without="#graphiql")
            too_wide = page.evaluate("document.documentElement.scrollWidth > innerWidth")
            assert not too_wide, f"{name} scrolls sideways"
        assert found == {name: [] for name in ["log in", *VIEWS]}


def test_axe_finds_nothing_on_an_empty_fleet_and_an_open_account(site: Site, page: Page) -> None:
    opened("/dashboard", "#empty")(page, site)
    assert violations(page) == []
    opened("/dashboard/account", "#open")(page, site)
    assert violations(page) == []


REACHABLE = """() => {
  const wanted = "a[href], button, input, select, textarea, [tabindex='0']";
  return [...document.querySelectorAll(wanted)]
    .filter((one) => one.checkVisibility() && !one.disabled && one.tabIndex >= 0
      && !one.matches("[aria-hidden=true]")).length;
}"""


@pytest.mark.parametrize(
    "view", ["fleet", "server", "incidents", "incident", "rules", "add", "account"]
)
def test_the_tab_key_reaches_everything_and_shows_where_it_is(
    guarded_site: Site, page: Page, view: str
) -> None:
    ids = guarded_site.add("web", "db", ago=DAY)
    guarded_site.judge(dict.fromkeys(ids, "bb"), slots(timedelta(minutes=1)))
    a_rule(guarded_site)
    steps.log_in(page, guarded_site)
    if view == "server":
        steps.server(page, guarded_site, ids[0])
    elif view == "incident":
        VIEWS["an incident"](page, guarded_site)
    else:
        VIEWS[view](page, guarded_site)
    wanted = page.evaluate(REACHABLE)
    assert wanted >= 8
    page.evaluate("document.activeElement.blur()")
    reached = set()
    for step in range(wanted):
        page.keyboard.press("Tab")
        where = page.evaluate(
            "(step) => { const one = document.activeElement; one.dataset.step ??= step;"
            " return [one.dataset.step, getComputedStyle(one).outlineStyle]; }",
            step,
        )
        assert where[1] != "none", f"{step}: nothing shows where the focus is"
        reached.add(where[0])
    assert len(reached) == wanted


def test_a_choice_of_light_or_dark_stays(site: Site, page: Page) -> None:
    steps.fleet(page, site)
    html = page.locator("html")
    expect(html).to_have_attribute("data-theme", "light")
    steps.button(page, "Light or dark")
    expect(html).to_have_attribute("data-theme", "dark")
    page.reload()
    expect(html).to_have_attribute("data-theme", "dark")
