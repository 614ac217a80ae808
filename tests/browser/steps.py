"""What a user does, short to write in a test."""

from playwright.sync_api import Page, expect

from tests.browser.site import Site
from tests.people import PASSWORD

INK = """(canvas) => {
  const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
  let hash = 0, inked = 0;
  for (let at = 0; at < pixels.length; at += 4) {
    if (pixels[at + 3]) inked += 1;
    hash = (hash * 31 + pixels[at] + pixels[at + 1] * 3 + pixels[at + 2] * 7 + pixels[at + 3]) | 0;
  }
  return [inked, hash];
}"""


def log_in(page: Page, site: Site, name: str = "ann", at: str = "/dashboard") -> None:
    """Log in, sent to the form from the page `at`."""
    page.goto(site.url + at)
    page.get_by_label("Name").fill(name)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    page.wait_for_url(site.url + at)
    expect(page.locator("#who")).to_have_text(name)


def fleet(page: Page, site: Site) -> None:
    """Open the list of servers and wait for it."""
    page.goto(f"{site.url}/dashboard")
    expect(page.locator("#servers tbody tr, #empty:not([hidden])").first).to_be_visible()


def server(page: Page, site: Site, server_id: int) -> None:
    """Open the page of a server and wait for its chart."""
    page.goto(f"{site.url}/dashboard/servers/{server_id}")
    expect(page.locator("#figures .tile")).to_have_count(6)
    expect(page.locator("#window")).to_have_attribute("data-minutes", "1440")


def incident(page: Page, site: Site, incident_id: int) -> None:
    """Open the page of an incident and wait for its timeline."""
    page.goto(f"{site.url}/dashboard/incidents/{incident_id}")
    expect(page.locator("#timeline li").first).to_be_visible()


def shows(page: Page, hours: int) -> None:
    """Wait until the chart shows so many hours."""
    expect(page.locator("#window")).to_have_attribute("data-minutes", str(60 * hours))


def minutes(page: Page) -> float:
    """Return how many minutes the chart shows."""
    return float(page.locator("#window").get_attribute("data-minutes") or 0)


def ink(page: Page, canvas: str) -> tuple[int, int]:
    """Return how many pixels of a canvas are painted, and what tells its picture from others."""
    inked, picture = page.locator(canvas).first.evaluate(INK)
    return inked, picture


def look_again(page: Page) -> None:
    """Have the page refresh itself, as it does when one comes back to its tab."""
    with page.expect_response(lambda response: "/api/v1/servers" in response.url):
        page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")


def button(page: Page, name: str) -> None:
    """Press a button by its words."""
    page.get_by_role("button", name=name, exact=True).click()
