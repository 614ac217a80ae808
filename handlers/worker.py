"""The round, database side: targets out, pings in."""

import asyncio
import contextlib
import logging
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from core import pings, rounds, servers
from core.clock import Now, utc_now
from core.errors import CoreError, Unavailable
from core.schema import SLOT, Ping, State, Target, Unobserved, iso
from infra.database import Database

log = logging.getLogger("pinglet.worker")


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
    """Run a round for every slot, until cancelled.

    It begins with the slot we are in. A round that overruns is followed by that of the slot it
    ended in: rounds never overlap and never shift, and a slot that passed meanwhile stays missed.
    """
    done = None
    while True:
        slot = rounds.slot_of(now())
        if slot != done:
            await _one_slot(database, slot, now)
            done = slot
        else:
            await asyncio.sleep((slot + SLOT - now()).total_seconds())


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
