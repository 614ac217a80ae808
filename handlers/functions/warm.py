"""What a warm container keeps."""

from functools import cache

from core.settings import Settings
from handlers.instance import Instance

warm_instance = cache(lambda: Instance.of(Settings.from_env()))
