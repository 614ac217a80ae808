"""Clocks: bounds between two readings, and a wall clock that is set."""

import pytest

from core.probe.clock import StepWatch, up_to
from tests.core.probe.engine import SECOND_NS, SteppedClock


@pytest.mark.parametrize("step_ns", [SECOND_NS, -SECOND_NS, SECOND_NS // 100])
def test_a_clock_that_is_set_is_noticed_once(step_ns: int) -> None:
    clock = SteppedClock()
    watch = StepWatch(clock)
    assert not watch.stepped()
    clock.ahead_ns += step_ns
    assert watch.stepped()
    assert not watch.stepped()


@pytest.mark.parametrize(("earliest_ns", "bound_ms"), [(1_000_000, 2.001), (-5, 3.001)])
def test_a_time_between_two_readings_is_the_later_one_with_all_before_it_as_its_bound(
    earliest_ns: int, bound_ms: float
) -> None:
    assert up_to(earliest_ns, 3_000_000) == (3.0, bound_ms)
