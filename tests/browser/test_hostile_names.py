"""Names that would be code, markup or a trap elsewhere are only names, in every view."""

from datetime import timedelta

import pytest
from playwright.sync_api import Page, expect
from sqlalchemy import update

from core.models import Server
from tests.browser import steps
from tests.browser.conftest import Seen
from tests.browser.site import Site, slots

pytestmark = pytest.mark.xdist_group("browser")

NAMES = [
    "<img src=x onerror=alert(1)>",
    "<script>alert(1)</script>",
    '"><script src=//example.org/x.js></script>',
    "</title><script>alert(1)</script>",
    "</textarea><svg onload=alert(1)>",
    "<svg/onload=fetch('//example.org')>",
    "<iframe srcdoc='<script>parent.alert(1)</script>'>",
    "<a href=javascript:alert(1)>web</a>",
    "<base href=//example.org/>",
    "<meta http-equiv=refresh content='0;url=//example.org'>",
    "<link rel=stylesheet href=//example.org/x.css>",
    "<style>@import '//example.org/x.css'</style>",
    "<form action=//example.org><button>web</button></form>",
    "<dialog open>web</dialog>",
    "<b id=servers>",
    "' onmouseover='alert(1)",
    '" autofocus onfocus="alert(1)',
    "javascript:alert(1)",
    "&lt;script&gt;alert(1)&lt;/script&gt;",
    "&#x3c;img src=x onerror=alert(1)&#x3e;",
    "{{constructor.constructor('alert(1)')()}}",
    "${alert(1)}",
    "`${alert(1)}`",
    "__proto__",
    "constructor",
    "<!--",
    "]]>",
    "../../login?next=//example.org",
    "\u05d0\u05d1\u05d2 web",
    "'; DROP TABLE server; --",
    "%3Cscript%3Ealert(1)%3C/script%3E",
    "W" * 255,
    "\U0001f469\u200d\U0001f680 \u65e5\u672c",
]
"""What a server may be called; example.org stands for the attacker's."""
FROM_BEFORE = ["web\u202egpj.exe", "\u05d0\u05d1\u05d2 \u2067web", "cafe\u0301"]
"""What a server might be called before invisible characters were refused."""
EVERY = [*NAMES, *FROM_BEFORE]


def add_every(site: Site) -> list[int]:
    """Add a server of each name, those from before as they lie in the database; return the ids."""
    ids = site.add(*NAMES, *(f"was {number}" for number in range(len(FROM_BEFORE))))
    with site.database.transaction() as session:
        for server_id, name in zip(ids[len(NAMES) :], FROM_BEFORE, strict=True):
            session.execute(update(Server).where(Server.id == server_id).values(name=name))
    return ids


def test_every_row_of_the_list_shows_the_name_as_text(site: Site, page: Page, seen: Seen) -> None:
    ids = add_every(site)
    site.history(ids, slots(timedelta(0)))
    steps.fleet(page, site)
    expect(page.locator("#servers tbody bdi")).to_have_count(len(EVERY))
    shown = page.locator("#servers tbody bdi").evaluate_all(
        "(all) => all.map((one) => one.textContent)"
    )
    assert shown == EVERY
    assert page.locator("#servers tbody :is(img, script, svg, iframe, a a, b, form)").count() == 0
    page.get_by_label("Search").fill("<img src=x onerror=alert(1)>")
    expect(page.locator("#servers tbody tr")).to_have_count(1)
    assert seen.outside(site) == []


def test_the_page_of_a_server_shows_its_name_as_text(site: Site, page: Page, seen: Seen) -> None:
    ids = add_every(site)
    site.history(ids, slots(timedelta(0)))
    for server_id, name in zip(ids, EVERY, strict=True):
        page.goto(f"{site.url}/dashboard/servers/{server_id}")
        expect(page.locator("#name")).not_to_have_text("…")
        assert page.locator("#name").evaluate("(one) => one.textContent") == name
        assert page.evaluate("document.title").endswith(f"{name} · Pinglet")
        steps.button(page, "Edit")
        expect(page.get_by_role("dialog").get_by_label("Name")).to_have_value(name)
        steps.button(page, "Cancel")
        steps.button(page, "Remove")
        said = page.locator(".toast span").evaluate("(one) => one.textContent")
        assert said == f"{name} and its history will be removed"
        steps.button(page, "Undo")
        assert page.locator("main :is(img, script, svg, iframe, form[action])").count() == 0
    assert seen.outside(site) == []


def test_the_results_of_adding_many_show_the_lines_as_text(
    site: Site, page: Page, seen: Seen
) -> None:
    page.goto(f"{site.url}/dashboard/add")
    site.add(*NAMES[::2])
    quoted = ['"' + name.replace('"', '""') + '"' for name in NAMES]
    lines = [f"{name}, 127.1" for name in quoted]
    box = page.get_by_label("One server per line")
    box.fill("\n".join(lines))
    steps.button(page, "Add all")
    expect(page.locator("#results .bad bdi")).to_have_count(len(lines))
    assert results(page) == lines
    expect(box).to_have_value("\n".join(lines))
    right = [f"{name}, 127.0.0.{number}" for number, name in enumerate(quoted, 1)]
    box.fill("\n".join(right))
    steps.button(page, "Add all")
    expect(page.locator("#results .good bdi")).to_have_count(len(right[::2]))
    assert results(page) == right[::2]
    expect(page.locator("#toasts")).to_contain_text(f"{len(NAMES[1::2])} servers saved")
    assert seen.outside(site) == []


def results(page: Page) -> list[str]:
    """Return the lines that the results of adding many show."""
    shown: list[str] = page.locator("#results li bdi").evaluate_all(
        "(all) => all.map((one) => one.textContent)"
    )
    return shown


def test_users_and_tokens_of_such_names_are_text_too(
    guarded_site: Site, page: Page, seen: Seen
) -> None:
    names = [name for name in NAMES if len(name) <= 64 and ":" not in name]
    steps.log_in(page, guarded_site, at="/dashboard/account")
    for number, name in enumerate(names[:12], 2):
        page.locator("#new-token").get_by_label("Name").fill(name)
        page.locator("#new-token").get_by_label("Your password").fill(steps.PASSWORD)
        steps.button(page, "Create token")
        expect(page.locator("#tokens tr")).to_have_count(number)
    for number, name in enumerate(names[:3], 4):
        page.locator("#new-user").get_by_label("Name").fill(name)
        page.locator("#new-user").get_by_label("Password").fill("a long password")
        page.locator("#new-user").get_by_role("button", name="Add user").click()
        expect(page.locator("#users tr")).to_have_count(number)
    shown = page.locator("#tokens bdi").evaluate_all("(all) => all.map((one) => one.textContent)")
    assert set(names[:12]) <= set(shown)
    assert page.locator("table :is(img, script, svg, iframe)").count() == 0
    assert seen.outside(guarded_site) == []
