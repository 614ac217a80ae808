"""How tables come about: whole, once, and as the models say."""

import logging
import multiprocessing
import os
import signal
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import Script, ScriptDirectory
from sqlalchemy import Connection, Engine, event, insert, inspect, text

from core import models
from core.checks.records import Probe
from core.errors import SchemaMismatch, Unavailable
from core.models import DATA, SCHEMA_VERSION
from core.servers import find, parents, tags
from core.settings import Settings
from infra import migrations
from infra.database import Database, schema_version
from infra.migrations import NewerSchema
from tests.counts import STARTS
from tests.infra.rows import MINUTE, SLOT, add, ping, record, stored

NEWER = "9999"
SCRIPTS = ScriptDirectory.from_config(migrations.configuration())
VERSIONS = list(SCRIPTS.walk_revisions())
spawn = multiprocessing.get_context("spawn")


def tables(engine: Engine) -> set[str]:
    with engine.connect() as connection:
        return set(inspect(connection).get_table_names())


def pretend_version(database: Database, version: str) -> None:
    with database.engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = :v"), {"v": version})


def as_of(database: Database, version: str, names: Sequence[str]) -> list[int]:
    """Make the tables of an earlier version, with these servers; return their ids."""
    with database.engine.begin() as connection:
        config = migrations.configuration()
        config.attributes["connection"] = connection
        command.upgrade(config, version)
    pretend_version(database, SCHEMA_VERSION)  # to add with today's code
    ids = [add(database, name) for name in names]
    pretend_version(database, version)
    return ids


def upgrade_and_look(settings: Settings) -> list[str]:
    """Do what a process does that starts: use the database."""
    database = Database(settings)
    try:
        with database.reading() as session:
            return list(find.names(session))
    finally:
        database.engine.dispose()


def upgrade_and_die(settings: Settings, last_words: str) -> None:
    """Upgrade, and be killed when a statement begins with `last_words`."""
    database = Database(settings)

    @event.listens_for(database.engine, "after_cursor_execute")
    def die(_connection: Connection, _cursor: object, statement: str, *_more: object) -> None:
        if statement.strip().startswith(last_words):
            os.kill(os.getpid(), signal.SIGKILL)

    migrations.upgrade(database.engine)


@pytest.mark.filterwarnings("ignore:Computed default on data.id")  # SQLite's follows from the key
def test_the_migrated_tables_are_those_of_the_models(database: Database) -> None:
    with database.engine.connect() as connection:
        context = MigrationContext.configure(
            connection, opts={"compare_type": True, "compare_server_default": True}
        )
        found = compare_metadata(context, models.Base.metadata)
    if database.engine.dialect.name == "sqlite":  # where `data` is that index itself
        missing = found.pop()
        assert (missing[0], missing[1].name) == ("add_index", "data_server_slot")
    assert found == []


def test_what_autogenerate_doesnt_compare_is_there_as_well(
    postgres_settings: Settings, sqlite_settings: Settings
) -> None:
    postgres, sqlite = Database(postgres_settings), Database(sqlite_settings)
    with postgres.reading() as session:
        index = "SELECT indexdef FROM pg_indexes WHERE indexname = 'data_server_slot'"
        definition = session.scalar(text(index)) or ""
        assert "UNIQUE" in definition
        assert "(server_id, datetime) INCLUDE (response_time, sent" in definition
        options = session.scalar(text("SELECT reloptions FROM pg_class WHERE relname = 'server'"))
        assert options == ["fillfactor=50"]
    with sqlite.reading() as session:
        created = "SELECT sql FROM sqlite_master WHERE name = :table"
        assert "AUTOINCREMENT" in (session.scalar(text(created), {"table": "server"}) or "")
        data = session.scalar(text(created), {"table": "data"}) or ""
        assert "PRIMARY KEY (server_id, datetime)" in data
        assert "WITHOUT ROWID" in data
    postgres.engine.dispose()
    sqlite.engine.dispose()


def test_this_release_knows_the_newest_version() -> None:
    assert SCRIPTS.get_heads() == [SCHEMA_VERSION]


def test_versions_sort_as_they_follow_each_other() -> None:
    numbers = [version.revision for version in reversed(VERSIONS)]
    assert numbers == sorted(numbers)
    assert all(number < NEWER for number in numbers)


@pytest.mark.parametrize("version", VERSIONS, ids=lambda version: version.revision)
def test_a_version_says_whether_it_comes_before_or_after_the_deploy(version: Script) -> None:
    assert version.module.phase in ("pre", "post")


def test_an_upgrade_makes_the_tables_and_a_second_one_changes_nothing(bare: Database) -> None:
    migrations.upgrade(bare.engine)
    made = tables(bare.engine)
    assert made >= {"server", "schedule", "data", "alembic_version"}
    add(bare)
    migrations.upgrade(bare.engine)
    assert tables(bare.engine) == made
    assert upgrade_and_look(bare.settings) == ["web"]


def test_pings_that_lay_in_order_of_time_are_all_kept_when_a_file_is_rewritten(
    bare: Database,
) -> None:
    ids = as_of(bare, "0004", ["one", "two", "three"])
    pretend_version(bare, SCHEMA_VERSION)  # to add with today's code
    slots = [SLOT + number * MINUTE for number in range(5)]
    figures = {"sent": 4, "received": 4, "probe": Probe.TCP}
    with bare.transaction() as session:
        for slot in slots:
            rows = [
                figures | {"server_id": one, "datetime": slot, "response_time": one * 1.5}
                for one in reversed(ids)
            ]
            session.execute(insert(DATA).return_defaults(DATA.c.server_id), rows)
    pretend_version(bare, "0004")

    migrations.upgrade(bare.engine)

    kept = stored(bare)
    assert kept == [(server_id, slot, server_id * 1.5) for server_id in ids for slot in slots]
    assert record(bare, slots[0], [ping(ids[0])]) == 0, "a row's key is its server and slot"
    with bare.transaction() as session:
        assert session.scalar(text("SELECT count(DISTINCT id) FROM data")) == len(kept)
        session.execute(text("DELETE FROM server WHERE id = :id"), {"id": ids[0]})
    assert {server_id for server_id, _slot, _ms in stored(bare)} == set(ids[1:])


