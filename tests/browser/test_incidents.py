"""Incidents as people see them: above the list, in a list of their own, one by one, in charts."""

import re
from datetime import datetime, timedelta
from urllib.parse import parse_qs, urlsplit
from zoneinfo import ZoneInfo

import pytest
from playwright.sync_api import Browser, Page, expect

from core.clock import utc_now
from core.models import LARGEST_ID
from core.servers import change, tags
from core.slots import SLOT
from tests.browser import steps
from tests.browser.conftest import Seen, watched
from tests.browser.site import Site, slots
from tests.browser.test_hostile_names import NAMES

pytestmark = pytest.mark.xdist_group("browser")
DAY = timedelta(days=1)
MINUTE = timedelta(minutes=1)
LASTED = r"down .* \u2013 .* \(\d+ min\)"
ROWS = "#incidents li"


def three(site: Site) -> list[int]:
    """Have three servers of which two are down, and one was; return their ids."""
    ids = site.add("web", "db", "mail", ago=DAY)
    seen = {ids[0]: "g" * 8 + "bbb", ids[1]: "bbb" + "g" * 8, ids[2]: "g" * 5 + "b" * 6}
    site.judge(seen, slots(10 * MINUTE))
    return ids


def three_hundred(site: Site) -> list[int]:
    """Have four servers be down 75 times each, the last time for good; return their ids."""
    ids = site.add("web", "db", "mail", "dns", ago=10 * DAY)
    for number in range(74, -1, -1):
        began = slots(SLOT, end=utc_now().replace(second=0, microsecond=0) - number * 25 * MINUTE)
        seen = dict.fromkeys(ids, "bb" if number == 0 else "bbgg")
        site.judge(seen, [began[0] + place * SLOT for place in range(len(seen[ids[0]]))])
    return ids


def words(page: Page) -> dict[str, list[str]]:
    """Return what stands in the address."""
    return parse_qs(urlsplit(page.url).query)


# Above the list of servers


def test_where_all_is_well_nothing_is_said_of_incidents(site: Site, page: Page) -> None:
    (server_id,) = site.add("web", ago=DAY)
    site.judge({server_id: "ggg"}, slots(2 * MINUTE))
    steps.fleet(page, site)
    expect(page.locator("#servers .mark")).to_have_count(1)
    expect(page).to_have_title("Fleet · Pinglet")
    expect(page.locator("#open")).to_be_hidden()
    page.get_by_role("link", name="Incidents").click()
    expect(page.locator("#nothing")).to_contain_text("No incidents in this time")
    expect(page.locator("#open-count")).to_have_text("none is open")
    steps.server(page, site, server_id)
    expect(page.locator("#flags")).to_be_hidden()
    expect(page.locator("#incidents")).to_be_hidden()


def test_what_is_open_stands_above_the_servers_the_newest_first(site: Site, page: Page) -> None:
    three(site)
    steps.fleet(page, site)
    rows = page.locator("#open li")
    said = r"down since .* \(\d+ min\) no answer within a second"
    expect(rows).to_have_text([re.compile(f"^\\s*{name} {said}") for name in ("web", "mail")])
    expect(page.locator("#open-more")).to_be_hidden()
    expect(page).to_have_title("(2) 2 down · Pinglet")
    row = page.locator("#servers tbody tr", has_text="mail")
    expect(row.locator(".why")).to_have_text(
        re.compile(r"^since .* \(\d+ min\) · no answer within a second$")
    )
    tile = page.get_by_role("group", name="Servers by state").get_by_role("button", name="down")
    expect(tile).to_contain_text(re.compile(r"2\s*down\s*since .* \(\d+ min\)"))
    rows.nth(1).get_by_role("link", name="mail").click()
    expect(page.locator("#name")).to_have_text("mail")
    page.go_back()
    rows.nth(1).get_by_role("link", name="down since").click()
    expect(page.locator("#timeline li")).to_have_count(1)
    expect(page.locator("h1")).to_have_text("mail")


def test_an_incident_comes_and_goes_without_a_reload(site: Site, page: Page) -> None:
    (server_id,) = site.add("web", ago=DAY)
    site.judge({server_id: "gb"}, slots(3 * MINUTE)[:2])
    steps.fleet(page, site)
    expect(page.locator("#servers .mark")).to_have_count(1)
    expect(page.locator("#open")).to_be_hidden()
    site.judge({server_id: "b"}, slots(MINUTE)[:1])
    steps.look_again(page)
    expect(page.locator("#open li")).to_have_text(re.compile("web down since"))
    link = page.locator("#open").get_by_role("link", name="down since")
    link.focus()
    with site.database.transaction() as session:
        change.remove_id(session, server_id)
    site.judge({}, slots(MINUTE))
    steps.look_again(page)
    expect(page.locator("#open")).to_be_hidden()
    expect(page).to_have_title("Fleet · Pinglet")


