"""What docs/benchmarks/probe.json says, for people: a page, a chart, and the README's share.

    python -m benchmarks.probe.page

writes all three again from the JSON; test_page.py compares them.
"""

import json
import re
import textwrap
from math import log10
from pathlib import Path
from typing import Any

from benchmarks.probe import peers
from benchmarks.probe.chart import chart

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "docs" / "benchmarks"
DATA, PAGE, CHART = (FOLDER / f"probe.{kind}" for kind in ("json", "md", "svg"))
README = ROOT / "README.md"
PLACE = re.compile(r"(<!-- benchmark:.*?-->\n)(.*?)(<!-- end of benchmark -->)", re.DOTALL)
Summary = dict[str, Any]

HOW = """\
Figures are medians of several passes. A pass runs every peer once, and ratios are computed within a
pass. *Wall* is the time of the sweep (libraries) or of the process (programs). *CPU* is per echo,
with the start-up (the same program with one server) subtracted. *Error* is the difference between
the reported round trips and the true ones, which the kernel timestamps at the device where the
packets leave for the simulated network, called the world. These runs are separate ("5 + 5 passes")
because timestamping costs every peer CPU. A peer that takes many seconds runs less often, and one
run serves both purposes. *Answers* are the answers that a peer counted. The world answers every
packet that it receives, so any missing answer was lost by the peer. Over loopback the true ICMP
round trip is 1 to 2 us, so the error shown there is the reported time itself. fping -i0 overruns
its own receive buffer and does no work for the packets that it drops, so its CPU is an
underestimate wherever answers are missing. The CPU and memory of blackbox_exporter are those of the
service alone. The C programs are lower bounds: they match no tokens, keep no window and know only
one verdict.
"""
COLUMNS = (
    "| peer | kind | passes | wall s | CPU us an echo | peak MB | answers | error p50 ms | p99 ms |"
)
RULE = "|---|---|--:|--:|--:|--:|--:|--:|--:|"
README_COLUMNS = (
    "| | kind | wall s | CPU us an echo | answers counted | error of the round trip: median ms "
    "| p99 ms |"
)
README_RULE = "|---|---|--:|--:|--:|--:|--:|"


def figure(value: float | None, digits: int = 3) -> str:
    """That many significant digits; a dash for what isn't known."""
    if value is None:
        return "-"
    if value and abs(value) < 10 ** (digits - 1):
        return f"{value:.{max(0, digits - 1 - int(log10(abs(value)) // 1))}f}"
    return f"{value:,.0f}"


def holds(budget: Summary) -> list[bool]:
    """In which runs; what wasn't measured doesn't hold."""
    allowed = budget["allowed"]
    return [value is not None and value <= allowed for value in budget["measured"]]


def page(summary: Summary) -> str:
    """All of it."""
    lines = ["# The probe engine beside its peers", ""]
    lines += [_filled(f"Made by `{summary['command']}`; do not edit. {_where(summary)}"), ""]
    lines += [HOW, "![Wall and error of all peers](probe.svg)", "", *_budget_table(summary), ""]
    lines += [_filled(_floors(summary["scenes"][0])), ""]
    for scene in summary["scenes"]:
        rows = [_row(peer, scene["wanted"]) for peer in scene["peers"]]
        lines += [f"## {scene['name'][0].upper()}{scene['name'][1:]}", "", COLUMNS, RULE, *rows, ""]
    lines += [f"- {note}" for note in summary["notes"]]
    return "\n".join(lines).rstrip() + "\n"


def readme(summary: Summary) -> str:
    """The main scene's table, the chart, and what didn't hold."""
    scene = summary["scenes"][0]
    rows = [_short_row(peer, scene["wanted"]) for peer in scene["peers"]]
    said = (
        f"{_judged(summary)} {_floors(scene)} All measurements, including those where Pinglet "
        f"loses, are in [docs/benchmarks/probe.md](docs/benchmarks/probe.md). {_where(summary)}"
    )
    lines = [f"In a {scene['name']}:", "", README_COLUMNS, README_RULE, *rows, ""]
    lines += ["![Wall and error of all peers](docs/benchmarks/probe.svg)", "", _filled(said), ""]
    return "\n".join(lines)


