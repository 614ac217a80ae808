"""Lines of timelines that Pinglet itself writes."""

from core.incidents.records import Kind
from core.incidents.timeline import note, servers
from infra.database import Database
from tests.core.incidents.fleets import fleet, incidents, lines, shown, together
from tests.infra.rows import SLOT
from tests.infra.statements import counted


def test_many_lines_are_one_statement(database: Database) -> None:
    together(database, dict.fromkeys(fleet(database, 2), "bb"))
    with counted(database) as statements, database.transaction() as session:
        note(session, SLOT, Kind.COMMENT, {1: "ü", 2: None})
    assert len(statements) == 1
    assert [lines(shown(database, one.id))[-1] for one in incidents(database)] == [
        ("comment", "ü"),
        ("comment", None),
    ]


def test_servers_are_counted_in_words() -> None:
    assert [servers(1), servers(1_234)] == ["1 server", "1234 servers"]
