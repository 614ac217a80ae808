"""What a rule makes of a past: the slots that were due, and a verdict on each."""

import pytest

from core.history.past import Past
from core.incidents.rules import Rule
from core.incidents.track import Pause, Run, runs, track, verdicts
from tests.core.incidents.pasts import FIRST, drawn, past, seen


def rule(**when: float) -> Rule:
    return Rule.of({"name": "tried", "when": when})


def judged(found: Past, by: Rule, begin: int = 0) -> str:
    of = track(found)
    return verdicts(of, runs(of, by.when, by.measure), by.measure, begin)


def test_only_due_slots_are_in_it() -> None:
    of = track(drawn("+ -_ _u+"))
    assert list(of.slots) == [FIRST, FIRST + 2, FIRST + 6, FIRST + 7]
    assert of.letters == "+-u+"
    assert of.pauses == [Pause(2, FIRST + 3)]


def test_where_every_slot_was_due_none_is_written_down() -> None:
    assert track(drawn("+-u")).slots == range(FIRST, FIRST + 3)


@pytest.mark.parametrize(
    ("letters", "when", "verdict"),
    [
        ("+-9u-", {"down": 2, "of": 3}, "gbgxb"),
        # Ten of thirty echoes lost, in three observed slots.
        ("+5u5+5+", {"loss_pct": 33, "of": 3}, "ggxbbbg"),
        ("+-+++", {"loss_pct": 33, "of": 3}, "gbbbg"),
        ("++u+uu++++++", {"coverage_pct": 60, "of": 4}, "ggggbbbbgggg"),
        ("u" * 20 + "++", {"coverage_pct": 100, "of": 2}, "b" * 21 + "g"),
    ],
)
def test_each_kind_finds_its_slots_bad(letters: str, when: dict[str, float], verdict: str) -> None:
    assert judged(drawn(letters), rule(**when)) == verdict


def test_a_slot_is_slow_whose_mean_is_above_and_not_one_without_an_answer() -> None:
    times = [10.0, 50.01, None, 50.0, 99.0, 10.0]
    found = past([("-" if ms is None else "+", seen("+" if ms else "-", ms)) for ms in times])
    assert judged(found, rule(p95_ms=50, of=1)) == "gbggbg"
    assert judged(found, rule(p95_ms=50, of=4, k=2)) == "ggggbg"


def test_a_long_run_is_one() -> None:
    of = track(drawn("+" + "-" * 50 + "9-"))
    down, lost = rule(down=1, of=1), rule(loss_pct=1, of=3)
    assert runs(of, down.when, down.measure) == [Run(1, 51, 1), Run(52, 53, 1)]
    marks = [one.mark for one in runs(of, lost.when, lost.measure)]
    assert marks[0] == marks[2] == 10 * marks[1]


def test_what_was_before_is_not_remembered() -> None:
    by = rule(loss_pct=60, of=2)
    assert judged(drawn("--+-+"), by) == "gbggg"
    assert judged(drawn("--+-+"), by, begin=1) == " gggg"
    assert judged(drawn("---+"), by, begin=1) == " gbg"
