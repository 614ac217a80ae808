"""Postgres as it is handed out: other encodings, roles without rights."""

from collections.abc import Iterator

import pytest
from sqlalchemy import text

from core.errors import Misconfigured, SchemaMismatch, WrongRequest
from core.servers import change, find
from core.servers.records import FleetQuery, ServerChange, Sort
from core.settings import Settings
from infra.database import Database
from tests.infra.databases import administer, database_in, names, opened, role, why_not, works
from tests.infra.rows import SLOT, add, add_many, ping, record
from tests.postgres import Postgres


@pytest.mark.parametrize("encoding", ["LATIN1", "EUC_JP", "WIN1252"])
def test_a_database_of_another_encoding_is_refused_in_one_line(
    postgres: Postgres, encoding: str
) -> None:
    with database_in(postgres, encoding) as url, opened(Settings(database_url=url)) as database:
        for use in (works, Database.upgrade):
            with pytest.raises(Misconfigured, match=f"UTF8, got {encoding}: make one") as refusal:
                use(database)
            assert "\n" not in str(refusal.value)


@pytest.fixture
def octets(postgres: Postgres) -> Iterator[Database]:
    """A database in SQL_ASCII, which takes any octets for text, with tables."""
    with database_in(postgres, "SQL_ASCII") as url, opened(Settings(database_url=url)) as database:
        database.upgrade()
        yield database


def test_sql_ascii_serves_every_name(octets: Database) -> None:
    given = ["web", "Zürich", "東京 🏯", "می‌خواهم"]
    ids = add_many(octets, given)
    assert names(octets) == given
    assert record(octets, SLOT, [ping(one) for one in ids]) == len(ids)
    with octets.transaction() as session:
        assert find.by_name(session, "Zürich").id == ids[1]
        changed = ServerChange(name="Zürich-West")
        change.alter(session, ids[1], changed, octets.settings, SLOT)
    assert names(octets)[1] == "Zürich-West"


def test_sql_ascii_counts_octets_and_says_so(octets: Database) -> None:
    with pytest.raises(WrongRequest, match="counts octets"):
        add(octets, "ж" * 200)
    assert names(octets) == []


def test_a_database_of_another_locale_sorts_and_finds_the_same(postgres: Postgres) -> None:
    """In Turkish I is no capital i, and z comes after the letters with marks."""
    turkish = "LOCALE_PROVIDER icu ICU_LOCALE 'tr' LC_COLLATE 'C' LC_CTYPE 'C'"
    made = database_in(postgres, "UTF8", turkish)
    with made as url, opened(Settings(database_url=url)) as database:
        database.upgrade()
        add_many(database, ["b", "B", "\u00e4", "ISPARTA", "\u0131sparta"])
        with database.reading() as session:
            query = FleetQuery(sort=Sort.NAME)
            listed = [one.name for one in find.page(session, query, SLOT).servers]
            query = FleetQuery(search="isparta")
            found = [one.name for one in find.page(session, query, SLOT).servers]
    assert listed == ["B", "ISPARTA", "b", "\u00e4", "\u0131sparta"]
    assert found == ["ISPARTA"]


NEEDY = "needy"


@pytest.fixture
def needy(postgres: Postgres) -> Iterator[Settings]:
    """Settings of a role without any rights, for a database without tables."""
    with role(postgres, NEEDY), database_in(postgres, "UTF8") as url:
        yield Settings(database_url=url.replace("//postgres:", f"//{NEEDY}:"))


def as_owner(settings: Settings, *statements: str) -> None:
    url = settings.database_url.replace(f"//{NEEDY}:", "//postgres:")
    with opened(Settings(database_url=url)) as database:
        database.upgrade()
        with database.transaction() as session:
            for statement in statements:
                session.execute(text(statement))


def granted(refusal: str) -> str:
    """Return the statement that a refusal asks for."""
    assert "\n" not in refusal
    return refusal[refusal.index("GRANT ") :]


def test_what_is_told_is_all_that_has_to_be_granted(needy: Settings) -> None:
    """Statement by statement, as the refusals say, until everything works."""
    as_owner(needy, f"REVOKE ALL ON SCHEMA public FROM public, {NEEDY}")
    with opened(needy) as database:
        with pytest.raises(SchemaMismatch, match="flask db upgrade"):
            works(database)
        told = []
        while len(told) < 5:
            try:
                add(database)
                break
            except SchemaMismatch:
                as_owner(needy, f'GRANT USAGE ON SCHEMA public TO "{NEEDY}"')
            except Misconfigured as refusal:
                told.append(granted(str(refusal)))
                as_owner(needy, told[-1])
        assert names(database) == ["web"]
    assert told == [
        f'GRANT ALL ON ALL TABLES IN SCHEMA public TO "{NEEDY}"',
        f'GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO "{NEEDY}"',
    ]


def test_an_upgrade_by_a_role_without_rights_on_the_schema_says_what_to_grant(
    needy: Settings,
) -> None:
    with opened(needy) as database:
        with pytest.raises(Misconfigured) as refusal:
            database.upgrade()
        statement = granted(str(refusal.value))
        assert statement == f'GRANT USAGE, CREATE ON SCHEMA public TO "{NEEDY}"'
        url = needy.database_url.replace(f"//{NEEDY}:", "//postgres:")
        with opened(Settings(database_url=url)) as owners, owners.engine.begin() as connection:
            connection.execute(text(statement))
        database.upgrade()
        assert works(database)


def test_a_schema_that_is_not_there_is_told_as_well(needy: Settings) -> None:
    url = f"{needy.database_url}?search_path=nowhere"
    with opened(Settings(database_url=url)) as database:
        with pytest.raises(SchemaMismatch, match="the database has no tables yet: run"):
            works(database)
        with pytest.raises(Misconfigured, match="search_path doesn't exist and must be created"):
            database.upgrade()


def test_a_role_that_may_not_connect_is_told_so(needy: Settings, postgres: Postgres) -> None:
    administer(postgres, "REVOKE CONNECT ON DATABASE encoded FROM public")
    assert "permission denied for database" in why_not(needy)
