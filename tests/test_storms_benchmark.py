"""benchmarks/storms judges its figures and keeps what it found. How fast it is, isn't tested."""

from pathlib import Path

from benchmarks import storms


def test_one_command_measures_storms_on_both_databases_and_keeps_a_page(tmp_path: Path) -> None:
    code = storms.main(["--servers", "6", "--storms", "2", "--write", "--into", str(tmp_path)])
    page = (tmp_path / "storms.md").read_text()
    assert code == int("EXCEEDED" in page)
    for kind in ("Postgres", "SQLite"):
        _, _, section = page.partition(f"## {kind}\n")
        for what in ("nothing turns", *(what for what, _ in storms.STORM), "the longest of all"):
            assert f"| {what} | " in section
        assert "(/24) and one | 1  | 2  | kept |" in section
    assert "| servers | 6 |" in page


def test_a_storm_is_judged_by_the_calm_before_it() -> None:
    medians = {storms.CALM: 100.0} | {what: 150.0 for what, _ in storms.STORM}
    slow, _ = storms.STORM[1]
    rows = {row.what: row for row in storms.rows(medians | {slow: 201.0})}
    assert rows[slow].verdict == "EXCEEDED"
    assert {row.verdict for what, row in rows.items() if what != slow} == {"", "kept"}
