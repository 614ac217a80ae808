"""SQLite and a power cut: what was acknowledged is on the disk."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def preloaded(tmp_path: Path) -> dict[str, str]:
    """An environment in which what a process syncs of `live` is copied into `synced`."""
    if not (compiler := shutil.which("cc")) or sys.platform != "linux":
        pytest.skip("NOT TESTED: power cuts; needs Linux and a C compiler")
    library, live, synced = (tmp_path / name for name in ("synced.so", "live", "synced"))
    live.mkdir()
    synced.mkdir()
    source = Path(__file__).with_name("synced.c")
    build = [compiler, "-shared", "-fPIC", "-Wall", "-Wextra", "-Werror", "-o", library, source]
    subprocess.run([*build, "-ldl"], check=True)
    return {"LD_PRELOAD": str(library), "WATCHED": str(live), "SYNCED": str(synced)}


def test_a_power_cut_takes_nothing_that_people_were_told_is_done(preloaded: dict[str, str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.infra.power"],
        cwd=ROOT,
        env=os.environ | preloaded,
        capture_output=True,
        text=True,
        check=True,
    )
    kept = dict(json.loads(done.stdout))
    assert len(kept) > 30
    assert [call for call, is_kept in kept.items() if not is_kept] == []
