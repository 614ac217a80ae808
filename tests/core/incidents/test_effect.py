"""What rules would have made of the past, added up."""

from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from core.incidents.effect import SHOWN, Between, Open, Sums, incidents
from core.incidents.judge import Decision, Turn
from core.incidents.records import Effect, Watched
from core.slots import slot_number

MIDNIGHT = slot_number(datetime(2026, 3, 28, tzinfo=UTC))
"""The night after it Europe puts its clocks forward."""
END = MIDNIGHT + 3 * 1_440
WEB = Watched(id=1, name="web")


def at(hour: float, day: int = 0) -> int:
    return MIDNIGHT + day * 1_440 + round(60 * hour)


def added(
    *found: Open, outages: tuple[Between, ...] = (), zone: str = "UTC", server: Watched = WEB
) -> Effect:
    sums = Sums(END, ZoneInfo(zone))
    sums.add(server, found, outages)
    return sums.told(["tried"])


def test_decisions_come_to_incidents_which_open_again_and_may_last() -> None:
    decided = [
        Decision(Turn.OPENED, 11, 10),
        Decision(Turn.RESOLVED, 21, 20),
        Decision(Turn.REOPENED, 31, 30),
        Decision(Turn.RESOLVED, 41, 40),
        Decision(Turn.OPENED, 101, 100),
    ]
    assert incidents(decided) == [Open(10, [11, 31], 40), Open(100, [101], None)]
    assert incidents(decided[:3]) == [Open(10, [11, 31], None)]


def test_nothing_comes_to_nothing() -> None:
    told = added()
    assert (told.incidents, told.flaps, told.missed, told.nights) == (0, 0, 0, 0)
    assert (told.longest, told.delay_median_s, told.delay_worst_s) == (None, None, None)
    assert (told.hours, told.servers, told.outages) == ([0] * 24, [], [])


def test_incidents_are_counted_by_the_hour_in_which_they_are_told_of() -> None:
    found = (Open(at(9.99), [at(10)], at(11)), Open(at(12), [at(12.1), at(14)], at(15)))
    told = added(*found)
    assert [hour for hour, number in enumerate(told.hours) if number] == [10, 12]
    assert (told.incidents, told.flaps) == (2, 1)
    local = added(*found, zone="Asia/Kolkata")  # half past
    assert [hour for hour, number in enumerate(local.hours) if number] == [15, 17]


def test_delays_are_from_the_first_bad_slot_to_the_confirming_one() -> None:
    some = [Open(at(hour), [at(hour) + late], at(hour + 1)) for hour, late in ((1, 1), (3, 4))]
    assert added(*some).delay_median_s == 150
    told = added(*some, Open(at(5), [at(5) + 9], at(6)))
    assert (told.delay_median_s, told.delay_worst_s) == (240, 540)


def test_the_longest_may_still_last() -> None:
    told = added(Open(at(0), [at(1)], at(5)), Open(at(1, day=2), [at(2, day=2)], None))
    assert told.longest is not None
    assert (told.longest.until, told.longest.duration_s) == (None, 23 * 3_600)
    assert told.servers[0].duration_s == 28 * 3_600


def test_an_outage_is_missed_that_no_incident_overlaps() -> None:
    outages = tuple(Between(at(hour), at(hour) + 30) for hour in (1, 2, 3))
    told = added(Open(at(2.25), [at(2.4)], at(3)), outages=outages)
    assert told.missed == 2
    assert [one.since.hour for one in told.outages] == [1, 3]
    assert added(Open(at(1), [at(1.1)], None), outages=outages).missed == 0


def nights(*slots: int, **more: Any) -> int:
    return added(*(Open(slot, [slot], slot + 1) for slot in slots), **more).nights


def test_a_night_lasts_from_22_to_6_and_is_counted_once() -> None:
    assert nights(at(21.98), at(6, day=1)) == 0
    assert nights(at(22), at(23.9), at(5.98, day=1)) == 1
    assert nights(at(5.9), at(22.1)) == 2


def test_whoever_is_woken_twice_by_one_incident_is_woken_that_night() -> None:
    told = added(Open(at(20), [at(20), at(23)], at(24)))
    assert told.nights == 1


def test_nights_are_those_of_the_zone_also_where_the_clock_is_put_forward() -> None:
    assert nights(at(4.5, day=1), zone="Europe/Prague") == 0  # half past six in summer
    assert nights(at(4.5), zone="Europe/Prague") == 1  # half past five in winter
    assert nights(at(20.5, day=1), zone="Europe/Prague") == 1


def test_the_worst_servers_and_outages_are_named_and_all_are_counted() -> None:
    sums = Sums(END, UTC)
    for number in range(SHOWN + 5):
        found = [Open(at(hour), [at(hour)], at(hour) + 1) for hour in range(number)]
        outage = Between(at(1, day=2), at(1, day=2) + 10 + number)
        sums.add(Watched(id=number, name=f"web-{number}"), found, [outage])
    told = sums.told(["tried"])
    assert told.incidents == sum(range(SHOWN + 5))
    assert [one.incidents for one in told.servers] == list(range(SHOWN + 4, 4, -1))
    assert told.missed == SHOWN + 5
    assert [one.duration_s for one in told.outages] == [60 * (34 - one) for one in range(SHOWN)]