def test_who_may_be_down_since_an_upgrade_is_named_in_its_log(
    bare: Database, caplog: pytest.LogCaptureFixture
) -> None:
    ids = as_of(bare, "0006", ["web", "mail", "auto", "icmp"])
    ports = zip(ids, ("tcp", "tcp", "tcp", "icmp"), (443, 25, None, None), strict=True)
    with bare.engine.begin() as connection:
        for server_id, probe, port in ports:
            wanted = text("UPDATE server SET probe = :probe, port = :port WHERE id = :id")
            connection.execute(wanted, {"id": server_id, "probe": probe, "port": port})

    migrations.upgrade(bare.engine)

    told = "2 servers are down while their port refuses: until now they were up then: mail, web"
    assert told in [record.getMessage() for record in caplog.records]


def test_tags_and_parents_are_no_hindrance_to_the_release_before_them(bare: Database) -> None:
    ids = as_of(bare, "0007", ["switch", "web", "mail"])

    migrations.upgrade(bare.engine)

    with bare.transaction() as session:
        tags.put(session, {one: ["eu"] for one in ids})
        parents.put(session, {ids[1]: "switch", ids[2]: "web"})
        session.execute(text("DELETE FROM server WHERE name = 'switch'"))
    with bare.reading() as session:
        assert tags.of(session) == {one: ["eu"] for one in ids[1:]}
        assert parents.by_name(session) == {"mail": "web"}


def test_eight_processes_that_start_at_once_on_a_missing_file_all_work(
    tmp_path: Path,
) -> None:
    with ProcessPoolExecutor(8, mp_context=spawn) as processes:
        for attempt in range(STARTS):
            settings = Settings(database_url=f"sqlite:///{tmp_path}/{attempt}/pinglet.db")
            assert list(processes.map(upgrade_and_look, [settings] * 8)) == [[]] * 8


def test_eight_upgrades_at_once_are_one(bare_settings: Settings) -> None:
    databases = [Database(bare_settings) for _ in range(8)]
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda database: migrations.upgrade(database.engine), databases))
    for database in databases:
        assert "data" in tables(database.engine)
        database.engine.dispose()


def test_an_upgrade_gives_up_where_it_would_queue_for_a_table(
    postgres_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever comes after it would wait behind it."""
    monkeypatch.setattr(migrations, "TABLE_S", 0.2)
    holder, database = Database(postgres_settings), Database(postgres_settings)
    with holder.engine.begin() as connection:
        connection.execute(text("LOCK TABLE alembic_version IN ACCESS EXCLUSIVE MODE"))
        with pytest.raises(Unavailable, match="lock timeout"):
            database.upgrade()
    database.upgrade()
    for one in (holder, database):
        one.engine.dispose()


def test_a_missing_file_is_made_without_being_asked(tmp_path: Path) -> None:
    settings = Settings(database_url=f"sqlite:///{tmp_path}/some/where/pinglet.db")
    assert upgrade_and_look(settings) == []


@pytest.mark.parametrize("bare_settings", ["postgres"], indirect=True)
def test_an_empty_postgres_says_which_command_is_missing(bare: Database) -> None:
    with pytest.raises(SchemaMismatch, match="flask db upgrade"):
        add(bare)


def test_an_older_postgres_says_which_command_is_missing(postgres_settings: Settings) -> None:
    database = Database(postgres_settings)
    pretend_version(database, "0000")
    try:
        with pytest.raises(SchemaMismatch, match="flask db upgrade") as refusal:
            add(database)
        assert "0000" in str(refusal.value)
        assert SCHEMA_VERSION in str(refusal.value)
    finally:
        pretend_version(database, SCHEMA_VERSION)
    assert add(database), "the same process notices that the upgrade has been made"
    database.engine.dispose()


def test_a_newer_database_works_and_warns_once(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    pretend_version(database, NEWER)
    try:
        with caplog.at_level(logging.WARNING, "pinglet"):
            add(database, "one")
            add(database, "two")
        assert [record for record in caplog.messages if NEWER in record] == caplog.messages
        assert len(caplog.messages) == 1
    finally:
        pretend_version(database, SCHEMA_VERSION)


def test_a_newer_database_is_not_upgraded_by_an_older_release(database: Database) -> None:
    pretend_version(database, NEWER)
    try:
        with pytest.raises(NewerSchema, match="upgrade Pinglet"):
            migrations.upgrade(database.engine)
        with database.engine.connect() as connection:
            assert schema_version(connection) == NEWER
    finally:
        pretend_version(database, SCHEMA_VERSION)


@pytest.mark.parametrize(
    "last_words", ["CREATE TABLE schedule", "CREATE UNIQUE INDEX", "INSERT INTO alembic_version"]
)
def test_a_killed_upgrade_leaves_nothing_half_done(bare: Database, last_words: str) -> None:
    victim = spawn.Process(target=upgrade_and_die, args=[bare.settings, last_words])
    victim.start()
    victim.join()
    assert victim.exitcode == -signal.SIGKILL
    assert tables(bare.engine) == set()
    migrations.upgrade(bare.engine)
    assert upgrade_and_look(bare.settings) == []
