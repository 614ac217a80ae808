"""Rounds under clocks that are wrong: nothing is lost, and no minute is told that nobody saw."""

import asyncio
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from core import clock
from core.accounts import tokens
from core.accounts.records import TokenKind
from core.accounts.tokens import Grant
from core.checks.records import Probe
from core.errors import ClockContradicted, TokenRejected
from core.history import upkeep as history_upkeep
from core.models import ASIDE, DAY, ROUND, Token
from core.rounds import measure, stretches
from core.rounds.kernel import Kernel
from core.servers import schedule
from core.settings import Settings
from core.slots import SLOT as MINUTE
from handlers.worker import rounds, upkeep
from handlers.worker.rounds import Clocks
from infra.database import Database
from tests import people
from tests.infra.rows import SLOT, add, ping, record, server, stored
from tests.instances import instance

HERE = "127.0.0.1"
HOUR, DAY_LONG = timedelta(hours=1), timedelta(days=1)
AHEAD, BEHIND = timedelta(days=40), timedelta(days=-1)
RUNNING, RESTART = False, True  # how the clock came to be wrong


class Over(BaseException):
    """The round is made."""


@dataclass
class Machine:
    """Where the worker runs: what time it is, and what its clocks say of it."""

    true: datetime = SLOT
    off: timedelta = timedelta(0)  # how far the wall clock is wrong
    boots: int = 1
    booted: datetime = SLOT
    synchronised: bool = False
    own_database: bool = False  # the database runs on another machine, whose clock is right
    asked: list[datetime] = field(default_factory=list)

    @property
    def wall(self) -> datetime:
        """What its wall clock shows."""
        return self.true + self.off

    def clocks(self) -> Clocks:
        """Return who tells on it."""
        uptime_s = (self.true - self.booted).total_seconds()
        kernel = Kernel(f"boot {self.boots}", uptime_s, self.synchronised)
        told = self.true if self.own_database else self.wall
        return Clocks(lambda: kernel, lambda _session: told)

    def start_anew(self) -> None:
        """Switch it off and on."""
        self.boots, self.booted = self.boots + 1, self.true

    def run(self, database: Database, count: int = 1, step: timedelta = MINUTE) -> None:
        """Let the worker run so many rounds, one every `step`, and do its nights' work."""
        for _number in range(count):
            self.asked = [self.wall, self.wall]
            with pytest.raises(Over):
                asyncio.run(rounds.run(instance(database), self.now, self.clocks()))
            upkeep.tidy(instance(database))
            self.true += step

    def now(self) -> datetime:
        """Tell the time for one round."""
        if not self.asked:
            raise Over
        return self.asked.pop()


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port that refuses: as good an answer as any."""
    with socket.socket() as reserved:
        reserved.bind((HERE, 0))
        yield reserved.getsockname()[1]


@pytest.fixture
def kept(settings: Settings, closed_port: int) -> Iterator[Database]:
    """A database with a server, a week of packed days before SLOT, and a key for thirty days."""
    with people.nobody_but(replace(settings, keep_days=8.0, keep_raw_hours=26.0)) as own:
        database = Database(own)
        server_id = add(database, ip=HERE, probe=Probe.TCP, port=closed_port)
        for days in range(7, -1, -1):
            slot = SLOT - days * DAY_LONG - MINUTE
            record(database, slot, [ping(server_id, ip=HERE)])
            with database.transaction() as session:
                history_upkeep.pack(session, slot.date(), [server_id])
        key(database, SLOT, 30 * DAY_LONG)
        yield database
        database.engine.dispose()


def key(database: Database, now: datetime, life: timedelta) -> str:
    user = people.add(database, f"ann-{life.days}")
    with database.transaction() as session:
        return tokens.issue(session, user, Grant(TokenKind.KEY, life=life), now).token


def enable(database: Database, enabled: bool, now: datetime) -> None:
    with database.transaction() as session:
        schedule.reschedule(session, {server(database).id: {"enabled": enabled}}, now)


def history(database: Database) -> tuple[int, ...]:
    """Return how many days, raw pings and tokens there are."""
    with database.reading() as session:
        return (_count(session, DAY), len(stored(database)), _count(session, Token.__table__))


def _count(session: Session, table: object) -> int:
    return session.scalar(select(func.count()).select_from(table)) or 0


def minutes(database: Database) -> list[float]:
    """Return the slots from SLOT on that hold a ping, as minutes after it."""
    return [(slot - SLOT) / MINUTE for _id, slot, _ms in stored(database) if slot >= SLOT]


@pytest.mark.parametrize("own_database", [False, True])
@pytest.mark.parametrize("synchronised", [False, True])
def test_a_clock_that_is_set_far_ahead_and_back_takes_nothing_and_records_nothing(
    kept: Database, own_database: bool, synchronised: bool, caplog: pytest.LogCaptureFixture
) -> None:
    machine = Machine(own_database=own_database, synchronised=synchronised)
    machine.run(kept, 3)
    before = history(kept)
    machine.off, machine.synchronised = AHEAD, False
    machine.run(kept, 3)
    assert history(kept) == before
    assert "nothing is recorded or removed until" in caplog.text
    machine.off, machine.synchronised = timedelta(0), synchronised
    machine.run(kept, 2)
    assert minutes(kept) == [0, 1, 2, 6, 7]
    days, pings, keys = before
    assert history(kept) == (days, pings + 2, keys)


def test_a_machine_that_starts_far_ahead_is_set_right_in_one_step_and_records_on(
    kept: Database,
) -> None:
    """With the database beside it, nothing contradicts the clock as long as it is ahead."""
    machine = Machine()
    machine.run(kept, 3)
    before = history(kept)
    machine.start_anew()
    machine.off = AHEAD
    machine.run(kept, 3)
    assert history(kept)[0] == before[0]
    assert history(kept)[2] == before[2]
    late = key(kept, machine.wall, DAY_LONG)
    enable(kept, False, machine.wall)
    machine.off = timedelta(0)
    machine.run(kept)
    with kept.reading() as session:
        assert _count(session, ASIDE) == 3
        assert session.scalar(select(func.max(ROUND.c.slot))) == SLOT + 6 * MINUTE
        tokens.verify(session, late, machine.true)
        with pytest.raises(TokenRejected):
            tokens.verify(session, late, machine.true + DAY_LONG)
    assert minutes(kept) == [0, 1, 2]  # paused: what a person said in the future holds now
    assert server(kept).last_slot == SLOT + 2 * MINUTE
    enable(kept, True, machine.true)
    machine.true += MINUTE
    machine.run(kept, 2)
    assert minutes(kept) == [0, 1, 2, 8, 9]
    assert history(kept)[0] == before[0]


@pytest.mark.parametrize(
    ("synchronised", "hours"), [(True, 24), (False, 7 * 24)], ids=["synchronised", "unknown"]
)
def test_after_a_week_off_rounds_are_recorded_at_once_and_removal_waits(
    kept: Database, synchronised: bool, hours: int, caplog: pytest.LogCaptureFixture
) -> None:
    machine = Machine(synchronised=synchronised)
    machine.run(kept)
    short = key(kept, SLOT, DAY_LONG)
    days, pings, keys = history(kept)
    machine.true += 7 * DAY_LONG
    machine.start_anew()
    machine.run(kept, 2)
    assert history(kept) == (days, pings + 2, keys)
    with kept.reading() as session, pytest.raises(TokenRejected):
        tokens.verify(session, short, machine.wall)
    assert "removal waits: rounds don't vouch yet for 168.0 hours" in caplog.text
    assert server(kept).last_slot == machine.true - MINUTE
    machine.run(kept, hours // 12, 12 * HOUR)
    with kept.reading() as session:
        assert stretches.kept(session).removal_waits
    machine.run(kept)
    with kept.reading() as session:
        assert stretches.kept(session).removal_waits is None
    assert history(kept)[0] < days
    assert history(kept)[2] == keys - 1


@pytest.mark.parametrize("own_database", [False, True])
@pytest.mark.parametrize("restart", [False, True])
def test_a_clock_a_day_behind_tells_nothing_of_minutes_that_nobody_saw(
    kept: Database, own_database: bool, restart: bool
) -> None:
    machine = Machine(own_database=own_database)
    machine.run(kept, 3)
    before, known = history(kept), stored(kept)
    machine.off = BEHIND
    if restart:
        machine.start_anew()
    machine.run(kept, 12)
    assert (history(kept), stored(kept)) == (before, known)
    machine.off = timedelta(0)
    machine.run(kept, 2)
    assert minutes(kept) == [0, 1, 2, 15, 16]


@pytest.mark.parametrize("elsewhere", [False, True], ids=["one clock", "database elsewhere"])
@pytest.mark.parametrize(
    ("off", "restart", "synchronised", "waits_minutes"),
    [
        (AHEAD, RUNNING, False, 0),
        (AHEAD, RUNNING, True, 0),
        (AHEAD, RESTART, False, 120),  # as long as its rounds told of: slow for safety's sake
        (AHEAD, RESTART, True, 10),
        (BEHIND, RUNNING, False, 0),
        (BEHIND, RUNNING, True, 0),
        (BEHIND, RESTART, False, 0),
        (BEHIND, RESTART, True, 0),
    ],
)
def test_after_a_wrong_clock_rounds_are_recorded_as_soon_as_it_is_known_to_be_right(
    kept: Database,
    off: timedelta,
    restart: bool,
    synchronised: bool,
    waits_minutes: int,
    elsewhere: bool,
) -> None:
    """The table in docs/clocks.md. For two hours and a half the clock is wrong."""
    machine = Machine(synchronised=synchronised, own_database=elsewhere)
    machine.run(kept, 3, 5 * MINUTE)
    (days, pings, keys), known = history(kept), stored(kept)
    machine.off, machine.synchronised = off, False
    if restart:
        machine.start_anew()
    machine.run(kept, 5, 30 * MINUTE)
    unless_set = 5 if restart else 4  # a clock that is set has to agree with itself first
    to_come = unless_set if off == AHEAD and not elsewhere else 0
    assert history(kept) == (days, pings + to_come, keys)
    assert stored(kept)[: len(known)] == known
    machine.off, machine.synchronised = timedelta(0), synchronised
    right = (machine.true - SLOT) / MINUTE
    waits_minutes = 0 if elsewhere else waits_minutes
    machine.run(kept, waits_minutes // 10 + 1, 10 * MINUTE)
    assert minutes(kept) == [0, 5, 10, right + waits_minutes]
    assert history(kept) == (days, pings + 1, keys)
    with kept.reading() as session:
        assert _count(session, ASIDE) == to_come


def test_a_clock_that_is_set_for_good_is_believed_after_ten_minutes(kept: Database) -> None:
    machine = Machine(off=-8 * HOUR)
    machine.true += 8 * HOUR
    machine.run(kept)
    machine.off = timedelta(0)
    machine.run(kept, 12)
    assert minutes(kept) == [0, 8 * 60 + 11, 8 * 60 + 12]


def test_a_person_may_say_that_the_clock_is_right(kept: Database) -> None:
    machine = Machine()
    machine.run(kept, 3)
    machine.true += 30 * DAY_LONG
    machine.start_anew()
    machine.run(kept)
    assert history(kept)[0] > 0
    rounds.believe_clock(kept, machine.wall, machine.clocks())
    machine.run(kept, 2)
    assert history(kept)[0] == 0
    assert history(kept)[2] == 0


def test_nobody_is_believed_against_the_databases_clock(kept: Database) -> None:
    machine = Machine(off=AHEAD, own_database=True)
    with pytest.raises(ClockContradicted, match="the database's clock shows 2026-01-02T07:01:00Z"):
        rounds.believe_clock(kept, machine.wall, machine.clocks())


def test_a_machine_that_slept_in_mid_round_tells_nothing_of_its_slot(
    kept: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The monotonic clock, by which echoes are awaited, stood still meanwhile."""

    def sleep(_count: int) -> None:
        late_s = clock.uptime_s() + 240
        monkeypatch.setattr(clock, "uptime_s", lambda: late_s)

    targets = rounds.due(kept, SLOT)
    running = rounds.run_round(instance(kept), SLOT, targets, sleep, now=lambda: SLOT)
    done = asyncio.run(running)
    assert (len(done.pings), done.recorded) == (0, 0)
    assert [lost.detail for lost in done.unobserved] == [measure.TOO_LATE]
    assert done.duration_s >= 240
    assert minutes(kept) == []


