"""Whatever arrives, the answer is one of the contract's, in JSON, and no fault of ours."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from hypothesis import given
from hypothesis import strategies as st
from werkzeug.test import TestResponse

from core.settings import Settings
from handlers.http.app import create_app
from tests.counts import BODIES, examples
from tests.handlers.calls import server
from tests.handlers.conftest import standing_settings

many = examples(60, BODIES)

METHODS = ["GET", "POST", "PUT", "DELETE"]
STATUSES = {
    "GET": {(400, "WRONG_REQUEST"), (404, "NAME_DID_NOT_FOUND")},
    "POST": {(201, "CREATED"), (400, "WRONG_REQUEST"), (409, "NAME_ALREADY_EXIST")},
    "PUT": {(200, "UPDATED"), (400, "WRONG_REQUEST"), (404, "NAME_DID_NOT_FOUND")},
    "DELETE": {(200, "DELETED"), (400, "WRONG_REQUEST"), (404, "NAME_DID_NOT_FOUND")},
}

# Surrogates included, as "\ud800" in JSON; and the words of the contract now and then.
TEXTS = st.text(st.characters(), max_size=20) | st.sampled_from(
    ["server", "name", "IP", "probe", "port", "web", "127.0.0.1", "auto", "tcp", ""]
)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | TEXTS
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)
NEARLY_SERVERS = st.fixed_dictionaries(
    {"name": VALUES, "IP": VALUES | st.just("127.0.0.1")},
    optional={"probe": VALUES, "port": VALUES, "x": VALUES},
)
BODIES = VALUES | st.fixed_dictionaries({"server": VALUES | NEARLY_SERVERS | TEXTS})
OCTETS = st.binary(max_size=300) | st.text(max_size=100).map(lambda text: text.encode("utf-16"))
LATIN_1 = st.text(st.characters(max_codepoint=255, exclude_characters="\r\n\0"), max_size=60)

# What isn't JSON, and is asked for since hypothesis reads our source.
PAGES = ("/dashboard", "/login", "/graphql", "/static/", "/api/v1/docs", "/api/v1/metrics")
HEADERS = [
    "HTTP_HOST",
    "HTTP_ORIGIN",
    "HTTP_SEC_FETCH_SITE",
    "HTTP_ACCEPT",
    "HTTP_COOKIE",
    "HTTP_AUTHORIZATION",
    "HTTP_TRANSFER_ENCODING",
    "HTTP_RANGE",
    "HTTP_EXPECT",
    "HTTP_IF_MATCH",
    "HTTP_X_FORWARDED_HOST",
    "CONTENT_TYPE",
    "CONTENT_LENGTH",
]


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def settings(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return standing_settings(request, tmp_path_factory)


@pytest.fixture(scope="module")
def app(settings: Settings) -> Iterator[Flask]:
    made = create_app(settings)
    made.test_client().post("/", data=server("web"))
    yield made
    made.extensions["pinglet"].database.engine.dispose()


def assert_in_contract(method: str, response: TestResponse) -> None:
    assert response.content_type == "application/json"
    body: dict[str, Any] = json.loads(response.data)
    if method == "GET" and response.status_code == 200:
        assert list(body) in (["servers"], ["server", "pings"])
        return
    assert list(body) == ["status"]
    assert (response.status_code, body["status"]) in STATUSES[method]


@many
@given(body=BODIES, escaped=st.booleans(), method=st.sampled_from(METHODS))
def test_any_json_is_answered_by_the_contract(
    client: FlaskClient, body: Any, escaped: bool, method: str
) -> None:
    data = json.dumps(body, ensure_ascii=escaped).encode("utf-8", "surrogatepass")
    assert_in_contract(method, client.open("/", method=method, data=data))


@many
@given(body=OCTETS, content_type=LATIN_1, method=st.sampled_from(METHODS))
def test_any_octets_are_answered_by_the_contract(
    client: FlaskClient, body: bytes, content_type: str, method: str
) -> None:
    headers = {"Content-Type": content_type}
    response = client.open("/", method=method, data=body, headers=headers)
    assert_in_contract(method, response)


@many
@given(
    query=LATIN_1
    | st.dictionaries(
        st.sampled_from(["server", "since", "until", "limit"]),
        LATIN_1 | st.datetimes().map(str) | st.integers().map(str),
    ).map(lambda words: "&".join(f"{key}={value}" for key, value in words.items())),
    method=st.sampled_from(METHODS),
)
def test_any_query_is_answered_by_the_contract(
    client: FlaskClient, query: str, method: str
) -> None:
    response = client.open("/", method=method, environ_overrides={"QUERY_STRING": query})
    assert_in_contract(method, response)


@many
@given(
    path=LATIN_1.map(lambda path: f"/{path}"),
    method=st.sampled_from([*METHODS, "PATCH", "OPTIONS", "HEAD"]) | LATIN_1,
    headers=st.dictionaries(st.sampled_from(HEADERS), LATIN_1),
)
def test_any_path_method_and_headers_are_answered_in_json(
    client: FlaskClient, path: str, method: str, headers: dict[str, str]
) -> None:
    overrides = {"PATH_INFO": path, "REQUEST_METHOD": method} | headers
    response = client.open("/", environ_overrides=overrides)
    assert response.status_code < 500
    is_page = response.status_code == 200 and response.content_type.startswith("text/")
    if is_page and path.startswith(PAGES):
        return
    if response.mimetype == "text/html":  # a browser is told by a page what is wrong
        assert "text" in headers["HTTP_ACCEPT"].lower()
        return
    assert response.content_type in ("application/json", "application/problem+json")
    if method != "HEAD":
        assert isinstance(json.loads(response.data), dict)
