"""Across the engine: whole sweeps, their counts, pace, faults of our own, and what is left."""

import asyncio
import json
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import pytest

from benchmarks.probe.world import Rule, World, address
from core.probe import Kind, Pace, Verdict, channel, probe, probe_async
from tests.core.probe.worlds import PORT, Sweep, targets_at
from tests.counts import CAMPAIGN, TARGETS

ROOT = Path(__file__).parents[3]
KINDS = pytest.mark.parametrize("kind", list(Kind))
ROUNDS = 60  # an hour of them, one a minute
ETH_P_ALL = 3
# One line of JSON before and after the rounds: open descriptors, then traced and resident kB.
LEAK_WATCH = """
import gc, json, os, sys, tracemalloc
from core.probe import channel, Kind, Pace, Destination, probe
kind, rounds, addresses = Kind(sys.argv[1]), int(sys.argv[2]), sys.stdin.read().split()
targets = [Destination(one, (443,)) for one in addresses]
def used():
    gc.collect()
    pages = int(open("/proc/self/statm").read().split()[1])
    return [len(os.listdir("/proc/self/fd")), tracemalloc.get_traced_memory()[0] // 1024, pages * 4]
def rounds_of(count):
    for _ in range(count):
        probe(kind, targets, Pace(echoes=2, timeout_s=0.03, gap_s=0.001))
tracemalloc.start()
rounds_of(5)
before = used()
rounds_of(rounds)
print(json.dumps([before, used()]))
"""


def many(count: int = TARGETS) -> list[str]:
    """That many addresses."""
    return [address(server) for server in range(count)]


def run(
    world: World, *words: str, env: dict[str, str] | None = None, quiet: bool = False
) -> "subprocess.Popen[str]":
    """Starts a program inside the world, from the project's root."""
    return subprocess.Popen(
        world.command(*words),
        cwd=ROOT,
        env=env,
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL if quiet else None,
    )


@pytest.fixture(name="wire")
def fixture_wire(world: World) -> Iterator[socket.socket]:
    """A socket that has something to read as soon as a packet leaves for the world."""
    wire = world.inside(socket.socket, socket.AF_PACKET, socket.SOCK_DGRAM, 0)
    wire.bind(("world0", ETH_P_ALL))
    wire.settimeout(200)
    yield wire
    wire.close()


