"""An instance: how it is set up and its database, neither of which it opens."""

from pathlib import Path

import pytest

from core.errors import SettingsError
from core.settings import Settings
from handlers.instance import Instance


def test_an_instance_opens_nothing_until_its_database_is_used(no_database: Path) -> None:
    here = Instance.of(Settings(database_url=f"sqlite:///{no_database}"))
    assert not no_database.exists()
    with here.database.reading():
        assert no_database.exists()
    here.database.engine.dispose()


def test_settings_that_name_no_database_make_no_instance() -> None:
    with pytest.raises(SettingsError, match="mysql"):
        Instance.of(Settings(database_url="mysql://127.0.0.1/x"))
