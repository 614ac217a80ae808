"""How long a container takes from its start to its first answer, and of what that time is made.

    python -m benchmarks.cold_start [--write]

Builds the packages for this machine, prints a page and exits 1 where a budget is exceeded;
`--write` keeps the page as docs/benchmarks/cold_start.md.

The packages are unpacked in an empty folder and run by AWS's own runtime client, as Lambda does.
The budgets (docs/design.md) are ratios to a floor measured in the same run: a bare process that
imports the libraries alone. Times of this machine say little about Lambda's; the ratios hold.
"""

import argparse
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.lambda_runtime import Runtime
from infra import build
from tests.local_cloud import ARCHITECTURES

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "benchmarks" / "cold_start.md"
TIMES = 7
FLOOR = "import flask, sqlalchemy.orm, pg8000.dbapi, serverless_wsgi"
API_BUDGET = 1.25  # times the floor
PROBER_MS, FLOOR_MS = 150, 406  # docs/design.md, on the machine that has this floor
HOST = "127.0.0.1"

HEADER = """# Cold start

Made by `python -m benchmarks.cold_start --write`; do not edit. {system}

What a container does before its first answer, from the packages as deployed (bytecode shipped), by
AWS's own runtime client. Imports are processor time, the process's own start taken off; the first
answer is the clock's, from the start of the process to the reply to `GET /` with SQLite. Times are
the fastest of {times} passes. The budgets are ratios to the floor, which is flask, sqlalchemy.orm,
pg8000 and serverless_wsgi in a bare process: the median of what each pass gave.

| what | measured | budget | verdict |
|---|--:|--:|---|"""


@dataclass(frozen=True)
class Row:
    """A line of the page; without a budget it is kept."""

    what: str
    measured: str
    budget: str = ""
    kept: bool = True

    def __str__(self) -> str:
        verdict = ("kept" if self.kept else "**EXCEEDED**") if self.budget else ""
        return f"| {self.what} | {self.measured} | {self.budget} | {verdict} |"


def main() -> int:
    """Measure, print, keep if asked to; 1 where a budget is exceeded."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--write", action="store_true", help=f"keep the page as {PAGE}")
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        packages = build.build(ARCHITECTURES[os.uname().machine], Path(folder))
        rows = judged(measure(packages), {path.name: path.stat().st_size for path in packages})
    system = f"{platform.system()}, {os.cpu_count()} cores, Python {platform.python_version()}."
    page = "\n".join([HEADER.format(system=system, times=TIMES), *map(str, rows)])
    print(page)
    if wanted.write:
        PAGE.parent.mkdir(exist_ok=True)
        PAGE.write_text(page + "\n", encoding="utf-8")
    return 0 if all(row.kept for row in rows) else 1


def measure(packages: Sequence[Path]) -> dict[str, list[float]]:
    """Return each figure in ms, by its name, from every pass."""
    with tempfile.TemporaryDirectory() as folder:
        everything, prober = Path(folder, "everything"), Path(folder, "prober")
        for package, unpacked in zip(packages, (everything, prober), strict=True):
            with zipfile.ZipFile(package) as archive:
                archive.extractall(unpacked)
        # One after the other, again and again: what else the machine does hits all alike.
        figures: dict[str, list[float]] = {}
        for _ in range(TIMES):
            measured = {
                "floor": import_ms(everything, FLOOR),
                "api": import_ms(everything, "import handlers.functions.api"),
                "prober": import_ms(prober, "import handlers.functions.probe"),
                "record": import_ms(everything, "import handlers.functions.record"),
                "first answer": first_answer_ms(packages[0]),
            }
            for name, ms in measured.items():
                figures.setdefault(name, []).append(ms)
    return figures


def import_ms(folder: Path, statement: str) -> float:
    """Return the processor's time for a statement in a fresh process, its start subtracted.

    Not the clock's: other programs on this machine would count.
    """
    program = (
        "import time; started = time.process_time()\n"
        f"{statement}\n"
        "print(1000 * (time.process_time() - started))"
    )
    command = [sys.executable, "-S", "-P", "-c", program]
    environment = {"PYTHONPATH": str(folder)}
    done = subprocess.run(
        command, check=True, text=True, stdout=subprocess.PIPE, env=environment, cwd=folder
    )
    return float(done.stdout)


def first_answer_ms(package: Path) -> float:
    """Return how long the API takes from the start of its process to its first answer."""
    with tempfile.TemporaryDirectory() as folder:
        # SQLite makes no network of it; a migrated file comes about beforehand.
        environment = {"DATABASE_URL": f"sqlite:///{folder}/pinglet.db"}
        api = "handlers.functions.api.handler", environment, subprocess.DEVNULL
        with Runtime(package, Path(folder, "first"), *api) as first:
            first.invoke(get())
        with Runtime(package, Path(folder, "again"), *api) as again:
            answer = again.invoke(get())
            if answer.failed or answer.value["statusCode"] not in (200, 401):
                raise RuntimeError(answer)
            return 1000 * (answer.at_s - again.started_s)


def get() -> dict[str, object]:
    """Return the event of `GET /`."""
    return {
        "version": "2.0",
        "rawPath": "/",
        "rawQueryString": "",
        "headers": {"host": HOST},
        "requestContext": {"http": {"method": "GET", "sourceIp": "127.0.0.1"}},
        "isBase64Encoded": False,
    }


def judged(passes: Mapping[str, Sequence[float]], sizes: Mapping[str, int]) -> list[Row]:
    """Return every figure beside its budget; `sizes` are the packages', in bytes."""
    ms = {name: min(times) for name, times in passes.items()}
    api, prober = (
        statistics.median(a / b for a, b in zip(passes[name], passes["floor"], strict=True))
        for name in ("api", "prober")
    )
    share = PROBER_MS / FLOOR_MS
    rows = [
        Row("libraries alone: the floor", f"{ms['floor']:.0f} ms"),
        Row(
            "import handlers.functions.api",
            f"{ms['api']:.0f} ms, {api:.2f} x the floor",
            f"{API_BUDGET} x",
            api <= API_BUDGET,
        ),
        Row(
            "import handlers.functions.probe",
            f"{ms['prober']:.0f} ms, {prober:.2f} x the floor",
            f"{PROBER_MS} ms where the floor is {FLOOR_MS}: {share:.2f} x",
            prober <= share,
        ),
        Row("import handlers.functions.record", f"{ms['record']:.0f} ms"),
        Row("API: process start to first answer", f"{ms['first answer']:.0f} ms"),
    ]
    for name, budget_mb in build.BUDGETS_MB.items():
        size_mb = sizes[name] / 1e6
        rows.append(Row(name, f"{size_mb:.1f} MB", f"{budget_mb:g} MB", size_mb <= budget_mb))
    return rows


if __name__ == "__main__":
    sys.exit(main())
