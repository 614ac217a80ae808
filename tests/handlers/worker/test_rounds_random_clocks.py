"""Rounds under clocks at random, held against what truly happened: an oracle that knows the time.

A clock that is wrong is far ahead, so that what it records can't be mistaken for a minute that
passed, or behind the newest round; it runs for less than the ten minutes after which it may be
believed (docs/clocks.md). Within that, whatever happens: steps, restarts, sleep, days off.
"""

import socket
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import delete, select

from core.accounts import tokens
from core.accounts.records import TokenKind
from core.accounts.tokens import Grant
from core.checks.records import Probe
from core.errors import TokenRejected
from core.history import days, upkeep
from core.models import DAY, Base, Token
from core.servers import change
from core.servers.records import ServerWanted
from core.settings import Settings
from core.slots import AHEAD, DAY_SLOTS, first_slot, slot_of, slot_time
from core.slots import SLOT as MINUTE
from handlers.worker import rounds
from infra.database import Database
from tests import people
from tests.counts import CLOCKS, examples
from tests.handlers.worker.test_rounds_clocks import Machine
from tests.infra.databases import opened
from tests.infra.rows import SLOT, ping, record, server, stored

HERE = "127.0.0.1"
HOUR, DAY_LONG = timedelta(hours=1), timedelta(days=1)
KEEP_DAYS, KEEP_RAW_HOURS = 8.0, 26.0
BELIEVED = 10  # minutes that a clock has to agree with itself, at least
JITTER = timedelta(minutes=2)
"""A clock may be wrong by so much and is right: two of them differ by less than AHEAD."""


@dataclass(frozen=True)
class Spell:
    """What happens to the machine, and the rounds it then runs."""

    off: timedelta  # how far its clock is wrong from now on
    rounds: int
    starts_anew: bool
    gap: timedelta = timedelta(0)  # without rounds, before it
    synchronised: bool = False
    makes_key: bool = False


def spells(own_database: bool) -> st.SearchStrategy[list[Spell]]:
    """Return what may happen: wrong spells, each followed by a right one."""
    right = st.builds(
        Spell,
        off=st.timedeltas(-JITTER, JITTER),
        rounds=st.integers(1, 4),
        starts_anew=st.booleans(),
        gap=st.sampled_from([0, 0, 1, 7, 30]).map(lambda hours: hours * HOUR),
        synchronised=st.booleans(),
        makes_key=st.booleans(),
    )
    ahead = st.builds(
        Spell,
        off=st.timedeltas(
            20 * DAY_LONG, 90 * DAY_LONG
        ),  # no later than it truly is where this runs
        rounds=st.integers(1, BELIEVED - 1),
        starts_anew=st.sampled_from([True, True, False]),
        gap=st.sampled_from([0, 3]).map(lambda hours: hours * HOUR),
    )
    # After a gap only another clock can tell that a restarted machine's lies behind.
    behind = st.builds(
        Spell,
        off=st.timedeltas(-20 * DAY_LONG, -30 * MINUTE),
        rounds=st.integers(1, BELIEVED - 1),
        starts_anew=st.booleans(),
        gap=st.sampled_from([0, 3] if own_database else [0]).map(lambda hours: hours * HOUR),
    )
    pairs = st.tuples(st.one_of(ahead, behind), right)
    return st.lists(pairs, max_size=3).map(lambda found: [one for pair in found for one in pair])


