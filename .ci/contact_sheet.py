"""docs/screenshots/sheet.webp: the pages at every width, light and dark: `make docs`.

When all is well, with a dead worker, while Pinglet can't be reached, behind a prefix, in a language
that runs the other way, and the pages that say why there is no other. To be looked at.
"""

import base64
import html
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

from playwright.sync_api import Browser, Page, expect, sync_playwright

from core.clock import utc_now
from core.servers import change
from core.servers.records import ServerChange, ServerWanted
from core.settings import Settings
from core.slots import SLOT, slot_of
from handlers.cli import demo
from infra import migrations
from infra.database import Database
from screenshots import OFFICE, PICTURES, ROOT
from tests import people
from tests.browser import steps
from tests.browser.conftest import CHROMIUM, launch
from tests.browser.site import Site, serve, slots
from tests.browser.test_incidents import three, three_hundred

SHEET = PICTURES / "sheet.webp"
LARGEST_BYTES = 1_500_000
WIDTHS = (320, 390, 768, 820, 1440, 2560)
HEIGHT = 1000
SCALE = 0.36
QUALITY = 55
DAYS = 2
SHEET_STYLE = """body { margin: 16px; background: #b9c1c9; font: 15px sans-serif; }
h2 { margin: 16px 0 6px; font-size: 17px; } div { display: flex; gap: 10px; align-items: start; }"""


# What is looked at


def fleet(page: Page, site: Site) -> None:
    """The list."""
    steps.fleet(page, site)


def server(page: Page, site: Site) -> None:
    """A server with an outage; with incidents, one that has some."""
    page.goto(f"{site.url}/dashboard")
    down = page.locator("#open .title a")
    page.wait_for_load_state("networkidle")
    if down.count():
        down.first.click()
        expect(page.locator("#window")).to_have_attribute("data-minutes", "1440")
    else:
        steps.server(page, site, OFFICE)


def incident(page: Page, site: Site) -> None:
    """The newest incident, which is open."""
    page.goto(f"{site.url}/dashboard/incidents")
    page.locator("#incidents .when").first.click()
    expect(page.locator("#window")).to_have_attribute("data-minutes", re.compile(r"\d"))


def add(page: Page, site: Site) -> None:
    """The forms to add servers, after a list of which a line was refused."""
    page.goto(f"{site.url}/dashboard/add")
    page.get_by_label("One server per line").fill("demo office, 127.0.0.5\nweb-1, 192.0.2")
    steps.button(page, "Add all")
    expect(page.locator("#results .bad").first).to_be_visible()


def opened(path: str, shown: str, page: Page, site: Site) -> None:
    """A page that is there once `shown` is."""
    page.goto(site.url + path)
    expect(page.locator(shown).first).to_be_visible()


def unknown_name(page: Page, site: Site) -> None:
    """What is said to whoever comes by a name that Pinglet doesn't know."""
    page.goto(site.url.replace("127.0.0.1", "pinglet.localhost"))


VIEWS: dict[str, Callable[[Page, Site], None]] = {
    "fleet": fleet,
    "server": server,
    "incidents": partial(opened, "/dashboard/incidents", "#incidents li, #nothing"),
    "incident": incident,
    "add": add,
    "account": partial(opened, "/dashboard/account", "#users tr"),
    "API explorer": partial(opened, "/dashboard/graphql", ".graphiql-container"),
    "documentation": partial(opened, "/api/v1/docs", "h1"),
    "log in": partial(opened, "/login", "#login"),
    "nothing there": partial(opened, "/nowhere", "h1"),
    "unknown name": unknown_name,
    "no user yet": partial(opened, "/dashboard", "h1"),
}


# In which state


def as_it_is(_page: Page) -> None:
    """Leave the page as it is."""


def unreachable(page: Page) -> None:
    """Have the page look again while Pinglet can't be reached."""
    page.context.set_offline(True)
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    expect(page.get_by_text("can't be reached").first).to_be_visible()


Judged = Mapping[int, str]
"""Servers, and what each goes on being: good (g) or bad (b)."""


