"""What short windows of many servers add up to, as far as it can be by the database.

Of a day that is packed whole no raw row is looked at. Where nothing is packed yet, as today, raw
rows are added up where they lie: only their means travel, which percentiles need. Whatever is
neither, such as a ping that came late, is read by days.windows.

Every function takes a session inside a transaction that its caller ends.
"""

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Self

from sqlalchemy import ColumnElement, Select, case, func, literal, select, union_all
from sqlalchemy.orm import Session

from core.history import days
from core.history.codec import Slots, code, codes
from core.history.days import AT_ONCE, MINUTE, DayView, date_of_day, hundredths, is_held, listed
from core.history.sums import Totals, joined, summed
from core.models import DATA, DAY
from core.servers.schedule import Span, due, schedules, spans
from core.slots import DAY_SLOTS, slot_time

MOST_DAYS = 4
"""Windows that touch more days are read by days.windows: raw rows are the least of these."""

Key = tuple[int, int]
"""A server's id and a day's number."""
Sums = tuple[Totals, Sequence[int]]
"""What some slots add up to, and their means as codes."""


class Piece(NamedTuple):
    """The slots of a day from `low` to before `high`."""

    number: int
    low: int
    high: int

    @property
    def start(self) -> int:
        """The day's first slot."""
        return self.number * DAY_SLOTS

    @property
    def slots(self) -> int:
        """The slots as bits."""
        return (1 << self.high) - (1 << self.low)


class RawSums(NamedTuple):
    """What raw rows of a piece add up to; `over` are those of slots that are over."""

    counts: Sequence[int]
    over: int
    echoes: Sequence[int]
    best: int
    worst: int
    means: Sequence[int]

    @classmethod
    def of(cls, means: str, *numbers: int) -> Self:
        """Read a row of the statement."""
        up, degraded, down, over, sent, received, best, worst = map(int, numbers)
        found = sorted(codes(json.loads(f"[{means}]")))
        return cls((up, degraded, down), over, (sent, received), code(best), code(worst), found)


class Read(NamedTuple):
    """What was read of some servers' pieces.

    `held` are the slots that were packed when reading began; `late` the days that lacked slots of
    raw rows after that.
    """

    held: Mapping[Key, int]
    raw: Mapping[Key, RawSums]
    late: Collection[Key]
    stored: dict[Key, tuple[Slots, Totals]]
    planned: Mapping[int, Sequence[Span]]


def totals_of(
    session: Session, ids: Sequence[int], first: int, end: int, now: int
) -> Iterator[tuple[int, Totals]]:
    """Yield what each server's slots from `first` to before `end` add up to.

    The slot `now` and those after it are not due yet. Three statements for one server, eight at
    most for every AT_ONCE.
    """
    pieces = [Piece(*piece) for piece in days.pieces(first, end)]
    add_up = _briefly if len(ids) > 1 and len(pieces) <= MOST_DAYS else _nothing
    for start in range(0, len(ids), AT_ONCE):
        some = ids[start : start + AT_ONCE]
        found = add_up(session, some, pieces, now)
        yield from found.items()
        left = [one for one in some if one not in found]
        for server_id, its_days in days.windows(session, left, first, end, now) if left else ():
            yield server_id, days.add_up(its_days, first, end)


def _nothing(*_given: object) -> dict[int, Totals]:
    return {}


def _briefly(
    session: Session, ids: Sequence[int], pieces: Sequence[Piece], now: int
) -> dict[int, Totals]:
    """Return what servers' pieces add up to; who can't be added up so is left out."""
    read = _read(session, ids, pieces, now)
    found = {}
    for one in ids:
        parts = [_sums(read, one, piece, now) for piece in pieces]
        whole = [part for part in parts if part is not None]
        if len(whole) == len(parts):
            found[one] = joined([sums for sums, _means in whole], [means for _sums, means in whole])
    return found


def _read(session: Session, ids: Sequence[int], pieces: Sequence[Piece], now: int) -> Read:
    # Raw rows first, days second: days.py says why. `held` only says which rows to look at.
    held = _held(session, ids, pieces)
    absent = [(one, piece) for piece in pieces for one in ids if (one, piece.number) not in held]
    partly = [
        (one, piece)
        for piece in pieces
        for one in ids
        if piece.slots & ~held.get((one, piece.number), piece.slots)
    ]
    raw = {(row[0], row[1]): RawSums.of(*row[2:]) for row in _rows(session, absent, _added_up(now))}
    late = {(row[0], row[1]) for row in _rows(session, partly, _missing)}
    stored = days.stored(session, ids, [piece.number for piece in pieces], None)
    planned = {one: spans(schedule) for one, schedule in schedules(session, ids).items()}
    return Read(held, raw, late, stored, planned)


