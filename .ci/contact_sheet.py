"""docs/screenshots/sheet.webp: the pages at every width, light and dark: `make docs`.

When all is well, with a dead worker, and while Pinglet can't be reached. To be looked at.
"""

import base64
import html
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from itertools import product
from pathlib import Path

from playwright.sync_api import Browser, Page, expect, sync_playwright

from core.clock import utc_now
from core.servers import change, find
from core.servers.records import ServerChange, ServerWanted
from core.settings import Settings
from core.slots import SLOT
from handlers.cli import demo
from infra import migrations
from infra.database import Database
from screenshots import OFFICE, PICTURES, ROOT
from tests.browser import steps
from tests.browser.conftest import CHROMIUM, launch
from tests.browser.site import Site, serve

SHEET = PICTURES / "sheet.webp"
LARGEST_BYTES = 1_500_000
WIDTHS = (320, 390, 768, 820, 1440, 2560)
HEIGHT = 1000
SCALE = 0.36
QUALITY = 55
DAYS = 2
DEAD_FOR = timedelta(minutes=20)
SHEET_STYLE = """body { margin: 16px; background: #b9c1c9; font: 15px sans-serif; }
h2 { margin: 16px 0 6px; font-size: 17px; } div { display: flex; gap: 10px; align-items: start; }"""


def fleet(page: Page, site: Site) -> None:
    """The list."""
    steps.fleet(page, site)


def server(page: Page, site: Site) -> None:
    """A server with an outage."""
    steps.server(page, site, OFFICE)


def as_it_is(_page: Page) -> None:
    """Leave the page as it is."""


def unreachable(page: Page) -> None:
    """Have the page look again while Pinglet can't be reached."""
    page.context.set_offline(True)
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    expect(page.get_by_text("can't be reached").first).to_be_visible()


VIEWS: dict[str, Callable[[Page, Site], None]] = {"fleet": fleet, "server": server}
STATES: dict[str, tuple[timedelta, Callable[[Page], None]]] = {
    "all is well": (timedelta(0), as_it_is),
    "dead worker": (DEAD_FOR, as_it_is),
    "Pinglet can't be reached": (timedelta(0), unreachable),
}
"""How long ago rounds ended, and what happens to the page."""


@dataclass
class Watched:
    """A served instance whose rounds ended `ended` ago; `ids` are of the servers they ping."""

    site: Site
    ended: timedelta
    ids: dict[str, int]

    def catch_up(self) -> None:
        """Record the rounds that are due by now."""
        until = utc_now() + SLOT - self.ended
        with self.site.database.reading() as session:
            newest = find.newest_slot(session, until)
        for chunk in demo.made_up_rounds(self.ids, until, DAYS):
            fresh = [(slot, pings) for slot, pings in chunk if newest is None or slot > newest]
            with self.site.database.transaction() as session:
                demo.record(session, fresh)


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


@contextmanager
def watched(ended: timedelta) -> Iterator[Watched]:
    """Serve an instance whose rounds ended so long ago."""
    folder = Path(tempfile.mkdtemp())
    try:
        settings = Settings(database_url=f"sqlite:///{folder / 'pinglet.db'}", authentication=False)
        migrations.upgrade(Database(settings).engine)
        with serve(settings) as site:
            yield Watched(site, ended, fill(site))
    finally:
        shutil.rmtree(folder)


def row(browser: Browser, instance: Watched, view: str, state: str, scheme: str) -> str:
    """Return a row of the sheet: this view at every width."""
    instance.catch_up()
    pictures = []
    for width in WIDTHS:
        context = browser.new_context(
            viewport={"width": width, "height": HEIGHT},
            color_scheme=scheme,
            locale="en-GB",
            timezone_id="UTC",
        )
        page = context.new_page()
        VIEWS[view](page, instance.site)
        page.wait_for_load_state("networkidle")
        STATES[state][1](page)
        data = base64.b64encode(page.screenshot()).decode()
        pictures.append(f'<img width="{width * SCALE:.0f}" src="data:image/png;base64,{data}">')
        context.close()
    title = html.escape(f"{view}, {scheme}: {state}")
    return f"<h2>{title}</h2><div>{''.join(pictures)}</div>"


def rows(browser: Browser) -> Iterator[str]:
    """Return every row of the sheet."""
    for state, (ended, _what) in STATES.items():
        with watched(ended) as instance:
            for view, scheme in product(VIEWS, ("light", "dark")):
                yield row(browser, instance, view, state, scheme)


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
