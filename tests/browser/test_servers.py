"""What a user does with servers, in a real browser, on real pings of this machine."""

import json
import re
from collections.abc import Callable
from datetime import timedelta
from http import HTTPStatus

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from core.clock import utc_now
from core.rounds import log as round_log
from core.rounds import stretches
from core.rounds.kernel import SILENT
from core.rounds.trust import Reading
from core.servers import change
from core.servers.records import ServerChange
from handlers.http import health
from tests.browser import steps
from tests.browser.conftest import PHONE, Seen, watched
from tests.browser.site import Site, slots

pytestmark = pytest.mark.xdist_group("browser")
DAY = timedelta(days=1)
HOURS_A_YEAR = 365 * 24


@pytest.fixture
def watched_server(site: Site) -> int:
    """A server with a day of history, every fifth minute, up to this minute."""
    (server_id,) = site.add("web", ago=DAY)
    site.history([server_id], slots(DAY, timedelta(minutes=5)))
    return server_id


def test_an_empty_fleet_tells_what_to_do(site: Site, page: Page) -> None:
    steps.fleet(page, site)
    expect(page.locator("#doubt")).to_be_hidden()
    expect(page.locator("#example")).to_contain_text("curl -X POST http://127.0.0.1")
    page.locator("#empty").get_by_role("link", name="Add servers").click()
    expect(page).to_have_url(f"{site.url}/dashboard/add")


def test_removal_that_waits_is_told_above_the_fleet(site: Site, page: Page) -> None:
    now = utc_now()
    with site.database.transaction() as session:
        for wall in (now - 7 * DAY, now):
            stretches.note(session, Reading(wall, SILENT))
    steps.fleet(page, site)
    expect(page.locator("#doubt")).to_contain_text("Nothing old is removed for now: rounds don't")


def test_a_server_is_added_and_its_first_ping_arrives_without_a_reload(
    site: Site, page: Page
) -> None:
    page.goto(f"{site.url}/dashboard/add")
    form = page.locator("#one")
    form.get_by_label("Name").fill("me")
    form.get_by_label("IPv4 address").fill("127.0.0.1")
    form.get_by_role("button", name="Add").click()
    expect(page.locator("#toasts")).to_have_text("Added me")
    page.get_by_role("link", name="Fleet").click()
    row = page.locator("#servers tbody tr")
    expect(row).to_contain_text("new")
    site.round()
    steps.look_again(page)
    expect(row).to_contain_text("up")
    expect(row).to_contain_text(" ms")
    expect(page.locator("#age")).to_contain_text("last round")


def test_a_server_is_added_with_tags_and_a_click_on_one_finds_all_that_have_it(
    site: Site, page: Page, seen: Seen
) -> None:
    switch = "<b>switch</b>"
    site.add(switch, "other")
    page.goto(f"{site.url}/dashboard/add")
    form = page.locator("#one")
    for name, tags in (("web", "EU  web"), ("db", "eu")):
        form.get_by_label("Name").fill(name)
        form.get_by_label("IPv4 address").fill("127.0.0.1")
        form.get_by_label("Tags").fill(tags)
        form.get_by_label("Parent").fill(switch)
        form.get_by_role("button", name="Add").click()
        expect(page.locator("#toasts")).to_contain_text(f"Added {name}")
    page.get_by_role("link", name="Fleet").click()
    expect(page.locator("#servers .mark")).to_have_count(4)
    row = page.locator("#servers tbody tr", has_text="web")
    expect(row.locator(".tag")).to_have_text(["eu", "web"])
    row.locator(".tag", has_text="eu").click()
    expect(page.locator("#servers tbody .name")).to_have_text(["web", "db"])
    expect(page).to_have_url(f"{site.url}/dashboard?tag=eu")
    page.reload()
    expect(page.locator("#servers tbody .name")).to_have_text(["web", "db"])
    expect(page.locator("#filter").get_by_label("Tag")).to_have_value("eu")
    page.get_by_role("link", name="web").click()
    facts = page.locator("#address")
    expect(facts).to_contain_text(f"behind {switch}")
    assert facts.locator("b").count() == 0
    steps.button(page, "Edit")
    editor = page.get_by_role("dialog")
    expect(editor.get_by_label("Tags")).to_have_value("eu web")
    editor.get_by_label("Tags").fill("a b!")
    steps.button(page, "Save")
    expect(editor.get_by_role("alert")).to_contain_text("Tags must each be 1 to 40")
    editor.get_by_label("Tags").fill("us")
    editor.get_by_label("Parent").fill("")
    steps.button(page, "Save")
    expect(facts.locator("a")).to_have_text(["us"])
    facts.get_by_role("link", name="us").click()
    expect(page.locator("#servers tbody .name")).to_have_text(["web"])
    assert seen.outside(site) == []