@KINDS
def test_every_answer_is_counted_with_the_default_receive_buffer(
    world: World, kind: Kind, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(channel, "BUFFER", 106_496)  # the kernel doubles it: 212,992 bytes
    world.plan([Rule(delay_ms=35)])
    sweep = Sweep(world, kind, many(), Pace(echoes=2, timeout_s=20))
    sweep.judge()
    assert sweep.verdicts == {Verdict.ANSWERED: 2 * TARGETS}


@KINDS
def test_every_answer_is_counted_with_the_buffer_we_ask_for(world: World, kind: Kind) -> None:
    world.plan([Rule(delay_ms=35)])
    sweep = Sweep(world, kind, many(), Pace(echoes=2, timeout_s=20))
    sweep.judge()
    assert sweep.verdicts == {Verdict.ANSWERED: 2 * TARGETS}


@KINDS
def test_half_the_fleet_a_black_hole_loses_no_answer_of_the_rest(world: World, kind: Kind) -> None:
    half = TARGETS // 2
    world.plan([Rule(last=half - 1, delay_ms=35), Rule(icmp="silent", tcp="silent")])
    # Every other one, so that the dead keep the living company in every window.
    mixed = [one for pair in zip(many()[:half], many()[half:], strict=True) for one in pair]
    sweep = Sweep(world, kind, mixed, Pace(echoes=1, timeout_s=2))
    sweep.judge()
    assert sweep.verdicts == {Verdict.ANSWERED: half, Verdict.NO_ANSWER: half}


@KINDS
def test_answers_all_at_once_are_all_counted(world: World, kind: Kind) -> None:
    # What comes late in the sweep is due sooner: the worst burst for a receive buffer.
    step = TARGETS // 100
    world.plan(
        [Rule(first=step * at, last=step * (at + 1) - 1, delay_ms=150 - at) for at in range(0, 100)]
    )
    sweep = Sweep(world, kind, many(), Pace(echoes=1, timeout_s=20))
    sweep.judge()
    assert sweep.verdicts == {Verdict.ANSWERED: TARGETS}


@KINDS
def test_echo_k_goes_to_all_before_echo_k_plus_1(world: World, kind: Kind) -> None:
    world.plan([Rule(delay_ms=5, jitter_ms=20)])
    sweep = Sweep(world, kind, many(300), Pace(echoes=3, timeout_s=10, gap_s=0.001))
    order = [trip.ordinal for trip in sorted(sweep.truth.trips, key=lambda trip: trip.sent_ns)]
    assert order == sorted(order)


@KINDS
def test_a_targets_echoes_keep_the_gap(world: World, kind: Kind) -> None:
    world.plan([Rule(delay_ms=1)])
    sweep = Sweep(world, kind, many(50), Pace(echoes=3, timeout_s=10, gap_s=0.4))
    for echoes in sweep.truth.echoes().values():
        sent_ns = [trips[0].sent_ns for trips in echoes]
        gaps_ns = [later - sooner for sooner, later in pairwise(sent_ns)]
        # The engine asks for the time before it sends: a busy machine may delay one of the two.
        assert min(gaps_ns) > 0.2e9


@KINDS
def test_the_rate_limit_holds(world: World, kind: Kind) -> None:
    world.plan([Rule(delay_ms=1)])
    sweep = Sweep(world, kind, many(400), Pace(echoes=1, timeout_s=10, rate_pps=1000))
    sweep.judge()
    sent_ns = sorted(trip.sent_ns for trip in sweep.truth.trips)
    packets_a_second = 1e9 * (len(sent_ns) - 1) / (sent_ns[-1] - sent_ns[0])
    assert packets_a_second < 1100


@KINDS
def test_nothing_is_sent_where_the_rule_forbids(world: World, kind: Kind) -> None:
    world.plan([Rule()])
    forbidden = set(many(20)[::2])
    pace = Pace(echoes=1, timeout_s=5, allowed=lambda one: one not in forbidden)
    sweep = Sweep(world, kind, many(20), pace)
    assert not forbidden & set(sweep.truth.echoes())
    assert sweep.verdicts == {Verdict.ANSWERED: 10, Verdict.LOCAL_FAULT: 10}


@KINDS
def test_what_the_budget_leaves_unsent_is_our_fault_not_theirs(world: World, kind: Kind) -> None:
    world.plan([Rule(delay_ms=1)])
    pace = Pace(echoes=1, timeout_s=1, rate_pps=100, budget_s=1)
    sweep = Sweep(world, kind, many(300), pace)
    answered = sweep.verdicts[Verdict.ANSWERED]
    assert 0 < answered <= len(sweep.truth.trips) < 300
    # Those on their way when it ended are the last ones; how many depends on how busy we are.
    told = [echo.verdict for result in sweep.results for echo in result.echoes]
    assert told == [Verdict.ANSWERED] * answered + [Verdict.LOCAL_FAULT] * (300 - answered)


@KINDS
def test_a_loop_that_runs_the_sweep_gets_the_same_truth(world: World, kind: Kind) -> None:
    world.plan([Rule(last=99, delay_ms=10), Rule(icmp="silent", tcp="silent")])
    pace = Pace(echoes=2, timeout_s=1.5, gap_s=0.01)

    def sweep() -> list[Verdict]:
        results = asyncio.run(probe_async(kind, targets_at(many(200)), pace))
        return [echo.verdict for result in results for echo in result.echoes]

    verdicts = world.inside(sweep)
    assert verdicts == [Verdict.ANSWERED] * 200 + [Verdict.NO_ANSWER] * 200


@KINDS
def test_few_descriptors_only_take_longer(world: World, tmp_path: Path, kind: Kind) -> None:
    world.plan([Rule(delay_ms=5)])
    lines = command_line(world, tmp_path, kind, many(500), "prlimit", "--nofile=64")
    assert [line["verdict"] for line in lines] == ["answered"] * 500
    assert not world.truth().strays


def test_without_raw_sockets_ping_sockets_do(world: World, tmp_path: Path) -> None:
    world.plan([Rule(delay_ms=5)])
    drop = ("setpriv", "--bounding-set=-net_raw", "--inh-caps=-net_raw")
    lines = command_line(world, tmp_path, Kind.ICMP, many(500), *drop)
    assert [line["verdict"] for line in lines] == ["answered"] * 500


def command_line(
    world: World, folder: Path, kind: Kind, addresses: list[str], *before: str
) -> list[dict[str, object]]:
    """What `python -m core.probe` prints, one echo a target."""
    file = folder / "targets"
    file.write_text("\n".join(addresses), encoding="ascii")
    words = (
        "--kind",
        kind,
        "--targets",
        str(file),
        "--count",
        "1",
        "--port",
        str(PORT),
        "--timeout",
        "10",
    )
    with run(world, *before, sys.executable, "-m", "core.probe", *words, "--json") as process:
        printed = process.communicate()[0]
    return [json.loads(line) for line in printed.splitlines()]


def sockets_left() -> list[str]:
    """This namespace's ICMP and TCP sockets, TIME_WAIT (no process's any more) left out."""
    names = ("raw", "raw6", "icmp", "icmp6", "tcp", "tcp6")
    files = [Path("/proc/thread-self/net", name) for name in names]
    lines = [line for file in files for line in file.read_text("ascii").splitlines()[1:]]
    return [line for line in lines if line.split()[3] != "06"]


@KINDS
@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_sweep_killed_halfway_leaves_nothing_behind(
    world: World, tmp_path: Path, wire: socket.socket, kind: Kind, end: signal.Signals
) -> None:
    world.plan([Rule(icmp="silent", tcp="silent")])
    file = tmp_path / "targets"
    file.write_text("\n".join(many(500)), encoding="ascii")
    files_before = sorted(tmp_path.iterdir())
    words = ("--kind", kind, "--targets", str(file), "--port", str(PORT), "--timeout", "30")
    command = (sys.executable, "-m", "core.probe", *words, "--json")
    with run(world, *command, env={"TMPDIR": str(tmp_path)}, quiet=True) as process:
        assert process.stdout
        ready, _, _ = select.select([wire.fileno(), process.stdout.fileno()], [], [], 200)
        assert ready == [wire.fileno()], "it sends"
        process.send_signal(end)
        process.wait(200)
        assert process.returncode != 0
    assert world.inside(sockets_left) == []
    assert sorted(tmp_path.iterdir()) == files_before


@KINDS
def test_an_hour_of_rounds_leaks_neither_descriptors_nor_memory(world: World, kind: Kind) -> None:
    world.plan([Rule(last=79, delay_ms=2), Rule(icmp="silent", tcp="silent")])
    command = (sys.executable, "-c", LEAK_WATCH, kind, str(ROUNDS * (10 if CAMPAIGN else 1)))
    with run(world, *command) as process:
        printed = process.communicate("\n".join(many(100)))[0]
    (fds, traced_kb, resident_kb), (fds_after, traced_kb_after, resident_kb_after) = json.loads(
        printed
    )
    assert fds_after == fds
    assert traced_kb_after - traced_kb < 64  # 1 kB a round would be a leak
    assert resident_kb_after - resident_kb < 2048


@KINDS
def test_two_sweeps_at_once_take_nothing_from_each_other(world: World, kind: Kind) -> None:
    # Both probe the same servers, so that every reply could be the other's.
    world.plan([Rule(last=199, delay_ms=20, jitter_ms=10), Rule(icmp="silent", tcp="silent")])
    pace = Pace(echoes=3, timeout_s=1.5, gap_s=0.01)
    with ThreadPoolExecutor(2) as pool:
        both = [
            pool.submit(world.inside, probe, kind, targets_at(many(400)), pace) for _ in range(2)
        ]
        wanted = [Verdict.ANSWERED] * 600 + [Verdict.NO_ANSWER] * 600
        for sweep in both:
            verdicts = [echo.verdict for result in sweep.result() for echo in result.echoes]
            assert verdicts == wanted
