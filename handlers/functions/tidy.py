"""The night's work as a function."""

import logging
from dataclasses import asdict
from typing import Any

from core.clock import utc_now
from handlers.functions.warm import warm_instance
from handlers.worker import upkeep
from infra import logs

log = logging.getLogger("pinglet.worker")


def tidy(_event: object, context: object) -> dict[str, Any]:
    """Do the night's work as a function of its own; return what was done.

    It may run at any time, twice, or be cut off: the next night finishes it. Raises Unavailable.
    """
    logs.configure(context)
    done = upkeep.tidy(warm_instance(), utc_now())
    log.info("nightly upkeep: %s", done)
    return asdict(done)