def test_a_wrong_address_is_refused_beside_its_field(site: Site, page: Page) -> None:
    page.goto(f"{site.url}/dashboard/add")
    form = page.locator("#one")
    form.get_by_label("Name").fill("me")
    form.get_by_label("IPv4 address").fill("127.1")
    form.get_by_role("button", name="Add").click()
    expect(form.get_by_role("alert")).not_to_be_empty()
    address = form.get_by_label("IPv4 address")
    expect(address).to_have_attribute("aria-invalid", "true")
    expect(address).to_be_focused()
    assert site.names() == []


def test_many_servers_are_added_at_once_each_with_its_result(site: Site, page: Page) -> None:
    site.add("taken")
    page.goto(f"{site.url}/dashboard/add")
    form = page.locator("#many")
    wrong = "no address\ndb, 127.0.0.5"
    lines = f'taken, 127.0.0.4\n"web, 1", 127.0.0.2\n\n  db\t127.0.0.3\n# ours\n{wrong}'
    form.get_by_label("One server per line").fill(lines)
    form.get_by_role("button", name="Add all").click()
    # What is to be mended comes first.
    results = page.locator("#results li")
    expect(results).to_have_text(
        [
            re.compile("^no address.*IPv4 address"),
            re.compile("^db, .*appears twice"),
            re.compile("^taken, .*watched already"),
        ]
    )
    expect(page.locator("#results .bad")).to_have_count(2)
    expect(page.locator("#toasts")).to_have_text(
        "2 servers saved, 1 was watched already, 2 refused"
    )
    assert site.names() == ["taken", "web, 1", "db"]
    expect(form.get_by_label("One server per line")).to_have_value(wrong)


def test_what_was_refused_of_a_csv_keeps_its_columns(site: Site, page: Page) -> None:
    page.goto(f"{site.url}/dashboard/add")
    form = page.locator("#many")
    box = form.get_by_label("One server per line")
    box.fill("ip;name;interval_s\n127.0.0.2;web;300\n127.1;bad;60\n")
    form.get_by_role("button", name="Add all").click()
    expect(page.locator("#toasts")).to_have_text("1 server saved, 1 refused")
    expect(box).to_have_value("ip;name;interval_s\n127.1;bad;60")
    box.fill("ip;name;interval_s\n127.0.0.3;bad;60")
    form.get_by_role("button", name="Add all").click()
    expect(page.locator("#toasts div").last).to_have_text("1 server saved")
    expect(box).to_have_value("")
    assert site.names() == ["web", "bad"]


def test_an_export_may_be_pasted(site: Site, page: Page) -> None:
    site.add("web")
    exported = page.request.get(f"{site.url}/api/v1/export").json()
    exported["servers"].append(exported["servers"][0] | {"name": "new"})
    exported["servers"].append(exported["servers"][0] | {"name": "bad", "ip": "127.1"})
    page.goto(f"{site.url}/dashboard/add")
    box = page.get_by_label("One server per line")
    box.fill(json.dumps(exported))
    page.get_by_label("Update existing servers").check()
    steps.button(page, "Add all")
    expect(page.locator("#toasts")).to_have_text("1 server saved, 1 was watched already, 1 refused")
    assert site.names() == ["web", "new"]
    [left] = json.loads(box.input_value())
    assert (left["name"], left["ip"]) == ("bad", "127.1")


def test_an_address_alone_is_the_name_too(site: Site, page: Page) -> None:
    page.goto(f"{site.url}/dashboard/add")
    page.get_by_label("One server per line").fill("127.0.0.2\n127.0.0.3")
    steps.button(page, "Add all")
    expect(page.locator("#toasts")).to_have_text("2 servers saved")
    assert site.names() == ["127.0.0.2", "127.0.0.3"]


def test_the_chart_is_drawn_and_another_range_draws_another(
    site: Site, page: Page, watched_server: int
) -> None:
    steps.server(page, site, watched_server)
    whole = steps.ink(page, "#chart")
    assert whole[0] > 5_000
    assert steps.ink(page, "#states")[0] > 500
    median = page.locator("#figures .tile", has_text="Median")
    expect(median).to_contain_text(" ms")
    with page.expect_response(lambda response: "/series" in response.url):
        steps.button(page, "1 h")
    expect(page.get_by_role("button", name="1 h")).to_have_attribute("aria-pressed", "true")
    steps.shows(page, hours=1)
    assert steps.ink(page, "#chart") != whole


