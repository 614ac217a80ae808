"""An instance around a database that a test was given."""

from handlers.instance import Instance
from infra.database import Database


def instance(database: Database) -> Instance:
    """Return the instance of this database, as the settings it was opened with say."""
    return Instance(database.settings, database)
