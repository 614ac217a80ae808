"""What Pinglet refuses: one tree, whose words are the contract's."""

import re

import pytest

from core import errors
from core.errors import CoreError, IdUnknown, TokenUnknown, TooManyAttempts, WrongRequest

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
    classes = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    assert drawn() == {kind.__name__: kind.__bases__[0].__name__ for kind in classes}


@pytest.mark.parametrize("kind", [CoreError, *CoreError.__subclasses__()])
def test_a_status_is_one_word_in_capitals(kind: type[CoreError]) -> None:
    assert re.fullmatch(r"[A-Z]+(_[A-Z]+)*", kind.status)


def test_an_unknown_id_is_told_as_an_id_under_the_status_of_an_unknown_name() -> None:
    refusal = IdUnknown(7)
    assert (str(refusal), refusal.status) == ("no server has the id 7", "NAME_DID_NOT_FOUND")


def test_what_was_asked_for_in_place_of_a_tokens_id_is_not_repeated() -> None:
    assert str(TokenUnknown()) == "you have no token of that id"


def test_a_refusal_carries_what_its_reply_needs() -> None:
    assert WrongRequest("port must be 1 to 65535", "port").field == "port"
    too_many = TooManyAttempts(60)
    assert too_many.retry_after_s == 60
    assert str(too_many) == "too many attempts: try again in 1 minute"
