"""The deploy tools, installed as package-lock.json says."""

import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
TOOLS = ROOT / "node_modules" / ".bin" / "serverless"


@cache
def tools_run() -> bool:
    """Whether what `make npm` installs is there, and Node is new enough to run it."""
    if not TOOLS.exists():
        return False
    return subprocess.run([TOOLS, "--version"], check=False, capture_output=True).returncode == 0


def need_tools(tested: str = "packages and deploy") -> None:
    """Have the tools, or say aloud what isn't tested."""
    if not tools_run():
        pytest.skip(f"NOT TESTED: {tested}; needs Node 20.19 or newer, and `make npm`")


def serverless(*arguments: str, **environment: str) -> str:
    """Run the framework in the project's folder; return what it prints."""
    quiet = {"SLS_TELEMETRY_DISABLED": "1", "SLS_NOTIFICATIONS_MODE": "off"}
    quiet["PYTHON"] = sys.executable  # what is deployed is built by it
    ours = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    done = subprocess.run(
        [str(TOOLS), *arguments],
        check=False,
        cwd=ROOT,
        env=ours | quiet | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout
