"""What is due when: the rows, the spans and the bits say the same."""

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select

from core import models
from core.clock import utc_now
from core.servers import change as servers_change
from core.servers import schedule
from core.servers.records import BulkServer, ServerChange, ServerWanted
from core.servers.schedule import Planned, due, due_from, spans
from core.slots import DAY_SLOTS, SLOT, current_slot, slot_number
from infra.database import Database
from tests.core.history.histories import FIRST, HOUR, History, add, reschedule
from tests.counts import examples
from tests.infra import rows

moments = st.timedeltas(timedelta(-1), timedelta(2)).map(lambda after: FIRST + after)
schedules = st.lists(
    st.tuples(moments, st.sampled_from([60, 120, 300, 3_600, 86_400]), st.booleans()), max_size=6
)


@examples(100, 2_000)
@given(schedules, moments)
def test_what_was_due_is_what_the_schedule_in_force_at_each_slot_says(
    rows: list[tuple[datetime, int, bool]], now: datetime
) -> None:
    planned = sorted({row[0]: row for row in rows}.values())
    slow = History("", schedule=planned)
    fast = due(spans([Planned(*row) for row in planned]), slot_number(FIRST), current_slot(now))
    for minute in range(DAY_SLOTS):
        assert bool(fast >> minute & 1) == slow.due(FIRST + minute * SLOT, now), minute


@examples(100, 2_000)
@given(schedules, st.integers(0, DAY_SLOTS - 1), st.integers(0, 4 * DAY_SLOTS))
def test_a_window_from_any_slot_on_is_cut_out_of_two_days(
    rows: list[tuple[datetime, int, bool]], start: int, length: int
) -> None:
    planned = spans([Planned(*row) for row in sorted({row[0]: row for row in rows}.values())])
    first = slot_number(FIRST) + start
    cut = due_from(planned, first, first + length)
    for minute in range(0, DAY_SLOTS, 7):
        slot = first + minute
        day = slot - slot % DAY_SLOTS
        assert cut >> minute & 1 == due(planned, day, first + length) >> slot - day & 1


def test_a_change_in_the_same_instant_replaces_the_one_before(database: Database) -> None:
    history = add(database)
    later = FIRST + HOUR
    reschedule(database, history, later, interval_s=600)
    reschedule(database, history, later, enabled=False)
    with database.reading() as session:
        rows = session.execute(
            select(models.Schedule.since, models.Schedule.interval_s, models.Schedule.enabled)
        )
        assert [tuple(row) for row in rows] == [(FIRST, 60, True), (later, 600, False)]


def test_a_clock_that_stepped_back_cant_change_what_was_due_before(database: Database) -> None:
    history = add(database)
    reschedule(database, history, FIRST + HOUR, interval_s=600)
    with database.transaction() as session:
        schedule.reschedule(session, {history.server_id: {"enabled": False}}, FIRST)
        changed = schedule.schedules(session)[history.server_id][-1]
        assert (changed.since, changed.interval_s) == (FIRST + HOUR, 600)


def test_a_pause_and_another_interval_at_once_are_both_kept(database: Database) -> None:
    server_id = rows.add(database)

    def pause() -> None:
        with database.transaction() as session:
            wanted = ServerChange(enabled=False)
            servers_change.alter(
                session, server_id, wanted, database.settings, rows.SLOT + rows.MINUTE
            )

    with ThreadPoolExecutor(1) as threads:
        with database.transaction() as session:
            slower = ServerChange(interval_s=300)
            servers_change.alter(session, server_id, slower, database.settings, rows.SLOT)
            pausing = threads.submit(pause)
            rows.wait_for_a_blocked_one(database)
        pausing.result(30)
    with database.reading() as session:
        newest = schedule.schedules(session)[server_id][-1]
    assert newest == (rows.SLOT + rows.MINUTE, 300, False)


def test_a_server_of_a_clock_that_was_ahead_can_be_put_again(database: Database) -> None:
    with database.transaction() as session:
        later = utc_now() + timedelta(hours=1)
        server_id = servers_change.add(
            session, ServerWanted(name="web", ip=rows.IP), database.settings, later
        )
    paused = BulkServer(name="web", ip=rows.IP, enabled=False)
    with database.transaction() as session:
        [done] = servers_change.put(session, [paused], database.settings, utc_now(), upsert=True)
    assert done.status == "UPDATED"
    with database.reading() as session:
        assert schedule.schedules(session) == {server_id: [(later, 60, False)]}


def test_what_is_said_already_changes_nothing(database: Database) -> None:
    server_id = rows.add(database)
    with database.transaction() as session:
        same = ServerChange(name="web", ip=rows.IP, interval_s=60, enabled=True)
        servers_change.alter(session, server_id, same, database.settings, rows.SLOT)
    with database.reading() as session:
        assert len(schedule.schedules(session)[server_id]) == 1


def test_what_was_planned_by_a_clock_that_was_ahead_holds_from_now_on(database: Database) -> None:
    server_id, other = rows.add(database), rows.add(database, "other")
    ahead = rows.SLOT + timedelta(days=3_650)
    with database.transaction() as session:
        for number, enabled in enumerate((False, True, False)):
            then = ahead + number * HOUR
            schedule.reschedule(session, {server_id: {"enabled": enabled}}, then)
        before = schedule.schedules(session)
        schedule.bring_back(session, rows.SLOT)
        after = schedule.schedules(session)
    assert after[other] == before[other]
    assert after[server_id] == [before[server_id][0], Planned(rows.SLOT, 60, False)]


def test_a_server_added_by_a_clock_that_was_ahead_is_due_now(database: Database) -> None:
    server_id = rows.add(database)
    with database.transaction() as session:
        ahead = rows.SLOT + timedelta(days=3_650)
        wanted = ServerWanted(name="late", ip=rows.IP)
        late = servers_change.add(session, wanted, database.settings, ahead)
        schedule.bring_back(session, rows.SLOT)
    assert rows.server(database, "late").added == rows.SLOT
    assert rows.due(database, rows.SLOT + SLOT) == [server_id, late]
