"""The recipe of docs/design.md for a field of a server, tried on a copy of the source."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from benchmarks import walk

ROOT = Path(__file__).parents[1]
TRIAL = Path(__file__).parent / "fixtures" / "a_field"
MOST_FILES, MOST_LINES = 8, 25


def test_a_field_of_a_server_is_a_few_lines_and_is_everywhere(tmp_path: Path) -> None:
    for room in ("core", "handlers", "infra"):
        shutil.copytree(ROOT / room, tmp_path / room, ignore=shutil.ignore_patterns("__pycache__"))
    subprocess.run(["git", "apply", "-C1", TRIAL / "note.patch"], cwd=tmp_path, check=True)
    ask = [sys.executable, TRIAL / "ask.py", tmp_path]
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    done = subprocess.run(
        ask, cwd=tmp_path, env=environment, check=True, stdout=subprocess.PIPE, text=True
    )
    found = json.loads(done.stdout)
    assert found.pop("bulk")["results"][0]["status"] == "CREATED"
    assert found == {
        "list": "rack 4",
        "imported application/json": "rack 4",
        "imported text/csv": "rack 4",
        "command line": "rack 4",
        "GraphQL": {"data": {"server": {"note": "rack 4"}}},
        "changed": "rack 5",
        "taken away": None,
        "page": True,
        "described": ["BulkServer", "ServerChange", "ServerKept", "ServerShown", "ServerWanted"],
    }


def test_the_page_shows_what_the_trial_took() -> None:
    patch = TRIAL / "note.patch"
    told = subprocess.run(
        ["git", "apply", "--stat", patch], check=True, capture_output=True, text=True
    ).stdout
    files = told.splitlines()[:-1]
    lines = patch.read_text().splitlines()
    added = sum(line.startswith("+") and not line.startswith("+++") for line in lines)
    assert len(files) <= MOST_FILES
    assert added <= MOST_LINES
    page = (ROOT / "docs" / "design.md").read_text()
    assert f"{len(files)} files changed, {added} insertions(+)" in page


def test_the_page_says_how_many_files_name_a_field() -> None:
    page = (ROOT / "docs" / "design.md").read_text()
    named = walk.files_naming(["ip", "probe", "port", "interval_s", "enabled"])
    for field, count in named.items():
        assert re.search(rf"^\| `{field}` \| \d+ \| {count} \|$", page, re.M), f"{field}: {count}"