@dataclass
class Truth:
    """What a clock that is never wrong knows."""

    seen: set[datetime] = field(default_factory=set)  # slots in which a round was made
    recorded: set[datetime] = field(default_factory=set)  # and those that were there afterwards
    keys: dict[int, tuple[str, datetime]] = field(default_factory=dict)  # with their ends

    def was_seen(self, slot: datetime) -> bool:
        """Whether somebody looked then, as well as a right clock can tell."""
        most = JITTER // MINUTE + 1
        return any(slot + number * MINUTE in self.seen for number in range(-most, most + 1))


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port that refuses: as good an answer as any."""
    with socket.socket() as reserved:
        reserved.bind((HERE, 0))
        yield reserved.getsockname()[1]


@dataclass
class World:
    """A machine with a week of history and keys of several lives, and the truth beside it."""

    database: Database
    machine: Machine
    truth: Truth = field(default_factory=Truth)
    wrong_minutes: int = 0  # in which an uncontradicted clock may have run ahead
    right_minutes: int = 0  # in which the clock has been right, without a break

    @property
    def own_database(self) -> bool:
        """Whether the database has a clock of its own."""
        return self.machine.own_database

    def begin(self, port: int) -> None:
        """Empty the database, and fill it."""
        with self.database.transaction() as session:
            for table in reversed(Base.metadata.sorted_tables):
                session.execute(delete(table))
        with self.database.transaction() as session:
            wanted = ServerWanted(name="web", ip=HERE, probe=Probe.TCP, port=port)
            early = SLOT - 40 * DAY_LONG  # so it is due whenever a clock that is behind believes
            server_id = change.add(session, wanted, self.database.settings, early)
        for number in range(7, -1, -1):
            slot = SLOT - number * DAY_LONG - MINUTE
            record(self.database, slot, [ping(server_id, ip=HERE)])
            with self.database.transaction() as session:
                upkeep.pack(session, slot.date(), [server_id])
            self.truth.seen.add(slot)
            self.truth.recorded.add(slot)
        people.add(self.database)
        for life in (HOUR, DAY_LONG, 30 * DAY_LONG):
            self.make_key(life)

    def make_key(self, life: timedelta) -> None:
        """Make a key by a clock that is right."""
        with self.database.transaction() as session:
            ann = people.users.identity_of(people.users.find_user_named(session, "ann"))
            grant = Grant(TokenKind.KEY, life=life)
            made = tokens.issue(session, ann, grant, self.machine.wall)
        self.truth.keys[made.id] = made.token, made.expires

    def live_through(self, spell: Spell) -> None:
        """Let it happen, and look after each round."""
        machine = self.machine
        machine.true += spell.gap
        machine.off, machine.synchronised = spell.off, spell.synchronised
        if spell.starts_anew:
            machine.start_anew()
        if spell.starts_anew or spell.gap or not self.is_right():
            self.right_minutes = 0
        if spell.makes_key:
            self.make_key(2 * DAY_LONG)
        for _number in range(spell.rounds):
            self.round()

    def round(self) -> None:
        """Make a round, do the night's work, and hold what is there against the truth."""
        machine, began = self.machine, self.machine.true
        self.truth.seen.add(slot_of(began))
        machine.run(self.database)
        if self.is_right():
            self.right_minutes += 1
        else:
            self.wrong_minutes += 1
        self.look(began)

    def is_right(self) -> bool:
        """Whether the machine's clock is."""
        return abs(self.machine.off) <= JITTER

    def look(self, now: datetime) -> None:
        """Nothing is gone before its time, and nothing is told that nobody saw."""
        there, days_there = self.minutes(), self.days()
        self.truth.recorded |= {slot for slot in there if slot <= now}
        oldest = now.date() - timedelta(days=KEEP_DAYS)
        kept = {slot for slot in self.truth.recorded if slot.date() >= oldest}
        assert kept <= there, "gone before their time"
        assert {slot.date() for slot in kept if slot.date() < SLOT.date()} <= days_there
        passed = [slot for slot in there if slot <= now + AHEAD]
        assert [slot for slot in passed if not self.truth.was_seen(slot)] == [], "nobody saw"
        to_come = there - set(passed)
        alive = {one for one, (_text, end) in self.truth.keys.items() if end > now + JITTER}
        assert alive <= self.keys(), "a key was removed before its end"
        if self.is_right():
            self.look_by_a_right_clock(now, there, to_come)

    def look_by_a_right_clock(
        self, now: datetime, there: set[datetime], to_come: set[datetime]
    ) -> None:
        """Keys work until their end; rounds go on once nothing speaks against the clock."""
        wall = now + self.machine.off
        with self.database.reading() as session:
            for text, end in self.truth.keys.values():
                if end > now + JITTER:
                    tokens.verify(session, text, wall)
                elif end <= wall:
                    with pytest.raises(TokenRejected):
                        tokens.verify(session, text, wall)
        if self.right_minutes > self.patience():
            assert to_come == set(), "of the future"
            assert slot_of(wall) in there, "not recorded"
            assert slot_of(wall) <= server(self.database).last_slot <= wall + AHEAD

    def patience(self) -> int:
        """Return how many minutes a right clock may wait for what speaks against it."""
        is_clear = self.own_database or not self.wrong_minutes
        return 0 if is_clear else max(BELIEVED, self.wrong_minutes) + 1

    def minutes(self) -> set[datetime]:
        """Return the slots of which anything is told, raw or packed."""
        found = {slot for _id, slot, _ms in stored(self.database)}
        with self.database.reading() as session:
            for server_id, date in session.execute(select(DAY.c.server_id, DAY.c.date)).all():
                first = first_slot(date)
                end = first + DAY_SLOTS
                for _id, views in days.windows(session, [server_id], first, end, end):
                    [day] = views.values()
                    found |= {slot_time(first + minute) for minute in day.slots.minutes}
        return found

    def days(self) -> set[object]:
        """Return the dates that are packed."""
        with self.database.reading() as session:
            return set(session.scalars(select(DAY.c.date)))

    def keys(self) -> set[int]:
        """Return the ids of the keys that are kept."""
        with self.database.reading() as session:
            return set(session.scalars(select(Token.id)))


@examples(4, CLOCKS)
@given(st.data())
def test_whatever_clocks_do_nothing_is_gone_before_its_time_and_nothing_is_told_that_nobody_saw(
    settings: Settings, closed_port: int, data: st.DataObject
) -> None:
    own_database = data.draw(st.booleans(), "the database has a clock of its own")
    own = replace(settings, authentication=True, keep_days=KEEP_DAYS, keep_raw_hours=KEEP_RAW_HOURS)
    with opened(own) as database:
        world = World(database, Machine(own_database=own_database))
        world.begin(closed_port)
        for spell in data.draw(spells(own_database), "what happens"):
            world.live_through(spell)
        end(world, asks_a_person=data.draw(st.booleans(), "a person says that the clock is right"))


def end(world: World, asks_a_person: bool) -> None:
    """Let the clock be right: what it left in the future is out of the way, and it records on."""
    world.machine.off = timedelta(0)
    if asks_a_person:
        rounds.believe_clock(world.database, world.machine.wall, world.machine.clocks())
        world.wrong_minutes = 0
    world.right_minutes = 0
    for _number in range(world.patience() + 2):
        world.round()
