"""The probe engine: targets in, echoes out. Standard library only, nothing of Pinglet's own.

`probe` blocks until the sweep is over; `probe_async` is the same sweep under a running asyncio
loop. `icmp_problem` says why this process can't use ICMP, or None.
"""

from core.probe.signature import ClockUsed, Echo, Heard, Kind, Pace, Result, Target, Verdict

__all__ = ["ClockUsed", "Echo", "Heard", "Kind", "Pace", "Result", "Target", "Verdict"]
