"""A round in one process: targets out, pings in; every minute, until cancelled."""

import asyncio
import contextlib
import logging
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from core import probe, slots
from core.checks.records import Ping, State, Target, Unobserved
from core.clock import Now, utc_now
from core.errors import CoreError, Unavailable, WrongRequest
from core.reading import iso
from core.rounds import log as round_log
from core.rounds import measure, record
from core.servers import find
from core.slots import AHEAD, SLOT
from handlers.instance import Instance
from handlers.worker import upkeep
from infra.database import Database

log = logging.getLogger("pinglet.worker")

NIGHT = timedelta(minutes=10)
"""How long after midnight, UTC, the day is packed: what comes later is added when its rows go."""


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


def note_beginning(database: Database, slot: datetime, due_pings: int, now: datetime) -> None:
    """Note that a round begins, before it is made: one that comes to nothing is known as well.

    Where that can't be written, the round is made all the same.
    """
    try:
        with database.transaction() as session:
            round_log.begin(session, slot, due_pings, now)
    except Exception:  # pylint: disable=broad-exception-caught
        # The results can wait until the database can be written to; the echoes can't.
        log.exception("can't note that round %s begins", iso(slot))


def store(database: Database, slot: datetime, measured: Sequence[Ping], now: datetime) -> int:
    """Record a round, or part of one, in a transaction of its own; return how many rows are new.

    Raises Unavailable.
    """
    with database.transaction() as session:
        new = record.record(session, slot, measured, now)
        round_log.add(session, slot, new, now)
        return new


async def run_round(
    here: Instance,
    slot: datetime,
    targets: Sequence[Target],
    progress: measure.Progress | None = None,
    now: Now = utc_now,
) -> RoundReport:
    """Ping `targets` and record what came back. No connection is held while echoes are out.

    A database that is away is waited for until the slot after next begins: what was measured is
    true whenever it is written. Raises Unavailable after that.
    """
    started = now()
    ticks_s = time.monotonic()  # the wall clock may step meanwhile

    def store_all() -> int:
        ended = started + timedelta(seconds=time.monotonic() - ticks_s)
        return store(here.database, slot, measured.pings, ended)

    await asyncio.to_thread(note_beginning, here.database, slot, len(targets), started)
    measured = await measure.measure(targets, measure.pace(here.settings), progress)
    recorded = await _patiently(store_all, slot, now)
    for lost in measured.unobserved:
        log.warning("server %s unobserved: %s", lost.server_id, lost.reason)
    return RoundReport(
        slot,
        targets,
        measured.pings,
        measured.unobserved,
        recorded,
        (now() - started).total_seconds(),
    )


async def _patiently(store_all: Callable[[], int], slot: datetime, now: Now) -> int:
    pause_s = 0.1
    while True:
        try:
            return await asyncio.to_thread(store_all)
        except Unavailable as error:
            if now() >= slot + 2 * SLOT:
                raise
            log.warning("round %s isn't recorded yet; trying again: %s", iso(slot), error)
            await asyncio.sleep(random.uniform(0, pause_s))  # noqa: S311 (spreads load)
            pause_s = min(5.0, pause_s * 2)


async def run(here: Instance, now: Now = utc_now) -> None:
    """Run a round for every slot, and once a day the night's work, until cancelled.

    It begins with the slot we are in. A round that overruns is followed by that of the slot it
    ended in: rounds never overlap and never shift, and a slot that passed meanwhile stays missed.
    """
    nights = Nights(here)
    done = None
    try:
        while True:
            slot = slots.slot_of(now())
            if slot != done:
                with nights.held_off():
                    await _one_slot(here, slot, now)
                done = slot
                nights.begin_if_due(slot)
            else:
                await asyncio.sleep((slot + SLOT - now()).total_seconds())
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
            for step in await asyncio.to_thread(upkeep.plan, self._here, started):
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


async def _one_slot(here: Instance, slot: datetime, now: Now) -> None:
    # Whatever goes wrong in one round must not end those that follow.
    try:
        targets = await asyncio.to_thread(due, here.database, slot)
        done = await run_round(here, slot, targets, now=now)
        if targets:
            log.info("round %s", done)
    except CoreError as error:
        log.error("round %s failed: %s", iso(slot), error)
    except Exception as error:  # pylint: disable=broad-exception-caught
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
