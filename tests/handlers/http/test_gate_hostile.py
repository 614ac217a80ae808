"""Credentials at random: nobody comes in with what is nearly a token, or with a token elsewhere."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from urllib.parse import quote

import pytest
from flask.testing import FlaskClient
from hypothesis import given
from hypothesis import strategies as st

from core.accounts.records import TokenKind
from core.accounts.tokens import digest
from core.settings import Settings
from handlers.http import browser
from handlers.http.app import create_app
from infra.database import Database
from tests import people
from tests.counts import CREDENTIALS, examples

Edit = Callable[[str], str]
WAYS = {
    "a bearer's": "Bearer {}",
    "a bearer's, in capitals": "BEARER {}",
    "with nothing before it": "{}",
    "another scheme": "Token {}",
    "two of them": "Bearer {0}, Bearer {0}",
    "two schemes": "Basic Bearer {}",
    "a parameter": 'Bearer token="{}"',
}
"""The first two are how a token is shown; nobody comes in by the others."""
RIGHT_WAYS = list(WAYS)[:2]
COOKIES = ["pinglet_session", "pinglet_session_", "Pinglet_Session", "session"]
letters = st.characters(min_codepoint=33, max_codepoint=126, exclude_characters='";,\\')


def cut(start: int, length: int) -> Edit:
    return lambda text: text[:start] + text[start + length :]


def put(start: int, more: str) -> Edit:
    return lambda text: text[:start] + more + text[start:]


def exchange(start: int, letter: str) -> Edit:
    return lambda text: text[:start] + letter + text[start + 1 :]


places = st.integers(0, 60)
edits = st.one_of(
    st.builds(cut, places, st.integers(1, 60)),
    st.builds(put, places, st.text(letters, min_size=1, max_size=9)),
    st.builds(exchange, places, letters),
    st.sampled_from([str.swapcase, str.lower, str.upper, digest, quote, lambda text: text * 2]),
    st.sampled_from([lambda text: text[::-1], lambda text: text + "=", lambda _: "' OR 1=1 --"]),
)


@dataclass
class Door:
    """An instance, and a token of each kind that somebody has there."""

    client: FlaskClient
    tokens: dict[TokenKind, str]
    cookie_name: str

    def lets_in(self, **headers: str) -> bool:
        """Whether somebody comes in who shows this."""
        over = {f"HTTP_{name.upper()}": value for name, value in headers.items()}
        response = self.client.get("/api/v1/me", environ_overrides=over)
        assert response.status_code in (200, 401), response.text
        return response.status_code == 200


@pytest.fixture
def door(settings: Settings) -> Iterator[Door]:
    """An instance that asks for tokens."""
    with people.nobody_but(replace(settings, authentication=True)) as guarded:
        app = create_app(guarded)
        database: Database = app.extensions["pinglet"].database
        ann = people.add(database)
        made = {kind: people.token(database, ann, kind) for kind in TokenKind}
        client = app.test_client(use_cookies=False)
        yield Door(client, made, browser.session_cookie(guarded))
        database.engine.dispose()


@examples(80, CREDENTIALS)
@given(
    kind=st.sampled_from(TokenKind),
    way=st.sampled_from(list(WAYS)),
    cookie=st.none() | st.sampled_from(COOKIES),
    all_edits=st.lists(edits, max_size=3),
)
def test_only_a_whole_token_in_its_own_place_opens_the_door(
    door: Door, kind: TokenKind, way: str, cookie: str | None, all_edits: list[Edit]
) -> None:
    shown = door.tokens[kind]
    for edit in all_edits:
        shown = edit(shown)
    is_whole = shown == door.tokens[kind]
    if cookie is None:
        came_in = door.lets_in(authorization=WAYS[way].format(shown))
        is_right = way in RIGHT_WAYS and kind in (TokenKind.ACCESS, TokenKind.KEY)
    else:
        name = door.cookie_name if cookie == "pinglet_session_" else cookie
        came_in = door.lets_in(cookie=f"{name}={shown}")
        is_right = name in (door.cookie_name, "pinglet_session") and kind is TokenKind.SESSION
    assert came_in == (is_whole and is_right)
