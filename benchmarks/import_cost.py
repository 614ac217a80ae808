"""What `import handlers.functions.api` costs, as a share of what its libraries cost alone.

    python -m benchmarks.import_cost [RUNS]

Both are measured in fresh processes, in turns, so that a busy machine slows both; each time is the
median, less that of a process that imports nothing. Ends with 1 above the budget (docs/design.md).
"""

import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
BUDGET = 1.25
RUNS = 15
IMPORTS = {
    "nothing": "sys",
    "the floor": "flask, sqlalchemy.orm, pg8000.dbapi, serverless_wsgi",
    "handlers.functions.api": "handlers.functions.api",
}


def seconds(modules: str) -> float:
    """Return how long a process takes that imports `modules`, in s."""
    command = [sys.executable, "-c", f"import {modules}"]
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": ""}  # empty: it is written
    started = time.perf_counter()
    subprocess.run(command, cwd=ROOT, env=environment, check=True)
    return time.perf_counter() - started


def main(runs: int = RUNS) -> int:
    """Measure, print, return the exit code."""
    for modules in IMPORTS.values():
        seconds(modules)  # compiles the bytecode and warms the disk
    times: dict[str, list[float]] = {name: [] for name in IMPORTS}
    for _ in range(runs):
        for name, modules in IMPORTS.items():
            times[name].append(seconds(modules))
    medians = {name: statistics.median(each) for name, each in times.items()}
    for name, median in medians.items():
        print(f"{name:14}{1000 * median:6.0f} ms (fastest {1000 * min(times[name]):.0f})")
    floor = medians["the floor"] - medians["nothing"]
    ratio = (medians["handlers.functions.api"] - medians["nothing"]) / floor
    verdict = "within" if ratio <= BUDGET else "ABOVE"
    print(
        f"the API function / the floor = {ratio:.2f}, {verdict} the budget of {BUDGET}; {runs} runs"
    )
    return 0 if ratio <= BUDGET else 1


if __name__ == "__main__":
    sys.exit(main(max(7, int(sys.argv[1])) if sys.argv[1:] else RUNS))
