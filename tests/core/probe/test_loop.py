"""The one loop: gap, rate, budget, leave to probe; each echo told once, every socket closed."""

import os
from itertools import pairwise
from time import monotonic

import pytest

from core.probe import (
    Destination,
    Echo,
    Kind,
    Pace,
    Verdict,
    probe,
)
from core.probe.system import System
from tests.core.probe.engine import KINDS, QUICK, SYSTEMS, verdicts


@KINDS
def test_echoes_of_one_target_keep_the_gap(kind: Kind, port: int) -> None:
    asked: list[float] = []

    def note(_address: str) -> bool:
        asked.append(monotonic())  # right before each echo is sent
        return True

    pace = Pace(echoes=4, timeout_s=10, gap_s=0.05, allowed=note)
    probe(kind, [Destination("127.0.0.1", (port,))], pace)
    assert len(asked) == 4
    assert min(later - sooner for sooner, later in pairwise(asked)) >= 0.05


@KINDS
def test_a_rate_limit_spreads_the_packets(kind: Kind, port: int) -> None:
    began = monotonic()
    pace = Pace(echoes=1, timeout_s=10, gap_s=0, rate_pps=100)
    probe(kind, [Destination(f"127.0.0.{n}", (port,)) for n in range(1, 22)], pace)
    assert monotonic() - began >= 0.2  # 21 packets have 20 spaces of 10 ms between them


@KINDS
def test_what_the_budget_leaves_is_out_of_time(kind: Kind, port: int) -> None:
    pace = Pace(echoes=1, timeout_s=10, rate_pps=10, budget_s=1)
    results = probe(kind, [Destination("127.0.0.1", (port,))] * 50, pace)
    assert verdicts(results)[-1] == [Verdict.LOCAL_FAULT]
    assert results[-1].echoes[0].reason == "out of time"
    assert verdicts(results)[0] == [Verdict.ANSWERED]


@KINDS
def test_an_address_that_is_not_allowed_is_not_probed(kind: Kind, port: int) -> None:
    asked: list[str] = []

    def only_first(address: str) -> bool:
        asked.append(address)
        return address == "127.0.0.1"

    targets = [Destination("127.0.0.1", (port,)), Destination("127.0.0.2", (port,))]
    results = probe(kind, targets, Pace(echoes=2, gap_s=0.001, allowed=only_first))
    refused = [Echo(Verdict.LOCAL_FAULT, reason="not allowed from here")] * 2
    assert list(results[1].echoes) == refused
    assert verdicts(results)[0] == [Verdict.ANSWERED] * 2
    assert asked == ["127.0.0.1", "127.0.0.2"] * 2


@KINDS
def test_each_echo_is_told_once_in_order_of_sending(kind: Kind, port: int) -> None:
    told: list[tuple[int, int, Echo]] = []
    targets = [Destination("127.0.0.1", (port,)), Destination("127.0.0.2", (port,))]
    results = probe(kind, targets, QUICK, lambda *one: told.append(one))
    assert sorted((target, echo) for target, echo, _ in told) == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert all(results[target].echoes[number] == echo for target, number, echo in told)


@KINDS
def test_what_a_listener_raises_ends_the_sweep_and_closes_its_sockets(
    kind: Kind, port: int
) -> None:
    before = descriptors()

    def fail(*_: object) -> None:
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        probe(kind, [Destination("127.0.0.1", (port,))] * 10, QUICK, fail)
    assert descriptors() == before


@KINDS
@SYSTEMS
def test_a_sweep_leaves_no_descriptor_open(kind: Kind, system: System, port: int) -> None:
    targets = [
        Destination("127.0.0.1", (port,)),
        Destination("127.0.0.2", (1, port)),
        Destination("bad"),
    ]
    before = descriptors()
    for _ in range(3):
        probe(kind, targets, QUICK, system=system)
    assert descriptors() == before


def descriptors() -> int:
    """How many files this process has open."""
    return len(os.listdir("/dev/fd"))
