"""What has become of every echo of a sweep, in a few bytes each.

Echo number k of target t has the *slot* k * targets + t: slots in order are the order of sending.
"""

from array import array
from collections.abc import Iterator, Sequence
from typing import overload

from core.probe.signature import ClockUsed, Echo, Heard, Result, Verdict

VERDICTS = tuple(Verdict)
ANSWERED, REFUSED, UNREACHABLE, NO_ANSWER, LOCAL_FAULT = range(1, 1 + len(VERDICTS))  # 0: not yet
CLOCKS = (None, *ClockUsed)  # index 0: nobody timed it
KERNEL, USER = range(1, len(CLOCKS))


class Ledger:
    """The verdicts, round trips, bounds, clocks and reasons of all slots, kept in arrays.

    `codes[slot]` is 0 until the echo has ended; then it never changes: what comes late or twice
    finds the page written.
    """

    def __init__(self, targets: int, echoes: int, heard: Heard | None) -> None:
        slots = targets * echoes
        self.targets = targets
        self.open = slots
        self.codes = bytearray(slots)
        self.ports = array("H", bytes(2 * targets))
        self._clocks = bytearray(slots)
        self._rtts_ms = array("d", bytes(8 * slots))
        self._bounds_ms = array("d", bytes(8 * slots))
        self._reasons = array("I", bytes(4 * slots))
        self._texts = [""]
        self._text_ids = {"": 0}
        self._heard = heard

    def timed(self, slot: int, code: int, rtt_ms: float, bound_ms: float, clock: int) -> None:
        """An echo came back: its verdict, round trip, bound and clock (indexes of the above)."""
        self._rtts_ms[slot] = rtt_ms
        self._bounds_ms[slot] = bound_ms
        self._clocks[slot] = clock
        self.codes[slot] = code
        self.open -= 1
        if self._heard is not None:
            self._heard(slot % self.targets, slot // self.targets, self.echo(slot))

    def end(self, slot: int, code: int, reason: str = "") -> None:
        """An echo is over, and nobody can say how long it took."""
        self.codes[slot] = code
        self.open -= 1
        if reason:
            self.explain(slot, reason)
        if self._heard is not None:
            self._heard(slot % self.targets, slot // self.targets, self.echo(slot))

    def explain(self, slot: int, reason: str) -> None:
        """Note why (before the echo is ended); each text is kept once."""
        if reason not in self._text_ids:
            self._text_ids[reason] = len(self._texts)
            self._texts.append(reason)
        self._reasons[slot] = self._text_ids[reason]

    def echo(self, slot: int) -> Echo:
        """The echo of that slot, which must have ended."""
        verdict = VERDICTS[self.codes[slot] - 1]
        reason = self._texts[self._reasons[slot]]
        clock = CLOCKS[self._clocks[slot]]
        if clock is None:
            return Echo(verdict, reason=reason)
        return Echo(verdict, self._rtts_ms[slot], clock, self._bounds_ms[slot], reason)

    def results(self) -> list[Result]:
        """One for each target, in the order of the targets."""
        return [Result(_Echoes(self, t), self.ports[t] or None) for t in range(self.targets)]


class _Echoes(Sequence[Echo]):
    """One target's echoes, read from the ledger when looked at: an Echo kept costs 150 bytes."""

    __slots__ = ("_ledger", "_target")

    def __init__(self, ledger: Ledger, target: int) -> None:
        self._ledger = ledger
        self._target = target

    def _slots(self) -> range:
        return range(self._target, len(self._ledger.codes), self._ledger.targets)

    def __len__(self) -> int:
        return len(self._slots())

    def __iter__(self) -> Iterator[Echo]:
        return map(self._ledger.echo, self._slots())

    @overload
    def __getitem__(self, index: int) -> Echo: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[Echo]: ...

    def __getitem__(self, index: int | slice) -> Echo | Sequence[Echo]:
        if isinstance(index, slice):
            return tuple(map(self._ledger.echo, self._slots()[index]))
        return self._ledger.echo(self._slots()[index])

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and tuple(self) == tuple(other)

    def __hash__(self) -> int:
        return hash(tuple(self))

    def __repr__(self) -> str:
        return repr(tuple(self))

    def __reduce__(self) -> tuple[type[tuple[Echo, ...]], tuple[tuple[Echo, ...]]]:
        return tuple, (tuple(self),)
