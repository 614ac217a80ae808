"""Slots: the minute a moment lies in, as a time and as a number."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.slots import slot_of


@pytest.mark.parametrize("second", [0, 0.000001, 59.999999])
def test_a_slot_is_the_minute_that_a_moment_lies_in(second: float) -> None:
    slot = datetime(2026, 1, 2, 7, 1, tzinfo=UTC)
    assert slot_of(slot + timedelta(seconds=second)) == slot


def test_a_slot_is_utc_whatever_the_zone_of_the_moment() -> None:
    kathmandu = timezone(timedelta(hours=5, minutes=45))
    slot = slot_of(datetime(2026, 1, 2, 12, 46, 30, tzinfo=kathmandu))
    assert (slot, slot.tzinfo) == (datetime(2026, 1, 2, 7, 1, tzinfo=UTC), UTC)


@given(st.datetimes(timezones=st.just(UTC)))
def test_a_slot_is_its_own_slot(moment: datetime) -> None:
    assert slot_of(slot_of(moment)) == slot_of(moment) <= moment
