"""What no template of ours may hold: each rule says what breaks it."""

import json
from collections.abc import Callable, Iterator
from typing import Any

Resources = dict[str, dict[str, Any]]
Rule = Callable[[Resources], Iterator[str]]


def of_type(resources: Resources, kind: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Return name and properties of each resource of a type."""
    for name, resource in resources.items():
        if resource["Type"] == kind:
            yield name, resource.get("Properties", {})


def as_list(value: Any) -> list[Any]:
    """A policy takes one of something as well as a list."""
    return value if isinstance(value, list) else [value]


def referred(value: Any) -> str:
    """Return the name in a Ref, or in a GetAtt."""
    if isinstance(value, dict):
        return str(value.get("Ref") or value.get("Fn::GetAtt", [""])[0])
    return str(value)


def statements(resources: Resources) -> Iterator[tuple[str, dict[str, Any]]]:
    """Return every statement of every role and policy that says what may be done."""
    for name, role in of_type(resources, "AWS::IAM::Role"):
        for policy in role.get("Policies", []):
            yield from ((name, one) for one in policy["PolicyDocument"]["Statement"])
    for name, policy in of_type(resources, "AWS::IAM::Policy"):
        yield from ((name, one) for one in policy["PolicyDocument"]["Statement"])
    for name, endpoint in of_type(resources, "AWS::EC2::VPCEndpoint"):
        yield from ((name, one) for one in endpoint["PolicyDocument"]["Statement"])


def no_wildcards(resources: Resources) -> Iterator[str]:
    """What may be done is said in full, and to what."""
    for name, statement in statements(resources):
        written = json.dumps([statement.get("Action"), statement.get("Resource")])
        if "*" in written or "NotAction" in statement or "NotResource" in statement:
            yield f"{name}: {written}"


def a_role_for_each_function(resources: Resources) -> Iterator[str]:
    """No two functions share one, and the network's own policy is all that AWS adds."""
    roles = [referred(f["Role"]) for _, f in of_type(resources, "AWS::Lambda::Function")]
    if len(set(roles)) != len(roles):
        yield f"functions share a role: {roles}"
    for name, role in of_type(resources, "AWS::IAM::Role"):
        for managed in role.get("ManagedPolicyArns", []):
            if not str(managed).endswith("/AWSLambdaENIManagementAccess"):
                yield f"{name}: {managed}"


def the_prober_sees_no_database(resources: Resources) -> Iterator[str]:
    """It is in no network of ours, gets no secret, and has rights on two queues and its log."""
    probe = resources["ProbeLambdaFunction"]["Properties"]
    if "VpcConfig" in probe:
        yield "the prober is in a VPC"
    for variable, value in probe["Environment"]["Variables"].items():
        if "DATABASE" in variable or "resolve:" in json.dumps(value):
            yield f"the prober is told {variable}"
    allowed = {"BatchQueue", "ResultQueue", "ProbeLogGroup"}
    for name, statement in statements(resources):
        if (
            name == "ProbeRole"
            and not {referred(r) for r in as_list(statement["Resource"])} <= allowed
        ):
            yield f"the prober may {statement}"


def no_public_database(resources: Resources) -> Iterator[str]:
    """It is encrypted, kept when the stack goes, and reached from the functions only."""
    for name, database in of_type(resources, "AWS::RDS::DBInstance"):
        if database.get("PubliclyAccessible") is not False:
            yield f"{name} is public"
        serverless = database.get("DBInstanceClass") == "db.serverless"
        if not serverless:
            yield from _kept(name, resources[name])
    for name, _ in of_type(resources, "AWS::RDS::DBCluster"):
        yield from _kept(name, resources[name])
    for name, group in of_type(resources, "AWS::EC2::SecurityGroup"):
        for rule in group.get("SecurityGroupIngress", []):
            if "CidrIp" in rule or "CidrIpv6" in rule:
                yield f"{name} lets addresses in"
    for kind in ("AWS::EC2::InternetGateway", "AWS::EC2::NatGateway", "AWS::EC2::EIP"):
        yield from (f"{name}: a way out that isn't needed" for name, _ in of_type(resources, kind))


def _kept(name: str, resource: dict[str, Any]) -> Iterator[str]:
    properties = resource["Properties"]
    if properties.get("StorageEncrypted") is not True:
        yield f"{name} is not encrypted"
    if resource.get("DeletionPolicy") != "Snapshot" or not properties.get("DeletionProtection"):
        yield f"{name} goes with its stack"
    if not properties.get("BackupRetentionPeriod"):
        yield f"{name} has no backup"


def tls_to_the_database(resources: Resources) -> Iterator[str]:
    """RDS takes nothing else, and our side knows who signs its certificate."""
    groups = [
        *of_type(resources, "AWS::RDS::DBParameterGroup"),
        *of_type(resources, "AWS::RDS::DBClusterParameterGroup"),
    ]
    for name, group in groups:
        if group["Parameters"].get("rds.force_ssl") != "1":
            yield f"{name} allows plain text"
    for name, function in of_type(resources, "AWS::Lambda::Function"):
        variables = function["Environment"]["Variables"]
        if groups and "DATABASE_URL" in variables and "PINGLET_DATABASE_CA" not in variables:
            yield f"{name} can't verify the database"
        if "sslmode" in json.dumps(variables.get("DATABASE_URL", "")):
            yield f"{name} weakens TLS"


def no_password_in_the_template(resources: Resources) -> Iterator[str]:
    """A secret is resolved by AWS when it deploys, never written down."""
    for name, function in of_type(resources, "AWS::Lambda::Function"):
        url = json.dumps(function["Environment"]["Variables"].get("DATABASE_URL", ""))
        if "://" in url and "{{resolve:secretsmanager:" not in url:
            yield f"{name} has a password"
    for kind in ("AWS::RDS::DBInstance", "AWS::RDS::DBCluster"):
        for name, database in of_type(resources, kind):
            password = json.dumps(database.get("MasterUserPassword", "{{resolve:secretsmanager:"))
            if "{{resolve:secretsmanager:" not in password:
                yield f"{name} has a password"


def queues_lose_nothing(resources: Resources) -> Iterator[str]:
    """Five tries at least, dead letters kept as long as SQS can, encryption."""
    queues = dict(of_type(resources, "AWS::SQS::Queue"))
    dead = {
        referred(queue["RedrivePolicy"]["deadLetterTargetArn"])
        for queue in queues.values()
        if "RedrivePolicy" in queue
    }
    for name, queue in queues.items():
        if not queue.get("SqsManagedSseEnabled"):
            yield f"{name} is not encrypted"
        if name in dead and queue.get("MessageRetentionPeriod") != 1_209_600:
            yield f"{name} forgets its dead letters"
        if name not in dead and "RedrivePolicy" not in queue:
            yield f"{name} has no dead letters"
        if queue.get("RedrivePolicy", {}).get("maxReceiveCount", 5) < 5:
            yield f"{name} gives up too soon"


def queues_speak_tls_only(resources: Resources) -> Iterator[str]:
    """Each queue refuses what comes otherwise."""
    guarded = {
        referred(queue)
        for _, policy in of_type(resources, "AWS::SQS::QueuePolicy")
        for queue in policy["Queues"]
        for statement in policy["PolicyDocument"]["Statement"]
        if statement["Effect"] == "Deny"
        and statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
        and referred(statement["Resource"]) == referred(queue)
    }
    for name, _ in of_type(resources, "AWS::SQS::Queue"):
        if name not in guarded:
            yield f"{name} takes plain text"


def messages_stay_hidden_long_enough(resources: Resources) -> Iterator[str]:
    """Six times the function's time-out, or a slow one meets its own message again.

    docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html
    """
    for name, mapping in of_type(resources, "AWS::Lambda::EventSourceMapping"):
        function = resources[referred(mapping["FunctionName"])]["Properties"]
        queue = resources[referred(mapping["EventSourceArn"])]["Properties"]
        if queue.get("VisibilityTimeout", 30) < 6 * function["Timeout"]:
            yield f"{name}: visible too soon"
        if mapping.get("FunctionResponseTypes") != ["ReportBatchItemFailures"]:
            yield f"{name}: one bad message fails them all"
        if "MaximumConcurrency" not in mapping.get("ScalingConfig", {}):
            yield f"{name}: without bound"


def a_late_round_is_dropped(resources: Resources) -> Iterator[str]:
    """Neither the clock nor Lambda tries again: the next round comes in a minute."""
    target = resources["EveryMinute"]["Properties"]["Targets"][0]
    if target.get("RetryPolicy") != {"MaximumRetryAttempts": 0, "MaximumEventAgeInSeconds": 60}:
        yield "the clock tries again"
    policies = {
        referred(config["FunctionName"]): config
        for _, config in of_type(resources, "AWS::Lambda::EventInvokeConfig")
    }
    config = policies.get("ScheduleLambdaFunction", {})
    if (config.get("MaximumRetryAttempts"), config.get("MaximumEventAgeInSeconds")) != (0, 60):
        yield "Lambda tries again"


def manage_is_not_on_the_web(resources: Resources) -> Iterator[str]:
    """HTTP reaches one function, and manage may be invoked by nobody's event."""
    for name, integration in of_type(resources, "AWS::ApiGatewayV2::Integration"):
        if referred(integration["IntegrationUri"]) != "ApiLambdaFunction":
            yield f"{name} reaches {integration['IntegrationUri']}"
    for name, permission in of_type(resources, "AWS::Lambda::Permission"):
        if referred(permission["FunctionName"]) == "ManageLambdaFunction":
            yield f"{name} opens manage"
    yield from (f"{name} is open" for name, _ in of_type(resources, "AWS::Lambda::Url"))


def ping_now_is_refused_where_it_would_lie(resources: Resources) -> Iterator[str]:
    """From a network without a way out every server would look down."""
    api = resources["ApiLambdaFunction"]["Properties"]
    if "VpcConfig" in api and api["Environment"]["Variables"].get("PINGLET_PING_NOW") != "0":
        yield "the API pings into the void"


def logs_end(resources: Resources) -> Iterator[str]:
    """Each function has a log of its own that isn't kept for ever."""
    for name, group in of_type(resources, "AWS::Logs::LogGroup"):
        if not group.get("RetentionInDays"):
            yield f"{name} is kept for ever"


RULES: list[Rule] = [
    no_wildcards,
    a_role_for_each_function,
    the_prober_sees_no_database,
    no_public_database,
    tls_to_the_database,
    no_password_in_the_template,
    queues_lose_nothing,
    queues_speak_tls_only,
    messages_stay_hidden_long_enough,
    a_late_round_is_dropped,
    manage_is_not_on_the_web,
    ping_now_is_refused_where_it_would_lie,
    logs_end,
]


def violations(template: dict[str, Any]) -> list[str]:
    """Return what in a template breaks a rule, with the rule's name."""
    resources = template["Resources"]
    return [f"{rule.__name__}: {found}" for rule in RULES for found in rule(resources)]
