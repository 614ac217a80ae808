"""A warm container: what the first event made serves the later ones."""

from collections.abc import Iterator

import pytest

from core.settings import Settings
from handlers.functions import warm


@pytest.fixture
def cold() -> Iterator[None]:
    """A container that has not been asked anything yet."""
    warm.warm_instance.cache_clear()
    yield
    warm.warm_instance.cache_clear()


def test_later_events_get_the_instance_of_the_first(
    cold: None, sqlite_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", sqlite_settings.database_url)
    monkeypatch.setenv("PINGLET_BATCH_SIZE", "7")
    first = warm.warm_instance()
    assert first.settings.batch_size == 7
    assert str(first.database.url) == sqlite_settings.database_url
    monkeypatch.setenv("PINGLET_BATCH_SIZE", "8")
    assert warm.warm_instance() is first
    first.database.engine.dispose()
