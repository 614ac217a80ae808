"""All of many servers' slots, as a letter each: what is read to judge them anew.

Every function takes a session inside a transaction that its caller ends.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Select, bindparam, select
from sqlalchemy.orm import Session

from core.history.codec import NO_ECHOES, NO_TIMES, Columns, Rows, Slots, codes, merged
from core.history.days import NO_SLOTS, SLOTS_A_DAY, DayView, date_of_day, hundredths, listed
from core.history.spells import PAUSED, line
from core.history.upkeep import RAW_OF
from core.models import DAY
from core.servers.exempt import exempt
from core.servers.schedule import Span, due, pauses, schedules, spans
from core.slots import DAY_SLOTS, slot_time
from core.sql import as_rows, epoch_minute

EXEMPT = "m"
"""A slot in maintenance: not judged, as if it hadn't been due, but it ends what was before it."""
AT_ONCE = 50
"""Servers that are read at once: a month of one is 200 kB meanwhile."""


class Past(NamedTuple):
    """A server's slots from `first` on, as letters of core/history/spells.py or EXEMPT; their days.

    `worst_ms` is the slowest echo of a day, where that is known without looking at its slots.
    """

    first: int
    letters: str
    days: Mapping[int, DayView]
    worst_ms: Mapping[int, float]


def read(session: Session, ids: Sequence[int], first: int, end: int) -> Iterator[tuple[int, Past]]:
    """Yield each server with its slots from `first` to before `end`, which is over.

    Five statements for every AT_ONCE servers, of which as many are held; eight where any is in
    maintenance. Raw rows are read of days that aren't packed, and of the last one: what came late
    for a packed day is missing until the night adds it.
    """
    for start in range(0, len(ids), AT_ONCE):
        yield from _read(session, ids[start : start + AT_ONCE], first, end)


def _read(session: Session, ids: Sequence[int], first: int, end: int) -> Iterator[tuple[int, Past]]:
    numbers = range(first // DAY_SLOTS, (end - 1) // DAY_SLOTS + 1)
    packed, raw = _kept(session, ids, numbers)
    plans, held = schedules(session, ids), exempt(session, ids, first, end)
    for one in ids:
        planned = plans.get(one, ())
        found = {
            number: _day(packed.pop((one, number), None), raw.pop((one, number), None))
            for number in numbers
        }
        days = _views(found, spans(planned), end)
        letters = _with_exempt(line(days, pauses(planned), first, end), held.get(one, ()), first)
        worst_ms = {number: ms for number, (_, ms) in found.items() if ms is not None}
        yield one, Past(first, letters, days, worst_ms)


def _views(
    found: Mapping[int, tuple[Slots, float | None]], was_due: Sequence[Span], end: int
) -> dict[int, DayView]:
    return {
        number: DayView(slots, due(was_due, number * DAY_SLOTS, end))
        for number, (slots, _) in found.items()
    }


Day = tuple[int, int]
"""A server's id and a day's number."""
Packed = tuple[bytes, float | None]
"""A day's slots, and its slowest echo."""


def _kept(
    session: Session, ids: Sequence[int], numbers: Sequence[int]
) -> tuple[dict[Day, Packed], dict[Day, Rows]]:
    """Return what is packed, and the raw rows beside it."""
    bounds = {"ids": ids, "first": date_of_day(numbers[0]), "last": date_of_day(numbers[-1])}
    done = {tuple(key) for key in session.execute(KEYS, bounds)}
    days = ((one, number) for one in ids for number in numbers)
    # First raw rows, then days: what has left the one is in the other.
    raw = _raw(session, [day for day in days if day not in done or day[1] == numbers[-1]])
    found = session.execute(DAYS, bounds)
    return {(one, number): (packed, ms) for one, number, packed, ms in found}, raw


def _day(packed: Packed | None, rows: Rows | None) -> tuple[Slots, float | None]:
    known, ms = (Slots(packed[0]), packed[1]) if packed else (NO_SLOTS, None)
    return (_with_raw(known, rows), None) if rows else (known, ms)


def _with_raw(known: Slots, rows: Rows) -> Slots:
    count = len(rows.minutes)
    if known is not NO_SLOTS or rows.minutes != list(range(count)):
        return merged(known, rows)
    # As a rule today is raw alone, and from midnight on there is no gap: then nothing is merged.
    mean = [*codes(rows.mean), *NO_TIMES[count:]]
    echoes = ([*column, *NO_ECHOES[count:]] for column in (rows.sent, rows.received))
    return Slots.of(Columns(mean, mean, mean, *echoes))


def _with_exempt(letters: str, held: Sequence[Span], first: int) -> str:
    """Return the letters where what was exempt is: a pause in it stays one."""
    parts: list[str] = []
    passed = 0
    for low, high in ((span.first - first, span.end - first) for span in held):
        between_pauses = letters[low:high].split(PAUSED)
        parts += letters[passed:low], PAUSED.join(EXEMPT * len(one) for one in between_pauses)
        passed = high
    return "".join([*parts, letters[passed:]])


def _raw(session: Session, some: Sequence[tuple[int, int]]) -> dict[tuple[int, int], Rows]:
    """Return the raw rows of these servers' days. Best and worst echoes are taken for the mean."""
    bounds = as_rows(
        [server_id, slot_time(number * DAY_SLOTS), slot_time((number + 1) * DAY_SLOTS)]
        for server_id, number in some
    )
    found = {}
    for server_id, number, *columns in session.execute(RAW, {"rows": bounds}):
        minutes, mean, sent, received = (json.loads(f"[{column}]") for column in columns)
        found[server_id, number] = Rows(minutes, mean, mean, mean, sent, received)
    return found


def _of_days() -> Select[Any]:
    minute = epoch_minute(RAW_OF.c.datetime)
    number = minute // SLOTS_A_DAY
    mean = hundredths(RAW_OF.c.response_time)
    columns = minute % SLOTS_A_DAY, mean, RAW_OF.c.sent, RAW_OF.c.received
    lists = [listed(column) for column in columns]
    return select(RAW_OF.c.server_id, number, *lists).group_by(RAW_OF.c.server_id, number)


RAW = _of_days()
# The date as a number: pg8000 takes 40 us to read a date.
NUMBER = epoch_minute(DAY.c.date) // SLOTS_A_DAY
OF_THEM = (
    DAY.c.server_id.in_(bindparam("ids", expanding=True)),
    DAY.c.date.between(bindparam("first"), bindparam("last")),
)
KEYS = select(DAY.c.server_id, NUMBER).where(*OF_THEM)
DAYS = select(DAY.c.server_id, NUMBER, DAY.c.packed, DAY.c.worst_ms).where(*OF_THEM)
