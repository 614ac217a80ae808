"""Why servers aren't up, as lists and pages of pings tell it."""

from collections.abc import Sequence
from datetime import datetime, timedelta

import pytest
from msgspec.structs import replace

from core.checks.records import Ping, Reason, State, Unobserved
from core.history import aside, reasons, slices, today
from core.history.records import ServerStatus
from core.rounds import record as rounds_record
from infra.database import Database
from tests.infra.rows import MINUTE, SLOT, add, ping

NOW = SLOT + timedelta(seconds=30)


def down(server_id: int, reason: Reason, detail: str = "") -> Ping:
    return replace(ping(server_id, None), reason=reason, detail=detail)


def record(
    database: Database,
    slot: datetime,
    pings: Sequence[Ping] = (),
    unobserved: Sequence[Unobserved] = (),
) -> int:
    with database.transaction() as session:
        return rounds_record.record(session, slot, pings, NOW, unobserved)


def status(database: Database, server_id: int, now: datetime = NOW) -> ServerStatus:
    with database.reading() as session:
        return today.of_one(session, server_id, now)


def told(database: Database, server_id: int) -> tuple[str, str | None, str | None]:
    found = status(database, server_id)
    return found.state, found.reason, found.detail


def test_a_server_that_is_down_says_why(database: Database) -> None:
    server_id = add(database)
    record(database, SLOT, [down(server_id, Reason.UNREACHABLE, "host unreachable")])
    assert told(database, server_id) == (State.DOWN, Reason.UNREACHABLE, "host unreachable")


def test_a_server_that_nobody_could_look_at_says_why(database: Database) -> None:
    server_id = add(database)
    record(database, SLOT, unobserved=[Unobserved(server_id, "no route", Reason.LOCAL)])
    assert told(database, server_id) == (State.UNOBSERVED, Reason.LOCAL, "no route")


@pytest.mark.parametrize("first", ["lost", "seen"])
def test_what_one_worker_could_observe_counts_and_not_why_another_could_not(
    database: Database, first: str
) -> None:
    server_id = add(database)
    steps = [
        lambda: record(database, SLOT, unobserved=[Unobserved(server_id, "no route")]),
        lambda: record(database, SLOT, [down(server_id, Reason.TIMEOUT)]),
    ]
    for step in steps if first == "lost" else reversed(steps):
        step()
    assert told(database, server_id) == (State.DOWN, Reason.TIMEOUT, "")


def test_a_server_that_is_up_again_says_nothing(database: Database) -> None:
    server_id = add(database)
    record(database, SLOT - MINUTE, [down(server_id, Reason.TIMEOUT)])
    record(database, SLOT, [ping(server_id)])
    assert told(database, server_id) == (State.UP, None, None)


def test_a_round_that_is_recorded_twice_keeps_its_first_reason(database: Database) -> None:
    server_id = add(database)
    record(database, SLOT, [down(server_id, Reason.TIMEOUT)])
    assert record(database, SLOT, [down(server_id, Reason.UNREACHABLE)]) == 0
    assert told(database, server_id) == (State.DOWN, Reason.TIMEOUT, "")


def test_a_ping_tells_its_reason_as_long_as_it_is_kept(database: Database) -> None:
    server_id = add(database)
    record(database, SLOT - MINUTE, [ping(server_id)])
    record(database, SLOT, [down(server_id, Reason.TIMEOUT, "silence")])

    def shown() -> list[tuple[State, str | None, str | None]]:
        with database.reading() as session:
            found = slices.pages(session, [server_id], (None, None), 10)[server_id].pings
        return [(one.state, one.reason, one.detail) for one in found]

    assert shown() == [(State.UP, None, None), (State.DOWN, Reason.TIMEOUT, "silence")]
    with database.transaction() as session:
        assert reasons.forget(session, SLOT + MINUTE, 1_000)
        assert not reasons.forget(session, SLOT + MINUTE, 1_000)
    assert shown() == [(State.UP, None, None), (State.DOWN, None, None)]


def test_a_paused_server_says_no_reason(database: Database) -> None:
    server_id = add(database, enabled=False)
    record(database, SLOT, unobserved=[Unobserved(server_id, "no route")])
    assert told(database, server_id) == (State.UNOBSERVED, None, None)


def test_why_nobody_could_look_is_told_as_long_as_somebody_tries(database: Database) -> None:
    server_id = add(database)
    record(database, SLOT, unobserved=[Unobserved(server_id, "no route")])
    later = SLOT + 2 * MINUTE
    assert status(database, server_id, later).detail == "no route"
    assert status(database, server_id, later + MINUTE).detail is None


def test_reasons_of_slots_to_come_are_forgotten_with_their_rounds(database: Database) -> None:
    server_id = add(database)
    record(database, SLOT, [down(server_id, Reason.TIMEOUT, "silence")])
    ahead = SLOT + timedelta(hours=6)
    record(database, ahead, unobserved=[Unobserved(server_id, "by a wrong clock")])
    with database.transaction() as session:
        aside.set_aside(session, NOW)
    record(database, ahead, unobserved=[Unobserved(server_id, "by the right one")])
    assert told(database, server_id) == (State.DOWN, Reason.TIMEOUT, "silence")
    assert status(database, server_id, ahead).detail == "by the right one"


def test_reasons_go_with_their_server(database: Database) -> None:
    first, gone = add(database), add(database, "gone")
    lost = [Unobserved(first, "why"), Unobserved(gone, "why"), Unobserved(gone + 1, "never was")]
    with database.transaction() as session:
        session.connection().exec_driver_sql(f"DELETE FROM server WHERE id = {gone}")
    record(database, SLOT, [down(gone, Reason.TIMEOUT)], lost)
    assert told(database, first) == (State.UNOBSERVED, Reason.LOCAL, "why")
