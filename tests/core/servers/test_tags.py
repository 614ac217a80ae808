"""Tags of servers: put, replaced, read back."""

from core.servers import tags
from infra.database import Database
from tests.infra.rows import add_many
from tests.infra.statements import counted


def test_tags_are_replaced_and_read_in_order(database: Database) -> None:
    web, mail, plain = add_many(database, ["web", "mail", "plain"])
    with database.transaction() as session:
        assert tags.put(session, {web: ["web", "eu"], mail: ["-", "_x", "1", "a.b"]}) == {web, mail}
        assert tags.put(session, {web: ["us", "web"], mail: ["1", "_x", "-", "a.b"]}) == {web}
        assert tags.of(session) == {web: ["us", "web"], mail: ["-", "1", "_x", "a.b"]}
        assert tags.of(session, [web, plain, 99]) == {web: ["us", "web"]}
        assert tags.put(session, {web: [], plain: []}) == {web}
        assert tags.of(session, [web, plain]) == {}


def test_however_many_servers_are_tagged_in_three_statements(database: Database) -> None:
    ids = add_many(database, [f"web {number}" for number in range(50)])
    with database.transaction() as session:
        tags.put(session, {one: [f"rack-{one}", "old"] for one in ids})
        with counted(database) as statements:
            tags.put(session, {one: [f"rack-{one}", "new"] for one in ids})
            assert len(statements) == 3
            assert tags.put(session, {}) == set()
            assert len(statements) == 3
        assert tags.of(session, ids[7:8]) == {ids[7]: ["new", f"rack-{ids[7]}"]}
