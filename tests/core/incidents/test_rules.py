"""Rules: what is said of them, and the one that holds before anybody makes any."""

from collections.abc import Sequence
from typing import Any

import pytest

from core.errors import WrongRequest
from core.incidents.rules import AT_ONCE, DEFAULT, Rule, Rules, Severity, hints, measure_by

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
    assert hints(rule(when={"down": 1, "of": 1})) == [AT_ONCE]
    assert hints(rule()) == []


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


def test_an_incident_can_keep_what_it_is_judged_by() -> None:
    made = rule(when={"p95_ms": 250, "of": 20}, clear=3)
    assert measure_by(made.terms) == made.measure
    assert rule(severity="info").terms == rule().terms != rule(clear=3).terms


# Which holds


def holding(*made: Rule, name: str = "eu-1", tags: Sequence[str] = ("web",)) -> list[str]:
    return [one.name for one in Rules(dict(enumerate(made, 1))).of(name, tags).values()]


def test_where_no_rule_looks_at_who_is_down_the_default_does() -> None:
    slow = rule(name="slow", when={"p95_ms": 100, "of": 5})
    assert holding() == ["default"]
    assert holding(slow) == ["default", "slow"]
    assert holding(rule(), slow) == ["web down", "slow"]
    assert holding(rule(**{"for": {"tags": ["db"]}})) == ["default"]


def test_of_two_rules_of_a_kind_the_one_that_names_most_holds_and_of_equals_the_oldest() -> None:
    made = [
        rule(name="all"),
        rule(name="tags", **{"for": {"tags": ["web"]}}),
        rule(name="later tags", **{"for": {"tags": ["web", "db"]}}),
        rule(name="names", **{"for": {"names": ["eu-*"]}}),
        rule(name="both", **{"for": {"tags": ["web"], "names": ["*"]}}),
    ]
    assert holding(*made) == ["both"]
    assert holding(*made[:4]) == ["names"]
    assert holding(*made[:3]) == ["tags"]
    assert holding(*made, tags=()) == ["names"]
    assert holding(*made, name="us-1", tags=()) == ["all"]