def _filled(text: str) -> str:
    return textwrap.fill(text, 100, break_long_words=False, break_on_hyphens=False)


def _where(summary: Summary) -> str:
    machine = summary["machine"]
    return (
        f"Measured on {machine['date']} in {_counted(summary['runs'], 'run')} on "
        f"{machine['processors']} x {machine['processor']}, {machine['memory_mb']:,} MB, "
        f"{machine['system']}; {', '.join(machine['versions'])}; load before: {machine['load']}."
    )


def _counted(count: int, what: str) -> str:
    return f"one {what}" if count == 1 else f"{count} {what}s"


def _judged(summary: Summary) -> str:
    lost = [one["what"] for one in summary["budgets"] if not all(holds(one))]
    count = len(summary["budgets"])
    runs = "every run" if summary["runs"] > 1 else "this one run"
    kept = f"{count - len(lost)} of the engine's {count} budgets hold in {runs}"
    return f"{kept}; these don't: {'; '.join(lost)}." if lost else f"{kept}."


def _floors(scene: Summary) -> str:
    """How much of the CPU that a budget is a share of goes to the kernel, which C shows."""
    cpu_us = {(peer["kind"], peer["name"]): peer["cpu_us"] for peer in scene["peers"]}
    shares = []
    for c, peer in ((peers.C_ICMP, peers.FPING_0), (peers.C_TCP, peers.STREAMS)):
        least, theirs = cpu_us.get((c.kind, c.name)), cpu_us.get((peer.kind, peer.name))
        if least and theirs:
            shares.append(f"{figure(least / theirs)}x the CPU of {peer.name}")
    return f"For reference, plain C uses {' and '.join(shares)}." if shares else ""


def _budget_table(summary: Summary) -> list[str]:
    runs = range(1, summary["runs"] + 1)
    head = f"| budget | {' | '.join(f'run {n}' for n in runs)} | allowed | holds in |"
    rule = f"|---|{'--:|' * len(runs)}--:|---|"
    return ["## Budgets", "", head, rule, *map(_budget_row, summary["budgets"])]


def _budget_row(budget: Summary) -> str:
    unit = f" {budget['unit']}" if budget["unit"] not in ("", "x") else budget["unit"]
    cells = [f"{figure(value)}{unit}" for value in [*budget["measured"], budget["allowed"]]]
    kept = holds(budget)
    verdict = f"{sum(kept)} of {len(kept)}"
    verdict = verdict if all(kept) else f"**{verdict}**"
    return f"| {budget['what']} | {' | '.join(cells)} | {verdict} |"


def _name(peer: Summary) -> str:
    return f"**{peer['name']}**" if peer["name"] == "pinglet" else str(peer["name"])


def _answers(peer: Summary, wanted: int) -> str:
    least, most = peer["answers"]
    if least == wanted:
        return "all"
    return f"{least:,}" if least == most else f"{least:,} to {most:,}"


def _row(peer: Summary, wanted: int) -> str:
    free, true = peer["passes"]
    cells = [_name(peer), peer["kind"], f"{free} + {true}"]
    cells += [figure(peer[key]) for key in ("wall_s", "cpu_us", "peak_mb")]
    cells += [_answers(peer, wanted), figure(peer["error_p50_ms"]), figure(peer["error_p99_ms"])]
    return f"| {' | '.join(cells)} |"


def _short_row(peer: Summary, wanted: int) -> str:
    cells = [_name(peer), peer["kind"], figure(peer["wall_s"]), figure(peer["cpu_us"])]
    cells += [_answers(peer, wanted)]
    cells += [figure(peer[key], digits=2) for key in ("error_p50_ms", "error_p99_ms")]
    return f"| {' | '.join(cells)} |"


def made(summary: Summary) -> dict[Path, str]:
    """Every file that is made of the JSON, as it should be."""
    text = README.read_text(encoding="utf-8")
    return {
        PAGE: page(summary),
        CHART: chart(summary["scenes"][0], figure),
        README: PLACE.sub(lambda found: found[1] + readme(summary) + found[3], text),
    }


def main() -> None:
    """Write them."""
    summary = json.loads(DATA.read_text(encoding="utf-8"))
    for path, text in made(summary).items():
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
