"""What people send about incidents: what is wrong is said with its field."""

import pytest

from core.errors import WrongRequest
from core.incidents.records import Acknowledgement, Comment, Resolution


@pytest.mark.parametrize(
    ("shape", "given", "field"),
    [
        (Comment, {}, "note"),
        (Comment, {"note": ""}, "note"),
        (Comment, {"note": "x" * 1_001}, "note"),
        (Acknowledgement, {"until": 7}, "until"),
        (Acknowledgement, {"til": "now"}, "til"),
        (Resolution, {"note": 7}, "note"),
    ],
)
def test_what_is_wrong_is_said_with_its_field(
    shape: type[Comment | Acknowledgement | Resolution], given: object, field: str
) -> None:
    with pytest.raises(WrongRequest) as refused:
        shape.of(given)
    assert refused.value.field == field


def test_nothing_need_be_said() -> None:
    assert (Acknowledgement.of({}), Resolution.of({})) == (Acknowledgement(), Resolution())
