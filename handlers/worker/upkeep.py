"""The night's work: yesterday is packed, what is old is removed.

One step is one short transaction, so that rounds are recorded in between. Steps may end anywhere,
be done twice, by two at once, or days late: core/history/days.py says why nothing is lost or
doubled.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import partial
from itertools import pairwise
from typing import Self, TypeVar

from core.accounts import tokens
from core.history import aside, reasons, upkeep
from core.incidents import maintenance
from core.incidents import upkeep as incidents
from core.rounds import log as round_log
from core.rounds import stretches
from core.servers import find
from core.slots import DAY_SLOTS, first_slot, slot_time
from handlers.instance import Instance
from infra import patience
from infra.database import Database

log = logging.getLogger("pinglet.worker")
T = TypeVar("T")

SERVERS_AT_ONCE = 24
"""Servers' days in one transaction of packing: some 35,000 rows read, a quarter of a second."""
ROWS_AT_ONCE = 5_000
DAYS_AT_ONCE = 500
INCIDENTS_AT_ONCE = 500
HOUR = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Tidied:
    """What was done."""

    packed: int = 0  # servers' days that are new or hold more than before
    pings: int = 0  # raw rows removed
    days: int = 0  # packed days removed

    def __add__(self, other: Self) -> "Tidied":
        return Tidied(self.packed + other.packed, self.pings + other.pings, self.days + other.days)

    def __str__(self) -> str:
        removed = f"pings removed: {self.pings}, old days removed: {self.days}"
        return f"days packed: {self.packed}, {removed}"


Step = Callable[[], Tidied]


def tidy(here: Instance) -> Tidied:
    """Do the whole night's work as far as rounds vouch for the time. Raises Unavailable."""
    return sum((step() for step in plan_vouched(here)), Tidied())


def plan_vouched(here: Instance) -> Sequence[Step]:
    """Return the steps of the night; none where nobody vouches for the clock.

    What is kept is measured by the time that rounds vouch for, never by whoever asks. Raises
    Unavailable.
    """
    with patience.of(patience.of_job(here.settings)), here.database.reading() as session:
        trusted = stretches.kept(session)
    if trusted.removal_waits:
        log.warning("removal waits: %s", trusted.removal_waits)
    return plan(here, trusted.vouched) if trusted.vouched else []


def plan(here: Instance, now: datetime) -> Sequence[Step]:
    """Return what is to be done at `now`, in order, in steps of a fraction of a second.

    Later steps rely on earlier ones only for speed; each has a patience of its own. Raises
    Unavailable, as each step does.
    """
    return [partial(_patiently, here, step) for step in _patiently(here, partial(_plan, here, now))]


def _patiently(here: Instance, work: Callable[[], T]) -> T:
    with patience.of(patience.of_job(here.settings)):
        return work()


def _plan(here: Instance, now: datetime) -> Sequence[Step]:
    database = here.database
    with database.reading() as session:
        today = now.date()
        ids = find.ids(session)
        unpacked = {day: upkeep.unpacked(session, day) for day in upkeep.raw_dates(session, today)}
    expired = (now - here.settings.keep_raw_hours * HOUR).date()
    steps: list[Step] = []
    for day, unpacked_ids in unpacked.items():
        steps += _packing(database, day, unpacked_ids)
        if day < expired:
            steps += _forgetting(database, day, len(ids))
    oldest = today - timedelta(days=here.settings.keep_days)
    steps += [partial(_forget_days, database, oldest, some) for some in _cut(ids, DAYS_AT_ONCE)]
    before = slot_time(first_slot(expired))
    steps.append(partial(_forget_rounds, database, before))
    steps.append(partial(_forget_reasons, database, before, _slots_at_once(len(ids))))
    steps.append(partial(_forget_incidents, database, slot_time(first_slot(oldest))))
    steps.append(partial(_forget_clocks, database, slot_time(first_slot(oldest))))
    steps.append(partial(_plan_maintenance, database, now, slot_time(first_slot(oldest))))
    return [*steps, partial(_forget_log_ins, database, now)]


def _packing(database: Database, day: date, ids: Sequence[int]) -> list[Step]:
    return [partial(_pack, database, day, some) for some in _cut(ids, SERVERS_AT_ONCE)]


def _forgetting(database: Database, day: date, servers_count: int) -> list[Step]:
    edges = [*range(0, DAY_SLOTS, _slots_at_once(servers_count)), DAY_SLOTS]
    steps: list[Step] = [
        partial(_forget_pings, database, day, low, high) for low, high in pairwise(edges)
    ]
    return [*steps, partial(_sweep, database, day, steps)]


def _slots_at_once(servers_count: int) -> int:
    return max(1, ROWS_AT_ONCE // max(1, servers_count))


def _cut(ids: Sequence[int], size: int) -> Iterator[Sequence[int]]:
    return (ids[start : start + size] for start in range(0, len(ids), size))


def _pack(database: Database, day: date, ids: Sequence[int]) -> Tidied:
    return Tidied(packed=database.write(partial(upkeep.pack, day=day, ids=ids), durable=False))


def _forget_pings(database: Database, day: date, low: int, high: int) -> Tidied:
    forget = partial(upkeep.forget_pings, day=day, low=low, high=high)
    return Tidied(pings=database.write(forget, durable=False))


def _sweep(database: Database, day: date, forgetting: Sequence[Step]) -> Tidied:
    """What stayed came after the day was packed: add it to the day, and remove it once more."""
    with database.reading() as session:
        ids = upkeep.unforgotten(session, day)
    if not ids:
        return Tidied()
    return sum((step() for step in (*_packing(database, day, ids), *forgetting)), Tidied())


def _forget_rounds(database: Database, before: datetime) -> Tidied:
    database.write(partial(round_log.forget, before=before), durable=False)
    return Tidied()


def _forget_reasons(database: Database, before: datetime, slots: int) -> Tidied:
    forget = partial(reasons.forget, before=before, slots=slots)
    while database.write(forget, durable=False):
        pass
    return Tidied()


def _forget_incidents(database: Database, before: datetime) -> Tidied:
    forget = partial(incidents.forget, before=before, limit=INCIDENTS_AT_ONCE)
    while database.write(forget, durable=False) >= INCIDENTS_AT_ONCE:
        pass
    return Tidied()


def _forget_clocks(database: Database, before: datetime) -> Tidied:
    database.write(partial(stretches.forget, before=before), durable=False)
    database.write(partial(aside.forget, before=before), durable=False)
    return Tidied()


def _plan_maintenance(database: Database, now: datetime, before: datetime) -> Tidied:
    """What comes again is laid down a day further; what was as long ago as days are kept goes."""
    database.write(partial(maintenance.extend, now=now), durable=False)
    database.write(partial(maintenance.forget, before=before), durable=False)
    return Tidied()


def _forget_days(database: Database, before: date, ids: Sequence[int]) -> Tidied:
    """They are many where less is to be kept than before."""
    forget = partial(upkeep.forget_days, before=before, ids=ids, limit=ROWS_AT_ONCE)
    gone = [database.write(forget, durable=False)]
    while gone[-1] >= ROWS_AT_ONCE:
        gone.append(database.write(forget, durable=False))
    return Tidied(days=sum(gone))


def _forget_log_ins(database: Database, now: datetime) -> Tidied:
    """Tokens that have expired, attempts at passwords that no longer count."""
    sweep = partial(tokens.sweep, now=now, limit=ROWS_AT_ONCE)
    while database.write(sweep) >= ROWS_AT_ONCE:
        pass
    return Tidied()
