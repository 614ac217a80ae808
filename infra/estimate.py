"""What a fleet costs on AWS in a month: prices, measured durations, and their product.

Prices are those of eu-central-1 for arm64, in dollars, without the free tier unless said; they
change: look at the sources before you rely on them, and edit them here. Durations are those of
`python -m benchmarks.fleet`, rounded up (it fails where they are too low), and of the echoes' own
way; what Lambda really bills stands in the metric `billed_ms` and in each log's REPORT lines.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from core.errors import WrongRequest
from core.slots import SLOT

DAY_S = 86_400
MONTH_S = 730 * 3600  # AWS's own month
GB = 1e9


@dataclass(frozen=True, slots=True)
class Price:
    """What one unit costs in dollars, and where that is written."""

    dollars: float
    unit: str
    source: str


LAMBDA = "aws.amazon.com/lambda/pricing"
SQS = "aws.amazon.com/sqs/pricing"
WATCH = "aws.amazon.com/cloudwatch/pricing"
RDS = "aws.amazon.com/rds/postgresql/pricing"
PRICES = {
    "compute": Price(0.0000133334, "GB-second, arm64", LAMBDA),
    "calls": Price(0.20 / 1e6, "invocation", LAMBDA),
    "queue": Price(0.40 / 1e6, "request of up to 64 kB", SQS),
    "logs": Price(0.63, "GB written", WATCH),
    "requests": Price(1.20 / 1e6, "request to an HTTP API", "aws.amazon.com/api-gateway/pricing"),
    "secret": Price(0.40, "secret and month", "aws.amazon.com/secrets-manager/pricing"),
    "endpoint": Price(8.03, "SQS endpoint in one zone", "aws.amazon.com/privatelink/pricing"),
    "rds": Price(13.87, "db.t4g.micro", RDS),
    "gp3": Price(0.137, "GB and month", RDS),
    "aurora": Price(51.10, "half a capacity unit", "aws.amazon.com/rds/aurora/pricing"),
    "aurora storage": Price(0.119, "GB and month", "aws.amazon.com/rds/aurora/pricing"),
}
FREE_QUEUE_REQUESTS = 1_000_000  # a month, for ever and for everybody

# As serverless.yml has them.
BATCH = 100  # servers in a message
PROBE_MESSAGES = 5  # in one call at most
RECORD_MESSAGES = 10
MEMORY_GB = {"schedule": 1.0, "probe": 0.25, "record": 0.5, "api": 0.5}

# Lambda asks each queue with five pollers at least; each waits twenty seconds for a message, and
# gathers events of its own: docs.aws.amazon.com/lambda/latest/dg/services-sqs-scaling.html
POLLERS = 5
IDLE_REQUESTS = 2 * POLLERS * MONTH_S / 20
LOG_BYTES = 900  # of one call: its START, END and REPORT, and our line

# Measured: seconds of a full processor that a call takes, and each server in it; and what it waits.
CPU_S = {"schedule": (0.030, 15e-6), "probe": (0.010, 250e-6), "record": (0.010, 35e-6)}
DATABASE_S = {"schedule": (0.010, 20e-6), "probe": (0.0, 0.0), "record": (0.010, 100e-6)}
API_S = 0.05
# Packing a server's day, by `python -m benchmarks.storage`; tidy has a full processor.
TIDY_S = 0.02
CORE_GB = 1.769  # docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html

ROW_BYTES = 230  # a raw ping with its index; kept for two days
DAY_BYTES = 8_000  # a packed day of a server at one-minute slots; kept for 400
RAW_DAYS, PACKED_DAYS = 2, 400


ALL_ANSWER_S = 0.8  # four echoes, 0.1 s between them, 0.1 s there and back
ONE_IS_SILENT_S = 4.3  # four time-outs
DATABASES = ("external", "rds", "aurora")


@dataclass(frozen=True, slots=True)
class Fleet:
    """What is watched, and from what.

    `interval_s` is a whole number of minutes; `probe_wait_s` how long a prober waits for the four
    echoes of its slowest server.
    """

    servers: int
    interval_s: int = 60
    probe_wait_s: float = ONE_IS_SILENT_S
    api_requests: int = 100_000  # a month
    database: str = "external"


@dataclass(frozen=True, slots=True)
class BillLine:
    """One line of the bill: what, how many units, what they cost in dollars."""

    what: str
    amount: float
    unit: str
    dollars: float


@dataclass(frozen=True, slots=True)
class Bill:
    """A month's bill in dollars; `functions` is what docs/design.md holds to a budget."""

    lines: Sequence[BillLine]

    @property
    def total(self) -> float:
        """All lines together."""
        return sum(line.dollars for line in self.lines)

    @property
    def functions(self) -> float:
        """Functions and queues: without database, secret, network, logs and the API's requests."""
        return sum(
            line.dollars for line in self.lines if line.what in ("compute", "calls", "queue")
        )


