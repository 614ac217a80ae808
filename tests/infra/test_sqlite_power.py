"""SQLite and a power cut: what was acknowledged is on the disk."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from core.settings import Settings
from infra import backup
from tests.infra.databases import opened, unseen
from tests.infra.rows import add

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


def test_a_power_cut_finds_what_was_restored_under_its_name(
    preloaded: dict[str, str], sqlite_settings: Settings, tmp_path: Path
) -> None:
    with opened(sqlite_settings) as database:
        add(database, "early")
        backup.back_up(database, tmp_path / "backup.db", unseen)
    live, synced = (Path(preloaded[name]) for name in ("WATCHED", "SYNCED"))
    subprocess.run(
        [sys.executable, "-m", "flask", "db", "restore", tmp_path / "backup.db"],
        cwd=ROOT,
        env=os.environ | preloaded | {"DATABASE_URL": f"sqlite:///{live}/pinglet.db"},
        check=True,
    )
    assert "pinglet.db" in (synced / "names").read_text().splitlines()
    assert (synced / "pinglet.db").read_bytes() == (live / "pinglet.db").read_bytes()
