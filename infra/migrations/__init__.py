"""The only way tables come about: Alembic migrations, applied in order.

Each version says in `phase` whether it comes before or after the deploy of the release that needs
it. A "pre" version keeps the previous release working (it only adds); a "post" one takes away what
no running release uses any more.
"""

import logging
import random
import time
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Engine, PoolProxiedConnection, text

from core.errors import CoreError, Unavailable
from core.models import SCHEMA_VERSION
from infra import patience

if TYPE_CHECKING:
    from alembic.config import Config

log = logging.getLogger("pinglet.database")

LOCK = 7_046_154_738  # any number that nothing else in the same database locks
WAIT_S = 30
TABLE_S = 3


class NewerSchema(CoreError):
    """The database has been upgraded by a newer release of Pinglet."""


def upgrade(engine: Engine) -> None:
    """Bring the tables up to this release; does nothing where they are. Safe to run twice at once.

    The whole upgrade is one transaction: it happens or it doesn't. Raises NewerSchema, Unavailable.
    """
    # Alembic takes longer to import than everything else a request needs.
    from alembic import command
    from alembic.util import CommandError

    if engine.dialect.name == "sqlite":
        use_write_ahead_log(engine)
    with engine.begin() as connection:
        # One at a time. SQLite's BEGIN IMMEDIATE, which begins every transaction here, is such a
        # lock on the file already.
        if engine.dialect.name == "postgresql":
            connection.execute(text(f"SELECT pg_advisory_xact_lock({LOCK})"))
            # Whoever waits for a table keeps all waiting who come after: rather this one gives up.
            connection.execute(text(f"SET LOCAL lock_timeout = '{TABLE_S}s'"))
        config = configuration()
        config.attributes["connection"] = connection
        try:
            command.upgrade(config, "head")
        except CommandError as error:
            raise NewerSchema(
                f"this release knows the tables up to version {SCHEMA_VERSION}, but a newer one "
                "has upgraded the database: upgrade Pinglet"
            ) from error
    log.info("the database's tables are at version %s", SCHEMA_VERSION)


def configuration() -> "Config":
    """Return Alembic's configuration, made here so that no second file must be found."""
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    config.set_main_option("path_separator", "os")
    return config


def use_write_ahead_log(engine: Engine) -> None:
    """Let readers never wait for a writer. The mode is kept in the file. Raises Unavailable.

    It can't be set inside a transaction, so this goes past SQLAlchemy. And SQLite doesn't wait
    here for others who use the file, whatever its time-out, so we do.
    """
    connection = engine.raw_connection()
    locked = engine.dialect.loaded_dbapi.OperationalError  # sqlite3's: Postgres needs no sqlite3
    given = patience.CURRENT.get()
    wait_s = given.left_s if given else WAIT_S
    give_up = time.monotonic() + wait_s
    try:
        while not _is_set(connection, locked):
            if time.monotonic() > give_up:
                raise Unavailable(f"another program has used the database file for {wait_s:.0f} s")
            time.sleep(random.uniform(0.001, 0.05))  # noqa: S311 (spreads load)
    finally:
        connection.close()


def _is_set(connection: PoolProxiedConnection, locked: type[Exception]) -> bool:
    try:
        connection.cursor().execute("PRAGMA journal_mode=WAL")
    except locked as error:
        if "locked" not in str(error):
            raise
        return False
    return True
