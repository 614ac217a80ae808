"""What clocks show, made up."""

from datetime import timedelta

from core.rounds.kernel import Kernel
from core.rounds.trust import Reading
from tests.infra.rows import SLOT

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


def reading(
    wall: timedelta,
    *,
    boot: str = "first",
    set_by: timedelta = timedelta(0),
    synchronised: bool = False,
) -> Reading:
    """What shows so long after SLOT, where the wall clock was set by so much since the start."""
    uptime_s = (wall - set_by).total_seconds() + 1e6
    return Reading(SLOT + wall, Kernel(boot, uptime_s, synchronised))