def _held(session: Session, ids: Sequence[int], pieces: Sequence[Piece]) -> dict[Key, int]:
    dates = {date_of_day(piece.number): piece.number for piece in pieces}
    found = session.execute(
        select(DAY.c.server_id, DAY.c.date, DAY.c.held).where(
            DAY.c.server_id.in_(ids), DAY.c.date.in_(list(dates))
        )
    )
    return {(server_id, dates[day]): int(held, 16) for server_id, day, held in found}


def _rows(session: Session, wanted: Sequence[tuple[int, Piece]], query: Any) -> Sequence[Any]:
    """Ask for pieces of servers. One statement, or none where there is nothing to ask for.

    Each piece is a part of the statement, not a group: groups by day would have to be sorted.
    """
    ids: dict[Piece, list[int]] = {}
    for one, piece in wanted:
        ids.setdefault(piece, []).append(one)
    if not ids:
        return ()
    return session.execute(union_all(*(query(piece, some) for piece, some in ids.items()))).all()


def _added_up(now: int) -> Any:
    def query(piece: Piece, ids: Sequence[int]) -> Select[Any]:
        return (
            select(
                DATA.c.server_id,
                literal(piece.number),
                listed(hundredths(DATA.c.response_time)),
                _count(DATA.c.received == DATA.c.sent),
                _count((DATA.c.received > 0) & (DATA.c.received < DATA.c.sent)),
                _count(DATA.c.received == 0),
                _count(DATA.c.datetime < slot_time(now)),
                func.sum(DATA.c.sent),
                func.sum(DATA.c.received),
                hundredths(func.min(DATA.c.best_ms)),
                hundredths(func.max(DATA.c.worst_ms)),
            )
            .where(*_inside(piece, ids))
            .group_by(DATA.c.server_id)
        )

    return query


def _count(those: ColumnElement[bool]) -> ColumnElement[int]:
    return func.sum(case((those, 1), else_=0))


def _missing(piece: Piece, ids: Sequence[int]) -> Select[Any]:
    """Servers of which a raw row's slot isn't in the packed day."""
    return (
        select(DAY.c.server_id, literal(piece.number))
        .join(DATA, DATA.c.server_id == DAY.c.server_id)
        .where(DAY.c.date == date_of_day(piece.number), *_inside(piece, ids))
        .where(~is_held(MINUTE - piece.start))
        .distinct()
    )


def _inside(piece: Piece, ids: Sequence[int]) -> Sequence[ColumnElement[bool]]:
    since, until = (slot_time(piece.start + at) for at in (piece.low, piece.high))
    return DATA.c.server_id.in_(ids), DATA.c.datetime >= since, DATA.c.datetime < until


def _sums(read: Read, one: int, piece: Piece, now: int) -> Sums | None:
    """Add a piece up; None where it can't be from what was read."""
    key = (one, piece.number)
    was_due = due(read.planned.get(one, []), piece.start, now)
    known = read.stored.pop(key, None)  # what is unpacked is let go of with its server
    if known and key in read.held and key not in read.late:
        totals = DayView(known[0], was_due, known[1]).totals(piece.low, piece.high)
        return totals, known[0].mean[piece.low : piece.high]
    if known or key in read.held:
        return None
    return _of_raw(read.raw.get(key), was_due & piece.slots, piece, now)


def _of_raw(raw: RawSums | None, was_due: int, piece: Piece, now: int) -> Sums | None:
    if raw is None:
        return Totals(unobserved=was_due.bit_count()), ()
    over = piece.slots & (1 << min(max(now - piece.start, 0), DAY_SLOTS)) - 1
    if was_due not in (0, over):  # which of the slots that were due were observed isn't known
        return None
    unobserved = max(was_due.bit_count() - raw.over, 0)
    counts = (*raw.counts, unobserved)
    return summed(counts, raw.echoes, raw.means, raw.best, raw.worst), raw.means
