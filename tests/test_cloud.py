"""End to end: deployed into a cloud on this machine, used by real HTTP clients, removed.

One cloud is enough, so these tests go on from where the one before has ended.
"""

import json
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests
from playwright.sync_api import Page, expect, sync_playwright

from core.clock import utc_now
from infra import build
from tests import local_cloud
from tests.browser import steps
from tests.browser.conftest import launch, need_chromium
from tests.local_cloud import LocalCloud

pytestmark = [
    pytest.mark.xdist_group("npm"),
    pytest.mark.skipif(
        f"{sys.version_info[0]}.{sys.version_info[1]}" != build.PYTHON,
        reason=f"what is deployed runs on Python {build.PYTHON}, which is tested as well",
    ),
]

WEB = {"server": {"name": "web", "IP": "127.0.0.1"}}
PATIENCE_S = 250  # a round comes within a minute


@pytest.fixture(scope="module")
def cloud() -> Iterator[LocalCloud]:
    """A cloud without anything of ours in it."""
    with LocalCloud() as running:
        yield running


@pytest.fixture(scope="module")
def access(cloud: LocalCloud) -> dict[str, str]:
    """How to get into what is deployed."""
    return local_cloud.prepare(cloud)


@pytest.fixture(scope="module")
def call(access: dict[str, str]) -> "Client":
    """A client of the contract with an admin's token."""
    return Client(access["api"], access["token"])


@pytest.fixture(scope="module")
def page(access: dict[str, str]) -> Iterator[Page]:
    """A page of a real browser."""
    need_chromium()
    with sync_playwright() as playwright, launch(playwright) as started:
        yield started.new_page()


class Client:
    """A client with a token."""

    def __init__(self, url: str, token: str) -> None:
        self.url = url
        self.headers = {"Authorization": f"Bearer {token}"} if token else {}

    def __call__(self, method: str, body: object = None, query: str = "") -> tuple[int, Any]:
        reply = requests.request(
            method, self.url + query, json=body, headers=self.headers, timeout=250
        )
        return reply.status_code, reply.json()


def wait_for(happened: Callable[[], Any], cloud: LocalCloud) -> Any:
    """Look again and again until something is there; what happens in a cloud tells nobody."""
    give_up = time.monotonic() + PATIENCE_S
    while not (found := happened()):
        assert time.monotonic() < give_up, cloud.log()[-5000:]
        time.sleep(0.5)
    return found


def add_by_hand(page: Page, access: dict[str, str]) -> None:
    """Log in and add a server, as somebody does who has just deployed."""
    page.goto(f"{access['site']}/dashboard")
    page.get_by_label("Name").fill(access["user"])
    page.get_by_label("Password").fill(access["password"])
    page.get_by_role("button", name="Log in").click()
    expect(page.locator("#who")).to_have_text(access["user"])
    page.goto(f"{access['site']}/dashboard/add")
    form = page.locator("#one")
    form.get_by_label("Name").fill("by hand")
    form.get_by_label("IPv4 address").fill("127.0.0.3")
    form.get_by_role("button", name="Add").click()
    expect(page.locator("#toasts")).to_have_text("Added by hand")


def see_its_ping(page: Page, access: dict[str, str]) -> None:
    """Find the server and its ping in the list, then its chart, drawn by our own Chart.js."""
    page.goto(f"{access['site']}/dashboard")
    row = page.locator("#servers tbody tr").filter(has_text="by hand")
    expect(row).to_contain_text("up", timeout=1000 * PATIENCE_S)  # the page looks by itself
    expect(row).to_contain_text(" ms")
    with page.expect_response(f"{access['site']}/static/lib/*/chart.js") as loaded:
        row.get_by_role("link", name="by hand").click()
    assert loaded.value.status == 200
    expect(page.locator("#figures .tile")).to_have_count(6)
    expect(page.locator("#window")).to_have_attribute("data-minutes", "1440")  # it is drawn
    assert steps.ink(page, "#chart")[0] > 0


def deployed(cloud: LocalCloud) -> dict[str, Any]:
    """Return what stands in the cloud: code and settings of functions, queues, mappings."""
    functions = cloud.client("lambda").list_functions()["Functions"]
    mappings = cloud.client("lambda").list_event_source_mappings()["EventSourceMappings"]
    return {
        "functions": {
            one["FunctionName"]: (one["CodeSha256"], one["Environment"], one["Timeout"])
            for one in functions
        },
        "queues": cloud.client("sqs").list_queues()["QueueUrls"],
        "mappings": sorted((one["UUID"], one["BatchSize"]) for one in mappings),
        "api": cloud.api,
    }


