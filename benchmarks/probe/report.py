"""What was measured, as plain data: what docs/benchmarks/probe.json holds."""

import os
import platform
import re
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from math import isnan
from pathlib import Path

from benchmarks.probe.budgets import Results, Run, verdicts
from benchmarks.probe.peers import ALL, ICMPLIB, Peer
from benchmarks.probe.stage import Scene, middle

Json = dict[str, object]
APART = 1000  # between the pass numbers of two runs
PROGRAMS = (
    ["fping", "--version"],
    ["nmap", "--version"],
    ["prometheus-blackbox-exporter", "--version"],
    ["cc", "--version"],
)


def machine() -> Json:
    """Where and when, with what; the load says whether the machine was quiet before."""
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "system": f"Linux {platform.release()}, {platform.machine()}",
        "processor": _first("/proc/cpuinfo", r"model name\s*: (.*)"),
        "processors": os.cpu_count(),
        "memory_mb": int(_first("/proc/meminfo", r"MemTotal:\s+(\d+)") or 0) // 1024,
        "load": round(os.getloadavg()[0], 2),
        "versions": [
            f"Python {platform.python_version()}",
            ICMPLIB.replace("==", " "),
            *filter(None, map(_version, PROGRAMS)),
        ],
    }


def _first(path: str, wanted: str) -> str:
    found = re.search(wanted, Path(path).read_text(encoding="utf-8"))
    return found[1] if found else ""


def _version(command: list[str]) -> str:
    """Name and version, as the program says them in its first line."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return ""
    found = re.search(r"\d+\.\d[\w.]*", done.stdout + done.stderr)
    return f"{command[0]} {found[0]}" if found else ""


def summary(runs: Sequence[Results], notes: Sequence[str], where: Json) -> Json:
    """All that pages and charts are made of; figures that aren't known are None."""
    together = _together(runs)
    scenes = dict.fromkeys(scene for scene, _, _ in [*together.runs, *together.truths])
    return {
        "command": f"python -m benchmarks.probe {' '.join(sys.argv[1:])}".rstrip(),
        "machine": where,
        "runs": len(runs),
        "budgets": _budgets(runs),
        "scenes": [_scene(together, scene) for scene in scenes],
        "notes": list(dict.fromkeys(notes)),
    }


def _together(runs: Sequence[Results]) -> Results:
    """The passes of all runs, as if they were one run's."""
    whole = Results()
    for number, results in enumerate(runs):
        for source, target in ((results.runs, whole.runs), (results.truths, whole.truths)):
            for key, passes in source.items():
                target.setdefault(key, []).extend(
                    Run(
                        one.pass_number + APART * number, one.measured, one.net_cpu_s, one.errors_ms
                    )
                    for one in passes
                )
    return whole


def _budgets(runs: Sequence[Results]) -> list[Json]:
    """Each budget with what every run measured against it."""
    return [
        {
            "what": row[0].what,
            "unit": row[0].unit,
            "allowed": _known(row[0].allowed),
            "measured": [_known(one.measured) for one in row],
        }
        for row in zip(*(verdicts(results) for results in runs), strict=True)
    ]


def _scene(results: Results, scene: Scene) -> Json:
    peers = [_peer(results, scene, peer) for peer in ALL]
    return {
        "name": scene.name,
        "wanted": scene.servers * scene.echoes,
        "peers": [peer for peer in peers if peer],
    }


def _peer(results: Results, scene: Scene, peer: Peer) -> Json:
    """One peer's medians, empty if it took no part."""
    free, true = results.of(scene, peer), results.truth_of(scene, peer)
    runs = free or true
    if not runs:
        return {}
    wanted = scene.servers * scene.echoes
    cpu_us = [run.net_cpu_s * 1e6 / wanted for run in runs if not isnan(run.net_cpu_s)]
    answers = [run.measured.answered for run in free + true]
    return {
        "name": peer.name,
        "kind": peer.kind,
        "passes": [len(free), len(true)],
        "wall_s": _known(middle([run.measured.wall_s for run in runs])),
        "cpu_us": _known(middle(cpu_us)),
        "peak_mb": _known(middle([run.measured.peak_kb * 1.024e-3 for run in runs])),
        "answers": [min(answers), max(answers)],
        "error_p50_ms": _known(results.error(scene, peer, 0.5)),
        "error_p99_ms": _known(results.error(scene, peer, 0.99)),
    }


def _known(value: float) -> float | None:
    """JSON has no NaN; four significant digits are more than any of this is worth."""
    return None if isnan(value) else float(f"{value:.4g}")
