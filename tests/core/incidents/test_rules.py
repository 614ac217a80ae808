"""Rules: what is said of them, and the one that holds before anybody makes any."""

from typing import Any

import pytest

from core.errors import WrongRequest
from core.incidents.rules import AT_ONCE, DEFAULT, Rule, Severity

DOWN = {"down": 2, "of": 3}


def rule(**words: Any) -> Rule:
    return Rule.of({"name": "web down", "when": DOWN} | words)


def test_the_default_rule_opens_on_two_of_three_and_its_old_bad_slots_open_nothing() -> None:
    assert DEFAULT.measure.limits == (2, 3, 2)
    assert (DEFAULT.name, DEFAULT.severity) == ("default", Severity.CRITICAL)


def test_what_is_not_said_is_said_by_the_rule() -> None:
    made = rule(name=" web down ")
    assert (made.name, made.clear, made.remind_m, made.severity) == ("web down", 2, 240, "critical")
    assert rule(when={"down": 2, "of": 5}).clear == 4
    assert rule(when={"loss_pct": 20, "of": 5}).clear == 2


def test_too_few_good_slots_are_refused_and_the_refusal_says_why() -> None:
    with pytest.raises(WrongRequest) as refused:
        rule(when={"down": 2, "of": 5}, clear=3)
    assert (str(refused.value), refused.value.field) == (
        "clear must be at least 4: with down 2 of 5 and fewer good slots, the bad ones from before "
        "would open the incident again, got 3",
        "clear",
    )


def test_one_bad_slot_is_enough_to_open_again_and_that_is_said() -> None:
    assert rule(when={"down": 1, "of": 1}).hints == [AT_ONCE]
    assert rule().hints == []


@pytest.mark.parametrize(
    ("words", "field"),
    [
        ({"name": ""}, "name"),
        ({"name": " "}, "name"),
        ({"name": "a\nb"}, "name"),
        ({"for": {"tag": ["web"]}}, "for.tag"),
        ({"when": "down"}, "when"),
        ({"severity": "grave"}, "severity"),
        ({"remind_m": 0}, "remind_m"),
        ({"clear": 0}, "clear"),
        ({"say": [{"after_m": 5}]}, "say[0].channel"),
        ({"whom": {}}, "whom"),
    ],
)
def test_what_is_wrong_is_said_with_its_field(words: dict[str, Any], field: str) -> None:
    with pytest.raises(WrongRequest) as refused:
        rule(**words)
    assert refused.value.field == field
