"""The round's end on AWS: results in."""

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Any

from core.clock import Now, utc_now
from core.errors import Unavailable, WrongRequest
from core.reading import iso
from core.rounds.measure import Measured
from core.rounds.messages import Results
from core.slots import AHEAD
from handlers.functions.queues import Delivery, Message
from handlers.functions.warm import warm_instance
from handlers.worker.rounds import announce, store
from infra import logs
from infra.database import Database

log = logging.getLogger("pinglet.worker")


def record(event: object, context: object) -> dict[str, Any]:
    """Record the results in one SQS event; return the messages that are to come again.

    Order, duplicates and lateness don't matter. Raises WrongRequest for an event that isn't SQS's.
    """
    logs.configure(context)
    return Recorder(warm_instance().database).answer(event)


@dataclass(frozen=True, slots=True)
class Recorder:
    """Answers an event of the result queue."""

    database: Database
    now: Now = utc_now

    def answer(self, event: object) -> dict[str, Any]:
        """Do what `record` says."""
        delivery = Delivery(event, self._read)
        in_order = sorted(delivery.messages, key=_seen_alike)
        try:
            for (slot, _), messages in groupby(in_order, _seen_alike):
                self._store(delivery, slot, list(messages))
        except Unavailable as error:
            # It won't be there for the other slots either. What is stored already may come again.
            for message in delivery.messages:
                delivery.fail(message, error)
        return delivery.reply()

    def _read(self, text: str) -> Results:
        results = Results.read(text)
        if results.slot > self.now() + AHEAD:
            raise WrongRequest("slot must not be in the future", got=iso(results.slot))
        return results

    def _store(
        self, delivery: Delivery[Results], slot: datetime, messages: Sequence[Message[Results]]
    ) -> None:
        """Store one slot's results in one transaction; if they can't be, each in its own.

        So a message that the database will never take fails alone, and goes to the dead letters.
        """
        by_server = {
            (ping.server_id, ping.ip): ping for message in messages for ping in message.body.pings
        }
        lost = {entry.server_id: entry for message in messages for entry in message.body.unobserved}
        try:
            found = Measured(list(by_server.values()), list(lost.values()), _heard(messages))
            recorded = store(self.database, slot, found, self.now())
        except Unavailable:
            raise
        except Exception as error:  # pylint: disable=broad-exception-caught
            # Whatever is wrong with one message must not hurt its neighbours.
            if len(messages) == 1:
                log.exception("can't store results")
                delivery.fail(messages[0], repr(error))
                return
            for message in messages:
                self._store(delivery, slot, [message])
        else:
            announce(self.database, slot)
            _report(slot, [message.body for message in messages], recorded, self.now())


def _seen_alike(message: Message[Results]) -> tuple[datetime, bool]:
    """By slot, and by whether its prober heard one of its witnesses."""
    return message.body.slot, any(message.body.heard.values())


def _heard(messages: Sequence[Message[Results]]) -> dict[str, bool]:
    every = [one for message in messages for one in message.body.heard.items()]
    return {ip: (ip, True) in every for ip, _ in every}


def _report(slot: datetime, results: Sequence[Results], recorded: int, now: datetime) -> None:
    refused = [reason for result in results for reason in result.refused]
    for reason in refused:
        log.error("can't read a ping: %s", reason)
    lost = [lost for result in results for lost in result.unobserved]
    log.info(
        "recorded %s, unobserved: %s",
        iso(slot),
        dict(Counter(entry.detail for entry in lost)),
        extra=logs.figures(
            observed=recorded,
            unobserved=len(lost) + len(refused),
            lag_s=(now - slot).total_seconds(),
        ),
    )
