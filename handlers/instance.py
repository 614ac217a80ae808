"""What every way in works with."""

from dataclasses import dataclass, field
from typing import Self

from core.settings import Settings
from handlers.turns import Turns
from infra.database import Database


@dataclass(frozen=True, slots=True)
class Instance:
    """One Pinglet: how it is set up, its database, and the turns of this process."""

    settings: Settings
    database: Database
    turns: Turns = field(default_factory=Turns)

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Return the instance of these settings; opens nothing.

        Raises SettingsError, PlatformError.
        """
        return cls(settings, Database(settings))
