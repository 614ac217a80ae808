"""The world of world.c from Python: its plan goes in, its truth comes out.

A `World` lives in a network namespace of its own that ends with its process, so nothing is left
behind however a test ends. Servers have the addresses `address(0)` to `address(65000)` (10.77.0.0
onward) and `address(0, family=6)` onward (fd77::); no packet leaves the namespace.
"""

import ctypes
import hashlib
import os
import shutil
import struct
import subprocess
import tempfile
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum, IntFlag
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self, TypeVar

SOURCE = Path(__file__).with_name("world.c")
BUILD = Path(__file__).parents[2] / "build"
V4_BASE = int(IPv4Address("10.77.0.0"))
V6_BASE = int(IPv6Address("fd77::"))
ROUTER = 0xFFFE  # the server number that errors come from when they come from a router
CLONE_NEWNET = 0x40000000
Answer = TypeVar("Answer")

NETWORK = """
link set lo up
link set world0 txqueuelen 100000 mtu 1500 up
addr add 10.76.0.1/32 dev world0
route add 10.77.0.0/16 dev world0 src 10.76.0.1
addr add fd76::1/128 dev world0 nodad
route add fd77::/112 dev world0 src fd76::1
"""

# ICMP and ICMPv6 type and code: RFC 792, RFC 1812, RFC 4443
ERRORS = {
    "net": {4: (3, 0), 6: (1, 0)},
    "host": {4: (3, 1), 6: (1, 3)},
    "port": {4: (3, 3), 6: (1, 4)},
    "prohibited": {4: (3, 13), 6: (1, 1)},
    "expired": {4: (11, 0), 6: (3, 0)},
}


class Forge(IntFlag):
    """What the world sends, as well as its true answer, that must not be counted."""

    NOTHING = 0
    TOKEN = 1  # ICMP: another payload; TCP: a SYN-ACK of another sequence number
    SOURCE = 2  # the right answer from the neighbour's address
    SEQUENCE = 4  # ICMP: the next sequence number; TCP: a RST of another sequence number
    IDENTIFIER = 8  # ICMP: the next identifier
    TRUNCATED = 16  # ICMP: half the payload, then none
    ERROR = 32  # an unreachable that quotes a packet nobody sent
    ALL = 63


class Outcome(IntEnum):
    """What the world did with a request."""

    STRAY = 0
    ANSWERED = 1  # echo reply or SYN-ACK
    REFUSED = 2  # RST
    UNREACHABLE = 3  # an ICMP error
    SILENT = 4  # a black hole
    LOST = 5  # this one echo
    SYN_LOST = 6  # one of the first SYNs; the kernel sends it again


@dataclass(frozen=True, slots=True)
class Rule:
    """How the servers numbered `first` to `last`, both included, behave; the first rule holds.

    `icmp` is "answer", "silent" or "error"; `tcp` also "refuse". Times in ms, `loss` from 0 to 1.
    """

    first: int = 0
    last: int = 0xFFFD
    family: int = 4
    icmp: str = "answer"
    tcp: str = "answer"
    delay_ms: float = 0.0
    jitter_ms: float = 0.0  # evenly between 0 and this on top; more than a gap reorders
    loss: float = 0.0  # the share of echoes lost, drawn by the plan's seed
    copies: int = 0  # so many extra right answers, 0.3 ms apart
    syn_lost: int = 0  # so many first SYNs of every handshake vanish
    timestamps: bool = True  # TCP timestamps (RFC 7323) where the SYN has them
    error: str = "host"  # a key of ERRORS
    from_router: bool = False  # the error comes from a router instead of the target
    quote: int = 28  # bytes of our packet that an error quotes; IPv6 needs 48
    forge: Forge = Forge.NOTHING
    forge_ms: float = 0.0  # forgeries come this long after the request

    def line(self) -> str:
        """The rule as world.c reads it."""
        kind, code = ERRORS[self.error][self.family]
        return (
            f"{self.family} {self.first} {self.last} {self.icmp} {self.tcp} "
            f"{round(self.delay_ms * 1000)} {round(self.jitter_ms * 1000)} "
            f"{round(self.loss * 1e6)} {self.copies} {self.syn_lost} {self.timestamps:d} "
            f"{kind} {code} {self.from_router:d} {max(self.quote, 28 if self.family == 4 else 48)} "
            f"{self.forge:d} {round(self.forge_ms * 1000)}\n"
        )


