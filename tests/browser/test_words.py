"""What the pages say is for people: no status in JSON, no field's name, nothing that isn't so."""

import json
import re
import socket
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from core.accounts import tokens, users
from core.accounts.tokens import TokenWanted
from core.clock import utc_now
from core.settings import Settings
from tests.browser import steps
from tests.browser.conftest import Seen, watched
from tests.browser.site import Site, serve
from tests.browser.test_access import violations
from tests.people import PASSWORD

pytestmark = pytest.mark.xdist_group("browser")
SCHEMES = pytest.mark.parametrize("scheme", ["light", "dark"])
WIDTH = {"width": 320, "height": 800}


@pytest.fixture
def fresh_site(sqlite_settings: Settings, prefix: str) -> Iterator[Site]:
    """Pinglet as it has just been deployed: it asks for tokens, and nobody has any."""
    with serve(replace(sqlite_settings, authentication=True), prefix) as served:
        yield served


def by_name(site: Site) -> str:
    """Return the site's address by a name that it doesn't know; it leads to this machine."""
    return site.url.replace("127.0.0.1", "pinglet.localhost")


# Pages instead of JSON


def unknown_address(page: Page, site: Site) -> None:
    page.goto(f"{site.url}/dashbord")
    expect(page.locator("h1")).to_have_text("There is nothing here")


def unknown_name(page: Page, site: Site) -> None:
    page.goto(by_name(site))
    expect(page.locator("h1")).to_have_text("Pinglet isn't known by this name")


def from_elsewhere(page: Page, site: Site) -> None:
    page.set_extra_http_headers({"X-Forwarded-For": "192.0.2.7"})
    page.goto(f"{site.url}/dashboard")
    expect(page.locator("h1")).to_have_text("There are no users yet")


def docs(page: Page, site: Site) -> None:
    page.goto(f"{site.url}/api/v1/docs")
    expect(page.locator("h1")).to_contain_text("Pinglet")


@SCHEMES
@pytest.mark.parametrize("open_it", [unknown_address, unknown_name, from_elsewhere, docs])
def test_axe_finds_nothing_on_the_pages_of_one_sheet(
    site: Site, browser: Browser, scheme: str, open_it: Callable[[Page, Site], None]
) -> None:
    with watched(browser, color_scheme=scheme, viewport=WIDTH) as (context, _seen):
        page = context.new_page()
        open_it(page, site)
        assert violations(page) == []
        assert not page.evaluate("document.documentElement.scrollWidth > innerWidth")
        paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (paper == "rgb(13, 19, 23)") == (scheme == "dark")


def test_an_address_that_leads_nowhere_leads_on(site: Site, page: Page) -> None:
    unknown_address(page, site)
    page.get_by_role("link", name="See all servers").click()
    page.wait_for_url(f"{site.url}/dashboard")


def test_who_comes_by_an_unknown_name_is_told_what_to_set(
    site: Site, page: Page, seen: Seen
) -> None:
    unknown_name(page, site)
    expect(page.locator("main")).to_contain_text("PINGLET_HOSTS=pinglet.localhost")
    assert len(seen.requests) == 1  # it needs nothing that would be refused as well


def test_before_there_is_a_user_everybody_is_told_how_to_make_one(
    fresh_site: Site, page: Page
) -> None:
    page.goto(f"{fresh_site.url}/dashboard")
    expect(page.locator("h1")).to_have_text("There are no users yet")
    expect(page.locator("main")).to_contain_text("flask users add NAME")
    expect(page.get_by_label("Password")).to_have_count(0)


def test_a_viewer_who_opens_the_explorer_is_told_why_not(guarded_site: Site, page: Page) -> None:
    steps.log_in(page, guarded_site, "viv")
    page.goto(f"{guarded_site.url}/dashboard/graphql")
    expect(page.locator("main")).to_contain_text("This needs write access, which viv doesn't have.")


# Words beside a form


@pytest.mark.parametrize(
    ("label", "value", "told"),
    [
        ("IPv4 address", "127.1", "IPv4 address must be an IPv4 address such as 192.0.2.10"),
        ("Name", "\u202e", "Name must not contain the invisible U+202E"),
    ],
)
def test_what_is_wrong_is_said_by_the_words_of_the_form(
    site: Site, page: Page, label: str, value: str, told: str
) -> None:
    page.goto(f"{site.url}/dashboard/add")
    form = page.locator("#one")
    form.get_by_label("Name").fill("web")
    form.get_by_label("IPv4 address").fill("127.0.0.1")
    form.get_by_label(label).fill(value)
    form.get_by_role("button", name="Add").click()
    expect(form.get_by_role("alert")).to_contain_text(told)
    expect(form.get_by_label(label)).to_be_focused()


