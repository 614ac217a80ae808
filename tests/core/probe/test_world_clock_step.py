"""Somebody sets the machine's clock in mid-sweep. A real step: kernel stamps move, too.

It moves the clock of the whole machine by 60 ms for less than a second, so it runs where the
machine is ours: in CI, and elsewhere only if PINGLET_CLOCK_STEP=1.
"""

import os
import socket
import threading
import time

import pytest

from benchmarks.probe.world import Rule, World, address
from core.probe import Kind, Pace, Verdict
from tests.core.probe.worlds import Sweep

STEP_NS = 60_000_000
ETH_P_ALL = 3


def offset_ns() -> int:
    """How far the wall clock is ahead of the monotonic one."""
    return time.time_ns() - time.monotonic_ns()


def set_offset(offset: int) -> None:
    """Sets the wall clock that far ahead of the monotonic one."""
    time.clock_settime_ns(time.CLOCK_REALTIME, time.monotonic_ns() + offset)


@pytest.mark.skipif(
    not os.environ.get("CI") and os.environ.get("PINGLET_CLOCK_STEP") != "1",
    reason="NOT TESTED: a step of the machine's own clock; PINGLET_CLOCK_STEP=1 allows it",
)
@pytest.mark.parametrize("step_ns", [STEP_NS, -STEP_NS])
@pytest.mark.parametrize("kind", list(Kind))
def test_a_clock_step_spoils_no_time(world: World, kind: Kind, step_ns: int) -> None:
    world.plan([Rule(delay_ms=100)])
    # Readable once the first packet is out: then the step comes while all are under way.
    wire = world.inside(socket.socket, socket.AF_PACKET, socket.SOCK_DGRAM, 0)
    wire.bind(("world0", ETH_P_ALL))
    wire.settimeout(200)
    before = offset_ns()

    def step() -> None:
        for _ in range(150):
            wire.recv(64)
        set_offset(before + step_ns)

    stepper = threading.Thread(target=step)
    stepper.start()
    try:
        addresses = [address(server) for server in range(200)]
        sweep = Sweep(world, kind, addresses, Pace(echoes=2, timeout_s=10, gap_s=0.15))
    finally:
        stepper.join()
        set_offset(before)
        wire.close()
    sweep.judge()
    assert sweep.verdicts == {Verdict.ANSWERED: 400}
