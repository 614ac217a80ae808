"""What we ask of AWS: put messages on a queue, read a secret.

boto3 takes longer to import than everything else a request needs, so only who asks pays for it.
"""

import logging
import random
import time
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

from core.errors import Unavailable
from infra import patience

log = logging.getLogger("pinglet.aws")

SEND_COUNT = 10  # entries of one SendMessageBatch at most
SEND_BYTES = 250_000  # all entries of one SendMessageBatch together, a little below SQS's 262,144
ATTEMPTS = 5
Entry = dict[str, str]


def send(queue_url: str, texts: Sequence[str], pause_s: float = 0.1) -> None:
    """Put messages on a queue, ten in a request; ASCII, each at most SEND_BYTES long.

    Entries that SQS didn't take are sent again, up to ATTEMPTS times, after up to `pause_s` and
    twice that for each further attempt. Raises Unavailable when some are still not taken: others
    then are, so a caller that starts over sends those twice. Source: Amazon SQS API Reference,
    SendMessageBatch ("you should check for batch errors even when the call returns 200").
    """
    for entries in _requests(texts):
        _send_stubbornly(queue_url, entries, pause_s)


def read_secret(arn: str, timeout_s: float) -> str:
    """Return a secret's text. Raises Unavailable."""

    def read() -> str:
        text: str = _client("secretsmanager").get_secret_value(SecretId=arn)["SecretString"]
        return text

    try:
        # Names, addresses, credentials and attempts each have a time-out there, their sum has none.
        return patience.within(timeout_s, ("secret", arn), read)
    except TimeoutError as error:
        raise Unavailable(f"can't read the secret {arn}: no answer in {timeout_s:.1f} s") from error
    except _errors() as error:
        raise Unavailable(f"can't read the secret {arn}: {error}") from error


def _requests(texts: Sequence[str]) -> Iterator[list[Entry]]:
    entries: list[Entry] = []
    length = 0
    for number, text in enumerate(texts):
        if entries and (len(entries) == SEND_COUNT or length + len(text) > SEND_BYTES):
            yield entries
            entries, length = [], 0
        entries.append({"Id": str(number), "MessageBody": text})
        length += len(text)
    if entries:
        yield entries


def _send_stubbornly(queue_url: str, entries: list[Entry], pause_s: float) -> None:
    for attempt in range(ATTEMPTS):
        if attempt:
            time.sleep(random.uniform(0, pause_s * 2**attempt))  # noqa: S311 (spreads load)
        refusals = _send_once(queue_url, entries)
        if not refusals:
            return
        log.warning("SQS didn't accept %d messages: %s", len(refusals), refusals)
        entries = [entry for entry in entries if entry["Id"] in refusals]
    raise Unavailable(f"{queue_url} didn't accept {len(entries)} messages")


def _send_once(queue_url: str, entries: list[Entry]) -> dict[str, str]:
    """Return the ids of the entries that weren't taken, and why."""
    try:
        reply = _client("sqs").send_message_batch(QueueUrl=queue_url, Entries=entries)
    except _errors() as error:
        return {entry["Id"]: str(error) for entry in entries}
    return {failed["Id"]: failed.get("Code", "") for failed in reply.get("Failed", [])}


@cache
def _client(service: str) -> Any:
    import boto3
    from botocore.config import Config

    # The defaults wait a minute for a connection, longer than a round lasts; and attempts of the
    # client's own would multiply ours.
    waits = Config(connect_timeout=2, read_timeout=3, retries={"total_max_attempts": 1})
    return boto3.client(service, config=waits)


def _errors() -> tuple[type[Exception], ...]:
    from botocore.exceptions import (
        BotoCoreError,
        ClientError,
    )

    return BotoCoreError, ClientError
