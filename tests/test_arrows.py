"""Who may import whom (importlinter, pyproject.toml); where an import may wait in a function."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import rooms  # from .ci

ROOT = Path(__file__).parents[1]
FILES = [path for room in ("core", "handlers", "infra") for path in (ROOT / room).rglob("*.py")]
GRANT = re.compile(r"^\| `(?P<file>[a-z_/]+\.py)` \| (?P<modules>`[^|]*`) \|", re.M)


def granted() -> dict[str, set[str]]:
    """Return what docs/design.md allows a file to import inside functions."""
    text = (ROOT / "docs" / "design.md").read_text()
    table = text.partition("## Imports inside functions")[2].partition("\n## ")[0]
    return {
        found["file"]: set(re.findall(r"`([^`]+)`", found["modules"]))
        for found in GRANT.finditer(table)
    }


def waiting(path: Path) -> set[str]:
    """Return the top-level names of what a file imports inside functions."""
    tree = ast.parse(path.read_text())
    inside = [node for node in ast.walk(tree) if node not in tree.body]
    plain = {name.name for node in inside if isinstance(node, ast.Import) for name in node.names}
    named = {node.module or "" for node in inside if isinstance(node, ast.ImportFrom)}
    called = {
        "import_string"
        for node in inside
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in ("import_string", "import_module", "__import__")
    }
    return {
        name if name.startswith("core") else name.split(".")[0] for name in plain | named | called
    }


LINT = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports())"


def test_imports_go_where_the_design_says() -> None:
    # In a process of its own: it sets logging up anew, and later tests would hear none of ours.
    done = subprocess.run([sys.executable, "-c", LINT], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_an_import_inside_a_function_is_one_that_the_design_grants() -> None:
    found = {path.relative_to(ROOT).as_posix(): waiting(path) for path in FILES}
    assert {file: names for file, names in found.items() if names} == granted()


def test_the_picture_shows_the_rooms_and_arrows_there_are() -> None:
    counts = re.compile(r">[\d, files]+ lines<")
    assert counts.sub("", rooms.picture()) == counts.sub("", rooms.PICTURE.read_text())