class Trip(NamedTuple):
    """One request as the world saw it; times in ns of CLOCK_MONOTONIC, 0 where there is none.

    `sent_ns` is the kernel's stamp of the request at the device. The right answer entered the
    kernel between `write_ns` and `written_ns` (an ICMP error counts as one). A resent SYN is a trip
    of its own with the same `ordinal` (handshakes with this server before it) and a higher `tries`.
    """

    family: int
    kind: int  # 1: ICMP, 6: TCP
    outcome: int
    tries: int
    server: int
    id: int  # identifier, or source port
    seq: int  # sequence, or destination port
    copies: int  # right answers written
    ordinal: int
    sent_ns: int
    read_ns: int
    write_ns: int
    written_ns: int
    realtime_ns: int  # CLOCK_REALTIME less CLOCK_MONOTONIC when the request came
    unused: int

    @property
    def came_back(self) -> bool:
        """Whether the right answer, or the error the plan says, entered the kernel."""
        return self.written_ns > 0

    @property
    def least_ms(self) -> float:
        """The true round trip is no shorter than this."""
        return (self.write_ns - (self.sent_ns or self.read_ns)) / 1e6

    @property
    def most_ms(self) -> float:
        """The true round trip is no longer than this."""
        return (self.written_ns - (self.sent_ns or self.read_ns)) / 1e6


TRIP = struct.Struct("=BBBBHHHHIqqqqqq")


class Truth(NamedTuple):
    """All the world saw since it was last asked, and what went wrong in the world itself."""

    trips: list[Trip]
    strays: int  # packets that belong to no rule
    untimed: int  # requests without a kernel stamp
    unwritten: int  # answers the kernel didn't take

    def echoes(self) -> dict[str, list[list[Trip]]]:
        """Each server's echoes in the order they were begun, by address.

        An echo is the list of its requests: one, or a SYN and those that were sent again.
        """
        servers: dict[str, dict[int, list[Trip]]] = {}
        for trip in self.trips:
            echoes = servers.setdefault(address(trip.server, trip.family), {})
            echoes.setdefault(trip.ordinal, []).append(trip)
        return {name: [echoes[n] for n in sorted(echoes)] for name, echoes in servers.items()}


class Missing(RuntimeError):
    """This machine can't have a world: the message says what it lacks."""


def address(server: int, family: int = 4) -> str:
    """The address of the server of this number."""
    if family == 4:
        return str(IPv4Address(V4_BASE + server))
    return str(IPv6Address(V6_BASE + server))


def lacking() -> str | None:
    """What this machine lacks for a world, or None."""
    if os.name != "posix" or not os.path.exists("/dev/net/tun"):
        return "/dev/net/tun (Linux with the tun module)"
    if os.geteuid() != 0:
        return "root (a network namespace and a TUN device)"
    for program, package in (
        ("ip", "iproute2"),
        ("tc", "iproute2"),
        ("nsenter", "util-linux"),
        ("cc", "gcc"),
    ):
        if shutil.which(program) is None:
            return f"{program} (package {package})"
    return None


def built(source: Path = SOURCE) -> Path:
    """The compiled program, built anew when its source changed."""
    text = source.read_bytes()
    program = BUILD / f"{source.stem}-{hashlib.sha256(text).hexdigest()[:12]}"
    if program.exists():
        return program
    BUILD.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=BUILD) as folder:
        fresh = Path(folder) / "program"
        subprocess.run(["cc", "-O2", "-Wall", "-Wextra", "-o", fresh, source], check=True)
        fresh.replace(program)  # at once, so that two builders don't meet a half-written file
    return program


