"""Random worlds of incidents: what befalls servers, workers and batches, on a clock of our own.

A world keeps its own books: what was due, what has arrived, what is announced. It asks Pinglet only
to be told things, and at the end which incidents it made of them. Times are minutes since SLOT.
"""

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from heapq import heappop, heappush
from itertools import count
from typing import Any

from sqlalchemy import event, select
from sqlalchemy.orm import Session

from core.checks.records import Ping, Reason, Unobserved
from core.incidents import announce
from core.incidents import change as done_by_people
from core.incidents.records import Kind, Resolution
from core.models import EVENT, INCIDENT, LATCH
from core.rounds import log, record
from core.servers import change
from core.servers.records import ServerChange, ServerWanted
from core.slots import slot_number
from infra.database import Database
from tests.core.incidents import oracle, oracle_past
from tests.core.incidents.oracle_past import Past
from tests.infra.rows import IP, SLOT, ping

LIMITS = 2, 3, 2
ENDS = "paused", "removed", "hand"
A_DAY = 1_440.0
GOOD, BAD, BLIND = "g", "b", "x"


class Killed(Exception):
    """A worker died in mid-transaction."""


class Watched:
    """A server of a world, and what we know of it."""

    def __init__(self, server_id: int, name: str, since: float, interval: int) -> None:
        self.server_id = server_id
        self.name = name
        self.plans: list[tuple[float, int, bool]] = [(since, interval, True)]
        self.revision = 0
        self.judged_revision = 0
        self.is_removed = False
        self.outcomes: dict[int, str] = {}
        self.rows: dict[int, str] = {}
        self.explained: set[int] = set()
        self.history: list[tuple[int, str]] = []
        self.late: list[int] = []
        self.rechecked: int | None = None
        """Since when it is looked at each minute."""

    def interval(self, slot: int) -> int | None:
        """Return its interval in that slot; None where it isn't watched."""
        plans = [plan for plan in self.plans if plan[0] < slot + 1]
        return plans[-1][1] if plans and plans[-1][2] and not self.is_removed else None

    def is_paused(self, slot: int) -> bool:
        """Whether nobody watches it any more at the end of that slot."""
        plans = [plan for plan in self.plans if plan[0] < slot + 1]
        return bool(plans) and not plans[-1][2]

    def is_due(self, slot: int) -> bool:
        """Whether it was due in that slot."""
        interval = self.interval(slot)
        return interval is not None and (slot_number(SLOT) + slot) % interval == 0

    def is_looked_at(self, slot: int) -> bool:
        """Whether it was due in that slot, or is rechecked."""
        is_rechecked = self.rechecked is not None and self.rechecked <= slot
        return self.is_due(slot) or (is_rechecked and self.interval(slot) is not None)

    def is_missing(self, slot: int) -> bool:
        """Whether it was to be looked at in that slot, and nothing has been said of it."""
        return self.is_looked_at(slot) and slot not in self.rows and slot not in self.explained

    def recheck(self, last: int, since: int) -> None:
        """Work out whether it is to be rechecked once it is announced up to `last`."""
        if self.is_open() or BAD not in self.window():
            self.rechecked = None
        elif self.rechecked is None and (self.interval(last) or 0) > 1:
            self.rechecked = since

    def is_open(self) -> bool:
        """Whether it has an incident that isn't over."""
        past = self.incidents()
        return bool(past) and past[-1].resolved is None

    def end(self, slot: int, how: str) -> None:
        """Note that what is open of it is over by then, however it does."""
        if self.is_open():
            self.history.append((slot, how))

    def window(self) -> list[str]:
        """Return the slots that will count with the next one."""
        letters: list[str] = []
        for _, letter in self.history:
            if letter == oracle.CHANGED or letter in ENDS:
                letters = []
            else:
                letters.append(letter)
        return letters[-2:]

    def outcome(self, slot: int, chance: random.Random) -> str:
        """Return what whoever looks in that slot sees: outages and gaps come in runs."""
        while slot not in self.outcomes:
            letter = chance.choice((GOOD, GOOD, GOOD, BAD, BAD, BLIND))
            begin = max(self.outcomes, default=-60) + 1
            for one in range(begin, begin + self.plans[-1][1] * chance.choice((1, 1, 2, 3, 10))):
                self.outcomes[one] = letter
        return self.outcomes[slot] if chance.random() < 0.97 else BLIND

    def incidents(self) -> list[Past]:
        """Return what one makes of it who reads its whole history."""
        return oracle_past.incidents(self.history, *LIMITS, ends=ENDS)


