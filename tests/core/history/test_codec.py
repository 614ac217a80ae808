"""A day of slots in numbers: nothing is rounded twice, nothing is lost on the way through bytes."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.checks.records import quantised_ms
from core.history.codec import (
    LARGEST,
    NO_COLUMNS,
    UNTIMED,
    Columns,
    Rows,
    Slots,
    all_ms,
    code,
    merged,
)
from core.slots import DAY_SLOTS
from tests.counts import examples

NEIGHBOURS = [(99.99, 9_999), (100.0, 10_000), (100.1, 10_001), (999.9, 18_999), (1_000.0, 19_000)]


def ms_of(one: int) -> float | None:
    """Return the time that a code stands for."""
    return all_ms([one])[0]


def test_every_code_is_a_value_of_the_grid_and_every_value_has_one_code() -> None:
    values = [ms_of(one) for one in range(LARGEST + 1)]
    assert values == sorted(set(values))
    for one, ms in enumerate(values):
        assert ms is not None
        assert quantised_ms(ms) == ms
        assert code(round(ms * 100)) == one


@pytest.mark.parametrize(("ms", "one"), NEIGHBOURS)
def test_the_decades_of_the_grid_join(ms: float, one: int) -> None:
    assert code(round(ms * 100)) == one
    assert ms_of(one) == ms


@examples(100, 2_000)
@given(st.floats(0, 99_000_000))
def test_a_recorded_time_comes_back_to_the_last_bit(ms: float) -> None:
    recorded = quantised_ms(ms)
    assert ms_of(code(round(recorded * 100))) == recorded


def test_no_time_is_told_from_every_time() -> None:
    assert code(-1) == UNTIMED > LARGEST
    assert ms_of(UNTIMED) is None


def test_a_time_beyond_the_grid_is_its_last_value() -> None:
    assert code(10**15) == LARGEST < UNTIMED


numbers = st.integers(0, 65_535)


@examples(100, 2_000)
@given(st.lists(st.tuples(st.integers(0, DAY_SLOTS - 1), *[numbers] * 5), max_size=40))
def test_any_columns_come_back_from_their_bytes(changes: list[tuple[int, ...]]) -> None:
    columns = [list(column) for column in NO_COLUMNS]
    for minute, *values in changes:
        for column, value in zip(columns, values, strict=True):
            column[minute] = value
    day = Slots.of(Columns(*columns))
    again = Slots(day.packed)
    assert [list(column) for column in again.columns] == columns
    assert (again.packed, again.states) == (day.packed, day.states)
    assert int(again.held, 16) == sum(1 << minute for minute, sent in enumerate(columns[3]) if sent)


def test_a_day_full_of_noise_comes_back_too() -> None:
    chance = random.Random(5)
    columns = Columns(*([chance.randrange(65_536) for _ in range(DAY_SLOTS)] for _ in range(5)))
    day = Slots.of(columns)
    again = Slots(day.packed)
    assert [list(column) for column in again.columns] == list(columns)


def realistic(chance: random.Random, base_ms: float, jitter: float, loss: float) -> Slots:
    """A random walk with exponential jitter on each of four echoes, bursts of 2 to 20 slower
    minutes, lost echoes, and outages of 3 to 60 minutes."""
    drift, burst, outage = 1.0, 0, 0
    rows = Rows(list(range(DAY_SLOTS)), [], [], [], [], [])
    for _ in range(DAY_SLOTS):
        drift = min(2.0, max(0.7, drift + chance.gauss(0, 0.01)))
        burst = burst - 1 if burst else chance.randint(2, 20) * (chance.random() < 0.004)
        outage = outage - 1 if outage else chance.randint(3, 60) * (chance.random() < 0.0005)
        times = [
            base_ms
            * drift
            * (1 + chance.expovariate(1 / jitter))
            * chance.uniform(1, 4 if burst else 1)
            for _ in range(4)
            if chance.random() >= (1 if outage else loss)
        ]
        figures = (sum(times) / len(times), min(times), max(times)) if times else (None,) * 3
        for column, ms in zip((rows.mean, rows.best, rows.worst), figures, strict=True):
            column.append(-1 if ms is None else round(quantised_ms(ms) * 100))
        rows.sent.append(4)
        rows.received.append(len(times))
    return merged(None, rows)


@pytest.mark.parametrize(
    ("base_ms", "jitter", "loss"),
    [(0.4, 0.1, 0.001), (12, 0.03, 0.001), (35, 0.05, 0.002), (90, 0.3, 0.02), (180, 0.1, 0.15)],
)
def test_a_realistic_day_takes_at_most_8_kb(base_ms: float, jitter: float, loss: float) -> None:
    day = realistic(random.Random(1), base_ms, jitter, loss)
    # The row's other columns take under 200 bytes, in either database.
    assert len(day.packed) + len(day.held) + 200 <= 8_000


def test_what_is_there_stays_and_what_is_new_is_added() -> None:
    first = merged(None, Rows([5, 6], [100, -1], [90, -1], [110, -1], [4, 4], [4, 0]))
    second = merged(first, Rows([6, 7], [300, 400], [300, 400], [300, 400], [4, 4], [4, 3]))
    assert second.states[4:9] == ".+-~."
    assert [ms_of(one) for one in second.mean[5:8]] == [1.0, None, 4.0]
    assert merged(second, Rows([5], [900], [900], [900], [1], [1])) is second
