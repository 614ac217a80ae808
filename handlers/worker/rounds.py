"""A round in one process: targets out, pings in; every minute, until cancelled."""

import asyncio
import contextlib
import logging
import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from functools import partial
from typing import TypeVar

from sqlalchemy.orm import Session

from core import probe, slots
from core.checks.records import Ping, State, Target, Unobserved
from core.clock import Now, going_on_from, utc_now
from core.errors import CoreError, Unavailable, WrongRequest
from core.incidents import announce as announcing
from core.probe import Pace
from core.reading import iso
from core.rounds import gateway, measure, record, stretches, trust, witnesses
from core.rounds import log as round_log
from core.rounds.kernel import Kernel, look
from core.rounds.measure import Measured
from core.rounds.trust import Trust
from core.servers import find
from core.slots import AHEAD, SLOT
from handlers.instance import Instance
from handlers.worker import upkeep
from infra.database import Database

log = logging.getLogger("pinglet.worker")
T = TypeVar("T")

CLOSING = timedelta(seconds=10)
"""How long a round decides what waits behind the fence, where much does."""
NIGHT = timedelta(minutes=10)
"""How long after midnight, UTC, the day is packed: what comes later is added when its rows go."""

NOTE_S = 1.0
"""How long a round waits, at most, for the note that it begins."""


@dataclass(frozen=True, slots=True)
class RoundReport:
    """What became of a round."""

    slot: datetime
    targets: Sequence[Target]
    pings: Sequence[Ping]
    unobserved: Sequence[Unobserved]
    recorded: int  # rows that are new: fewer than pings where another worker was quicker
    duration_s: float

    def __str__(self) -> str:
        states = Counter(ping.state for ping in self.pings)
        figures = [f"{states[state]} {state}" for state in (State.UP, State.DEGRADED, State.DOWN)]
        figures.append(f"{len(self.unobserved)} unobserved")
        return f"{iso(self.slot)}: {', '.join(figures)} in {self.duration_s:.1f} s"


def due(database: Database, slot: datetime) -> list[Target]:
    """Return the servers due in `slot`, in a transaction of its own.

    Raises Unavailable, and WrongRequest for a slot of the future: a ping kept for it would stand
    in the way of the true one when that slot comes. The database's clock says so, as ours may be
    the wrong one; where both are one, as with SQLite, nobody can know.
    """
    with database.reading() as session:
        if slot > round_log.database_time(session) + AHEAD:
            told = "slot must not be in the future by the database's clock"
            raise WrongRequest(told, got=iso(slot))
        return find.targets(session, slot)


@dataclass(frozen=True, slots=True)
class Clocks:
    """Who is asked whether the wall clock is right: the kernel, and the database's own clock."""

    kernel: Callable[[], Kernel] = look
    database: Callable[[Session], datetime | None] = round_log.database_time


CLOCKS = Clocks()


def check_clock(database: Database, wall: datetime, clocks: Clocks = CLOCKS) -> None:
    """Raise ClockContradicted where nothing may be recorded by the wall clock; Unavailable.

    What the clocks showed is then written down: one that agrees with itself for long enough is
    believed. Where a clock was ahead and is right again, what it left in the future is put right.
    """
    reading = trust.Reading(wall, clocks.kernel())
    with database.reading() as session:
        told = clocks.database(session)
        found = stretches.kept(session)
        was_ahead = stretches.was_ahead(session, found, wall)
    trust.check(Trust([]), wall, told)
    found = trust.after(found, reading)
    if found.contradicted or was_ahead:
        found = _note_clock(database, reading)
    trust.check(found, wall, told)


def _note_clock(database: Database, reading: trust.Reading) -> Trust:
    def note(session: Session) -> Trust:
        found = stretches.note(session, reading)
        if not found.contradicted:
            stretches.put_right(session, reading.wall)
        return found

    return database.write(note)


def believe_clock(database: Database, wall: datetime, clocks: Clocks = CLOCKS) -> None:
    """Go on from the wall clock: a person says that it is right.

    Raises ClockContradicted where the database's own clock says otherwise, Unavailable.
    """
    reading = trust.Reading(wall, clocks.kernel())

    def believe(session: Session) -> None:
        trust.check(Trust([]), wall, clocks.database(session))
        stretches.believe(session, reading)

    database.write(believe)


@dataclass(frozen=True, slots=True)
class Beginning:
    """What is known as a round begins."""

    due_pings: int
    reading: trust.Reading

    def note(self, session: Session, slot: datetime) -> None:
        """Note that the round of that slot began."""
        round_log.begin(session, slot, self.due_pings, self.reading.wall)


