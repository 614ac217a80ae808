"""A real Chromium that looks at a served Pinglet, and notes all that must never happen."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from core.settings import Settings
from tests import people
from tests.browser.site import Site, serve
from tests.infra.npm import need_tools

CHROMIUM = os.environ.get("CHROMIUM") or next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
# What a window has around its page would cost each context two more processes. Chromium heeds the
# last such list alone, so what Playwright has in its own stands here, too.
UNWANTED = [
    *("WebUIOmniboxPopup", "WebUIOmniboxAimPopup"),
    *("AvoidUnnecessaryBeforeUnloadCheckSync", "DestroyProfileOnBrowserClose", "HttpsUpgrades"),
    *("HttpsFirstBalancedModeAutoEnable", "LensOverlay", "MediaRouter", "PaintHolding"),
    *("ThirdPartyStoragePartitioning", "AvoidCorsURLLoaderRestartOnRedirect", "OptimizationHints"),
    *("NetworkTimeServiceQuerying", "AimEnabled", "PreconnectToSearch"),
]
QUIETLY = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    f"--disable-features={','.join(UNWANTED)}",
]
expect.set_options(timeout=200_000)  # a slow machine is no failure
REPORT = """document.addEventListener("securitypolicyviolation",
  (event) => reportViolation(`${event.violatedDirective}: ${event.blockedURI}`))"""


@dataclass
class Seen:
    """What a context's pages asked for and said."""

    requests: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    def calls(self) -> list[str]:
        """Return the calls of the API among the requests."""
        return [address for address in self.requests if "/api/v1/" in address]

    def outside(self, site: Site) -> list[str]:
        """Return the requests that went elsewhere."""
        return [address for address in self.requests if not address.startswith(f"{site.url}/")]


def launch(playwright) -> Browser:
    """Start Debian's Chromium without a window."""
    return playwright.chromium.launch(executable_path=CHROMIUM, args=QUIETLY)


def need_chromium() -> None:
    """Have Chromium and what npm installs, or say aloud that no page is tested."""
    if not CHROMIUM:
        pytest.skip("NOT TESTED: the pages; needs Chromium (chromium, fonts-dejavu-core)")
    need_tools("the pages")  # Chart.js and axe


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """One Chromium for all of these tests; afterwards its event loop is gone from this thread."""
    need_chromium()
    with sync_playwright() as playwright:
        started = launch(playwright)
        yield started
        started.close()


@pytest.fixture(
    params=["", pytest.param("/monitor/pinglet", marks=pytest.mark.slow)],
    ids=["at the root", "under a prefix"],
)
def prefix(request: pytest.FixtureRequest) -> str:
    """Where Pinglet is on its host; test_prefix.py is the quick sibling of all the others."""
    where: str = request.param
    return where


@pytest.fixture
def site(sqlite_settings: Settings, prefix: str) -> Iterator[Site]:
    """Pinglet without users: whoever sits at this machine may do everything."""
    settings = replace(sqlite_settings, echo_timeout_s=3.0, echo_gap_s=0.0, authentication=False)
    with serve(settings, prefix) as served:
        yield served


@pytest.fixture
def guarded_site(sqlite_settings: Settings, prefix: str) -> Iterator[Site]:
    """Pinglet with an admin "ann", an editor "eve" and a viewer "viv"; see tests.people."""
    settings = replace(sqlite_settings, echo_timeout_s=3.0, echo_gap_s=0.0, authentication=True)
    with serve(settings, prefix) as served:
        for name, role in (("ann", "admin"), ("eve", "editor"), ("viv", "viewer")):
            people.add(served.database, name, people.Role(role))
        yield served


PHONE_WIDTH = 390
PHONE: dict[str, Any] = {
    "viewport": {"width": PHONE_WIDTH, "height": 844},
    "has_touch": True,
    "is_mobile": True,
}
"""What makes a context one of a phone, with a finger."""


@contextmanager
def watched(browser: Browser, **more: object) -> Iterator[tuple[BrowserContext, Seen]]:
    """Open a context whose pages may open no dialog, break no policy and throw no error."""
    seen = Seen()
    words: dict[str, Any] = {"locale": "en-GB", "timezone_id": "UTC", **more}
    context = browser.new_context(**words)
    context.set_default_timeout(200_000)
    context.expose_binding("reportViolation", lambda _source, text: seen.faults.append(text))
    context.add_init_script(REPORT)
    context.on("request", lambda request: seen.requests.append(request.url))
    context.on("dialog", lambda dialog: (seen.faults.append(dialog.message), dialog.dismiss()))
    context.on("weberror", lambda error: seen.faults.append(str(error.error)))

    def note(message) -> None:
        # A refusal that a test provokes is logged by the browser itself.
        provoked = ("Failed to load resource", "Failed to find a valid digest")
        if message.type == "error" and not message.text.startswith(provoked):
            seen.faults.append(message.text)

    context.on("console", note)
    yield context, seen
    context.close()
    assert seen.faults == []


@pytest.fixture
def watching(browser: Browser) -> Iterator[tuple[BrowserContext, Seen]]:
    """A watched context."""
    with watched(browser, viewport={"width": 1280, "height": 900}) as opened:
        yield opened


@pytest.fixture
def page(watching: tuple[BrowserContext, Seen]) -> Page:
    """A page in a watched context."""
    return watching[0].new_page()


@pytest.fixture
def seen(watching: tuple[BrowserContext, Seen]) -> Seen:
    """What the page asked for and said."""
    return watching[1]
