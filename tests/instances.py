"""An instance around a database that a test was given, and clocks that are made up."""

from core.rounds.kernel import SILENT
from handlers.instance import Instance
from handlers.worker.rounds import Clocks
from infra.database import Database

ALONE = Clocks(lambda: SILENT, lambda _session: None)
"""For a clock that is made up: neither the kernel's nor the database's says anything to it."""


def instance(database: Database) -> Instance:
    """Return the instance of this database, as the settings it was opened with say."""
    return Instance(database.settings, database)
