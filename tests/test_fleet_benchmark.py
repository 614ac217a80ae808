"""What benchmarks/fleet and benchmarks/cold_start make of their figures, whatever these are."""

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import cold_start
from benchmarks.fleet import report
from benchmarks.fleet.report import Calls, Measured

ROOT = Path(__file__).parents[1]


def measured(servers: int, probe_cpu_s: float = 0.05, record_cpu_s: float = 0.02) -> Measured:
    """Make up a round: a prober for each 500 servers, a recorder for each 5,000."""
    probes = -(-servers // 500)
    records = -(-servers // 5_000)
    return Measured(
        servers,
        Calls("schedule", [10e-6 * servers], [0.1]),
        Calls("probe", [probe_cpu_s] * probes, [0.3] * probes),
        Calls("record", [record_cpu_s] * records, [0.1] * records),
    )


def exceeded(*sizes: Measured) -> list[str]:
    return [verdict.what for verdict in report.verdicts(sizes) if not verdict.kept]


def test_a_fleet_that_is_quick_and_cheap_keeps_every_budget() -> None:
    assert exceeded(measured(1_000), measured(10_000), measured(100_000)) == []


def test_a_thousand_servers_that_cost_too_much_are_found() -> None:
    assert "1,000 servers each minute cost at most 7 $ a month" in exceeded(measured(1_000, 3.0))


def test_cost_that_grows_faster_than_the_fleet_is_found() -> None:
    found = exceeded(measured(10_000, 0.01), measured(100_000, 0.12))
    assert "from 10,000 to 100,000 servers, 10 times, cost grows no faster" in found


def test_a_prober_that_lasts_longer_in_a_larger_fleet_is_found() -> None:
    found = exceeded(measured(10_000, 0.01), measured(100_000, 0.2))
    assert "from 10,000 to 100,000 servers, 10 times, a prober lasts as long" in found


def test_a_round_that_is_not_over_before_the_next_one_is_found() -> None:
    found = exceeded(measured(100_000, record_cpu_s=5.0))
    assert "a round of 100,000 servers is over before the next one" in found


def test_an_estimate_that_counts_too_little_is_found() -> None:
    found = exceeded(measured(10_000, 0.2))
    assert found == ["`flask estimate` counts enough for probe of 10,000 servers"]


@pytest.mark.parametrize(
    ("one", "name"),
    [
        (measured(100_000, 0.1, 0.01), "probe"),
        (measured(100_000, 0.01, 5.0), "record"),
        (
            Measured(
                100, Calls("schedule", [9], [0]), *[Calls(n, [0], [1]) for n in ("probe", "record")]
            ),
            "schedule",
        ),
    ],
)
def test_the_bottleneck_is_what_is_full_first(one: Measured, name: str) -> None:
    assert report.bottleneck(one)[0] == name
    assert f"**The bottleneck** is `{name}`" in report.page([one])


def test_the_benchmark_of_the_fleet_runs() -> None:
    command = [sys.executable, "-m", "benchmarks.fleet", "20", "40"]
    done = subprocess.run(command, check=False, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode in (0, 1), done.stderr  # 1: this machine is busy
    assert "| 20 | 1, 1 |" in done.stdout
    assert "| 40 | 1, 1 |" in done.stdout
    assert "## Budgets" in done.stdout


FLOOR = {"floor": [400.0], "record": [1.0], "first answer": [1.0]}
SIZES = {"pinglet.zip": 13_000_000, "prober.zip": 200_000}


@pytest.mark.parametrize(
    ("api_ms", "prober_ms", "package", "over"),
    [
        (499.0, 147.0, 19_999_999, []),
        (501.0, 147.0, 19_999_999, ["import handlers.functions.api"]),
        (499.0, 149.0, 19_999_999, ["import handlers.functions.probe"]),
        (499.0, 147.0, 20_000_001, ["pinglet.zip"]),
    ],
)
def test_a_cold_start_over_budget_is_found(
    api_ms: float, prober_ms: float, package: int, over: list[str]
) -> None:
    passes = FLOOR | {"api": [api_ms], "prober": [prober_ms]}
    rows = cold_start.judged(passes, SIZES | {"pinglet.zip": package})
    assert [row.what for row in rows if not row.kept] == over
    assert sum("**EXCEEDED**" in str(row) for row in rows) == len(over)
