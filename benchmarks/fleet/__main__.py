"""What a round costs and how long it takes, by the size of the fleet.

    python -m benchmarks.fleet [SERVERS ...]

The real handlers run one after the other in this process, on a real Postgres; the servers are
addresses on loopback whose port 9 refuses, four echoes each. SQS is a list here, and each request
to it counts as 10 ms of waiting.

What a function does with the processor takes longer on Lambda, by the share of one that its memory
brings; what it waits for doesn't. So both are measured, and from them follow the seconds that
Lambda bills, and how long a round lasts when as many run at once as serverless.yml allows. The
world's servers are further away than loopback: `--wait` adds that to each prober's time (default
0.8 s: 4 x 0.1 s of gaps and 4 x 0.1 s there and back; 4.3 where a server stays silent).
"""

import argparse
import logging
import math
import os
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from sqlalchemy import text

from core import estimate, rounds
from core.clock import utc_now
from core.schema import AHEAD, SLOT
from core.settings import Settings
from handlers import prober, worker
from infra import aws, migrations
from infra.database import Database
from tests.cloud import Context, event_of
from tests.postgres import Postgres

PROBERS = 50  # serverless.yml: at once
RECORDERS = 4
BATCHES = 5  # messages in one event
RESULTS = 10
REQUEST_S = 0.01


@dataclass
class Calls:
    """A function's invocations: what each did with the processor, and what it waited, in s."""

    memory_gb: float
    cpu_s: list[float] = field(default_factory=list)
    waits_s: list[float] = field(default_factory=list)

    def time(self, call: Callable[[], Any]) -> Any:
        """Call and remember."""
        started, cpu = time.perf_counter(), time.process_time()
        answer = call()
        self.cpu_s.append(time.process_time() - cpu)
        self.waits_s.append(time.perf_counter() - started - self.cpu_s[-1])
        return answer

    def on_lambda_s(self, wait_s: float = 0.0) -> float:
        """How long one lasts there, on average."""
        share = min(1.0, self.memory_gb / estimate.CORE_GB)
        return statistics.fmean(self.cpu_s) / share + statistics.fmean(self.waits_s) + wait_s

    def round_s(self, at_once: int, wait_s: float = 0.0) -> float:
        """How long all last when so many run at once."""
        return math.ceil(len(self.cpu_s) / at_once) * self.on_lambda_s(wait_s)


class Queues:
    """The two queues: lists by name, in the place of infra.aws.send."""

    def __init__(self) -> None:
        self.messages: dict[str, list[str]] = {"batches": [], "results": []}

    def send(self, url: str, texts: Sequence[str]) -> None:
        """Keep messages."""
        self.messages[url] += texts
        time.sleep(REQUEST_S * math.ceil(len(texts) / 10))

    def deliver(self, name: str, size: int, calls: Calls, handler: Callable[[object], Any]) -> None:
        """Hand a queue's messages to a function, `size` in an event, until none is left."""
        waiting = self.messages.pop(name)
        for start in range(0, len(waiting), size):
            event = event_of(*waiting[start : start + size])
            reply = calls.time(partial(handler, event))
            assert reply == {"batchItemFailures": []}, reply


def add_servers(database: Database, number: int) -> None:
    """Add so many servers, each at an address of its own on loopback."""
    with database.engine.begin() as connection:
        connection.execute(text("TRUNCATE server RESTART IDENTITY CASCADE"))
        connection.execute(
            text(
                "INSERT INTO server (name, ip, datetime, probe, port) SELECT 'server ' || n, "
                "'127.' || n / 62500 || '.' || n / 250 - 250 * (n / 62500) || '.' || "
                "1 + n - 250 * (n / 250), now() - interval '1 day', 'tcp', 9 "
                "FROM generate_series(0, :last) n"
            ),
            {"last": number - 1},
        )
        connection.execute(
            text(
                "INSERT INTO schedule (server_id, since, interval_s, enabled) "
                "SELECT id, datetime, 60, true FROM server"
            )
        )
        connection.execute(text("ANALYZE server"))


def run(database: Database, number: int, wait_s: float) -> list[str]:
    """Run a round for so many servers; return a row of the table."""
    add_servers(database, number)
    queues = Queues()
    aws.send = queues.send  # type: ignore[assignment]
    # A few minutes ahead: one process does all that hundreds do at once, in more than a minute.
    slot = rounds.slot_of(utc_now() + AHEAD - SLOT)
    schedule, probe, record = (
        Calls(estimate.MEMORY_GB[name]) for name in ("schedule", "probe", "record")
    )
    event = {"time": slot.isoformat()}
    schedule.time(lambda: worker.schedule(event, Context()))
    queues.deliver("batches", BATCHES, probe, lambda given: prober.probe(given, Context()))
    queues.deliver("results", RESULTS, record, lambda given: worker.record(given, Context()))
    with database.reading() as session:
        rows = session.scalar(text("SELECT count(*) FROM data WHERE datetime = :s"), {"s": slot})
    assert rows == number, f"{rows} rows of {number}"
    lasts = schedule.round_s(1), probe.round_s(PROBERS, wait_s), record.round_s(RECORDERS)
    bill = estimate.estimate(estimate.Fleet(number, 60, probe_wait_s=wait_s))
    billed = sum(
        len(calls.cpu_s) * calls.memory_gb * calls.on_lambda_s(wait)
        for calls, wait in ((schedule, 0.0), (probe, wait_s), (record, 0.0))
    )
    return [
        f"{number:,}",
        f"{len(probe.cpu_s)} / {len(record.cpu_s)}",
        *(f"{1e6 * sum(calls.cpu_s) / number:.0f}" for calls in (schedule, probe, record)),
        f"{1e6 * sum(record.waits_s) / number:.0f}",
        f"{rows / sum(record.cpu_s + record.waits_s):,.0f}",
        f"{billed:.2f}",
        " + ".join(f"{last:.1f}" for last in lasts),
        f"{bill.functions:.2f}",
    ]


HEADER = [
    "servers",
    "probe/record calls",
    "schedule us cpu",
    "probe us cpu",
    "record us cpu",
    "record us wait",
    "rows/s",
    "GB-s a round",
    "round s",
    "$ a month",
]


def main(numbers: Sequence[int], wait_s: float) -> None:
    """Print the table."""
    os.environ |= {
        "PINGLET_BATCH_QUEUE_URL": "batches",
        "PINGLET_RESULT_QUEUE_URL": "results",
        "PINGLET_ECHO_GAP_S": "0",
    }
    logging.getLogger().addHandler(logging.NullHandler())  # a line a call would drown the table
    cluster = Postgres()
    try:
        cluster.start("-c", "fsync=on")
        os.environ["DATABASE_URL"] = cluster.url()
        database = Database(Settings(database_url=cluster.url()))
        migrations.upgrade(database.engine)
        print("".join(f"{name:>19}" for name in HEADER))
        run(database, 10, wait_s)  # imports and first connections
        for number in numbers:
            print("".join(f"{cell:>19}" for cell in run(database, number, wait_s)), flush=True)
        worker.warm_database().engine.dispose()
        database.engine.dispose()
    finally:
        cluster.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("servers", type=int, nargs="*", default=[1_000, 10_000, 100_000])
    parser.add_argument("--wait", type=float, default=0.8)
    wanted = parser.parse_args()
    main(wanted.servers, wanted.wait)
