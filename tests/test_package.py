"""The packages, unpacked in an empty folder, run as Lambda runs them: all four kinds of event."""

import json
import os
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer

from benchmarks.cold_start import get
from benchmarks.lambda_runtime import Runtime
from core import slots
from core.checks.records import Probe, Target
from core.clock import utc_now
from core.rounds.messages import Batch, Results
from core.settings import Settings
from infra import build
from infra.database import Database
from tests.cloud import REGION, event_of
from tests.infra.npm import need_tools
from tests.infra.rows import add_many, rows_in
from tests.local_cloud import ARCHITECTURES

pytestmark = [
    pytest.mark.xdist_group("npm"),
    pytest.mark.skipif(
        f"{sys.version_info[0]}.{sys.version_info[1]}" != build.PYTHON,
        reason=f"the packages are for Python {build.PYTHON}, which is tested as well",
    ),
]

Start = Callable[[str, str], Runtime]


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Both packages for this machine."""
    need_tools()
    return build.build(ARCHITECTURES[os.uname().machine], tmp_path_factory.mktemp("packages"))


@pytest.fixture(scope="module")
def cloud_url() -> Iterator[str]:
    """SQS on loopback."""
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    yield f"http://127.0.0.1:{server.get_host_and_port()[1]}"
    server.stop()


@pytest.fixture
def sqs(cloud_url: str) -> Any:
    """A client of it."""
    return boto3.client(
        "sqs",
        endpoint_url=cloud_url,
        region_name=REGION,
        aws_access_key_id="x",
        aws_secret_access_key="x",
    )


@pytest.fixture
def start(
    packages: list[Path], cloud_url: str, sqs: Any, postgres_settings: Settings, tmp_path: Path
) -> Start:
    """Start a function as deployed: its package, its handler, its settings, nothing else."""
    environment = {
        "AWS_ENDPOINT_URL": cloud_url,
        "AWS_ACCESS_KEY_ID": "x",
        "AWS_SECRET_ACCESS_KEY": "x",
        "AWS_DEFAULT_REGION": REGION,
        "PINGLET_ALLOW_LOOPBACK": "1",
        "PINGLET_ALLOW_PRIVATE": "1",
    }
    for variable, name in (
        ("PINGLET_BATCH_QUEUE_URL", "batches"),
        ("PINGLET_RESULT_QUEUE_URL", "results"),
    ):
        environment[variable] = sqs.create_queue(QueueName=name)["QueueUrl"]

    def start(package: str, handler: str) -> Runtime:
        settings = dict(environment)
        if package == "pinglet.zip":
            settings["DATABASE_URL"] = postgres_settings.database_url
        path = next(built for built in packages if built.name == package)
        return Runtime(path, tmp_path / handler, handler, settings)

    return start


def received(sqs: Any, name: str) -> str:
    """Take the one message off a queue."""
    url = sqs.get_queue_url(QueueName=name)["QueueUrl"]
    (message,) = sqs.receive_message(QueueUrl=url)["Messages"]
    sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    body: str = message["Body"]
    return body


def test_the_api_answers_a_request_and_an_event_that_is_none(start: Start) -> None:
    with start("pinglet.zip", "handlers.functions.api.handler") as api:
        answer = api.invoke(get())
        assert answer.value["statusCode"] == 401  # nobody without a token on Lambda
        assert json.loads(answer.value["body"]) == {"status": "UNAUTHORIZED"}
        assert api.invoke({"Records": []}).value["statusCode"] == 400


def test_a_round_goes_through_the_three_functions_as_packed(
    start: Start, sqs: Any, postgres_settings: Settings, accepting: tuple[str, int]
) -> None:
    database = Database(postgres_settings)
    ip, port = accepting
    (server_id,) = add_many(database, ["web"], ip, probe=Probe.TCP, port=port)
    slot = slots.slot_of(utc_now())
    with start("pinglet.zip", "handlers.functions.schedule.schedule") as schedule:
        sent = schedule.invoke({"time": slot.isoformat()})
    assert (sent.failed, sent.value["batches"]) == (False, 1)
    batch = received(sqs, "batches")
    assert Batch.read(batch).targets == [Target(server_id, ip, Probe.TCP, port)]
    with start("prober.zip", "handlers.functions.probe.probe") as probe:
        assert probe.invoke(event_of(batch)).value == {"batchItemFailures": []}
    results = received(sqs, "results")
    assert [ping.received for ping in Results.read(results).pings] == [4]
    with start("pinglet.zip", "handlers.functions.record.record") as record:
        answer = record.invoke(event_of(results, "poison"))
        assert answer.value == {"batchItemFailures": [{"itemIdentifier": "1"}]}
    assert rows_in(database, slot) == 1
    database.engine.dispose()


def test_an_event_that_is_none_is_an_error_of_the_function(start: Start) -> None:
    with start("prober.zip", "handlers.functions.probe.probe") as probe:
        answer = probe.invoke({"hello": str(datetime.now(UTC))})
        assert answer.failed
        assert answer.value["errorType"] == "WrongRequest"


def test_manage_runs_its_commands_as_packed(start: Start) -> None:
    with start("pinglet.zip", "handlers.functions.manage.handler") as manage:
        done = manage.invoke({"command": "db upgrade"}).value
        assert done["exit_code"] == 0
        assert manage.invoke({"command": "servers list"}).value["exit_code"] == 0