def test_who_goes_down_together_is_one_incident_with_its_servers(site: Site, page: Page) -> None:
    ids = site.add(*(f"web-{number}" for number in range(6)), ago=DAY)
    seen = {one: "bbbb" for one in ids[:5]} | {ids[5]: "gggg"}
    site.judge(seen, slots(5 * MINUTE)[:4])
    steps.fleet(page, site)
    expect(page.locator("#servers .mark")).to_have_count(6)
    row = page.locator("#open li")
    expect(row).to_have_text(re.compile(r"^\s*5 servers in 127.0.0.0/24 down since"))
    row.get_by_role("link", name="down since").click()
    expect(page.locator("h1")).to_have_text("5 servers in 127.0.0.0/24")
    servers = page.locator("#members li")
    expect(servers).to_have_text([re.compile(f"web-{number} since") for number in range(5)])
    servers.nth(2).get_by_role("link", name="web-2").click()
    expect(page.locator("#name")).to_have_text("web-2")


def test_of_many_the_newest_are_shown_and_the_others_counted(site: Site, page: Page) -> None:
    ids = site.add(*(f"web-{number}" for number in range(7)), ago=DAY)
    # One after the other, or they were down together.
    seen = {one: 4 * place * "g" + (30 - 4 * place) * "b" for place, one in enumerate(ids)}
    site.judge(seen, slots(29 * MINUTE))
    steps.fleet(page, site)
    expect(page.locator("#open li")).to_have_count(5)
    expect(page.locator("#open-more")).to_have_text("and 2 more")
    expect(page).to_have_title(re.compile(r"^\(7\) "))
    page.get_by_role("link", name="and 2 more").click()
    expect(page.locator(ROWS)).to_have_count(7)
    expect(page.get_by_label("State")).to_have_value("open")


def test_what_loses_echoes_under_a_rule_is_not_called_down(site: Site, page: Page) -> None:
    (server_id,) = site.add("web", ago=DAY)
    rule = {"name": "lossy lines", "when": {"loss_pct": 40, "of": 2}, "severity": "warning"}
    made = page.request.post(
        f"{site.url}/api/v1/rules", data=rule, headers={"X-Requested-With": "pinglet"}
    )
    assert made.status == 201
    site.judge({server_id: "ggllll"}, slots(5 * MINUTE))
    steps.fleet(page, site)
    said = re.compile(r"losing echoes since .* \(\d+ min\)")
    row = page.locator("#open li")
    expect(row).to_have_text(re.compile(f"{said.pattern}.*lossy lines.*warning"))
    expect(row.locator(".mark.degraded")).to_have_count(1)
    expect(page.locator("#servers tbody .why")).to_have_text(said)
    expect(page.get_by_role("button", name="down")).not_to_contain_text("since")
    expect(page).to_have_title("(1) Fleet · Pinglet")
    steps.server(page, site, server_id)
    expect(page.locator("#address")).to_contain_text(said)
    expect(page).to_have_title("(1) web · Pinglet")


# A list of their own


def test_they_are_found_by_server_tag_and_state_and_all_of_it_is_in_the_address(
    site: Site, page: Page
) -> None:
    ids = three(site)
    with site.database.transaction() as session:
        tags.put(session, {ids[0]: ["eu"], ids[1]: ["eu", "old"]})
    page.goto(f"{site.url}/dashboard/incidents")
    rows = page.locator(ROWS)
    expect(rows).to_have_text([re.compile(name) for name in ("web", "mail", "db")])
    expect(rows.nth(2)).to_have_text(re.compile(LASTED))
    expect(page.locator("#open-count")).to_have_text("2 open")
    page.get_by_label("Tag").fill("EU")
    expect(rows).to_have_text([re.compile(name) for name in ("web", "db")])
    page.get_by_label("State").select_option("resolved")
    expect(rows).to_have_text([re.compile("db")])
    expect(page).to_have_url(re.compile("tag=EU"))
    page.reload()
    expect(rows).to_have_text([re.compile("db")])
    expect(page.get_by_label("Tag")).to_have_value("EU")
    page.get_by_label("Search").fill("mai")
    expect(page.locator("#nothing")).to_be_visible()
    page.get_by_label("Tag").fill("")
    page.get_by_label("State").select_option("open")
    expect(rows).to_have_text([re.compile("mail")])
    page.get_by_label("Search").fill("nowhere")
    steps.button(page, "Show all")
    expect(rows).to_have_count(3)


