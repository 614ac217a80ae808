"""What has become of every echo of a sweep, in a few bytes each.

Echo number k of target t has the *index* k * targets + t: they are sent in order of index.
"""

from array import array
from collections.abc import Iterator, Sequence
from typing import overload

from core.probe.signature import ClockUsed, Echo, Heard, Result, Verdict

VERDICTS = tuple(Verdict)
ANSWERED, REFUSED, UNREACHABLE, NO_ANSWER, LOCAL_FAULT = range(1, 1 + len(VERDICTS))  # 0: not yet
CLOCKS = (None, *ClockUsed)  # the first: nobody timed it
KERNEL, USER = range(1, len(CLOCKS))


class Ledger:
    """The verdicts, round trips, bounds, clocks and reasons of all echoes, kept in arrays.

    `codes[index]` is 0 until the echo has ended; then it never changes: what comes late or twice
    finds the page written.
    """

    def __init__(self, targets: int, echoes: int, heard: Heard | None) -> None:
        indexes = targets * echoes
        self.targets = targets
        self.open = indexes
        self.codes = bytearray(indexes)
        self.ports = array("H", bytes(2 * targets))
        self._clocks = bytearray(indexes)
        self._rtts_ms = array("d", bytes(8 * indexes))
        self._bounds_ms = array("d", bytes(8 * indexes))
        self._reasons = array("I", bytes(4 * indexes))
        self._texts = [""]
        self._text_ids = {"": 0}
        self._heard = heard

    def timed(self, index: int, code: int, rtt_ms: float, bound_ms: float, clock: int) -> None:
        """An echo came back: its verdict, round trip, bound and clock (places in the above)."""
        self._rtts_ms[index] = rtt_ms
        self._bounds_ms[index] = bound_ms
        self._clocks[index] = clock
        self.codes[index] = code
        self.open -= 1
        if self._heard is not None:
            self._heard(index % self.targets, index // self.targets, self.echo(index))

    def end(self, index: int, code: int, reason: str = "") -> None:
        """An echo is over, and nobody can say how long it took."""
        self.codes[index] = code
        self.open -= 1
        if reason:
            self.explain(index, reason)
        if self._heard is not None:
            self._heard(index % self.targets, index // self.targets, self.echo(index))

    def explain(self, index: int, reason: str) -> None:
        """Note why (before the echo is ended); each text is kept once."""
        if reason not in self._text_ids:
            self._text_ids[reason] = len(self._texts)
            self._texts.append(reason)
        self._reasons[index] = self._text_ids[reason]

    def echo(self, index: int) -> Echo:
        """The echo of that index, which must have ended."""
        verdict = VERDICTS[self.codes[index] - 1]
        reason = self._texts[self._reasons[index]]
        clock = CLOCKS[self._clocks[index]]
        if clock is None:
            return Echo(verdict, reason=reason)
        return Echo(verdict, self._rtts_ms[index], clock, self._bounds_ms[index], reason)

    def results(self) -> list[Result]:
        """One for each target, in the order of the targets."""
        return [Result(_Echoes(self, t), self.ports[t] or None) for t in range(self.targets)]


class _Echoes(Sequence[Echo]):
    """One target's echoes, read from the ledger when looked at: an Echo kept costs 150 bytes."""

    __slots__ = ("_ledger", "_target")

    def __init__(self, ledger: Ledger, target: int) -> None:
        self._ledger = ledger
        self._target = target

    def _indexes(self) -> range:
        return range(self._target, len(self._ledger.codes), self._ledger.targets)

    def __len__(self) -> int:
        return len(self._indexes())

    def __iter__(self) -> Iterator[Echo]:
        return map(self._ledger.echo, self._indexes())

    @overload
    def __getitem__(self, number: int) -> Echo: ...

    @overload
    def __getitem__(self, number: slice) -> Sequence[Echo]: ...

    def __getitem__(self, number: int | slice) -> Echo | Sequence[Echo]:
        if isinstance(number, slice):
            return tuple(map(self._ledger.echo, self._indexes()[number]))
        return self._ledger.echo(self._indexes()[number])

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and tuple(self) == tuple(other)

    def __hash__(self) -> int:
        return hash(tuple(self))

    def __repr__(self) -> str:
        return repr(tuple(self))

    def __reduce__(self) -> tuple[type[tuple[Echo, ...]], tuple[tuple[Echo, ...]]]:
        return tuple, (tuple(self),)
