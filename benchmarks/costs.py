"""What the dearest answers take, and so what GraphQL's fields weigh: `python -m benchmarks.costs`.

    python -m benchmarks.costs [--servers 1000] [--only SQLite] [--write]

Prints a page; `--write` keeps it as docs/benchmarks/costs.md.

On both databases, of servers with 2.8 days of raw rows and a year of packed days. Each request is
asked of a process of its own, three times; the least processor time counts, its own and that of
Postgres, and by how much the process' memory grew at most. A unit of cost is UNIT_US; beside what a
document took stands how many of them a server took beyond being listed, and what
handlers/http/graphql/limits.py says that the document costs.
Exits 1 where what isn't refused takes more than 2 s or 100 MB. The fewer servers, the more of their
units are the request's own.
"""

import argparse
import multiprocessing
import os
import platform
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
ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "benchmarks" / "costs.md"
HEADER = """# What the dearest answers take

Made by `python -m benchmarks.costs {arguments}` on {date}; do not edit. {system}

{servers:,} servers with 2.8 days of raw rows and a year of packed days. Each request is asked of a
process of its own, three times: *ms* is the least processor time, the process's own and that of
Postgres, *MB* by how much the process grew at most. *Units* of {unit_us} us are what a server took
beyond being listed; the last column is what `handlers/http/graphql/limits.py` says that the
document costs, and how long a document would take that costs as much as one may. What isn't refused
takes at most {longest_s:g} s and {most_mb:g} MB; anything else is marked EXCEEDED.
The fewer servers, the more of their units are the request's own."""
HEAD = (
    "| what | ms | MB | units a server, beyond its listing | what limits.py says |\n"
    "|---|--:|--:|--:|---|"
)
FIELDS = {
    "id": 1,
    "uptime coverage": 1,
    "strip meansMs": 1,
    "stripCounts": 1,
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
    "/api/v1/servers/1/pings",
    "/api/v1/servers/1/series?since=YEAR&points=2000",
    "/api/v1/servers/1/summary?window=1y",
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
    Path("/proc/self/clear_refs").write_text("5", "ascii")  # the peak begins anew: proc(5)
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
    status = Path("/proc/self/status").read_text("utf-8")
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


def asked(servers: int) -> Iterator[tuple[str, int, str]]:
    """Yield each path; of /graphql also of how many servers something is asked, and what."""
    year = iso(world.NOW - 365 * world.DAY)
    for fields, share in FIELDS.items():
        yield "/graphql", max(servers // share, 1), fields.replace("YEAR", year)
    yield from ((path.replace("YEAR", year), 0, "") for path in PATHS)


def lines(database: Database, servers: int) -> Iterator[tuple[str, bool]]:
    """Yield a line of the table for each request, and whether it is within what is allowed."""
    settings = replace(database.settings, authentication=False, statement_timeout_s=60)
    postmaster, spawn = _postmaster(database), multiprocessing.get_context("spawn")
    listed_s = 0.0  # of one server: it is the first that is asked
    for path, count, fields in asked(servers):
        document = f"{{servers(first: {count}) {{nodes {{{fields}}}}}}}" if count else None
        with spawn.Pool(1) as pool:
            took_s, grown_mb = pool.apply(ask, (settings, path, document, postmaster))
        what = f"{count} x {fields}" if count else path
        shown = f"| {what} | {took_s * 1e3:,.0f} | {grown_mb:.0f} |"
        fits = took_s <= LONGEST_S and grown_mb <= MOST_MB
        if document is None:
            yield f"{shown} | |", fits
            continue
        listed_s = listed_s or took_s / count
        cost = cost_of(document)
        told = _weighed(took_s, listed_s, count, cost)
        yield f"{shown} {told} |", fits or cost > limits.LIMITS.cost  # or it is refused


def _weighed(took_s: float, listed_s: float, count: int, cost: int) -> str:
    beyond = (took_s / count - listed_s) * 1e6 / UNIT_US
    return f"{beyond:,.1f} | {cost:,}: at the limit {took_s * limits.LIMITS.cost / cost:.2f} s"


def _header(servers: int) -> str:
    return HEADER.format(
        arguments=" ".join(sys.argv[1:]),
        date=f"{world.NOW:%Y-%m-%d}",
        system=f"{platform.system()}, {os.cpu_count()} cores, Python {platform.python_version()}.",
        servers=servers,
        unit_us=UNIT_US,
        longest_s=LONGEST_S,
        most_mb=MOST_MB,
    )


def main() -> int:
    """Measure on both databases, print, judge."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.costs")
    parser.add_argument("--servers", type=int, default=1_000)
    parser.add_argument("--only", choices=["Postgres", "SQLite"])
    parser.add_argument("--write", action="store_true", help=f"keep the page as {PAGE}")
    given = parser.parse_args()
    world.NOW = utc_now()  # an application reads the last days by the real clock
    size = Size(given.servers, given.servers * world.RAW_SLOTS, 365)
    page, all_fit = [], True

    def say(line: str) -> None:
        print(line, flush=True)
        page.append(line)

    say(_header(given.servers))
    for name, made in (("Postgres", postgres_world), ("SQLite", sqlite_world)):
        if given.only not in (None, name):
            continue
        say(f"\n## {name}\n\n{HEAD}")
        with made() as (database, _cool_down):
            world.add_servers(database.engine, size)
            world.fill(database.engine, size)
            for line, fits in lines(database, given.servers):
                say(line if fits else f"{line} EXCEEDED")
                all_fit &= fits
    if given.write:
        PAGE.write_text("\n".join(page) + "\n", encoding="utf-8")
    return int(not all_fit)


if __name__ == "__main__":
    sys.exit(main())
