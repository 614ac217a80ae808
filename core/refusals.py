"""What doesn't fit a shape, said to people: what is wrong, what came, what is right.

msgspec says where and why in words of its own. They never reach anybody: the value and the type are
looked up at that place, and the sentence is made of them.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from msgspec import inspect

from core.errors import NOTHING, WrongRequest

A_TIME = "a time such as 2018-01-02T07:01:00Z"
SECRETS = {"password", "old", "new", "refresh", "token"}
STEP = re.compile(r"\.([^.\[\]]+)|\[(\d+)\]")
KEY = re.compile(r"(required|unknown) field `(.*)`$", re.DOTALL)


def refusal(
    error: msgspec.ValidationError, shape: type, value: object, what: str = "the body"
) -> WrongRequest:
    """Return why `value`, as JSON gave it, can't be a `shape`; as a whole it is called `what`.

    Of a shape that says it has `secrets`, no value is repeated.
    """
    problem, _, path = str(error).partition(" - at `$")
    kind, got = inspect.type_info(shape), value
    place = ""
    for name, number in STEP.findall(path.strip("`")):
        kind, got, step = _below(kind, got, name, int(number or 0))
        place += step
    place = place.strip(".")
    if key := KEY.search(problem):
        return _wrong_key(kind, place, *key.groups())
    name = place.rpartition(".")[2]
    told = NOTHING if SECRETS & set(re.findall(r"\w+", name)) or not place else got
    sentence = f"{name or what} must be {right(kind)}"
    return WrongRequest(sentence, place or None, got=told, secret=getattr(shape, "secrets", False))


def _wrong_key(kind: inspect.Type, place: str, problem: str, key: str) -> WrongRequest:
    field = ".".join(filter(None, [place, key]))
    if problem == "required":
        return WrongRequest(f"{key} is required", field)
    known = ", ".join(one.encode_name for one in getattr(_inner(kind), "fields", ()))
    return WrongRequest(f"{{}} is unknown: expected {known}", field, got=key)


def _below(kind: inspect.Type, value: Any, name: str, number: int) -> tuple[inspect.Type, Any, str]:
    """Step from a type and a value to a field or an entry of a list; return the step, too."""
    kind = _inner(kind)
    if isinstance(kind, inspect.StructType) and kind.array_like:
        field = kind.fields[number]
        return field.type, value[number], f".{field.encode_name}"
    if isinstance(kind, inspect.StructType):
        fields = {field.encode_name: field.type for field in kind.fields}
        return fields[name], value[name], f".{name}"
    if isinstance(kind, inspect.TupleType):
        return kind.item_types[number], value[number], f"[{number}]"
    item = getattr(kind, "item_type", inspect.AnyType())
    return item, value[number], f"[{number}]"


def _inner(kind: inspect.Type) -> inspect.Type:
    """Return a type without what is only said of it, and without null."""
    if isinstance(kind, inspect.Metadata):
        return _inner(kind.type)
    if isinstance(kind, inspect.UnionType):
        return _inner(next(one for one in kind.types if not isinstance(one, inspect.NoneType)))
    return kind


def right(kind: inspect.Type) -> str:
    """Return what is right for a type, to stand after "must be"."""
    if isinstance(kind, inspect.Metadata):
        return _described(kind)
    if isinstance(kind, inspect.UnionType):
        null = any(isinstance(one, inspect.NoneType) for one in kind.types)
        return right(_inner(kind)) + (" or null" if null else "")
    return next((say(kind) for known, say in RIGHT.items() if isinstance(kind, known)), "JSON")


def _described(kind: inspect.Metadata) -> str:
    said = (kind.extra or {}).get("right")
    if said is None and (kind.extra_json_schema or {}).get("format") == "date-time":
        said = A_TIME
    return str(said) if said else right(kind.type)


def _number(kind: Any) -> str:
    low, high = kind.ge, kind.le
    if low is not None and high is not None:
        return f"{low} to {high}"
    what = "a whole number" if isinstance(kind, inspect.IntType) else "a number"
    bounds = [f"at least {low}"] if low is not None else []
    bounds += [f"below {kind.lt}"] if kind.lt is not None else []
    return ", ".join([what, " and ".join(bounds)]) if bounds else what


def _text(kind: inspect.StrType) -> str:
    if kind.min_length is None and kind.max_length is None:
        return "text"
    low, high = kind.min_length or 0, kind.max_length
    plain = "printable " if kind.pattern else ""
    return (
        f"text of {low} to {high} {plain}characters"
        if low
        else f"text of at most {high} {plain}characters"
    )


def _list(kind: inspect.ListType | inspect.VarTupleType) -> str:
    return "a list" if kind.max_length is None else f"a list of at most {kind.max_length:,}"


def _fields(kind: inspect.StructType) -> str:
    if not kind.array_like:
        return "an object"
    return f"a list of {', '.join(field.encode_name for field in kind.fields if field.required)}"


def one_of(words: Any) -> str:
    """Return words of which one is right, to stand after "must be"."""
    *most, last = [str(word) for word in words]
    return f"{', '.join(most)} or {last}" if most else last


RIGHT: Mapping[type[inspect.Type], Callable[[Any], str]] = {
    inspect.BoolType: lambda _kind: "true or false",
    inspect.IntType: _number,
    inspect.FloatType: _number,
    inspect.StrType: _text,
    inspect.EnumType: lambda kind: one_of(kind.cls),
    inspect.LiteralType: lambda kind: one_of(kind.values),
    inspect.DateTimeType: lambda _kind: A_TIME.replace("a time", "a time with its zone,"),
    inspect.DateType: lambda _kind: "a date such as 2018-01-02",
    inspect.ListType: _list,
    inspect.VarTupleType: _list,
    inspect.TupleType: lambda kind: f"a list of {len(kind.item_types)}",
    inspect.DictType: lambda _kind: "an object",
    inspect.StructType: _fields,
}
