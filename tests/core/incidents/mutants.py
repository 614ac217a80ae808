"""A module with one thing wrong in it: tests show that they find it."""

import sys
from types import ModuleType

import pytest


def mutated(source: str, right: str, wrong: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Return the module of that source with what is `right`, which stands there once, wrong."""
    assert source.count(right) == 1
    mutant = ModuleType("mutant")
    monkeypatch.setitem(sys.modules, "mutant", mutant)
    exec(compile(source.replace(right, wrong), "mutant", "exec"), mutant.__dict__)  # noqa: S102
    return mutant