def test_dragging_over_the_chart_looks_closer(site: Site, page: Page, watched_server: int) -> None:
    steps.server(page, site, watched_server)
    box = page.locator("#chart").bounding_box()
    assert box is not None
    middle = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + box["width"] * 0.4, middle)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.6, middle, steps=4)
    page.mouse.up()
    expect(page.locator("#out")).to_be_visible()
    expect(page.locator("#window")).not_to_have_attribute("data-minutes", "1440")
    assert 180 < steps.minutes(page) < 360
    steps.button(page, "Show the full range")
    steps.shows(page, hours=24)


def test_a_finger_looks_closer_too(site: Site, browser: Browser, watched_server: int) -> None:
    with watched(browser, **PHONE) as (context, _seen):
        page = context.new_page()
        steps.server(page, site, watched_server)
        page.locator("#chart").scroll_into_view_if_needed()
        box = page.locator("#chart").bounding_box()
        assert box is not None
        finger = context.new_cdp_session(page)
        places = [
            {"x": box["x"] + share * box["width"], "y": box["y"] + 90} for share in (0.4, 0.6)
        ]
        for kind, at in [("Start", places[:1]), ("Move", places[1:]), ("End", [])]:
            finger.send("Input.dispatchTouchEvent", {"type": f"touch{kind}", "touchPoints": at})
        expect(page.locator("#out")).to_be_visible()
        expect(page.locator("#window")).not_to_have_attribute("data-minutes", "1440")
        assert 180 < steps.minutes(page) < 400


def test_keys_look_closer_too(site: Site, page: Page, watched_server: int) -> None:
    steps.server(page, site, watched_server)
    page.locator(".chart").focus()
    page.keyboard.press("+")
    steps.shows(page, hours=12)
    page.keyboard.press("Escape")
    steps.shows(page, hours=24)


def hold_health(page: Page) -> Callable[[], None]:
    """Keep Pinglet from saying what time it is, until what is returned is called."""
    held: list[Route] = []
    page.route("**/health", lambda route: held.append(route))

    def let_go() -> None:
        for route in held:
            route.continue_()
        page.unroute("**/health")

    return let_go


def test_keys_wait_until_pinglet_has_said_what_time_it_is(
    site: Site, page: Page, watched_server: int
) -> None:
    let_go = hold_health(page)
    page.goto(f"{site.url}/dashboard/servers/{watched_server}")
    expect(page.get_by_role("button", name="24 h")).to_be_visible()
    page.locator(".chart").focus()
    for key in ("+", "-", "ArrowLeft"):
        page.keyboard.press(key)
    let_go()
    steps.shows(page, hours=24)
    expect(page).to_have_url(f"{site.url}/dashboard/servers/{watched_server}")
    page.keyboard.press("+")
    steps.shows(page, hours=12)


def test_a_strip_is_not_dated_before_pinglet_has_said_what_time_it_is(
    site: Site, page: Page, watched_server: int
) -> None:
    let_go = hold_health(page)
    steps.fleet(page, site)
    box = page.locator("#servers canvas").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 4, box["y"] + 30)
    assert page.locator("#tip").is_hidden()
    let_go()
    expect(page.locator("#age")).to_contain_text("last round")
    page.mouse.move(box["x"] + 6, box["y"] + 30)
    expect(page.locator("#tip time").first).to_have_attribute(
        "datetime", re.compile(f"^{utc_now() - DAY:%Y-%m}")
    )
    assert watched_server


def test_nobody_looks_out_further_than_two_years(
    site: Site, page: Page, watched_server: int
) -> None:
    steps.server(page, site, watched_server)
    steps.button(page, "1 y")
    steps.shows(page, hours=HOURS_A_YEAR)
    page.locator(".chart").focus()
    page.keyboard.press("-")
    steps.shows(page, hours=2 * HOURS_A_YEAR)
    for _attempt in range(3):
        with page.expect_response(lambda response: "/spells" in response.url):
            page.keyboard.press("-")
        steps.shows(page, hours=2 * HOURS_A_YEAR)
    expect(page.locator("#warning")).not_to_contain_text("can't be updated")