class World:
    """A running world. Use it in a `with` block; it raises Missing where there can't be one.

    `spin` keeps it awake between packets: truer delays for a whole core. `timed=False` leaves out
    the kernel's stamps of requests, which cost the sender about half a microsecond a packet.
    """

    def __init__(self, spin: bool = False, timed: bool = True) -> None:
        lack = lacking()
        if lack:
            raise Missing(f"a test world needs {lack}")
        options = [*(["--spin"] if spin else []), *([] if timed else ["--untimed"])]
        self.process = subprocess.Popen(
            [built(), *options], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.namespace = f"/proc/{self.process.pid}/ns/net"
        self.folder = tempfile.TemporaryDirectory(prefix="pinglet-world-")

    def __enter__(self) -> Self:
        try:
            self._hear("ready")
            ip = ["nsenter", f"--net={self.namespace}", "ip", "-batch", "-"]
            subprocess.run(ip, input=NETWORK, text=True, check=True)
            # With a queueing discipline, a packet sent on one CPU may leave later, by another's
            # hand, when connect() has long returned: a delay of ours that nobody could know.
            tc = ["nsenter", f"--net={self.namespace}", "tc", "qdisc", "replace"]
            subprocess.run([*tc, "dev", "world0", "root", "noqueue"], check=True)
            # Ping sockets for everybody: a namespace of its own starts with nobody.
            self.inside(set_sysctl, "ipv4/ping_group_range", "0 2147483647")
            # Probes of many runs leave many TIME_WAITs, and errors come in bursts.
            self.inside(set_sysctl, "ipv4/ip_local_port_range", "1025 65000")
            self.inside(set_sysctl, "ipv6/conf/world0/accept_ra", "0")
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends the program, and with it the namespace and the device."""
        self.process.kill()
        self.process.communicate()
        self.folder.cleanup()

    def _say(self, text: str) -> None:
        assert self.process.stdin
        self.process.stdin.write(text)
        self.process.stdin.flush()

    def _hear(self, wanted: str) -> list[str]:
        assert self.process.stdout
        words = self.process.stdout.readline().split()
        if not words or words[0] != wanted:
            raise Missing(f"the world said {words or 'nothing'} instead of {wanted}")
        return words[1:]

    def plan(self, rules: Sequence[Rule], seed: int = 1) -> None:
        """From now on servers behave like this; all seen so far is forgotten."""
        lines = "".join(rule.line() for rule in rules)
        self._say(f"plan {seed} {len(rules)}\n{lines}")
        self._hear("ok")

    def truth(self) -> Truth:
        """What happened since the last plan or the last truth."""
        path = Path(self.folder.name) / "truth"
        self._say(f"truth {path}\n")
        _, strays, untimed, unwritten = map(int, self._hear("ok"))
        trips = list(map(Trip._make, TRIP.iter_unpack(path.read_bytes())))
        return Truth(trips, strays, untimed, unwritten)

    def command(self, *words: str) -> list[str]:
        """The command line that runs `words` inside the namespace."""
        return ["nsenter", f"--net={self.namespace}", *words]

    def inside(self, work: Callable[..., Answer], *arguments: object) -> Answer:
        """Calls `work` in a thread inside the namespace; its sockets belong there for good."""
        answers: list[Answer] = []
        errors: list[BaseException] = []

        def enter_and_work() -> None:
            try:
                enter(self.namespace)
                answers.append(work(*arguments))
            except BaseException as error:
                errors.append(error)

        thread = threading.Thread(target=enter_and_work)
        thread.start()
        thread.join()
        if errors:
            raise errors[0]
        return answers[0]


def enter(namespace: str) -> None:
    """Moves this thread, and no other, into a network namespace (os.setns came with 3.12)."""
    libc = ctypes.CDLL(None, use_errno=True)
    fd = os.open(namespace, os.O_RDONLY)
    try:
        if libc.setns(fd, CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "setns")
    finally:
        os.close(fd)


def set_sysctl(name: str, value: str) -> None:
    """Sets one of this thread's namespace's /proc/sys/net values."""
    Path("/proc/sys/net", name).write_text(value, encoding="ascii")
