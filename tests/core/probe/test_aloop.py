"""The one loop beside other tasks of asyncio: it shares, it can be cancelled."""

import asyncio
import os

import pytest

from core.probe import Destination, Kind, Pace, Verdict, probe, probe_async
from core.probe.system import System
from tests.core.probe.engine import KINDS, SYSTEMS


@SYSTEMS
def test_icmp_and_tcp_sweeps_share_a_loop_with_other_tasks(system: System, port: int) -> None:
    targets = [Destination(f"127.0.1.{n}", (port,)) for n in range(1, 201)]
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
                [Destination("127.0.0.1", (port,))] * 5,
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
        asyncio.run(probe_async(Kind.ICMP, [Destination("127.0.0.1")], Pace(echoes=1), fail))


def test_probe_and_probe_async_agree(port: int) -> None:
    targets = [Destination("127.0.0.1", (port,)), Destination("nowhere", (port,))]
    pace = Pace(echoes=2, timeout_s=10, gap_s=0.001)
    calls = [probe(Kind.TCP, targets, pace), asyncio.run(probe_async(Kind.TCP, targets, pace))]
    assert [[echo.verdict for echo in r.echoes] for r in calls[0]] == [
        [echo.verdict for echo in r.echoes] for r in calls[1]
    ]


def descriptors() -> list[str]:
    """The files this process has open."""
    return sorted(os.listdir("/dev/fd"))
