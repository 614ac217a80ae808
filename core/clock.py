"""The one place that asks what time it is. Always aware, always UTC."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

Now = Callable[[], datetime]

# Darwin has no such clock; its monotonic one is the nearest.
COUNTS_SLEEP = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def utc_now() -> datetime:
    """Return the current time, aware, in UTC."""
    return datetime.now(UTC)


def uptime_s() -> float:
    """Return the seconds since this machine started, time asleep included; nobody can set it.

    Source: clock_gettime(2), CLOCK_BOOTTIME.
    """
    return time.clock_gettime(COUNTS_SLEEP)


def going_on_from(start: datetime) -> Now:
    """Return a clock that shows `start` now and goes on by uptime_s, whoever sets the wall clock.

    What one process does is timed by it: durations, and whether a deadline has passed.
    """
    begun_s = uptime_s()
    return lambda: start + timedelta(seconds=uptime_s() - begun_s)
