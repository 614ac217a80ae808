"""What graphql-core says of documents and values that don't fit, without what may be a secret."""

import re

from graphql import GraphQLError

TAKE_SECRETS = re.compile(
    r"\b(changePassword|changeUser|createToken|createUser|removeToken|removeUser)\b"
)
"""Fields where a password or a token may stand, in its own place or in a wrong one."""
TOKENS = r"((?:Unexpected|found) (?:Name|Int|Float|String|BlockString)) '.*"
VALUES = (
    (r", found: .*", ""),
    (r"(?<! has invalid) value: .*", " value"),
    (r"\bValue '.*' does not exist", "the value does not exist"),
)
"""What is left out, and what stays instead."""


def of_syntax(error: GraphQLError) -> str:
    """Return why a text is no document."""
    return re.sub(TOKENS, r"\1", error.message.removeprefix("Syntax Error: "), flags=re.DOTALL)


def of_values(error: GraphQLError, query: str) -> str:
    """Return what doesn't fit the schema in a document or in its variables, and where."""
    told = error.message
    for pattern, instead in VALUES if TAKE_SECRETS.search(query) else ():
        told = re.sub(pattern, instead, told, flags=re.DOTALL)
    places = [f"line {place.line}, column {place.column}" for place in error.locations or []]
    return told + (f" ({places[0]})" if places else "")
