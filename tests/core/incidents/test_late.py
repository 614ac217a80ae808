"""What comes of a slot that is announced already is told in the timeline, and decides nothing."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import select

from core.incidents import announce
from core.models import EVENT
from core.rounds import record
from infra.database import Database
from tests.core.incidents.rounds import Told, arrive, begin, minutes, told
from tests.infra.rows import MINUTE, SLOT, add, ping, wait_for_a_blocked_one


def lines(database: Database) -> list[tuple[int, str]]:
    """Return what came late: how many minutes after SLOT it was due, and what is said of it."""
    late = select(EVENT.c.at, EVENT.c.note).where(EVENT.c.kind == "late").order_by(EVENT.c.id)
    with database.reading() as session:
        return [(int((at - SLOT) / MINUTE), note) for at, note in session.execute(late)]


@pytest.mark.parametrize("returning", [True, False])  # SQLite 3.34 has none
@pytest.mark.parametrize(("letter", "came_back"), [("g", 4), ("b", 0)])
def test_what_comes_behind_the_fence_is_told_in_what_was_open_then(
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
    letter: str,
    came_back: int,
    *,
    returning: bool,
) -> None:
    monkeypatch.setattr(database.engine.dialect, "insert_returning", returning)
    server_id = add(database)
    minutes(database, server_id, "bb")
    begin(database, SLOT + 5 * MINUTE)
    for _ in range(2):
        arrive(database, SLOT + 2 * MINUTE, [(server_id, letter)])
    assert lines(database) == [(2, f"{came_back} of 4 echoes came back, recorded later")]
    assert told(database) == [Told(0, 1, None, None, 0)]


def test_what_comes_of_a_slot_in_which_nothing_was_open_is_told_nowhere(
    database: Database,
) -> None:
    server_id = add(database)
    minutes(database, server_id, "bbgg", SLOT + 2 * MINUTE)
    begin(database, SLOT + 9 * MINUTE)
    for minute in (1, 4, 6):
        arrive(database, SLOT + minute * MINUTE, [(server_id, "b")])
    assert lines(database) == []


def test_what_is_being_recorded_is_waited_for_and_so_is_judged_or_late(
    database: Database,
) -> None:
    server_id = add(database)
    minutes(database, server_id, "b")
    recorded = threading.Event()

    def close() -> None:
        recorded.wait(60)
        begin(database, SLOT + 3 * MINUTE)

    with ThreadPoolExecutor(1) as threads:
        closing = threads.submit(close)
        with database.transaction() as session:
            record.record(session, SLOT + MINUTE, [ping(server_id, None)])
            recorded.set()
            wait_for_a_blocked_one(database)
        closing.result(60)
    assert told(database) == [Told(0, 1, None, None, 0)]
    with database.transaction() as session:
        assert announce.announce(session, SLOT + MINUTE) == 0
