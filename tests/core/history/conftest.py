"""Fixtures for the tests of history."""

from collections.abc import Callable
from typing import Any

import pytest

from core.servers import find
from infra.database import Database


@pytest.fixture
def web(database: Database) -> Callable[..., Any]:
    """Call one of the readers for the server `web`."""

    def call(read: Callable[..., Any], *arguments: Any) -> Any:
        with database.reading() as session:
            return read(session, find.by_name(session, "web"), *arguments)

    return call
