"""All that may differ between one who looks and another, crossed: any two of it meet at least once.

Its siblings go through clocks, zones, widths and states one at a time, and look closer.
"""

import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import combinations
from pathlib import Path
from typing import NamedTuple
from zoneinfo import ZoneInfo

import pytest
from playwright.sync_api import Browser, Page, expect

from core.clock import utc_now
from core.settings import Settings
from core.slots import slot_of
from tests import people
from tests.browser import steps
from tests.browser.conftest import watched
from tests.browser.site import ECHOES, Site, serve, slots
from tests.browser.test_access import violations
from tests.browser.test_states import pause, pings
from tests.browser.test_time import colour_of, icon
from tests.browser.test_widths import FAULTS, LONG
from tests.browser.test_zones import ticks
from tests.counts import FULL

pytestmark = pytest.mark.xdist_group("browser")
DAY, MINUTE = timedelta(days=1), timedelta(minutes=1)
CLOCKS = {"an hour slow": -60 * MINUTE, "right": 0 * MINUTE, "ten minutes fast": 10 * MINUTE}
FINE, DEAD, SILENT, PREFIXED = "fine", "dead worker", "unreachable", "behind a prefix"
DEAD_FOR = 20 * MINUTE
CLOSE = 2 * MINUTE  # ages are told in whole minutes, and a slow machine is no failure
MOST_TABS = 40
NAMES = {"Asia/Kolkata": "Asia/Calcutta"}
"""What browsers call a zone by an older name of it."""


class Alarm(NamedTuple):
    """What is said in a state: by the title, by the kind of the icon, by the warning."""

    title: str = ""
    kind: str = "down"
    warning: str = ""


ALARMS = {
    FINE: Alarm(),
    PREFIXED: Alarm(),
    DEAD: Alarm("Monitoring stopped", "late", "Monitoring has stopped: the last round was "),
    SILENT: Alarm("Can't be reached", "silent", "Pinglet can't be reached."),
}


class Other(NamedTuple):
    """A page beside fleet and server.

    `name` is what its title calls it; None where no script runs. To whom doesn't say who they are
    no server is `counted`.
    """

    path: str
    shown: str
    name: str | None = None
    counted: bool = True


OTHERS = {
    "add": Other("/dashboard/add", "#one", "Add"),
    "incidents": Other("/dashboard/incidents", "#nothing", "Incidents"),
    "rules": Other("/dashboard/rules", "#none", "Rules"),
    "account": Other("/dashboard/account", "#tokens time", "Account"),
    "explorer": Other("/dashboard/graphql", ".graphiql-container", "GraphQL"),
    "documentation": Other("/api/v1/docs", "h1"),
    "nothing there": Other("/nowhere", "h1"),
    "log in": Other("/login", "#login", "Log in", counted=False),
}
AXES: dict[str, Sequence[str]] = {
    "clock": [*CLOCKS],
    "zone": ["America/New_York", "Pacific/Apia", "Asia/Kolkata"],
    "scheme": ["light", "dark"],
    "width": ["320", "390", "768", "820", "1440", "2560"],
    "state": [FINE, DEAD, SILENT, PREFIXED],
    "locale": ["en-GB", "ar-EG"],
    "other": ["add", "account", "log in"],  # every other one in `make full`
}
Crossing = Mapping[str, str]
"""A value of each axis."""


# Which are crossed


def pairs(values: Crossing) -> set[tuple[tuple[str, str], ...]]:
    """Return any two of these values, each with its axis."""
    return set(combinations(sorted(values.items()), 2))


def all_pairs(axes: Mapping[str, Sequence[str]]) -> list[tuple[tuple[str, str], ...]]:
    """Return any two values of any two axes, in a fixed order."""
    return [
        ((one, value), (other, met))
        for one, other in combinations(sorted(axes), 2)
        for value in axes[one]
        for met in axes[other]
    ]


def crossed(axes: Mapping[str, Sequence[str]]) -> Iterator[Crossing]:
    """Yield few crossings in which all pairs occur: each begins with a pair that is missing yet."""
    missing = dict.fromkeys(all_pairs(axes))
    while missing:
        made = dict(next(iter(missing)))
        for axis in sorted(axes, key=lambda axis: -len(axes[axis])):
            if axis not in made:
                each = [made | {axis: value} for value in axes[axis]]
                made = max(each, key=lambda grown: len(pairs(grown) & missing.keys()))
        for pair in pairs(made):
            missing.pop(pair, None)
        yield made


CROSSINGS = list(crossed(AXES))


def test_any_two_values_meet() -> None:
    met = set().union(*map(pairs, CROSSINGS))
    assert met == set(all_pairs(AXES))
    assert all(crossing.keys() == AXES.keys() for crossing in CROSSINGS)


# What is looked at


