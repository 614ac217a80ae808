"""What a warm container keeps."""

from functools import cache

from core.settings import Settings
from infra.database import Database

warm_database = cache(lambda: Database(Settings.from_env()))
