"""Limits of ours are never shown as a failure of theirs, and nothing is left behind."""

import asyncio
import json
import os
import socket
import subprocess
import sys
from bisect import bisect_left
from collections.abc import Iterator
from pathlib import Path
from time import time_ns
from typing import Any

import pytest

from core.probe import PORTABLE, ClockUsed, Echo, Kind, Pace, Target, Verdict, probe, probe_async
from core.probe.channel import Channel
from core.probe.clock import StepWatch
from core.probe.icmp import IcmpSweep
from core.probe.loop import drive
from core.probe.meter import Meter
from core.probe.packets import ECHO, V4, V6, Request, identifier_filter, only
from core.probe.system import HERE, System

ROOT = Path(__file__).parents[3]
KINDS = pytest.mark.parametrize("kind", list(Kind))
SYSTEMS = pytest.mark.parametrize("system", [HERE, PORTABLE], ids=["here", "portable"])
SECOND_NS = 1_000_000_000

# Printed as JSON: the verdicts, the first reason, and how many descriptors are open at the end.
FULL_TABLE = """
import json, os, resource, sys
from core.probe import Kind, Pace, Target, probe
kind, spare, targets = Kind(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
probe(kind, [Target("127.0.0.1", (9,))], Pace(echoes=1))  # all is imported, all is warm
used = len(os.listdir("/proc/self/fd")) - 1
resource.setrlimit(resource.RLIMIT_NOFILE, (used + spare, used + spare))
patient = Pace(echoes=2, timeout_s=10, gap_s=0.001)
results = probe(kind, [Target("127.0.0.1", (9,))] * targets, patient)
echoes = [echo for result in results for echo in result.echoes]
resource.setrlimit(resource.RLIMIT_NOFILE, (used + spare, used + spare))
print(json.dumps([[echo.verdict for echo in echoes], echoes[0].reason]))
"""

UNPRIVILEGED = """
import json, os, sys
from core.probe import Kind, Pace, Target, icmp_problem, probe
os.setgroups([]); os.setgid(int(sys.argv[1])); os.setuid(65534)
results = probe(Kind.ICMP, [Target("127.0.0.1")], Pace(echoes=2, timeout_s=10, gap_s=0.001))
print(json.dumps([icmp_problem(), [echo.verdict for echo in results[0].echoes],
                  results[0].echoes[0].reason]))
"""
PING_GROUP = 4242
NETWORK = (
    f"ip link set lo up && echo {PING_GROUP} {PING_GROUP} > /proc/sys/net/ipv4/ping_group_range"
)


@pytest.fixture(name="port")
def fixture_port() -> Iterator[int]:
    """A port that accepts on 127.0.0.0/8."""
    with socket.create_server(("", 0), backlog=4096) as server:
        yield int(server.getsockname()[1])


def printed(*words: str) -> Any:
    """What a Python program prints as JSON."""
    command = [sys.executable, *words]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return json.loads(run.stdout)


def descriptors() -> list[str]:
    """The files this process has open."""
    return sorted(os.listdir("/dev/fd"))


def need_root() -> None:
    """Have root, or skip aloud."""
    if os.geteuid() != 0:
        pytest.skip("NOT TESTED: full buffers and the sockets of others; needs root")


def test_few_descriptors_make_a_sweep_slower_not_wrong() -> None:
    verdicts, _ = printed("-c", FULL_TABLE, "tcp", "4", "100")
    assert verdicts == ["refused"] * 200


def test_no_descriptor_left_is_a_local_fault_with_its_reason() -> None:
    verdicts, reason = printed("-c", FULL_TABLE, "tcp", "1", "3")
    assert verdicts == ["local fault"] * 6  # the poller takes the one that was left
    assert reason == os.strerror(24)


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


