"""The one clock: aware, and in UTC wherever the machine stands."""

import time
from datetime import UTC, timedelta

import pytest

from core.clock import utc_now
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