def note_beginning(database: Database, slot: datetime, beginning: Beginning) -> None:
    """Note that a round begins, before it is made: one that comes to nothing is known as well.

    Where that can't be written, the round is made all the same.
    """

    def write(session: Session) -> None:
        stretches.note(session, beginning.reading)
        beginning.note(session, slot)

    try:
        database.write(write, durable=False)
    except Exception:  # pylint: disable=broad-exception-caught
        # The results can wait until the database can be written to; the echoes can't.
        log.exception("can't note that round %s begins", iso(slot))


def store(
    database: Database,
    slot: datetime,
    measured: Measured,
    now: datetime,
    beginning: Beginning | None = None,
) -> int:
    """Record a round, or part of one, in a transaction of its own; return how many rows are new.

    Its `beginning` is noted there, too, if that may not have been done yet. Who didn't answer while
    none of the witnesses did is unobserved. Raises Unavailable.
    """

    def write(session: Session) -> int:
        # In the order of locks that docs/design.md tells: stretches, witnesses, servers, rounds.
        if beginning:
            stretches.note(session, beginning.reading)
        seen, unseen = witnesses.weigh(session, slot, measured.pings, measured.heard)
        new = record.record(session, slot, seen, now, [*measured.unobserved, *unseen])
        if beginning:
            beginning.note(session, slot)
        round_log.add(session, slot, new, now)
        return new

    return database.write(write, durable=False)


def announce(database: Database, slot: datetime) -> None:
    """Decide what the round of that slot, once nothing of it is missing, says of incidents.

    Whoever does it again, or for a slot that is decided, changes nothing. What was measured is
    recorded by then: where this fails, the next round does it.
    """
    try:
        database.write(partial(announcing.announce, slot=slot), durable=False)
    except Exception:  # pylint: disable=broad-exception-caught
        log.exception("can't decide yet what round %s says", iso(slot))


def close(database: Database, slot: datetime) -> None:
    """Decide, as the round of that slot begins, what can't be waited for any longer.

    Where that can't be written, the round is made all the same: the next one does it.
    """
    passed = going_on_from(utc_now())
    until = passed() + CLOSING
    try:
        while database.write(partial(announcing.close, slot=slot), durable=False):
            if passed() >= until:
                break  # the next round goes on
    except Exception:  # pylint: disable=broad-exception-caught
        log.exception("can't decide what came before round %s", iso(slot))


async def run_round(
    here: Instance,
    slot: datetime,
    targets: Sequence[Target],
    progress: measure.Progress | None = None,
    *,
    now: Now = utc_now,
    clocks: Clocks = CLOCKS,
) -> RoundReport:
    """Ping `targets` and record what came back. No connection is held while echoes are out.

    What is measured after the slot's deadline is unobserved. A database that is away is waited for
    until the slot after next begins: what was measured is true whenever it is written. Raises
    Unavailable after that.
    """
    started = now()
    going_on = going_on_from(started)  # the wall clock may be set meanwhile, the machine sleep
    reading = trust.Reading(started, clocks.kernel())

    def store_all() -> int:
        return store(here.database, slot, measured, going_on(), beginning)

    beginning = Beginning(len(targets), reading)
    # Whoever holds a lock keeps the note waiting in its thread, but not the echoes of this slot.
    note = partial(_note_and_close, here.database, slot, beginning)
    await asyncio.wait([asyncio.create_task(asyncio.to_thread(note))], timeout=NOTE_S)
    measured = await measure.measure(
        targets,
        _pace(here, measure.left(slot, going_on())),
        progress,
        gateway.witnesses(here.settings),
    )
    measured = measure.in_time(measured, slot, going_on())
    recorded = await _patiently(store_all, slot, slot + 2 * SLOT, going_on)
    await asyncio.to_thread(announce, here.database, slot)
    for lost in measured.unobserved:
        log.warning("server %s unobserved: %s", lost.server_id, lost.detail)
    return RoundReport(
        slot,
        targets,
        measured.pings,
        measured.unobserved,
        recorded,
        (going_on() - started).total_seconds(),
    )


def _note_and_close(database: Database, slot: datetime, beginning: Beginning) -> None:
    note_beginning(database, slot, beginning)
    close(database, slot)


def _pace(here: Instance, left: timedelta) -> Pace:
    return replace(measure.pace(here.settings), budget_s=left.total_seconds())


