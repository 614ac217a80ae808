"""What every way in works with."""

from dataclasses import dataclass
from typing import Self

from core.settings import Settings
from infra.database import Database


@dataclass(frozen=True, slots=True)
class Instance:
    """One Pinglet: how it is set up, and its database."""

    settings: Settings
    database: Database

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Return the instance of these settings; opens nothing.

        Raises SettingsError, PlatformError.
        """
        return cls(settings, Database(settings))
