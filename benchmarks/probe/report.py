"""What was measured, as a page of Markdown and a chart."""

import os
import platform
from html import escape
from math import isnan, log10

from benchmarks.probe.budgets import MAIN, Results, Run, verdicts
from benchmarks.probe.peers import ALL, Peer
from benchmarks.probe.stage import Scene, middle

HEADER = """# The probe engine beside its peers

Made by `python -m benchmarks.probe --write`; do not edit. {system}

Medians of several passes; a pass runs every peer once, and ratios are taken within a pass. *Wall*
is the sweep's (libraries) or the process's (programs). *CPU* is per echo, start-up subtracted (the
same program with one server). *Error* is how far the reported round trips are from the true ones,
which the kernel stamps at the device where the packets leave for the world; those runs are
separate ("5 + 5 runs"), because the stamping costs every peer CPU; a peer that takes many
seconds runs less often, and one run serves for both. Over loopback the true ICMP round trip is 1
to 2 us, so there the error is the reported time itself. fping -i0 overruns its own receive buffer;
what it drops it needn't work on, so its CPU is an underestimate where not all is answered.
blackbox_exporter's CPU and memory are the service's alone.
The C programs are floors: they match no tokens, keep no window and know no verdicts but one.
"""
COLUMNS = (
    "| peer | kind | runs | wall s | CPU us an echo | peak MB | answers | error p50 ms | p99 ms |"
)
RULE = "|---|---|--:|--:|--:|--:|--:|--:|--:|"


def figure(value: float, digits: int = 3) -> str:
    """That many significant digits; a dash for what isn't known."""
    if isnan(value):
        return "-"
    if value and abs(value) < 10 ** (digits - 1):
        return f"{value:.{max(0, digits - 1 - int(log10(abs(value)) // 1))}f}"
    return f"{value:,.0f}"


def row(results: Results, scene: Scene, peer: Peer) -> str:
    """One peer's row, or nothing if it took no part."""
    free, true = results.of(scene, peer), results.truth_of(scene, peer)
    runs = free or true
    if not runs:
        return ""
    wanted = scene.servers * scene.echoes

    def typical(what: "list[float]") -> str:
        return figure(middle(what))

    answers = [run.measured.answered for run in free + true]
    cells = [
        f"**{peer.name}**" if peer.name == "pinglet" else peer.name,
        peer.kind,
        f"{len(free)} + {len(true)}",
        typical([run.measured.wall_s for run in runs]),
        typical([run.net_cpu_s * 1e6 / wanted for run in runs if not isnan(run.net_cpu_s)]),
        typical([run.measured.peak_kb * 1.024e-3 for run in runs]),
        "all" if min(answers) == wanted else f"{min(answers):,} to {max(answers):,}",
        figure(results.error(scene, peer, 0.5)),
        figure(results.error(scene, peer, 0.99)),
    ]
    return f"| {' | '.join(cells)} |"


def table(results: Results, scene: Scene) -> str:
    """All peers of one scene."""
    rows = [text for text in (row(results, scene, peer) for peer in ALL) if text]
    return "\n".join([f"## {scene.name[0].upper()}{scene.name[1:]}", "", COLUMNS, RULE, *rows, ""])


def page(results: Results, notes: list[str]) -> str:
    """The whole page."""
    system = (
        f"Python {platform.python_version()}, Linux {platform.release()}, "
        f"{os.cpu_count()} CPUs, {platform.machine()}."
    )
    lines = [HEADER.format(system=system), "![chart](benchmarks-probe.svg)", "", "## Budgets", ""]
    lines += ["| budget | measured | allowed | verdict |", "|---|--:|--:|---|"]
    for one in verdicts(results):
        unit = f" {one.unit}" if one.unit not in ("", "x") else one.unit
        lines.append(
            f"| {one.what} | {figure(one.measured)}{unit} | {figure(one.allowed)}{unit} "
            f"| {one.holds} |"
        )
    lines.append("")
    scenes = dict.fromkeys(scene for scene, _, _ in [*results.runs, *results.truths])
    lines += [table(results, scene) for scene in scenes]
    lines += [f"- {note}" for note in notes]
    return "\n".join(lines).rstrip() + "\n"


# ---- the chart ----

WIDTH, LEFT, BAR, GAP, TOP = 860, 250, 14, 6, 64
PANEL = 260
OURS, THEIRS, INK = "#0b7285", "#adb5bd", "#212529"


def chart(results: Results) -> str:
    """Wall and the error's 99th percentile of the main scene, on logarithmic scales, as SVG."""
    bars = []
    for peer in ALL:
        runs: list[Run] = results.of(MAIN, peer)
        if runs:
            wall_s = middle([run.measured.wall_s for run in runs])
            p99_ms = results.error(MAIN, peer, 0.99)
            bars.append((peer, wall_s, p99_ms))
    bars.sort(key=lambda bar: (bar[0].kind, bar[1]))
    height = TOP + len(bars) * (BAR + GAP) + 24
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        f'font-family="system-ui, sans-serif" font-size="12" fill="{INK}" role="img" '
        'aria-label="Wall time and error of the probe engine and its peers">',
        f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>',
        f'<text x="12" y="22" font-size="15" font-weight="600">{escape(MAIN.name)}</text>',
        f'<text x="{LEFT}" y="48">wall, s (log scale, less is better)</text>',
        f'<text x="{LEFT + PANEL + 40}" y="48">error of the round trip, p99, ms (log scale)</text>',
    ]
    for at, (peer, wall_s, p99_ms) in enumerate(bars):
        y = TOP + at * (BAR + GAP)
        colour = OURS if peer.name == "pinglet" else THEIRS
        weight = ' font-weight="600"' if peer.name == "pinglet" else ""
        label = escape(f"{peer.name} ({peer.kind})")
        parts.append(f'<text x="{LEFT - 8}" y="{y + 11}" text-anchor="end"{weight}>{label}</text>')
        parts += bar(LEFT, y, wall_s, 0.05, 100, colour)
        parts += bar(LEFT + PANEL + 40, y, p99_ms, 0.001, 10_000, colour)
    parts.append("</svg>")
    return "\n".join(parts) + "\n"


def bar(x: int, y: int, value: float, least: float, most: float, colour: str) -> list[str]:
    """One bar and its figure."""
    if isnan(value) or value <= 0:
        return [f'<text x="{x}" y="{y + 11}">-</text>']
    share = (log10(value) - log10(least)) / (log10(most) - log10(least))
    length = max(2.0, min(1.0, share) * (PANEL - 60))
    return [
        f'<rect x="{x}" y="{y}" width="{length:.1f}" height="{BAR}" rx="2" fill="{colour}"/>',
        f'<text x="{x + length + 6:.1f}" y="{y + 11}">{figure(value)}</text>',
    ]