@SYSTEMS
def test_icmp_and_tcp_sweeps_share_a_loop_with_other_tasks(system: System, port: int) -> None:
    targets = [Target(f"127.0.1.{n}", (port,)) for n in range(1, 201)]
    pace = Pace(echoes=3, timeout_s=20, gap_s=0.02)

    async def both() -> tuple[list[Verdict], int]:
        turns = 0

        async def bystander() -> None:
            nonlocal turns
            while True:
                await asyncio.sleep(0)
                turns += 1

        task = asyncio.create_task(bystander())
        sweeps = [probe_async(kind, targets, pace, system=system) for kind in Kind]
        results = await asyncio.gather(*sweeps)
        task.cancel()
        return [echo.verdict for kind in results for one in kind for echo in one.echoes], turns

    verdicts, turns = asyncio.run(both())
    assert verdicts == [Verdict.ANSWERED] * 1200
    # 2 x 600 echoes in bursts of at most 64: a sweep that kept the loop would leave a handful.
    assert turns >= 20


@KINDS
@SYSTEMS
def test_a_cancelled_sweep_closes_everything(kind: Kind, system: System, port: int) -> None:
    pace = Pace(echoes=2, timeout_s=30, gap_s=600)  # would take ten minutes

    async def cancelled() -> list[str]:
        first = asyncio.Event()
        loop = asyncio.get_running_loop()
        before = descriptors()

        def hear(*_: object) -> None:
            loop.call_soon_threadsafe(first.set)

        sweep = asyncio.create_task(
            probe_async(
                kind,
                [Target("127.0.0.1", (port,))] * 5,
                pace,
                hear,
                system=system,
            )
        )
        await first.wait()
        assert len(descriptors()) > len(before)
        sweep.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sweep
        return sorted(set(descriptors()) ^ set(before))

    assert asyncio.run(cancelled()) == []


def test_what_a_listener_raises_reaches_the_one_who_awaits() -> None:
    def fail(*_: object) -> None:
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        asyncio.run(probe_async(Kind.ICMP, [Target("127.0.0.1")], Pace(echoes=1), fail))


class SteppedClock:
    """The wall clock of a machine on which somebody sets it."""

    def __init__(self) -> None:
        self.ahead_ns = 0

    def __call__(self) -> int:
        return time_ns() + self.ahead_ns


