"""What the tables themselves refuse."""

import pytest
from sqlalchemy import text

from infra.database import Database

pytestmark = pytest.mark.driver


def test_a_ping_of_no_server_is_refused_by_the_database_itself(database: Database) -> None:
    orphan = text(
        "INSERT INTO data (server_id, datetime, sent, received, probe) "
        "VALUES (7, '2026-01-02 07:01:00', 4, 4, 'tcp')"
    )
    with pytest.raises(Exception, match=r"(?i)foreign key"), database.transaction() as session:
        session.execute(orphan)
