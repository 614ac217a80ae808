"""Replies leave compressed where the caller takes them so and it is worth it."""

import gzip
from collections.abc import Iterable

import pytest
from flask import Flask, Response
from flask.testing import FlaskClient

from handlers.http import compression

WORTH_IT = 2_000  # bytes
LONG = "the same again and again, " * 200
TAKES_IT = {"Accept-Encoding": "gzip, deflate, br"}


def replying(*given: object, **more: object) -> FlaskClient:
    """Return a client of an application that answers with a Response made of these."""
    app = Flask("nothing")
    app.add_url_rule("/", view_func=lambda: Response(*given, **more))
    compression.register(app)
    return app.test_client()


def is_packed(response: Response) -> bool:
    """Whether a reply came compressed."""
    return response.headers.get("Content-Encoding") == "gzip"


@pytest.mark.parametrize(
    "kind",
    [
        "application/json",
        "application/problem+json",
        "application/graphql-response+json",
        "application/openmetrics-text",
        "text/html; charset=utf-8",
        "text/csv",
    ],
)
def test_long_texts_are_packed_for_those_who_take_them_so(kind: str) -> None:
    client = replying(LONG, content_type=kind)
    plain, packed = client.get("/"), client.get("/", headers=TAKES_IT)
    assert (is_packed(plain), is_packed(packed)) == (False, True)
    assert gzip.decompress(packed.data) == plain.data == LONG.encode()
    for response in (plain, packed):
        assert "Accept-Encoding" in response.vary
        assert response.content_length == len(response.data)


@pytest.mark.parametrize("accepted", ["", "identity", "gzip;q=0", "br", "gzip;q=0, *", "nonsense;"])
def test_who_does_not_take_gzip_gets_none(accepted: str) -> None:
    response = replying(LONG, mimetype="text/plain").get("/", headers={"Accept-Encoding": accepted})
    assert not is_packed(response)
    assert response.text == LONG


@pytest.mark.parametrize(("length", "worth_it"), [(WORTH_IT, False), (WORTH_IT + 1, True)])
def test_short_ones_leave_as_they_are(length: int, worth_it: bool) -> None:
    response = replying("a" * length, mimetype="text/plain").get("/", headers=TAKES_IT)
    assert is_packed(response) == worth_it
    assert ("Accept-Encoding" in response.vary) == worth_it


@pytest.mark.parametrize("kind", ["image/png", "application/octet-stream", "font/woff2"])
def test_what_is_no_text_leaves_as_it_is(kind: str) -> None:
    assert not is_packed(replying(LONG, mimetype=kind).get("/", headers=TAKES_IT))


def test_what_is_packed_already_is_not_packed_again() -> None:
    packed = gzip.compress(LONG.encode() * 99)
    client = replying(packed, mimetype="text/plain", headers={"Content-Encoding": "gzip"})
    assert client.get("/", headers=TAKES_IT).data == packed


def test_what_is_still_being_made_is_not_waited_for() -> None:
    def lines() -> Iterable[str]:
        for _ in range(200):
            yield LONG

    response = replying(lines(), mimetype="text/plain").get("/", headers=TAKES_IT)
    assert not is_packed(response)
    assert response.text == LONG * 200