@pytest.mark.parametrize("zone", ["America/New_York", "Asia/Kolkata", "UTC"])
def test_last_night_is_one_click_and_began_at_six_in_the_evening_of_whoever_looks(
    site: Site, browser: Browser, zone: str
) -> None:
    ids = site.add("web", "db", ago=5 * DAY)
    two_days_ago = slots(SLOT)[-1] - 2 * DAY
    site.judge({ids[0]: "bbgg", ids[1]: "gggg"}, slots(3 * MINUTE, end=two_days_ago))
    site.judge({ids[0]: "gg", ids[1]: "bb"}, slots(MINUTE))
    with watched(browser, timezone_id=zone) as (context, seen):
        page = context.new_page()
        page.goto(f"{site.url}/dashboard/incidents")
        expect(page.locator(ROWS)).to_have_count(2)
        seen.requests.clear()
        steps.button(page, "Last night")
        expect(page.locator(ROWS)).to_have_text([re.compile("db")])
        expect(page.locator("#window")).to_have_text(re.compile(r"^since .*, 18:00 \S+$"))
        expect(page).to_have_url(re.compile(r"since=night"))
        asked = next(one for one in seen.calls() if "/incidents?" in one and "since=" in one)
        since = datetime.fromisoformat(parse_qs(urlsplit(asked).query)["since"][0])
        evening = since.astimezone(ZoneInfo(zone))
        today = utc_now().astimezone(ZoneInfo(zone)).date()
        assert (evening.hour, evening.minute, evening.date()) == (18, 0, today - DAY)


def test_a_long_list_has_pages_and_back_leads_to_the_one_before(site: Site, page: Page) -> None:
    three_hundred(site)
    page.goto(f"{site.url}/dashboard/incidents")
    rows = page.locator(ROWS)
    expect(rows).to_have_count(100)
    first = rows.first.inner_text()
    steps.button(page, "Older")
    expect(rows.first).not_to_have_text(first)
    steps.button(page, "Older")
    expect(page.get_by_role("button", name="Older")).to_be_disabled()
    assert len(words(page)["before"]) == 2
    page.go_back()
    page.wait_for_url(lambda url: url.count("before=") == 1)
    steps.button(page, "Newer")
    expect(rows.first).to_contain_text("down since")
    expect(page.get_by_role("button", name="Newer")).to_be_disabled()


# One incident


def test_somebody_looks_after_it_comments_and_resolves_it(site: Site, page: Page) -> None:
    three(site)
    page.goto(f"{site.url}/dashboard/incidents")
    page.locator(ROWS, has_text="web").get_by_role("link", name="down since").click()
    lines = page.locator("#timeline li")
    expect(lines).to_have_text([re.compile("Opened")])
    note = page.get_by_label("Note")
    note.fill("on my way\nto the rack")
    page.get_by_label("Looked after until").select_option("an hour from now")
    steps.button(page, "Acknowledge")
    expect(lines).to_have_count(2)
    expect(lines.nth(1)).to_have_text(re.compile("looks after it.*on my way\nto the rack", re.S))
    expect(page.locator("#facts .chip")).to_have_text(re.compile(r"looks after it until .*\d$"))
    expect(note).to_have_value("")
    steps.button(page, "Take it back")
    expect(lines.nth(2)).to_have_text(re.compile("no longer looks after it"))
    expect(page.locator("#facts .chip")).to_have_count(0)
    expect(note).to_be_focused()
    steps.button(page, "Comment")
    expect(page.locator("#main").get_by_role("alert")).to_contain_text("Note must")
    note.fill("a cable")
    steps.button(page, "Comment")
    expect(lines.nth(3)).to_have_text(re.compile("a cable"))
    note.fill("known")
    steps.button(page, "Resolve")
    steps.button(page, "Cancel")
    expect(note).to_have_value("known")
    expect(lines).to_have_count(4)
    steps.button(page, "Resolve")
    page.get_by_role("alertdialog").get_by_role("button", name="Resolve").click()
    expect(lines.nth(4)).to_have_text(re.compile("resolved it.*known"))
    expect(page.locator("#facts")).to_contain_text("resolved by hand")
    expect(page.get_by_role("button", name="Acknowledge")).to_be_hidden()
    expect(page).to_have_title(re.compile(r"web, down .* \u2013 .* \(\d+ min\) · Pinglet$"))
    note.fill("afterwards")
    steps.button(page, "Comment")
    expect(lines).to_have_count(6)


def test_who_comes_too_late_is_told_so(site: Site, page: Page) -> None:
    three(site)
    steps.incident(page, site, 3)
    expect(page.get_by_role("button", name="Resolve")).to_be_visible()
    page.request.post(
        f"{site.url}/api/v1/incidents/3/resolve", headers={"X-Requested-With": "pinglet"}
    )
    steps.button(page, "Acknowledge")
    expect(page.locator("#main").get_by_role("alert")).to_contain_text("resolved")


def test_a_viewer_reads_and_an_editor_acts(guarded_site: Site, browser: Browser) -> None:
    three(guarded_site)
    for name, may_act in (("viv", False), ("eve", True)):
        with watched(browser) as (context, _seen):
            page = context.new_page()
            steps.log_in(page, guarded_site, name)
            steps.incident(page, guarded_site, 3)
            note = page.get_by_label("Note")
            expect(note).to_be_visible(visible=may_act)


