"""How fast the list of 1,000 servers is on the screen: `python -m benchmarks.dashboard`.

From the arrival of the data's last octet to the second frame after the rows are in the page, in a
headless Chromium on this machine; then an update in which every row changes. Goal: one second.
"""

import shutil
import statistics
import sys
import tempfile
from datetime import timedelta
from pathlib import Path

from playwright.sync_api import Page, sync_playwright
from sqlalchemy import update

from core.models import Server
from core.settings import Settings
from infra import migrations
from infra.database import Database
from tests.browser.conftest import CHROMIUM, launch
from tests.browser.site import Site, serve, slots

SERVERS = 1_000
RUNS = 7
GOAL_MS = 1_000
WATCH = """
const painted = () => new Promise((done) =>
  requestAnimationFrame(() => requestAnimationFrame(() => done(performance.now()))));
addEventListener("DOMContentLoaded", () => {
  new MutationObserver((changes, observer) => {
    if (document.querySelectorAll("#servers:not([hidden]) tbody tr").length < COUNT) return;
    observer.disconnect();
    painted().then((at) => { window.paintedAt = at; });
  }).observe(document.querySelector("#servers"),
    { subtree: true, childList: true, attributes: true });
});
"""
ARRIVED = """performance.getEntriesByType("resource")
  .filter(({ name }) => name.includes("/api/v1/servers")).at(-1)"""
UPDATE = """async () => {
  performance.clearResourceTimings();
  const last = document.querySelector("#servers tbody").lastElementChild;
  const done = new Promise((resolve) => {
    new MutationObserver((_changes, observer) => {
      observer.disconnect();
      requestAnimationFrame(() => requestAnimationFrame(() => resolve(performance.now())));
    }).observe(last, { subtree: true, childList: true, characterData: true });
  });
  document.dispatchEvent(new Event("visibilitychange"));
  const at = await done;
  return at - ARRIVED.responseEnd;
}""".replace("ARRIVED", f"({ARRIVED})")


def rendered_ms(page: Page, site: Site) -> float:
    """Open the list; return the time from the data's arrival to its being on the screen."""
    page.goto(f"{site.url}/dashboard")
    while page.evaluate("window.paintedAt === undefined"):
        page.wait_for_timeout(20)
    took: float = page.evaluate(f"window.paintedAt - ({ARRIVED}).responseEnd")
    return took


def told(what: str, times: list[float]) -> None:
    """Print one line of figures."""
    line = f"median {statistics.median(times):.0f} ms, worst {max(times):.0f} ms of {len(times)}"
    print(f"{what:<44}{line}")


def measure(site: Site) -> float:
    """Print the figures; return the median of the first rendering."""
    ids = site.add(*(f"web-{number:04}" for number in range(SERVERS)), ago=timedelta(days=1))
    site.history(ids, slots(timedelta(days=1), timedelta(minutes=30)))
    with sync_playwright() as playwright:
        browser = launch(playwright)
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        page.add_init_script(WATCH.replace("COUNT", str(SERVERS)))
        first = [rendered_ms(page, site) for _ in range(RUNS)]
        size, fetched = page.evaluate(
            f"(({{ encodedBodySize, duration }}) => [encodedBodySize, duration])({ARRIVED})"
        )
        updates = []
        for number in range(3):
            # Every row changes: its newest time is another.
            with site.database.transaction() as session:
                session.execute(update(Server).values(last_ms=1.5 + number))
            updates.append(page.evaluate(UPDATE))
        browser.close()
    print(f"{SERVERS} servers, {size / 1000:.0f} kB compressed, fetched in {fetched:.0f} ms")
    told("data's arrival to painted", first)
    told("the same, all rows changed", updates)
    return statistics.median(first)


def main() -> None:
    """Measure on an SQLite file of its own."""
    if not CHROMIUM:
        sys.exit("there is no Chromium: apt-get install chromium")
    folder = Path(tempfile.mkdtemp())
    try:
        settings = Settings(database_url=f"sqlite:///{folder / 'pinglet.db'}", authentication=False)
        migrations.upgrade(Database(settings).engine)
        with serve(settings) as site:
            took = measure(site)
    finally:
        shutil.rmtree(folder)
    sys.exit(took > GOAL_MS)


if __name__ == "__main__":
    main()