@pytest.mark.parametrize("step_ns", [SECOND_NS, -SECOND_NS, SECOND_NS // 100])
def test_a_clock_that_is_set_is_noticed_once(step_ns: int) -> None:
    clock = SteppedClock()
    watch = StepWatch(clock)
    assert not watch.stepped()
    clock.ahead_ns += step_ns
    assert watch.stepped()
    assert not watch.stepped()


def test_a_clock_that_is_set_in_mid_sweep_costs_precision_not_truth() -> None:
    clock = SteppedClock()

    def set_again_and_again() -> int:
        clock.ahead_ns += SECOND_NS
        return clock()

    heard: list[Echo] = []
    sweep = IcmpSweep(
        [Target("127.0.0.1")] * 50,
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


@pytest.mark.parametrize("rate_pps", [1, 50, 1000, 20_000])
def test_no_second_sees_more_packets_than_the_rate(rate_pps: int) -> None:
    meter, left, now_ns = Meter(rate_pps, volley=1, now_ns=0), [], 0
    while now_ns < 3 * SECOND_NS:
        room = meter.room(now_ns)
        meter.spend(room)
        left += [now_ns] * room
        now_ns = max(meter.ready_ns(), now_ns + 1_000_000)  # who waits wakes up late
    busiest = max(bisect_left(left, one + SECOND_NS) - at for at, one in enumerate(left))
    assert 0.9 * rate_pps - 1 <= busiest <= rate_pps


def test_a_rate_of_none_leaves_room_for_all() -> None:
    meter = Meter(0, volley=1, now_ns=0)
    assert meter.room(0) > 1_000_000
    assert meter.ready_ns() == 0


@pytest.mark.parametrize("index", [0, 1, 0xFFFF, 0x10000, 0xFFFFFFFF])
@pytest.mark.parametrize("token", [0, 1, 0xFFFFFFFFFFFFFFFF, 0x0123456789ABCDEF])
def test_the_checksum_is_that_of_rfc_1071(index: int, token: int) -> None:
    packet = Request(V4, 0xBEEF).write(index, token)
    assert ECHO.unpack(packet)[3:] == (0xBEEF, index & 0xFFFF, index, token)
    total = sum(int.from_bytes(packet[at : at + 2], "big") for at in range(0, len(packet), 2))
    while total > 0xFFFF:
        total = (total >> 16) + (total & 0xFFFF)
    assert total == 0xFFFF


def test_the_icmp_filters_let_in_three_types() -> None:
    assert int.from_bytes(only((0, 3, 11), 32), sys.byteorder) == 0xFFFFFFFF ^ (
        1 | 1 << 3 | 1 << 11
    )
    assert len(only((1, 3, 129), 256)) == 32


def run_filter(program: list[tuple[int, int, int, int]], packet: bytes) -> bool:
    """Whether a classic BPF program takes a packet (the few instructions ours uses)."""
    accumulator = index = at = 0
    while True:
        code, if_true, if_false, operand = program[at]
        at += 1
        try:
            match code:
                case 0xB1:
                    index = (packet[operand] & 15) * 4
                case 0x01:
                    index = operand
                case 0x50:
                    accumulator = packet[index + operand]
                case 0x48:
                    two = packet[index + operand], packet[index + operand + 1]
                    accumulator = two[0] << 8 | two[1]
                case 0x54:
                    accumulator &= operand
                case 0x64:
                    accumulator <<= operand
                case 0x0C:
                    accumulator += index
                case 0x07:
                    index = accumulator
                case 0x05:
                    at += operand
                case 0x15:
                    at += if_true if accumulator == operand else if_false
                case 0x06:
                    return operand > 0
        except IndexError:
            return False


def ipv4(message: bytes, options: int = 0) -> bytes:
    """An IPv4 packet with so many words of options."""
    return bytes([0x45 + options]) + bytes(19 + 4 * options) + message


@pytest.mark.parametrize("options", [0, 3])
def test_the_socket_filter_takes_only_what_is_about_our_identifier(options: int) -> None:
    program = identifier_filter(V4, 0x1234)
    ours, theirs = bytes([0, 0, 0, 0, 0x12, 0x34]), bytes([0, 0, 0, 0, 0x12, 0x35])
    assert run_filter(program, ipv4(ours, options))
    assert not run_filter(program, ipv4(theirs, options))
    for kind in (3, 11):
        error = bytes([kind]) + bytes(7)
        assert run_filter(program, ipv4(error + ipv4(ours, options), options))
        assert not run_filter(program, ipv4(error + ipv4(theirs, options), options))
        assert not run_filter(program, ipv4(error + ipv4(ours, options)[:-1], options))
    assert not run_filter(program, ipv4(bytes([8]) + ours[1:], options))


def test_the_socket_filter_of_ipv6_does_the_same() -> None:
    program = identifier_filter(V6, 0x1234)
    ours, theirs = bytes([129, 0, 0, 0, 0x12, 0x34]), bytes([129, 0, 0, 0, 0x12, 0x35])
    assert run_filter(program, ours)
    assert not run_filter(program, theirs)
    for kind in (1, 3):
        assert run_filter(program, bytes([kind]) + bytes(47) + ours)
        assert not run_filter(program, bytes([kind]) + bytes(47) + theirs)


def test_another_pingers_replies_do_not_fill_our_buffer() -> None:
    need_root()
    ours, strangers = Channel(V4, HERE.kernel_clocks), Channel(V4, HERE.kernel_clocks)
    try:
        for pinger in (strangers, ours):  # loopback keeps the order
            pinger.sock.sendto(pinger.request.write(1, 2), ("127.0.0.1", 0))
        ours.sock.settimeout(50)
        first = ours.sock.recv(2048)
        assert ECHO.unpack_from(first, 20)[3] == ours.identifier != strangers.identifier
    finally:
        ours.close()
        strangers.close()


def test_probe_and_probe_async_agree(port: int) -> None:
    targets = [Target("127.0.0.1", (port,)), Target("nowhere", (port,))]
    pace = Pace(echoes=2, timeout_s=10, gap_s=0.001)
    calls = [probe(Kind.TCP, targets, pace), asyncio.run(probe_async(Kind.TCP, targets, pace))]
    assert [[echo.verdict for echo in r.echoes] for r in calls[0]] == [
        [echo.verdict for echo in r.echoes] for r in calls[1]
    ]