def test_a_wall_clock_that_is_set_in_mid_round_changes_nothing_of_how_long_it_took(
    kept: Database,
) -> None:
    wall = [SLOT, SLOT - HOUR, SLOT - HOUR]
    targets = rounds.due(kept, SLOT)
    done = asyncio.run(rounds.run_round(instance(kept), SLOT, targets, now=lambda: wall.pop(0)))
    assert done.recorded == 1
    assert 0 <= done.duration_s < 90
    assert " in -" not in str(done)


STOPPED = """
import asyncio, sys
from datetime import timedelta
from core.rounds import measure
from core.settings import Settings
from handlers.instance import Instance
from handlers.worker import rounds
from tests.infra.rows import SLOT
here = Instance.of(Settings(database_url=sys.argv[1], echo_gap_s=0.1))
heard = []
def tell(_count):
    if not heard:
        heard.append(print("an echo is back", flush=True))
        sys.stdin.readline()
targets = rounds.due(here.database, SLOT)
late = measure.deadline(SLOT) - timedelta(seconds=3)
done = asyncio.run(rounds.run_round(here, SLOT, targets, tell, now=lambda: late))
print(f"{len(done.pings)} {len(done.unobserved)} {done.duration_s}")
"""


@pytest.mark.parametrize("stopped_s", [0.0, 8.5])
def test_a_worker_that_is_stopped_beyond_the_deadline_tells_nothing_of_its_slot(
    sqlite_settings: Settings, closed_port: int, stopped_s: float
) -> None:
    database = Database(sqlite_settings)
    add(database, ip=HERE, probe=Probe.TCP, port=closed_port)
    command = [sys.executable, "-c", STOPPED, sqlite_settings.database_url]
    with subprocess.Popen(command, stdin=-1, stdout=-1, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "an echo is back\n"
        process.send_signal(signal.SIGSTOP)
        time.sleep(stopped_s)  # no event tells that time has passed
        process.send_signal(signal.SIGCONT)
        said, _error = process.communicate("\n", timeout=100)
    pings, unobserved, duration_s = said.split()
    assert (pings, unobserved) == (("0", "1") if stopped_s else ("1", "0"))
    assert float(duration_s) >= stopped_s
    assert len(stored(database)) == int(pings)
    database.engine.dispose()
