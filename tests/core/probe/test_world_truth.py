"""Across the engine: whatever the world does, a report errs by no more than the bound it states."""

from dataclasses import replace

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmarks.probe.world import ERRORS, Forge, Rule, World, address
from core.probe import Kind, Pace
from tests.core.probe.worlds import Sweep
from tests.counts import CAMPAIGN, WORLDS, count

GROUP = 4  # servers that share a rule
TIMEOUT_MS = 300

# Delays are well within the time-out or well beyond it: on a busy machine the edge is unsharp.
DELAYS_MS = st.one_of(st.floats(0, TIMEOUT_MS / 3), st.floats(TIMEOUT_MS * 2, TIMEOUT_MS * 4))
# TCP can't tell a port-unreachable from a RST, and keeps IPv6's time-exceeded to itself.
CLEAR_ERRORS = sorted(set(ERRORS) - {"port", "expired"})
BEHAVIOURS = st.builds(
    Rule,
    icmp=st.sampled_from(["answer", "answer", "answer", "silent", "error"]),
    tcp=st.sampled_from(["answer", "answer", "refuse", "silent", "error"]),
    delay_ms=DELAYS_MS,
    jitter_ms=st.sampled_from([0, 0, 1, 50]),
    loss=st.sampled_from([0, 0, 0.1, 0.5]),
    copies=st.sampled_from([0, 0, 1, 3]),
    error=st.sampled_from(CLEAR_ERRORS),
    from_router=st.booleans(),
    timestamps=st.booleans(),
    forge=st.one_of(st.just(Forge.NOTHING), st.integers(0, Forge.ALL).map(Forge)),
    forge_ms=st.floats(0, TIMEOUT_MS / 2),
)


@given(
    kind=st.sampled_from(list(Kind)),
    family=st.sampled_from([4, 6]),
    behaviours=st.lists(BEHAVIOURS, min_size=1, max_size=8),
    echoes=st.integers(1, 3),
    seed=st.integers(0, 2**31),
)
@settings(
    max_examples=count(15, WORLDS),
    deadline=None,
    derandomize=not CAMPAIGN,
    suppress_health_check=list(HealthCheck),
)
def test_reports_differ_from_the_truth_by_no_more_than_their_bound(
    world: World,
    kind: Kind,
    family: int,
    behaviours: list[Rule],
    echoes: int,
    seed: int,
) -> None:
    rules = [
        replace(behaviour, family=family, first=GROUP * at, last=GROUP * (at + 1) - 1)
        for at, behaviour in enumerate(behaviours)
    ]
    world.plan(rules, seed)
    addresses = [address(server, family) for server in range(GROUP * len(rules))]
    # Nothing here takes seconds: the budget makes a sweep that hangs fail instead.
    pace = Pace(echoes=echoes, timeout_s=TIMEOUT_MS / 1000, gap_s=0.01, budget_s=200)
    Sweep(world, kind, addresses, pace).judge()
