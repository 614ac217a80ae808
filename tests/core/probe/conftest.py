"""The world the engine is tested against."""

from collections.abc import Iterator

import pytest

from benchmarks.probe.world import World, lacking


@pytest.fixture(scope="session")
def world() -> Iterator[World]:
    """A running world; each test gives it a plan of its own."""
    lack = lacking()
    if lack:
        pytest.skip(f"NOT TESTED: the engine against a network of its own; needs {lack}")
    with World() as running:
        yield running
