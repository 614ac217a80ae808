"""Spells: from when to when a server was down, unobserved or paused, and why.

Every function takes a session inside a transaction that its caller ends.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from core.checks.records import Reason, State
from core.errors import IdUnknown
from core.history import days, reasons
from core.history.codec import NOTHING
from core.history.days import DayView
from core.history.figures import window_slots
from core.history.reasons import Cause
from core.history.records import Spell, Spells
from core.models import LARGEST_ID, ROUND
from core.servers.schedule import WHOLE_DAY, Span, due, pauses, schedules
from core.slots import DAY_SLOTS, current_slot, slot_number, slot_time
from core.sql import epoch_minute

DOWN, UNOBSERVED, PAUSED, NOT_DUE = "-u_ "
"""What a slot is, as a letter; the others, up and degraded, are those of core/history/codec.py."""
RUNS = re.compile(f"{DOWN}[{DOWN}{NOT_DUE}]*|{UNOBSERVED}[{UNOBSERVED}{NOT_DUE}]*|{PAUSED}+")
"""Slots in which nothing was due end nothing: of a server that is due every hour they are most."""
STATES = {DOWN: State.DOWN, UNOBSERVED: State.UNOBSERVED, PAUSED: None}

NO_ROUND = "no round ran"
RECORDED_NOTHING = "rounds ran and recorded nothing of any server"
NOT_LOOKED_AT = "rounds ran, but couldn't look at this server"
NOBODY_LOOKED = "nobody looked"
WAS_PAUSED = "paused"


class Run(NamedTuple):
    """A spell as it is found: its letter, its slots from `first` to before `end`, how many count.

    `lasts`: nothing has been seen since.
    """

    letter: str
    first: int
    end: int
    slots: int
    lasts: bool

    @property
    def length(self) -> int:
        """How long it is, in minutes."""
        return self.end - self.first


def spells(
    session: Session,
    server_id: int,
    window: tuple[datetime, datetime],
    limit: int,
    now: datetime,
) -> Spells:
    """Return the `limit` longest spells of a server in a window, in order of time.

    Four statements, five where something wasn't up, seven where something was unobserved. Raises
    IdUnknown, WrongRequest.
    """
    first, end = window_slots(*window)
    current = current_slot(now)
    planned = schedules(session, [min(server_id, LARGEST_ID)]).get(server_id)
    if planned is None:
        raise IdUnknown(server_id)
    ((_, found),) = days.windows(session, [server_id], first, end, current)
    # The slot we are in counts where it was pinged already; what is to come is nothing yet.
    letters = line(found, pauses(planned), first, min(end, current + 1))
    runs = list(_runs(letters, first, goes_on=end > current))
    longest = sorted(sorted(runs, key=lambda run: -run.length)[:limit], key=lambda run: run.first)
    tallies = _tallies(session, longest)
    causes = _causes(session, server_id, longest)
    return Spells(
        since=slot_time(first),
        until=slot_time(end),
        spells=[_spell(run, causes.get(run), found, tallies) for run in longest],
        left_off=len(runs) - len(longest),
    )


def line(found: Mapping[int, DayView], paused: Sequence[Span], first: int, end: int) -> str:
    """Write the slots from `first` to before `end` as a letter each."""
    if first >= end:
        return ""
    return "".join(
        _letters(found[number], paused, number)[low:high]
        for number, low, high in days.pieces(first, end)
    )


def _letters(day: DayView, paused: Sequence[Span], number: int) -> str:
    states = day.slots.states
    if NOTHING not in states:
        return states
    rested = due(paused, number * DAY_SLOTS)
    # Most days are one of these two, and take a tenth of the time.
    if not rested and day.due == WHOLE_DAY:
        return states.replace(NOTHING, UNOBSERVED)
    if not rested and not day.due & ~day.slots.observed:
        return states.replace(NOTHING, NOT_DUE)
    was_due = _bits(day.due, UNOBSERVED, NOT_DUE)
    was_paused = _bits(rested, PAUSED, NOT_DUE)
    return "".join(
        state if state != NOTHING else missed if missed != NOT_DUE else pause
        for state, missed, pause in zip(states, was_due, was_paused, strict=True)
    )


def _bits(slots: int, one: str, zero: str) -> str:
    """Write a set of a day's slots as a letter each, the first slot first."""
    return f"{slots:0{DAY_SLOTS}b}"[::-1].translate({ord("1"): one, ord("0"): zero})


