"""What a back-test takes: python -m benchmarks.backtest [--servers 1000 --days 30] [--write]

Prints a table for each database and exits 1 where a budget is exceeded; `--write` keeps it all as
docs/benchmarks/backtest.md. The world is that of benchmarks/storage/world.py: an outage of 3 to 60
minutes in two of three days of each server, and a fifth of the servers lose a twentieth of their
echoes. So a rule about lost echoes has hundreds of thousands of decisions to make.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.storage import report, world
from benchmarks.storage.__main__ import postgres_world, sqlite_world, told
from benchmarks.storage.report import FOLDER, HEAD, Row, Section
from benchmarks.storage.world import NOW, RAW_SLOTS, Size
from core.incidents import backtest
from core.incidents.backtest import Trial
from core.incidents.records import Backtest, BacktestWanted
from infra.database import Database

TIMES = 3
BUDGET_S = 5.0
BUDGET_MB = 100.0
DRAFTS: dict[str, tuple[dict[str, Any], float | None]] = {
    "down 3 of 5": ({"down": 3, "of": 5}, BUDGET_S),
    "coverage below 90 % of 30": ({"coverage_pct": 90, "of": 30}, BUDGET_S),
    "p95 above 100 ms of 20": ({"p95_ms": 100, "of": 20}, None),
    "20 % lost of 10": ({"loss_pct": 20, "of": 10}, None),
}
"""What is tried, and how many seconds it may take."""
INTRODUCTION = (
    "Made by `python -m benchmarks.backtest --write`; do not edit. Each draft is tried beside the "
    "rules in force, median of {times} runs, warm, with its own transactions; Postgres on the same "
    "machine, with 1 GB of shared buffers. {about}"
)


def tried(database: Database, wanted: BacktestWanted) -> Backtest:
    """Do a back-test as handlers do."""
    with database.reading() as session:
        trial = Trial(backtest.plan(session, wanted, wanted.days, NOW))
    for some in trial.plan.portions:
        with database.reading() as session:
            trial.add(session, some)
    return trial.told()


def measured(database: Database, servers: int, days: int) -> Iterator[Row]:
    """Time each draft; then tell by how much the process grew at most."""
    _peak_mb()
    before_mb = _peak_mb()
    for what, (when, budget_s) in DRAFTS.items():
        wanted = BacktestWanted.of({"rule": {"name": what, "when": when}, "days": days})
        tried(database, wanted)  # statements are compiled once in a process's life
        taken_s, cpu_s = [], []
        for _ in range(TIMES):
            began_s, began_cpu_s = time.perf_counter(), time.process_time()
            found = tried(database, wanted)
            taken_s.append(time.perf_counter() - began_s)
            cpu_s.append(time.process_time() - began_cpu_s)
        beside = {"own processor_s": min(cpu_s), "draft_incidents": found.draft.incidents}
        size = f"{servers:,} servers x {days} days"
        yield Row(f"{what}, {size}", statistics.median(taken_s), "s", budget_s, beside)
    yield Row("the process grew by at most", _peak_mb() - before_mb, "MB", BUDGET_MB)


def _peak_mb() -> float:
    """Return the most memory this process had since it was last asked."""
    status = Path("/proc/self/status").read_text("utf-8")
    Path("/proc/self/clear_refs").write_text("5", "ascii")  # the peak begins anew: proc(5)
    return next(int(line.split()[1]) for line in status.splitlines() if line[:6] == "VmHWM:") / 1024


def run(name: str, size: Size, days: int) -> Section:
    """Fill one kind of database and measure."""
    print(f"\n{name}\n{HEAD}", flush=True)
    with (sqlite_world if name == "SQLite" else postgres_world)() as (database, _cool_down):
        world.add_servers(database.engine, size)
        world.fill(database.engine, size)
        return Section(name, told(measured(database, size.servers, days)))


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure on both databases; return 1 where a budget is exceeded."""
    given = _parser().parse_args(arguments)
    size = Size(given.servers, given.servers * RAW_SLOTS, given.days + 1, given.made_up_days)
    names = [given.only] if given.only else ["Postgres", "SQLite"]
    sections = [run(name, size, given.days) for name in names]
    if given.write:
        given.into.mkdir(parents=True, exist_ok=True)
        page = "\n".join(_page(sections))
        (given.into / "backtest.md").write_text(page, encoding="utf-8")
    return int(bool(report.exceeded(sections)))


def _page(sections: Sequence[Section]) -> Iterator[str]:
    about = (__doc__ or "").partition("backtest.md. ")[2].replace("\n", " ").strip()
    yield "# What a back-test takes\n"
    yield INTRODUCTION.format(times=TIMES, about=about) + "\n"
    yield "| | |\n|---|---|"
    yield from (
        f"| {name.replace('_', ' ')} | {value} |" for name, value in report.machine().items()
    )
    yield ""
    for section in sections:
        yield from section.lines()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.backtest")
    parser.add_argument("--servers", type=int, default=1_000)
    parser.add_argument("--days", type=int, default=30)
    parser.add_argument("--made-up-days", type=int, default=300)
    parser.add_argument("--only", choices=["Postgres", "SQLite"])
    parser.add_argument("--write", action="store_true", help="keep the page in --into")
    parser.add_argument("--into", type=Path, default=FOLDER, help="default: docs/benchmarks")
    return parser


if __name__ == "__main__":
    sys.exit(main())
