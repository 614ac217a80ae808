"""Who may come in, and what they find there."""

from urllib.parse import quote, urlsplit

import pytest
from playwright.sync_api import Page, expect

from core.accounts import users as accounts_users
from tests.browser import steps
from tests.browser.site import Site
from tests.people import PASSWORD

pytestmark = pytest.mark.xdist_group("browser")


def users(site: Site) -> dict[str, str]:
    with site.database.reading() as session:
        return {user.name: user.role for user in accounts_users.everyone(session)}


def test_a_wrong_password_is_said_to_be_wrong(guarded_site: Site, page: Page) -> None:
    page.goto(f"{guarded_site.url}/login")
    page.get_by_label("Name").fill("ann")
    page.get_by_label("Password").fill("not it")
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("alert")).to_contain_text("password")
    expect(page).to_have_url(f"{guarded_site.url}/login")


def test_who_logs_in_comes_to_the_page_they_asked_for(guarded_site: Site, page: Page) -> None:
    steps.log_in(page, guarded_site, at="/dashboard/account")
    expect(page.locator("h1")).to_have_text("Account")


def test_whoever_logs_in_finds_the_filter_that_was_in_the_address(
    guarded_site: Site, page: Page
) -> None:
    guarded_site.add("alpha", "beta")
    steps.log_in(page, guarded_site, at="/dashboard?search=alp")
    expect(page.locator("#servers tbody tr")).to_have_count(1)
    expect(page.get_by_label("Search")).to_have_value("alp")


@pytest.mark.parametrize(
    "elsewhere",
    [
        "https://example.org/",
        "//example.org/dashboard",
        "/\\example.org",
        "/dashboard/..//example.org",
        "javascript:alert(1)",
        "/dashboard@example.org",
        "\t//example.org",
    ],
)
def test_next_never_leads_elsewhere(guarded_site: Site, page: Page, elsewhere: str) -> None:
    page.goto(f"{guarded_site.url}/login?next={quote(elsewhere, safe='')}")
    page.get_by_label("Name").fill("ann")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    page.wait_for_url(f"{guarded_site.url}/dashboard")


def test_after_logging_out_the_back_button_shows_nothing(guarded_site: Site, page: Page) -> None:
    guarded_site.add("secret server")
    steps.log_in(page, guarded_site)
    expect(page.get_by_role("link", name="secret server")).to_be_visible()
    page.get_by_role("link", name="Account").click()
    expect(page.locator("#tokens tr")).to_have_count(1)
    steps.button(page, "Log out")
    page.wait_for_url("**/login")
    page.go_back()
    expect(page.get_by_label("Password")).to_be_visible()
    expect(page.get_by_text("secret server")).to_have_count(0)


def test_a_session_that_ended_elsewhere_leads_to_the_form(guarded_site: Site, page: Page) -> None:
    steps.log_in(page, guarded_site)
    page.context.clear_cookies()
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    back = quote(urlsplit(f"{guarded_site.url}/dashboard").path, safe="")
    page.wait_for_url(f"{guarded_site.url}/login?next={back}")


def test_a_token_is_made_shown_once_and_revoked(guarded_site: Site, page: Page) -> None:
    steps.log_in(page, guarded_site, at="/dashboard/account")
    form = page.locator("#new-token")
    form.get_by_label("Name").fill("backup script")
    form.get_by_label("Scope").select_option("write")
    form.get_by_label("Your password").fill("not it")
    steps.button(page, "Create token")
    expect(page.locator("#mine .error").first).to_have_text("the password is wrong")
    expect(page.locator("#token")).to_be_empty()
    form.get_by_label("Your password").fill(PASSWORD)
    steps.button(page, "Create token")
    expect(page.locator("#token")).to_contain_text("pinglet_")
    token = page.locator("#token").inner_text()
    row = page.locator("#tokens tr", has_text="backup script")
    expect(row).to_contain_text("write")
    page.reload()
    expect(row).to_be_visible()
    expect(page.get_by_text(token)).to_have_count(0)
    steps.button(page, "Revoke backup script")
    expect(page.get_by_role("alertdialog")).to_contain_text("Whatever uses it is refused")
    steps.button(page, "Revoke")
    expect(row).to_have_count(0)


