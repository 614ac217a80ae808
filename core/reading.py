"""Strict reading of what crosses a border: JSON, text, times.

Behind the border nothing is checked again. Every refusal is a WrongRequest that says what is
wrong with which part.
"""

import json
import unicodedata
from datetime import UTC, datetime
from typing import Any, NoReturn

from core.errors import WrongRequest

NAME_LENGTH = 255
USER_NAME_LENGTH = 64
PASSWORD_LENGTH = (8, 256)


def read_json(body: bytes) -> object:
    """Parse strict JSON: UTF-8 only, no duplicate keys, no NaN, no infinity, no lone surrogates.

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
    except (ValueError, RecursionError) as error:
        raise WrongRequest(f"the body is not the JSON we read: {error}") from None
    return parsed


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    unique = dict(pairs)
    if len(unique) != len(pairs):
        raise ValueError("a key stands twice in one object")
    return unique


def _no_constant(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not a JSON number")


def _finite(text: str) -> float:
    number = float(text)
    if number in (float("inf"), float("-inf")):
        raise ValueError(f"the number {text[:20]} is too large")
    return number


def plain_text(value: object, what: str, length: int) -> str:
    """Return `value` trimmed, if it is text of 1 to `length` characters, all of them printable.

    Control characters are looked for before trimming, which would hide them at the ends.
    Raises WrongRequest; `what` is the subject of its sentence.
    """
    if not isinstance(value, str):
        raise WrongRequest(f"{what} is text")
    if any(unicodedata.category(character) in ("Cc", "Cs") for character in value):
        raise WrongRequest(f"{what} holds no control characters and no lone surrogates")
    text = value.strip()
    if not 1 <= len(text) <= length:
        raise WrongRequest(f"{what} has 1 to {length} characters")
    return text


def moment(text: str, field: str) -> datetime:
    """Read ISO 8601 (RFC 3339 and its common variants) as an aware UTC time; no zone means UTC."""
    try:
        parsed = datetime.fromisoformat(text)
        if parsed.tzinfo is None:
            return parsed.replace(tzinfo=UTC)
        return parsed.astimezone(UTC)
    except (ValueError, OverflowError):
        raise WrongRequest(f"{field} is a time such as 2018-01-02T07:01:00Z") from None


def iso(slot: datetime) -> str:
    """Write an aware time as the contract does: `2018-01-02T07:01:00Z`, or with its fraction."""
    return slot.astimezone(UTC).isoformat().replace("+00:00", "Z")
