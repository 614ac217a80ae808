"""What the README and docs/benchmarks say of the probe engine is what was measured."""

import json

import pytest

from benchmarks.probe import page, peers, report
from benchmarks.probe.budgets import MAIN, Results, Run
from benchmarks.probe.stage import Measured

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


def results(our_wall_s: float, their_wall_s: float) -> Results:
    """One run in which the engine and fping went through the main scene once."""
    made = Results()
    for peer, wall_s in ((peers.OURS_ICMP, our_wall_s), (peers.FPING, their_wall_s)):
        measured = Measured(wall_s, 0.1, 20_000, {"10.77.0.1": [35.0]}, {"faults": 0})
        made.runs[(MAIN, peer.kind, peer.name)] = [Run(0, measured, 0.05)]
    return made


def test_every_run_judges_the_budgets_by_its_own_passes():
    summary = report.summary([results(0.2, 1.0), results(0.8, 2.0)], ["a note"] * 2, {})
    by_fping = next(one for one in summary["budgets"] if "fping -i0.02" in one["what"])
    assert by_fping["measured"] == [0.2, 0.4]
    assert page.holds(by_fping) == [True, False]
    (scene,) = summary["scenes"]
    assert [peer["wall_s"] for peer in scene["peers"]] == [0.5, 1.5]
    assert [peer["passes"] for peer in scene["peers"]] == [[2, 0], [2, 0]]
    assert summary["notes"] == ["a note"]
    assert json.loads(json.dumps(summary, allow_nan=False)) == summary
