"""The functions of the deploy, called by their old names as Lambda calls them.

Run as a process of its own, whose standard output is what CloudWatch would get.
"""

import json
import sys
from datetime import datetime
from importlib import import_module
from typing import Any

import boto3
from moto import mock_aws

from tests.pins.world import stopped

REGION = "eu-central-1"


class Context:
    """What Lambda says of an invocation."""

    function_name = "pinglet-pins"
    aws_request_id = "11111111-2222-3333-4444-555555555555"

    def get_remaining_time_in_millis(self) -> int:
        """Return how long the function may still run."""
        return 30_000


def main() -> None:
    """Call what standard input says; print replies, and what was sent to queues, behind a mark."""
    with mock_aws():
        sqs = boto3.client("sqs", region_name=REGION)
        for name in ("batches", "results"):
            sqs.create_queue(QueueName=name)
        for name, event, moment in json.load(sys.stdin):
            print(f"## {name}", flush=True)
            with stopped(datetime.fromisoformat(moment)):
                print("reply:", json.dumps(_call(name, event)), flush=True)
            for queue in ("batches", "results"):
                for text in sorted(_drained(sqs, queue)):
                    print(f"sent to {queue}: {text}", flush=True)


def _call(name: str, event: object) -> Any:
    module, _, function = name.rpartition(".")
    try:
        return getattr(import_module(module), function)(event, Context())
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def _drained(sqs: Any, name: str) -> list[str]:
    url = sqs.get_queue_url(QueueName=name)["QueueUrl"]
    found = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", [])
    for message in found:
        sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    return [message["Body"] for message in found]


if __name__ == "__main__":
    main()
