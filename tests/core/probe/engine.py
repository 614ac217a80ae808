"""What the tests of the engine share: sweeps small and quick, and what is needed for them."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from time import time_ns
from typing import Any

import pytest

from core.probe import PORTABLE, Kind, Pace, Result, Verdict
from core.probe.system import HERE

ROOT = Path(__file__).parents[3]
KINDS = pytest.mark.parametrize("kind", list(Kind))
SYSTEMS = pytest.mark.parametrize("system", [HERE, PORTABLE], ids=["here", "portable"])
LOOPBACKS = pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
QUICK = Pace(echoes=2, timeout_s=5, gap_s=0.001)
SECOND_NS = 1_000_000_000

# Printed as JSON: the verdicts, the first reason, and how many descriptors are open at the end.
FULL_TABLE = """
import json, os, resource, sys
from core.probe import Kind, Pace, Destination, probe
kind, spare, targets = Kind(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
probe(kind, [Destination("127.0.0.1", (9,))], Pace(echoes=1))  # all is imported, all is warm
used = len(os.listdir("/proc/self/fd")) - 1
resource.setrlimit(resource.RLIMIT_NOFILE, (used + spare, used + spare))
patient = Pace(echoes=2, timeout_s=10, gap_s=0.001)
results = probe(kind, [Destination("127.0.0.1", (9,))] * targets, patient)
echoes = [echo for result in results for echo in result.echoes]
resource.setrlimit(resource.RLIMIT_NOFILE, (used + spare, used + spare))
print(json.dumps([[echo.verdict for echo in echoes], echoes[0].reason]))
"""


def verdicts(results: Sequence[Result]) -> list[list[Verdict]]:
    """Just the verdicts, target by target."""
    return [[echo.verdict for echo in result.echoes] for result in results]


def need_root() -> None:
    """Have root, or skip aloud."""
    if os.geteuid() != 0:
        pytest.skip("NOT TESTED: full buffers and the sockets of others; needs root")


def printed(*words: str) -> Any:
    """What a Python program prints as JSON."""
    command = [sys.executable, *words]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return json.loads(run.stdout)


class SteppedClock:
    """The wall clock of a machine on which somebody sets it."""

    def __init__(self) -> None:
        self.ahead_ns = 0

    def __call__(self) -> int:
        return time_ns() + self.ahead_ns
