"""The one clock: aware, and in UTC wherever the machine stands."""

import time
from datetime import UTC, datetime

import pytest

from core.clock import utc_now


def test_now_is_utc_in_every_time_zone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Kathmandu")
    time.tzset()
    try:
        before, now, after = time.time(), utc_now(), time.time()
    finally:
        monkeypatch.undo()
        time.tzset()
    assert now.tzinfo is UTC
    assert datetime.fromtimestamp(before, UTC) <= now <= datetime.fromtimestamp(after, UTC)
