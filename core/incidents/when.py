"""When a rule finds a server bad: how bad each of its slots is, and how much of that is enough.

Pure, as the judge is. Each kind is a line of KINDS.

What isn't remembered of a server counts as good, so who has been good for long enough may be
forgotten. A server that is new, or was set to something else, thus opens no incident before its
window would be bad however its other slots were.
"""

from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from typing import Annotated, NamedTuple

from msgspec import Meta, field
from msgspec.structs import force_setattr

from core.errors import WrongRequest
from core.incidents import judge
from core.incidents.judge import MOST, Decision, Limits, Memory, Verdict
from core.reading import Request
from core.refusals import one_of

WHOLE = 720_720
"""All of a slot's echoes; of up to 16 each is a whole number of these, so sums are exact."""
Slots = Annotated[int, Meta(ge=1, le=MOST)]
Percent = Annotated[int, Meta(ge=1, le=100)]


class Seen(NamedTuple):
    """What came of a server's echoes in a slot; `ms` is the mean of those that came back."""

    sent: int
    received: int
    ms: float | None


class When(Request, frozen=True, kw_only=True, omit_defaults=True):
    """Exactly one of `down`, `loss_pct`, `p95_ms` and `coverage_pct`, over the last `of` slots.

    `down`: so many of the last `of` due slots had no answer. `loss_pct`: of the echoes of the last
    `of` observed slots so much was lost, or more; each slot weighs the same. `p95_ms`: `k` of the
    last `of` observed slots, or more, took longer on average; without a `k`, their 95th percentile
    did. `coverage_pct`: less of the last `of` due slots was observed.
    """

    span: Slots = field(name="of")
    down: Slots | None = None
    loss_pct: Percent | None = None
    p95_ms: Annotated[float, Meta(gt=0, le=60_000)] | None = None
    k: Slots | None = None
    coverage_pct: Percent | None = None

    def __post_init__(self) -> None:
        """Raise WrongRequest where it isn't exactly one kind, or never can be bad."""
        named = [name for name in KINDS if getattr(self, name) is not None]
        if len(named) != 1:
            got = " and ".join(named) or "none of them"
            raise WrongRequest(f"when must have {one_of(KINDS)}, and only one, got {got}", "when")
        if self.p95_ms is not None and self.k is None:
            # Of so many the nearest-rank 95th percentile is above what so many of them are above.
            force_setattr(self, "k", self.span - -(-95 * self.span // 100) + 1)
        elif self.p95_ms is None and self.k is not None:
            raise WrongRequest("k must stand beside p95_ms", "when.k")
        for name in ("down", "k"):
            slots = getattr(self, name)
            if slots is not None and slots > self.span:
                sentence = f"{name} must be at most as many slots as of, {self.span}"
                raise WrongRequest(sentence, f"when.{name}", got=slots)

    @property
    def kind(self) -> str:
        """What it looks at: `down`, `loss_pct`, `p95_ms` or `coverage_pct`."""
        return next(name for name in KINDS if getattr(self, name) is not None)

    @property
    def least_clear(self) -> int:
        """The fewest good slots in a row that may resolve: old bad ones alone re-open nothing."""
        return 1 if self.down is None else self.span - self.down + 1


class Kind(NamedTuple):
    """How bad a slot is, 0 where it isn't, None where it says nothing; and how much is enough.

    Both are given the number that stands beside the kind's name.
    """

    mark: Callable[[float, Seen | None], int | None]
    enough: Callable[[int, When], int]


def _unanswered(_slots: float, seen: Seen | None) -> int | None:
    return None if seen is None else int(not seen.received)


def _lost(_percent: float, seen: Seen | None) -> int | None:
    return None if seen is None else 100 * (seen.sent - seen.received) * WHOLE // seen.sent


def _slow(ms: float, seen: Seen | None) -> int | None:
    # Who didn't answer took no time.
    return None if seen is None else int(seen.ms is not None and seen.ms > ms)


def _unobserved(_percent: float, seen: Seen | None) -> int | None:
    return int(seen is None)


KINDS: Mapping[str, Kind] = {
    "down": Kind(_unanswered, lambda _slots, _when: 1),
    "loss_pct": Kind(_lost, lambda percent, when: percent * when.span * WHOLE),
    "p95_ms": Kind(_slow, lambda _ms, when: when.k or 1),
    "coverage_pct": Kind(_unobserved, lambda percent, when: when.span * (100 - percent) // 100 + 1),
}


OneKind = Annotated[
    When,
    Meta(
        extra_json_schema={
            "oneOf": [
                {"required": [kind], "properties": {kind: {"not": {"type": "null"}}}}
                for kind in KINDS
            ]
        }
    ),
]
"""The same, as openapi.json is told that exactly one kind stands in it."""


class Measure(NamedTuple):
    """What it takes: a slot is bad when the marks of the newest `span` are `enough` together.

    Each kind but `down` looks at its whole window in each slot, so one bad slot opens; `down` looks
    at the slot alone, and so many bad ones open.
    """

    mark: Callable[[Seen | None], int | None]
    span: int
    enough: int
    limits: Limits


@lru_cache(maxsize=1_024)
def measure(when: When, clear: int) -> Measure:
    """Return what it takes to be bad, and to be good for `clear` slots in a row."""
    kind, number = KINDS[when.kind], getattr(when, when.kind)
    span, limits = when.span, Limits(1, 1, clear)
    if when.down is not None:
        span, limits = 1, Limits(when.down, when.span, clear)
    return Measure(partial(kind.mark, number), span, kind.enough(number, when), limits)


def step(
    memory: Memory, slot: int, seen: Seen | None, by: Measure
) -> tuple[Memory, Decision | None]:
    """Take the next due slot; return what is remembered then, and what was decided."""
    mark = by.mark(seen)
    if mark is None:
        return judge.step(memory, slot, Verdict.BLIND, by.limits)
    marks = (*memory.marks, mark)[-by.span :]
    verdict = Verdict.BAD if sum(marks) >= by.enough else Verdict.GOOD
    return judge.step(memory._replace(marks=marks), slot, verdict, by.limits)
