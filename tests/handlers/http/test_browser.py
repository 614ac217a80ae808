"""Browsers and programs ask at the same addresses: which is it, and where a browser is sent."""

from hashlib import sha256

import pytest
from flask import Flask, make_response
from werkzeug.test import EnvironBuilder

from core.settings import Settings
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


MOZILLA = "Mozilla/5.0"
WEBKIT = f"{MOZILLA} (%s) AppleWebKit/537.36 (KHTML, like Gecko) %s"
MAC = "Macintosh; Intel Mac OS X 10_15_7"


@pytest.mark.parametrize(
    ("agent", "called"),
    [
        (
            f"{MOZILLA} (X11; Linux x86_64; rv:130.0) Gecko/20100101 Firefox/130.0",
            "Firefox on Linux",
        ),
        (
            WEBKIT % ("Windows NT 10.0; Win64; x64", "Chrome/129.0 Safari/537.36"),
            "Chrome on Windows",
        ),
        (WEBKIT % ("Windows NT 10.0", "Chrome/129.0 Safari/537.36 Edg/129.0"), "Edge on Windows"),
        (WEBKIT % (MAC, "Version/17.0 Safari/605.1.15"), "Safari on macOS"),
        (
            WEBKIT % ("iPhone; CPU iPhone OS 17_0 like Mac OS X", "Version/17.0 Safari/604.1"),
            "Safari on iPhone",
        ),
        (
            WEBKIT % ("Linux; Android 10; K", "Chrome/129.0 Mobile Safari/537.36"),
            "Chrome on Android",
        ),
        (WEBKIT % (MAC, "Chrome/129.0 Safari/537.36 OPR/115.0"), "Opera on macOS"),
        ("curl/8.5.0", "curl"),
        ("python-requests/2.32", "python-requests"),
        (f"{MOZILLA} (compatible)", ""),
        ("", ""),
        ("<img src=x>", ""),
        ("a" * 5_000, ""),
    ],
)
def test_a_browser_is_called_what_people_call_it(agent: str, called: str) -> None:
    with Flask("nothing").test_request_context("/", headers={"User-Agent": agent}):
        assert browser.device() == called


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


def cookie_of(database_url: str) -> str:
    """Return the name of the cookie of an instance with this database."""
    return browser.session_cookie(Settings(database_url=database_url))


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("postgres://h/db", "h/db"),
        ("postgres://u:p@h:5433/db?sslmode=require", "h:5433/db"),
        ("postgres://u:p@[::1]:5433/db", "[::1]:5433/db"),
        ("postgres:///db?host=/run/postgresql", "/db /run/postgresql"),
        ("sqlite:////srv/pinglet.db", "/srv/pinglet.db"),
    ],
)
def test_a_cookie_is_called_as_in_earlier_releases(url: str, place: str) -> None:
    digest = sha256(f"{place} ".encode()).hexdigest()[:8]
    assert cookie_of(url) == f"pinglet_session_{digest}"


@pytest.mark.parametrize("password", ["sec?ret", "?", "a/b", "a#b", "a:b?c=d"])
def test_nothing_of_a_password_is_in_the_name_of_a_cookie(password: str) -> None:
    assert cookie_of(f"postgres://u:{password}@h/db") == cookie_of("postgres://h/db")


def test_a_password_after_the_mark_is_not_in_it_either() -> None:
    assert cookie_of("postgres://h/db?password=word") == cookie_of("postgres://h/db")


def test_instances_in_two_schemas_or_databases_have_two_cookies() -> None:
    words = ("", "search_path=a", "schema=b", "options=-csearch_path%3Dc", "dbname=d", "port=5433")
    assert len({cookie_of(f"postgres://h/db?{word}") for word in words}) == len(words)


def test_of_several_hosts_the_first_names_the_cookie() -> None:
    assert cookie_of("postgres://h:5433,i:5434/db") == cookie_of("postgres://h:5433/db")
