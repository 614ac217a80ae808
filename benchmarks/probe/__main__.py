"""Measures the probe engine beside its peers: python -m benchmarks.probe --runs 3 --write.

Needs root, and installs the peers and its tools by itself (apt, pip). All packets stay in network
namespaces of their own. A full run takes about ten minutes of a machine that has nothing else to
do. `--write` puts what was measured into docs/benchmarks and the README.
"""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from subprocess import TimeoutExpired

from benchmarks.probe import page, peers, report
from benchmarks.probe.budgets import CAGED, LOOPBACK, MAIN, Results, Run
from benchmarks.probe.peers import ALL, Peer
from benchmarks.probe.stage import (
    RTT_MS,
    Cage,
    Measured,
    Scene,
    Stage,
    errors_ms,
    middle,
)
from benchmarks.probe.world import Missing, Rule, address

SLOW_PASSES = 3  # at most, and one for sure: slow peers get no more
SLOW_UNTIL_S = 240  # after that many seconds of the run, no second pass of a slow peer
SCENES = [  # in the order of their weight, each with its passes
    (MAIN, 5),
    (LOOPBACK, 3),
    (Scene(10_000, echoes=4), 3),
    (Scene(1_000), 3),
    (Scene(1_000, echoes=4), 3),
    (Scene(1_000, loopback=True), 3),
    (Scene(1_000, echoes=4, loopback=True), 3),
    (Scene(10_000, echoes=4, loopback=True), 1),
    (CAGED, 3),
    (Scene(1_000, cage_mb=512), 3),
    (Scene(1_000, cage_mb=1769), 3),
]
UNTIL_S = 540  # no further pass is begun after that, but each scene gets one
CAGED_PEERS = [
    peers.OURS_ICMP,
    peers.FPING,
    peers.ICMPLIB_DGRAM,
    peers.BLACKBOX_ICMP,
    peers.C_ICMP,
    peers.OURS_TCP,
    peers.STREAMS,
    peers.NMAP,
    peers.BLACKBOX_TCP,
    peers.C_TCP,
]


