"""Calls of /graphql, short to write in a test."""

from collections.abc import Iterator
from typing import Any

from flask.testing import FlaskClient
from graphql import (
    GraphQLEnumType,
    GraphQLField,
    GraphQLInputObjectType,
    GraphQLInputType,
    GraphQLList,
    GraphQLNonNull,
    get_named_type,
    is_leaf_type,
)
from werkzeug.test import TestResponse

from handlers.http.graphql.resolvers import SCHEMA


def post(
    client: FlaskClient, query: str, headers: dict[str, str] | None = None, **variables: object
) -> TestResponse:
    """Send a document with its variables."""
    body = {"query": query, "variables": variables}
    return client.post("/graphql", json=body, headers=headers)


def ask(client: FlaskClient, query: str, **variables: object) -> Any:
    """Return the data that a document without a fault is answered."""
    response = post(client, query, **variables)
    body = response.get_json()
    assert (response.status_code, list(body)) == (200, ["data"]), body
    return body["data"]


def refused(response: TestResponse) -> tuple[int, str, str | None]:
    """Return what a whole request was refused for: the code, the word, the field."""
    body = response.get_json()
    assert list(body) == ["errors"]
    extensions = body["errors"][0]["extensions"]
    return response.status_code, extensions["code"], extensions.get("field")


def root_fields() -> Iterator[tuple[str, str, GraphQLField]]:
    """Return every field that an operation can call, with the operation."""
    for operation, kind in (("query", SCHEMA.query_type), ("mutation", SCHEMA.mutation_type)):
        assert kind is not None
        for name, field in kind.fields.items():
            yield operation, name, field


def document(operation: str, name: str, field: GraphQLField) -> tuple[str, dict[str, object]]:
    """Return a document that calls one field, and values for what it must be given."""
    wanted = {key: value for key, value in field.args.items() if _is_needed(value.type)}
    variables = {key: _some(value.type) for key, value in wanted.items()}
    declared = ", ".join(f"${key}: {value.type}" for key, value in wanted.items())
    given = ", ".join(f"{key}: ${key}" for key in wanted)
    inside = "" if is_leaf_type(get_named_type(field.type)) else " { __typename }"
    head = f"{operation}({declared})" if declared else operation
    call = f"{name}({given})" if given else name
    return f"{head} {{ {call}{inside} }}", variables


def _is_needed(kind: GraphQLInputType) -> bool:
    return isinstance(kind, GraphQLNonNull)


def _some(kind: Any) -> object:
    """A value of this type by which nothing is found."""
    if isinstance(kind, GraphQLNonNull):
        return _some(kind.of_type)
    if isinstance(kind, GraphQLList):
        return []
    if isinstance(kind, GraphQLInputObjectType):
        return {key: _some(one.type) for key, one in kind.fields.items() if _is_needed(one.type)}
    if isinstance(kind, GraphQLEnumType):
        return next(iter(kind.values))
    return {"Int": 1, "Boolean": False, "ID": "999999"}.get(kind.name, "nothing here")
