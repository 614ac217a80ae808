"""What is over is forgotten in time, what is open never."""

from sqlalchemy import func, select

from core.incidents import upkeep
from core.models import EVENT
from infra.database import Database
from tests.core.incidents.rounds import Told, minutes, told
from tests.infra.rows import MINUTE, SLOT, add


def forget(database: Database, minute: int, limit: int = 9) -> int:
    with database.transaction() as session:
        return upkeep.forget(session, SLOT + minute * MINUTE, limit)


def lines(database: Database) -> int:
    with database.reading() as session:
        return session.scalar(select(func.count()).select_from(EVENT)) or 0


def test_what_was_over_before_goes_with_its_timeline(database: Database) -> None:
    minutes(database, add(database), "bbgg")
    assert forget(database, 2) == 0
    assert (len(told(database)), lines(database)) == (1, 2)
    assert forget(database, 3) == 1
    assert (told(database), lines(database)) == ([], 0)


def test_what_is_open_stays(database: Database) -> None:
    minutes(database, add(database), "bb")
    assert forget(database, 9_999_999) == 0
    assert told(database) == [Told(0, 1, None, None, 0)]


def test_many_go_in_steps_the_oldest_first(database: Database) -> None:
    server_id = add(database)
    minutes(database, server_id, "bbgg" + "g" * 16 + "bbgg")
    assert forget(database, 99, limit=1) == 1
    assert [one.opened for one in told(database)] == [20]
    assert forget(database, 99, limit=1) == 1
    assert forget(database, 99, limit=1) == 0
