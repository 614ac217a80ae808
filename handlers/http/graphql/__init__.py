"""/graphql: one request in, one reply out. Loaded at its first request: no other route pays for it.

Nothing is executed before the document was measured (limits), validated, and its fields were held
against what the caller may do (auth).
Source: graphql.github.io/graphql-over-http (GraphQL over HTTP).
"""

import logging
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from http import HTTPStatus
from secrets import token_hex
from typing import Any, Self

import msgspec
from flask import Response, request
from flask.typing import ResponseReturnValue
from graphql import (
    DocumentNode,
    ExecutionResult,
    GraphQLError,
    OperationDefinitionNode,
    OperationType,
    execute_sync,
    get_operation_ast,
    validate,
)
from werkzeug.exceptions import MethodNotAllowed

from core.errors import CoreError, Unavailable, WrongRequest
from core.reading import read_json
from handlers.http import gate, routes
from handlers.http.errors import OUR_FAULT
from handlers.http.graphql import limits, sentences
from handlers.http.graphql.resolvers import LEVELS, SCHEMA, in_camel_case
from handlers.instance import Instance

log = logging.getLogger("pinglet.graphql")

OPTIONAL = {"variables", "operationName", "extensions"}
KEYS = {"query"} | OPTIONAL


@dataclass(frozen=True, slots=True)
class Asked:
    """What a request asks: a document, which of its operations, and the values it is given."""

    query: str
    variables: Mapping[str, Any]
    operation: str | None

    @classmethod
    def parse(cls, words: object) -> Self:
        """Read `{"query": ..., "variables": ..., "operationName": ...}`. Raises WrongRequest."""
        if isinstance(words, list):
            raise WrongRequest("send one operation per request, not a list of them")
        if not isinstance(words, dict) or not words.keys() <= KEYS:
            raise WrongRequest(f"expected an object with {', '.join(sorted(KEYS))}")
        query, variables = words.get("query"), words.get("variables")
        operation = words.get("operationName")
        if not isinstance(query, str):
            raise WrongRequest("query must be a GraphQL document, as text", "query", got=query)
        if not isinstance(variables, dict | None):
            raise WrongRequest("variables must be an object", "variables")
        if not isinstance(operation, str | None):
            raise WrongRequest("operationName must be text", "operationName", got=operation)
        return cls(query, variables or {}, operation)


def answer(here: Instance) -> ResponseReturnValue:
    """Execute the operation that a GET's query or a POST's body asks for."""
    asked = _asked()
    document = limits.parse(asked.query)
    operation = _operation(document, asked.operation)
    cost = limits.check(document, operation, asked.variables)
    _validate(document, asked.query)
    # Flask serves HEAD wherever it serves GET, and the gate takes both for safe.
    if request.method != "POST" and operation.operation is not OperationType.QUERY:
        raise MethodNotAllowed(["POST"], "GET is for queries: send a mutation by POST")
    levels = LEVELS[operation.operation.value]
    gate.may_call({name: levels[name] for name in limits.root_fields(document, operation)})
    with _turn(here, operation.operation, cost):
        result = execute_sync(
            SCHEMA,
            document,
            context_value=here,
            variable_values=dict(asked.variables),
            operation_name=asked.operation,
        )
        return _reply(result, operation.operation, asked.query)


def _turn(here: Instance, kind: OperationType, cost: int) -> AbstractContextManager[None]:
    # What a mutation costs is mostly waiting, for echoes or for a hash that is slow on purpose.
    is_costly = kind is OperationType.QUERY and cost > limits.COSTLY
    return here.turns.taken(gate.whoami().name) if is_costly else nullcontext()


def _asked() -> Asked:
    if request.method == "POST":
        return Asked.parse(read_json(request.get_data()))
    words: dict[str, Any] = dict(routes.once_each(routes.query_words()))
    for name in OPTIONAL:
        if words.get(name) == "":  # a form sends all its fields, the empty ones too
            del words[name]
    if "variables" in words:
        words["variables"] = read_json(words["variables"].encode())
    return Asked.parse(words)


def _operation(document: DocumentNode, name: str | None) -> OperationDefinitionNode:
    operation = get_operation_ast(document, name)
    if operation is None:
        told = "operationName must be one of the document's operations"
        raise WrongRequest(told, "operationName", got=name)
    return operation


def _validate(document: DocumentNode, query: str) -> None:
    errors = validate(SCHEMA, document, max_errors=5)
    if errors:
        told = "; ".join(sentences.of_values(error, query, SCHEMA) for error in errors)
        raise WrongRequest(f"not a valid GraphQL document: {told}", "query")


def _reply(result: ExecutionResult, operation: OperationType, query: str) -> Response:
    """The data, and what went wrong with parts of it; what concerns all of it is raised."""
    errors = result.errors or []
    nothing_done = _is_empty(result.data, operation)
    for error in errors:
        cause = error.original_error
        # Of a query nothing is lost by asking again; of a mutation what was done must be told.
        again = isinstance(cause, Unavailable) and operation is OperationType.QUERY
        if isinstance(cause, CoreError) and (nothing_done or again):
            raise cause
    if any(error.path is None for error in errors):  # nothing was executed: the values don't fit
        told = "; ".join(sentences.of_values(error, query, SCHEMA) for error in errors)
        raise WrongRequest(told, "variables")
    body = {"data": result.data} | ({"errors": list(map(_told, errors))} if errors else {})
    ours = errors and nothing_done
    code = HTTPStatus.SERVICE_UNAVAILABLE if ours else HTTPStatus.OK
    response = Response(msgspec.json.encode(body), code, mimetype=routes.graphql_media())
    return routes.fresh(response) if request.method == "GET" and not errors else response


def _is_empty(data: Mapping[str, Any] | None, operation: OperationType) -> bool:
    """Whether nothing was read, or nothing done: of a mutation each field is done by itself."""
    if data is None or operation is OperationType.QUERY:
        return data is None
    return not any(isinstance(value, Mapping) for value in data.values())


def _told(error: GraphQLError) -> dict[str, Any]:
    """One error as GraphQL has it; what is wrong with us is masked, and logged under an id."""
    cause = error.original_error
    where = {"path": error.path, "locations": [place.formatted for place in error.locations or []]}
    if isinstance(cause, CoreError) and not isinstance(cause, Unavailable):
        return {"message": str(cause), **where, "extensions": _extensions(cause)}
    failure = token_hex(8)
    log.error("%s: %s failed", failure, error.path, exc_info=cause or error)
    told = "try again later" if isinstance(cause, Unavailable) else OUR_FAULT
    return {"message": told, **where, "extensions": {"code": Unavailable.status, "id": failure}}


def _extensions(cause: CoreError) -> dict[str, str]:
    field = getattr(cause, "field", None)
    return {"code": cause.status} | ({"field": in_camel_case(field)} if field else {})