@pytest.mark.parametrize(
    ("status", "told"),
    [
        (502, "what stands in front of Pinglet can't reach it (status 502)"),
        (413, "this is too long for what stands in front of Pinglet: send it in parts"),
        (403, "what stands in front of Pinglet refused this (status 403)"),
    ],
)
def test_what_a_proxy_says_is_not_said_to_be_pinglets(
    site: Site, page: Page, status: int, told: str
) -> None:
    html = "<html><body><h1>nginx</h1></body></html>"
    page.route(
        "**/api/v1/servers/bulk*",
        lambda route: route.fulfill(status=status, content_type="text/html", body=html),
    )
    paste(page, site, "web,127.0.0.1")
    expect(page.locator("#many").get_by_role("alert")).to_have_text(told)


# The account


def test_a_wrong_old_password_is_said_where_it_was_typed(guarded_site: Site, page: Page) -> None:
    steps.log_in(page, guarded_site, "eve", at="/dashboard/account")
    form = page.locator("#password")
    old = form.get_by_label("Current password")
    old.fill("not it")
    form.get_by_label("New password").fill("another long password")
    steps.button(page, "Change password")
    expect(form.get_by_role("alert")).to_have_text("the old password is wrong")
    expect(old).to_have_attribute("aria-invalid", "true")
    expect(old).to_be_focused()
    expect(page).to_have_url(f"{guarded_site.url}/dashboard/account")
    old.fill(PASSWORD)
    steps.button(page, "Change password")
    page.wait_for_url("**/login")


FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:130.0) Gecko/20100101 Firefox/130.0"


def test_sessions_tell_their_browser_their_use_and_which_is_this_one(
    guarded_site: Site, browser: Browser, page: Page
) -> None:
    with watched(browser, user_agent=FIREFOX) as (context, _seen):
        steps.log_in(context.new_page(), guarded_site, "viv")
        steps.log_in(page, guarded_site, "viv", at="/dashboard/account")
        rows = page.locator("#tokens tr")
        expect(rows).to_have_count(2)
        expect(rows.nth(0)).to_contain_text("Firefox on Linux")
        expect(rows.nth(0)).not_to_contain_text("this session")
        expect(rows.nth(1)).to_contain_text(re.compile("Chrome on Linux.*this session"))
        for number in range(2):
            expect(rows.nth(number).locator("[data-label=scope]")).to_have_text("read")
            last_used = rows.nth(number).locator("[data-label='last used']")
            expect(last_used).not_to_have_text("never")
        assert violations(page) == []


def test_a_scripts_log_in_is_not_called_a_browser(guarded_site: Site, page: Page) -> None:
    with guarded_site.database.transaction() as session:
        ann = users.identity_of(users.find_user_named(session, "ann"))
        tokens.issue_pair(session, ann, utc_now())
    steps.log_in(page, guarded_site, at="/dashboard/account")
    names = page.locator("#tokens .title > bdi")
    expect(names).to_have_text(["a script's log-in", "a script's log-in", "Chrome on Linux"])


def test_a_key_that_has_expired_says_so_and_can_be_revoked(guarded_site: Site, page: Page) -> None:
    long_ago = utc_now() - timedelta(days=2)
    with guarded_site.database.transaction() as session:
        ann = users.identity_of(users.find_user_named(session, "ann"))
        for name, life_s in (("old script", 86_400), ("new script", 7 * 86_400)):
            tokens.issue_key(session, ann, TokenWanted(name=name, expires_in_s=life_s), long_ago)
    steps.log_in(page, guarded_site, at="/dashboard/account")
    chips = page.locator("#tokens tr", has=page.locator(".chip", has_text="expired"))
    expect(chips.locator(".title > bdi")).to_have_text(["old script"])
    steps.button(page, "Revoke old script")
    steps.button(page, "Revoke")
    expect(page.locator("#tokens .title > bdi")).to_have_text(["new script", "Chrome on Linux"])


@SCHEMES
def test_revoking_asks_first_by_keyboard_too(
    guarded_site: Site, browser: Browser, scheme: str
) -> None:
    with (
        watched(browser, user_agent=FIREFOX) as (other, _),
        watched(browser, color_scheme=scheme) as (context, _seen),
    ):
        elsewhere, page = other.new_page(), context.new_page()
        steps.log_in(elsewhere, guarded_site)
        steps.log_in(page, guarded_site, at="/dashboard/account")
        revoke = page.get_by_role("button", name="Revoke Firefox on Linux")
        revoke.focus()
        page.keyboard.press("Enter")
        question = page.get_by_role("alertdialog")
        expect(question).to_contain_text("That browser has to log in again.")
        expect(question.get_by_role("button", name="Cancel")).to_be_focused()
        assert violations(page) == []
        page.keyboard.press("Escape")
        expect(question).to_have_count(0)
        expect(revoke).to_be_focused()
        page.keyboard.press("Enter")
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        expect(page.locator("#tokens tr")).to_have_count(1)
        expect(page.locator("#toasts")).to_contain_text("Revoked Firefox on Linux")
        elsewhere.reload()
        elsewhere.wait_for_url("**/login?next=*")


