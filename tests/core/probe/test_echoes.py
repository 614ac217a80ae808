"""Across the engine: sweeps of both kinds on this machine's own loopback, as callers make them."""

import sys

import pytest

from core.probe import (
    Destination,
    Kind,
    Pace,
    Verdict,
    probe,
)
from core.probe.system import System
from tests.core.probe.engine import KINDS, QUICK, SYSTEMS, verdicts


@KINDS
@SYSTEMS
def test_thousands_of_targets_are_all_answered(kind: Kind, system: System, port: int) -> None:
    # Twice as many fit the listener's queue.
    each, count = "127.1.{}.{}", 1000 if system.kernel_clocks else 300
    if sys.platform != "linux":  # a Mac's loopback has one address, and answers 250 pings a second
        each, count = "127.0.0.1", 50
    targets = [Destination(each.format(n >> 8, n & 255), (port,)) for n in range(1, count + 1)]
    results = probe(kind, targets, Pace(echoes=2, timeout_s=50, gap_s=0.001), system=system)
    assert verdicts(results) == [[Verdict.ANSWERED] * 2] * count


@KINDS
@pytest.mark.parametrize("literal", ["127.1", "localhost", "0x7f000001", "", "127.0.0.1 ", "a\0"])
def test_what_is_no_address_is_never_looked_up(kind: Kind, literal: str, port: int) -> None:
    results = probe(kind, [Destination(literal, (port,)), Destination("127.0.0.1", (port,))], QUICK)
    assert verdicts(results) == [[Verdict.LOCAL_FAULT] * 2, [Verdict.ANSWERED] * 2]
    assert "not an IP address" in results[0].echoes[0].reason


@KINDS
def test_no_targets_no_results(kind: Kind) -> None:
    assert not probe(kind, [])
