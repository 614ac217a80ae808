"""Slots: the minute a moment lies in, as a time and as a number."""

from datetime import UTC, date, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.slots import (
    DAY_SLOTS,
    current_slot,
    date_of,
    first_slot,
    is_slot,
    slot_number,
    slot_of,
    slot_time,
)


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


@given(st.datetimes(timezones=st.just(UTC)))
def test_a_slots_number_and_its_time_say_the_same(moment: datetime) -> None:
    slot = slot_of(moment)
    assert slot_time(current_slot(moment)) == slot
    assert slot_number(slot) == current_slot(slot) == current_slot(moment)
    assert slot_number(moment) == current_slot(moment) + (moment > slot)


@given(st.dates(max_value=date(9999, 12, 30)))
def test_a_day_begins_with_its_first_slot_and_has_1440(day: date) -> None:
    first = first_slot(day)
    assert {date_of(first), date_of(first + DAY_SLOTS - 1)} == {day}
    assert slot_time(first) == datetime(day.year, day.month, day.day, tzinfo=UTC)
    assert slot_time(first + DAY_SLOTS) - slot_time(first) == timedelta(days=1)


def test_slots_are_numbered_from_1970_and_back() -> None:
    moment = datetime(2026, 3, 29, 1, 30, tzinfo=UTC)
    assert slot_time(slot_number(moment)) == moment
    assert slot_number(moment + timedelta(microseconds=1)) == slot_number(moment) + 1
    assert current_slot(moment + timedelta(seconds=59)) == slot_number(moment)
    assert current_slot(moment - timedelta(microseconds=1)) == slot_number(moment) - 1


@given(st.datetimes(timezones=st.just(UTC)))
def test_what_is_a_slot_is_a_whole_minute(moment: datetime) -> None:
    assert is_slot(slot_of(moment))
    assert is_slot(moment) == (moment == slot_of(moment))
