"""The night's work as a function of its own."""

import pytest

from core.rounds import stretches
from core.rounds.kernel import SILENT
from core.rounds.trust import Reading
from core.settings import Settings
from handlers.functions import tidy, warm
from infra.database import Database
from tests.core.history.histories import (
    made_up,
)


def test_the_function_of_its_own_does_the_same(
    database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    _history, now = made_up(database, 1)
    with database.transaction() as session:
        stretches.note(session, Reading(now, SILENT))
    monkeypatch.setenv("DATABASE_URL", settings.database_url)
    warm.warm_instance.cache_clear()
    done = tidy.tidy({}, None)
    assert done["packed"] > 0
    assert tidy.tidy({}, None) == {"packed": 0, "pings": 0, "days": 0}
    warm.warm_instance().database.engine.dispose()
    warm.warm_instance.cache_clear()
