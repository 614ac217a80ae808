"""Browsers and programs ask at the same addresses: which is it, and where a browser is sent."""

import pytest
from flask import Flask, make_response
from werkzeug.test import EnvironBuilder

from handlers.http import browser

BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"


def wants_page(accept: str | None, method: str = "GET") -> bool:
    """Whether a request is taken for a browser's."""
    headers = {} if accept is None else {"Accept": accept}
    with Flask("nothing").test_request_context("/", method=method, headers=headers):
        return browser.wants_page()


def sent_to(path: str) -> str:
    """Return where a browser that asks for `path` is sent to log in."""
    with Flask("nothing").test_request_context(EnvironBuilder(path).get_environ()["REQUEST_URI"]):
        response = make_response(browser.to_login())
    assert (response.status_code, response.data) == (302, b"")
    return response.headers["Location"]


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_who_would_rather_have_html_is_a_browser(method: str) -> None:
    for accept in (BROWSER, "text/html", "text/*", "application/json;q=0.9, text/html"):
        assert wants_page(accept, method), accept


def test_who_takes_json_as_well_or_says_nothing_is_a_program() -> None:
    for accept in (None, "", "*/*", "application/json", "text/html;q=0.5, application/json", "é"):
        assert not wants_page(accept), accept


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_who_changes_something_gets_no_page(method: str) -> None:
    assert not wants_page(BROWSER, method)


def test_after_the_log_in_a_browser_is_where_it_wanted_to_be() -> None:
    assert sent_to("/dashboard") == "/login?next=%2Fdashboard"
    assert (
        sent_to("/dashboard?search=a&x=%2F") == "/login?next=%2Fdashboard%3Fsearch%3Da%26x%3D%252F"
    )


def test_no_page_leads_to_another_host() -> None:
    for path in ("//evil.example/", "/\\evil.example", "/?next=https://evil.example"):
        assert sent_to(path).startswith("/login?next=%2F"), path


def test_a_browser_is_sent_on_without_html() -> None:
    response = browser.look_at("/dashboard")
    assert (response.status_code, response.headers["Location"]) == (302, "/dashboard")
    assert response.data == b""