@dataclass
class Instance:
    """A served Pinglet that "ann" is logged in to, whose newest round is that of `newest`."""

    site: Site
    is_alive: bool
    newest: datetime
    cookies: object

    def round(self) -> None:
        """Record the round of this minute, unless the worker is dead."""
        slot = slot_of(utc_now())
        if self.is_alive and slot > self.newest:
            self.record([slot])
            self.newest = slot

    def record(self, every: Sequence[datetime]) -> None:
        """Record these rounds: all but the third server answer."""
        for server_id, received in ((1, ECHOES), (2, ECHOES), (3, 0)):
            pings(self.site, server_id, every, received)


def filled(site: Site, browser: Browser, *, is_alive: bool) -> Instance:
    """Fill this Pinglet with servers of each kind; without a live worker it is dead a while."""
    newest = slot_of(utc_now()) if is_alive else slot_of(utc_now() - DEAD_FOR)
    site.add(LONG, "db", "mail", "resting", ago=DAY)
    pause(site, 4)
    site.add("fresh", first=9, interval_s=3_600)
    people.add(site.database)
    with watched(browser) as (context, _seen):
        steps.log_in(context.new_page(), site)
        instance = Instance(site, is_alive, newest, context.storage_state())
    instance.record(slots(DAY, 120 * MINUTE, end=newest))
    return instance


@pytest.fixture(scope="module")
def instances(
    browser: Browser, sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Instance]]:
    """What is looked at in each state; where nothing answers all was well before."""
    with ExitStack() as stack:

        def made(prefix: str = "", *, is_alive: bool = True) -> Instance:
            file = shutil.copy(sqlite_template, tmp_path_factory.mktemp("matrix") / "pinglet.db")
            settings = Settings(database_url=f"sqlite:///{file}", authentication=True)
            site = stack.enter_context(serve(settings, prefix))
            return filled(site, browser, is_alive=is_alive)

        well = made()
        yield {
            FINE: well,
            SILENT: well,
            DEAD: made(is_alive=False),
            PREFIXED: made("/monitor/pinglet"),
        }


@dataclass
class Look:
    """Somebody who looks at an instance in a browser of their own."""

    crossing: Crossing
    instance: Instance
    page: Page

    @property
    def state(self) -> str:
        """The state that is looked at."""
        return self.crossing["state"]

    def opens(self, path: str, shown: str) -> None:
        """Open a page and wait for it."""
        self.instance.round()
        self.page.goto(self.instance.site.url + path)
        expect(self.page.locator(shown).first).to_be_visible()

    def is_told(self, name: str, *, counted: bool = True) -> None:
        """Find what is said in this state; while nothing answers, what was said before it, too."""
        if self.state == SILENT:
            self._is_told(ALARMS[FINE], name, counted)
            self.page.context.set_offline(True)
        self._is_told(ALARMS[self.state], name, counted)
        if self.state == DEAD:
            self.sees_age("#warning")

    def _is_told(self, alarm: Alarm, name: str, counted: bool) -> None:
        down = "1 down" if counted and self.state != DEAD else ""
        # Beside an alarm the list needs no name.
        of = "" if name == "Fleet" and (alarm.title or down) else name
        title = " · ".join(word for word in (alarm.title, down, of, "Pinglet") if word)
        expect(self.page).to_have_title(title)
        assert icon(self.page) == (alarm.kind if alarm.title or down else "well")
        warning = self.page.locator("#warning")
        if alarm.warning:
            expect(warning).to_contain_text(alarm.warning)
        else:
            expect(warning).to_be_hidden()

    def reaches_it_again(self) -> None:
        """Mend what was cut off."""
        if self.state == SILENT:
            self.page.context.set_offline(False)
            expect(self.page.locator("#warning")).to_be_hidden()

    def finds_nothing_wrong(self) -> None:
        """Find nothing cut off, nothing that axe finds, and each time in this zone."""
        assert self.page.evaluate(FAULTS) == []
        if FULL or ALARMS[self.state].warning:  # test_access.py looks where there is none
            assert violations(self.page, without="#graphiql") == []
        zone = self.crossing["zone"]
        named = self.page.locator("#zone-name").all_inner_texts()
        assert [name for name in named if name not in (zone, NAMES.get(zone))] == []
        for moment, text, parent in self.page.locator("time").evaluate_all(TIMES):
            assert tells(text, datetime.fromisoformat(moment).astimezone(ZoneInfo(zone))), text
            assert parent == "BDI"  # it may run the other way than our words

    def sees_age(self, where: str) -> None:
        """See that what is said there of the newest round is as old as it is."""
        expect(self.page.locator(where)).to_have_text(AGE)
        text = self.page.locator(where).inner_text()
        found = AGE.search(text)
        assert found is not None
        told = int(found[1]) * (MINUTE if found[2] == "min" else MINUTE / 60)
        assert abs(utc_now() - self.instance.newest - told) < CLOSE, text

    def sees_colour(self, *selectors: str) -> None:
        """See that marks have their colour, unless they are old."""
        for selector in selectors:
            assert ("grayscale(1)" in colour_of(self.page, selector)) == (self.state == SILENT)

    def tabs_to(self, selector: str, key: str = "Tab") -> None:
        """Reach an element by the keyboard alone."""
        for _ in range(MOST_TABS):
            self.page.keyboard.press(key)
            if self.page.evaluate("(it) => document.activeElement.matches(it)", selector):
                return
        pytest.fail(f"{key} must reach {selector}, but doesn't in {MOST_TABS} presses")


