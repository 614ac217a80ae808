"""benchmarks/backtest measures each kind of rule and keeps a page. How fast it is, isn't tested."""

from pathlib import Path

import pytest

from benchmarks import backtest


@pytest.mark.parametrize("database", ["SQLite", "Postgres"])
def test_one_command_measures_and_keeps_a_page(tmp_path: Path, database: str) -> None:
    size = ["--servers", "3", "--days", "2", "--made-up-days", "3"]
    code = backtest.main([*size, "--only", database, "--write", "--into", str(tmp_path)])
    page = (tmp_path / "backtest.md").read_text("utf-8")
    assert page.startswith("# What a back-test takes\n")
    assert f"## {database}" in page
    for what, (_, budget_s) in backtest.DRAFTS.items():
        (line,) = [line for line in page.splitlines() if line.startswith(f"| {what}, 3 servers")]
        verdict = line.split(" | ")[3].strip()
        assert verdict in (("kept", "EXCEEDED") if budget_s else ("",))
    assert code == int("EXCEEDED" in page)
