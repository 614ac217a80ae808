"""When a rule finds a server bad: each kind, against one who reads the whole history."""

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as counts
from hypothesis import strategies as st

from core.errors import WrongRequest
from core.incidents.judge import MOST, NOTHING, Decision, Turn, begun_anew, is_quiet
from core.incidents.when import Measure, Seen, When, measure, step
from tests.core.incidents import oracle

UP, BAD = Seen(4, 4, 10.0), Seen(4, 0, None)


def folded(history: Sequence[Seen | None], by: Measure) -> list[tuple[str, int, int]]:
    memory = NOTHING
    decisions: list[tuple[str, int, int]] = []
    for slot, seen in enumerate(history):
        memory, decision = step(memory, slot, seen, by)
        decisions += [tuple(decision)] if decision else []  # type: ignore[list-item]
    return decisions


def told(history: Sequence[Seen | None], clear: int = 2, **when: Any) -> list[tuple[str, int, int]]:
    return folded(history, measure(When.of(when), clear))


def by_oracle(
    history: Sequence[Seen | None], when: dict[str, Any], clear: int
) -> list[tuple[str, int, int]]:
    bad, of = (when["down"], when["of"]) if "down" in when else (1, 1)
    letters = oracle.letters(history, when)
    return oracle.decisions(list(enumerate(letters)), bad, of, clear)


# What is asked for


@pytest.mark.parametrize(
    ("when", "field", "sentence"),
    [
        ({"of": 3}, "when", "none of them"),
        ({"down": 1, "loss_pct": 5, "of": 3}, "when", "got down and loss_pct"),
        ({"down": 4, "of": 3}, "when.down", "at most as many slots as of, 3, got 4"),
        ({"p95_ms": 5, "k": 4, "of": 3}, "when.k", "at most as many slots as of, 3, got 4"),
        ({"down": 1, "of": 3, "k": 1}, "when.k", "k must stand beside p95_ms"),
        ({"down": 1, "of": MOST + 1}, "of", "of must be 1 to 32, got 33"),
        ({"loss_pct": 0, "of": 3}, "loss_pct", "loss_pct must be 1 to 100 or null, got 0"),
        ({"p95_ms": 0, "of": 3}, "p95_ms", "p95_ms must be"),
        ({"down": 1}, "of", "of is required"),
    ],
)
def test_what_is_no_rule_is_refused(when: object, field: str, sentence: str) -> None:
    with pytest.raises(WrongRequest, match=sentence) as refused:
        When.of(when)
    assert refused.value.field == field


@pytest.mark.parametrize(("of", "k"), [(1, 1), (2, 1), (19, 1), (20, 2), (MOST, 2)])
def test_without_a_number_of_slots_it_is_the_95th_percentile(of: int, k: int) -> None:
    assert When.of({"p95_ms": 5, "of": of}).k == k


# What is found


def test_who_loses_half_of_its_echoes_is_bad_from_the_slot_on_that_makes_it_half() -> None:
    half, none = Seen(4, 2, 10.0), Seen(4, 4, 10.0)
    assert told([half, half, none, none, none], loss_pct=50, of=2) == [
        ("opened", 1, 1),
        ("resolved", 3, 2),
    ]


def test_blind_slots_lose_no_echoes() -> None:
    assert told([BAD, None, None, BAD], loss_pct=100, of=2) == [("opened", 3, 3)]


def test_a_new_server_opens_nothing_by_what_it_lost_before_its_window_is_bad_for_certain() -> None:
    assert told([BAD, BAD], loss_pct=60, of=5) == []
    assert told([BAD, BAD, BAD], loss_pct=60, of=5) == [("opened", 2, 2)]


def test_who_is_slow_too_often_is_bad_and_who_does_not_answer_is_not_slow() -> None:
    slow = Seen(4, 4, 10.5)
    assert told([slow, UP, BAD, slow], p95_ms=10, of=3, k=2) == []
    assert told([slow, BAD, slow, UP, UP, UP], p95_ms=10, of=3, k=2) == [
        ("opened", 2, 2),
        ("resolved", 4, 3),
    ]


def test_who_is_seen_too_seldom_is_bad() -> None:
    history = [UP, None, UP, None, UP, UP, UP, UP]
    assert told(history, coverage_pct=67, of=3) == [("opened", 1, 1), ("resolved", 7, 6)]
    assert told([UP, None, None, UP, UP], coverage_pct=66, of=3)[0] == ("opened", 2, 2)


def test_an_open_incident_of_one_who_is_looked_at_otherwise_ends_by_good_slots() -> None:
    by = measure(When(loss_pct=50, span=10), 2)
    memory = NOTHING
    for slot in range(5):
        memory, decision = step(memory, slot, BAD, by)
    assert decision == Decision(Turn.OPENED, 4, 4)
    memory, decision = step(begun_anew(memory), 5, UP, by)
    assert decision is None
    assert step(memory, 6, UP, by)[1] == Decision(Turn.RESOLVED, 6, 5)


# Any history


SEEN = st.one_of(
    st.none(),
    st.just(UP),
    st.just(BAD),
    st.builds(
        lambda sent, lost, ms: Seen(sent, max(sent - lost, 0), ms if sent > lost else None),
        st.integers(1, 6),
        st.integers(0, 6),
        st.sampled_from([9.99, 10.0, 10.01, 500.0]),
    ),
)
HISTORIES = st.lists(st.tuples(SEEN, st.sampled_from([1, 1, 2, 5, 20])), max_size=25).map(
    lambda runs: [seen for seen, length in runs for _ in range(length)]
)


@st.composite
def rules(draw: st.DrawFn) -> tuple[dict[str, Any], int]:
    of = draw(st.integers(1, MOST))
    down = draw(st.integers(1, of))
    kinds: list[dict[str, Any]] = [
        {"down": down},
        {"loss_pct": draw(st.integers(1, 100))},
        {"p95_ms": 10.0},
        {"p95_ms": 10.0, "k": down},
        {"coverage_pct": draw(st.integers(1, 100))},
    ]
    when = draw(st.sampled_from(kinds))
    least = of - down + 1 if "down" in when else 1
    return when | {"of": of}, draw(st.integers(least, max(least, 6)))


@given(HISTORIES, rules())
@counts(max_examples=400, deadline=None)
def test_every_kind_is_judged_as_by_one_who_reads_the_whole_history(
    history: list[Seen | None], rule: tuple[dict[str, Any], int]
) -> None:
    when, clear = rule
    assert told(history, clear, **when) == by_oracle(history, when, clear)


@given(HISTORIES, rules())
@counts(max_examples=300, deadline=None)
def test_who_is_quiet_may_be_forgotten_at_any_time(
    history: list[Seen | None], rule: tuple[dict[str, Any], int]
) -> None:
    when, clear = rule
    by, memory = measure(When.of(when), clear), NOTHING
    decisions: list[tuple[object, ...]] = []
    for slot, seen in enumerate(history):
        memory, decision = step(memory, slot, seen, by)
        decisions += [tuple(decision)] if decision else []
        memory = NOTHING if is_quiet(memory, slot) else memory
    assert decisions == folded(history, by)
