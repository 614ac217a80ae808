"""What doesn't fit a shape is said in our words: where, what came, what is right."""

import string
from datetime import date, datetime
from typing import Annotated, Any, Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import WrongRequest
from core.reading import Request, convert
from tests.counts import examples


class Inner(Request, frozen=True):
    """What stands in a list."""

    port: Annotated[int, msgspec.Meta(ge=1, le=65_535)] | None = None
    row: tuple[int, float | None] = (0, None)


class Outer(Request, frozen=True):
    """A bit of everything."""

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=5, pattern="^[a-z]*$")]
    note: Annotated[str, msgspec.Meta(max_length=3)] = ""
    form: Literal["json", "csv"] = "json"
    many: Annotated[list[Inner], msgspec.Meta(max_length=2)] = []
    day: date | None = None
    time: Annotated[datetime, msgspec.Meta(tz=True)] | None = None
    share: Annotated[float, msgspec.Meta(ge=0)] = 0
    is_on: bool = True
    words: dict[str, str] = {}
    window: Annotated[str, msgspec.Meta(pattern="^[0-9]+d$", extra={"right": "days: 30d"})] = "1d"
    password: Annotated[str, msgspec.Meta(min_length=8, max_length=9)] = "long enough"


REFUSED = [
    ({}, "name", "name is required"),
    ([], None, "the body must be an object"),
    ({"name": 5}, "name", "name must be text of 1 to 5 printable characters, got 5"),
    ({"name": "A"}, "name", "name must be text of 1 to 5 printable characters, got 'A'"),
    ({"note": "long"}, "note", "note must be text of at most 3 characters, got 'long'"),
    ({"form": "xml"}, "form", "form must be csv or json, got 'xml'"),
    ({"many": {}}, "many", "many must be a list of at most 2, got an object"),
    ({"many": [{}, {"port": 0}]}, "many[1].port", "port must be 1 to 65535 or null, got 0"),
    ({"many": [{"port": "x"}]}, "many[0].port", "port must be 1 to 65535 or null, got 'x'"),
    ({"many": [{"row": [1, "x"]}]}, "many[0].row[1]", "row[1] must be a number or null, got 'x'"),
    ({"many": [{"row": [1]}]}, "many[0].row", "row must be a list of 2, got a list of 1"),
    ({"many": [{"prot": 1}]}, "many[0].prot", "'prot' is unknown: expected port, row"),
    (
        {"day": "2018-13-01"},
        "day",
        "day must be a date such as 2018-01-02 or null, got '2018-13-01'",
    ),
    (
        {"time": "2018-01-02T07:01:00"},
        "time",
        "time must be a time with its zone, such as 2018-01-02T07:01:00Z or null, "
        "got '2018-01-02T07:01:00'",
    ),
    ({"share": -1}, "share", "share must be a number, at least 0, got -1"),
    ({"is_on": "yes"}, "is_on", "is_on must be true or false, got 'yes'"),
    ({"words": 1}, "words", "words must be an object, got 1"),
    ({"window": "x"}, "window", "window must be days: 30d, got 'x'"),
    ({"password": "hunter2"}, "password", "password must be text of 8 to 9 characters"),
    ({"note": "x" * 99}, "note", f"note must be text of at most 3 characters, got '{'x' * 56}..."),
]


@pytest.mark.parametrize(("value", "field", "told"), REFUSED)
def test_a_refusal_says_where_what_came_and_what_is_right(
    value: Any, field: str | None, told: str
) -> None:
    given_value = {"name": "a"} | value if value else value
    with pytest.raises(WrongRequest) as refused:
        convert(Outer, given_value)
    assert (str(refused.value), refused.value.field) == (told, field)


def test_what_a_log_may_hold_goes_without_the_value() -> None:
    with pytest.raises(WrongRequest) as refused:
        convert(Outer, {"name": "a", "form": "hunter2"})
    assert refused.value.logged == "form must be csv or json, got text of 7 characters"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(string.printable, max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=8,
)


@examples(100, 5_000)
@given(st.fixed_dictionaries({}, optional=dict.fromkeys(Outer.__struct_fields__, JSON)))
def test_whatever_is_refused_no_phrase_of_a_library_reaches_anybody(value: Any) -> None:
    try:
        convert(Outer, value)
        told = ""
    except WrongRequest as error:
        told = error.logged
    assert not [word for word in ("Expected", "Invalid", "`", "Object", "regex") if word in told]
