"""The queue and the secret, against SQS and Secrets Manager by moto."""

import contextlib
import json
import socket
import threading
import time
from collections.abc import Iterator
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
    assert json.loads(aws.read_secret(arn, 250)) == {"password": "p"}


@pytest.fixture
def endpoint(cloud: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """An address where AWS should be, and that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        for service in ("SECRETS_MANAGER", "SQS"):
            url = f"http://127.0.0.1:{silent.getsockname()[1]}"
            monkeypatch.setenv(f"AWS_ENDPOINT_URL_{service}", url)
        aws._client.cache_clear()
        yield silent
    aws._client.cache_clear()


def test_a_secret_that_never_comes_is_unavailable_in_time(endpoint: socket.socket) -> None:
    began = time.monotonic()
    for _ in range(2):
        with pytest.raises(Unavailable, match=r"no answer in 0\.3 s"):
            aws.read_secret("slow", 0.3)
    assert time.monotonic() - began < 5
    with contextlib.ExitStack() as held:
        endpoint.settimeout(250)
        held.callback(endpoint.accept()[0].close)
        endpoint.setblocking(False)
        with pytest.raises(BlockingIOError):  # who asked second waited for the first
            endpoint.accept()


def test_a_queue_that_hangs_up_is_tried_as_often_as_we_say(endpoint: socket.socket) -> None:
    calls = []

    def hang_up() -> None:
        with contextlib.suppress(OSError):
            while True:
                calls.append(endpoint.accept()[0].close())

    threading.Thread(target=hang_up, daemon=True).start()
    with pytest.raises(Unavailable):
        aws.send(f"http://127.0.0.1:{endpoint.getsockname()[1]}/1/q", ["text"], pause_s=0)
    assert len(calls) == aws.ATTEMPTS


def test_a_secret_that_is_not_there_is_unavailable(cloud: None) -> None:
    with pytest.raises(Unavailable, match="nowhere"):
        aws.read_secret("nowhere", 250)
