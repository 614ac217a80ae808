"""What crosses the border: read once, refused with a reason."""

import json
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import WrongRequest
from core.reading import folded, iso, kept_name, meant_by, moment, nfc, read_json

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


KEPT = [
    ("web", "web"),
    ("cafe\u0301", "caf\u00e9"),
    ("\u1112\u1161\u11ab", "\ud55c"),
    ("273 \u212a", "273 K"),
    ("\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645", None),  # Persian
    ("\u06f3\u06f0\u200c\u0631\u0648\u0632\u0647", None),  # with digits of its own
    ("\u0915\u094d\u200d\u0937", None),  # Devanagari
    ("\U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466", None),  # a family
    ("\U0001f469\U0001f3fd\u200d\U0001f680", None),  # with a colour of skin
    ("\u2764\ufe0f\u200d\U0001f525", None),  # with a selector
    ("\U0001f3f4\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f", None),  # a flag
    ("\ue000 \U0010fffd", None),  # private use
    ("line\u2028separator", None),
]


@pytest.mark.parametrize(("given_name", "kept"), KEPT)
def test_a_name_is_kept_in_nfc(given_name: str, kept: str | None) -> None:
    assert kept_name(given_name, "name", 255) == (kept or given_name)


BIDI = [*"\u061c\u200e\u200f", *map(chr, range(0x202A, 0x202F)), *map(chr, range(0x2066, 0x206A))]
UNSEEN = [
    *"\u034f\u17b4\u2065\u2800\ufff0\U0001d173\U000e0fff\ufe0f\U000e0100",
    *"\u00ad\u115f\u1160\u180e\u200b\u2060\u2064\u3164\ufeff\uffa0\ufff9\U000e0001",
]
NO_CHARACTERS = [
    *map(chr, range(0xFDD0, 0xFDF0)),
    *(chr(plane << 16 | last) for plane in range(17) for last in (0xFFFE, 0xFFFF)),
]
LOOSE = ["{}", "{}web", "web{}", "a {}b", "a{} b", "1{}2", "a.{}b", "{0}{0}", "a{0}{0}b", "$ {} $"]


@pytest.mark.parametrize("letter", [*BIDI, *UNSEEN, *NO_CHARACTERS], ids=ascii)
def test_a_name_with_what_nobody_sees_is_refused(letter: str) -> None:
    for name in (letter, f"we{letter}b", f"web{letter}"):
        with pytest.raises(WrongRequest, match=f"U\\+{ord(letter):04X}") as refusal:
            kept_name(name, "name", 255)
        assert letter not in str(refusal.value)


@pytest.mark.parametrize("name", LOOSE)
@pytest.mark.parametrize("joiner", ["\u200c", "\u200d"])
def test_a_joiner_that_joins_nothing_is_refused(name: str, joiner: str) -> None:
    with pytest.raises(WrongRequest, match=f"U\\+{ord(joiner):04X}"):
        kept_name(name.format(joiner), "name", 255)


def test_a_name_may_not_grow_longer_than_it_may_be() -> None:
    assert len(nfc("\u0958" * 128)) == 256
    with pytest.raises(WrongRequest, match="1 to 255 characters long, got 256"):
        kept_name("\u0958" * 128, "name", 255)


@given(text=st.text(st.characters(exclude_categories=["Cs"])))
def test_what_is_kept_is_kept_again_and_is_found_by_any_spelling(text: str) -> None:
    try:
        kept = kept_name(text, "name", 255)
    except WrongRequest:
        return
    assert kept_name(kept, "name", 255) == kept == nfc(text)
    assert meant_by(text, [kept]) == kept
    assert folded(kept) == folded(text) == folded(folded(text))


@pytest.mark.parametrize(
    ("sought", "name", "found"),
    [
        ("Z\u00dcRICH", "z\u00fcrich", True),
        ("Zu\u0308rich", "Z\u00dcRICH", True),
        ("STRASSE", "Hauptstra\u00dfe", True),
        ("stra\u00dfe", "HAUPTSTRASSE", True),
        (
            "\u03a3\u0399\u03a3\u03a5\u03a6\u039f\u03a3",
            "\u03c3\u03af\u03c3\u03c5\u03c6\u03bf\u03c2",
            False,
        ),
        (
            "\u03a3\u038a\u03a3\u03a5\u03a6\u039f\u03a3",
            "\u03c3\u03af\u03c3\u03c5\u03c6\u03bf\u03c2",
            True,
        ),
        ("\u041c\u041e\u0421\u041a\u0412\u0410", "\u043c\u043e\u0441\u043a\u0432\u0430", True),
        ("\u13a0", "\uab70", True),  # Cherokee folds to capitals
        ("ISPARTA", "isparta", True),
        # No language's rules: a dotless i is a letter of its own, a dotted one has a mark.
        ("ISPARTA", "\u0131sparta", False),
        ("istanbul", "\u0130stanbul", False),
        ("stanbul", "\u0130STANBUL", True),
        ("\u0130STANBUL", "\u0130stanbul", True),
        ("zurich", "z\u00fcrich", False),
    ],
)
def test_a_search_folds_case_in_every_script(sought: str, name: str, found: bool) -> None:
    assert (folded(sought) in folded(name)) is found


def test_of_several_spellings_the_given_one_is_meant_first() -> None:
    composed, apart = "caf\u00e9", "cafe\u0301"
    assert meant_by(apart, [composed, apart]) == apart
    assert meant_by(apart, [composed]) == composed
    assert meant_by(composed, [apart]) == apart
    assert meant_by("cafe", [composed, apart]) is None
