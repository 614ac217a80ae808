"""What the dearest answers take, and so what GraphQL's fields weigh: `python -m benchmarks.costs`.

    python -m benchmarks.costs [--servers 200] [--only SQLite]

On both databases, of servers with 2.8 days of raw rows and a year of packed days. Each request is
asked of a process of its own, three times; the least processor time counts, its own and that of
Postgres, and by how much the process' memory grew at most. A unit of cost is UNIT_US; beside what a
document took stands how many of them a server took beyond being listed, and what
handlers/http/graphql/limits.py says that the document costs.
Exits 1 where a document that is allowed would take more than 2 s or 100 MB.
"""

import argparse
import multiprocessing
import os
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from graphql import get_operation_ast, parse
from sqlalchemy import text

from benchmarks.storage import world
from benchmarks.storage.__main__ import postgres_world, sqlite_world
from benchmarks.storage.world import Size
from core.clock import utc_now
from core.reading import iso
from core.settings import Settings
from handlers.http.app import create_app
from handlers.http.graphql import limits
from infra.database import Database

UNIT_US, LONGEST_S, MOST_MB = 20, 2.0, 100.0
HEAD = (
    "| what | ms | MB | units a server, beyond its listing | what limits.py says |\n"
    "|---|--:|--:|--:|---|"
)
FIELDS = {
    "id": 1,
    "strip meansMs": 1,
    'summary(window: "1d") {meanMs p99Ms}': 1,
    'summary(window: "3d") {meanMs p99Ms}': 1,
    'summary(window: "30d") {meanMs p99Ms}': 4,
    'summary(window: "365d") {meanMs p99Ms}': 20,
    "series(points: 300) {buckets {meanMs}}": 2,
    "series(points: 1) {buckets {meanMs}}": 2,
    'series(since: "YEAR", points: 400) {buckets {meanMs}}': 20,
    "pings(limit: 60) {pings {slot}}": 2,
    "pings(limit: 1000) {pings {slot responseMs}}": 10,
    "pings(limit: 10000) {pings {slot responseMs}}": 50,
}
"""What is asked of each server, and which part of the servers is asked for."""
PATHS = (
    "/api/v1/servers?limit=1000",
    "/api/v1/servers/7/pings",
    "/api/v1/servers/7/series?since=YEAR&points=2000",
    "/api/v1/servers/7/summary?window=1y",
    "/api/v1/metrics",
    "/api/v1/export",
    "/api/v1/export?format=csv",
    "/api/v1/openapi.json",
    "/",
)


def ask(
    settings: Settings, path: str, document: str | None, postmaster: int
) -> tuple[float, float]:
    """Return an answer's processor time in s, and by how many MB the process grows meanwhile."""
    client = create_app(settings).test_client()
    client.post("/graphql", json={"query": "{servers(first: 1) {nodes {id}}}"})
    limits.LIMITS = limits.LIMITS._replace(cost=sys.maxsize)
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew: proc(5)
    before_mb, taken_s = _peak_mb(), []
    for _ in range(3):
        began_s = _cpu_s(postmaster)
        body = {"query": document}
        reply = client.post(path, json=body) if document else client.get(path)
        taken_s.append(_cpu_s(postmaster) - began_s)
        if reply.status_code != 200:
            raise RuntimeError(f"{path} {document}: {reply.status} {reply.text[:300]}")
    return min(taken_s), _peak_mb() - before_mb


def _peak_mb() -> float:
    status = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line[:6] == "VmHWM:") / 1024


def _cpu_s(postmaster: int) -> float:
    """The processor time of this process, and of the processes of a Postgres, if there is one."""
    took_s = time.process_time()
    for stat in Path("/proc").glob("[0-9]*/stat") if postmaster else ():
        with suppress(OSError):  # processes come and go
            fields = stat.read_text().rpartition(") ")[2].split()  # from the state on: proc(5)
            if int(fields[1]) == postmaster:
                took_s += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return took_s


def _postmaster(database: Database) -> int:
    if database.engine.dialect.name == "sqlite":
        return 0
    with database.reading() as session:
        folder = session.scalar(text("SHOW data_directory"))
    return int((Path(str(folder)) / "postmaster.pid").read_text().split()[0])


def cost_of(document: str) -> int:
    """Return what a document is said to cost."""
    parsed = parse(document)
    operation = get_operation_ast(parsed)
    if operation is None:
        raise RuntimeError(f"no operation in {document}")
    return limits.measure(parsed, operation, {}).cost


def lines(database: Database, servers: int) -> Iterator[tuple[str, bool]]:
    """Yield a line of the table for each request, and whether it is within what is allowed."""
    settings = replace(database.settings, authentication=False, statement_timeout_s=60)
    postmaster = _postmaster(database)
    spawn = multiprocessing.get_context("spawn")
    year = iso(world.NOW - 365 * world.DAY)
    listed_s = 0.0  # of one server
    asked = [("/graphql", fields, share) for fields, share in FIELDS.items()]
    for path, fields, share in [*asked, *((path, "", 1) for path in PATHS)]:
        count = max(servers // share, 1)
        document = f"{{servers(first: {count}) {{nodes {{{fields}}}}}}}".replace("YEAR", year)
        told = document if fields else None
        with spawn.Pool(1) as pool:
            given = (settings, path.replace("YEAR", year), told, postmaster)
            took_s, grown_mb = pool.apply(ask, given)
        if fields == "id":
            listed_s = took_s / count
        what = f"{count} x {fields}" if fields else path
        row = f"| {what} | {took_s * 1e3:,.0f} | {grown_mb:.0f} |"
        if not fields:
            yield f"{row} | |", took_s <= LONGEST_S and grown_mb <= MOST_MB
            continue
        beyond = (took_s / count - listed_s) * 1e6 / UNIT_US
        cost = cost_of(document)
        # What a document that costs as much as is allowed would take, if it asked for more servers.
        most = limits.LIMITS.cost / cost
        fits = took_s * most <= LONGEST_S and grown_mb * most <= MOST_MB
        yield f"{row} {beyond:,.1f} | {cost:,}: at the limit {took_s * most:.2f} s |", fits


def main() -> int:
    """Measure on both databases, print, judge."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.costs")
    parser.add_argument("--servers", type=int, default=200)
    parser.add_argument("--only", choices=["Postgres", "SQLite"])
    given = parser.parse_args()
    world.NOW = utc_now()  # an application reads the last days by the real clock
    size = Size(given.servers, given.servers * world.RAW_SLOTS, 365)
    all_fit = True
    for name, made in (("Postgres", postgres_world), ("SQLite", sqlite_world)):
        if given.only not in (None, name):
            continue
        print(f"\n{name}\n{HEAD}")
        with made() as (database, _cool_down):
            world.add_servers(database.engine, size)
            world.fill(database.engine, size)
            for line, fits in lines(database, given.servers):
                print(line if fits else f"{line} EXCEEDED", flush=True)
                all_fit &= fits
    return int(not all_fit)


if __name__ == "__main__":
    sys.exit(main())
