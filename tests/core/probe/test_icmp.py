"""ICMP echoes on loopback: forged, unprivileged, timed by a clock that somebody sets."""

import json
import os
import socket
import struct
import subprocess
import sys
import threading
from typing import Any

from core.probe import (
    ClockUsed,
    Destination,
    Echo,
    Kind,
    Pace,
    Verdict,
    icmp_problem,
    probe,
)
from core.probe.clock import StepWatch
from core.probe.icmp import IcmpSweep
from core.probe.loop import drive
from core.probe.system import HERE, System
from tests.core.probe.engine import (
    FULL_TABLE,
    LOOPBACKS,
    QUICK,
    ROOT,
    SECOND_NS,
    SYSTEMS,
    SteppedClock,
    need_root,
    printed,
    verdicts,
)

UNPRIVILEGED = """
import json, os, sys
from core.probe import Kind, Pace, Destination, icmp_problem, probe
os.setgroups([]); os.setgid(int(sys.argv[1])); os.setuid(65534)
results = probe(Kind.ICMP, [Destination("127.0.0.1")], Pace(echoes=2, timeout_s=10, gap_s=0.001))
print(json.dumps([icmp_problem(), [echo.verdict for echo in results[0].echoes],
                  results[0].echoes[0].reason]))
"""


PING_GROUP = 4242


NETWORK = (
    f"ip link set lo up && echo {PING_GROUP} {PING_GROUP} > /proc/sys/net/ipv4/ping_group_range"
)


def test_icmp_without_a_descriptor_is_a_local_fault_with_its_reason() -> None:
    verdicts, reason = printed("-c", FULL_TABLE, "icmp", "1", "3")
    assert verdicts == ["local fault"] * 6
    assert os.strerror(24) in reason


def as_member_of(group: int) -> Any:
    """What UNPRIVILEGED prints as that group, in a network namespace of its own."""
    need_root()
    program = [sys.executable, "-c", UNPRIVILEGED, str(group)]
    command = ["unshare", "--net", "sh", "-c", f'{NETWORK} && exec "$@"', "sh", *program]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return json.loads(run.stdout)


def test_a_user_without_privileges_pings_where_the_kernel_lets_it() -> None:
    problem, verdicts, _ = as_member_of(PING_GROUP)
    assert problem is None
    assert verdicts == ["answered"] * 2


def test_elsewhere_it_is_told_what_to_set() -> None:
    outsider = PING_GROUP + 1
    problem, verdicts, reason = as_member_of(outsider)
    assert f'net.ipv4.ping_group_range="{outsider} {outsider}"' in problem
    assert verdicts == ["local fault"] * 2
    assert reason == problem


def test_a_clock_that_is_set_in_mid_sweep_costs_precision_not_truth() -> None:
    clock = SteppedClock()

    def set_again_and_again() -> int:
        clock.ahead_ns += SECOND_NS
        return clock()

    heard: list[Echo] = []
    sweep = IcmpSweep(
        [Destination("127.0.0.1")] * 50,
        Pace(echoes=2, timeout_s=10, gap_s=0.001),
        lambda _target, _number, echo: heard.append(echo),
        HERE,
        StepWatch(set_again_and_again),
    )
    drive(sweep)
    assert [echo.verdict for echo in heard] == [Verdict.ANSWERED] * 100
    assert {echo.clock for echo in heard} == {ClockUsed.USER}
    for echo in heard:  # the truth on loopback is some microseconds
        assert echo.rtt_ms is not None
        assert echo.bound_ms is not None
        assert echo.rtt_ms - echo.bound_ms < 0.2
        assert echo.bound_ms < 500


@LOOPBACKS
@SYSTEMS
def test_an_icmp_echo_on_loopback_is_answered(address: str, system: System) -> None:
    (result,) = probe(Kind.ICMP, [Destination(address)], QUICK, system=system)
    assert verdicts([result]) == [[Verdict.ANSWERED] * 2]
    clock = ClockUsed.KERNEL if system.kernel_clocks else ClockUsed.USER
    assert {echo.clock for echo in result.echoes} == {clock}
    assert all(echo.rtt_ms is not None and echo.rtt_ms >= 0 for echo in result.echoes)
    assert all(echo.bound_ms is not None and echo.bound_ms > 0 for echo in result.echoes)
    assert result.port is None


def test_a_forged_reply_is_not_counted() -> None:
    """Whoever sees one echo answers all later ones in advance, right but for their tokens."""
    need_root()
    stop = threading.Event()
    ready = threading.Event()
    forger = threading.Thread(target=forge_replies, args=(ready, stop))
    forger.start()
    try:
        assert ready.wait(50)
        results = probe(
            Kind.ICMP, [Destination("127.0.0.1")], Pace(echoes=20, timeout_s=10, gap_s=0.001)
        )
    finally:
        stop.set()
        forger.join()
    assert verdicts(results) == [[Verdict.ANSWERED] * 20]
    # An echo that a forgery had ended before it was sent would have no sensible time.
    assert all(0 <= (echo.rtt_ms or -1) < 1000 for echo in results[0].echoes)


def forge_replies(ready: threading.Event, stop: threading.Event) -> None:
    """For every echo request seen on loopback, reply to all 20 sequence numbers."""
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, 1) as sock:
        sock.settimeout(0.01)
        ready.set()
        while not stop.is_set():
            try:
                packet = sock.recv(2048)
            except TimeoutError:
                continue
            if packet[20] == 8:
                for number in range(20):
                    sock.sendto(forgery(packet[20:], number), ("127.0.0.1", 0))


def forgery(request: bytes, number: int) -> bytes:
    """A perfect reply to another request: all is right but the token, which nobody can guess."""
    message = struct.pack("!BBHHHI", 0, 0, 0, *struct.unpack_from("!H", request, 4), number, number)
    message += request[12:]
    checksum = 0xFFFF - int.from_bytes(message, "big") % 0xFFFF
    return message[:2] + checksum.to_bytes(2, "big") + message[4:]


def test_icmp_works_here_or_a_sentence_says_what_to_set() -> None:
    need_root()
    assert icmp_problem() is None
    assert icmp_problem(socket.AF_INET6) is None