class World:
    """What happens, one thing after the other."""

    def __init__(self, database: Database, seed: int, minutes: int, step: int = 1) -> None:
        self.database = database
        self.chance = random.Random(seed)
        self.minutes = minutes
        self.step = step
        self.servers: list[Watched] = []
        self.announced: int | None = None
        self.begun = -1
        self._agenda: list[tuple[float, int, Callable[[float], None]]] = []
        self._number = count()
        self._names = count()
        self._statements: int | None = None

    def run(self) -> None:
        """Have it all happen."""
        for _ in range(3):
            self._add(-self.chance.uniform(0, 30))
        first = -slot_number(SLOT) % self.step
        for offset in self.chance.choice(([0.0], [0.0, 0.0], [0.0, self.chance.uniform(-1, 1)])):
            self._begin_in_time(first, offset)
        for _ in range(self.chance.randrange(12)):
            self._on(self.chance.uniform(0, self.minutes), self._meddle)
        with killing(self.database, self._is_fatal):
            while self._agenda:
                now, _, act = heappop(self._agenda)
                act(now)
        self._close(self.minutes + 3)

    def _on(self, at: float, act: Callable[[float], None]) -> None:
        heappush(self._agenda, (at, next(self._number), act))

    def _is_fatal(self) -> bool:
        if self._statements is None:
            return False
        self._statements -= 1
        return self._statements < 0

    def _do(self, work: Callable[[Session], Any]) -> bool:
        """Do work in a transaction; return whether nobody died in it."""
        self._statements = self.chance.randrange(6) if self.chance.random() < 0.05 else None
        try:
            with self.database.transaction(durable=False) as session:
                work(session)
        except Killed:
            return False
        finally:
            self._statements = None
        return True

    # What workers do

    def _begin_in_time(self, slot: int, offset: float) -> None:
        """Have a worker begin that slot's round when its clock, ahead by `offset`, says so."""
        if slot <= self.minutes:
            self._on(slot - offset, lambda now: self._work(now, slot, offset))

    def _work(self, now: float, slot: int, offset: float) -> None:
        away = self.chance.randrange(40) if self.chance.random() < 0.02 else 0
        self._begin_in_time(slot + self.step * (1 + away), offset)
        due = [one for one in self.servers if one.is_looked_at(slot)]
        if self._do(lambda session: log.begin(session, at(slot), len(due), at(now))):
            self.begun = max(self.begun, slot)
        self._close(slot)
        self.chance.shuffle(due)
        cut = self.chance.randrange(len(due) + 1)
        for part in (due[:cut], due[cut:]):
            self._look(now, slot, part)

    def _look(self, now: float, slot: int, part: Sequence[Watched]) -> None:
        """Look at some servers; what is found arrives once, twice, late, a day late or never."""
        seen = [(one, one.outcome(slot, self.chance), one.revision) for one in part]
        arrives = now + self.chance.uniform(0.01, 0.9)
        if self.chance.random() < 0.06:
            arrives = now + self.chance.choice((self.chance.uniform(1, 30), A_DAY))
        if self.chance.random() < 0.03:
            return
        self._on(arrives, lambda then: self._arrive(then, slot, seen))
        if self.chance.random() < 0.3:
            again = arrives + self.chance.choice((0.001, self.chance.uniform(0, 20)))
            self._on(again, lambda then: self._arrive(then, slot, seen))

    def _arrive(self, now: float, slot: int, seen: Sequence[tuple[Watched, str, int]]) -> None:
        pings, lost = [], []
        for one, letter, revision in seen:
            some, others = found(one.server_id, letter, revision)
            pings += some
            lost += others
        if not self._do(lambda session: record.record(session, at(slot), pings, unobserved=lost)):
            if self.chance.random() < 0.7:  # a queue tries again
                self._on(
                    now + self.chance.uniform(0, 3), lambda then: self._arrive(then, slot, seen)
                )
            return
        for one, letter, revision in seen:
            if revision != one.revision or one.is_removed:
                continue
            if letter == BLIND:
                one.explained.add(slot)
            elif slot not in one.rows:
                one.rows[slot] = letter
                self._note_if_late(one, slot)
        if self._do(lambda session: announce.announce(session, at(slot))):
            self._expect_announced(slot)

    def _note_if_late(self, one: Watched, slot: int) -> None:
        if self.announced is not None and slot <= self.announced:
            for past in one.incidents():
                if past.opened <= slot and (past.resolved is None or slot < past.resolved):
                    one.late.append(slot)

    def _close(self, slot: int) -> None:
        if not self._do(lambda session: announce.close(session, at(slot))):
            return
        if self.announced is None:
            self.announced = slot - 1
        elif self.announced < slot - 2:
            self._go_on(slot - 2)
        self._check_latch()

    def _expect_announced(self, slot: int) -> None:
        """Work out how far it is announced once something of `slot` has come."""
        if self.announced is not None and self.announced < slot:
            last = self.announced
            while last < max(slot, self.begun) and not self._is_missing(last + 1):
                last += 1
            if last > self.announced:
                self._go_on(last)
        self._check_latch()

    def _is_missing(self, slot: int) -> bool:
        return any(one.is_missing(slot) for one in self.servers)

    def _go_on(self, last: int) -> None:
        """Note what is announced of each server up to `last`."""
        assert self.announced is not None
        for one in self.servers:
            if one.revision != one.judged_revision:
                one.history.append((self.announced, oracle.CHANGED))
                one.judged_revision = one.revision
            for slot in range(self.announced + 1, last + 1):
                if not one.is_removed and (slot in one.rows or one.is_due(slot)):
                    one.history.append((slot, one.rows.get(slot, BLIND)))
            one.recheck(last, max(last, self.begun) + 1)
            if one.is_removed:
                one.end(last, "removed")
            elif one.is_paused(last):
                one.end(last, "paused")
        self.announced = last

    def _check_latch(self) -> None:
        with self.database.reading() as session:
            since = session.scalar(select(LATCH.c.since).where(LATCH.c.name == "announced"))
        assert (since and minute(since)) == self.announced

    # What people do

    def _add(self, now: float) -> None:
        name = f"{next(self._names)}-"
        interval = self.step * self.chance.choice((1, 1, 1, 2, 4))
        wanted = ServerWanted(name=name, ip=IP, interval_s=interval * 60)
        with self.database.transaction() as session:
            server_id = change.add(session, wanted, self.database.settings, at(now))
        self.servers.append(Watched(server_id, name, now, interval))

    def _meddle(self, now: float) -> None:
        there = [one for one in self.servers if not one.is_removed]
        if not there or self.chance.random() < 0.15:
            self._add(now)
            return
        one = self.chance.choice(there)
        self.chance.choice(
            (
                self._pause,
                self._pause,
                self._change,
                self._slow,
                self._rename,
                self._remove,
                self._end,
            )
        )(one, now)

    def _alter(self, one: Watched, now: float, **wanted: Any) -> None:
        changed = ServerChange(**wanted)
        with self.database.transaction() as session:
            change.alter(session, one.server_id, changed, self.database.settings, at(now))

    def _pause(self, one: Watched, now: float) -> None:
        _, interval, is_enabled = one.plans[-1]
        self._alter(one, now, enabled=not is_enabled)
        one.plans.append((now, interval, not is_enabled))
        if is_enabled and self.chance.random() < 0.8:
            self._on(now + self.chance.uniform(0, 20), lambda then: self._resume(one, then))

    def _resume(self, one: Watched, now: float) -> None:
        if not one.is_removed and not one.plans[-1][2]:
            self._pause(one, now)

    def _change(self, one: Watched, now: float) -> None:
        one.revision += 1
        self._alter(one, now, port=one.revision)

    def _slow(self, one: Watched, now: float) -> None:
        interval = self.step * self.chance.choice((1, 2, 4))
        self._alter(one, now, interval_s=interval * 60)
        one.plans.append((now, interval, one.plans[-1][2]))

    def _rename(self, one: Watched, now: float) -> None:
        self._alter(one, now, name=f"{one.name}{now:.3f}")

    def _remove(self, one: Watched, _now: float) -> None:
        with self.database.transaction() as session:
            change.remove_id(session, one.server_id)
        one.is_removed = True

    def _end(self, one: Watched, now: float) -> None:
        """Resolve what is open of it by hand."""
        with self.database.transaction() as session:
            is_open = INCIDENT.c.server_id == one.server_id, INCIDENT.c.resolved.is_(None)
            for incident_id in session.scalars(select(INCIDENT.c.id).where(*is_open)).all():
                done_by_people.resolve(session, incident_id, Resolution(), "ada", at(now))
        one.end(minute(at(now)), "hand")


