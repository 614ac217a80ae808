"""The loop on one machine: rounds each minute, upkeep each night.

Until 2.0 functions on AWS may still be named `handlers.worker.schedule`, `.record` and `.tidy`.
They are looked up when they are asked for: the loop itself needs no function.
"""

from typing import Any

from werkzeug.utils import import_string

MOVED = ("schedule", "record", "tidy")


def __getattr__(name: str) -> Any:
    if name in MOVED:
        return import_string(f"handlers.functions.{name}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
