"""The deploy tools, installed as package-lock.json says."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
TOOLS = ROOT / "node_modules" / ".bin" / "serverless"


def need_tools() -> None:
    """Have the tools, or skip loudly; CI never skips."""
    if shutil.which("npm") is None:
        if os.environ.get("CI"):
            pytest.fail("CI must test the deploy, which needs npm")
        pytest.skip("NOT TESTED: the deploy; it needs npm (Node 20 or newer)")
    if not TOOLS.exists():
        subprocess.run(
            ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"],
            check=True,
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
        )


def serverless(*arguments: str, **environment: str) -> str:
    """Run the framework in the project's folder; return what it prints."""
    quiet = {"SLS_TELEMETRY_DISABLED": "1", "SLS_NOTIFICATIONS_MODE": "off"}
    quiet["PYTHON"] = sys.executable  # what is deployed is built by it
    ours = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    (ROOT / ".serverless").mkdir(exist_ok=True)  # it is written to before it is made
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
