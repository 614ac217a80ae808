"""The probe engine: targets in, echoes out. Standard library only, nothing of Pinglet's own.

`probe` blocks until the sweep is over; `probe_async` is the same sweep under a running asyncio
loop. `icmp_problem` says why this process can't use ICMP, or None; `stamp_problem` why the kernel
doesn't time packets for it.
"""

from collections.abc import Sequence

from core.probe.icmp import IcmpSweep, icmp_problem, stamp_problem
from core.probe.loop import NOT_ALLOWED, OUT_OF_TIME, Sweep, drive
from core.probe.signature import ClockUsed, Destination, Echo, Heard, Kind, Pace, Result, Verdict
from core.probe.system import HERE, PORTABLE, System
from core.probe.tcp import TcpSweep

USUAL = Pace()

__all__ = [
    "NOT_ALLOWED",
    "OUT_OF_TIME",
    "PORTABLE",
    "ClockUsed",
    "Destination",
    "Echo",
    "Heard",
    "Kind",
    "Pace",
    "Result",
    "Verdict",
    "icmp_problem",
    "probe",
    "probe_async",
    "stamp_problem",
]


def probe(
    kind: Kind,
    targets: Sequence[Destination],
    pace: Pace = USUAL,
    heard: Heard | None = None,
    *,
    system: System = HERE,
) -> list[Result]:
    """Send `pace.echoes` echoes to each target and wait for what comes back.

    One result for each target, in their order. What goes wrong with a target, be it no more than
    its address, is a verdict, never an exception; only what `heard` or `pace.allowed` raise comes
    through (the sweep ends, its sockets are closed). `system=PORTABLE` does without anything that
    only Linux has.
    """
    return drive(_sweep(kind, targets, pace, heard, system))


async def probe_async(
    kind: Kind,
    targets: Sequence[Destination],
    pace: Pace = USUAL,
    heard: Heard | None = None,
    *,
    system: System = HERE,
) -> list[Result]:
    """The same under asyncio, beside other tasks; cancelling it closes every socket."""
    # Loaded by who uses it: asyncio would double the cold start of a function that doesn't.
    from core.probe.aloop import drive_async

    sweep = _sweep(kind, targets, pace, heard, system)
    await drive_async(sweep)
    return sweep.ledger.results()


def _sweep(
    kind: Kind, targets: Sequence[Destination], pace: Pace, heard: Heard | None, system: System
) -> Sweep:
    sweep: type[IcmpSweep | TcpSweep] = IcmpSweep if Kind(kind) is Kind.ICMP else TcpSweep
    return sweep(targets, pace, heard, system)
