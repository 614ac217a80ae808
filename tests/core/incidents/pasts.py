"""Pasts for tests of back-tests: drawn letter by letter, and judged slot by slot."""

from collections.abc import Iterator, Sequence
from itertools import groupby

from hypothesis import strategies as st

from core.history.codec import Rows, merged
from core.history.days import DayView
from core.history.past import Past
from core.incidents.judge import NOTHING, Decision, Turn
from core.incidents.rules import Rule
from core.incidents.when import Seen, step
from core.slots import DAY_SLOTS

FIRST = 20_000 * DAY_SLOTS - 60
"""An hour before a midnight."""
PAUSED, NOT_DUE, UNOBSERVED, EXEMPT = "_", " ", "u", "m"


def seen(letter: str, ms: float | None = 20.0) -> Seen | None:
    """Return what a letter stands for: a number is so many of ten echoes that came back."""
    if letter == "-":
        return Seen(10, 0, None)
    if letter.isdigit():
        return Seen(10, int(letter), ms)
    return Seen(10, 10, ms) if letter == "+" else None


def past(found: Sequence[tuple[str, Seen | None]], first: int = FIRST) -> Past:
    """Return what a server's slots were, each a letter and what was seen of it."""
    rows: dict[int, Rows] = {}
    for slot, (_, one) in enumerate(found, first):
        number, minute = divmod(slot, DAY_SLOTS)
        of_day = rows.setdefault(number, Rows([], [], [], [], [], []))
        if one:
            hundredths = -1 if one.ms is None else round(one.ms * 100)
            row = (minute, hundredths, hundredths, hundredths, one.sent, one.received)
            for column, value in zip(of_day, row, strict=True):
                column.append(value)
    days = {number: DayView(merged(None, of_day), 0) for number, of_day in rows.items()}
    letters = "".join("~" if letter.isdigit() else letter for letter, _ in found)
    return Past(first, letters, days, _worst_ms(found, first))


def _worst_ms(found: Sequence[tuple[str, Seen | None]], first: int) -> dict[int, float]:
    """Return the slowest slot of every second day: of the others it isn't known."""
    numbered = [(slot // DAY_SLOTS, one) for slot, (_, one) in enumerate(found, first)]
    of_days = groupby(numbered, key=lambda one: one[0])
    times = {day: [one.ms for _, one in some if one and one.ms] for day, some in of_days}
    return {day: max(some) for day, some in times.items() if some and day % 2}


def drawn(letters: str) -> Past:
    """Return a past of these letters, all of whose answers took 20 ms."""
    return past([(letter, seen(letter)) for letter in letters])


def slot_by_slot(found: Past, rule: Rule) -> Iterator[Decision]:
    """Yield what the judge decides, asked about each slot that was due; a pause ends what is open.

    Nothing is skipped, and nothing is known beforehand.
    """
    memory = NOTHING
    for slot, letter in enumerate(found.letters, found.first):
        if letter == PAUSED and memory.is_open:
            yield Decision(Turn.RESOLVED, slot, slot)
            memory = NOTHING
        if letter not in (PAUSED, NOT_DUE, EXEMPT):
            memory, decision = step(memory, slot, _kept(found, slot, letter), rule.measure)
            if decision:
                yield decision


def _kept(found: Past, slot: int, letter: str) -> Seen | None:
    if letter == UNOBSERVED:
        return None
    number, minute = divmod(slot, DAY_SLOTS)
    slots = found.days[number].slots
    ms = None if slots.mean[minute] > 50_000 else slots.mean[minute] / 100
    return Seen(slots.sent[minute], slots.received[minute], ms)


@st.composite
def pasts(draw: st.DrawFn) -> Past:
    """Draw some hours around a midnight: runs of alike slots, and times that go up and down."""
    letters = st.sampled_from("+++--u_ m1599")
    runs = draw(st.lists(st.tuples(letters, st.integers(1, 40)), min_size=1, max_size=40))
    times = st.sampled_from([None, 1.0, 20.0, 20.01, 99.99])
    found = []
    for letter, length in runs:
        step_by = draw(st.sampled_from([1, 1, 2, 5]))
        ms = draw(times)
        for place in range(length):
            one = letter if place % step_by == 0 or letter == PAUSED else NOT_DUE
            found.append((one, seen(one, ms)))
    return past(found)


@st.composite
def rules(draw: st.DrawFn) -> Rule:
    """Draw a rule of any kind."""
    span = draw(st.integers(1, 32))
    number = {
        "down": draw(st.integers(1, span)),
        "loss_pct": draw(st.integers(1, 100)),
        "p95_ms": draw(st.sampled_from([0.5, 20.0, 50.0])),
        "coverage_pct": draw(st.integers(1, 100)),
    }
    kind = draw(st.sampled_from(sorted(number)))
    least = span - number["down"] + 1 if kind == "down" else 1
    clear = draw(st.integers(least, 32))
    return Rule.of({"name": "drawn", "when": {kind: number[kind], "of": span}, "clear": clear})
