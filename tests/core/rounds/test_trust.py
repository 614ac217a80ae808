"""Which clocks are believed, and how much of the time before is doubted."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import ClockContradicted
from core.rounds import record as rounds_record
from core.rounds import trust
from core.rounds.kernel import Kernel
from core.rounds.trust import Reading, Trust
from core.servers import change, schedule
from infra.database import Database
from tests.counts import examples
from tests.infra.rows import SLOT, add, ping, record, wait_for_a_blocked_one

NOBODY = Trust([])
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


def reading(
    wall: timedelta,
    *,
    boot: str = "first",
    set_by: timedelta = timedelta(0),
    synchronised: bool = False,
) -> Reading:
    """What shows so long after SLOT, where the wall clock was set by so much since the start."""
    uptime_s = (wall - set_by).total_seconds() + 1e6
    return Reading(SLOT + wall, Kernel(boot, uptime_s, synchronised))


def a_round_every(step: timedelta, until: timedelta, synchronised: bool = False) -> Trust:
    """Begin with SLOT and go on until so long after it."""
    found = NOBODY
    for number in range(until // step + 1):
        found = trust.after(found, reading(number * step, synchronised=synchronised))
    return found


def test_rounds_that_agree_make_one_stretch_and_doubt_nothing() -> None:
    found = a_round_every(MINUTE, 3 * HOUR)
    [stretch] = found.stretches
    assert (stretch.began, stretch.ended) == (SLOT, SLOT + 3 * HOUR)
    assert (stretch.agreed_s, stretch.synchronised_s) == (10_800.0, 0.0)
    assert found.vouched == SLOT + 3 * HOUR
    assert found.removal_waits is None


def test_before_the_first_round_nothing_is_removed() -> None:
    assert NOBODY.vouched is None
    assert not NOBODY.contradicted


@pytest.mark.parametrize(
    ("later", "doubted"),
    [
        (reading(DAY + 2 * MINUTE), timedelta(0)),  # asleep: the clock that counts it agrees
        (reading(3 * DAY), 3 * DAY),  # longer than anybody vouches for
        (reading(HOUR, boot="second"), timedelta(0)),  # started anew
        (reading(2 * HOUR, boot="second"), 2 * HOUR),
        (reading(7 * DAY, boot=""), 7 * DAY),  # where nobody knows of starts
        (reading(4 * MINUTE, set_by=4 * MINUTE), timedelta(0)),  # NTP steps by less than AHEAD
    ],
)
def test_a_gap_is_doubted_where_nothing_bridges_it(later: Reading, doubted: timedelta) -> None:
    found = trust.after(a_round_every(MINUTE, timedelta(0)), later)
    assert (found.contradicted, found.doubted) == (False, doubted)
    assert found.vouched == later.wall - doubted


@pytest.mark.parametrize(
    ("later", "contradicted"),
    [
        (reading(HOUR, set_by=30 * MINUTE), True),
        (reading(-DAY), True),
        (reading(-DAY, boot="second"), True),
        (reading(-4 * MINUTE, boot="second"), False),
        (reading(3_650 * DAY, boot="second"), False),  # a long holiday, for all we know
    ],
)
def test_a_clock_that_steps_or_lies_behind_is_contradicted(
    later: Reading, contradicted: bool
) -> None:
    found = trust.after(a_round_every(MINUTE, MINUTE), later)
    assert found.contradicted == contradicted
    assert (found.vouched is None) == contradicted
    assert (found.removal_waits is None) == (later.wall - SLOT < timedelta(0) and not contradicted)


@pytest.mark.parametrize(("synchronised", "days"), [(True, 1), (False, 7)])
def test_a_doubt_ends_after_a_day_of_a_synchronised_clock_or_a_week_of_another(
    synchronised: bool, days: int
) -> None:
    found = a_round_every(HOUR, HOUR)
    for number in range(24 * days):
        later = reading(30 * DAY + number * HOUR, boot="second", synchronised=synchronised)
        found = trust.after(found, later)
        assert found.doubted == 30 * DAY - HOUR
    end = reading(30 * DAY + 24 * days * HOUR, boot="second", synchronised=synchronised)
    assert trust.after(found, end).vouched == end.wall


def test_a_machine_that_is_off_each_night_removes_a_little_later_and_never_stops() -> None:
    found = NOBODY
    for day in range(60):
        for hour in range(13):
            later = reading(day * DAY + hour * HOUR, boot=f"of day {day}")
            found = trust.after(found, later)
            assert found.doubted <= 14 * 12 * HOUR
    assert found.vouched == later.wall - 13 * 12 * HOUR  # a week of rounds


def test_a_clock_that_is_back_goes_on_where_it_was() -> None:
    found = a_round_every(MINUTE, HOUR)
    for far in (reading(900 * DAY, set_by=900 * DAY), reading(-DAY, set_by=-DAY)):
        wrong = trust.after(found, far)
        assert wrong.contradicted
        right = trust.after(wrong, reading(HOUR + MINUTE))
        assert right == a_round_every(MINUTE, HOUR + MINUTE)


def test_the_longer_witness_wins_where_the_machine_started_anew() -> None:
    long, short = a_round_every(MINUTE, DAY), a_round_every(MINUTE, 3 * MINUTE)
    for known, is_believed in ((long, True), (short, False)):
        now = known.stretches[-1].ended - SLOT
        ahead = known
        for number in range(10):
            later = reading(now + 900 * DAY + number * MINUTE, boot="second")
            ahead = trust.after(ahead, later)
        assert not ahead.contradicted
        back = trust.after(ahead, reading(now + 20 * MINUTE, boot="third"))
        assert back.contradicted != is_believed


def test_a_clock_that_stays_behind_is_believed_after_as_long_as_what_speaks_against_it() -> None:
    found = a_round_every(HOUR, 10 * HOUR)
    for number in range(10):
        found = trust.after(found, reading(-DAY + number * HOUR, boot="second"))
        assert found.contradicted
    found = trust.after(found, reading(-DAY + 10 * HOUR, boot="second"))
    assert not found.contradicted
    [stretch] = found.stretches
    assert stretch.ended == SLOT - DAY + 10 * HOUR


@examples(100, 20_000)
@given(
    st.lists(
        st.tuples(
            st.timedeltas(-5 * DAY, 900 * DAY),  # how far the clock goes
            st.sampled_from(["", "first", "second"]),
            st.timedeltas(-5 * DAY, 900 * DAY),  # of which it was set
            st.booleans(),
        ),
        max_size=12,
    )
)
def test_whatever_clocks_show_no_more_is_removed_than_rounds_vouch_for(
    steps: list[tuple[timedelta, str, timedelta, bool]],
) -> None:
    found, wall, set_by = a_round_every(MINUTE, HOUR), HOUR, timedelta(0)
    for goes, boot, is_set, synchronised in steps:
        wall, set_by = wall + goes, set_by + is_set
        found = trust.after(
            found, reading(wall, boot=boot, set_by=set_by, synchronised=synchronised)
        )
        accepted = [one for one in found.stretches if not one.contradicted]
        ends = [one.ended for one in accepted]
        assert ends == sorted(ends)
        assert len(found.stretches) - len(accepted) <= 1
        if found.vouched is not None:
            known = sum(one.agreed_s for one in accepted)
            bridged = sum(one.doubted_s for one in accepted) - found.doubted.total_seconds()
            restarts = (trust.RESTART.total_seconds() + 600) * len(found.stretches)
            assert found.vouched <= SLOT + timedelta(seconds=known + bridged + restarts)


def test_what_was_noted_is_read_back(database: Database) -> None:
    for later in (reading(MINUTE), reading(2 * MINUTE), reading(9 * DAY), reading(-9 * DAY)):
        with database.transaction() as session:
            told = trust.note(session, later)
        with database.reading() as session:
            assert trust.kept(session) == told
    assert [one.contradicted for one in told.stretches] == [False, False, True]
    with database.transaction() as session:
        trust.forget(session, SLOT + 8 * DAY)
        assert [one.ended for one in trust.kept(session).stretches] == [SLOT + 9 * DAY]


def test_what_an_older_release_recorded_vouches_until_its_newest_ping(database: Database) -> None:
    server_id = add(database)
    with database.reading() as session:
        assert trust.kept(session) == NOBODY
    record(database, SLOT + HOUR, [ping(server_id)])
    with database.transaction() as session:
        assert trust.kept(session).vouched == SLOT + HOUR
        assert trust.note(session, reading(9 * DAY)).vouched == SLOT + HOUR
        assert trust.kept(session).vouched == SLOT + HOUR


def test_what_an_older_release_left_in_the_future_of_a_paused_server_stops_nobody(
    database: Database,
) -> None:
    server_id, paused = add(database), add(database, "paused")
    record(database, SLOT + 900 * DAY, [ping(paused)])
    record(database, SLOT, [ping(server_id)])
    with database.transaction() as session:
        schedule.reschedule(session, {paused: {"enabled": False}}, SLOT)
        told = trust.note(session, reading(MINUTE))
        assert (told.contradicted, told.vouched) == (False, SLOT + MINUTE)
        assert trust.was_ahead(session, told, SLOT + MINUTE)
        trust.put_right(session, SLOT + MINUTE)
        assert not trust.was_ahead(session, told, SLOT + MINUTE)


def test_who_puts_a_clock_right_waits_for_the_servers_before_it_touches_anything(
    database: Database,
) -> None:
    server_id, ahead = add(database), SLOT + 900 * DAY
    record(database, ahead, [ping(server_id)])

    def put_right() -> None:
        with database.transaction() as session:
            trust.note(session, reading(timedelta(0)))
            trust.put_right(session, SLOT)

    with ThreadPoolExecutor(1) as thread:
        with database.transaction() as session:
            change.locked_ids(session, ["web"])
            put = thread.submit(put_right)
            wait_for_a_blocked_one(database)
            assert rounds_record.record(session, ahead, [ping(server_id)]) == 0
        put.result(60)
    with database.reading() as session:
        assert not trust.was_ahead(session, NOBODY, SLOT)


def test_who_is_believed_goes_on_without_a_doubt(database: Database) -> None:
    with database.transaction() as session:
        for later in (reading(timedelta(0)), reading(HOUR), reading(9 * DAY)):
            trust.note(session, later)
        trust.note(session, reading(8 * DAY, boot="second"))
        assert trust.kept(session).contradicted
        told = trust.believe(session, reading(8 * DAY, boot="second"))
        assert trust.kept(session) == told
    [stretch] = told.stretches
    assert (stretch.agreed_s, told.vouched) == (3_600.0, SLOT + 8 * DAY)


@pytest.mark.parametrize("off", [6 * MINUTE, -6 * MINUTE, 900 * DAY])
def test_the_databases_clock_contradicts_either_way(off: timedelta) -> None:
    trust.check(NOBODY, SLOT, None)
    trust.check(NOBODY, SLOT, SLOT + off / abs(off) * 5 * MINUTE)
    with pytest.raises(ClockContradicted, match="the database's clock shows"):
        trust.check(NOBODY, SLOT, SLOT + off)


def test_a_contradicted_clock_is_told_as_what_it_is() -> None:
    known = a_round_every(MINUTE, HOUR)
    for later, told in (
        (reading(2 * HOUR, set_by=HOUR), "was set to 2026-01-02T09:01:00Z while it ran"),
        (reading(-DAY), "shows 2026-01-01T07:01:00Z, the newest round began 2026-01-02T08:01:00Z"),
    ):
        with pytest.raises(ClockContradicted, match=told):
            trust.check(trust.after(known, later), later.wall, None)
