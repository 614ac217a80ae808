"""ICMP echoes: one socket per address family for all targets, timed by the kernel's stamps."""

import errno
import os
import random
import socket
from array import array
from collections.abc import Iterator, Sequence
from time import monotonic_ns, time_ns

from core.probe.addresses import Place
from core.probe.channel import Channel, NoIcmp, Refusal, Reply
from core.probe.clock import StepWatch, TimeMs, between, up_to, wait_for_stamps
from core.probe.loop import Sweep
from core.probe.packets import V4, V6, Protocol
from core.probe.signature import ClockUsed, Heard, Pace, Target, Verdict
from core.probe.system import HERE, Events, System

FULL = {errno.EAGAIN, errno.EWOULDBLOCK, errno.ENOBUFS, errno.ENOMEM}
READ_A_TURN = 256
LONGEST_NS = 0x7FFFFFFF  # what fits the array of sending times
PROTOCOLS: dict[int, Protocol] = {socket.AF_INET: V4, socket.AF_INET6: V6}


def icmp_problem(family: int = socket.AF_INET) -> str | None:
    """Why this process can't use ICMP with that address family, and what to set; None: it can."""
    try:
        Channel(PROTOCOLS[family], HERE.kernel_clocks).close()
    except OSError as error:
        return str(error)
    return None


