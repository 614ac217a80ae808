"""The round, network side: batches in, results out. No database, no secret, no web."""

import logging
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cache
from itertools import groupby
from typing import Any, Protocol

from core.clock import Now, going_on_from, utc_now
from core.errors import Unavailable
from core.reading import iso
from core.rounds import gateway, measure
from core.rounds.messages import Batch, Results
from core.settings import Settings
from handlers.functions.queues import Delivery, Message
from infra import aws, logs

log = logging.getLogger("pinglet.prober")

SENDING = timedelta(seconds=5)
"""So much of the function's time is kept for sending what was found."""

warm_settings = cache(Settings.from_env)


class Context(Protocol):
    """What Lambda says of an invocation."""

    def get_remaining_time_in_millis(self) -> int:
        """Return how long the function may still run."""


def probe(event: object, context: Context) -> dict[str, Any]:
    """Measure the batches of one SQS event and send what was found to the result queue.

    It ends within its time: what couldn't be measured by then is sent as unobserved. Returns the
    messages that are to come again. Raises WrongRequest for an event that isn't SQS's.
    """
    logs.configure(context)
    remaining = timedelta(milliseconds=context.get_remaining_time_in_millis())
    now = going_on_from(utc_now())
    return Prober(warm_settings(), now() + remaining - SENDING, now).answer(event)


@dataclass(frozen=True, slots=True)
class Prober:
    """Answers an event; measures until `ends` at the latest."""

    settings: Settings
    ends: datetime
    now: Now = utc_now

    def answer(self, event: object) -> dict[str, Any]:
        """Do what `probe` says."""
        delivery = Delivery(event, Batch.read)
        in_order = sorted(delivery.messages, key=_round_of)
        for _, messages in groupby(in_order, _round_of):
            self._probe(delivery, list(messages))
        return delivery.reply()

    def _probe(self, delivery: Delivery[Batch], messages: Sequence[Message[Batch]]) -> None:
        """Probe some batches of one round together, so that they wait for echoes together.

        If that fails, each by itself: then only the one that is to blame fails.
        """
        try:
            self._measure_and_send([message.body for message in messages])
        except Unavailable as error:
            for message in messages:
                delivery.fail(message, error)
        except Exception as error:  # pylint: disable=broad-exception-caught
            # Whatever is wrong with one message must not hurt its neighbours.
            if len(messages) == 1:
                log.exception("can't measure a batch")
                delivery.fail(messages[0], repr(error))
                return
            for message in messages:
                self._probe(delivery, [message])

    def _measure_and_send(self, batches: Sequence[Batch]) -> None:
        started = time.monotonic()
        found = self.measure(batches)
        if found.pings or found.unobserved:
            aws.send(self.settings.result_queue_url, list(found.texts()))
        _report(batches, found, time.monotonic() - started)

    def measure(self, batches: Sequence[Batch]) -> Results:
        """Measure one round's batches; a server that is in several is measured once."""
        slot, deadline = _identity(batches[0])
        by_id = {target.server_id: target for batch in batches for target in batch.targets}
        targets = list(by_id.values())
        budget_s = (min(deadline, self.ends) - self.now()).total_seconds()
        if budget_s <= 0:
            return Results(slot, [], [measure.too_late(target) for target in targets])
        how = replace(measure.pace(self.settings), budget_s=budget_s)
        measured = measure.measure_blocking(targets, how, gateway.witnesses(self.settings))
        measured = measure.in_time(measured, slot, self.now())
        return Results(slot, measured.pings, measured.unobserved, heard=measured.heard)


def _identity(batch: Batch) -> tuple[datetime, datetime]:
    return batch.slot, batch.deadline


def _round_of(message: Message[Batch]) -> tuple[datetime, datetime]:
    return _identity(message.body)


def _report(batches: Sequence[Batch], found: Results, duration_s: float) -> None:
    refused = [reason for batch in batches for reason in batch.refused]
    for reason in refused:
        log.error("can't read a target: %s", reason)
    reasons = Counter(lost.detail for lost in found.unobserved)
    log.info(
        "%s: measured %d, unobserved: %s",
        iso(found.slot),
        len(found.pings),
        dict(reasons),
        extra=logs.figures(
            batches=len(batches),
            billed_ms=round(1000 * duration_s),
        ),
    )
