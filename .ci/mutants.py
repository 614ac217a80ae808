"""Change the source in many small ways, and count how many of them the tests notice.

    PYTHONPATH=.ci python -m mutants --count 200 --seed 12

First all tests of core and handlers on SQLite run once, to learn which of them run which line.
Each mutant then has those that run its line (MOST of them, drawn by the seed), in a copy of the
tree; it is killed when one fails. Prints what survived, and the share that was killed.
"""

import argparse
import ast
import random
import shutil
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

import coverage

ROOT = Path(__file__).parents[1]
MOST = 25  # tests for one mutant
SLOW = ["tests/core/probe", "tests/handlers/cli/test_app.py"]  # processes, worlds
TESTS = [
    "tests/core",
    "tests/handlers",
    *(f"--ignore={path}" for path in SLOW),
    *("-k", "not postgres"),
]
LEFT_OUT = "not postgres and not arbitrary and not hostile and not openapi"
LIMIT_S = 120
SWAPS: dict[type[ast.AST], type[ast.AST]] = {
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.And: ast.Or,
    ast.Or: ast.And,
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Add,
    ast.FloorDiv: ast.Mult,
}


@dataclass(frozen=True)
class Mutant:
    """One change: in which file, at which line, the how-manieth of its changes, what it does."""

    file: str
    line: int
    number: int
    what: str


def changes(tree: ast.Module) -> Iterator[tuple[int, str, ast.AST, str, object]]:
    """Yield each possible change: line, what it does, the node, its field and the new value."""
    for node in ast.walk(tree):
        line = getattr(node, "lineno", 0)
        if isinstance(node, ast.Compare) and type(node.ops[0]) in SWAPS:
            new = SWAPS[type(node.ops[0])]()
            yield line, _words(node.ops[0], new), node, "ops", [new, *node.ops[1:]]
        elif isinstance(node, ast.BoolOp | ast.BinOp) and type(node.op) in SWAPS:
            new = SWAPS[type(node.op)]()
            yield line, _words(node.op, new), node, "op", new
        elif isinstance(node, ast.Constant) and isinstance(node.value, bool):
            yield line, f"{node.value} -> {not node.value}", node, "value", not node.value
        elif isinstance(node, ast.Constant) and isinstance(node.value, int):
            yield line, f"{node.value} -> {node.value + 1}", node, "value", node.value + 1
        elif isinstance(node, ast.If | ast.IfExp | ast.While):
            test = ast.UnaryOp(op=ast.Not(), operand=node.test)
            yield line, "not (...)", node, "test", test


def _words(old: ast.AST, new: ast.AST) -> str:
    return f"{type(old).__name__} -> {type(new).__name__}"


def mutated(text: str, number: int) -> str:
    """Return a source with one of its changes made."""
    tree = ast.parse(text)
    _line, _what, node, field, value = list(changes(tree))[number]
    setattr(node, field, deepcopy(value))
    return ast.unparse(ast.fix_missing_locations(tree))


def learn(tree: Path) -> dict[tuple[str, int], set[str]]:
    """Run the tests once; return which of them run each line."""
    data = tree / ".coverage-mutants"
    command = [sys.executable, "-m", "pytest", "-q", "-n", "2", "--timeout=900", *TESTS[:-2]]
    command += ["-k", LEFT_OUT, "--cov=core", "--cov=handlers", "--cov-context=test"]
    command += ["--cov-report=", f"--cov-config={tree / 'mutants.ini'}"]
    (tree / "mutants.ini").write_text(f"[run]\ndata_file = {data}\nparallel = true\n")
    subprocess.run(command, cwd=tree, check=False, stdout=subprocess.DEVNULL)
    found: dict[tuple[str, int], set[str]] = defaultdict(set)
    read = coverage.CoverageData(basename=str(data))
    read.read()
    for file in read.measured_files():
        name = Path(file).relative_to(tree).as_posix()
        for line, contexts in read.contexts_by_lineno(file).items():
            found[name, line] |= {one.partition("|")[0] for one in contexts if "::" in one}
    return found


def draw(tree: Path, known: dict[tuple[str, int], set[str]], count: int, seed: int) -> list[Mutant]:
    """Draw mutants among the lines that a test runs, and those that none does."""
    every = []
    for room in ("core", "handlers"):
        for path in sorted((tree / room).rglob("*.py")):
            name = path.relative_to(tree).as_posix()
            if name.startswith("core/probe/"):
                continue
            for number, (line, what, *_) in enumerate(changes(ast.parse(path.read_text()))):
                if known.get((name, line)):
                    every.append(Mutant(name, line, number, what))
    chance = random.Random(seed)  # noqa: S311 (the same mutants each time)
    return chance.sample(every, min(count, len(every)))


def is_killed(tree: Path, mutant: Mutant, tests: list[str]) -> bool:
    """Make the change in `tree`, run the tests, undo it."""
    path = tree / mutant.file
    text = path.read_text()
    path.write_text(mutated(text, mutant.number))
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-n0", "-p", "no:cacheprovider", *tests]
    try:
        done = subprocess.run(
            command, cwd=tree, check=False, capture_output=True, timeout=LIMIT_S
        ).returncode
    except subprocess.TimeoutExpired:
        done = 1
    finally:
        path.write_text(text)
    return done not in (0, 5)


def main() -> None:
    """Print each mutant that survived, then the share that was killed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--seed", type=int, default=12)
    parser.add_argument("--tree", type=Path, default=ROOT)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder, "tree")
        shutil.copytree(given.tree, tree, symlinks=True, ignore=shutil.ignore_patterns(".git"))
        known = learn(tree)
        chance = random.Random(given.seed)  # noqa: S311 (as above)
        mutants = draw(tree, known, given.count, given.seed)
        killed = 0
        for mutant in mutants:
            tests = sorted(known[mutant.file, mutant.line])
            if is_killed(tree, mutant, chance.sample(tests, min(MOST, len(tests)))):
                killed += 1
            else:
                print(f"survived: {mutant.file}:{mutant.line} {mutant.what}", flush=True)
    print(f"killed {killed} of {len(mutants)}")


if __name__ == "__main__":
    main()
