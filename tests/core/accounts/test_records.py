"""Who somebody is and what they may do, and what is told of it."""

import re
from collections.abc import Callable
from contextlib import suppress

import msgspec
import pytest

from core.accounts.records import (
    Identity,
    Label,
    Level,
    Me,
    Role,
    Scope,
    TokenIssued,
    TokenKind,
    TokenPair,
    UserName,
)
from core.accounts.users import label, user_name
from core.errors import WrongRequest
from tests.people import NOW

SECRET = "pinglet_" + "A" * 43


def test_each_level_includes_the_ones_before() -> None:
    assert list(Level) == sorted(Level)
    assert [role.level for role in Role] == [scope.level for scope in Scope] == list(Level)[1:]


def test_a_role_reaches_what_its_name_says() -> None:
    assert Role.VIEWER.level is Level.READ
    assert Role.EDITOR.level is Level.WRITE
    assert Role.ADMIN.level is Scope.ADMIN.level is Level.ADMIN


@pytest.mark.parametrize(("user_id", "is_open"), [(0, True), (7, False)])
def test_whoever_asks_is_told_the_name_and_the_level(user_id: int, is_open: bool) -> None:
    told = msgspec.json.encode(Me.of(Identity("ann", Level.WRITE, user_id)))
    assert msgspec.json.decode(told) == {"name": "ann", "may": "write", "open": is_open}


def test_a_token_shows_in_its_json_and_in_no_log() -> None:
    made = TokenIssued(id=7, token=SECRET, kind=TokenKind.KEY, scope=Scope.READ, expires=NOW)
    pair = TokenPair(access=SECRET, refresh=SECRET, expires_in_s=900)
    for record in (made, pair):
        assert SECRET in msgspec.json.encode(record).decode()
        assert SECRET not in repr(record) + str(record) + f"{record}"


TEXTS = ["a", " a ", "é", "a:b", "", " ", "\t", "a\n", "a\0", "\x7f", "a\x9f", "a" * 64, "a" * 65]


def is_described_as_right(kind: object, text: str) -> bool:
    """Whether openapi.json takes that text for such a name."""
    said = msgspec.json.schema(kind)
    fits = said["minLength"] <= len(text) <= said["maxLength"]
    return fits and re.search(said["pattern"], text) is not None


def is_taken(rule: Callable[[object], str], text: str) -> bool:
    """Whether core takes that text for such a name."""
    with suppress(WrongRequest):
        return rule(text) == text.strip()
    return False


@pytest.mark.parametrize(("kind", "rule"), [(Label, label), (UserName, user_name)])
def test_what_is_described_as_a_name_is_what_the_rule_takes(
    kind: object, rule: Callable[[object], str]
) -> None:
    for text in TEXTS:
        assert is_described_as_right(kind, text) == is_taken(rule, text), text
