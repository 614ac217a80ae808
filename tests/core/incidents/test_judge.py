"""The judge: every short history under every small rule, against one who reads it whole."""

from collections.abc import Iterator, Sequence
from itertools import product

import pytest
from hypothesis import given
from hypothesis import settings as counts
from hypothesis import strategies as st

from core.incidents.judge import (
    FLAPPING_CLEAR,
    MOST,
    NOTHING,
    REOPEN_M,
    Decision,
    Limits,
    Memory,
    Turn,
    Verdict,
    begun_anew,
    first_bad,
    is_quiet,
    step,
)
from tests.core.incidents import oracle

DEFAULT = Limits(2, 3, 2)
RULES = [
    Limits(bad, of, clear)
    for of in range(1, 6)
    for bad in range(1, of + 1)
    for clear in (of - bad + 1, of - bad + 2)
]


def judged(
    history: str, limits: Limits = DEFAULT, slots: Sequence[int] | None = None
) -> tuple[Memory, list[Decision]]:
    """Fold a history, a letter of each slot; they are a minute apart unless said otherwise."""
    memory, decisions = NOTHING, []
    for slot, letter in zip(slots or range(len(history)), history, strict=True):
        memory, decision = step(memory, slot, Verdict(letter), limits)
        decisions += [decision] if decision else []
    return memory, decisions


def by_oracle(history: str, limits: Limits, slots: Sequence[int] | None = None) -> list[Decision]:
    told = oracle.decisions(list(zip(slots or range(len(history)), history, strict=True)), *limits)
    return [Decision(Turn(turn), slot, since) for turn, slot, since in told]


def told(history: str, limits: Limits = DEFAULT) -> list[tuple[str, int, int]]:
    return [tuple(one) for one in judged(history, limits)[1]]  # type: ignore[misc]


def test_one_bad_slot_is_pending_and_two_of_three_are_an_incident() -> None:
    memory, decisions = judged("ggb")
    assert (decisions, first_bad(memory, DEFAULT)) == ([], 2)
    assert told("ggbgb") == [("opened", 4, 2)]
    assert told("ggbggb") == []


def test_two_good_slots_in_a_row_resolve_since_the_first_of_them() -> None:
    assert told("bbgbgg") == [("opened", 1, 0), ("resolved", 5, 4)]


def test_blind_slots_neither_confirm_nor_clear() -> None:
    assert told("bxxb") == []
    assert told("bxb") == [("opened", 2, 0)]
    assert told("bbxxxxxx") == [("opened", 1, 0)]
    assert told("bbgxxxg") == [("opened", 1, 0), ("resolved", 6, 2)]


def test_what_turns_bad_soon_after_its_resolve_is_the_same_incident() -> None:
    soon = "bbgg" + "g" * (REOPEN_M - 2) + "bb"
    assert told(soon)[-1] == ("reopened", len(soon) - 1, len(soon) - 2)
    later = "bbgg" + "g" * (REOPEN_M - 1) + "bb"
    assert told(later)[-1] == ("opened", len(later) - 1, len(later) - 2)


def test_four_flaps_in_an_hour_stay_open_until_fifteen_good_slots() -> None:
    flapping = "bbgg" * 5
    memory, decisions = judged(flapping)
    assert [one.turn for one in decisions].count(Turn.REOPENED) == 4
    assert memory.is_flapping
    assert memory.is_open
    calm = "g" * (FLAPPING_CLEAR - 2)
    assert judged(flapping + calm[1:])[0].is_open
    assert told(flapping + calm)[-1] == ("resolved", 18 + FLAPPING_CLEAR - 1, 18)
    assert told(flapping + calm[1:] + "b" + "g" * FLAPPING_CLEAR)[-1][0] == "resolved"


def test_four_flaps_in_more_than_an_hour_are_four_flaps() -> None:
    assert not judged(("b" * 6 + "g" * 14) * 5)[0].is_flapping
    assert judged(("b" * 5 + "g" * 14) * 4 + "bb")[0].is_flapping