def test_revoking_this_session_logs_out(guarded_site: Site, page: Page) -> None:
    steps.log_in(page, guarded_site, at="/dashboard/account")
    steps.button(page, "Revoke Chrome on Linux")
    expect(page.get_by_role("alertdialog")).to_contain_text("you will be logged out")
    steps.button(page, "Revoke")
    page.wait_for_url("**/login")


# Ping now


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A TCP port of this machine at which nobody listens, and nobody will."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


def by_tcp(page: Page, site: Site, port: int) -> int:
    """Add a server that is looked at by this port; return its id."""
    wanted = {"name": "web", "ip": "127.0.0.1", "probe": "tcp", "port": port}
    added: int = page.request.post(f"{site.url}/api/v1/servers", data=wanted).json()["id"]
    return added


LINE = r"%s after \d+\.\d{3} ms, ± \d+\.\d{3} ms by (the kernel's|Pinglet's own) clock"


def test_ping_now_says_that_a_port_refused_and_by_which_clock(
    site: Site, page: Page, closed_port: int
) -> None:
    steps.server(page, site, by_tcp(page, site, closed_port))
    steps.button(page, "Ping now")
    found = page.locator("#echoes")
    expect(found.locator("li")).to_have_text([re.compile(LINE % "refused")] * 4)
    expect(found).to_contain_text("the host is up and says that nothing accepts connections")
    expect(found).to_contain_text(f"TCP, port {closed_port}")
    expect(found.locator(".state")).to_have_text("down")


def test_ping_now_says_that_a_port_answered(site: Site, page: Page) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        steps.server(page, site, by_tcp(page, site, listener.getsockname()[1]))
        steps.button(page, "Ping now")
        found = page.locator("#echoes")
        expect(found.locator("li")).to_have_text([re.compile(LINE % "answered")] * 4)
        expect(found).not_to_contain_text("efused")


# Lists


def paste(page: Page, site: Site, text: str) -> None:
    """Paste a list and send it."""
    page.goto(f"{site.url}/dashboard/add")
    page.get_by_label("One server per line").fill(text)
    steps.button(page, "Add all")


@pytest.mark.parametrize("form", ["csv", "json"])
def test_our_own_export_is_told_to_be_watched_already(site: Site, page: Page, form: str) -> None:
    site.add(*(f"web-{number}" for number in range(20)), '"quoted", =1+1')
    export = page.request.get(f"{site.url}/api/v1/export?format={form}").text()
    broken = {
        "csv": "# two more\n\nbad,127.1\nworse,127.0.0.99,icmp,0\n",
        "json": {"name": "bad", "ip": "127.1"},
    }[form]
    if form == "json":
        exported = json.loads(export)
        exported["servers"] += [broken, broken | {"name": "worse"}]
        paste(page, site, json.dumps(exported))
    else:
        paste(page, site, f"{export}{broken}")
    expect(page.locator("#done")).to_have_text("21 were watched already, 2 refused")
    expect(page.locator("#toasts")).to_have_text("21 were watched already, 2 refused")
    lines = page.locator("#results li")
    expect(lines).to_have_count(23)
    expect(lines.nth(0)).to_have_class("bad")
    expect(lines.nth(1)).to_have_class("bad")
    expect(lines.nth(2)).to_contain_text("was watched already, and stays as it is")
    assert "{" not in page.locator("#results").inner_text()


def test_what_was_refused_is_mended_where_it_stands(site: Site, page: Page) -> None:
    paste(page, site, "address;name;tcp port\n127.0.0.1;web;80\n127.0.0.2;db;70000\n")
    box = page.get_by_label("One server per line")
    expect(page.get_by_role("alert").last).to_contain_text("unknown column")
    expect(box).to_have_value("address;name;tcp port\n127.0.0.1;web;80\n127.0.0.2;db;70000\n")
    box.fill("ip;name;port\n127.0.0.1;web;80\n127.0.0.2;db;70000\n")
    steps.button(page, "Add all")
    expect(page.locator("#done")).to_have_text("1 server saved, 1 refused")
    expect(page.locator("#results")).to_contain_text("line 3: port must be 1 to 65535")
    expect(box).to_have_value("ip;name;port\n127.0.0.2;db;70000")
    box.fill("ip;name;port\n127.0.0.2;db;7000")
    steps.button(page, "Add all")
    expect(page.locator("#done")).to_have_text("1 server saved")
    expect(page.locator("#results li")).to_have_count(0)


