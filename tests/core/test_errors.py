"""What Pinglet refuses: one tree, whose words are the contract's."""

import re

import pytest

from core import errors
from core.errors import (
    CoreError,
    IdUnknown,
    NameTaken,
    NameUnknown,
    TokenUnknown,
    TooManyAttempts,
    UserTaken,
    UserUnknown,
    WrongRequest,
)

DRAWN = re.compile(r"^(?P<branch>(?:│   )*[├└]── )(?P<name>[A-Z]\w+)", re.M)


def drawn() -> dict[str, str]:
    """Return each error of the picture in the module's docstring with the one it hangs on."""
    above = ["CoreError"]
    found = {"CoreError": "Exception"}
    for line in DRAWN.finditer(errors.__doc__ or ""):
        depth = len(line["branch"]) // 4
        above[depth:] = [line["name"]]
        found[line["name"]] = above[depth - 1]
    return found


def test_the_tree_that_is_drawn_is_the_tree_of_the_classes() -> None:
    every = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    classes = [kind for kind in every if kind.__module__ == errors.__name__]
    assert drawn() == {kind.__name__: kind.__bases__[0].__name__ for kind in classes}


@pytest.mark.parametrize("kind", [CoreError, *CoreError.__subclasses__()])
def test_a_status_is_one_word_in_capitals(kind: type[CoreError]) -> None:
    assert re.fullmatch(r"[A-Z]+(_[A-Z]+)*", kind.status)


def test_an_unknown_id_is_told_as_an_id_under_the_status_of_an_unknown_name() -> None:
    refusal = IdUnknown(7)
    assert (str(refusal), refusal.status) == ("no server has the id 7", "NAME_DID_NOT_FOUND")


def test_what_was_asked_for_in_place_of_a_tokens_id_is_not_repeated() -> None:
    assert str(TokenUnknown()) == "you have no token of that id"


def test_a_log_is_told_of_what_shape_a_refused_value_is_and_not_what_it_says() -> None:
    for value, shape in [
        ("hunter2", "text of 7 characters"),
        ("x", "text of 1 character"),
        (12_345_678, "a number"),
        (0.5, "a number"),
        (None, "null"),
        (True, "true"),
        (["hunter2"], "a list of 1"),
        ({"hunter2": 1}, "an object"),
    ]:
        refused = WrongRequest("role must be viewer", "role", got=value)
        assert refused.logged == f"role must be viewer, got {shape}"
        secret = WrongRequest("role must be viewer", "role", got=value, secret=True)
        assert str(secret) == secret.logged == refused.logged
    unknown = WrongRequest("unknown key {} beside servers", got="hunter2").called("days")
    assert str(unknown) == "unknown key 'hunter2' beside servers"
    assert unknown.logged == "unknown key text of 7 characters beside servers"


def test_a_log_is_told_of_no_name_that_somebody_asked_for() -> None:
    for kind in (NameUnknown, NameTaken, UserUnknown, UserTaken):
        assert "hunter2" in str(kind("hunter2"))
        assert "hunter2" not in kind("hunter2").logged
    assert IdUnknown(7).logged == "no server has the id 7"


def test_a_refusal_carries_what_its_reply_needs() -> None:
    assert WrongRequest("port must be 1 to 65535", "port").field == "port"
    too_many = TooManyAttempts(60)
    assert too_many.retry_after_s == 60
    assert str(too_many) == "too many attempts: try again in 1 minute"