def test_an_address_of_more_than_two_years_shows_its_last_two(
    site: Site, page: Page, watched_server: int
) -> None:
    words = "since=2001-01-01T00:00:00Z&until=2026-01-01T00:00:00Z"
    page.goto(f"{site.url}/dashboard/servers/{watched_server}?{words}")
    steps.shows(page, hours=2 * HOURS_A_YEAR)
    until = page.locator("#window time").last
    expect(until).to_have_attribute("datetime", "2026-01-01T00:00:00Z")
    expect(page.locator("#warning")).not_to_contain_text("can't be updated")


def test_ping_now_shows_each_echo_and_stores_nothing(
    site: Site, page: Page, watched_server: int
) -> None:
    steps.server(page, site, watched_server)
    steps.button(page, "Ping now")

    expect(page.locator("#echoes li")).to_have_count(4)
    expect(page.locator("#echoes")).to_contain_text("clock")
    assert not any(sql.startswith("INSERT") for sql in site.statements[-6:])


def test_a_server_is_edited(site: Site, page: Page, watched_server: int) -> None:
    site.add("other", first=9)
    steps.server(page, site, watched_server)
    steps.button(page, "Edit")
    editor = page.get_by_role("dialog")
    expect(editor.get_by_label("Name")).to_have_value("web")
    editor.get_by_label("Name").fill("other")
    editor.get_by_role("button", name="Save").click()
    expect(editor.get_by_role("alert")).to_contain_text("other")
    editor.get_by_label("Name").fill("renamed")
    editor.get_by_label("IPv4 address").fill("127.0.0.77")
    editor.get_by_label("Every").select_option("300")
    editor.get_by_role("button", name="Save").click()
    expect(editor).to_be_hidden()
    expect(page.locator("h1")).to_have_text("renamed")
    expect(page.locator("#address")).to_contain_text("127.0.0.77")
    expect(page.locator("#address")).to_contain_text("every 5 minutes")
    expect(page).to_have_title("renamed · Pinglet")


def test_an_interval_that_was_set_elsewhere_stays(
    site: Site, page: Page, watched_server: int
) -> None:
    with site.database.transaction() as session:
        settings = site.database.settings
        slower = ServerChange(interval_s=600)
        change.alter(session, watched_server, slower, settings, utc_now())
    steps.server(page, site, watched_server)
    steps.button(page, "Edit")
    editor = page.get_by_role("dialog")
    editor.get_by_label("Name").fill("renamed")
    editor.get_by_role("button", name="Save").click()
    expect(page.locator("h1")).to_have_text("renamed")
    expect(page.locator("#address")).to_contain_text("every 10 minutes")


def test_a_server_is_paused_and_resumed(site: Site, page: Page, watched_server: int) -> None:
    steps.server(page, site, watched_server)
    steps.button(page, "Pause")
    expect(page.locator("#address")).to_contain_text("paused")
    steps.button(page, "Resume")
    expect(page.get_by_role("button", name="Pause", exact=True)).to_be_visible()
    expect(page.locator("#address")).not_to_contain_text("paused")


def test_a_removal_is_undone(site: Site, page: Page, watched_server: int) -> None:
    page.clock.install()
    steps.server(page, site, watched_server)
    steps.button(page, "Remove")
    expect(page.locator("#toasts")).to_contain_text("web and its history will be removed")
    steps.button(page, "Undo")
    expect(page.locator(".toast")).to_have_count(0)
    page.clock.fast_forward(20_000)
    steps.fleet(page, site)
    assert site.names() == ["web"]


def test_undo_has_the_focus_and_gives_it_back(site: Site, page: Page, watched_server: int) -> None:
    page.clock.install()
    steps.server(page, site, watched_server)
    page.get_by_role("button", name="Remove").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Undo")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator(".toast")).to_have_count(0)
    expect(page.get_by_role("button", name="Remove")).to_be_focused()
    page.clock.fast_forward(20_000)
    assert site.names() == ["web"]


def test_a_removal_that_is_not_undone_happens(site: Site, page: Page, watched_server: int) -> None:
    page.clock.install()
    steps.server(page, site, watched_server)
    steps.button(page, "Remove")
    expect(page.locator(".toast")).to_be_visible()
    assert site.names() == ["web"]
    page.clock.fast_forward(9_000)
    page.wait_for_url(f"{site.url}/dashboard")
    expect(page.locator("#empty")).to_be_visible()
    assert site.names() == []


