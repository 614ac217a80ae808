"""The one loop: what is due next, for all targets of a sweep, ICMP and TCP alike.

A sweep is a machine without a clock spring: `turn` waits for news at most as long as it is told,
does what can be done, and says how long the next wait may be. Who calls it (`drive`,
`drive_async` of aloop.py) decides how the waiting is done, so nothing is written twice.
"""

import gc
from abc import ABC, abstractmethod
from array import array
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from heapq import heappop, heappush
from time import monotonic_ns, sleep
from types import TracebackType
from typing import Self

from core.probe.addresses import Sockaddr, sockaddr_of, understand
from core.probe.ledger import LOCAL_FAULT, Ledger
from core.probe.meter import Meter
from core.probe.signature import Destination, Heard, Pace, Result, anywhere
from core.probe.system import Events, System

BURST = 32  # packets sent before looking for replies again
GLANCE = 256  # indexes looked at for one burst, so that a turn stays short when few may be sent
RETRIES = 2  # times a local fault is probed again
RETRY_NS = 50_000_000  # before the first of them; twice as long before the second
CONGESTION_NS = 2_000_000  # between two tries when the kernel's send buffers are full
NAP_S = 0.001  # to let replies gather where the kernel's stamps make it harmless
NEVER_NS = 1 << 62
OUT_OF_TIME = "out of time"
NOT_ALLOWED = "not allowed from here"


