"""ICMP echoes: one socket per address family for all targets, timed by the kernel's stamps."""

import errno
import os
import socket
from array import array
from collections.abc import Callable, Iterator, Sequence
from time import monotonic_ns, time_ns

from core.probe.addresses import Sockaddr
from core.probe.channel import Channel, NoIcmp, Refusal, Reply
from core.probe.clock import RESOLUTION_NS, StepWatch, up_to, wait_for_stamps
from core.probe.ledger import ANSWERED, KERNEL, NO_ANSWER, UNREACHABLE, USER
from core.probe.loop import NOWHERE, Sweep
from core.probe.packets import V4, V6, Protocol
from core.probe.signature import Destination, Heard, Pace
from core.probe.system import HERE, Events, System

FULL = {errno.EAGAIN, errno.EWOULDBLOCK, errno.ENOBUFS, errno.ENOMEM}
READ_A_TURN = 256
CALL_NS = 20_000  # a call of sendto that nobody interrupts takes no longer
Write = Callable[[int, int], bytearray]
SendTo = Callable[[bytearray, Sockaddr], int]
LONGEST_NS = 0x7FFFFFFF  # what fits the array of sending times
PROTOCOLS: dict[int, Protocol] = {socket.AF_INET: V4, socket.AF_INET6: V6}


def icmp_problem(family: int = socket.AF_INET) -> str | None:
    """Why this process can't use ICMP with that address family, and what to set; None: it can."""
    try:
        Channel(PROTOCOLS[family], HERE.kernel_clocks).close()
    except OSError as error:
        return str(error)
    return None


def stamp_problem() -> str | None:
    """Why round trips are timed less exactly here than they could be; None: they aren't."""
    if HERE.kernel_clocks and wait_for_stamps():
        return None
    return "the kernel doesn't stamp packets when they arrive (SO_TIMESTAMPNS)"