def estimate(fleet: Fleet) -> Bill:
    """Return what a month of `fleet` costs. Raises WrongRequest for one that can't be."""
    if fleet.servers < 1 or fleet.interval_s < SLOT.total_seconds():
        told = f"{fleet.servers} each {fleet.interval_s} s"
        raise WrongRequest(f"servers must be 1 or more, each 60 s or less often, got {told}")
    rounds = MONTH_S / SLOT.total_seconds()  # the clock strikes each minute, whoever is due
    due = fleet.servers * SLOT.total_seconds() / fleet.interval_s
    batches = math.ceil(due / BATCH)
    probes = _calls(batches, PROBE_MESSAGES)
    records = _calls(probes, RECORD_MESSAGES)  # each prober sends one message, if it isn't long
    seconds = {
        "schedule": _seconds("schedule", 1, due),
        "probe": _seconds("probe", probes, due) + probes * fleet.probe_wait_s,
        "record": _seconds("record", records, due),
    }
    compute = rounds * sum(MEMORY_GB[name] * used for name, used in seconds.items())
    compute += fleet.api_requests * MEMORY_GB["api"] * API_S
    compute += due * TIDY_S * CORE_GB * MONTH_S / DAY_S
    calls = rounds * (1 + probes + records) + fleet.api_requests
    # Sent ten at a time; received and deleted by event.
    requests = IDLE_REQUESTS + rounds * (math.ceil(batches / 10) + 3 * probes + 2 * records)
    bill = [
        _line("compute", compute),
        _line("calls", calls),
        _line("queue", max(0.0, requests - FREE_QUEUE_REQUESTS)),
        _line("logs", calls * LOG_BYTES / GB),
        _line("requests", fleet.api_requests),
        _line("secret", 1),
    ]
    return Bill([*bill, *_database(fleet)])


def _calls(messages: int, most: int) -> int:
    """How many events so many messages come in: full ones, but each poller has one of its own."""
    return max(math.ceil(messages / most), min(messages, POLLERS))


def _seconds(function: str, calls: int, servers: float) -> float:
    share = MEMORY_GB[function] / CORE_GB
    call_s, each_s = (
        cpu_s / share + wait_s
        for cpu_s, wait_s in zip(CPU_S[function], DATABASE_S[function], strict=True)
    )
    return calls * call_s + servers * each_s


def stored_gb(fleet: Fleet) -> float:
    """Return how much the history takes when it is as long as it gets."""
    slots_a_day = DAY_S / fleet.interval_s
    each = RAW_DAYS * slots_a_day * ROW_BYTES + PACKED_DAYS * DAY_BYTES * slots_a_day / 1440
    return fleet.servers * each / GB


def _database(fleet: Fleet) -> list[BillLine]:
    if fleet.database == "external":
        return []
    if fleet.database not in DATABASES:
        raise WrongRequest(f"database must be {' or '.join(DATABASES)}", got=fleet.database)
    storage = "gp3" if fleet.database == "rds" else "aurora storage"
    least_gb = 20.0 if fleet.database == "rds" else 1.0
    return [
        _line(fleet.database, 1),
        _line(storage, max(least_gb, 1.5 * stored_gb(fleet))),
        _line("endpoint", 1),
    ]


def _line(what: str, amount: float) -> BillLine:
    return BillLine(what, amount, PRICES[what].unit, amount * PRICES[what].dollars)
