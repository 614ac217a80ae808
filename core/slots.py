"""Arithmetic of slots: a slot as a time, and as a number, minutes since 1970.

UTC has no other days than those of 1,440 minutes.
"""

from datetime import UTC, date, datetime, timedelta

SLOT = timedelta(minutes=1)
AHEAD = timedelta(minutes=5)
"""How far ahead of ours a clock may be. What lies further in the future was told by a clock that
was wrong, and would look fresh for ever."""

DAY_SLOTS = 1_440
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
EPOCH_DATE = EPOCH.date()


def slot_number(moment: datetime) -> int:
    """Return the first slot that doesn't begin before `moment`."""
    return -((EPOCH - moment) // SLOT)


def current_slot(now: datetime) -> int:
    """Return the slot that `now` lies in."""
    return (now - EPOCH) // SLOT


def slot_time(number: int) -> datetime:
    """Return when a slot begins."""
    return EPOCH + number * SLOT


def date_of(number: int) -> date:
    """Return the UTC date of a slot."""
    return EPOCH_DATE + timedelta(days=number // DAY_SLOTS)


def first_slot(day: date) -> int:
    """Return the number of a date's first slot."""
    return (day - EPOCH_DATE).days * DAY_SLOTS


def is_slot(moment: datetime) -> bool:
    """Whether a time is a whole minute, as every slot is."""
    return not (moment.second or moment.microsecond)


def slot_of(moment: datetime) -> datetime:
    """Return the slot that `moment` lies in: its minute, UTC."""
    return moment.astimezone(UTC).replace(second=0, microsecond=0)
