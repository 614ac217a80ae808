"""The queue and the secret, against SQS and Secrets Manager by moto."""

import json
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from core.errors import Unavailable
from infra import aws
from tests.cloud import REGION, Queue


@pytest.mark.parametrize("number", [0, 1, 10, 11, 95])
def test_messages_are_sent_once_each_in_requests_of_ten(cloud: None, number: int) -> None:
    queue = Queue("batches")
    texts = [str(n) for n in range(number)]
    aws.send(queue.url, texts)
    assert sorted(queue.texts(), key=int) == texts


def test_long_messages_are_sent_in_requests_that_sqs_takes(cloud: None) -> None:
    queue = Queue("results")
    texts = [letter * 200_000 for letter in "abc"]
    aws.send(queue.url, texts)
    assert sorted(queue.texts()) == texts


def test_an_entry_that_was_not_taken_is_sent_again_and_the_others_are_not(cloud: None) -> None:
    queue = Queue("batches")
    with Stubber(aws._client("sqs")) as stub:
        for refused in (["1"], []):
            ids = ["0", "1"] if refused else ["1"]
            stub.add_response("send_message_batch", _reply(ids, refused), _asked(queue.url, ids))
        aws.send(queue.url, ["text 0", "text 1"], pause_s=0)
        stub.assert_no_pending_responses()


def _asked(url: str, ids: list[str]) -> dict[str, Any]:
    return {
        "QueueUrl": url,
        "Entries": [{"Id": number, "MessageBody": f"text {number}"} for number in ids],
    }


def _reply(ids: list[str], refused: list[str]) -> dict[str, Any]:
    return {
        "Successful": [
            {"Id": number, "MessageId": number, "MD5OfMessageBody": ""}
            for number in ids
            if number not in refused
        ],
        "Failed": [
            {"Id": number, "Code": "InternalError", "SenderFault": False} for number in refused
        ],
    }


def test_a_queue_that_is_not_there_is_unavailable(cloud: None) -> None:
    with pytest.raises(Unavailable, match="nowhere"):
        aws.send(f"https://sqs.{REGION}.amazonaws.com/1/nowhere", ["text"], pause_s=0)


def test_a_secret_is_read(cloud: None) -> None:
    secrets = boto3.client("secretsmanager", region_name=REGION)
    arn = secrets.create_secret(Name="db", SecretString=json.dumps({"password": "p"}))["ARN"]
    assert json.loads(aws.read_secret(arn)) == {"password": "p"}


def test_a_secret_that_is_not_there_is_unavailable(cloud: None) -> None:
    with pytest.raises(Unavailable, match="nowhere"):
        aws.read_secret("nowhere")
