"""Days: what is kept of a server's UTC day, packed; and how long anything is kept.

A slot that was pinged is in `data`, in `day`, or in both. Three rules make any order of packing,
reading, dying and starting over harmless:

1. Slots are only ever added to a day, and one packer at a time works on a server.
2. A raw row is deleted by a statement that finds its slot in the committed day.
3. Readers look at the raw rows first and at the days second: what has left the first place by then
   is in the other.

Every function takes a session inside a transaction that its caller ends.
"""

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import date
from typing import Any, NamedTuple

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    FromClause,
    Integer,
    Select,
    String,
    and_,
    bindparam,
    case,
    cast,
    func,
    literal,
    literal_column,
    or_,
    select,
)
from sqlalchemy.orm import Session

from core.history.codec import HELD_DIGITS, Rows, Slots, merged
from core.history.sums import Totals, joined, totals
from core.models import DATA, DAY
from core.servers.schedule import due, schedules, spans
from core.slots import DAY_SLOTS, EPOCH, slot_time
from core.sql import epoch_minute

# Written out, not sent as parameters: what a query groups by must be what it selects.
SLOTS_A_DAY = literal_column("1440", Integer)
HUNDRED = literal_column("100", Integer)
MINUTE = epoch_minute(DATA.c.datetime)
DAY_NUMBER = MINUTE // SLOTS_A_DAY


class DayView(NamedTuple):
    """One server's day as readers see it, wherever its slots are kept.

    `due` are the slots that were due, as bits; `whole` what the whole day adds up to, where that
    is known without looking at the slots.
    """

    slots: Slots
    due: int
    whole: Totals | None = None

    def totals(self, low: int, high: int) -> Totals:
        """Add up the slots from `low` to before `high`."""
        if self.whole and (low, high) == (0, DAY_SLOTS):
            return self.whole
        return totals(self.slots, self.due, low, high)


RawColumns = Sequence[str]
"""A day's raw rows, column by column: minutes, mean, best, worst, sent, received, each as text."""


def windows(
    session: Session,
    ids: Sequence[int],
    first: int,
    end: int,
    now: int,
    *,
    whole: bool = False,
) -> Iterator[tuple[int, dict[int, DayView]]]:
    """Yield each server with the days that touch the slots from `first` to before `end`, by number.

    A day is unpacked when it is looked at, and then takes ten times the room: whoever lets go of a
    server's days before asking for the next ones holds one server's.

    Slots that lie outside may be missing. The slot `now` and those after it are not due yet.
    `whole` promises that days inside the window are only looked at as a whole: then most needn't be
    unpacked, nor fetched. Three statements for every AT_ONCE servers.
    """
    for start in range(0, len(ids), AT_ONCE):
        some = ids[start : start + AT_ONCE]
        yield from _windows(session, some, (first, end), now, whole)


AT_ONCE = 100
"""Servers that are read at once: a day of one is 40 kB meanwhile, or ten times that, unpacked."""


