"""A slot as a time and as a number."""

from datetime import UTC, datetime, timedelta

from core.slots import current_slot, slot_number, slot_time


def test_slots_are_numbered_from_1970_and_back() -> None:
    moment = datetime(2026, 3, 29, 1, 30, tzinfo=UTC)
    assert slot_time(slot_number(moment)) == moment
    assert slot_number(moment + timedelta(microseconds=1)) == slot_number(moment) + 1
    assert current_slot(moment + timedelta(seconds=59)) == slot_number(moment)
    assert current_slot(moment - timedelta(microseconds=1)) == slot_number(moment) - 1
