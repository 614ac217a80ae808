"""What crosses the border: read once, refused with a reason."""

import json
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import WrongRequest
from core.reading import iso, moment, read_json

NOON = datetime(2018, 1, 2, 12, 0, tzinfo=UTC)


@given(moments=st.datetimes(timezones=st.timezones()))
def test_a_time_that_was_written_is_read_again(moments: datetime) -> None:
    try:
        written = iso(moments)
    except OverflowError:  # a zone ahead of UTC in the year 1
        return
    assert written.endswith("Z")
    assert moment(written, "since") == moments.astimezone(UTC)


def test_times_are_written_in_utc() -> None:
    assert iso(NOON) == "2018-01-02T12:00:00Z"
    assert iso(NOON.astimezone(timezone(timedelta(hours=5, minutes=30)))) == "2018-01-02T12:00:00Z"
    assert iso(NOON + timedelta(milliseconds=5)) == "2018-01-02T12:00:00.005000Z"


@given(
    value=st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.text(st.characters(exclude_categories=["Cs"])),
        lambda inner: st.lists(inner) | st.dictionaries(st.text("abcé\n"), inner),
        max_leaves=20,
    )
)
def test_all_strict_json_is_read(value: object) -> None:
    assert read_json(json.dumps(value).encode()) == value
    assert read_json(json.dumps(value, ensure_ascii=False).encode()) == value


@given(body=st.binary())
def test_any_octets_are_read_or_refused(body: bytes) -> None:
    try:
        read = read_json(body)
    except WrongRequest:
        return
    assert read == json.loads(body)


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"", "see line 1, column 1"),
        (b'{"name": \nweb}', "see line 2, column 1"),
        (b'"\xff"', "it must be UTF-8, which octet 2 isn't"),
        (b'"\\ud800"', "it must not contain lone surrogates"),
        (b"9" * 10_000, "a number has too many digits"),
        (b'{"a": 1, "b": 2, "a": 3}', "a key appears twice in one object, got 'a'"),
        (b"[NaN]", "NaN is not a JSON number"),
        (b"[1e999]", "a number is too large, got '1e999'"),
    ],
    ids=["empty", "bare", "octet", "surrogate", "digits", "twice", "NaN", "infinite"],
)
def test_what_is_wrong_with_json_is_said_in_our_words(body: bytes, told: str) -> None:
    with pytest.raises(WrongRequest) as refused:
        read_json(body)
    assert str(refused.value) == f"not valid JSON: {told}"


def test_json_is_nested_a_hundred_deep_and_no_deeper() -> None:
    assert read_json(b"[" * 100 + b"]" * 100)
    assert read_json(b'{"a":' * 99 + b"[1]" + b"}" * 99)
    for deep in (b"[" * 100_000, b"[" * 101 + b"]" * 101, b'{"a":' * 1_500 + b"1" + b"}" * 1_500):
        with pytest.raises(WrongRequest, match="nested at most 100 deep"):
            read_json(deep)


@pytest.mark.parametrize("depth", [900, 10_000, 100_000, 1_000_000])
def test_depth_is_refused_and_not_followed(depth: int) -> None:
    for opening in (b"[", b'{"a":'):
        with pytest.raises(WrongRequest):
            read_json(opening * depth)


def test_a_reason_never_repeats_a_whole_body() -> None:
    for body in (b"1e9" + b"9" * 100_000, b"[" + b"\xff" * 10, b"x" * 100_000):
        with pytest.raises(WrongRequest) as refusal:
            read_json(body)
        assert len(str(refusal.value)) < 300