def test_a_name_that_stands_twice_is_not_called_watched(site: Site, page: Page) -> None:
    paste(page, site, "Zu\u0308rich,127.0.0.1\nZ\u00fcrich,127.0.0.2\n")
    expect(page.locator("#done")).to_have_text("1 server saved, 1 refused")
    expect(page.locator("#results .bad")).to_contain_text("appears twice")


def test_a_file_is_read_into_the_list_before_it_is_sent(site: Site, page: Page) -> None:
    page.goto(f"{site.url}/dashboard/add")
    box, chosen = page.get_by_label("One server per line"), page.get_by_label("Or a file")
    text = "\ufeffname,ip\nweb,127.0.0.1\nZürich,127.0.0.2\n"
    latin = {"name": "old.csv", "mimeType": "text/csv", "buffer": text[1:].encode("latin-1")}
    chosen.set_input_files(latin)
    expect(page.get_by_role("alert").last).to_contain_text("old.csv must be text in UTF-8")
    expect(box).to_have_value("")
    right = {"name": "new.csv", "mimeType": "text/csv", "buffer": text.encode()}
    chosen.set_input_files(right)
    expect(box).to_have_value(text[1:])
    expect(page.get_by_role("alert").last).to_be_hidden()
    steps.button(page, "Add all")
    expect(page.locator("#done")).to_have_text("2 servers saved")


def drop(page: Page, files: Sequence[Path], onto: Locator) -> None:
    """Drag files from outside the browser, and let them fall."""
    onto.scroll_into_view_if_needed()
    box = onto.bounding_box()
    assert box is not None
    dragged = {
        "items": [],
        "files": [str(file) for file in files],
        "dragOperationsMask": 1,
    }
    mouse = page.context.new_cdp_session(page)
    for kind in ("dragEnter", "dragOver", "drop"):
        at = {"x": box["x"] + box["width"] / 2, "y": box["y"] + box["height"] / 2}
        mouse.send("Input.dispatchDragEvent", {"type": kind, **at, "data": dragged})


@pytest.mark.parametrize("where", ["textarea", "[type=file]", "h1"])
def test_a_file_is_dropped_anywhere_on_the_page(
    site: Site, page: Page, tmp_path: Path, where: str
) -> None:
    file = tmp_path / "list.csv"
    file.write_text("name,ip\nweb,127.0.0.1\nZürich,127.0.0.2\n", encoding="utf-8")
    page.goto(f"{site.url}/dashboard/add")
    expect(page.locator("#zone-name")).not_to_be_empty()  # its scripts have run
    drop(page, [file], page.locator(where).first)
    box = page.get_by_label("One server per line")
    expect(box).to_have_value("name,ip\nweb,127.0.0.1\nZürich,127.0.0.2\n")
    expect(box).to_be_focused()
    steps.button(page, "Add all")
    expect(page.locator("#done")).to_have_text("2 servers saved")
    assert site.names() == ["web", "Zürich"]


def test_a_file_that_is_no_text_is_refused_where_it_falls(
    site: Site, page: Page, tmp_path: Path
) -> None:
    file = tmp_path / "list.xlsx"
    file.write_bytes(b"PK\x03\x04\xff")
    page.goto(f"{site.url}/dashboard/add")
    expect(page.locator("#zone-name")).not_to_be_empty()
    box = page.get_by_label("One server per line")
    box.fill("web, 127.0.0.1")
    drop(page, [file], box)
    expect(page.get_by_role("alert").last).to_contain_text("list.xlsx must be text in UTF-8")
    expect(box).to_have_value("web, 127.0.0.1")


# Files of the pages

LOADED = """() => performance.getEntriesByType("resource")
  .filter((one) => one.name.includes("/static/"))
  .map((one) => [one.name.split("/").at(-1), one.transferSize, one.encodedBodySize,
    one.decodedBodySize])"""


def test_files_come_packed_and_once(site: Site, page: Page) -> None:
    steps.fleet(page, site)
    first = {name: sizes for name, *sizes in page.evaluate(LOADED)}
    for name in ("style.css", "common.js", "fleet.js"):
        transferred, packed, whole = first[name]
        assert 0 < packed < whole / 2, name
        assert transferred > packed
    page.goto(f"{site.url}/dashboard/add")
    expect(page.locator("#one")).to_be_visible()
    again = {name: sizes for name, *sizes in page.evaluate(LOADED)}
    for name in ("style.css", "common.js"):
        assert again[name][0] == 0, f"{name} was asked for again"