def pings(call: Client) -> list[dict[str, float]]:
    """Return the pings of the server "web"."""
    code, found = call("GET", {"server": "web"})
    assert code == 200
    return found["pings"]


def a_minute_begins(cloud: LocalCloud) -> None:
    """Do what EventBridge does once a minute, without waiting for it."""
    events = cloud.client("events")
    (name,) = [
        rule["Name"]
        for rule in events.list_rules()["Rules"]
        if rule["ScheduleExpression"] == "rate(1 minute)" and rule["State"] == "ENABLED"
    ]
    (target,) = events.list_targets_by_rule(Rule=name)["Targets"]
    event = json.dumps({"time": f"{utc_now():%Y-%m-%dT%H:%M:%SZ}"})
    done = cloud.client("lambda").invoke(FunctionName=target["Arn"], Payload=event)
    assert "FunctionError" not in done


def test_the_contract_holds_and_nobody_gets_in_without_a_token(
    access: dict[str, str], call: Client
) -> None:
    assert Client(access["api"], "")("GET") == (401, {"status": "UNAUTHORIZED"})
    assert call("POST", WEB) == (201, {"status": "CREATED"})
    assert call("POST", WEB) == (409, {"status": "NAME_ALREADY_EXIST"})
    assert call("PUT", WEB) == (200, {"status": "UPDATED"})
    assert call("GET") == (200, {"servers": ["web"]})
    assert call("POST", {"server": {"name": "gone", "IP": "127.0.0.2"}})[0] == 201
    assert call("DELETE", {"server": "gone"}) == (200, {"status": "DELETED"})
    assert call("GET", {"server": "gone"}) == (404, {"status": "NAME_DID_NOT_FOUND"})
    assert call("POST", {"server": "nonsense"}) == (400, {"status": "WRONG_REQUEST"})


def test_a_server_is_added_by_hand(access: dict[str, str], page: Page) -> None:
    add_by_hand(page, access)


def test_a_second_deploy_changes_nothing_and_there_is_none_of_a_function_alone(
    cloud: LocalCloud, call: Client
) -> None:
    before = deployed(cloud)
    cloud.deploy()
    assert deployed(cloud) == before
    with pytest.raises(AssertionError, match="Pinglet is deployed whole"):
        cloud.deploy("function", "--function", "schedule")
    assert deployed(cloud) == before
    assert call("GET") == (200, {"servers": ["web", "by hand"]})


def test_what_can_not_be_read_ends_among_the_dead_letters(cloud: LocalCloud, call: Client) -> None:
    # SQS would wait a quarter of an hour for that.
    sqs, queue = cloud.client("sqs"), cloud.queue("BatchQueue")
    sqs.set_queue_attributes(QueueUrl=queue, Attributes={"VisibilityTimeout": "1"})
    sqs.send_message(QueueUrl=queue, MessageBody="poison")

    def dead() -> Any:
        letters = sqs.receive_message(QueueUrl=cloud.queue("BatchDeadLetters"))
        return letters.get("Messages")

    (letter,) = wait_for(dead, cloud)
    assert letter["Body"] == "poison"
    assert f"message {letter['MessageId']} failed: can't be read" in cloud.log()


def test_a_minute_brings_pings_through_schedule_probe_and_record(
    cloud: LocalCloud, access: dict[str, str], call: Client, page: Page
) -> None:
    a_minute_begins(cloud)
    first, *_ = wait_for(lambda: pings(call), cloud)
    ((slot, response_ms),) = first.items()
    assert slot.endswith(":00Z")
    assert response_ms > 0
    code, by_query = call("GET", query="?server=web")
    assert (code, by_query["server"]) == (200, "web")
    see_its_ping(page, access)
    assert "web\t127.0.0.1\tup" in cloud.manage("servers", "list")


@pytest.mark.slow
def test_pings_come_by_themselves(cloud: LocalCloud, call: Client) -> None:
    """A minute later: the rule's target, which is all that has to do with us, is tried above."""
    before = len(pings(call))
    wait_for(lambda: len(pings(call)) > before, cloud)


def test_a_removal_leaves_nothing(cloud: LocalCloud, call: Client) -> None:
    assert call("GET")[0] == 200
    cloud.remove()
    assert cloud.client("lambda").list_functions()["Functions"] == []
    assert cloud.client("sqs").list_queues().get("QueueUrls", []) == []
