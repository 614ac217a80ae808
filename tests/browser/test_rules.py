"""The page of rules: listed for everybody; made, changed and removed by admins."""

from datetime import timedelta

import pytest
from playwright.sync_api import Page, expect

from core.accounts.records import Role
from core.clock import utc_now
from core.incidents import rulebook
from core.incidents.rules import Rule
from tests import people
from tests.browser import steps
from tests.browser.site import Site, slots

pytestmark = pytest.mark.xdist_group("browser")
HOSTILE = "<img src=x onerror=alert(1)>"


def opened(page: Page, site: Site) -> None:
    page.goto(f"{site.url}/dashboard/rules")
    expect(page.locator("#rules:not([hidden]), #none:not([hidden])").first).to_be_visible()


def made(site: Site, name: str = "web down") -> None:
    wanted = {"name": name, "for": {"tags": ["web"], "names": ["eu-*", name]}}
    rule = Rule.of(wanted | {"when": {"p95_ms": 250, "of": 20}, "remind_m": 7})
    with site.database.transaction() as session:
        rulebook.make(session, rule, "ada", utc_now())


def test_a_rule_is_added_and_one_that_opens_at_once_says_so(site: Site, page: Page) -> None:
    opened(page, site)
    expect(page.locator("#none")).to_have_text("Nobody has made a rule yet.")
    page.get_by_label("Name", exact=True).fill("web down")
    page.get_by_label("Tags").fill("web eu")
    page.get_by_label("Names").fill("eu-*\nus-*")
    page.get_by_label("Slots without an answer").fill("1")
    page.get_by_label("Of the last slots").fill("1")
    page.get_by_role("button", name="Add rule").click()
    cells = page.locator("#rules tbody td")
    expect(cells.nth(1)).to_have_text("tags eu, web and names eu-*, us-*")
    expect(cells.nth(2)).to_have_text("1 of 1 slot had no answer")
    expect(cells.nth(3)).to_have_text("2 good slots")
    expect(page.locator(".toast")).to_contain_text("again and again")


def test_what_is_refused_is_said_beside_the_form_with_its_field(site: Site, page: Page) -> None:
    opened(page, site)
    page.get_by_label("Name", exact=True).fill("web down")
    page.get_by_label("Slots without an answer").fill("4")
    page.get_by_role("button", name="Add rule").click()
    expect(page.locator("#rule .error")).to_contain_text("at most as many slots as of, 3, got 4")
    expect(page.get_by_label("Slots without an answer")).to_have_attribute("aria-invalid", "true")


def test_a_rule_is_changed_and_what_the_form_does_not_show_stays(site: Site, page: Page) -> None:
    made(site)
    opened(page, site)
    expect(page.locator("#rules tbody")).to_contain_text("2 of 20 slots took longer than 250 ms")
    page.get_by_role("button", name="Change web down").click()
    expect(page.get_by_label("Milliseconds")).to_have_value("250")
    page.get_by_label("Milliseconds").fill("100")
    page.get_by_role("button", name="Save").click()
    expect(page.locator("#rules tbody")).to_contain_text("2 of 20 slots took longer than 100 ms")
    with site.database.reading() as session:
        [rule] = rulebook.everything(session)
    assert (rule.remind_m, rule.whom.names) == (7, ("eu-*", "web down"))


def test_a_rule_is_removed_once_that_is_meant(site: Site, page: Page) -> None:
    made(site)
    opened(page, site)
    page.get_by_role("button", name="Remove web down").click()
    page.get_by_role("alertdialog").get_by_role("button", name="Cancel").click()
    expect(page.locator("#rules tbody tr")).to_have_count(1)
    page.get_by_role("button", name="Remove web down").click()
    page.get_by_role("alertdialog").get_by_role("button", name="Remove").click()
    expect(page.locator("#none")).to_be_visible()


def test_a_draft_is_tried_on_the_past_beside_the_rules_in_force(site: Site, page: Page) -> None:
    [server_id] = site.add("web", ago=timedelta(days=1))
    site.judge({server_id: "gbgbbbgg"}, slots(timedelta(minutes=7)))
    opened(page, site)
    page.get_by_label("Name", exact=True).fill("once")
    page.get_by_label("Slots without an answer").fill("1")
    page.get_by_label("Of the last slots").fill("1")
    page.get_by_role("button", name="Try on the last 30 days").click()
    expect(page.locator("#trial h2")).to_be_focused()
    expect(page.locator("#trial-of")).to_contain_text("1 server, 0 outages")
    lines = page.locator("#trial tbody tr")
    expect(lines.nth(0)).to_contain_text("once")
    expect(lines.nth(0)).to_contain_text("default")
    expect(lines.nth(6)).to_contain_text("web (1)")
    expect(page.locator("#none")).to_be_visible()


def test_who_may_not_change_rules_sees_them_without_a_form(guarded_site: Site, page: Page) -> None:
    made(guarded_site)
    people.add(guarded_site.database, "vic", Role.VIEWER)
    steps.log_in(page, guarded_site, "vic", at="/dashboard/rules")
    expect(page.locator("#rules tbody tr")).to_have_count(1)
    expect(page.locator("#rules button")).to_have_count(0)
    expect(page.locator("#rule")).to_be_hidden()


def test_a_name_that_looks_like_markup_is_text(site: Site, page: Page) -> None:
    made(site, HOSTILE)
    opened(page, site)
    expect(page.locator("#rules .title bdi")).to_have_text(HOSTILE)
    expect(page.locator("#rules img")).to_have_count(0)