def test_a_user_is_added_changed_locked_out_and_removed(guarded_site: Site, page: Page) -> None:
    page.clock.install()
    steps.log_in(page, guarded_site, at="/dashboard/account")
    form = page.locator("#new-user")
    form.get_by_label("Name").fill("uma")
    form.get_by_label("Password").fill("a long password")
    form.get_by_role("button", name="Add user").click()
    row = page.locator("#users tr", has_text="uma")
    expect(row).to_contain_text("active")
    row.get_by_label("Role of uma").select_option("editor")
    guarded_site.wait_for("PATCH", 200)
    assert users(guarded_site)["uma"] == "editor"
    steps.button(page, "Lock out uma")
    expect(row).to_contain_text("locked out")
    steps.button(page, "Remove uma")
    expect(page.locator(".toast")).to_contain_text("uma and all their tokens will be removed")
    page.clock.fast_forward(9_000)
    expect(row).to_have_count(0)
    assert "uma" not in users(guarded_site)


def test_the_last_admin_stays_and_the_page_says_why(guarded_site: Site, page: Page) -> None:
    steps.log_in(page, guarded_site, at="/dashboard/account")
    page.get_by_label("Role of ann").select_option("viewer")
    expect(page.locator(".toast")).to_contain_text("last admin")
    expect(page.get_by_label("Role of ann")).to_have_value("admin")


def test_a_password_is_changed_and_the_old_one_ends(guarded_site: Site, page: Page) -> None:
    steps.log_in(page, guarded_site, "eve", at="/dashboard/account")
    page.get_by_label("Current password").fill(PASSWORD)
    page.get_by_label("New password").fill("another long password")
    steps.button(page, "Change password")
    page.wait_for_url("**/login")
    page.get_by_label("Name").fill("eve")
    page.get_by_label("Password").fill("another long password")
    page.get_by_role("button", name="Log in").click()
    page.wait_for_url("**/dashboard")


def test_a_viewer_sees_no_button_that_would_be_refused(guarded_site: Site, page: Page) -> None:
    (server_id,) = guarded_site.add("web")
    steps.log_in(page, guarded_site, "viv")
    expect(page.get_by_role("link", name="web")).to_be_visible()
    expect(page.get_by_role("link", name="Add")).to_have_count(0)
    steps.server(page, guarded_site, server_id)
    for name in ("Ping now", "Edit", "Pause", "Remove"):
        expect(page.get_by_role("button", name=name, exact=True)).to_have_count(0)
    page.goto(f"{guarded_site.url}/dashboard/add")
    expect(page.locator("#refused")).to_be_visible()
    expect(page.get_by_role("button", name="Add")).to_have_count(0)
    page.goto(f"{guarded_site.url}/dashboard/account")
    expect(page.locator("#tokens tr")).to_have_count(1)
    expect(page.get_by_role("heading", name="Users")).to_have_count(0)
    expect(page.get_by_label("Scope").locator("option")).to_have_text(["read"])


def test_an_editor_may_add_and_change_but_sees_no_users(guarded_site: Site, page: Page) -> None:
    (server_id,) = guarded_site.add("web")
    steps.log_in(page, guarded_site, "eve")
    expect(page.get_by_role("link", name="Add", exact=True)).to_be_visible()
    steps.server(page, guarded_site, server_id)
    expect(page.get_by_role("button", name="Remove")).to_be_visible()
    page.goto(f"{guarded_site.url}/dashboard/account")
    expect(page.get_by_label("Scope").locator("option")).to_have_text(["read", "write"])
    expect(page.get_by_role("heading", name="Users")).to_have_count(0)
