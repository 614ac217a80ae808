"""The round's beginning on AWS: batches out."""

import logging
from datetime import datetime
from typing import Any

from core import slots
from core.clock import utc_now
from core.errors import WrongRequest
from core.reading import iso, moment
from core.rounds import measure
from core.rounds.kernel import SILENT
from core.rounds.trust import Reading
from core.slots import AHEAD
from handlers.functions.warm import warm_instance
from handlers.instance import Instance
from handlers.worker.rounds import Beginning, Clocks, check_clock, close, due, note_beginning
from infra import aws, logs

log = logging.getLogger("pinglet.worker")

LAMBDA = Clocks(kernel=lambda: SILENT._replace(synchronised=True))
"""A sandbox of Lambda's doesn't last: the database's clock is asked, not its kernel.

That one is another machine's and has to agree, so what both show counts as synchronised.
"""


def schedule(event: object, context: object) -> dict[str, Any]:
    """Cut the round of the event's minute into batches and send them to the probers.

    `event` is EventBridge's, with the `time` it was due. Returns what was sent. Raises
    WrongRequest for another event, Unavailable when database or queue can't serve it.
    """
    logs.configure(context)
    return send_round(warm_instance(), _slot_of_event(event), utc_now())


def send_round(here: Instance, slot: datetime, now: datetime) -> dict[str, Any]:
    """Send a round's batches; none when its deadline has passed. Returns what was sent."""
    if now >= measure.deadline(slot):
        log.error("dropped round %s: its deadline has passed", iso(slot))
        return {"slot": iso(slot), "due": 0, "batches": 0}
    check_clock(here.database, now, LAMBDA)
    targets = due(here.database, slot)
    beginning = Beginning(len(targets), Reading(now, LAMBDA.kernel()))
    note_beginning(here.database, slot, beginning)
    batches = measure.batches(slot, targets, here.settings.batch_size)
    aws.send(here.settings.batch_queue_url, [batch.text() for batch in batches])
    # What is measured waits for nothing that has to be decided.
    close(here.database, slot)
    sent = {"due": len(targets), "batches": len(batches)}
    log.info("round %s", iso(slot), extra=logs.figures(rounds=1, **sent))
    return {"slot": iso(slot), **sent}


def _slot_of_event(event: object) -> datetime:
    due_at = event.get("time") if isinstance(event, dict) else None
    if not isinstance(due_at, str):
        raise WrongRequest("expected an EventBridge event with its time")
    slot = slots.slot_of(moment(due_at, "time"))
    if slot > utc_now() + AHEAD:
        raise WrongRequest("time must not be in the future", got=iso(slot))
    return slot