@contextmanager
def killing(database: Database, is_fatal: Callable[[], bool]) -> Iterator[None]:
    """Have a statement fail, and with it its transaction, where that is asked for."""

    def die(*_: object) -> None:
        if is_fatal():
            raise Killed

    event.listen(database.engine, "before_cursor_execute", die)
    try:
        yield
    finally:
        event.remove(database.engine, "before_cursor_execute", die)


def at(now: float) -> datetime:
    return SLOT + timedelta(minutes=now)


def minute(slot: datetime) -> int:
    return slot_number(slot) - slot_number(SLOT)


def found(server_id: int, letter: str, revision: int) -> tuple[list[Ping], list[Unobserved]]:
    """Return what a prober says of a server."""
    if letter == BLIND:
        return [], [Unobserved(server_id, "no route", Reason.LOCAL, revision)]
    return [ping(server_id, 1.0 if letter == GOOD else None, revision=revision)], []


def told(database: Database) -> dict[str, list[Past]]:
    """Return the incidents of each server, by the name it was made by."""
    columns = INCIDENT.c.opened, INCIDENT.c.confirmed, INCIDENT.c.resolved
    query = select(INCIDENT.c.name, *columns, INCIDENT.c.how, INCIDENT.c.flaps)
    by_name: dict[str, list[Past]] = {}
    with database.reading() as session:
        for name, *slots, how, flaps in session.execute(query.order_by(INCIDENT.c.id)):
            past = Past(*(one and minute(one) for one in slots), how, flaps)
            by_name.setdefault(first_name(name), []).append(past)
    return by_name


def told_late(database: Database) -> dict[str, list[int]]:
    """Return the slots of which each server's timelines say that a ping came late."""
    query = select(INCIDENT.c.name, EVENT.c.at).where(EVENT.c.kind == Kind.LATE)
    query = query.join(EVENT, EVENT.c.incident_id == INCIDENT.c.id).order_by(EVENT.c.id)
    by_name: dict[str, list[int]] = {}
    with database.reading() as session:
        for name, slot in session.execute(query):
            by_name.setdefault(first_name(name), []).append(minute(slot))
    return by_name


def first_name(name: str) -> str:
    """Return the name that a server was made by, whatever it was called since."""
    return name.partition("-")[0] + "-"
