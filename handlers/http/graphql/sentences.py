"""What graphql-core says of documents and values that don't fit, without what may be a secret."""

import re

from graphql import GraphQLEnumType, GraphQLError, GraphQLNamedType, GraphQLSchema

from core.refusals import one_of

TAKE_SECRETS = re.compile(
    r"\b(changePassword|changeUser|createToken|createUser|removeToken|removeUser)\b"
)
"""Fields where a password or a token may stand, in its own place or in a wrong one."""
TOKENS = r"((?:Unexpected|found) (?:Name|Int|Float|String|BlockString)) '.*"
VALUES = (
    (r", found: .*", ""),
    (r"(?<! has invalid) value: .*", " value."),
    (r"\bValue '.*' does not exist", "the value does not exist"),
)
"""What is left out, and what stays instead."""


def of_syntax(error: GraphQLError) -> str:
    """Return why a text is no document."""
    return re.sub(TOKENS, r"\1", error.message.removeprefix("Syntax Error: "), flags=re.DOTALL)


ENUM = re.compile(r"(?<=Enum ')\w+(?=' cannot)|(?<=in ')\w+(?=' enum)")
"""Where a message names the enum that a value isn't one of; it doesn't say which there are."""


def of_values(error: GraphQLError, query: str, schema: GraphQLSchema) -> str:
    """Return what doesn't fit the schema in a document or in its variables, and where."""
    told = error.message
    for pattern, instead in VALUES if TAKE_SECRETS.search(query) else ():
        told = re.sub(pattern, instead, told, flags=re.DOTALL)
    for name in ENUM.findall(error.message)[-1:]:
        told += _expected(schema.type_map.get(name))
    places = [f"line {place.line}, column {place.column}" for place in error.locations or []]
    return told + (f" ({places[0]})" if places else "")


def _expected(kind: GraphQLNamedType | None) -> str:
    return f" Expected {one_of(kind.values)}." if isinstance(kind, GraphQLEnumType) else ""
