"""Whatever the schema allows is answered, and is no fault of ours: cases made up from it."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from flask import Flask
from hypothesis import HealthCheck, given
from hypothesis import settings as run
from schemathesis import Case

from infra.database import Database
from tests import people
from tests.counts import GRAPHQL_CASES
from tests.handlers.graph import root_fields
from tests.handlers.histories import add
from tests.handlers.http.test_openapi import PLAIN, refreshed


@pytest.fixture(scope="module")
def app(standing: Flask) -> Flask:
    """An application that watches one server, `web`."""
    add(standing.test_client(), "web")
    return standing


quickly = run(
    max_examples=GRAPHQL_CASES,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(scope="module")
def described(app: Flask) -> Iterator[schemathesis.BaseSchema]:
    """The schema as the application tells it to an admin."""
    database: Database = app.extensions["pinglet"].database
    people.forget_everybody(database)
    people.add(database)
    yield schemathesis.graphql.from_wsgi("/graphql", app, headers=refreshed(database))
    people.forget_everybody(database)


@pytest.mark.parametrize("field", [name for _, name, _ in root_fields()])
def test_whatever_the_schema_allows_is_answered(
    described: schemathesis.BaseSchema, app: Flask, field: str
) -> None:
    database: Database = app.extensions["pinglet"].database
    operations = (one.ok() for one in described.get_all_operations())
    operation = next(one for one in operations if one.label.endswith(f".{field}"))

    @quickly
    @given(case=operation.as_strategy())
    def call(case: Case) -> None:
        response = case.call(headers=PLAIN | refreshed(database))
        assert response.status_code in (200, 400, 429), response.text
        body: dict[str, Any] = json.loads(response.content)
        assert body.keys() <= {"data", "errors"}
        codes = [error["extensions"]["code"] for error in body.get("errors", [])]
        assert "SERVICE_UNAVAILABLE" not in codes, response.text

    call()
