"""Strict reading of what crosses a border: JSON, text, times.

Behind the border nothing is checked again. Every refusal is a WrongRequest that says what is
wrong with which part.
"""

import json
import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable
from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar, NoReturn, Self, TypeVar

import msgspec

from core.errors import WrongRequest
from core.refusals import A_TIME, refusal

Shape = TypeVar("Shape")
NAME_LENGTH = 255
TAG_LENGTH = 40
USER_NAME_LENGTH = 64
PASSWORD_LENGTH = (8, 256)
DEPTH = 100
"""How deep JSON may be nested: whatever walks through it afterwards never runs out of stack."""
TOO_DEEP = f"JSON must be nested at most {DEPTH} deep"

# What plain_text, user_name and kept_name refuse, for readers of openapi.json. The end is marked
# twice: in Python `$` also stands before a line's end.
PRINTABLE = r"[^\x00-\x1f\x7f-\x9f]*"
NAME_PATTERN = rf"^{PRINTABLE}[^\s\x00-\x1f\x7f-\x9f]{PRINTABLE}$(?!\n)"
# Nobody sees these, or they turn around what stands beside them, or they are no characters: a name
# that holds one looks like another. It is refused where it is made; what is from before stays.
BIDI = r"\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"
UNSEEN = (
    r"\u00ad\u034f\u115f\u1160\u17b4\u17b5\u180e\u200b\u2060-\u2065\u206a-\u206f\u2800\u3164\ufeff"
    r"\uffa0\ufff0-\ufffb"
)
REFUSED = rf"{BIDI}{UNSEEN}\ufdd0-\ufdef\ufffe\uffff"
UNSEEN_BEYOND = (
    r"\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e00ff\U000e01f0-\U000e0fff"
)
REFUSED_BEYOND = UNSEEN_BEYOND + "".join(
    rf"\U{plane:04x}fffe\U{plane:04x}ffff" for plane in range(1, 17)
)
NEW_NAME_PATTERN = NAME_PATTERN.replace(r"\x9f]", rf"\x9f{REFUSED}]")
Words = Annotated[str, msgspec.Meta(max_length=NAME_LENGTH, pattern=rf"^{PRINTABLE}$(?!\n)")]
Moment = Annotated[
    str,
    msgspec.Meta(
        description="ISO 8601; without a zone it is UTC. From 1970 to 8999",
        examples=["2018-01-02T07:01:00Z"],
        extra_json_schema={"format": "date-time"},
    ),
]


def read_json(body: bytes) -> object:
    """Parse strict JSON: UTF-8 only, no duplicate keys, no NaN, no infinity, no lone surrogates,
    nested at most DEPTH deep.

    The Content-Type plays no part. Source: RFC 8259, sections 4, 6, 8. Raises WrongRequest.
    """
    try:
        parsed: object = json.loads(
            body.decode("utf-8"),
            object_pairs_hook=_without_duplicates,
            parse_constant=_no_constant,
            parse_float=_finite,
        )
        # What came as \ud800 can't be sent on, printed or stored.
        json.dumps(parsed, ensure_ascii=False).encode("utf-8")
    except RecursionError:
        raise WrongRequest(TOO_DEEP) from None
    except ValueError as error:
        raise WrongRequest(f"not valid JSON: {_what_is_wrong(error)}") from None
    if not _is_within(DEPTH, parsed):
        raise WrongRequest(TOO_DEEP)
    return parsed


def _is_within(depth: int, value: object) -> bool:
    level = [value]
    for _ in range(depth):
        level = [inner for one in level for inner in _inner(one)]
    return not any(isinstance(one, dict | list) for one in level)


def _inner(value: object) -> Iterable[object]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def _what_is_wrong(error: ValueError) -> str:
    match error:
        case json.JSONDecodeError():
            return f"see line {error.lineno}, column {error.colno}"
        case UnicodeDecodeError():
            return f"it must be UTF-8, which octet {error.start + 1} isn't"
        case UnicodeEncodeError():
            return "it must not contain lone surrogates"
    return "a number has too many digits"


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    unique = dict(pairs)
    if len(unique) != len(pairs):
        twice = Counter(key for key, _ in pairs).most_common(1)[0][0]
        raise WrongRequest("not valid JSON: a key appears twice in one object", got=twice)
    return unique


def _no_constant(constant: str) -> NoReturn:
    raise WrongRequest(f"not valid JSON: {constant} is not a JSON number")


def _finite(text: str) -> float:
    number = float(text)
    if number in (float("inf"), float("-inf")):
        raise WrongRequest("not valid JSON: a number is too large", got=text)
    return number


def plain_text(value: object, what: str, length: int) -> str:
    """Return `value` trimmed, if it is text of 1 to `length` characters, all of them printable.

    Control characters are looked for before trimming, which would hide them at the ends.
    Raises WrongRequest; `what` is the subject of its sentence.
    """
    if not isinstance(value, str):
        raise WrongRequest(f"{what} must be text", got=value)
    if any(unicodedata.category(character) in ("Cc", "Cs") for character in value):
        raise WrongRequest(f"{what} must not contain control characters or lone surrogates")
    text = value.strip()
    if not 1 <= len(text) <= length:
        raise WrongRequest(f"{what} must be 1 to {length} characters long, got {len(text)}")
    return text