def test_a_server_that_does_not_exist_has_a_page_that_says_so(site: Site, page: Page) -> None:
    answer = page.goto(f"{site.url}/dashboard/servers/4711")
    assert answer is not None
    assert answer.status == HTTPStatus.NOT_FOUND
    expect(page.locator("h1")).to_have_text("Server not found")
    expect(page.get_by_role("button", name="Remove")).to_have_count(0)
    page.get_by_role("link", name="See all servers").click()
    page.wait_for_url(f"{site.url}/dashboard")


def test_a_server_that_is_removed_elsewhere_is_said_to_be_gone(
    site: Site, page: Page, watched_server: int
) -> None:
    steps.server(page, site, watched_server)
    removed = page.request.delete(
        f"{site.url}/api/v1/servers/{watched_server}", headers={"X-Requested-With": "pinglet"}
    )
    assert removed.ok
    steps.look_again(page)
    expect(page.locator("h1")).to_have_text("Server not found")
    expect(page.get_by_role("button", name="Remove")).to_be_hidden()
    page.reload()
    expect(page.locator("h1")).to_have_text("Server not found")


def test_the_list_is_searched_filtered_and_ordered_and_the_address_keeps_it(
    site: Site, page: Page
) -> None:
    ids = site.add("alpha", "beta", "gamma", "delta", ago=DAY)
    site.history(ids, slots(timedelta(minutes=1)))
    steps.fleet(page, site)
    rows = page.locator("#servers tbody tr")
    expect(rows).to_have_count(4)
    page.get_by_label("Order").select_option("-response_ms")
    expect(rows.first).to_contain_text("delta")
    page.get_by_label("Search").fill("mma")
    expect(rows).to_have_count(1)
    expect(rows.first).to_contain_text("gamma")
    rows.first.get_by_role("link").click()
    page.wait_for_url("**/servers/*")
    page.go_back()
    expect(page.get_by_label("Search")).to_have_value("mma")
    expect(rows).to_have_count(1)
    page.get_by_label("Search").fill("nowhere")
    expect(page.locator("#nothing")).to_be_visible()


def test_a_tile_filters_by_its_state(site: Site, page: Page) -> None:
    ids = site.add("seen", "unseen", ago=DAY)
    site.history(ids[:1], slots(timedelta(minutes=1)))
    steps.fleet(page, site)
    tile = page.locator("#summary").get_by_role("button", name="unobserved")
    expect(tile).to_contain_text("1")
    tile.click()
    expect(page.locator("#servers tbody tr")).to_have_count(1)
    expect(page.locator("#servers tbody tr")).to_contain_text("unseen")
    expect(tile).to_have_attribute("aria-pressed", "true")


def test_pointing_at_the_strip_says_what_a_half_hour_was(site: Site, page: Page) -> None:
    ids = site.add("web", ago=DAY)
    site.history(ids, slots(timedelta(minutes=29)))
    steps.fleet(page, site)
    box = page.locator("#servers canvas").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] - 4, box["y"] + 30)
    expect(page.locator("#tip")).to_contain_text(re.compile(r"\d\d:\d\d . \d\d:\d\d.*up.* ms"))
    page.mouse.move(box["x"] + 4, box["y"] + 30)
    expect(page.locator("#tip")).to_contain_text("unobserved")
    page.mouse.move(2, 2)
    expect(page.locator("#tip")).to_be_hidden()


def test_the_summary_stays_in_sight_and_the_tab_says_what_is_down(site: Site, page: Page) -> None:
    ids = site.add(*(f"web-{number}" for number in range(60)), ago=DAY)
    site.history(ids, slots(timedelta(minutes=1)))
    steps.fleet(page, site)
    page.locator("#servers tbody tr").last.scroll_into_view_if_needed()
    down = page.locator("#summary").get_by_role("button", name="down")
    expect(down).to_be_in_viewport()
    number = re.match(r"\d+", down.inner_text())
    assert number is not None
    expect(page).to_have_title(f"{number[0]} down · Pinglet")


def test_a_list_that_cannot_be_read_says_so_until_it_can(site: Site, page: Page) -> None:
    site.add("web")
    steps.fleet(page, site)
    again = "document.dispatchEvent(new Event('visibilitychange'))"
    page.context.set_offline(True)
    page.evaluate(again)
    expect(page.locator("#warning")).to_contain_text("can't be reached")
    expect(page.locator("#servers tbody tr")).to_have_count(1)
    page.context.set_offline(False)
    page.evaluate(again)
    expect(page.locator("#warning")).not_to_contain_text("can't be reached")