def test_what_a_quiet_server_forgets_changes_nothing() -> None:
    for history in ("g" * 40, "b" + "g" * MOST, "x" * 5):
        memory, _ = judged(history)
        assert is_quiet(memory, len(history) - 1)
    for history in ("b", "bb", "bbgg", "b" + "g" * (MOST - 1)):
        memory, _ = judged(history)
        assert not is_quiet(memory, len(history) - 1)


def test_who_is_looked_at_otherwise_has_no_past_and_what_is_open_stays_open() -> None:
    memory, _ = judged("bbg")
    anew = begun_anew(memory)
    assert (anew.is_open, anew.verdicts) == (True, "")
    anew, decision = step(anew, 3, Verdict.GOOD, DEFAULT)
    assert decision is None
    _, decision = step(anew, 4, Verdict.GOOD, DEFAULT)
    assert decision == Decision(Turn.RESOLVED, 4, 3)
    assert begun_anew(judged("b")[0]) == NOTHING


def test_after_a_resolve_by_hand_as_many_new_bad_slots_open_a_new_one() -> None:
    memory, _ = judged("bbb")
    assert memory.is_open
    memory, decision = step(NOTHING, 3, Verdict.BAD, DEFAULT)
    assert decision is None
    _, decision = step(memory, 4, Verdict.BAD, DEFAULT)
    assert decision == Decision(Turn.OPENED, 4, 3)


# For all histories and rules


def walked(limits: Limits, length: int) -> Iterator[tuple[str, list[Decision], Memory]]:
    """Go through every history of that length, sharing what their beginnings have in common."""

    def further(
        history: str, memory: Memory, decisions: list[Decision]
    ) -> Iterator[tuple[str, list[Decision], Memory]]:
        if len(history) == length:
            yield history, decisions, memory
            return
        for verdict in Verdict:
            then, decision = step(memory, len(history), verdict, limits)
            yield from further(
                history + verdict, then, [*decisions, decision] if decision else decisions
            )

    yield from further("", NOTHING, [])


@pytest.mark.parametrize("limits", RULES, ids=str)
def test_every_history_is_judged_as_by_one_who_reads_it_whole(
    limits: Limits,
) -> None:
    for history, decisions, _ in walked(limits, length=6):
        assert decisions == by_oracle(history, limits), history


@pytest.mark.parametrize("limits", RULES, ids=str)
def test_no_rule_reopens_on_fewer_new_bad_slots_than_it_asks_for(limits: Limits) -> None:
    for letters in product("gb", repeat=12):
        history = "".join(letters)
        resolved = None
        for one in judged(history, limits)[1]:
            if one.turn is Turn.RESOLVED:
                resolved = one.slot
            elif resolved is not None:
                assert history[resolved + 1 : one.slot + 1].count("b") >= limits.bad, history


@st.composite
def histories(draw: st.DrawFn) -> tuple[str, list[int], Limits]:
    of = draw(st.integers(1, MOST))
    bad = draw(st.integers(1, of))
    clear = draw(st.integers(of - bad + 1, MOST))
    runs = draw(st.lists(st.tuples(st.sampled_from("gbx"), st.integers(1, 20)), max_size=25))
    history = "".join(letter * length for letter, length in runs)
    interval = draw(st.sampled_from([1, 1, 2, 5, 60]))
    return history, [place * interval for place in range(len(history))], Limits(bad, of, clear)


@given(histories())
@counts(max_examples=300, deadline=None)
def test_long_histories_too(drawn: tuple[str, list[int], Limits]) -> None:
    history, slots, limits = drawn
    assert judged(history, limits, slots)[1] == by_oracle(history, limits, slots)


@given(histories())
@counts(max_examples=300, deadline=None)
def test_a_server_that_is_quiet_may_be_forgotten_at_any_time(
    drawn: tuple[str, list[int], Limits],
) -> None:
    history, slots, limits = drawn
    memory, decisions = NOTHING, []
    for slot, letter in zip(slots, history, strict=True):
        memory, decision = step(memory, slot, Verdict(letter), limits)
        decisions += [decision] if decision else []
        memory = NOTHING if is_quiet(memory, slot) else memory
    assert decisions == judged(history, limits, slots)[1]
