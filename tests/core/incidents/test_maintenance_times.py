"""When planned work is due: in 20 zones around their changes, as one who reads their clocks."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from core.errors import WrongRequest
from core.incidents.maintenance_records import Between, MaintenanceWhen, Weekday
from core.incidents.maintenance_times import MOST, between, check, once
from tests.infra.rows import MINUTE, SLOT

# A zone, and a UTC date on which its clock is put forward, or back.
CHANGES = [
    ("Europe/Berlin", "2026-03-29", "2026-10-25"),
    ("Europe/London", "2026-03-29", "2026-10-25"),
    ("Europe/Dublin", "2026-03-29", "2026-10-25"),  # its winter is the one that is saved
    ("Europe/Chisinau", "2026-03-29", "2026-10-25"),
    ("America/New_York", "2026-03-08", "2026-11-01"),
    ("America/Chicago", "2026-03-08", "2026-11-01"),
    ("America/St_Johns", "2026-03-08", "2026-11-01"),
    ("America/Havana", "2026-03-08", "2026-11-01"),  # at midnight, and at one
    ("America/Santiago", "2026-09-06", "2026-04-05"),  # at midnight
    ("America/Asuncion", "2023-10-01", "2024-03-24"),
    ("America/Nuuk", "2026-03-28", "2026-10-24"),  # the day before, for others
    ("Atlantic/Azores", "2026-03-29", "2026-10-25"),
    ("Africa/Casablanca", "2026-03-22", "2026-02-15"),  # around Ramadan
    ("Asia/Beirut", "2026-03-28", "2026-10-24"),
    ("Asia/Jerusalem", "2026-03-27", "2026-10-24"),
    ("Africa/Cairo", "2026-04-23", "2026-10-29"),
    ("Australia/Sydney", "2026-10-03", "2026-04-04"),
    ("Australia/Lord_Howe", "2026-10-03", "2026-04-04"),
    ("Pacific/Auckland", "2026-09-26", "2026-04-04"),
    ("Pacific/Chatham", "2026-09-26", "2026-04-04"),  # at a quarter to three
]
DAYS = [(zone, day) for zone, *days in CHANGES for day in days]
BY_HALF_AN_HOUR = "Australia/Lord_Howe"
TIMES_OF_DAY = [time(hour, minute) for hour in range(5) for minute in (0, 15, 30, 45)]
DAY = timedelta(days=1)


def clock_of(zone: str, day: str) -> list[tuple[datetime, datetime]]:
    """Return each minute around a day, and what the zone's clock shows then."""
    first = datetime.fromisoformat(day).replace(tzinfo=UTC) - DAY
    every = (first + number * MINUTE for number in range(3 * 1_440))
    return [(one, one.astimezone(ZoneInfo(zone)).replace(tzinfo=None)) for one in every]


def starts(when: dict[str, Any], since: datetime, until: datetime) -> list[datetime]:
    found = between(MaintenanceWhen.of({"duration_m": 90, **when}), since, until)
    return [one.since for one in found]


def by_the_clock(
    clock: list[tuple[datetime, datetime]], dates: list[date], wanted: time
) -> Iterator[datetime]:
    """Yield when each date's time is first shown, or the first time after it."""
    for day in dates:
        shown = [
            now
            for (now, local), (_, before) in zip(clock[1:], clock, strict=False)
            if local >= datetime.combine(day, wanted) > before
        ]
        yield from shown[:1]


@pytest.mark.parametrize(("zone", "day"), DAYS)
def test_the_clock_is_changed_on_that_day(zone: str, day: str) -> None:
    shown = [local for _, local in clock_of(zone, day)]
    assert {two - one for one, two in pairwise(shown)} != {MINUTE}


@pytest.mark.parametrize(("zone", "day"), DAYS)
def test_a_time_of_day_comes_once_a_day_whatever_the_clock_does(zone: str, day: str) -> None:
    clock = clock_of(zone, day)
    since, until = clock[1][0], clock[-1][0]
    dates = sorted({local.date() for _, local in clock})
    for at in TIMES_OF_DAY:
        right = list(by_the_clock(clock[:-1], dates, at))
        weekly = {"days": [*Weekday], "at": f"{at:%H:%M}", "zone": zone}
        assert starts(weekly, since, until) == right, at
        cron = {"cron": f"{at.minute} {at.hour} * * *", "zone": zone}
        assert starts(cron, since, until) == right, at


@pytest.mark.parametrize(("zone", "day"), DAYS)
def test_a_cron_of_every_hour_comes_whenever_the_clock_shows_it(zone: str, day: str) -> None:
    clock = clock_of(zone, day)
    right = [now for now, local in clock[:-1] if local.minute == 30]
    found = starts({"cron": "30 * * * *", "zone": zone}, clock[0][0], clock[-1][0])
    left_out = set(right) - set(found)
    assert len(left_out) == (zone == BY_HALF_AN_HOUR)
    assert found == [one for one in right if one not in left_out]


@pytest.mark.parametrize(("zone", "day"), DAYS)
def test_where_one_begins_to_look_changes_nothing(zone: str, day: str) -> None:
    clock = clock_of(zone, day)
    until = clock[-1][0]
    for cron in ("30 2 * * *", "0 0 * * *", "*/30 1-3 * * *"):
        every = starts({"cron": cron, "zone": zone}, clock[0][0], until)
        for since, _ in clock[::30]:
            found = starts({"cron": cron, "zone": zone}, since, until)
            assert found == [one for one in every if one >= since], (cron, since)