JUMPS = """new PerformanceObserver((list) => {
  for (const { value } of list.getEntries()) window.jumped = (window.jumped ?? 0) + value;
}).observe({ type: "layout-shift", buffered: true })"""


@pytest.mark.parametrize("view", ["/dashboard", "/dashboard/servers/1"])
def test_nothing_jumps_while_a_page_fills(
    site: Site, page: Page, watched_server: int, view: str
) -> None:
    page.add_init_script(JUMPS)
    page.goto(site.url + view)
    expect(page.locator("#servers tbody tr, #window[data-minutes]").first).to_be_visible()
    page.wait_for_load_state("networkidle")
    assert page.evaluate("window.jumped ?? 0") < 0.02


def test_a_dead_worker_leaves_no_green_lights(site: Site, page: Page) -> None:
    ids = site.add("web", ago=DAY)
    site.history(ids, slots(DAY, timedelta(hours=1), end=slots(DAY)[-11]))
    steps.fleet(page, site)
    said = re.compile("Monitoring has stopped: the last round was 1[01] min ago")
    expect(page.locator("#warning")).to_contain_text(said)
    expect(page.locator("#servers tbody tr")).to_contain_text("unobserved")


def test_rounds_that_record_nothing_are_told_on_the_page(site: Site, page: Page) -> None:
    ids = site.add("web", ago=DAY)
    site.history(ids, slots(timedelta(0)))
    over = slots(timedelta(minutes=3))[0]
    with site.database.transaction() as session:
        round_log.begin(session, over, 1, over)
    steps.fleet(page, site)
    expect(page.locator("#warning")).to_contain_text("of the newest one nothing was recorded")
    with site.database.transaction() as session:
        round_log.add(session, over, 1, over)
    health.LOOKED.clear()  # it is asked once a second at most
    steps.look_again(page)
    expect(page.locator("#warning")).to_be_hidden()


def test_a_worker_is_not_late_before_a_round_is_due(site: Site, page: Page) -> None:
    ids = site.add("hourly", ago=DAY, interval_s=3_600)
    site.history(ids, slots(timedelta(0), end=slots(timedelta(hours=1))[0]))
    steps.fleet(page, site)
    expect(page.locator("#age")).to_contain_text("last round 6")
    expect(page.locator("#warning")).to_be_hidden()
    # Every minute for a while, with another's round of an hour ago: that is late.
    site.add("minutely", first=2, ago=timedelta(minutes=4))
    health.LOOKED.clear()  # it is asked once a second at most
    steps.look_again(page)
    expect(page.locator("#warning")).to_contain_text("Monitoring has stopped")


def test_an_update_keeps_every_node(site: Site, page: Page) -> None:
    ids = site.add("a", "b", "c", ago=DAY)
    page.clock.install()
    steps.fleet(page, site)
    mark = "document.querySelectorAll('#servers tbody *').forEach((node) => { node.old = true; })"
    page.evaluate(mark)
    site.history(ids[:1], slots(timedelta(0)))
    page.clock.fast_forward(20_000)  # by itself
    expect(page.locator("#servers tbody tr").first).to_contain_text(" ms")
    fresh = page.locator("#servers tbody *").evaluate_all(
        "(all) => all.filter((node) => !node.old)"
        ".map((node) => `${node.closest('tr').rowIndex} ${node.className}`)"
    )
    assert fresh == ["1 state", "1 mark up"]  # the first server's state, and nothing else


@pytest.mark.parametrize("view", ["/dashboard", "/dashboard/servers/1"])
def test_a_thousand_servers_cost_the_requests_and_statements_of_ten(
    site: Site, page: Page, seen: Seen, view: str
) -> None:
    def cost() -> tuple[int, int]:
        health.LOOKED.clear()  # what it saw is kept for a second, or not, as time goes by
        seen.requests.clear()
        site.statements.clear()
        page.goto(site.url + view)
        expect(page.locator("#servers tbody tr, #figures .tile").first).to_be_visible()
        page.wait_for_load_state("networkidle")
        return len(seen.calls()), len(site.statements)

    ids = site.add(*(f"web-{number}" for number in range(10)), ago=DAY)
    site.history(ids, slots(timedelta(minutes=2)))
    of_ten = cost()
    more = site.add(*(f"more-{number}" for number in range(990)), ago=DAY, first=11)
    site.history(ids + more, slots(timedelta(minutes=2)))
    assert cost() == of_ten
    assert of_ten[0] <= 8  # five of the page, three of every page