class IcmpSweep(Sweep):
    """Echo requests to all targets.

    An answer counts if identifier, slot, source address and a token drawn for this very packet
    agree, and the echo is still open. Sending is stamped just before and just after sendto; the
    packet left in between, so the round trip is known up to half that time.
    """

    def __init__(
        self,
        targets: Sequence[Target],
        pace: Pace,
        heard: Heard | None,
        system: System,
        steps: StepWatch | None = None,
    ) -> None:
        super().__init__(targets, pace, heard, system)
        slots = len(self.ledger.codes)
        self._channels: dict[int, Channel] = {}  # by family
        self._problems: dict[int, str] = {}
        self._by_fd: dict[int, Channel] = {}
        self._tokens = array("Q", random.SystemRandom().randbytes(8 * slots))
        self._before_ns = array("q", bytes(8 * slots))  # on self._clock
        self._calling_ns = array("I", bytes(4 * slots))
        self._steps = steps or StepWatch()
        self._by_user: set[int] = set()  # slots that were under way when the clock was set
        self._dropped_ns = 0  # when drops were last noticed: what was sent before may be among them
        self._longest_burst_ns = 0
        self._stamped = system.kernel_clocks and wait_for_stamps()
        self._clock = time_ns if self._stamped else monotonic_ns

    def close(self) -> None:
        for channel in self._channels.values():
            channel.close()
        super().close()

    def usable(self, target: int, place: Place) -> str:
        family = place.family
        if family not in self._channels and family not in self._problems:
            self._open(family)
        return self._problems.get(family, "")

    def _open(self, family: int) -> None:
        try:
            channel = Channel(PROTOCOLS[family], self.system.kernel_clocks)
        except OSError as error:
            self._problems[family] = str(error)
            return
        fd = channel.sock.fileno()
        self._channels[family] = self._by_fd[fd] = channel
        self.poller.watch_reading(fd)
        # One window for all: in no socket can more replies be waiting than are in flight.
        self.window = min(one.window for one in self._channels.values())

    # Sending

    def launch(self, slots: list[int]) -> int:
        targets, places, clock, began_ns = (
            self.ledger.targets,
            self.places,
            self._clock,
            self.now_ns,
        )
        tokens, before_ns, calling_ns = self._tokens, self._before_ns, self._calling_ns
        sent = []
        for position, slot in enumerate(slots):
            place = places[slot % targets]
            channel = self._channels[place.family]
            packet = channel.request.write(slot, tokens[slot])
            sockaddr = place.sockaddr()
            before = clock()
            try:
                channel.sendto(packet, sockaddr)
            except OSError as error:
                if self._not_sent(error, slots, position):
                    break
                continue
            calling_ns[slot] = min(clock() - before, LONGEST_NS)
            before_ns[slot] = before
            sent.append(slot)
        self._note_sent(sent, began_ns)
        return len(sent)

    def _note_sent(self, slots: list[int], began_ns: int) -> None:
        now_ns, targets, sent_ns, due_ns = (
            monotonic_ns(),
            self.ledger.targets,
            self.sent_ns,
            self.due_ns,
        )
        for slot in slots:
            sent_ns[slot % targets] = now_ns
            due_ns[slot] = now_ns + self.timeout_ns
        self.flight.extend(slots)
        self.in_flight += len(slots)
        self._longest_burst_ns = max(self._longest_burst_ns, now_ns - began_ns)

    def _not_sent(self, error: OSError, slots: list[int], position: int) -> bool:
        """Put the echo aside for another try; True if the rest of the burst must wait, too."""
        reason = os.strerror(error.errno or 0)
        if error.errno in FULL:
            self.congested(slots[position:], reason)
            return True
        slot = slots[position]
        channel = self._channels[self.places[slot % self.ledger.targets].family]
        refusals: list[Refusal] = []
        if channel.error_queue and channel.read_errors(refusals):
            # On a datagram socket, sendto may report what an earlier packet met.
            for refusal in refusals:
                self._refused(refusal)
            self.postpone(slot)
        else:
            self._draw_token(slot)
            self.fault(slot, reason)
        return False

    def _draw_token(self, slot: int) -> None:
        """The first packet may still be answered: don't take that for the second's answer."""
        self._tokens[slot] = random.SystemRandom().getrandbits(64)

    # Hearing

    def hear(self, events: Events) -> bool:
        replies: list[Reply] = []
        refusals: list[Refusal] = []
        everything = True
        for fd, _ in events:
            everything &= self._by_fd[fd].read(READ_A_TURN, replies, refusals)
        # Looked at after reading: so a step is noticed before any time it has spoiled is believed.
        if self._stamped and self._steps.stepped():
            self._distrust_flight()
        for reply in replies:
            self._answered(reply)
        for refusal in refusals:
            self._refused(refusal)
        return everything

    def _answered(self, reply: Reply) -> None:
        slot, token, source, stamp_ns = reply
        ledger = self.ledger
        if slot >= len(ledger.codes) or ledger.codes[slot] or token != self._tokens[slot]:
            return
        if source != self.places[slot % ledger.targets].address:
            return
        self.in_flight -= 1
        ledger.timed(slot, Verdict.ANSWERED, self._time(slot, stamp_ns))

    def _time(self, slot: int, stamp_ns: int) -> TimeMs:
        """The packet left between `before` and `after`."""
        before = self._before_ns[slot]
        after = before + self._calling_ns[slot]
        if self._stamped and before < stamp_ns and slot not in self._by_user:
            return between(stamp_ns - after, stamp_ns - before, ClockUsed.KERNEL)
        if self._stamped and slot not in self._by_user:
            before, after = self._monotonic(slot)
        return up_to(self.quiet_ns - after, self.now_ns - before, ClockUsed.USER)

    def _distrust_flight(self) -> None:
        """The wall clock was set: what is under way is timed by the monotonic clock."""
        for slot in self.flight:
            if not self.ledger.codes[slot] and slot not in self._by_user:
                before, after = self._monotonic(slot)
                self._before_ns[slot], self._calling_ns[slot] = before, after - before
                self._by_user.add(slot)

    def _monotonic(self, slot: int) -> tuple[int, int]:
        """When the packet was sent, as far as the burst it was sent in tells."""
        after = self.due_ns[slot] - self.timeout_ns
        return after - self._longest_burst_ns, after

    def _refused(self, refusal: Refusal) -> None:
        for slot in self._candidates(refusal):
            if self.places[slot % self.ledger.targets].address == refusal.destination:
                self.in_flight -= 1
                self.ledger.end(slot, Verdict.UNREACHABLE, refusal.reason)
                return

    def _candidates(self, refusal: Refusal) -> Iterator[int]:
        """Open slots the quoted packet may have been for: many routers quote eight bytes only."""
        codes, places = self.ledger.codes, len(self.places)
        if refusal.slot < 0:
            slots = range(refusal.sequence, len(codes), 0x10000)
        else:
            slots = range(refusal.slot, min(refusal.slot + 1, len(codes)))
        for slot in slots:
            known = refusal.slot < 0 or refusal.token == self._tokens[slot]
            if known and not codes[slot] and slot % self.ledger.targets < places:
                yield slot

    # Failing

    def give_up(self, slot: int) -> None:
        self.in_flight -= 1
        if self._drops_since(self.due_ns[slot] - self.timeout_ns):
            self._draw_token(slot)
            self.fault(slot, "the receive buffer was full")
        else:
            self.ledger.end(slot, Verdict.NO_ANSWER)

    def _drops_since(self, sent_ns: int) -> bool:
        """Whether a reply to what was sent then may have been dropped here, unread."""
        for channel in self._channels.values():
            if channel.dropped():
                self._dropped_ns = self.now_ns
                self.window = max(1, self.window // 2)
        return sent_ns < self._dropped_ns


__all__ = ["IcmpSweep", "NoIcmp", "icmp_problem"]
