"""What the handlers are driven with: SQS by moto, and Lambda's part played by hand."""

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import boto3
import pytest
from moto import mock_aws

from infra import aws

REGION = "eu-central-1"
Handler = Callable[[object], dict[str, Any]]


class Queue:
    """A queue and its dead letters; messages come back at once when they aren't acknowledged."""

    def __init__(self, name: str, max_receive_count: int = 5) -> None:
        self.sqs = boto3.client("sqs", region_name=REGION)
        self.dead_url = self.sqs.create_queue(QueueName=f"{name}-dead")["QueueUrl"]
        dead_arn = self._arn(self.dead_url)
        policy = json.dumps({"deadLetterTargetArn": dead_arn, "maxReceiveCount": max_receive_count})
        self.url: str = self.sqs.create_queue(
            QueueName=name, Attributes={"RedrivePolicy": policy, "VisibilityTimeout": "0"}
        )["QueueUrl"]

    def _arn(self, url: str) -> str:
        reply = self.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
        arn: str = reply["Attributes"]["QueueArn"]
        return arn

    def receive(self, url: str = "") -> list[dict[str, Any]]:
        """Take up to ten messages; they come again unless they are deleted."""
        reply = self.sqs.receive_message(QueueUrl=url or self.url, MaxNumberOfMessages=10)
        messages: list[dict[str, Any]] = reply.get("Messages", [])
        return messages

    def delete(self, message: dict[str, Any]) -> None:
        """Take a received message off the queue."""
        self.sqs.delete_message(QueueUrl=self.url, ReceiptHandle=message["ReceiptHandle"])

    def send(self, text: str) -> None:
        """Put a message on it."""
        self.sqs.send_message(QueueUrl=self.url, MessageBody=text)

    def drain(self, handler: Handler) -> list[dict[str, Any]]:
        """Deliver until nothing is left but dead letters; return the handler's replies."""
        replies = []
        while messages := self.receive():
            reply = handler(sqs_event(messages))
            kept = {failure["itemIdentifier"] for failure in reply["batchItemFailures"]}
            for message in messages:
                if message["MessageId"] not in kept:
                    self.delete(message)
            replies.append(reply)
        return replies

    def texts(self) -> list[str]:
        """Take all messages off it."""
        found: list[str] = []
        self.drain(lambda event: _keep_texts(event, found))
        return found

    def dead_letters(self) -> list[dict[str, Any]]:
        """Return up to ten of its dead letters."""
        return self.receive(self.dead_url)


def _keep_texts(event: Any, found: list[str]) -> dict[str, Any]:
    found += [record["body"] for record in event["Records"]]
    return {"batchItemFailures": []}


def sqs_event(messages: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the event that Lambda makes of received messages."""
    return {
        "Records": [
            {
                "messageId": message["MessageId"],
                "receiptHandle": message.get("ReceiptHandle", ""),
                "body": message["Body"],
                "attributes": {},
                "messageAttributes": {},
                "eventSource": "aws:sqs",
                "awsRegion": REGION,
            }
            for message in messages
        ]
    }


def event_of(*texts: str) -> dict[str, Any]:
    """Return an event that brings these messages; their ids are "0", "1" and so on."""
    return sqs_event([{"MessageId": str(n), "Body": text} for n, text in enumerate(texts)])


def failed(reply: dict[str, Any]) -> list[str]:
    """Return the ids that a handler gave back."""
    return [failure["itemIdentifier"] for failure in reply["batchItemFailures"]]


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A cloud of our own in this process: nothing leaves it."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    with mock_aws():
        aws._client.cache_clear()
        yield
    aws._client.cache_clear()


class Context:
    """What Lambda says of an invocation."""

    function_name = "pinglet-test"
    aws_request_id = "11111111-2222-3333-4444-555555555555"

    def __init__(self, remaining_ms: int = 30_000) -> None:
        self.remaining_ms = remaining_ms

    def get_remaining_time_in_millis(self) -> int:
        """Return how long the function may still run."""
        return self.remaining_ms
