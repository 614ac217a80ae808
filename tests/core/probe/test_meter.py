"""The rate limit: no second sees more packets than it allows."""

from bisect import bisect_left

import pytest

from core.probe.meter import Meter
from tests.core.probe.engine import SECOND_NS


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


def test_a_volley_larger_than_the_room_is_paid_for_by_waiting() -> None:
    meter = Meter(100, volley=4, now_ns=0)
    assert meter.room(0) == 1
    meter.spend(4)
    assert meter.room(0) == 0
    ready_ns = meter.ready_ns()
    assert ready_ns >= 4 * SECOND_NS // 100
    assert meter.room(ready_ns - SECOND_NS // 1000) == 0
    assert meter.room(ready_ns) == 1