class IcmpSweep(Sweep):
    """Echo requests to all targets.

    An answer counts if identifier, index, source address and a token drawn for this very packet
    agree, and the echo is still open. Sending is stamped just before and just after sendto: the
    packet left in between, which gives the bound.
    """

    def __init__(
        self,
        targets: Sequence[Destination],
        pace: Pace,
        heard: Heard | None,
        system: System,
        steps: StepWatch | None = None,
    ) -> None:
        super().__init__(targets, pace, heard, system)
        indexes = len(self.ledger.codes)
        # All three by the length of the family's socket addresses.
        self._channels: dict[int, Channel] = {}
        self._senders: dict[int, tuple[Write, SendTo]] = {}
        self._problems: dict[int, str] = {}
        self._by_fd: dict[int, Channel] = {}
        self._tokens = array("Q", os.urandom(8 * indexes))
        self._before_ns = array("q", bytes(8 * indexes))  # on self._clock
        self._calling_ns = array("I", bytes(4 * indexes))
        self._steps = steps or StepWatch()
        self._by_user: set[int] = set()  # indexes that were under way when the clock was set
        self._dropped_ns = 0  # when drops were last noticed: what was sent before may be among them
        self._longest_burst_ns = 0
        self._stamped = system.kernel_clocks and wait_for_stamps()
        self._clock = time_ns if self._stamped else monotonic_ns
        self.unhurried = self._stamped

    def close(self) -> None:
        for channel in self._channels.values():
            channel.close()
        super().close()

    def usable(self, target: int, place: Sockaddr) -> str:
        key = len(place)
        if key in self._channels:
            return ""
        if key not in self._problems:
            self._open(key, V4 if key == len(NOWHERE) else V6)
        return self._problems.get(key, "")

    def _open(self, key: int, protocol: Protocol) -> None:
        try:
            channel = Channel(protocol, self.system.kernel_clocks)
        except OSError as error:
            self._problems[key] = str(error)
            return
        fd = channel.sock.fileno()
        self._channels[key] = self._by_fd[fd] = channel
        self._senders[key] = channel.request.write, channel.sock.sendto
        self.poller.watch_reading(fd)
        # One window for all: in no socket can more replies be waiting than are in flight.
        self.window = min(one.window for one in self._channels.values())

    # Sending

    # Names of attributes are looked up for every packet, locals aren't.
    def launch(self, indexes: list[int]) -> int:  # pylint: disable=too-many-locals
        clock, tokens, targets, began_ns = self._clock, self._tokens, len(self.targets), self.now_ns
        places, senders = self.places, self._senders
        before_ns, spent_ns = self._before_ns, self._calling_ns
        sent = []
        for position, index in enumerate(indexes):
            place = places[index % targets]
            write, sendto = senders[len(place)]
            packet = write(index, tokens[index])
            before = clock()
            try:
                sendto(packet, place)
            except OSError as error:
                if self._not_sent(error, indexes, position):
                    break
                continue
            calling_ns = clock() - before
            before_ns[index] = before
            # Out of range only where the clock was set in this very moment, which is noticed soon.
            spent_ns[index] = calling_ns if 0 <= calling_ns < LONGEST_NS else LONGEST_NS
            sent.append(index)
        self._note_sent(sent, began_ns)
        return len(sent)

    def _note_sent(self, indexes: list[int], began_ns: int) -> None:
        now_ns, targets, sent_ns, due_ns = (
            monotonic_ns(),
            len(self.targets),
            self.sent_ns,
            self.due_ns,
        )
        times_out_ns = now_ns + self.timeout_ns
        for index in indexes:
            sent_ns[index % targets] = now_ns
            due_ns[index] = times_out_ns
        self.flight.extend(indexes)
        self.in_flight += len(indexes)
        self._longest_burst_ns = max(self._longest_burst_ns, now_ns - began_ns)

    def _not_sent(self, error: OSError, indexes: list[int], position: int) -> bool:
        """Put the echo aside for another try; True if the rest of the burst must wait, too."""
        reason = os.strerror(error.errno or 0)
        if error.errno in FULL:
            self.congested(indexes[position:], reason)
            return True
        index = indexes[position]
        channel = self._channels[len(self.places[index % self.ledger.targets])]
        refusals: list[Refusal] = []
        if channel.error_queue and channel.read_errors(refusals):
            # On a datagram socket, sendto may report what an earlier packet met.
            for refusal in refusals:
                self._refused(refusal)
            self.postpone(index)
        else:
            self._draw_token(index)
            self.fault(index, reason)
        return False

    def _draw_token(self, index: int) -> None:
        """The first packet may still be answered: don't take that for the second's answer."""
        self._tokens[index] = int.from_bytes(os.urandom(8), "big")

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
        self._answered(replies)
        for refusal in refusals:
            self._refused(refusal)
        return everything

    # Names of attributes are looked up for every packet, locals aren't.
    def _answered(self, replies: list[Reply]) -> None:  # pylint: disable=too-many-locals
        """Count those that are what we wait for.

        The packet left while sendto was called: in the middle, say. A call that took much longer
        was interrupted, mostly on its way back (Linux throttles there), so not in *its* middle.
        A reply that came before the call was over narrows the time down.
        """
        codes, tokens, places, targets = (
            self.ledger.codes,
            self._tokens,
            self.places,
            len(self.targets),
        )
        before_ns, spent_ns, timed = self._before_ns, self._calling_ns, self.ledger.timed
        by_stamps, by_user = self._stamped, self._by_user
        for index, token, source, stamp_ns in replies:
            if index >= len(codes) or codes[index] or token != tokens[index]:
                continue
            if source != places[index % targets][0]:
                continue
            self.in_flight -= 1
            most_ns, in_call_ns = stamp_ns - before_ns[index], spent_ns[index]
            if most_ns <= 0 or not by_stamps or index in by_user:
                self._answered_by_user(index)
                continue
            calling_ns = in_call_ns if in_call_ns < most_ns else most_ns
            inside_ns = (calling_ns if calling_ns < CALL_NS else CALL_NS) / 2
            bound_ms = (calling_ns - inside_ns + RESOLUTION_NS) / 1e6
            timed(index, ANSWERED, (most_ns - inside_ns) / 1e6, bound_ms, KERNEL)

    def _answered_by_user(self, index: int) -> None:
        """Time an echo by the monotonic clock: no stamps, or the wall clock was set meanwhile."""
        before, after = self._before_ns[index], self._before_ns[index] + self._calling_ns[index]
        if self._stamped and index not in self._by_user:
            before, after = self._monotonic(index)
        # It came after the last time nothing was there, and before now: not before this turn's
        # own time, since more comes while the first replies are read.
        rtt_ms, bound_ms = up_to(self.quiet_ns - after, monotonic_ns() - before)
        self.ledger.timed(index, ANSWERED, rtt_ms, bound_ms, USER)

    def _distrust_flight(self) -> None:
        """The wall clock was set: what is under way is timed by the monotonic clock."""
        for index in self.flight:
            if not self.ledger.codes[index] and index not in self._by_user:
                before, after = self._monotonic(index)
                self._before_ns[index], self._calling_ns[index] = before, after - before
                self._by_user.add(index)

    def _monotonic(self, index: int) -> tuple[int, int]:
        """When the packet was sent, as far as the burst it was sent in tells."""
        after = self.due_ns[index] - self.timeout_ns
        return after - self._longest_burst_ns, after

    def _refused(self, refusal: Refusal) -> None:
        for index in self._candidates(refusal):
            if self.places[index % self.ledger.targets][0] == refusal.destination:
                self.in_flight -= 1
                self.ledger.end(index, UNREACHABLE, refusal.reason)
                return

    def _candidates(self, refusal: Refusal) -> Iterator[int]:
        """Open indexes the quoted packet may have been for: many routers quote eight bytes only."""
        codes, places = self.ledger.codes, len(self.places)
        if refusal.echo_index < 0:
            indexes = range(refusal.sequence, len(codes), 0x10000)
        else:
            indexes = range(refusal.echo_index, min(refusal.echo_index + 1, len(codes)))
        for index in indexes:
            known = refusal.echo_index < 0 or refusal.token == self._tokens[index]
            if known and not codes[index] and index % self.ledger.targets < places:
                yield index

    # Failing

    def give_up(self, index: int) -> None:
        self.in_flight -= 1
        if self._drops_since(self.due_ns[index] - self.timeout_ns):
            self._draw_token(index)
            self.fault(index, "the receive buffer was full")
        else:
            self.ledger.end(index, NO_ANSWER)

    def _drops_since(self, sent_ns: int) -> bool:
        """Whether a reply to what was sent then may have been dropped here, unread."""
        for channel in self._channels.values():
            if channel.dropped():
                self._dropped_ns = self.now_ns
                self.window = max(1, self.window // 2)
        return sent_ns < self._dropped_ns


__all__ = ["IcmpSweep", "NoIcmp", "icmp_problem"]