class Benchmark:
    """One run of everything."""

    def __init__(self, folder: Path, missing: list[str]) -> None:
        self.free = Stage(folder / "free", timed=False)
        self.timed = Stage(folder / "timed", timed=True)
        for name in ("free", "timed"):
            (folder / name).mkdir()
        self.results = Results()
        self.notes = [f"Not measured, since it couldn't be installed: {one}." for one in missing]
        self.missing = missing
        self.begun = time.monotonic()
        self.starts: dict[tuple[Scene, str, str], float] = {}

    def gone_s(self) -> float:
        """Seconds since the run began."""
        return time.monotonic() - self.begun

    def say(self, text: str) -> None:
        """Progress, for those who wait."""
        print(f"{self.gone_s():6.1f} s  {text}", file=sys.stderr, flush=True)

    def takes_part(self, peer: Peer, scene: Scene, pass_number: int) -> bool:
        """Whether that peer runs in that pass."""
        if any(word in peer.command(Path(), 1)[0] + peer.name for word in self.missing):
            return False
        if scene.cage_mb:
            return peer in CAGED_PEERS and not (peer.slow and pass_number)
        if scene.echoes > peer.most_echoes or (peer.slow and scene.loopback):
            return False
        if not peer.slow or not pass_number:
            return True
        return scene == MAIN and pass_number < SLOW_PASSES and self.gone_s() < SLOW_UNTIL_S

    def start_cpu_s(self, peer: Peer, scene: Scene) -> float:
        """CPU of the same program with one server: what a sweep's CPU is net of."""
        key = (Scene(1, scene.echoes, scene.loopback), peer.kind, peer.name)
        if key not in self.starts:
            one = [self.free.sweep(peer, key[0])[0].cpu_s for _ in range(1 if peer.slow else 3)]
            self.starts[key] = middle(one)
        return self.starts[key]

    def scene(self, scene: Scene, passes: int) -> None:
        """All passes of all peers through one scene."""
        for number in range(passes):
            if number and self.gone_s() > UNTIL_S:
                self.notes.append(f"{scene.name}: {number} of {passes} passes, for lack of time.")
                break
            self.say(f"{scene.name}, pass {number + 1}")
            for peer in ALL:
                if self.takes_part(peer, scene, number):
                    self.one(peer, scene, number)

    def one(self, peer: Peer, scene: Scene, number: int) -> None:
        """One pass of one peer; a failure is noted, and the others go on."""
        try:
            if scene.loopback:
                self.free_run(peer, scene, number)
            elif scene.cage_mb:
                self.true_run(peer, scene, number)
            elif peer.slow:
                # What the stamps cost is nothing beside what these cost: one run serves for both.
                run = self.true_run(peer, scene, number)
                run.net_cpu_s = run.measured.cpu_s - self.start_cpu_s(peer, scene)
                self.results.runs.setdefault((scene, peer.kind, peer.name), []).append(run)
            else:
                self.free_run(peer, scene, number)
                self.true_run(peer, scene, number)
        except (RuntimeError, OSError, TimeoutError, TimeoutExpired) as error:
            self.notes.append(f"{scene.name}, {peer.name} ({peer.kind}): {str(error)[-300:]}")
            self.say(self.notes[-1])

    def free_run(self, peer: Peer, scene: Scene, number: int) -> None:
        """For wall, CPU and memory; over loopback also for the error, which needs no stamps."""
        key = (scene, peer.kind, peer.name)
        start_s = self.start_cpu_s(peer, scene)
        measured, _ = self.free.sweep(peer, scene)
        run = Run(number, measured, measured.cpu_s - start_s)
        self.results.runs.setdefault(key, []).append(run)
        if scene.loopback:
            run.errors_ms = loopback_errors_ms(measured)
            self.results.truths.setdefault(key, []).append(run)

    def true_run(self, peer: Peer, scene: Scene, number: int) -> Run:
        """Against exact truth, for the error."""
        measured, truth = self.timed.sweep(peer, scene)
        run = Run(number, measured, float("nan"), errors_ms(measured, truth))
        self.results.truths.setdefault((scene, peer.kind, peer.name), []).append(run)
        if truth.unwritten or truth.untimed:
            self.notes.append(f"{scene.name}, {peer.name}: the world failed, {truth[1:]}.")
        return run

    def half_dead(self, passes: int) -> None:
        """Half the fleet a black hole: the wall against the window formula."""
        self.say("half the fleet a black hole")
        for peer, servers in (
            (peers.OURS_ICMP, 10_000),
            (peers.OURS_DEFAULT, 2_000),
            (peers.OURS_TCP, 10_000),
        ):
            walls, allowed_s = [], float("nan")
            names = [address(n) for n in range(servers)]
            half = servers // 2
            # Every other one, so that every window holds as many dead as living.
            names = [one for pair in zip(names[:half], names[half:], strict=True) for one in pair]
            rules = [
                Rule(last=half - 1, delay_ms=RTT_MS),
                Rule(first=half, icmp="silent", tcp="silent"),
            ]
            for _ in range(passes):
                measured, _ = self.free.sweep(peer, Scene(servers), rules, names)
                walls.append(measured.wall_s)
                window = int(str(measured.facts["window"]))
                held_s = 0.5 * RTT_MS / 1000 + 0.5 * 1.0
                allowed_s = 1.1 * (servers * held_s / window + 1.0)
                if measured.answered != half:
                    self.notes.append(f"{peer.name}: {measured.answered} of {half} counted.")
            what = f"{peer.name}, {peer.kind}, {servers:,} servers, window {window:,}"
            self.results.dead.append((what, middle(walls), allowed_s))

    def run(self, quick: bool) -> None:
        """Everything, or a smoke test of everything."""
        with self.free, self.timed:
            bare = self.free.run(BARE, BARE.command(Path(), 1), 0)
            self.results.bare_kb = bare.peak_kb
            with Cage(0.5) as cage:
                self.notes.append(f"The CPU cage was made by {cage.means}.")
            scenes = [(MAIN, 1), (LOOPBACK, 1), (CAGED, 1)] if quick else SCENES
            for scene, passes in scenes:
                self.scene(scene, passes)
            self.half_dead(1 if quick else 3)


def loopback_errors_ms(measured: Measured) -> list[float]:
    """Over loopback the true round trip is 1 to 2 us: what is reported is the error, about."""
    return sorted(ms for rtts in measured.rtts.values() for ms in rtts if ms is not None)


BARE = Peer("interpreter", "none", lambda _file, _count: [sys.executable, "-c", "print('#{}')"])


def run(missing: list[str], quick: bool) -> Benchmark:
    """One run, in worlds of its own. Raises Missing."""
    with tempfile.TemporaryDirectory(prefix="pinglet-benchmark-") as folder:
        benchmark = Benchmark(Path(folder), missing)
        benchmark.run(quick)
    return benchmark


def main() -> int:
    """Installs, measures, prints, and writes if told to."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.probe", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one pass of the main scenes")
    parser.add_argument("--runs", type=int, default=1, help="each budget is judged in every run")
    parser.add_argument("--write", action="store_true", help="write docs/benchmarks and the README")
    options = parser.parse_args()
    missing = peers.install()
    where = report.machine()
    try:
        runs = [run(missing, options.quick) for _ in range(options.runs)]
    except Missing as lack:
        print(lack, file=sys.stderr)
        return 1
    notes = [note for one in runs for note in one.notes]
    summary = report.summary([one.results for one in runs], notes, where)
    print(page.page(summary))
    if options.write:
        page.DATA.parent.mkdir(exist_ok=True)
        page.DATA.write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
        page.main()
    return 0


if __name__ == "__main__":
    sys.exit(main())
