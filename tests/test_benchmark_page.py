"""What the README and docs/benchmarks say of the probe engine is what was measured."""

import json

import pytest

from benchmarks.probe import page

SUMMARY = json.loads(page.DATA.read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", [page.PAGE, page.CHART, page.README], ids=lambda path: path.name)
def test_what_is_shown_was_made_of_what_was_measured(path):
    assert page.made(SUMMARY)[path] == path.read_text(encoding="utf-8")


def test_the_readme_shows_every_peer_and_the_chart():
    shown = page.PLACE.search(page.README.read_text(encoding="utf-8"))[2]
    assert [
        peer["name"] for peer in SUMMARY["scenes"][0]["peers"] if peer["name"] not in shown
    ] == []
    assert "docs/benchmarks/probe.svg" in shown


def test_a_budget_broken_in_one_run_is_named():
    lost = {"what": "wall", "unit": "x", "allowed": 0.3, "measured": [0.2, 0.4, 0.2]}
    assert page.holds(lost) == [True, False, True]
    shown = page.page(SUMMARY | {"runs": 3, "budgets": [lost]})
    assert "| wall | 0.200x | 0.400x | 0.200x | 0.300x | **2 of 3** |" in shown
    assert "these don't: wall." in page.readme(SUMMARY | {"budgets": [lost]})


def test_what_was_not_measured_does_not_hold():
    assert page.holds({"allowed": 5.0, "measured": [None]}) == [False]
