"""Across the engine: verdicts tell apart what the world did, one behaviour at a time."""

import pytest

from benchmarks.probe.world import ERRORS, Forge, Rule, World, address
from core.probe import ClockUsed, Kind, Pace, Verdict
from tests.core.probe.worlds import Sweep

FAMILIES = pytest.mark.parametrize("family", [4, 6])
KINDS = pytest.mark.parametrize("kind", list(Kind))
FEW = range(20)


def some(family: int = 4) -> list[str]:
    """A few addresses."""
    return [address(server, family) for server in FEW]


@FAMILIES
@KINDS
def test_answers_are_timed_by_the_kernel_within_their_bound(
    world: World, kind: Kind, family: int
) -> None:
    world.plan([Rule(family=family, delay_ms=10, jitter_ms=5)])
    sweep = Sweep(world, kind, some(family), Pace(echoes=3, timeout_s=10, gap_s=0.01))
    sweep.judge()
    assert sweep.verdicts == {Verdict.ANSWERED: 60}
    clocks = {echo.clock for result in sweep.results for echo in result.echoes}
    assert clocks == {ClockUsed.KERNEL}


@FAMILIES
def test_a_reset_means_refused_and_has_a_time(world: World, family: int) -> None:
    world.plan([Rule(family=family, tcp="refuse", delay_ms=10)])
    sweep = Sweep(world, Kind.TCP, some(family), Pace(echoes=2, timeout_s=10, gap_s=0.01))
    sweep.judge()
    assert sweep.verdicts == {Verdict.REFUSED: 40}


@FAMILIES
@KINDS
def test_silence_is_no_answer(world: World, kind: Kind, family: int) -> None:
    world.plan([Rule(family=family, icmp="silent", tcp="silent")])
    sweep = Sweep(world, kind, some(family), Pace(echoes=2, timeout_s=0.15, gap_s=0.01))
    sweep.judge()
    assert sweep.verdicts == {Verdict.NO_ANSWER: 40}


@FAMILIES
@KINDS
@pytest.mark.parametrize("from_router", [False, True])
@pytest.mark.parametrize("error", sorted(ERRORS))
def test_icmp_errors_are_unreachable_not_silence(
    world: World, kind: Kind, family: int, error: str, from_router: bool
) -> None:
    world.plan(
        [
            Rule(family=family, icmp="error", tcp="error", error=error, from_router=from_router),
        ]
    )
    is_kept = kind is Kind.TCP and family == 6 and error == "expired"
    pace = Pace(echoes=2, timeout_s=0.3 if is_kept else 10, gap_s=0.01)
    sweep = Sweep(world, kind, some(family), pace)
    if (kind, error) == (Kind.TCP, "port"):
        # To a socket this ICMP error looks like a RST: both are ECONNREFUSED.
        assert set(sweep.verdicts) <= {Verdict.REFUSED, Verdict.UNREACHABLE}
        return
    if is_kept:
        # Linux keeps this one to itself until the connection times out (it is a "soft" error).
        assert set(sweep.verdicts) <= {Verdict.UNREACHABLE, Verdict.NO_ANSWER}
        return
    sweep.judge()
    assert sweep.verdicts == {Verdict.UNREACHABLE: 40}


@FAMILIES
@KINDS
def test_forgeries_alone_are_no_answer(world: World, kind: Kind, family: int) -> None:
    world.plan([Rule(family=family, icmp="silent", tcp="silent", forge=Forge.ALL)])
    sweep = Sweep(world, kind, some(family), Pace(echoes=3, timeout_s=0.15, gap_s=0.01))
    sweep.judge()
    assert sweep.verdicts == {Verdict.NO_ANSWER: 60}


@FAMILIES
@KINDS
@pytest.mark.parametrize("forgery", [one for one in Forge if one], ids=lambda one: one.name.lower())
def test_a_forgery_before_the_answer_changes_nothing(
    world: World, kind: Kind, family: int, forgery: Forge
) -> None:
    world.plan([Rule(family=family, delay_ms=20, forge=forgery, forge_ms=3)])
    sweep = Sweep(world, kind, some(family), Pace(echoes=2, timeout_s=10, gap_s=0.01))
    sweep.judge()
    assert sweep.verdicts == {Verdict.ANSWERED: 40}


@KINDS
def test_an_answer_after_the_time_out_counts_for_no_echo(world: World, kind: Kind) -> None:
    # Echo 0's answer comes while echo 1 is out, and so on.
    world.plan([Rule(delay_ms=400)])
    sweep = Sweep(world, kind, some(), Pace(echoes=3, timeout_s=0.2, gap_s=0.01))
    sweep.judge()
    assert sweep.verdicts == {Verdict.NO_ANSWER: 60}


@FAMILIES
@KINDS
def test_duplicates_count_once(world: World, kind: Kind, family: int) -> None:
    world.plan([Rule(family=family, delay_ms=5, copies=3)])
    sweep = Sweep(world, kind, some(family), Pace(echoes=3, timeout_s=10, gap_s=0.01))
    sweep.judge()
    assert sweep.verdicts == {Verdict.ANSWERED: 60}


@KINDS
def test_answers_out_of_order_find_their_echoes(world: World, kind: Kind) -> None:
    world.plan([Rule(jitter_ms=60)])
    sweep = Sweep(world, kind, some(), Pace(echoes=4, timeout_s=10, gap_s=0.001))
    sweep.judge()
    assert sweep.verdicts == {Verdict.ANSWERED: 80}


@FAMILIES
@pytest.mark.parametrize("tcp", ["answer", "refuse"])
@pytest.mark.parametrize("timestamps", [True, False])
def test_a_resent_syn_adds_no_second(world: World, family: int, tcp: str, timestamps: bool) -> None:
    world.plan([Rule(family=family, delay_ms=10, tcp=tcp, syn_lost=1, timestamps=timestamps)])
    sweep = Sweep(world, Kind.TCP, some(family), Pace(echoes=1, timeout_s=30))
    sweep.judge()
    verdict = Verdict.ANSWERED if tcp == "answer" else Verdict.REFUSED
    assert sweep.verdicts == {verdict: 20}


def test_several_ports_are_tried_and_the_one_that_answers_serves(world: World) -> None:
    world.plan([Rule(delay_ms=5)])
    sweep = Sweep(world, Kind.TCP, some(), Pace(echoes=2, timeout_s=10, gap_s=0.01))
    assert {result.port for result in sweep.results} == {443}


@KINDS
def test_the_same_address_twice_is_two_targets(world: World, kind: Kind) -> None:
    world.plan([Rule(delay_ms=10)])
    sweep = Sweep(world, kind, [address(1)] * 3, Pace(echoes=2, timeout_s=10, gap_s=0.01))
    assert sweep.verdicts == {Verdict.ANSWERED: 6}
    assert len(sweep.truth.trips) == 6
    assert {len(result.echoes) for result in sweep.results} == {2}


@KINDS
def test_both_families_go_in_one_sweep(world: World, kind: Kind) -> None:
    world.plan([Rule(delay_ms=5), Rule(family=6, delay_ms=10)])
    sweep = Sweep(world, kind, some(4) + some(6), Pace(echoes=2, timeout_s=10, gap_s=0.01))
    sweep.judge()
    assert sweep.verdicts == {Verdict.ANSWERED: 80}
