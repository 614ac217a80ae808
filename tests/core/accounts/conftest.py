"""What the tests of accounts share: databases without users."""

from collections.abc import Iterator

import pytest

from core.settings import Settings
from tests import people


@pytest.fixture
def settings(settings: Settings) -> Iterator[Settings]:
    """The same, without users before and after."""
    with people.nobody_but(settings) as empty:
        yield empty
