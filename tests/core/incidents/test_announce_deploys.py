"""Workers that were away, restarts and backups: no incident that the servers didn't have."""

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest
from sqlalchemy import update

from core.incidents.records import How
from core.models import LATCH
from core.settings import Settings
from infra import backup
from infra.database import Database
from tests.core.incidents.rounds import Told, begin, found, minutes, told
from tests.infra.databases import unseen
from tests.infra.rows import MINUTE, SLOT, add, record

AWAY = 10


def slot(minute: int) -> datetime:
    return SLOT + minute * MINUTE


@pytest.mark.parametrize(
    ("before", "after", "incidents"),
    [
        ("gggg", "gggg", []),
        ("gggb", "bggg", []),
        ("gggg", "bggg", []),
        ("ggbb", "bbgg", [Told(2, 3, 4 + AWAY + 2, How.GOOD, 0)]),
        ("ggbb", "gggg", [Told(2, 3, 4 + AWAY, How.GOOD, 0)]),
        ("gggg", "bbgg", [Told(4 + AWAY, 5 + AWAY, 4 + AWAY + 2, How.GOOD, 0)]),
    ],
)
def test_a_worker_that_was_dead_for_ten_minutes_makes_no_incident(
    database: Database, before: str, after: str, incidents: list[Told]
) -> None:
    server_id = add(database)
    minutes(database, server_id, before)
    minutes(database, server_id, after, slot(4 + AWAY))
    assert told(database) == incidents


@pytest.fixture
def restarted(database: Database) -> Iterator[Database]:
    """The same database, as a process finds it that has just begun."""
    opened = Database(database.settings)
    yield opened
    opened.engine.dispose()


@pytest.mark.parametrize("cut", range(1, 9))
def test_a_restart_at_any_minute_changes_nothing(
    database: Database, restarted: Database, cut: int
) -> None:
    history = "gbbbgggbbg"
    server_id = add(database)
    minutes(database, server_id, history[:cut])
    minutes(restarted, server_id, history[cut:], slot(cut))
    assert told(database) == [Told(1, 2, None, None, 1)]


def recorded(database: Database, server_id: int, letters: str) -> None:
    """Have rows of which nothing is announced."""
    for minute, letter in enumerate(letters):
        record(database, slot(minute), found(server_id, letter)[0])


def announced(database: Database, minute: int) -> None:
    """Have it announced up to that minute, whatever the rows say."""
    with database.transaction() as session:
        session.execute(update(LATCH).values(since=slot(minute)))


@pytest.mark.parametrize(
    ("letters", "incidents"),
    [("gggggggggg", []), ("ggbggbgggg", []), ("ggbbbggggg", [Told(2, 3, 5, How.GOOD, 0)])],
)
def test_where_less_is_announced_than_there_are_rows_it_is_announced_then(
    database: Database, letters: str, incidents: list[Told]
) -> None:
    server_id = add(database)
    begin(database, SLOT)
    recorded(database, server_id, letters)
    minutes(database, server_id, "gg", slot(len(letters)))
    assert told(database) == incidents


def test_where_more_is_announced_than_there_are_rows_those_are_history(
    database: Database,
) -> None:
    server_id = add(database)
    begin(database, SLOT)
    announced(database, 9)
    minutes(database, server_id, "bbbbbbbbbb")
    assert told(database) == []
    minutes(database, server_id, "gbbgg", slot(10))
    assert told(database) == [Told(11, 12, 13, How.GOOD, 0)]


def test_a_backup_that_is_put_back_goes_on_from_there(
    sqlite_settings: Settings, tmp_path: Path
) -> None:
    database = Database(sqlite_settings)
    server_id = add(database)
    minutes(database, server_id, "ggbb")
    backup.back_up(database, tmp_path / "kept.db", unseen)
    minutes(database, server_id, "gggbbb", slot(4))
    backup.restore(database, tmp_path / "kept.db", unseen)
    assert told(database) == [Told(2, 3, None, None, 0)]
    minutes(database, server_id, "gg", slot(20))
    assert told(database) == [Told(2, 3, 20, How.GOOD, 0)]
    database.engine.dispose()
