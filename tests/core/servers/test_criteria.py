"""Whom a rule or a maintenance is for."""

import pytest

from core.errors import WrongRequest
from core.servers.criteria import Criteria


@pytest.mark.parametrize(
    ("wanted", "is_meant"),
    [
        ({}, True),
        ({"tags": ["WEB", "db"]}, True),
        ({"tags": ["db"]}, False),
        ({"names": ["us-*", "eu-?"]}, True),
        ({"names": ["EU-*"]}, False),
        ({"tags": ["web"], "names": ["eu-*"]}, True),
        ({"tags": ["web"], "names": ["us-*"]}, False),
    ],
)
def test_any_of_a_list_and_all_lists(wanted: dict[str, list[str]], *, is_meant: bool) -> None:
    assert Criteria.of(wanted).match("eu-1", ["web", "rack-4"]) is is_meant


def test_names_weigh_more_than_tags() -> None:
    every = [{}, {"tags": ["web"]}, {"names": ["*"]}, {"tags": ["web"], "names": ["*"]}]
    assert [Criteria.of(one).weight for one in every] == [0, 1, 2, 3]


@pytest.mark.parametrize("wanted", [{"tags": ["a b"]}, {"names": [""]}, {"ip": "10.0.0.1"}])
def test_what_is_wrong_is_refused(wanted: dict[str, object]) -> None:
    with pytest.raises(WrongRequest):
        Criteria.of(wanted)