def test_the_chart_shows_what_was_around_it_and_looks_closer(site: Site, page: Page) -> None:
    three(site)
    steps.incident(page, site, 1)
    window = page.locator("#window")
    expect(window).to_have_attribute("data-minutes", re.compile(r"^4\d$"))
    expect(page.locator("#flags a")).to_have_count(1)
    assert steps.ink(page, "#chart")[0] > 1000
    page.locator(".chart").focus()
    page.keyboard.press("+")
    expect(window).not_to_have_attribute("data-minutes", re.compile(r"^4\d$"))
    expect(page).to_have_url(re.compile(r"/incidents/1\?since=.*&until="))
    steps.button(page, "Show the full range")
    expect(window).to_have_attribute("data-minutes", re.compile(r"^4\d$"))


def test_an_incident_outlives_its_server_and_one_that_is_not_there_is_not_found(
    site: Site, page: Page
) -> None:
    ids = three(site)
    steps.incident(page, site, 1)
    expect(page.locator("#around")).to_be_visible()
    with site.database.transaction() as session:
        change.remove_id(session, ids[1])
    page.reload()
    expect(page.locator("h1")).to_have_text("db")
    expect(page.locator("h1 a")).to_have_count(0)
    expect(page.locator("#around")).to_be_hidden()
    page.goto(f"{site.url}/dashboard/incidents/{LARGEST_ID}")
    expect(page.locator("h1")).to_have_text("Incident not found")
    page.get_by_role("link", name="See all incidents").click()
    expect(page.locator(ROWS)).to_have_count(3)


def test_names_and_notes_are_text_in_every_view(site: Site, page: Page, seen: Seen) -> None:
    names = NAMES[:4]
    ids = site.add(*names, ago=DAY)
    site.judge(dict.fromkeys(ids, "bb"), slots(MINUTE))
    shown = "(all) => all.map((one) => one.textContent)"
    for path, rows in (("/dashboard", "#open"), ("/dashboard/incidents", "#incidents")):
        page.goto(site.url + path)
        expect(page.locator(f"{rows} li")).to_have_count(len(names))
        assert page.locator(f"{rows} .title bdi").evaluate_all(shown) == names[::-1]
        assert page.locator("main :is(img:not([alt='']), script, svg, iframe)").count() == 0
    for number, name in enumerate(names, 1):
        steps.incident(page, site, number)
        assert page.locator("#name").evaluate("(one) => one.textContent") == name
        page.get_by_label("Note").fill(name)
        steps.button(page, "Comment")
        expect(page.locator("#timeline .note")).to_have_text(name)
        assert page.locator("main :is(img, script, svg, iframe, form[action])").count() == 0
    assert seen.outside(site) == []


# A server


def test_a_server_says_since_when_it_is_down_and_leads_to_its_incident(
    site: Site, page: Page
) -> None:
    ids = three(site)
    steps.server(page, site, ids[0])
    expect(page).to_have_title(re.compile(r"^\(2\) down since .* \(\d+ min\) · web · Pinglet$"))
    facts = page.locator("#address")
    expect(facts).to_contain_text(re.compile(r"down since .* \(\d+ min\): no answer within"))
    expect(page.locator(ROWS)).to_have_count(1)
    facts.get_by_role("link", name="down since").click()
    expect(page).to_have_url(re.compile("/dashboard/incidents/3$"))


def test_flags_above_the_chart_lead_to_incidents_by_mouse_and_by_keyboard(
    site: Site, page: Page
) -> None:
    ids = three(site)
    steps.server(page, site, ids[1])
    flag = page.locator("#flags a")
    expect(flag).to_have_attribute("aria-label", re.compile(f"^Incident: {LASTED}$"))
    flag.click()
    expect(page.locator("h1")).to_have_text("db")
    page.go_back()
    expect(flag).to_be_visible()
    flag.focus()
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile("/dashboard/incidents/1$"))


def test_flags_without_room_are_one_that_looks_closer(site: Site, page: Page) -> None:
    ids = three_hundred(site)
    steps.server(page, site, ids[0])
    heaps = page.locator("#flags button")
    expect(heaps.first).to_be_visible()
    counted = page.locator("#flags > *").evaluate_all(
        "(all) => all.map((one) => Number(one.textContent) || 1)"
    )
    assert 57 <= sum(counted) <= 59  # a day has 57 times 25 minutes
    expect(page.locator("#incidents-more")).to_have_text(f"and {sum(counted) - 5} more")
    heaps.first.click()
    expect(page.locator("#out")).to_be_visible()
    expect(page.locator("#flags a").first).to_be_visible()