AGE = re.compile(r"(\d+) (s|min) ago")
TIMES = "(all) => all.map((one) => [one.dateTime, one.textContent, one.parentElement.tagName])"


def tells(text: str, local: datetime) -> bool:
    """Whether these words, in any language, are this time: its clock, its date or both."""
    numbers = [int(number) for number in re.findall(r"\d+", text)]
    has_clock = local.minute in numbers and {local.hour, local.hour % 12 or 12} & set(numbers)
    has_date = local.day in numbers
    return bool((has_clock or ":" not in text) and (has_date or len(numbers) == len("hm")))


@contextmanager
def looking(browser: Browser, instance: Instance, crossing: Crossing) -> Iterator[Look]:
    """Open a browser for this crossing."""
    with watched(
        browser,
        storage_state=instance.cookies,
        timezone_id=crossing["zone"],
        locale=crossing["locale"],
        color_scheme=crossing["scheme"],
        viewport={"width": int(crossing["width"]), "height": 800},
    ) as (context, _seen):
        page = context.new_page()
        if wrong := CLOCKS[crossing["clock"]]:
            page.clock.install(time=utc_now() + wrong)
        yield Look(crossing, instance, page)


def looks_at_the_fleet(look: Look) -> None:
    """All servers, their states and ages."""
    look.opens("/dashboard", "#servers .mark")
    look.is_told("Fleet")
    look.finds_nothing_wrong()
    look.sees_age("#age")
    look.sees_colour("#servers .mark", "#servers canvas")
    seen = 3 * ["unobserved"] if look.state == DEAD else ["up", "up", "down"]
    states = look.page.locator("#servers tbody td:nth-child(2)")
    expect(states).to_have_text([*seen, "paused", "new"])
    look.reaches_it_again()


def goes_on_by_keyboard(look: Look) -> None:
    """To the search, to a row, to the switch of zones, and back to the row's server."""
    page = look.page
    look.tabs_to("[name=search]")
    page.keyboard.type(LONG[:9])
    expect(page.locator("#servers tbody tr")).to_have_count(1)
    look.tabs_to("#servers a")
    look.tabs_to("#zone")
    for zone in ("UTC", look.crossing["zone"]):
        page.keyboard.press("Enter")
        expect(page.locator("#zone-name")).to_have_text(re.compile(f"{zone}|{NAMES.get(zone)}"))
    look.tabs_to("#servers a", "Shift+Tab")
    page.keyboard.press("Enter")
    page.wait_for_url(f"{look.instance.site.url}/dashboard/servers/1")


def looks_at_its_server(look: Look) -> None:
    """One server; its chart, looked at closer by keyboard."""
    page, window = look.page, look.page.locator("#window")
    expect(window).to_have_attribute("data-minutes", "1440")
    look.is_told(LONG)
    look.finds_nothing_wrong()
    look.sees_age("#address")
    look.sees_colour("#mark", "#states")
    until = window.locator("time").last.get_attribute("datetime")
    assert until is not None
    assert abs(datetime.fromisoformat(until) - utc_now()) < CLOSE
    for tick in ticks(page, look.crossing["zone"]):
        assert tick.at.minute == 0
        assert tells(tick.label, tick.at), tick
    look.reaches_it_again()
    look.tabs_to(".chart")
    for key, minutes in (("+", "720"), ("Escape", "1440")):
        page.keyboard.press(key)
        expect(window).to_have_attribute("data-minutes", minutes)


def looks_at_another(look: Look, other: Other) -> None:
    """A page beside these two."""
    look.opens(other.path, other.shown)
    if other.name:
        look.is_told(other.name, counted=other.counted)
    look.finds_nothing_wrong()
    if other.name:
        look.reaches_it_again()


@pytest.mark.parametrize("crossing", CROSSINGS, ids=lambda crossing: "-".join(crossing.values()))
def test_all_is_right_for_whoever_looks(
    browser: Browser, instances: Mapping[str, Instance], crossing: Crossing
) -> None:
    with looking(browser, instances[crossing["state"]], crossing) as look:
        looks_at_the_fleet(look)
        goes_on_by_keyboard(look)
        looks_at_its_server(look)
        for other in OTHERS if FULL else [crossing["other"]]:
            looks_at_another(look, OTHERS[other])