def no_incident(_site: Site) -> Judged:
    """Have no incident."""
    return {}


def some_incidents(site: Site) -> Judged:
    """Have three incidents, two of them open."""
    return dict(zip(three(site), "bgb", strict=True))


def many_incidents(site: Site) -> Judged:
    """Have three hundred incidents, four of them open."""
    return dict.fromkeys(three_hundred(site), "b")


@dataclass(frozen=True, slots=True)
class Kind:
    """How an instance is: its rounds ended `ended` ago, and "ann" uses it unless nobody does."""

    ended: timedelta = timedelta(0)
    prefix: str = ""
    used: bool = True
    incidents: Callable[[Site], Judged] = no_incident


WELL, DEAD, SILENT = "all is well", "dead worker", "Pinglet can't be reached"
PREFIXED, NEW = "behind a prefix", "just installed"
SOME, MANY = "3 incidents", "300 incidents"
STATES: dict[str, tuple[Kind, Callable[[Page], None]]] = {
    WELL: (Kind(), as_it_is),
    SOME: (Kind(incidents=some_incidents), as_it_is),
    MANY: (Kind(incidents=many_incidents), as_it_is),
    DEAD: (Kind(ended=timedelta(minutes=20)), as_it_is),
    SILENT: (Kind(), unreachable),
    PREFIXED: (Kind(prefix="/monitor/pinglet"), as_it_is),
    NEW: (Kind(used=False), as_it_is),
}
"""What is looked at, and what happens to the page."""


@dataclass
class Watched:
    """A served instance; `ids` are of the servers that are pinged."""

    site: Site
    kind: Kind
    ids: dict[str, int] = field(default_factory=dict)
    cookies: object = None
    newest: datetime | None = None
    judged: Judged = field(default_factory=dict)

    def catch_up(self) -> None:
        """Record the rounds that are due by now."""
        before, self.newest = self.newest, slot_of(utc_now() - self.kind.ended)
        for chunk in demo.made_up_rounds(self.ids, self.newest + SLOT, DAYS):
            fresh = [(slot, pings) for slot, pings in chunk if before is None or slot > before]
            with self.site.database.transaction() as session:
                demo.record(session, fresh)
        if before is None:
            self.judged = self.kind.incidents(self.site)
        elif self.judged and self.newest > before:
            every = slots(self.newest - before - SLOT, end=self.newest)
            self.site.judge({one: len(every) * how for one, how in self.judged.items()}, every)


def fill(site: Site) -> dict[str, int]:
    """Make up the demo's servers, a paused and a new one; return the ids of the demo's."""
    now, settings = utc_now(), site.database.settings
    begun = now - timedelta(days=DAYS)
    with site.database.transaction() as session:
        ids = demo.create_servers(session, settings, now, DAYS)
        paused = change.add(session, ServerWanted("demo paused", "127.0.0.15"), settings, begun)
        change.alter(session, paused, ServerChange(enabled=False), settings, begun)
        change.add(session, ServerWanted("demo new", "127.0.0.16", interval_s=3_600), settings, now)
    return ids


def log_in(browser: Browser, site: Site) -> object:
    """Add users and log one in; return her cookies."""
    for name, role in (("ann", "admin"), ("eve", "editor"), ("viv", "viewer")):
        people.add(site.database, name, people.Role(role))
    context = browser.new_context(locale="en-GB")
    steps.log_in(context.new_page(), site)
    cookies = context.storage_state()
    context.close()
    return cookies


@contextmanager
def watched(browser: Browser, kind: Kind) -> Iterator[Watched]:
    """Serve an instance of this kind."""
    folder = Path(tempfile.mkdtemp())
    try:
        settings = Settings(database_url=f"sqlite:///{folder / 'pinglet.db'}", authentication=True)
        migrations.upgrade(Database(settings).engine)
        with serve(settings, kind.prefix) as site:
            if kind.used:
                yield Watched(site, kind, fill(site), log_in(browser, site))
            else:
                yield Watched(site, kind)
    finally:
        shutil.rmtree(folder)


# The sheet


