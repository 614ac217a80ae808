"""The pictures in docs/, made by running Pinglet on demo data: `make docs`.

The pages take Inter where the machine has it (apt-get install fonts-inter-variable).
"""

import shutil
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Browser, Page, expect, sync_playwright

from core.clock import utc_now
from core.settings import Settings
from handlers.cli import demo
from infra import migrations
from infra.database import Database
from tests.browser import steps
from tests.browser.conftest import CHROMIUM, launch
from tests.browser.site import Site, serve
from tests.infra.npm import ROOT

PICTURES = ROOT / "docs" / "screenshots"
DAYS = 2
OFFICE = 5  # the demo's server with an outage
DESK = {"width": 1200, "height": 640}
PHONE = {"width": 390, "height": 844}


def fleet(page: Page, site: Site) -> None:
    """The list, drawn."""
    steps.fleet(page, site)
    page.wait_for_load_state("networkidle")


def server(page: Page, site: Site) -> None:
    """A server with an outage."""
    steps.server(page, site, OFFICE)


def found(page: Page, site: Site) -> None:
    """A server that was pinged just now."""
    server(page, site)
    steps.button(page, "Ping now")
    expect(page.locator("#echoes li")).to_have_count(4)


def add(page: Page, site: Site) -> None:
    """The forms to add servers, a list pasted into one."""
    page.goto(f"{site.url}/dashboard/add")
    lines = "web-1, 192.0.2.10\nweb-2, 192.0.2.11\nmail, 198.51.100.25"
    page.get_by_label("One server per line").fill(lines)


VIEWS = [
    ("fleet", fleet, "light", DESK),
    ("server", server, "dark", {"width": 1200, "height": 760}),
    ("ping", found, "light", {"width": 1200, "height": 640}),
    ("add", add, "light", {"width": 1200, "height": 560}),
    ("phone", fleet, "dark", PHONE),
]


def take(browser: Browser, site: Site) -> None:
    """Take every picture."""
    for name, view, scheme, viewport in VIEWS:
        context = browser.new_context(
            viewport=viewport,
            color_scheme=scheme,
            locale="en-GB",
            timezone_id="UTC",
        )
        page = context.new_page()
        view(page, site)
        picture = PICTURES / f"{name}.png"
        page.screenshot(path=picture)
        print(f"{picture.relative_to(ROOT)}: {picture.stat().st_size // 1000} kB")
        context.close()


def fill(database: Database, settings: Settings) -> None:
    """Make up the demo's servers and their history."""
    now = utc_now()
    with database.transaction() as session:
        ids = demo.create_servers(session, settings, now, DAYS)
    for chunk in demo.made_up_rounds(ids, now, DAYS):
        with database.transaction() as session:
            demo.record(session, chunk)


def main() -> None:
    """Take them on an SQLite file of its own."""
    if not CHROMIUM:
        sys.exit("there is no Chromium: apt-get install chromium")
    PICTURES.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp())
    try:
        settings = Settings(database_url=f"sqlite:///{folder / 'pinglet.db'}", authentication=False)
        migrations.upgrade(Database(settings).engine)
        with serve(settings) as site, sync_playwright() as playwright:
            fill(site.database, settings)
            browser = launch(playwright)
            take(browser, site)
            browser.close()
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
