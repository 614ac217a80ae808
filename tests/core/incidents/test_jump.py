"""Who jumps from one slot that matters to the next decides what one does who takes each slot."""

import pytest
from hypothesis import given
from hypothesis import settings as counts

from core.history.past import Past
from core.incidents.judge import Decision
from core.incidents.jump import decisions
from core.incidents.rules import DEFAULT, Rule
from core.incidents.track import runs, track
from tests.core.incidents.pasts import FIRST, drawn, pasts, rules, slot_by_slot


def by_jumps(found: Past, rule: Rule = DEFAULT) -> list[Decision]:
    of = track(found)
    return list(decisions(of, runs(of, rule.when, rule.measure), rule.measure))


def told(letters: str, rule: Rule = DEFAULT) -> list[tuple[str, int, int]]:
    """Return each decision: its name, the slot that decided it, and since when it is so."""
    return [
        (str(turn), slot - FIRST, since - FIRST)
        for turn, slot, since in by_jumps(drawn(letters), rule)
    ]


@given(pasts(), rules())
@counts(max_examples=500, deadline=None)
def test_jumps_decide_what_a_fold_over_every_slot_does(found: Past, rule: Rule) -> None:
    assert by_jumps(found, rule) == list(slot_by_slot(found, rule))


def test_a_bad_slot_long_before_counts_no_more() -> None:
    assert told("-" + "+" * 50 + "-" + "+" * 50) == []
    assert told("++-+-++") == [("opened", 4, 2), ("resolved", 6, 5)]


def test_what_is_open_goes_on_over_slots_that_nobody_observed() -> None:
    assert told("--+uuuu+") == [("opened", 1, 0), ("resolved", 7, 2)]
    assert told("--+uu-uu+") == [("opened", 1, 0)]


def test_a_pause_ends_what_is_open_and_what_was_before_it_counts_no_more() -> None:
    assert told("--____-+++") == [("opened", 1, 0), ("resolved", 2, 2)]
    assert told("--__--") == [("opened", 1, 0), ("resolved", 2, 2), ("opened", 5, 4)]


def test_a_pause_while_nothing_is_open_changes_nothing() -> None:
    assert told("-___-") == [("opened", 4, 0)]


def test_slots_that_were_not_due_are_passed_over() -> None:
    assert told("-    -    +    +") == [("opened", 5, 0), ("resolved", 15, 10)]


@pytest.mark.parametrize("length", [0, 1, 40])
def test_where_nothing_is_bad_nothing_is_decided(length: int) -> None:
    assert told("+" * length) == []
