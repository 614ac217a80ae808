"""What a queue brings and takes back: an event's messages, and which of them failed."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from core.errors import WrongRequest

log = logging.getLogger("pinglet.queues")

Body = TypeVar("Body")


@dataclass(frozen=True, slots=True)
class Message(Generic[Body]):
    """One message; `id` is empty where the event has none, which SQS's never are."""

    id: str
    body: Body


class Delivery(Generic[Body]):
    """The messages of one SQS event, each read by itself.

    A message that fails goes back to its queue; after as many tries as the queue allows SQS moves
    it to the dead-letter queue, under the same id, and the log says under that id why.
    Source: docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html
    """

    def __init__(self, event: object, read: Callable[[str], Body]) -> None:
        """Read the messages with `read`; those it refuses have failed. Raises WrongRequest."""
        self._failed: dict[str, str] = {}  # id -> reason
        self.messages: list[Message[Body]] = []
        for record in _records(event):
            self._take(record, read)

    def _take(self, record: object, read: Callable[[str], Body]) -> None:
        fields = record if isinstance(record, dict) else {}
        given_id = fields.get("messageId")
        message_id = given_id if isinstance(given_id, str) else ""
        try:
            body = read(_text(fields.get("body")))
        except WrongRequest as error:
            self._fail(message_id, f"can't be read: {error}")
        else:
            self.messages.append(Message(message_id, body))

    def fail(self, message: Message[Body], reason: object) -> None:
        """Have the queue keep `message`."""
        self._fail(message.id, str(reason))

    def _fail(self, message_id: str, reason: str) -> None:
        log.error(
            "message %s failed: %s",
            message_id or "(without an id)",
            reason,
            extra={"fields": {"message_id": message_id, "reason": reason}},
        )
        self._failed[message_id] = reason

    def reply(self) -> dict[str, Any]:
        """Return which messages the queue is to keep (ReportBatchItemFailures).

        Raises WrongRequest if one of them has no id: the whole event then comes again.
        """
        if "" in self._failed:
            raise WrongRequest("a message without an id failed")
        return {"batchItemFailures": [{"itemIdentifier": failed} for failed in self._failed]}


def _records(event: object) -> list[Any]:
    records = event.get("Records") if isinstance(event, dict) else None
    if not isinstance(records, list):
        raise WrongRequest("expected an SQS event with Records")
    return records


def _text(body: object) -> str:
    if not isinstance(body, str):
        raise WrongRequest("a message's body must be text")
    return body