class Sweep(ABC):
    """All echoes to all targets, once.

    The schedule lives here: in order of indexes (echo k to all targets before echo k+1), gap, rate,
    window, time-outs in one first-in-first-out queue (all time-outs are equal), second tries.
    How to send, hear and give up is the subclasses'. Times are CLOCK_MONOTONIC in ns.
    """

    in_flight = 0  # packets out and not heard of
    window = 1  # how many may be
    unhurried = False  # whether what came may lie for a moment: reading one by one costs more

    def __init__(
        self, targets: Sequence[Destination], pace: Pace, heard: Heard | None, system: System
    ) -> None:
        now_ns = monotonic_ns()
        self.targets = targets
        self.ledger = Ledger(len(targets), pace.echoes, heard)
        self.system = system
        self.poller = system.poller()
        self.events_a_turn = 512
        self.places: list[Sockaddr] = []  # of the targets whose first echo was due already
        self.flight: deque[int] = deque()  # indexes in order of sending: so also of timing out
        self.due_ns = array("q", bytes(8 * len(self.ledger.codes)))
        self.sent_ns = array("q", [-NEVER_NS]) * len(targets)  # the newest echo of each target
        self.timeout_ns = int(pace.timeout_s * 1e9)
        self.now_ns = now_ns
        self.quiet_ns = now_ns  # whatever this turn brings, it wasn't there yet at that time
        self._gap_ns = int(pace.gap_s * 1e9)
        self._allowed = None if pace.allowed is anywhere else pace.allowed
        self._meter = Meter(pace.rate_pps, _most_ports(targets), now_ns)
        self._ends_ns = NEVER_NS if pace.budget_s is None else now_ns + int(pace.budget_s * 1e9)
        self._next = 0  # the index after the last one taken in order
        self._later: list[tuple[int, int]] = []  # a heap of (not before, index), out of order
        self._tries: dict[int, int] = {}
        self._congested_ns = 0  # since when the kernel takes no packets; 0: it does
        self._held_ns = 0  # nothing is sent before

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close every descriptor; a second call does nothing."""
        self.poller.close()

    @abstractmethod
    def hear(self, events: Events) -> bool:
        """End the echoes that came back. False if more may be waiting to be read."""

    @abstractmethod
    def launch(self, indexes: list[int]) -> int:
        """Send the first packets of these echoes; return how many packets left."""

    @abstractmethod
    def give_up(self, index: int) -> None:
        """The time-out of an open echo has passed."""

    def usable(self, target: int, place: Sockaddr) -> str:
        """Why no echo can be sent to that target, or an empty string."""
        del target, place
        return ""

    def turn(self, wait_s: float) -> float | None:
        """Wait for news at most `wait_s`, act; return how long to wait next, None when all is over.

        Short: at most `events_a_turn` events and BURST sends.
        """
        if wait_s > NAP_S and self.unhurried and self.in_flight > BURST:
            sleep(NAP_S)
            wait_s -= NAP_S
        looked_ns = monotonic_ns()
        events = self.poller.wait(wait_s, self.events_a_turn)
        self.now_ns = monotonic_ns()  # stamped before anything is worked on
        if self.hear(events) and len(events) < self.events_a_turn:
            self.quiet_ns = looked_ns if events else looked_ns + int(wait_s * 1e9)
        if self.now_ns >= self._ends_ns:
            self._run_out()
        self._expire()
        self._send()
        return self._wait_s()

    def fault(self, index: int, reason: str) -> None:
        """Our failure, not the target's: try again a little later, and at last say so."""
        tried = self._tries.get(index, 0)
        if tried == RETRIES:
            self.ledger.end(index, LOCAL_FAULT, reason)
            return
        self._tries[index] = tried + 1
        self.postpone(index, self.now_ns + (RETRY_NS << tried))

    def postpone(self, index: int, until_ns: int = 0) -> None:
        """Send that echo out of order, not before a time."""
        heappush(self._later, (until_ns, index))

    def congested(self, indexes: list[int], reason: str, pause_ns: int = CONGESTION_NS) -> None:
        """The kernel takes no packets: that's neither loss nor a fault, unless it lasts."""
        self._congested_ns = self._congested_ns or self.now_ns
        self._held_ns = self.now_ns + pause_ns
        if self.now_ns - self._congested_ns > self.timeout_ns:
            self._congested_ns = 0
            self.fault(indexes.pop(0), reason)
        for index in indexes:
            self.postpone(index)

    def _run_out(self) -> None:
        codes = self.ledger.codes
        for index, code in enumerate(codes):
            if not code:
                self.ledger.end(index, LOCAL_FAULT, OUT_OF_TIME)

    def _expire(self) -> None:
        flight, codes, due_ns = self.flight, self.ledger.codes, self.due_ns
        while flight:
            index = flight[0]
            if not codes[index] and due_ns[index] > self.now_ns:
                return
            flight.popleft()
            if not codes[index]:
                self.give_up(index)

    def _send(self) -> None:
        if self.now_ns < self._held_ns:
            return
        room = min(BURST, self.window - self.in_flight, self._meter.room(self.now_ns))
        indexes = self._pick(room)
        if not indexes:
            return
        sent = self.launch(indexes)
        if sent:
            self._meter.spend(sent)
            if self.now_ns >= self._held_ns:
                self._congested_ns = 0

    def _pick(self, room: int) -> list[int]:
        """Up to `room` indexes whose time has come: those out of order, then the next ones."""
        indexes: list[int] = []
        while self._later and len(indexes) < room and self._later[0][0] <= self.now_ns:
            index = heappop(self._later)[1]
            if self._rested_ns(index) > self.now_ns:
                self.postpone(index, self._rested_ns(index))
            elif self._may_be_sent(index):
                self.sent_ns[index % self.ledger.targets] = self.now_ns
                indexes.append(index)
        self._pick_next(indexes, room)
        return indexes

    def _pick_next(self, indexes: list[int], room: int) -> None:
        targets, places, sent_ns = self.ledger.targets, self.places, self.sent_ns
        codes, allowed, rested_ns = self.ledger.codes, self._allowed, self.now_ns - self._gap_ns
        index, last, room = self._next, min(self._next + GLANCE, len(codes)), room - len(indexes)
        while index < last and room > 0:
            target = index % targets
            if sent_ns[target] > rested_ns:
                break
            if target == len(places):
                self._understand(target)
            if not codes[index] and (allowed is None or self._may_be_sent(index)):
                sent_ns[target] = self.now_ns  # so that no burst holds two echoes of one target
                indexes.append(index)
                room -= 1
            index += 1
        self._next = index

    def _rested_ns(self, index: int) -> int:
        """When that index's target has had its gap."""
        return self.sent_ns[index % self.ledger.targets] + self._gap_ns

    def _may_be_sent(self, index: int) -> bool:
        if self.ledger.codes[index]:
            return False
        if self._allowed is None:
            return True
        if self._allowed(self.targets[index % self.ledger.targets].address):
            return True
        self.ledger.end(index, LOCAL_FAULT, NOT_ALLOWED)
        return False

    def _understand(self, target: int) -> None:
        """Read the address when its first echo is due, not all at the start: turns stay short."""
        literal = self.targets[target].address
        try:
            place = sockaddr_of(literal) or understand(literal).sockaddr()
            reason = self.usable(target, place)
        except ValueError as error:
            place, reason = NOWHERE, str(error)
        self.places.append(place)
        if reason:
            self.spare(target, reason)

    def spare(self, target: int, reason: str) -> None:
        """Send that target nothing more."""
        for index in range(target, len(self.ledger.codes), self.ledger.targets):
            if not self.ledger.codes[index]:
                self.ledger.end(index, LOCAL_FAULT, reason)

    def _wait_s(self) -> float | None:
        if not self.ledger.open:
            return None
        due_ns = min(self._ends_ns, self.next_look_ns())
        if self.flight:
            due_ns = min(due_ns, self.due_ns[self.flight[0]])
        if self.in_flight < self.window:
            due_ns = min(due_ns, self._next_send_ns())
        return max(0.0, (due_ns - monotonic_ns()) / 1e9)

    @property
    def more_to_send(self) -> bool:
        """Whether there are echoes whose turn hasn't come."""
        return self._next < len(self.due_ns) or bool(self._later)

    def next_look_ns(self) -> int:
        """When to look for news at the latest."""
        return NEVER_NS

    def _next_send_ns(self) -> int:
        due_ns = self._later[0][0] if self._later else NEVER_NS
        if self._next < len(self.ledger.codes):
            due_ns = min(due_ns, self._rested_ns(self._next))
        return max(due_ns, self._held_ns, self._meter.ready_ns())


def _most_ports(targets: Sequence[Destination]) -> int:
    return max(map(len, {target.ports for target in targets}), default=1)


NOWHERE = ("0.0.0.0", 0)  # noqa: S104  # stands for an address that is none


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """A sweep makes no cycles, only many short-lived objects that make the collector run."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def drive(sweep: Sweep) -> list[Result]:
    """Turn a sweep until it is over, waiting in the poller; close it; return what came of it."""
    with sweep, _no_garbage_collection():
        wait_s: float | None = 0.0
        while wait_s is not None:
            wait_s = sweep.turn(min(wait_s, 60.0))
        return sweep.ledger.results()
