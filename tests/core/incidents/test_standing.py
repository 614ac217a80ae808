"""How an incident's row says that it is open, and what goes with its end."""

import pytest
from sqlalchemy import select

from core.incidents import change
from core.incidents.records import Acknowledgement, How, Resolution
from core.incidents.standing import IS_OPEN, LET_GO
from core.models import INCIDENT
from infra.database import Database
from tests.core.incidents.rounds import begin, minutes
from tests.infra.rows import MINUTE, SLOT, add

NOW = SLOT + 10 * MINUTE


@pytest.mark.parametrize("how", [How.GOOD, How.HAND])
def test_what_is_over_is_not_open_and_nobody_looks_after_it(database: Database, how: How) -> None:
    server_id = add(database)
    slot = minutes(database, server_id, "bb")
    with database.transaction() as session:
        (incident_id,) = session.scalars(select(INCIDENT.c.id).where(IS_OPEN))
        change.acknowledge(session, incident_id, Acknowledgement(), "ann", NOW)
    if how is How.GOOD:
        minutes(database, server_id, "gg", slot)
    else:
        with database.transaction() as session:
            change.resolve(session, incident_id, Resolution(), "ann", NOW)
    begin(database, slot + 5 * MINUTE)
    with database.reading() as session:
        assert session.scalars(select(INCIDENT.c.id).where(IS_OPEN)).all() == []
        row = session.execute(select(INCIDENT)).mappings().one()
    assert {name: row[name] for name in LET_GO} == LET_GO
    assert row["how"] == how
