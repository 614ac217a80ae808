"""Across the packages: the names of v0.1.0 work until 2.0, and are the same objects."""

import importlib
import subprocess
import sys

import pytest

from core.settings import Settings
from tests.handlers.conftest import ROOT, environment, flask_command

ALIASES = {
    "handlers.api": {
        "handler": "handlers.functions.api",
        "create_app": "handlers.http.app",
    },
    "handlers.prober": {"probe": "handlers.functions.probe"},
    "handlers.worker": {
        "schedule": "handlers.functions.schedule",
        "record": "handlers.functions.record",
        "tidy": "handlers.functions.tidy",
    },
    "handlers.manage": {"handler": "handlers.functions.manage"},
    "handlers.local": {"create_app": "handlers.cli.app"},
}


@pytest.mark.parametrize("old", ALIASES)
def test_an_old_name_is_the_new_object(old: str) -> None:
    alias = importlib.import_module(old)
    for name, module in ALIASES[old].items():
        assert getattr(alias, name) is getattr(importlib.import_module(module), name)


def test_a_file_that_is_but_an_alias_says_all_that_it_is_for() -> None:
    for old, names in ALIASES.items():
        alias = importlib.import_module(old)
        if not hasattr(alias, "__path__"):
            assert sorted(alias.__all__) == sorted(names)


def test_lambda_finds_an_old_handler_in_a_process_that_knows_nothing_else() -> None:
    for module, names in ALIASES.items():
        for name in names:
            program = f"import importlib; importlib.import_module({module!r}).{name}"
            subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True, timeout=250)


def test_the_loop_on_one_machine_loads_no_function_of_aws() -> None:
    program = "import handlers.worker.rounds, sys; print(*sys.modules)"
    command = [sys.executable, "-c", program]
    loaded = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    assert not [module for module in loaded.split() if module.startswith("handlers.functions")]


def test_the_worker_has_no_other_name() -> None:
    with pytest.raises(AttributeError, match="nothing"):
        importlib.import_module("handlers.worker").nothing  # noqa: B018 (the test)


def test_flask_finds_its_commands_under_the_old_name_of_the_application(
    sqlite_settings: Settings,
) -> None:
    done = subprocess.run(
        flask_command("servers", "add", "web", "127.0.0.1"),
        cwd=ROOT,
        env=environment(sqlite_settings.database_url, FLASK_APP="handlers.local"),
        check=False,
        capture_output=True,
        text=True,
        timeout=250,
    )
    assert (done.returncode, done.stdout) == (0, "Added web (127.0.0.1)\n")
