"""The round, database side: targets out, pings in."""

import asyncio
import contextlib
import logging
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime, timedelta
from functools import cache
from typing import Any

from core import pings, rounds, servers
from core.clock import Now, utc_now
from core.errors import CoreError, Unavailable
from core.schema import SLOT, Ping, State, Target, Unobserved, iso
from core.settings import Settings
from handlers import night
from infra.database import Database

log = logging.getLogger("pinglet.worker")

NIGHT = timedelta(minutes=10)
"""How long after midnight, UTC, the day is packed: what comes later is added when its rows go."""


@dataclass(frozen=True, slots=True)
class Round:
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
    """Return the servers due in `slot`, in a transaction of its own. Raises Unavailable."""
    with database.reading() as session:
        return servers.targets(session, slot)


def store(database: Database, slot: datetime, measured: Sequence[Ping]) -> int:
    """Record a round, in a transaction of its own; return how many rows are new.

    Raises Unavailable.
    """
    with database.transaction() as session:
        return pings.record(session, slot, measured)


async def run_round(
    database: Database,
    slot: datetime,
    targets: Sequence[Target],
    progress: rounds.Progress | None = None,
    now: Now = utc_now,
) -> Round:
    """Ping `targets` and record what came back. No connection is held while echoes are out.

    A database that is away is waited for until the slot after next begins: what was measured is
    true whenever it is written. Raises Unavailable after that.
    """
    started = now()
    measured = await rounds.measure(targets, rounds.pace(database.settings), progress)
    recorded = await _store_patiently(database, slot, measured.pings, now)
    for lost in measured.unobserved:
        log.warning("server %s unobserved: %s", lost.server_id, lost.reason)
    return Round(
        slot,
        targets,
        measured.pings,
        measured.unobserved,
        recorded,
        (now() - started).total_seconds(),
    )


async def _store_patiently(
    database: Database, slot: datetime, measured: Sequence[Ping], now: Now
) -> int:
    pause_s = 0.1
    while True:
        try:
            return await asyncio.to_thread(store, database, slot, measured)
        except Unavailable as error:
            if now() >= slot + 2 * SLOT:
                raise
            log.warning("round %s is not recorded yet: %s", iso(slot), error)
            await asyncio.sleep(random.uniform(0, pause_s))  # noqa: S311 (spreads load)
            pause_s = min(5.0, pause_s * 2)


async def run(database: Database, now: Now = utc_now) -> None:
    """Run a round for every slot, and once a day the night's work, until cancelled.

    It begins with the slot we are in. A round that overruns is followed by that of the slot it
    ended in: rounds never overlap and never shift, and a slot that passed meanwhile stays missed.
    """
    nights = Nights(database, now)
    done = None
    try:
        while True:
            slot = rounds.slot_of(now())
            if slot != done:
                with nights.held_off():
                    await _one_slot(database, slot, now)
                done = slot
                nights.begin_if_due()
            else:
                await asyncio.sleep((slot + SLOT - now()).total_seconds())
    finally:
        nights.cancel()


class Nights:
    """The night's work beside the rounds: step by step, and only while no round is under way.

    A step that has begun ends in its thread; the round doesn't wait for it.
    """

    def __init__(self, database: Database, now: Now) -> None:
        self._database = database
        self._now = now
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

    def begin_if_due(self) -> None:
        """Begin, if today's work isn't done or under way. The night begins at 00:10 UTC.

        After a start at noon it begins at once: it may have been missed.
        """
        under_way = self._task is not None and not self._task.done()
        if not under_way and (self._now() - NIGHT).date() != self._tidied:
            self._task = asyncio.create_task(self._tidy())

    def cancel(self) -> None:
        """Begin no further step."""
        if self._task is not None:
            self._task.cancel()

    async def _tidy(self) -> None:
        started = self._now()
        try:
            done = night.Tidied()
            await self._between_rounds.wait()
            for step in await asyncio.to_thread(night.plan, self._database, started):
                await self._between_rounds.wait()
                done += await asyncio.to_thread(step)
            log.info("night %s: %s", started.date(), done)
        except Unavailable as error:
            log.warning("the night's work goes on after the next round: %s", error)
            return
        except Exception:  # pylint: disable=broad-exception-caught
            # Whatever goes wrong at night must not end the rounds, nor come again each minute.
            log.exception("the night's work failed")
        self._tidied = (started - NIGHT).date()


async def _one_slot(database: Database, slot: datetime, now: Now) -> None:
    # Whatever goes wrong in one round must not end those that follow.
    try:
        targets = await asyncio.to_thread(due, database, slot)
        if targets:
            log.info("round %s", await run_round(database, slot, targets, now=now))
    except CoreError as error:
        log.error("round %s failed: %s", iso(slot), error)
    except Exception:  # pylint: disable=broad-exception-caught
        log.exception("round %s failed", iso(slot))


def run_until_interrupted(database: Database) -> None:
    """Run rounds in this thread until Ctrl-C."""
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(run(database))


warm_database = cache(lambda: Database(Settings.from_env()))


def tidy(_event: object, _context: object) -> dict[str, Any]:
    """Do the night's work as a function of its own; return what was done.

    It may run at any time, twice, or be cut off: the next night finishes it. Raises Unavailable.
    """
    done = night.tidy(warm_database(), utc_now())
    log.info("night: %s", done)
    return asdict(done)
