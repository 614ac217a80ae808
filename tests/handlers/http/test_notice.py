"""Whoever looks by a browser is told by a page what is wrong, and what to do about it."""

import re
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import replace
from hashlib import sha256
from html import unescape

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from core.settings import Settings
from handlers.http.app import create_app
from tests import people
from tests.people import add, bearer, token

BROWSER = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}
ELSEWHERE = {"REMOTE_ADDR": "192.0.2.7"}


@pytest.fixture
def guarded(settings: Settings) -> Iterator[Flask]:
    """An application that asks for tokens, with no user yet."""
    with people.nobody_but(settings) as empty:
        app = create_app(empty)
        yield app
        app.extensions["pinglet"].database.engine.dispose()


def said(response: TestResponse, code: int) -> str:
    """Check that it is a page that stands for itself; return its words."""
    assert (response.status_code, response.mimetype) == (code, "text/html")
    text = response.text
    (style,) = re.findall(r"<style>(.*?)</style>", text, re.DOTALL)
    allowed = b64encode(sha256(style.encode()).digest()).decode()
    policy = response.headers["Content-Security-Policy"]
    assert policy.startswith(f"default-src 'none'; style-src 'sha256-{allowed}';")
    assert not re.search(r"\ssrc=|<link|<script|\son\w+=", text)
    assert (response.headers["Cache-Control"], "Accept" in response.vary) == ("no-store", True)
    return unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", text.replace(style, ""))))


@pytest.mark.parametrize("path", ["/nowhere", "/dashboard/nowhere", "/api/v1/nowhere", "/static/x"])
def test_an_address_that_leads_nowhere_is_a_page_that_leads_on(
    client: FlaskClient, path: str
) -> None:
    response = client.get(path, headers=BROWSER)
    assert "There is nothing at this address." in said(response, 404)
    assert '<a href="/dashboard">See all servers</a>' in response.text


def test_under_a_prefix_it_leads_on_there(client: FlaskClient) -> None:
    under = {"SCRIPT_NAME": "/monitor"}
    response = client.get("/nowhere", headers=BROWSER, environ_overrides=under)
    assert 'href="/monitor/dashboard"' in response.text


def test_a_program_gets_json_there(client: FlaskClient) -> None:
    for accept in ("*/*", "application/json"):
        response = client.get("/nowhere", headers={"Accept": accept})
        assert (response.status_code, response.get_json()) == (404, {"status": "NOT_FOUND"})


def test_what_is_asked_of_the_contract_and_of_graphql_is_answered_in_their_words(
    client: FlaskClient,
) -> None:
    assert client.get("/?server=web", headers=BROWSER).get_json()["status"] == "NAME_DID_NOT_FOUND"
    assert "errors" in client.get("/graphql?query=x", headers=BROWSER).get_json()


def test_who_may_not_is_told_by_a_page(guarded: Flask) -> None:
    database = guarded.extensions["pinglet"].database
    add(database)
    viewer = bearer(token(database, add(database, "viv", people.Role.VIEWER)))
    response = guarded.test_client().get("/dashboard/graphql", headers=BROWSER | viewer)
    assert "This needs write access, which viv doesn't have." in said(response, 403)


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("pinglet.example.org", "pinglet.example.org"),
        ("pinglet.lan:8080", "pinglet.lan"),
        ("Pinglet.Example.org", "pinglet.example.org"),
    ],
)
@pytest.mark.parametrize("path", ["/", "/dashboard", "/login", "/api/v1/docs"])
def test_who_comes_by_an_unknown_name_is_told_what_to_set(
    client: FlaskClient, host: str, name: str, path: str
) -> None:
    response = client.get(path, headers=BROWSER | {"Host": host})
    words = said(response, 403)
    assert f"PINGLET_HOSTS={name} " in words
    assert f"--param hosts={name} " in words
    assert "dashboard" not in response.text  # nothing there would be shown either


def test_by_what_it_says_the_name_is_known(settings: Settings, client: FlaskClient) -> None:
    asked = BROWSER | {"Host": "pinglet.lan:8080"}
    words = said(client.get("/dashboard", headers=asked), 403)
    (told,) = re.findall(r"PINGLET_HOSTS=(\S+)", words)
    app = create_app(replace(settings, hosts=(told,)))
    assert app.test_client().get("/dashboard", headers=asked).status_code == 302  # to the form
    app.extensions["pinglet"].database.engine.dispose()


@pytest.mark.parametrize("host", ["<img src=x>", "a b", "é", '"', "x.example\u202e"])
def test_a_host_that_is_no_name_does_no_harm(client: FlaskClient, host: str) -> None:
    overrides = {"HTTP_HOST": host.encode().decode("latin-1")}
    response = client.get("/dashboard", headers=BROWSER, environ_overrides=overrides)
    assert response.status_code in (400, 403)
    assert "<img" not in response.text


def test_a_program_that_comes_by_an_unknown_name_gets_json(client: FlaskClient) -> None:
    response = client.get("/", headers={"Host": "pinglet.example.org"})
    assert (response.status_code, response.get_json()) == (403, {"status": "FORBIDDEN"})


def test_before_there_is_a_user_the_form_says_how_to_make_one(guarded: Flask) -> None:
    client = guarded.test_client()
    to_form = client.get("/dashboard", headers=BROWSER)
    assert to_form.status_code == 302
    response = client.get(to_form.headers["Location"], headers=BROWSER)
    words = said(response, 200)
    assert "There are no users yet" in words
    assert "flask users add NAME" in words
    assert "whoever sits at that machine" not in words
    add(guarded.extensions["pinglet"].database)
    assert 'id="login"' in client.get(to_form.headers["Location"], headers=BROWSER).text


def test_who_comes_from_elsewhere_while_access_is_open_is_told_so(client: FlaskClient) -> None:
    elsewhere = {"headers": BROWSER, "environ_overrides": ELSEWHERE}
    response = client.get("/login", **elsewhere)
    assert "only whoever sits at that machine can use it" in said(response, 200)
    assert 'id="login"' in client.get("/login", headers=BROWSER).text


def test_a_database_that_is_away_is_a_page_too(settings: Settings) -> None:
    away = replace(settings, database_url="postgres://nobody@127.0.0.1:1/nothing")
    client = create_app(away).test_client()
    words = said(client.get("/dashboard", headers=BROWSER), 503)
    assert "Pinglet can't answer now" in words
    assert "Try again later." in words
    assert "127.0.0.1" not in words