@pytest.mark.parametrize("day", ["2026-03-29", "2026-10-25"])
def test_it_lasts_as_many_minutes_as_it_is_to_whatever_the_clock_does(day: str) -> None:
    when = MaintenanceWhen.of(
        {"days": ["sun"], "at": "01:30", "duration_m": 120, "zone": "Europe/Berlin"}
    )
    since = datetime.fromisoformat(day).replace(tzinfo=UTC) - DAY
    [found] = between(when, since, since + 2 * DAY)
    assert found.until - found.since == 120 * MINUTE


def test_the_29th_of_february_comes_in_leap_years() -> None:
    since, until = datetime(2026, 1, 1, tzinfo=UTC), datetime(2034, 1, 1, tzinfo=UTC)
    found = starts({"cron": "0 3 29 2 *", "zone": "Asia/Tokyo"}, since, until)
    assert [f"{one:%Y-%m-%d %H}" for one in found] == ["2028-02-28 18", "2032-02-28 18"]


def test_days_of_the_week_are_those_of_the_zone() -> None:
    since = datetime(2026, 1, 5, tzinfo=UTC)  # a Monday
    found = starts(
        {"days": ["mon", "sat"], "at": "06:00", "zone": "Asia/Tokyo"}, since, since + 7 * DAY
    )
    assert [f"{one:%a %H}" for one in found] == ["Fri 21", "Sun 21"]


def test_what_comes_once_has_the_minutes_that_it_touches() -> None:
    when = MaintenanceWhen.of(
        {"since": "2026-01-02T07:01:30Z", "until": "2026-01-02T08:05:00.5+01:00"}
    )
    assert once(when) == Between(since=SLOT, until=SLOT + 5 * MINUTE)
    assert list(between(when, SLOT, SLOT + MINUTE)) == [once(when)]
    assert list(between(when, SLOT + MINUTE, SLOT + DAY)) == []


ONCE = {"since": "2026-01-02T08:00:00Z", "until": "2026-01-02T09:00:00Z"}
WEEKLY = {"days": ["sat"], "at": "02:00", "duration_m": 60}
CRON = {"cron": "0 2 * * 6#1", "duration_m": 60, "zone": "Europe/Berlin"}


@pytest.mark.parametrize("when", [ONCE, WEEKLY, CRON, {**WEEKLY, "zone": "Asia/Kathmandu"}])
def test_what_is_right_is_taken(when: dict[str, Any]) -> None:
    check(MaintenanceWhen.of(when), SLOT)


@pytest.mark.parametrize(
    ("when", "field", "told"),
    [
        ({}, "when", "got nothing"),
        ({"since": ONCE["since"]}, "when", "got since"),
        ({**ONCE, "duration_m": 5}, "when", "got since, until, duration_m"),
        ({**ONCE, "zone": "UTC"}, "when", "got since, until, zone"),
        ({**WEEKLY, "cron": "0 2 * * *"}, "when", "got days, at, cron, duration_m"),
        ({**WEEKLY, "days": []}, "when", "got at, duration_m"),
        ({**ONCE, "since": "soon"}, "when.since", "since must be a time such as"),
        ({**ONCE, "until": "9999-01-01T00:00Z"}, "when.until", "a time from 1970 to 8999"),
        ({**ONCE, "until": "2026-01-02T07:00:00Z"}, "when.until", "until must be in the future"),
        ({**ONCE, "since": ONCE["until"]}, "when.until", "at most 366 days after since"),
        ({**ONCE, "until": "2027-01-04T00:00Z"}, "when.until", "at most 366 days after since"),
        ({**CRON, "zone": "Europe/Atlantis"}, "when.zone", "a name of the IANA's"),
        ({**CRON, "zone": "../../etc/passwd"}, "when.zone", "a name of the IANA's"),
        ({**CRON, "cron": "0 2 * *"}, "when.cron", "cron must be minute, hour"),
        ({**CRON, "cron": "0 0 2 * * *"}, "when.cron", "cron must be minute, hour"),
        ({**CRON, "cron": "0 25 * * *"}, "when.cron", "cron must be minute, hour"),
        ({**CRON, "cron": "0 0 30 2 *"}, "when.cron", "cron must be minute, hour"),
        ({**CRON, "cron": "*/5 * * * *"}, "when.cron", f"cron must come at most {MOST:,} times"),
    ],
)
def test_what_is_wrong_is_refused(when: dict[str, Any], field: str, told: str) -> None:
    with pytest.raises(WrongRequest) as caught:
        check(MaintenanceWhen.of(when), SLOT)
    assert caught.value.field == field
    assert told in str(caught.value)


@pytest.mark.parametrize(
    "cron",
    ["2/2/2 * * * *", "* L * * *", "* * L/2 * L/2", "0 0 * * ²L", "0 0 * * 1#9", "-", "," * 100],
)
def test_a_cron_that_makes_no_sense_is_refused_and_breaks_nothing(cron: str) -> None:
    with pytest.raises(WrongRequest):
        check(MaintenanceWhen.of({**CRON, "cron": cron}), SLOT)
