"""The page to explore GraphQL with: it asks as the session it is in, and its guests stay inert."""

import pytest
from playwright.sync_api import Page, expect

from tests.browser import steps
from tests.browser.conftest import Seen
from tests.browser.site import Site
from tests.browser.test_access import violations

pytestmark = pytest.mark.xdist_group("browser")
HOSTILE = "<img src=x onerror=alert(1)>"
# Of the same name as the example: the page looks at what was typed only now and then.
RENAME = 'mutation Fleet { changeServer(id: "1", change: { name: "db" }) { status } }'


@pytest.fixture
def explored(guarded_site: Site, page: Page) -> Page:
    """The page as an editor opens it, with a server of a hostile name."""
    guarded_site.add(HOSTILE)
    steps.log_in(page, guarded_site, "eve")
    page.get_by_role("link", name="GraphQL").click()
    expect(page.get_by_role("button", name="Execute")).to_be_visible()
    return page


def ask(page: Page, query: str = "") -> None:
    """Write a query, or take the one that is there, and run it."""
    if query:
        page.locator(".graphiql-query-editor .CodeMirror").click()
        page.keyboard.press("Control+A")
        page.keyboard.insert_text(query)
    with page.expect_response(lambda response: response.url.endswith("/graphql")):
        page.get_by_role("button", name="Execute").click()


def test_the_example_runs_and_shows_names_as_text(
    explored: Page, guarded_site: Site, seen: Seen
) -> None:
    ask(explored)
    expect(explored.locator(".result-window")).to_contain_text(HOSTILE)
    expect(explored.locator(".result-window")).to_contain_text('"unobserved": 1')
    assert seen.outside(guarded_site) == []


def test_the_schema_is_read_and_its_documents_open(explored: Page) -> None:
    explored.get_by_role("button", name="Show Documentation Explorer").click()
    expect(explored.locator(".graphiql-plugin")).to_contain_text("Mutation")


def test_a_change_is_made_by_the_session(explored: Page, guarded_site: Site) -> None:
    ask(explored, RENAME)
    expect(explored.locator(".result-window")).to_contain_text("UPDATED")
    steps.fleet(explored, guarded_site)
    expect(explored.locator("#servers tbody")).to_contain_text("db")


def test_its_dialogs_break_no_policy_and_the_theme_reaches_it(explored: Page) -> None:
    explored.get_by_role("button", name="Open settings dialog").click()
    expect(explored.get_by_role("dialog")).to_contain_text("Persist headers")
    explored.keyboard.press("Escape")
    expect(explored.get_by_role("dialog")).to_have_count(0)
    for _ in range(2):
        explored.get_by_role("button", name="Light or dark").click()
        theme = explored.locator("html").get_attribute("data-theme")
        expect(explored.locator("body")).to_have_class(f"graphiql-{theme}")


def test_on_a_phone_the_answer_stands_below_the_question(explored: Page) -> None:
    explored.set_viewport_size({"width": 320, "height": 800})
    ask(explored)
    expect(explored.locator(".result-window")).to_contain_text("nodes")
    question, answer = (
        explored.locator(part).bounding_box() for part in (".graphiql-editors", ".result-window")
    )
    assert question is not None
    assert answer is not None
    assert answer["y"] >= question["y"] + question["height"]
    assert min(question["width"], answer["width"]) > 220


def test_what_is_ours_of_the_page_is_for_everybody(explored: Page) -> None:
    assert violations(explored, without="#graphiql") == []
    assert not explored.evaluate("document.documentElement.scrollWidth > innerWidth")


def test_a_viewer_finds_no_way_there(guarded_site: Site, page: Page) -> None:
    steps.log_in(page, guarded_site, "viv")
    expect(page.get_by_role("link", name="Account")).to_be_visible()
    expect(page.get_by_role("link", name="GraphQL")).to_be_hidden()
    response = page.goto(f"{guarded_site.url}/dashboard/graphql")
    assert response is not None
    assert response.status == 403
