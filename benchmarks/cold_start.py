"""How long a container takes from its start to its first answer, and of what that time is made.

    python -m infra.build --arch x86_64 && python -m benchmarks.cold_start

The packages are unpacked in an empty folder and run by AWS's own runtime client, as Lambda does.
DESIGN's budgets are ratios to a floor measured in the same run: a bare process that imports the
libraries alone. Times of this machine say little about Lambda's; the ratios hold.
"""

import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

from benchmarks.lambda_runtime import Runtime

ROOT = Path(__file__).parent.parent
TIMES = 7
FLOOR = "import flask, sqlalchemy.orm, pg8000.dbapi, serverless_wsgi"
API_BUDGET = 1.25  # times the floor
PROBER_BUDGET = 150 / 406  # DESIGN's milliseconds over the floor of the machine they are meant for
HOST = "127.0.0.1"


def main() -> int:
    """Print each figure with its budget; 1 if one is over."""
    packages = ROOT / "build" / "pinglet.zip", ROOT / "build" / "prober.zip"
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
                "api": import_ms(everything, "import handlers.api"),
                "prober": import_ms(prober, "import handlers.prober"),
                "record": import_ms(everything, "import handlers.worker"),
                "first answer": first_answer_ms(packages[0]),
            }
            for name, ms in measured.items():
                figures.setdefault(name, []).append(ms)
    return report({name: min(times) for name, times in figures.items()})


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
        with Runtime(package, Path(folder, "first"), "handlers.api.handler", environment) as first:
            first.invoke(get())
        with Runtime(package, Path(folder, "again"), "handlers.api.handler", environment) as api:
            answer = api.invoke(get())
            if answer.failed or answer.value["statusCode"] not in (200, 401):
                raise RuntimeError(answer)
            return 1000 * (answer.at_s - api.started_s)


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


def report(ms: dict[str, float]) -> int:
    """Print a table; 1 if a budget is exceeded."""
    rows: list[tuple[str, float, str, Callable[[], bool]]] = [
        ("libraries alone: the floor", ms["floor"], "", lambda: True),
        (
            "import handlers.api",
            ms["api"],
            f"{ms['api'] / ms['floor']:.2f} x the floor, at most {API_BUDGET}",
            lambda: ms["api"] <= API_BUDGET * ms["floor"],
        ),
        (
            "import handlers.prober",
            ms["prober"],
            f"{ms['prober'] / ms['floor']:.2f} x the floor, at most {PROBER_BUDGET:.2f}",
            lambda: ms["prober"] <= PROBER_BUDGET * ms["floor"],
        ),
        ("import handlers.worker", ms["record"], "", lambda: True),
        ("API: process start to first answer", ms["first answer"], "", lambda: True),
    ]
    for name, value, budget, _ in rows:
        print(f"{name:36}{value:7.0f} ms  {budget}")
    over = [name for name, _, _, within in rows if not within()]
    if over:
        print("over budget:", ", ".join(over))
    return 1 if over else 0


if __name__ == "__main__":
    sys.exit(main())
