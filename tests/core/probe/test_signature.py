"""The words both halves of the engine share."""

import pytest

from core.probe import (
    Pace,
    Verdict,
)


@pytest.mark.parametrize(
    "wrong",
    [
        {"echoes": 0},
        {"timeout_s": 0},
        {"timeout_s": float("nan")},
        {"gap_s": -1},
        {"rate_pps": -1},
        {"budget_s": -1},
    ],
    ids=str,
)
def test_a_pace_nobody_could_keep_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Pace(**wrong)


def test_an_echo_came_back_only_if_the_target_itself_answered() -> None:
    assert [verdict for verdict in Verdict if verdict.came_back] == ["answered", "refused"]
