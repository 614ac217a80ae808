"""Tests mirror the tree: core/slots.py is tested in tests/core/test_slots.py, and so each file.

Where one file's tests are many they are several: test_contract.py, test_contract_races.py.
"""

from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
TESTS = ROOT / "tests"

UNTESTED = {
    "handlers/api.py": "an old name: handlers/test_aliases.py",
    "handlers/local.py": "an old name: handlers/test_aliases.py",
    "handlers/manage.py": "an old name: handlers/test_aliases.py",
    "handlers/prober.py": "an old name: handlers/test_aliases.py",
    "infra/migrations/env.py": "Alembic runs it, never we: infra/test_migrations.py",
}
CROSSING = {
    "test_backtest_benchmark.py": "benchmarks/backtest.py",
    "test_arrows.py": "imports of the whole tree",
    "test_ci.py": "what CI runs",
    "test_cloud.py": "all functions in a cloud on this machine",
    "test_fleet_benchmark.py": "benchmarks/fleet",
    "test_import_cost.py": "what a process loads",
    "test_leaks.py": "the guard over every test's log",
    "test_mirror.py": "this one",
    "test_recipe.py": "docs/design.md: where to add a field",
    "test_package.py": "what is installed",
    "test_platforms.py": "the oldest and the newest that Pinglet stands on",
    "test_requirements.py": "what is imported, listed and said to be needed",
    "test_readme.py": "what the README shows",
    "test_sentences.py": "every sentence that an error tells",
    "test_storage_benchmark.py": "benchmarks/storage",
    "test_upgrade.py": "a database of v0.1.0, read by this release",
    "core/probe/test_echoes.py": "the engine on loopback",
    "core/probe/test_world.py": "the world that judges the engine",
    "core/probe/test_world_clock_step.py": "the engine in that world",
    "core/probe/test_world_sweeps.py": "the engine in that world",
    "core/probe/test_world_truth.py": "the engine in that world",
    "core/probe/test_world_verdicts.py": "the engine in that world",
    "handlers/test_aliases.py": "the names of v0.1.0",
    "handlers/test_secrets.py": "every way out",
    "handlers/test_twins.py": "every call: REST, GraphQL and command line",
    "handlers/cli/test_process.py": "all commands as processes",
    "handlers/functions/test_fleet.py": "a round over schedule, probe and record",
    "handlers/http/graphql/test_arbitrary.py": "all of /graphql",
    "handlers/http/graphql/test_gate.py": "all of /graphql, by role",
    "handlers/http/graphql/test_hostile.py": "all of /graphql",
    "infra/test_chaos.py": "worker, database and API under fire",
    "infra/test_template.py": "serverless.yml",
}


def sources() -> set[str]:
    """Return the files that need tests of their own."""
    found = {
        path.relative_to(ROOT).as_posix()
        for room in ("core", "handlers", "infra")
        for path in (ROOT / room).rglob("*.py")
        if path.name != "__init__.py" and path.parent.name != "versions"
    }
    return found - set(UNTESTED)


def files_of_tests() -> set[str]:
    """Return the files that hold tests, but for those of the pages, which are no Python."""
    found = {path.relative_to(TESTS) for path in TESTS.rglob("test_*.py")}
    return {path.as_posix() for path in found if path.parts[0] not in ("browser", "pins")}


def mirrored_by(test: str) -> str | None:
    """Return the file, or else the package, that a file of tests has its name and place from."""
    for name in _shorter_and_shorter(Path(test).stem.removeprefix("test_")):
        beside = Path(test).with_name(name)
        file, package = f"{beside}.py", beside / "__init__.py"
        if name == "main":
            file = beside.with_name("__main__.py").as_posix()
        if (ROOT / file).exists():
            return file
        if (ROOT / package).exists():
            return package.as_posix()
    return None


def _shorter_and_shorter(name: str) -> Iterator[str]:
    while name:
        yield name
        name = name.rpartition("_")[0]


def test_every_file_has_its_tests_in_the_mirrored_place() -> None:
    assert sources() - {mirrored_by(test) for test in files_of_tests()} == set()


def test_every_test_mirrors_a_file_or_says_what_it_crosses() -> None:
    mirroring = {test for test in files_of_tests() - set(CROSSING) if mirrored_by(test)}
    assert files_of_tests() - mirroring - set(CROSSING) == set()


def test_what_is_left_out_is_there() -> None:
    assert all((ROOT / file).exists() for file in UNTESTED)
    assert set(CROSSING) <= files_of_tests()