def _runs(letters: str, first: int, *, goes_on: bool) -> Iterator[Run]:
    end = len(letters.rstrip(NOT_DUE))
    for found in RUNS.finditer(letters):
        letter = found[0][0]
        lasts = goes_on and found.end() >= end
        until = len(letters) if lasts else found.end()
        yield Run(letter, first + found.start(), first + until, found[0].count(letter), lasts)


class Tallies(NamedTuple):
    """How many pings each round recorded in which any was due, and since when this is kept."""

    kept_since: int
    observed: Mapping[int, int]


def _tallies(session: Session, runs: Sequence[Run]) -> Tallies:
    gaps = [run for run in runs if run.letter == UNOBSERVED]
    oldest = session.scalar(select(func.min(ROUND.c.slot))) if gaps else None
    if oldest is None:
        return Tallies(gaps[-1].end if gaps else 0, {})
    slot = epoch_minute(ROUND.c.slot)
    within = ROUND.c.slot.between(slot_time(gaps[0].first), slot_time(gaps[-1].end - 1))
    rows = session.execute(select(slot, ROUND.c.observed).where(within, ROUND.c.due > 0)).all()
    return Tallies(slot_number(oldest), dict(rows))


def _causes(session: Session, server_id: int, runs: Sequence[Run]) -> dict[Run, Cause]:
    """Say why each outage and gap is one, as far as that is kept."""
    told = [run for run in runs if run.letter != PAUSED]
    wanted = [reasons.Bounds(run.first, run.end, run.letter == DOWN) for run in told]
    mains = reasons.main_causes(session, server_id, wanted)
    # What few slots of a gap say is not why the whole of it is one.
    return {
        run: main.cause
        for run, main in zip(told, mains, strict=True)
        if main and (run.letter == DOWN or 2 * main.slots >= run.slots)
    }


def _spell(run: Run, cause: Cause | None, found: Mapping[int, DayView], tallies: Tallies) -> Spell:
    return Spell(
        state=STATES[run.letter],
        since=slot_time(run.first),
        until=None if run.lasts else slot_time(run.end),
        slots=run.slots,
        reason=cause and cause.reason,
        detail=_detail(run, cause, found, tallies),
    )


def _detail(run: Run, cause: Cause | None, found: Mapping[int, DayView], tallies: Tallies) -> str:
    if run.letter == PAUSED:
        return WAS_PAUSED
    if run.letter == UNOBSERVED:
        return cause.detail if cause else _nobody(run, tallies)
    pieces = days.pieces(run.first, run.end)
    sent = sum(found[number].slots.echoes(low, high)[0] for number, low, high in pieces)
    return _lost(sent, cause)


def _lost(sent: int, cause: Cause | None) -> str:
    if cause is None or cause.reason == Reason.TIMEOUT:
        return f"none of {sent:,} echoes came back"
    outcome = "succeeded" if cause.reason == Reason.REFUSED else "came back"
    return f"{cause.detail}: none of {sent:,} echoes {outcome}"


def _nobody(run: Run, tallies: Tallies) -> str:
    if run.first < tallies.kept_since:
        return NOBODY_LOOKED
    ran = [tallies.observed[slot] for slot in range(run.first, run.end) if slot in tallies.observed]
    if 2 * len(ran) < run.slots:
        return NO_ROUND
    return NOT_LOOKED_AT if any(ran) else RECORDED_NOTHING
