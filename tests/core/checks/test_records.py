"""What echoes add up to: a state, and times as they are kept."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.checks.records import Ping, Probe, State, quantised_ms

TIMES_MS = st.floats(0, 20_000, allow_nan=False)


@pytest.mark.parametrize(
    ("sent", "received", "state"),
    [
        (4, 4, State.UP),
        (1, 1, State.UP),
        (4, 3, State.DEGRADED),
        (4, 1, State.DEGRADED),
        (4, 0, State.DOWN),
        (1, 0, State.DOWN),
    ],
)
def test_a_state_is_what_the_echoes_add_up_to(sent: int, received: int, state: State) -> None:
    assert State.of(sent, received) is state
    ping = Ping(1, "127.0.0.1", sent, received, None, None, None, Probe.ICMP)
    assert ping.state is state


@pytest.mark.parametrize(
    ("ms", "kept"),
    [
        (0.0, 0.0),
        (0.004, 0.0),
        (0.006, 0.01),
        (35.02499, 35.02),
        (99.994, 99.99),
        (99.996, 100.0),
        (100.04, 100.0),
        (100.06, 100.1),
        (999.94, 999.9),
        (1000.4, 1000.0),
        (1234.5678, 1235.0),
        (12345.0, 12340.0),
        (12346.0, 12350.0),
    ],
)
def test_times_are_kept_to_a_hundredth_or_a_thousandth_part(ms: float, kept: float) -> None:
    assert quantised_ms(ms) == kept


@given(ms=st.floats(0, 3_600_000))
def test_quantising_loses_at_most_a_thousandth_and_nothing_the_second_time(ms: float) -> None:
    kept = quantised_ms(ms)
    assert abs(kept - ms) <= max(0.005, ms / 1000) * (1 + 1e-9)
    assert quantised_ms(kept) == kept


def test_a_time_quantised_is_never_minus_zero_or_nothing() -> None:
    assert math.copysign(1, quantised_ms(0.0)) == 1


@given(TIMES_MS)
def test_quantising_twice_is_quantising_once_and_moves_a_time_by_a_thousandth_at_most(
    ms: float,
) -> None:
    assert quantised_ms(quantised_ms(ms)) == quantised_ms(ms)
    assert abs(quantised_ms(ms) - ms) <= max(0.005, ms * 0.001) * 1.000001


@given(TIMES_MS, TIMES_MS)
def test_quantising_never_swaps_two_times(one: float, other: float) -> None:
    assert (quantised_ms(one) <= quantised_ms(other)) or one > other
