"""What graphql-core says goes without the values that may be secrets."""

import pytest
from graphql import GraphQLSyntaxError, parse, validate

from handlers.http.graphql import sentences
from handlers.http.graphql.resolvers import SCHEMA


@pytest.mark.parametrize(
    ("document", "told"),
    [
        ('mutation {createUser(user: {name "hunter2"})}', "Expected ':', found String"),
        ("mutation {createUser(user: {name hunter2})}", "Expected ':', found Name"),
        ('{me "hunter2"}', "Expected Name, found String"),
        ("hunter2", "Unexpected Name"),
        ("{me", "Expected Name, found <EOF>."),
    ],
)
def test_where_a_document_breaks_off_is_told_without_the_word(document: str, told: str) -> None:
    with pytest.raises(GraphQLSyntaxError) as refused:
        parse(document)
    assert sentences.of_syntax(refused.value) == told


@pytest.mark.parametrize(
    ("document", "told"),
    [
        (
            'mutation {createToken(token: {name: "x", scope: "hunter2"}) {status}}',
            "Enum 'Scope' cannot represent non-enum value. Expected read, write or admin. "
            "(line 1, column 49)",
        ),
        (
            'mutation {createToken(token: {name: "hunter2", scope: reed}) {status}}',
            "the value does not exist in 'Scope' enum. Did you mean the enum value 'read'? "
            "Expected read, write or admin. (line 1, column 55)",
        ),
        (
            'mutation {createToken(token: {label: "hunter2"}) {status}}',
            "Expected value of type 'TokenWanted' to include required field 'name' "
            "(line 1, column 30)",
        ),
        (
            '{servers(state: "worst") {nodes {id}}}',
            "Enum 'State' cannot represent non-enum value: \"worst\". "
            "Expected up, degraded, down or unobserved. (line 1, column 17)",
        ),
    ],
)
def test_values_are_told_where_no_secret_is_asked_for(document: str, told: str) -> None:
    errors = validate(SCHEMA, parse(document))
    assert sentences.of_values(errors[0], document, SCHEMA) == told
