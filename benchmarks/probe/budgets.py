"""The engine's budgets (docs/design.md), and what was measured against each."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import isnan

from benchmarks.probe import peers
from benchmarks.probe.peers import Peer
from benchmarks.probe.stage import Measured, Scene, middle, share_of

MAIN = Scene(10_000)
LOOPBACK = Scene(10_000, loopback=True)
CAGED = Scene(1_000, cage_mb=128)


@dataclass
class Run:
    """One pass of one peer through one scene: the free sweep, or the one against exact truth."""

    pass_number: int
    measured: Measured
    net_cpu_s: float
    errors_ms: Sequence[float] = ()


class Results:
    """All runs, by scene and peer; `truths` are those with errors."""

    def __init__(self) -> None:
        self.runs: dict[tuple[Scene, str, str], list[Run]] = {}
        self.truths: dict[tuple[Scene, str, str], list[Run]] = {}
        self.bare_kb = 0
        self.dead: list[tuple[str, float, float]] = []  # what, measured wall, allowed wall, in s

    def of(self, scene: Scene, peer: Peer) -> list[Run]:
        """The free runs of that peer."""
        return self.runs.get((scene, peer.kind, peer.name), [])

    def truth_of(self, scene: Scene, peer: Peer) -> list[Run]:
        """The runs against exact truth."""
        return self.truths.get((scene, peer.kind, peer.name), [])

    def ratio(self, scene: Scene, ours: Peer, theirs: Peer, what: Callable[[Run], float]) -> float:
        """The median over passes of ours / theirs, each within one pass."""
        mine = {run.pass_number: what(run) for run in self.of(scene, ours)}
        ratios = [
            mine[run.pass_number] / what(run)
            for run in self.of(scene, theirs)
            if run.pass_number in mine and what(run) > 0
        ]
        return middle(ratios)

    def error(self, scene: Scene, peer: Peer, share: float) -> float:
        """The median over passes of that quantile of the errors, in ms."""
        return middle(
            [share_of(r.errors_ms, share) for r in self.truth_of(scene, peer) if r.errors_ms]
        )


def wall(run: Run) -> float:
    """Seconds the sweep took."""
    return run.measured.wall_s


def cpu(run: Run) -> float:
    """CPU seconds of the sweep, net of start-up."""
    return run.net_cpu_s


@dataclass
class Verdict:
    """One budget: measured against allowed."""

    what: str
    measured: float
    allowed: float
    unit: str = "x"


def verdicts(results: Results) -> list[Verdict]:
    """Every budget of the engine."""
    ours, tcp = peers.OURS_ICMP, peers.OURS_TCP
    icmplib = [
        results.ratio(MAIN, ours, one, wall) for one in (peers.ICMPLIB_DGRAM, peers.ICMPLIB_RAW)
    ]
    best_icmplib = max((one for one in icmplib if not isnan(one)), default=float("nan"))

    def ratio(mine: Peer, theirs: Peer, what: Callable[[Run], float]) -> float:
        return results.ratio(MAIN, mine, theirs, what)

    rows = [
        Verdict("ICMP wall / fping -i0.02", ratio(ours, peers.FPING, wall), 0.35),
        Verdict("ICMP wall / best icmplib", best_icmplib, 0.3),
        Verdict("ICMP wall / blackbox_exporter", ratio(ours, peers.BLACKBOX_ICMP, wall), 0.1),
        Verdict("ICMP CPU net / fping -i0", ratio(ours, peers.FPING_0, cpu), 1.5),
        Verdict("TCP wall / asyncio.open_connection", ratio(tcp, peers.STREAMS, wall), 0.45),
        Verdict("TCP CPU net / asyncio.open_connection", ratio(tcp, peers.STREAMS, cpu), 1 / 6),
        Verdict("TCP wall / blackbox_exporter", ratio(tcp, peers.BLACKBOX_TCP, wall), 0.12),
        Verdict("TCP CPU net / C", ratio(tcp, peers.C_TCP, cpu), 2.0),
    ]
    for peer in (ours, tcp):
        kind = peer.kind.upper()
        missed = [
            MAIN.servers * MAIN.echoes - run.measured.answered
            for run in results.of(MAIN, peer) + results.truth_of(MAIN, peer)
        ]
        faults = [
            float(str(run.measured.facts.get("faults", "nan")))
            for run in results.of(MAIN, peer) + results.truth_of(MAIN, peer)
        ]
        grown_kb = [run.measured.peak_kb - results.bare_kb for run in results.of(MAIN, peer)]
        rows += [
            Verdict(f"{kind} answers missed, worst run", max(missed, default=float("nan")), 0, ""),
            Verdict(f"{kind} local faults, worst run", max(faults, default=float("nan")), 0, ""),
            Verdict(f"{kind} error, median", results.error(MAIN, peer, 0.5), 0.02, "ms"),
            Verdict(f"{kind} error, p99", results.error(MAIN, peer, 0.99), 0.1, "ms"),
            Verdict(
                f"{kind} error, p99, 128 MB cage", results.error(CAGED, peer, 0.99), 0.25, "ms"
            ),
            Verdict(
                f"{kind} memory beyond the interpreter",
                max(grown_kb, default=float("nan")) * 1.024e-3,
                20 + MAIN.servers / 1000,
                "MB",
            ),
        ]
    icmp_us = results.error(LOOPBACK, ours, 0.5) * 1000
    # A handshake over loopback includes the listener's work, which C's TCP_INFO shows.
    tcp_us = 1000 * (results.error(LOOPBACK, tcp, 0.5) - results.error(LOOPBACK, peers.C_TCP, 0.5))
    rows += [
        Verdict("ICMP reported over loopback (true: 1 to 2 us), median", icmp_us, 5, "us"),
        Verdict("TCP reported over loopback, median, beyond C's", tcp_us, 5, "us"),
    ]
    rows += [
        Verdict(f"wall, half the fleet a black hole: {what}", measured_s, allowed_s, "s")
        for what, measured_s, allowed_s in results.dead
    ]
    return rows
