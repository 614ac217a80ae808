"""A database opened for a test, and what it says for itself."""

import contextlib
from collections.abc import Iterator
from dataclasses import replace

import pytest

from core.errors import Unavailable
from core.servers import find
from core.settings import Settings
from infra.database import Database


@contextlib.contextmanager
def opened(settings: Settings, **more: object) -> Iterator[Database]:
    database = Database(replace(settings, **more))
    try:
        yield database
    finally:
        database.engine.dispose()


def names(database: Database) -> list[str]:
    with database.reading() as session:
        return list(find.names(session))


def works(database: Database) -> bool:
    return names(database) is not None


def why_not(settings: Settings) -> str:
    """Return the reason that the database gives for not serving."""
    with opened(settings) as database, pytest.raises(Unavailable) as refusal:
        works(database)
    return str(refusal.value)
