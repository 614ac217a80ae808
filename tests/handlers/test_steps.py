"""Long work step by step: what it says where it ends after some of it."""

from functools import partial

import pytest
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from core.errors import CutOff, RefusedLate, Unavailable, WrongRequest
from core.servers import change
from core.servers.records import ServerWanted
from handlers import steps
from infra.database import Database
from tests.infra.databases import away_after_the_first, names, no_address_twice
from tests.infra.rows import IP, SLOT, add

MULTICAST = "224.0.0.1"


def add_one(session: Session, name: str, database: Database, ip: str = IP) -> str:
    change.add(session, ServerWanted(name=name, ip=ip), database.settings, SLOT)
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


def test_what_was_done_before_a_step_was_refused_is_told(database: Database) -> None:
    adds = [
        partial(add_one, name="web", database=database),
        partial(add_one, name="mail", database=database, ip=MULTICAST),
    ]
    with pytest.raises(RefusedLate) as late:
        steps.each(database, adds, ", ".join)
    assert str(late.value) == "224.0.0.1 is multicast and can't be watched\nweb"
    assert (late.value.field, late.value.done) == ("ip", ["web"])
    assert names(database) == ["web"]


def test_what_was_done_before_a_fault_of_ours_is_told(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    adds = [partial(add_one, name=name, database=database) for name in ("web", "mail")]
    with no_address_twice(database), pytest.raises(CutOff) as cut:
        steps.each(database, adds, ", ".join)
    assert (str(cut.value), cut.value.done) == ("Pinglet failed; its log says why: web", ["web"])
    assert "IntegrityError" in caplog.text
    assert names(database) == ["web"]


@pytest.mark.parametrize("ip", [MULTICAST, IP])
def test_what_ends_the_first_step_is_raised_as_it_is(database: Database, ip: str) -> None:
    add(database)
    adds = [partial(add_one, name="mail", database=database, ip=ip)]
    with no_address_twice(database), pytest.raises((WrongRequest, IntegrityError)) as refused:
        steps.each(database, adds, ", ".join)
    assert not isinstance(refused.value, RefusedLate)