# Behind nothing, or behind a letter of an alphabet (below U+2E80).
LOOSE_SELECTOR = re.compile(
    r"(?:(?<=[^\W\d_\u2e80-\U0010ffff])|^)[\ufe00-\ufe0f\U000e0100-\U000e01ef]"
)
SEEN = re.compile(f"[^{REFUSED}{REFUSED_BEYOND}]*")
FLAG = re.compile("\U0001f3f4[\U000e0020-\U000e007e]+\U000e007f")
"""A region's flag, such as Scotland's: the one use of tags, which nobody sees."""
JOINER = re.compile("[\u200c\u200d]")
"""ZWNJ and ZWJ: Persian and Indic words need them, and families of emoji."""


def kept_name(text: str, what: str, length: int) -> str:
    """Return a name as it is kept: in NFC, so that what looks the same is the same.

    Raises WrongRequest for characters that nobody sees or that are none; a joiner may stand between
    letters and between symbols. Source: Unicode Standard Annex 15; Technical Report 36, section 2.
    """
    kept = nfc(text)
    found = SEEN.sub("", FLAG.sub("", kept)) + _loose_joiner(kept) + _loose_selector(kept)
    if found:
        raise WrongRequest(f"{what} must not contain the invisible U+{ord(found[0]):04X}")
    if len(kept) > length:
        raise WrongRequest(f"{what} must be 1 to {length} characters long, got {len(kept)}")
    return kept


def _loose_joiner(text: str) -> str:
    """Return the first joiner that joins nothing, or nothing."""
    for found in JOINER.finditer(text):
        beside = (
            text[max(found.start() - 1, 0) : found.start()],
            text[found.end() : found.end() + 1],
        )
        if not all(map(_can_be_joined, beside)):
            return found[0]
    return ""


def _loose_selector(text: str) -> str:
    """Return the first selector of a variant that stands behind a plain letter, or nothing.

    It chooses how a symbol or a digit is drawn (in emoji), or an ideograph; of other letters there
    are no variants.
    """
    found = LOOSE_SELECTOR.search(text)
    return found[0] if found else ""


def _can_be_joined(character: str) -> bool:
    """Whether it is a letter, a mark on one, or a symbol or digit that is no ASCII."""
    kind = unicodedata.category(character)[0] if character else ""
    return kind in ("L", "M") or (kind in ("S", "N") and not character.isascii())


def nfc(text: str) -> str:
    """Return `text` with each letter and its marks as one character, where there is one."""
    return unicodedata.normalize("NFC", text)


def folded(text: str) -> str:
    """Return `text` as a search compares it: without case, in any script; ss for a sharp s.

    By Unicode's own rules, in no language: I and i are one letter, a dotless \u0131 is another, and
    a dotted \u0130 is an i with a dot above. Source: The Unicode Standard, section 3.13, D145.
    """
    return nfc(unicodedata.normalize("NFD", text).casefold())


def meant_by(given: str, names: Collection[str]) -> str | None:
    """Return which of `names` is meant: the one as given, then its NFC, then one equal after NFC.

    Only names from before they were kept in NFC can be the last.
    """
    kept = nfc(given)
    if given in names or kept in names:
        return given if given in names else kept
    return next((name for name in names if nfc(name) == kept), None)


def moment(text: str, field: str) -> datetime:
    """Read ISO 8601 (RFC 3339 and its common variants) as an aware UTC time; no zone means UTC."""
    try:
        parsed = datetime.fromisoformat(text)
        if parsed.tzinfo is None:
            return parsed.replace(tzinfo=UTC)
        return parsed.astimezone(UTC)
    except (ValueError, OverflowError):
        raise WrongRequest(f"{field} must be {A_TIME}", got=text) from None


def iso(slot: datetime) -> str:
    """Write an aware time as the contract does: `2018-01-02T07:01:00Z`, or with its fraction."""
    return slot.astimezone(UTC).isoformat().replace("+00:00", "Z")


class Request(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What comes in: a key we don't know is refused, it may be a typing error.

    Where one field holds a secret, somebody may put it into another: such a shape says that it has
    `secrets`, and no value that is refused of it is repeated.
    """

    secrets: ClassVar[bool] = False

    @classmethod
    def of(cls, value: object) -> Self:
        """Read `value`, as JSON gave it. Raises WrongRequest with the field that is wrong."""
        return convert(cls, value)


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """What goes out."""


def convert(shape: type[Shape], value: object) -> Shape:
    """Make `value`, as JSON gave it, a `shape`. Raises WrongRequest with the field."""
    try:
        return msgspec.convert(value, shape)
    except msgspec.ValidationError:
        return _convert_wholes(shape, value)


def _convert_wholes(shape: type[Shape], value: object) -> Shape:
    # In JSON 443.0 is the integer 443 (JSON Schema 2020-12, 4.2.3), which msgspec doesn't know.
    try:
        return msgspec.convert(_wholes(value), shape)
    except msgspec.ValidationError as error:
        raise refusal(error, shape, value) from None


def _wholes(value: object) -> object:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, list):
        return [_wholes(one) for one in value]
    if isinstance(value, dict):
        return {key: _wholes(one) for key, one in value.items()}
    return value
