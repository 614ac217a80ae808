"""The world itself: what judges the engine has to be right first. Judged by iputils' ping."""

import re
import shutil
import subprocess

import pytest

from benchmarks.probe.world import Forge, Outcome, Rule, World, address


def ping(world: World, server: int, family: int, *options: str) -> str:
    """What `ping` says about one echo to the server of this number."""
    if shutil.which("ping") is None:
        pytest.skip("NOT TESTED: the world itself; needs ping (iputils-ping)")
    command = world.command("ping", "-n", "-c1", "-W1", *options, address(server, family))
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


@pytest.mark.parametrize("family", [4, 6])
def test_the_true_round_trip_is_no_shorter_than_the_plan_says(world: World, family: int) -> None:
    world.plan([Rule(family=family, delay_ms=20)])
    assert "1 received" in ping(world, 7, family)
    (trip,) = world.truth().trips
    assert (trip.family, trip.server, trip.outcome, trip.copies) == (family, 7, Outcome.ANSWERED, 1)
    assert 0 < trip.sent_ns <= trip.read_ns
    assert 20 <= trip.least_ms <= trip.most_ms


@pytest.mark.parametrize("family", [4, 6])
def test_pings_own_time_agrees_with_the_truth(world: World, family: int) -> None:
    world.plan([Rule(family=family, delay_ms=20)])
    said = re.search(r"time=([0-9.]+) ms", ping(world, 7, family))
    assert said
    (trip,) = world.truth().trips
    # Ping prints three figures and stamps its sending in user space: hence the margin above.
    assert trip.least_ms - 0.1 <= float(said[1]) <= trip.most_ms + 5


@pytest.mark.parametrize("family", [4, 6])
def test_a_black_hole_is_silent_and_says_so(world: World, family: int) -> None:
    world.plan([Rule(family=family, icmp="silent")])
    assert "0 received" in ping(world, 7, family, "-W", "0.05")
    (trip,) = world.truth().trips
    assert (trip.outcome, trip.came_back) == (Outcome.SILENT, False)


@pytest.mark.parametrize("family", [4, 6])
def test_errors_reach_the_one_who_asked(world: World, family: int) -> None:
    world.plan([Rule(family=family, icmp="error", error="host", from_router=True)])
    assert re.search("(?i)host unreachable|address unreachable", ping(world, 7, family))
    assert [trip.outcome for trip in world.truth().trips] == [Outcome.UNREACHABLE]


def test_copies_are_seen_as_duplicates(world: World) -> None:
    world.plan([Rule(copies=2)])
    assert "+2 duplicates" in ping(world, 7, 4, "-c2", "-i0.1")
    assert world.truth().trips[0].copies == 3


def test_a_forged_source_arrives_and_fools_ping(world: World) -> None:
    world.plan([Rule(icmp="silent", forge=Forge.SOURCE)])
    assert "DIFFERENT ADDRESS" in ping(world, 7, 4)
    assert [trip.outcome for trip in world.truth().trips] == [Outcome.SILENT]


def test_the_same_seed_loses_the_same_echoes(world: World) -> None:
    lost = []
    for _ in range(2):
        world.plan([Rule(loss=0.5)], seed=11)
        for server in range(20):
            ping(world, server, 4, "-W", "0.01")
        lost.append([trip.outcome for trip in world.truth().trips])
    assert lost[0] == lost[1]
    assert set(lost[0]) == {Outcome.ANSWERED, Outcome.LOST}


def test_nothing_of_the_world_outlives_it() -> None:
    with World() as short:
        assert short.process.poll() is None
    assert short.process.returncode is not None
    links = subprocess.run(["ip", "-o", "link"], capture_output=True, text=True, check=True)
    assert "world0" not in links.stdout
