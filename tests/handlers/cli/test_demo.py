"""Something to look at: a history that is always the same, and looks like one."""

from datetime import UTC, datetime

import pytest

from core.checks.records import Ping, quantised_ms
from core.errors import NameTaken
from core.settings import Settings
from core.slots import SLOT
from handlers.cli import demo
from infra.database import Database

NOW = datetime(2026, 1, 4, 7, 1, 30, tzinfo=UTC)
END = NOW.replace(second=0)
LUNCH = datetime(2026, 1, 3, 13, 7, tzinfo=UTC)


def made_up(settings: Settings) -> list[tuple[datetime, list[Ping]]]:
    """Return the rounds of two days, with the servers rolled back."""
    database = Database(settings)
    with database.transaction() as session:
        ids = demo.create_servers(session, settings, NOW, 2)
        session.rollback()
    chunks = demo.made_up_rounds(ids, NOW, 2)
    database.engine.dispose()
    assert all(len(chunk) == demo.CHUNK for chunk in chunks[:-1])
    return [made for chunk in chunks for made in chunk]


@pytest.fixture
def rounds(sqlite_settings: Settings) -> list[tuple[datetime, list[Ping]]]:
    return made_up(sqlite_settings)


def test_the_same_history_is_made_up_each_time(
    sqlite_settings: Settings, rounds: list[tuple[datetime, list[Ping]]]
) -> None:
    assert made_up(sqlite_settings) == rounds


def test_it_ends_before_now_and_misses_twenty_minutes_each_night(
    rounds: list[tuple[datetime, list[Ping]]],
) -> None:
    slots = {slot for slot, _pings in rounds}
    wanted = {END - number * SLOT for number in range(1, 2 * 1_440 + 1)}
    assert slots <= wanted
    assert {(slot.hour, slot.minute) for slot in wanted - slots} == {(4, n) for n in range(20)}
    assert len(wanted - slots) == 40


def test_a_server_that_is_out_for_lunch_is_down_and_the_others_are_not(
    rounds: list[tuple[datetime, list[Ping]]],
) -> None:
    [pings] = [pings for slot, pings in rounds if slot == LUNCH]
    down = [ping.ip for ping in pings if ping.received == 0]
    assert down == [demo.SERVERS["demo office"][0]]


def test_times_are_as_they_are_kept_and_go_with_what_came_back(
    rounds: list[tuple[datetime, list[Ping]]],
) -> None:
    for _slot, pings in rounds:
        for ping in pings:
            times = (ping.best_ms, ping.response_ms, ping.worst_ms)
            if not ping.received:
                assert times == (None, None, None)
                continue
            assert [quantised_ms(ms) for ms in times if ms is not None] == sorted(times)


def test_a_second_demo_is_refused(sqlite_settings: Settings) -> None:
    database = Database(sqlite_settings)
    with database.transaction() as session:
        demo.create_servers(session, sqlite_settings, NOW, 1)
        with pytest.raises(NameTaken):
            demo.create_servers(session, sqlite_settings, NOW, 1)
    database.engine.dispose()