@dataclass(frozen=True, slots=True)
class Row:
    """A view at every width."""

    view: str
    scheme: str
    state: str = WELL
    locale: str = "en-GB"
    zone: str = "UTC"

    @property
    def title(self) -> str:
        """What stands above it."""
        language = "" if self.locale == "en-GB" else f", {self.locale} in {self.zone}"
        return html.escape(f"{self.view}, {self.scheme}: {self.state}{language}")


BOTH = ("light", "dark")
MAIN = ("fleet", "server")
OF_INCIDENTS = ("incidents", "incident")
ROWS = [
    *(
        Row(view, scheme, state)
        for state in (WELL, DEAD, SILENT)
        for view in MAIN
        for scheme in BOTH
    ),
    *(Row(view, scheme, SOME) for view in (*MAIN, *OF_INCIDENTS) for scheme in BOTH),
    *(Row(view, "light", MANY) for view in (*MAIN, *OF_INCIDENTS)),
    Row("incidents", "dark", WELL),
    *(
        Row(view, scheme, NEW if view == "no user yet" else WELL)
        for view in VIEWS
        if view not in (*MAIN, *OF_INCIDENTS)
        for scheme in BOTH
    ),
    Row("add", "light", DEAD),
    Row("account", "dark", SILENT),
    Row("fleet", "light", PREFIXED),
    Row("server", "dark", PREFIXED),
    *(
        Row(view, scheme, locale="ar-EG", zone="Africa/Cairo")
        for view, scheme in (("fleet", "light"), ("server", "dark"), ("account", "light"))
    ),
]


def drawn(browser: Browser, instance: Watched, row: Row) -> str:
    """Return a row of the sheet."""
    instance.catch_up()
    pictures = []
    for width in WIDTHS:
        context = browser.new_context(
            viewport={"width": width, "height": HEIGHT},
            color_scheme=row.scheme,
            locale=row.locale,
            timezone_id=row.zone,
            storage_state=instance.cookies,
        )
        page = context.new_page()
        VIEWS[row.view](page, instance.site)
        page.wait_for_load_state("networkidle")
        STATES[row.state][1](page)
        data = base64.b64encode(page.screenshot()).decode()
        pictures.append(f'<img width="{width * SCALE:.0f}" src="data:image/png;base64,{data}">')
        context.close()
    return f"<h2>{row.title}</h2><div>{''.join(pictures)}</div>"


def rows(browser: Browser) -> Iterator[str]:
    """Return every row of the sheet."""
    instances: dict[Kind, Watched] = {}
    with ExitStack() as stack:
        for row in ROWS:
            kind = STATES[row.state][0]
            if kind not in instances:
                instances[kind] = stack.enter_context(watched(browser, kind))
            yield drawn(browser, instances[kind], row)


def draw(browser: Browser, found: str) -> bytes:
    """Return these rows as one picture."""
    page = browser.new_page(viewport={"width": int(sum(WIDTHS) * SCALE) + 90, "height": 600})
    page.set_content(f"<style>{SHEET_STYLE}</style>{found}")
    size = page.evaluate(
        "[document.documentElement.scrollWidth, document.documentElement.scrollHeight]"
    )
    clip = {"x": 0, "y": 0, "width": size[0], "height": size[1], "scale": 1}
    made = page.context.new_cdp_session(page).send(
        "Page.captureScreenshot",
        {"format": "webp", "quality": QUALITY, "clip": clip, "captureBeyondViewport": True},
    )
    return base64.b64decode(made["data"])


def main() -> None:
    """Draw the sheet on SQLite files of its own."""
    if not CHROMIUM:
        sys.exit("there is no Chromium: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = launch(playwright)
        picture = draw(browser, "".join(rows(browser)))
        browser.close()
    if len(picture) > LARGEST_BYTES:
        sys.exit(f"the sheet must be at most {LARGEST_BYTES:,} bytes, got {len(picture):,}")
    SHEET.write_bytes(picture)
    print(f"{SHEET.relative_to(ROOT)}: {len(picture) // 1000} kB")


if __name__ == "__main__":
    main()