def _windows(
    session: Session, ids: Sequence[int], window: tuple[int, int], now: int, whole: bool
) -> Iterator[tuple[int, dict[int, DayView]]]:
    first, end = window
    raw = raw_days(session, ids, first, end)
    numbers = range(first // DAY_SLOTS, (end - 1) // DAY_SLOTS + 1)
    cut = {numbers[0], numbers[-1], *(number for _server_id, number in raw)}
    known = stored(session, ids, numbers, cut if whole else None)
    planned = {one: spans(schedule) for one, schedule in schedules(session, ids).items()}
    for one in ids:
        yield (
            one,
            {
                number: _day(
                    due(planned.get(one, []), number * DAY_SLOTS, now),
                    known.pop((one, number), None),
                    raw.pop((one, number), None),
                )
                for number in numbers
            },
        )


def _day(was_due: int, kept: tuple[Slots, Totals] | None, raw: RawColumns | None) -> DayView:
    known, whole = kept or (None, None)
    if raw is None:
        return DayView(known or NO_SLOTS, was_due, whole)
    slots = with_raw(known, raw)
    return DayView(slots, was_due, whole if slots is known else None)


NO_SLOTS = merged(None, Rows([], [], [], [], [], []))


def add_up(days: Mapping[int, DayView], first: int, end: int) -> Totals:
    """Add up the slots from `first` to before `end`, which lie in these days, by number."""
    number, low = divmod(first, DAY_SLOTS)
    if low + end - first <= DAY_SLOTS:
        return days[number].totals(low, low + end - first)
    return add_up_all(days, [(first, end)])


def add_up_all(days: Mapping[int, DayView], wanted: Sequence[tuple[int, int]]) -> Totals:
    """Add up what lies between each of these pairs of slots, in these days, by number."""
    looked_at = [
        (days[number], low, high)
        for first, end in wanted
        for number, low, high in pieces(first, end)
    ]
    parts = [day.totals(low, high) for day, low, high in looked_at]
    return joined(parts, (day.slots.mean[low:high] for day, low, high in looked_at))


def count_due(days: Mapping[int, DayView], first: int, end: int) -> int:
    """Return how many slots from `first` to before `end` were due, or pinged all the same."""
    return sum(
        (
            (days[number].due | days[number].slots.observed) >> low & (1 << high - low) - 1
        ).bit_count()
        for number, low, high in pieces(first, end)
    )


def pieces(first: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Cut slots into pieces that lie within a day each: its number, and from where to where."""
    for number in range(first // DAY_SLOTS, (end - 1) // DAY_SLOTS + 1):
        start = number * DAY_SLOTS
        yield number, max(first - start, 0), min(end - start, DAY_SLOTS)


def raw_days(
    session: Session, ids: Sequence[int], first: int, end: int
) -> dict[tuple[int, int], RawColumns]:
    """Return the raw rows of the slots from `first` to before `end`, by server and day's number.

    One statement.
    """
    bounds = {"ids": ids, "first": slot_time(first), "end": slot_time(end)}
    found = session.execute(SELECT_RAW, bounds)
    return {(server_id, number): columns for server_id, number, *columns in found}


def with_raw(known: Slots | None, raw: RawColumns) -> Slots:
    """Return a day with its raw rows added; `known` itself where they add nothing."""
    minutes = _numbers(raw[0])
    if known and not known.missing(minutes):
        return known  # as usual where a day is packed and its raw rows are still there
    return merged(known, Rows(minutes, *map(_numbers, raw[1:])))


def _numbers(text: str) -> list[int]:
    numbers: list[int] = json.loads(f"[{text}]")
    return numbers


def hundredths(ms: ColumnElement[float | None]) -> ColumnElement[int]:
    """A time in hundredths of a ms, -1 where there is none."""
    return func.coalesce(cast(func.round(ms * HUNDRED), BigInteger), -1)


def listed(number: ColumnElement[int]) -> ColumnElement[str]:
    """The numbers of a group as one text, with commas between."""
    return func.aggregate_strings(cast(number, String), ",")


def _raw_columns(data: FromClause) -> list[ColumnElement[str]]:
    """Write each column of a day as one text.

    As rows of six numbers, 1,440 of them, they would take ten times as long to arrive.
    """
    return [
        listed(epoch_minute(data.c.datetime) % SLOTS_A_DAY),
        listed(hundredths(data.c.response_time)),
        listed(hundredths(data.c.best_ms)),
        listed(hundredths(data.c.worst_ms)),
        listed(data.c.sent),
        listed(data.c.received),
    ]


SELECT_RAW = (
    select(DATA.c.server_id, DAY_NUMBER, *_raw_columns(DATA))
    .where(DATA.c.server_id.in_(bindparam("ids", expanding=True)))
    .where(DATA.c.datetime >= bindparam("first"), DATA.c.datetime < bindparam("end"))
    .group_by(DATA.c.server_id, DAY_NUMBER)
)


def is_held(minute: ColumnElement[int]) -> ColumnElement[bool]:
    """Whether a day holds a slot: its bit in the digits of `held`, of which the last is lowest."""
    four = literal_column("4", Integer)
    digit = func.substr(DAY.c.held, literal(HELD_DIGITS, Integer) - minute // four, 1)
    return or_(
        *(
            and_(
                minute % four == bit, digit.in_([f"{one:x}" for one in range(16) if one >> bit & 1])
            )
            for bit in range(4)
        )
    )


def by_day(
    session: Session, data: FromClause, parameters: Mapping[str, object] | None = None
) -> dict[tuple[int, int], Rows]:
    """Return some rows of `data` by server and number of the day. One statement."""
    number = epoch_minute(data.c.datetime) // SLOTS_A_DAY
    found = session.execute(
        select(data.c.server_id, number, *_raw_columns(data)).group_by(data.c.server_id, number),
        parameters,
    )
    return {(server_id, day): Rows(*map(_numbers, raw)) for server_id, day, *raw in found}


def stored(
    session: Session, ids: Sequence[int], numbers: Sequence[int], unpack: Collection[int] | None
) -> dict[tuple[int, int], tuple[Slots, Totals]]:
    """Return the stored days; only those in `unpack`, None for all, may be looked into."""
    bounds = {"ids": ids, "first": date_of_day(numbers[0]), "last": date_of_day(numbers[-1])}
    if unpack is None:
        found = session.execute(SELECT_DAYS, bounds)
    else:
        found = session.execute(
            SELECT_SUMS, bounds | {"dates": [date_of_day(one) for one in unpack]}
        )
    return {
        (server_id, number): (Slots(packed or b""), Totals(*sums))
        for server_id, number, packed, *sums in found
    }


def _select_days(packed: ColumnElement[bytes]) -> Select[Any]:
    # The date as a number: pg8000 takes 40 us to read a date.
    number = epoch_minute(DAY.c.date) // SLOTS_A_DAY
    return (
        select(DAY.c.server_id, number, packed, *(DAY.c[name] for name in Totals._fields))
        .where(DAY.c.server_id.in_(bindparam("ids", expanding=True)))
        .where(DAY.c.date.between(bindparam("first"), bindparam("last")))
    )


SELECT_DAYS = _select_days(DAY.c.packed)
SELECT_SUMS = _select_days(case((DAY.c.date.in_(bindparam("dates", expanding=True)), DAY.c.packed)))


def date_of_day(day_number: int) -> date:
    """The date of a day; of one that the calendar has no room for, the nearest that it has."""
    ordinal = EPOCH.toordinal() + day_number
    return date.fromordinal(min(max(ordinal, date.min.toordinal()), date.max.toordinal()))
