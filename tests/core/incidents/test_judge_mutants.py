"""Faults put into the judge, one at a time: each is found by the oracle.

A judge that is wrong and isn't found would say that the oracle doesn't look.
"""

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from core.incidents import judge
from tests.core.incidents import oracle
from tests.core.incidents.mutants import mutated

SOURCE = Path(judge.__file__).read_text()
MUTANTS = [
    ("REOPEN_M = 15", "REOPEN_M = 14"),
    ("REOPEN_M = 15", "REOPEN_M = 16"),
    ("FLAPS, FLAPS_M = 4, 60", "FLAPS, FLAPS_M = 5, 60"),
    ("FLAPS, FLAPS_M = 4, 60", "FLAPS, FLAPS_M = 3, 60"),
    ("FLAPS, FLAPS_M = 4, 60", "FLAPS, FLAPS_M = 4, 50"),
    ("FLAPPING_CLEAR = 15", "FLAPPING_CLEAR = 14"),
    ("MOST = 32", "MOST = 4"),
    ("good, since = 0, None", "good, since = good, since"),
    ("good, since = good + 1, slot if since is None else since", "good, since = good + 1, slot"),
    ("elif verdict is Verdict.GOOD:", "else:"),
    ("memory.good < needed", "memory.good <= needed"),
    ("memory.good < needed", "memory.good < needed - 1"),
    ("max(limits.clear, FLAPPING_CLEAR) if", "FLAPPING_CLEAR if"),
    ("is_open=False, is_flapping=False, resolved=slot", "is_open=False, resolved=slot"),
    ("resolved=slot)", "resolved=memory.good_since)"),
    ("Decision(Turn.RESOLVED, slot, memory.good_since)", "Decision(Turn.RESOLVED, slot, slot)"),
    (".count(Verdict.BAD) < limits.bad", ".count(Verdict.BAD) <= limits.bad"),
    ("memory.verdicts[-limits.of :]", "memory.verdicts[-limits.of - 1 :]"),
    ("resolved=None, flaps=())", "resolved=None)"),
    ("slot - memory.resolved > REOPEN_M", "slot - memory.resolved >= REOPEN_M"),
    ("len(flaps) >= FLAPS", "len(flaps) > FLAPS"),
    ("Verdict.BAD, max(len(memory.verdicts) - limits.of, 0)", "Verdict.BAD"),
]


def histories() -> Iterator[tuple[list[tuple[int, str]], tuple[int, int, int]]]:
    """Yield histories in runs, as outages are, with rules: the same ones for every mutant."""
    chance = random.Random(7)
    while True:
        of = chance.randint(1, 6)
        bad = chance.randint(1, of)
        limits = bad, of, chance.choice([of - bad + 1, of - bad + 2, 17])
        letters = ("b" * bad + "g" * limits[2]) * chance.choice((0, 0, 5))
        while len(letters) < 120:
            letters += chance.choice("gggbbx") * chance.choice((1, 1, 1, 2, 2, 3, 12, 16))
        yield list(enumerate(letters)), limits


def decided(module: Any, history: list[tuple[int, str]], limits: Any) -> list[Any]:
    memory, found = module.NOTHING, []
    for slot, letter in history:
        memory, decision = module.step(memory, slot, module.Verdict(letter), module.Limits(*limits))
        found += [tuple(decision)] if decision else []
    return found


def differs(module: Any, most: int) -> bool:
    """Whether one of so many histories is judged otherwise than the oracle does."""
    return any(
        decided(module, *made) != oracle.decisions(made[0], *made[1])
        for made, _ in zip(histories(), range(most), strict=False)
    )


def test_the_judge_itself_is_right() -> None:
    assert not differs(judge, 150)


@pytest.mark.parametrize(("right", "wrong"), MUTANTS)
def test_a_wrong_judge_is_found(right: str, wrong: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert differs(mutated(SOURCE, right, wrong, monkeypatch), 1_000)
