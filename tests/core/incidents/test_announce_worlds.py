"""Announcing in random worlds: the incidents are those of one who reads the whole history."""

import pytest

from infra.database import Database
from tests.core.incidents.worlds import World, told, told_late
from tests.counts import count, named

WORLDS = named("random worlds of incidents, on each database", 1_000)


@pytest.mark.parametrize("step", [1, 15])
@pytest.mark.parametrize("seed", range(count(2, WORLDS // 2)))
def test_incidents_are_those_of_one_who_reads_the_whole_history(
    database: Database, seed: int, step: int
) -> None:
    world = World(database, seed, minutes=60 * step, step=step)
    world.run()
    made, late = told(database), told_late(database)
    for one in world.servers:
        assert made.get(one.name, []) == one.incidents(), one.history
        assert late.get(one.name, []) == one.late, one.history
