"""Faults put into what a rule finds, one at a time: each is found by the oracle."""

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from core.incidents import when
from tests.core.incidents import oracle
from tests.core.incidents.mutants import mutated

SOURCE = Path(when.__file__).read_text()
MUTANTS = [
    ("int(not seen.received)", "int(seen.received < seen.sent)"),
    ("(seen.sent - seen.received) * WHOLE // seen.sent", "(4 - seen.received) * WHOLE // 4"),
    ("WHOLE = 720_720", "WHOLE = 1"),
    ("seen.ms > ms)", "seen.ms >= ms)"),
    ("int(seen is None)", "int(seen is not None)"),
    ("percent * when.span * WHOLE", "percent * when.span * WHOLE + 1"),
    ("when.k or 1", "1"),
    ("(100 - percent) // 100 + 1", "(100 - percent) // 100"),
    ("-(-95 * self.span // 100) + 1", "95 * self.span // 100 + 1"),
    ("mark)[-by.span :]", "mark)[-by.span - 1 :]"),
    ("sum(marks) >= by.enough", "sum(marks) > by.enough"),
    ("        return judge.step(memory, slot, Verdict.BLIND, by.limits)\n", "        mark = 0\n"),
    ("1, Limits(when.down, when.span, clear)", "when.span, Limits(1, 1, clear)"),
]


def worlds() -> Iterator[tuple[list[oracle.Seen], dict[str, Any], int]]:
    """Yield histories in runs, with what a rule says: the same ones for every mutant."""
    chance = random.Random(7)
    while True:
        of = chance.choice([1, 2, 3, 5, 20, 25])
        kind, numbers = chance.choice(
            [
                ("down", [1, (of + 1) // 2]),
                ("loss_pct", [10, 20, 33, 50]),
                ("p95_ms", [10.0]),
                ("coverage_pct", [50, 60, 80]),
            ]
        )
        rule = {kind: chance.choice(numbers), "of": of}
        if kind == "p95_ms" and chance.random() < 0.5:
            rule["k"] = (of + 1) // 2
        clear = of if kind == "down" else chance.choice([1, 2, 3])
        history: list[oracle.Seen] = []
        while len(history) < 100:
            history += [_a_slot(chance)] * chance.choice((1, 1, 1, 2, 3, 10))
        yield history, rule, clear


def _a_slot(chance: random.Random) -> oracle.Seen:
    if chance.random() < 0.2:
        return None
    sent = chance.randint(1, 5)
    received = sent - chance.choice([0, 0, 0, 1, sent])
    return sent, received, chance.choice([9.9, 10.0, 10.1]) if received else None


def decided(module: Any, history: list[oracle.Seen], rule: dict[str, Any], clear: int) -> list[Any]:
    by = module.measure(module.When.of(rule), clear)
    memory, found = module.judge.NOTHING, []
    for slot, seen in enumerate(history):
        memory, decision = module.step(memory, slot, seen and module.Seen(*seen), by)
        found += [tuple(decision)] if decision else []
    return found


def by_oracle(history: list[oracle.Seen], rule: dict[str, Any], clear: int) -> list[Any]:
    bad, of = (rule["down"], rule["of"]) if "down" in rule else (1, 1)
    letters = oracle.letters(history, rule)
    return oracle.decisions(list(enumerate(letters)), bad, of, clear)


def differs(module: Any, most: int) -> bool:
    """Whether one of so many histories is judged otherwise than the oracle does."""
    return any(
        decided(module, *made) != by_oracle(*made)
        for made, _ in zip(worlds(), range(most), strict=False)
    )


def test_what_a_rule_finds_is_right() -> None:
    assert not differs(when, 300)


@pytest.mark.parametrize(("right", "wrong"), MUTANTS)
def test_a_wrong_finding_is_found(right: str, wrong: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert differs(mutated(SOURCE, right, wrong, monkeypatch), 2_000)
