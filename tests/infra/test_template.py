"""Across serverless.yml and what it names: what would be deployed, held to policy.py."""

import copy
import importlib
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from core.settings import Settings
from infra import build
from tests.infra import policy
from tests.infra.npm import ROOT, need_tools, serverless
from tests.pins import packages as pinned
from tests.pins.packages import CHOICES

pytestmark = pytest.mark.xdist_group("npm")  # one packs at a time: they share a folder

Template = dict[str, Any]


@pytest.fixture(scope="session")
def templates(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Path]]:
    """The generated template of each choice of database."""
    need_tools()
    made = {}
    for name in ("pinglet.zip", "prober.zip"):
        package = ROOT / "build" / name
        if not package.exists():  # what is in it doesn't matter here; that is tested below
            package.parent.mkdir(exist_ok=True)
            package.write_bytes(b"")
            made[name] = package
    found = {}
    for choice, more in CHOICES.items():
        folder = tmp_path_factory.mktemp(choice)
        parameters = ("--param", f"database={choice}", *more)
        serverless("package", "--stage", "prod", "--package", str(folder), *parameters)
        found[choice] = folder / "cloudformation-template-update-stack.json"
    yield found
    for package in made.values():
        package.unlink()


@pytest.fixture(params=list(CHOICES))
def template(request: pytest.FixtureRequest, templates: dict[str, Path]) -> Template:
    """A template of our own to look at and to break."""
    loaded: Template = json.loads(templates[request.param].read_text())
    return loaded


def test_cfn_lint_has_nothing_to_say(templates: dict[str, Path]) -> None:
    command = [str(Path(sys.executable).parent / "cfn-lint"), *map(str, templates.values())]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize("choice", CHOICES)
def test_the_template_is_the_one_that_is_kept(templates: dict[str, Path], choice: str) -> None:
    assert pinned.template(templates[choice]) == pinned.kept(f"template-{choice}.json")


def test_every_rule_is_kept(template: Template) -> None:
    assert policy.violations(template) == []


def properties(template: Template, name: str) -> Any:
    return template["Resources"][name]["Properties"]


def statement(template: Template, role: str, number: int = 0) -> Any:
    return properties(template, role)["Policies"][0]["PolicyDocument"]["Statement"][number]


