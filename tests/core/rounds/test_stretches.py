"""What rounds say of the clock, written down and read back."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

from core.rounds import record as rounds_record
from core.rounds import stretches
from core.rounds.trust import Trust
from core.servers import change, schedule
from infra.database import Database
from tests.core.rounds.readings import DAY, HOUR, MINUTE, reading
from tests.infra.rows import SLOT, add, ping, record, wait_for_a_blocked_one


def test_what_was_noted_is_read_back(database: Database) -> None:
    for later in (reading(MINUTE), reading(2 * MINUTE), reading(9 * DAY), reading(-9 * DAY)):
        with database.transaction() as session:
            told = stretches.note(session, later)
        with database.reading() as session:
            assert stretches.kept(session) == told
    assert [one.contradicted for one in told.stretches] == [False, False, True]
    with database.transaction() as session:
        stretches.forget(session, SLOT + 8 * DAY)
        assert [one.ended for one in stretches.kept(session).stretches] == [SLOT + 9 * DAY]


def test_of_two_first_rounds_at_once_the_second_goes_on_with_the_first(database: Database) -> None:
    def note_the_second() -> Trust:
        with database.transaction() as session:
            return stretches.note(session, reading(MINUTE))

    with ThreadPoolExecutor(1) as thread:
        with database.transaction() as session:
            stretches.note(session, reading(timedelta(0)))
            second = thread.submit(note_the_second)
            wait_for_a_blocked_one(database)
        [stretch] = second.result(60).stretches
    assert (stretch.began, stretch.ended) == (SLOT, SLOT + MINUTE)


def test_what_an_older_release_recorded_vouches_until_its_newest_ping(database: Database) -> None:
    server_id = add(database)
    with database.reading() as session:
        assert stretches.kept(session) == Trust([])
    record(database, SLOT + HOUR, [ping(server_id)])
    with database.transaction() as session:
        assert stretches.kept(session).vouched == SLOT + HOUR
        assert stretches.note(session, reading(9 * DAY)).vouched == SLOT + HOUR
        assert stretches.kept(session).vouched == SLOT + HOUR


def test_what_an_older_release_left_in_the_future_of_a_paused_server_stops_nobody(
    database: Database,
) -> None:
    server_id, paused = add(database), add(database, "paused")
    record(database, SLOT + 900 * DAY, [ping(paused)])
    record(database, SLOT, [ping(server_id)])
    with database.transaction() as session:
        schedule.reschedule(session, {paused: {"enabled": False}}, SLOT)
        told = stretches.note(session, reading(MINUTE))
        assert (told.contradicted, told.vouched) == (False, SLOT + MINUTE)
        assert stretches.was_ahead(session, told, SLOT + MINUTE)
        stretches.put_right(session, SLOT + MINUTE)
        assert not stretches.was_ahead(session, told, SLOT + MINUTE)


def test_who_is_believed_goes_on_without_a_doubt(database: Database) -> None:
    with database.transaction() as session:
        for later in (reading(timedelta(0)), reading(HOUR), reading(9 * DAY)):
            stretches.note(session, later)
        stretches.note(session, reading(8 * DAY, boot="second"))
        assert stretches.kept(session).contradicted
        told = stretches.believe(session, reading(8 * DAY, boot="second"))
        assert stretches.kept(session) == told
    [stretch] = told.stretches
    assert (stretch.agreed_s, told.vouched) == (3_600.0, SLOT + 8 * DAY)


def test_who_puts_a_clock_right_waits_for_the_servers_before_it_touches_anything(
    database: Database,
) -> None:
    server_id, ahead = add(database), SLOT + 900 * DAY
    record(database, ahead, [ping(server_id)])

    def put_right() -> None:
        with database.transaction() as session:
            stretches.note(session, reading(timedelta(0)))
            stretches.put_right(session, SLOT)

    with ThreadPoolExecutor(1) as thread:
        with database.transaction() as session:
            change.locked_ids(session, ["web"])
            put = thread.submit(put_right)
            wait_for_a_blocked_one(database)
            assert rounds_record.record(session, ahead, [ping(server_id)]) == 0
        put.result(60)
    with database.reading() as session:
        assert not stretches.was_ahead(session, Trust([]), SLOT)