async def _patiently(work: Callable[[], T], slot: datetime, until: datetime, now: Now) -> T:
    """Do a part of a round in a thread, again and again while the database can't serve it."""
    pause_s = 0.1
    while True:
        try:
            return await asyncio.to_thread(work)
        except Unavailable as error:
            if now() >= until:
                raise
            log.warning("round %s waits for the database; trying again: %s", iso(slot), error)
            await asyncio.sleep(random.uniform(0, pause_s))  # noqa: S311 (spreads load)
            pause_s = min(5.0, pause_s * 2)


async def run(here: Instance, now: Now = utc_now, clocks: Clocks = CLOCKS) -> None:
    """Run a round for every slot, and once a day the night's work, until cancelled.

    It begins with the slot we are in. A round that overruns is followed by that of the slot it
    ended in: rounds never overlap and never shift, and a slot that passed meanwhile stays missed.
    """
    nights = Nights(here)
    done = None
    try:
        while True:
            wall = now()
            slot = slots.slot_of(wall)
            if slot != done:
                with nights.held_off():
                    await _one_slot(here, wall, now, clocks)
                done = slot
                nights.begin_if_due(slot)
            else:
                # Never longer than a slot, were the clock set back at this moment.
                await asyncio.sleep(min(slot + SLOT - now(), SLOT).total_seconds())
    finally:
        nights.cancel()


class Nights:
    """The night's work beside the rounds: step by step, and only while no round is under way.

    A step that has begun ends in its thread; the round doesn't wait for it.
    """

    def __init__(self, here: Instance) -> None:
        self._here = here
        self._between_rounds = asyncio.Event()
        self._tidied: date | None = None
        self._task: asyncio.Task[None] | None = None

    @contextlib.contextmanager
    def held_off(self) -> Iterator[None]:
        """No step begins within."""
        self._between_rounds.clear()
        try:
            yield
        finally:
            self._between_rounds.set()

    def begin_if_due(self, slot: datetime) -> None:
        """Begin after that slot's round, if the day's work isn't done or under way.

        The night begins at 00:10 UTC. After a start at noon it begins at once: it may have been
        missed.
        """
        under_way = self._task is not None and not self._task.done()
        if not under_way and (slot - NIGHT).date() != self._tidied:
            self._task = asyncio.create_task(self._tidy(slot))

    def cancel(self) -> None:
        """Begin no further step."""
        if self._task is not None:
            self._task.cancel()

    async def _tidy(self, started: datetime) -> None:
        try:
            done = upkeep.Tidied()
            await self._between_rounds.wait()
            for step in await asyncio.to_thread(upkeep.plan_vouched, self._here):
                await self._between_rounds.wait()
                done += await asyncio.to_thread(step)
            log.info("nightly upkeep of %s: %s", started.date(), done)
        except Unavailable as error:
            log.warning("nightly upkeep continues after the next round: %s", error)
            return
        except Exception as error:  # pylint: disable=broad-exception-caught
            # Whatever goes wrong at night must not end the rounds, nor come again each minute.
            _log_fault("nightly upkeep failed", error)
        self._tidied = (started - NIGHT).date()


async def _one_slot(here: Instance, wall: datetime, now: Now, clocks: Clocks) -> None:
    slot = slots.slot_of(wall)

    def ask() -> list[Target]:
        check_clock(here.database, wall, clocks)
        return due(here.database, slot)

    # Whatever goes wrong in one round must not end those that follow.
    try:
        targets = await _patiently(ask, slot, slot + SLOT, now)
        done = await run_round(here, slot, targets, now=now, clocks=clocks)
        if targets:
            log.info("round %s", done)
    except CoreError as error:
        log.error("round %s failed: %s", iso(slot), error)
    except Exception as error:  # pylint: disable=broad-exception-caught
        # Whatever goes wrong in a round must not end the next ones.
        _log_fault(f"round {iso(slot)} failed", error)


def _log_fault(what: str, error: Exception) -> None:
    # When the process ends, the threads that work for this one end first: that is no fault.
    if not str(error).startswith(NO_MORE_THREADS):
        log.exception("%s", what, exc_info=error)


NO_MORE_THREADS = "cannot schedule new futures"
"""How concurrent.futures.thread refuses work once it was shut down."""


def say_what_is_missing() -> None:
    """Log what this machine's kernel doesn't give us, and what we do instead."""
    problem = probe.icmp_problem()
    if problem:
        log.warning(
            "servers are pinged over TCP, those that must be by ICMP not at all: %s", problem
        )
    problem = probe.stamp_problem()
    if problem:
        log.warning("round trips are timed by this process, which may be late: %s", problem)


def run_until_interrupted(here: Instance) -> None:
    """Run rounds in this thread until Ctrl-C."""
    say_what_is_missing()
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(run(here))
