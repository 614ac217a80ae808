"""What people do about incidents."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from core.errors import IncidentOver, IncidentUnknown, WrongRequest
from core.incidents import change, find
from core.incidents.records import Acknowledgement, Comment, Incident, Resolution
from core.models import INCIDENT, JUDGED
from infra.database import Database
from tests.core.incidents.rounds import minutes
from tests.infra.rows import MINUTE, SLOT, add

NOW = SLOT + timedelta(hours=1)


@pytest.fixture
def incident_id(database: Database) -> int:
    """An incident that is open since SLOT."""
    minutes(database, add(database), "bb")
    with database.reading() as session:
        return session.execute(select(INCIDENT.c.id)).scalar_one()


def do(database: Database, what: Callable[..., None], *more: Any) -> None:
    with database.transaction() as session:
        what(session, *more, "ada", NOW)


def shown(database: Database, incident_id: int, later: timedelta = timedelta(0)) -> Incident:
    with database.reading() as session:
        return find.told(session, incident_id, NOW + later).incident


def test_an_acknowledgement_ends_by_its_time(database: Database, incident_id: int) -> None:
    until = (NOW + timedelta(hours=1)).isoformat()
    do(database, change.acknowledge, incident_id, Acknowledgement(until=until))
    assert shown(database, incident_id).acked_by == "ada"
    assert shown(database, incident_id, timedelta(hours=1)).acked_by is None


def test_an_acknowledgement_ends_with_the_incident(database: Database, incident_id: int) -> None:
    do(database, change.acknowledge, incident_id, Acknowledgement())
    with database.reading() as session:
        server_id = session.execute(select(INCIDENT.c.server_id)).scalar_one()
    minutes(database, server_id, "gg", SLOT + 2 * MINUTE)
    found = shown(database, incident_id)
    assert (found.resolved, found.acked_by) == (SLOT + 2 * MINUTE, None)


def test_until_must_lie_ahead(database: Database, incident_id: int) -> None:
    with pytest.raises(WrongRequest, match="until must be in the future"):
        do(database, change.acknowledge, incident_id, Acknowledgement(until=NOW.isoformat()))
    assert shown(database, incident_id).acked_by is None


def test_what_is_resolved_by_hand_is_judged_anew(database: Database, incident_id: int) -> None:
    do(database, change.resolve, incident_id, Resolution(note="known"))
    with database.reading() as session:
        assert session.execute(select(JUDGED)).all() == []
    for what, given in (
        (change.acknowledge, [Acknowledgement()]),
        (change.unacknowledge, []),
        (change.resolve, [Resolution()]),
    ):
        with pytest.raises(IncidentOver):
            do(database, what, incident_id, *given)
    do(database, change.comment, incident_id, Comment(note="still known"))


def test_what_is_not_there_can_not_be_changed(database: Database) -> None:
    with pytest.raises(IncidentUnknown):
        do(database, change.comment, 4711, Comment(note="hello"))
    with pytest.raises(IncidentUnknown):
        do(database, change.resolve, 2**64, Resolution())
