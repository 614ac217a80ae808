"""benchmarks/storage judges its figures and keeps what it found. How fast it is, isn't tested."""

import json
from pathlib import Path

import pytest

from benchmarks.storage import __main__ as storage
from benchmarks.storage import report, retention
from benchmarks.storage.report import Row, Section


@pytest.mark.parametrize(
    ("figure", "budget", "verdict"),
    [(19.9, 20, "kept"), (20.0, 20, "kept"), (20.1, 20, "EXCEEDED"), (9_999.0, None, "")],
)
def test_a_figure_is_judged_by_its_budget(
    figure: float, budget: float | None, verdict: str
) -> None:
    row = Row("a chart", figure, "ms", budget)
    assert row.verdict == verdict
    assert report.exceeded([Section("Postgres", [row])]) == [row] * (verdict == "EXCEEDED")


def test_a_row_tells_its_units_and_what_lies_beside_it() -> None:
    row = Row("a chart", 12.345, "ms", 15, {"fastest_ms": 3.0, "cold_ms": 1_234.5})
    told = "| a chart | 12.3 ms | 15 ms | kept | fastest 3 ms, cold 1,234 ms |"
    assert row.line() == told


@pytest.mark.parametrize(
    ("brin_ms", "verdict"), [(1.9, "BRIN has proved itself"), (9.0, "it is a b-tree")]
)
def test_brin_has_proved_itself_where_nothing_is_much_slower(brin_ms: float, verdict: str) -> None:
    found = {
        name: {"its size": Row("", mb, "MB"), "10 minutes removed": Row("", ms, "ms")}
        for name, mb, ms in (("b-tree", 100.0, 1.0), ("BRIN", 0.1, brin_ms))
    }
    assert verdict in retention.verdict(found)


def test_one_command_measures_and_keeps_figures_plans_and_machine(
    tmp_path: Path,
) -> None:
    size = ["--servers", "6", "--raw-rows", "600", "--days", "4", "--made-up-days", "3"]
    code = storage.main([*size, "--only", "Postgres", "--write", "--into", str(tmp_path)])
    kept = json.loads((tmp_path / "storage.json").read_text())
    rows = {row["what"]: row for row in kept["figures"]["Postgres"]}
    judged = [row["verdict"] for row in rows.values() if row["budget"] is not None]
    assert code == int("EXCEEDED" in judged)
    assert len(judged) == 8
    assert kept["about"]["size"].startswith("6 servers with 4 packed days each; 600 raw rows")
    page = (tmp_path / "storage.md").read_text()
    assert all(f"| {what} | " in page for what in rows)
    plans = (tmp_path / "storage-plans.md").read_text()
    for what in ("chart of 1 year", "record a batch of 100", "remove a server"):
        assert f"## {what}" in plans
    assert "Execution" not in plans
    assert "actual time" in plans