Break = Callable[[Template], Any]
BREAKS: list[tuple[str, Break]] = [
    ("no_wildcards", lambda t: statement(t, "ApiRole").update(Resource="*")),
    ("no_wildcards", lambda t: statement(t, "RecordRole", 1).update(Action="sqs:*")),
    ("no_wildcards", lambda t: statement(t, "ProbeRole").update(NotAction="iam:PassRole")),
    (
        "a_role_for_each_function",
        lambda t: properties(t, "RecordLambdaFunction").update(
            Role={"Fn::GetAtt": ["ApiRole", "Arn"]}
        ),
    ),
    (
        "a_role_for_each_function",
        lambda t: properties(t, "ProbeRole").update(
            ManagedPolicyArns=["arn:aws:iam::aws:policy/AdministratorAccess"]
        ),
    ),
    (
        "the_prober_sees_no_database",
        lambda t: properties(t, "ProbeLambdaFunction").update(VpcConfig={}),
    ),
    (
        "the_prober_sees_no_database",
        lambda t: properties(t, "ProbeLambdaFunction")["Environment"]["Variables"].update(
            DATABASE_URL="{{resolve:secretsmanager:x}}"
        ),
    ),
    (
        "the_prober_sees_no_database",
        lambda t: statement(t, "ProbeRole", 1).update(Resource={"Ref": "DatabaseSecret"}),
    ),
    ("queues_lose_nothing", lambda t: properties(t, "ResultQueue").pop("RedrivePolicy")),
    (
        "queues_lose_nothing",
        lambda t: properties(t, "BatchQueue")["RedrivePolicy"].update(maxReceiveCount=4),
    ),
    ("queues_lose_nothing", lambda t: properties(t, "BatchQueue").pop("SqsManagedSseEnabled")),
    (
        "queues_lose_nothing",
        lambda t: properties(t, "BatchDeadLetters").update(MessageRetentionPeriod=60),
    ),
    ("queues_speak_tls_only", lambda t: t["Resources"].pop("ResultDeadLettersPolicy")),
    (
        "queues_speak_tls_only",
        lambda t: properties(t, "BatchQueuePolicy")["PolicyDocument"]["Statement"][0].update(
            Effect="Allow"
        ),
    ),
    (
        "messages_stay_hidden_long_enough",
        lambda t: properties(t, "ResultQueue").update(VisibilityTimeout=300),
    ),
    (
        "messages_stay_hidden_long_enough",
        lambda t: properties(t, "RecordEventSourceMappingSQSResultQueue").pop(
            "FunctionResponseTypes"
        ),
    ),
    (
        "messages_stay_hidden_long_enough",
        lambda t: properties(t, "ProbeEventSourceMappingSQSBatchQueue").pop("ScalingConfig"),
    ),
    (
        "a_late_round_is_dropped",
        lambda t: properties(t, "EveryMinute")["Targets"][0].pop("RetryPolicy"),
    ),
    ("a_late_round_is_dropped", lambda t: t["Resources"].pop("ScheduleLambdaEvConf")),
    (
        "manage_is_not_on_the_web",
        lambda t: properties(t, "HttpApiIntegrationApi").update(
            IntegrationUri={"Fn::GetAtt": ["ManageLambdaFunction", "Arn"]}
        ),
    ),
    (
        "manage_is_not_on_the_web",
        lambda t: t["Resources"].update(Url={"Type": "AWS::Lambda::Url", "Properties": {}}),
    ),
    ("logs_end", lambda t: properties(t, "ApiLogGroup").pop("RetentionInDays")),
    (
        "no_public_database",
        lambda t: t["Resources"].update(
            Extra={
                "Type": "AWS::RDS::DBInstance",
                "DeletionPolicy": "Snapshot",
                "Properties": {
                    "PubliclyAccessible": True,
                    "StorageEncrypted": True,
                    "DeletionProtection": True,
                    "BackupRetentionPeriod": 7,
                },
            }
        ),
    ),
    (
        "no_password_in_the_template",
        lambda t: properties(t, "ApiLambdaFunction")["Environment"]["Variables"].update(
            DATABASE_URL="postgres://pinglet:secret@db/pinglet"
        ),
    ),
]
RDS_BREAKS: list[tuple[str, Break]] = [
    ("no_public_database", lambda t: properties(t, "Database").update(PubliclyAccessible=True)),
    ("no_public_database", lambda t: properties(t, "Database").pop("StorageEncrypted")),
    ("no_public_database", lambda t: properties(t, "Database").pop("BackupRetentionPeriod")),
    ("no_public_database", lambda t: t["Resources"]["Database"].pop("DeletionPolicy")),
    (
        "no_public_database",
        lambda t: properties(t, "DatabaseGroup")["SecurityGroupIngress"][0].update(
            CidrIp="0.0.0.0/0"
        ),
    ),
    (
        "no_public_database",
        lambda t: t["Resources"].update(Nat={"Type": "AWS::EC2::NatGateway"}),
    ),
    (
        "no_password_in_the_template",
        lambda t: properties(t, "Database").update(MasterUserPassword="secret"),
    ),
    (
        "tls_to_the_database",
        lambda t: properties(t, "DatabaseParameters")["Parameters"].pop("rds.force_ssl"),
    ),
    (
        "tls_to_the_database",
        lambda t: properties(t, "ApiLambdaFunction")["Environment"]["Variables"].pop(
            "PINGLET_DATABASE_CA"
        ),
    ),
    (
        "ping_now_is_refused_where_it_would_lie",
        lambda t: properties(t, "ApiLambdaFunction")["Environment"]["Variables"].pop(
            "PINGLET_PING_NOW"
        ),
    ),
    (
        "no_wildcards",
        lambda t: properties(t, "QueueEndpoint")["PolicyDocument"]["Statement"][0].update(
            Action="*"
        ),
    ),
]


@pytest.mark.parametrize(
    ("choice", "rule", "spoil"),
    [("external", *broken) for broken in BREAKS] + [("rds", *broken) for broken in RDS_BREAKS],
)
def test_each_violation_that_is_put_in_is_found(
    templates: dict[str, Path], choice: str, rule: str, spoil: Break
) -> None:
    template = json.loads(templates[choice].read_text())
    before = copy.deepcopy(template)
    spoil(template)
    assert template != before
    assert any(found.startswith(f"{rule}: ") for found in policy.violations(template))


def test_every_rule_has_a_violation_that_is_put_in() -> None:
    assert {rule for rule, _ in BREAKS + RDS_BREAKS} == {rule.__name__ for rule in policy.RULES}


def test_every_variable_that_is_deployed_is_a_setting(template: Template) -> None:
    known = {field.metadata["variable"] for field in Settings.__dataclass_fields__.values()}
    for _, function in policy.of_type(template["Resources"], "AWS::Lambda::Function"):
        assert set(function["Environment"]["Variables"]) <= known | {"STRIP_STAGE_PATH"}


def test_every_handler_that_is_deployed_is_there(template: Template) -> None:
    for _, function in policy.of_type(template["Resources"], "AWS::Lambda::Function"):
        module, _, name = function["Handler"].rpartition(".")
        assert callable(getattr(importlib.import_module(module), name))
        assert function["Runtime"] == f"python{build.PYTHON}"
