"""What a round costs and how long it takes, by the size of the fleet.

    python -m benchmarks.fleet [SERVERS ...] [--write]

Prints a page and exits 1 where a budget is exceeded; `--write` keeps the page as
docs/benchmarks/fleet.md.

The real handlers run one after the other in this process, on a real Postgres; the servers are
addresses on loopback whose port 9 refuses, four echoes each. SQS is a list here, and each request
to it counts as 10 ms of waiting.

What a function does with the processor takes longer on Lambda, by the share of one that its memory
brings; what it waits for doesn't. So both are measured, and from them follow the seconds that
Lambda bills, and how long a round lasts when as many run at once as serverless.yml allows. The
world's servers are further away than loopback: report.py adds that to each prober's time.
"""

import argparse
import logging
import math
import os
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import text

from benchmarks.fleet import report
from benchmarks.fleet.report import Calls, Measured
from core import slots
from core.clock import utc_now
from core.settings import Settings
from core.slots import AHEAD, SLOT
from handlers.functions import probe as probe_function
from handlers.functions import record as record_function
from handlers.functions import schedule as schedule_function
from handlers.functions import warm
from infra import aws, estimate, migrations
from infra.database import Database
from tests.cloud import Context, event_of
from tests.postgres import Postgres

REQUEST_S = 0.01
PAGE = Path(__file__).parents[2] / "docs" / "benchmarks" / "fleet.md"


class Queues:
    """The two queues: lists by name, in the place of infra.aws.send."""

    def __init__(self) -> None:
        self.messages: dict[str, list[str]] = {"batches": [], "results": []}

    def send(self, url: str, texts: Sequence[str]) -> None:
        """Keep messages."""
        self.messages[url] += texts
        time.sleep(REQUEST_S * math.ceil(len(texts) / 10))

    def deliver(self, name: str, size: int, calls: Calls, handler: Callable[[object], Any]) -> None:
        """Hand a queue's messages to a function, `size` in an event at most, until none is left.

        Lambda's pollers share them: few messages come in events that aren't full.
        """
        waiting = self.messages.pop(name)
        size = max(1, min(size, math.ceil(len(waiting) / estimate.POLLERS)))
        for start in range(0, len(waiting), size):
            event = event_of(*waiting[start : start + size])
            reply = timed(calls, partial(handler, event))
            assert reply == {"batchItemFailures": []}, reply


def timed(calls: Calls, call: Callable[[], Any]) -> Any:
    """Call, and remember what it did with the processor and what it waited."""
    started, cpu = time.perf_counter(), time.process_time()
    answer = call()
    calls.cpu_s.append(time.process_time() - cpu)
    calls.waits_s.append(time.perf_counter() - started - calls.cpu_s[-1])
    return answer


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


def run(database: Database, number: int) -> Measured:
    """Run a round for so many servers."""
    add_servers(database, number)
    queues = Queues()
    aws.send = queues.send
    # A few minutes ahead: one process does all that hundreds do at once, in more than a minute.
    slot = slots.slot_of(utc_now() + AHEAD - SLOT)
    schedule, probe, record = Calls("schedule"), Calls("probe"), Calls("record")
    event = {"time": slot.isoformat()}
    timed(schedule, lambda: schedule_function.schedule(event, Context()))
    queues.deliver(
        "batches",
        estimate.PROBE_MESSAGES,
        probe,
        lambda given: probe_function.probe(given, Context()),
    )
    queues.deliver(
        "results",
        estimate.RECORD_MESSAGES,
        record,
        lambda given: record_function.record(given, Context()),
    )
    with database.reading() as session:
        rows = session.scalar(text("SELECT count(*) FROM data WHERE datetime = :s"), {"s": slot})
    assert rows == number, f"{rows} rows of {number}"
    return Measured(number, schedule, probe, record)


def measure(numbers: Sequence[int]) -> list[Measured]:
    """Run a round of each size, on a Postgres of its own."""
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
        run(database, 10)  # imports and first connections
        found = [run(database, number) for number in numbers]
        warm.warm_instance().database.engine.dispose()
        database.engine.dispose()
        return found
    finally:
        cluster.close()


def main() -> int:
    """Measure, print, keep if asked to; 1 where a budget is exceeded."""
    parser = argparse.ArgumentParser()
    parser.add_argument("servers", type=int, nargs="*", default=[1_000, 10_000, 100_000])
    parser.add_argument("--write", action="store_true", help=f"keep the page as {PAGE}")
    wanted = parser.parse_args()
    measured = measure(wanted.servers)
    page = report.page(measured)
    print(page)
    if wanted.write:
        PAGE.parent.mkdir(exist_ok=True)
        PAGE.write_text(page + "\n", encoding="utf-8")
    return 0 if all(verdict.kept for verdict in report.verdicts(measured)) else 1


if __name__ == "__main__":
    sys.exit(main())
