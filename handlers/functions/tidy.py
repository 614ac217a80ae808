"""The night's work as a function."""

import logging
from dataclasses import asdict
from typing import Any

from handlers.functions.warm import warm_instance
from handlers.worker import upkeep
from infra import logs

log = logging.getLogger("pinglet.worker")


def tidy(_event: object, context: object) -> dict[str, Any]:
    """Do the night's work as a function of its own; return what was done.

    It may run at any time, twice, or be cut off: the next night finishes it. What is removed is
    measured by the time of the rounds, so this function's own clock doesn't matter. Raises
    Unavailable.
    """
    logs.configure(context)
    done = upkeep.tidy(warm_instance())
    log.info("nightly upkeep: %s", done)
    return asdict(done)
