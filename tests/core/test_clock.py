"""The one clock: aware, and in UTC wherever the machine stands."""

import time
from datetime import UTC, timedelta

import pytest

from core.clock import going_on_from, uptime_s, utc_now
from core.slots import EPOCH


def test_now_is_utc_in_every_time_zone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Kathmandu")
    time.tzset()
    try:
        before_us, now, after_us = time.time_ns() // 1000, utc_now(), time.time_ns() // 1000
    finally:
        monkeypatch.undo()
        time.tzset()
    assert now.tzinfo is UTC
    assert before_us <= (now - EPOCH) // timedelta(microseconds=1) <= after_us


def test_uptime_counts_time_asleep() -> None:
    awake_s = time.monotonic()
    assert uptime_s() >= awake_s


def test_a_clock_that_goes_on_does_not_ask_the_wall_clock() -> None:
    before_s = uptime_s()
    now = going_on_from(EPOCH)
    first, second = now(), now()
    passed_s = uptime_s() - before_s
    assert EPOCH <= first <= second <= EPOCH + timedelta(seconds=passed_s, milliseconds=1)
