"""Long work step by step: what it says when the database goes away after some of it."""

from functools import partial

import pytest
from sqlalchemy.orm import Session

from core.errors import CutOff, NameTaken, Unavailable
from core.servers import change
from core.servers.records import ServerWanted
from handlers import steps
from infra.database import Database
from tests.infra.databases import away_after_the_first, names
from tests.infra.rows import IP, SLOT, add


def add_one(session: Session, name: str, database: Database) -> str:
    change.add(session, ServerWanted(name=name, ip=IP), database.settings, SLOT)
    return name


def test_steps_are_done_in_their_order(database: Database) -> None:
    adds = [partial(add_one, name=name, database=database) for name in ("web", "mail")]
    assert steps.each(database, adds, ", ".join) == ["web", "mail"]
    assert names(database) == ["web", "mail"]
    assert steps.each(database, [], ", ".join) == []


def test_what_was_done_before_the_database_went_away_is_told(database: Database) -> None:
    adds = [partial(add_one, name=name, database=database) for name in ("web", "mail", "last")]
    with away_after_the_first(database), pytest.raises(CutOff) as cut:
        steps.each(database, adds, ", ".join)
    assert (str(cut.value), cut.value.done) == ("the database went away: web", ["web"])
    assert names(database) == ["web"]


def test_where_nothing_was_done_there_is_nothing_to_tell(database: Database) -> None:
    add(database)
    with away_after_the_first(database), pytest.raises(Unavailable) as refused:
        steps.each(database, [partial(add_one, name="mail", database=database)], ", ".join)
    assert not isinstance(refused.value, CutOff)


def test_what_is_refused_by_a_step_is_told_as_it_is(database: Database) -> None:
    adds = [partial(add_one, name="web", database=database)] * 2
    with pytest.raises(NameTaken):
        steps.each(database, adds, ", ".join)
