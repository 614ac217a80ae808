"""Where peers are measured: the world or loopback, free or in a CPU cage, and by which meter."""

import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from types import TracebackType
from typing import Self

from benchmarks.probe.peers import (
    BLACKBOX_MODULES,
    BLACKBOX_PORT,
    PEER,
    PORT,
    ROOT,
    Peer,
    Rtts,
)
from benchmarks.probe.world import Rule, Truth, World, address, built

RTT_MS = 35.0
LIMIT_S = 150  # no peer may take longer for one sweep
LAMBDA_MB = 1769  # of memory that make one vCPU
PERIOD_US = 20_000  # the scheduler's period that Lambda's shares are cut from
TICK_S = 1 / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Scene:
    """One kind of sweep: how many servers, echoes, where, and how much CPU there is."""

    servers: int
    echoes: int = 1
    loopback: bool = False
    cage_mb: int = 0  # 0: no cage

    @property
    def name(self) -> str:
        """For people."""
        where = "loopback" if self.loopback else f"{RTT_MS:g} ms world"
        cage = f", CPU of a {self.cage_mb} MB Lambda" if self.cage_mb else ""
        echoes = "one echo" if self.echoes == 1 else f"{self.echoes} echoes"
        return f"{where}, {self.servers:,} servers, {echoes} each{cage}"


@dataclass
class Measured:
    """One sweep of one peer. CPU is the process's, start-up included."""

    wall_s: float
    cpu_s: float
    peak_kb: int
    rtts: Rtts
    facts: dict[str, object] = field(default_factory=dict)

    @property
    def answered(self) -> int:
        """Echoes the peer counted as answered."""
        return sum(ms is not None for rtts_ms in self.rtts.values() for ms in rtts_ms)


class Cage:
    """A share of one CPU, by a cgroup (either version), else by stopping and continuing."""

    def __init__(self, share: float) -> None:
        self.share = share
        self.folder: Path | None = None
        self.means = "SIGSTOP and SIGCONT in turn"

    def __enter__(self) -> Self:
        quota_us = max(1000, round(self.share * PERIOD_US))
        name = f"pinglet-cage-{os.getpid()}"
        for parent, files in (
            ("/sys/fs/cgroup/cpu", {"cpu.cfs_period_us": PERIOD_US, "cpu.cfs_quota_us": quota_us}),
            ("/sys/fs/cgroup", {"cpu.max": f"{quota_us} {PERIOD_US}"}),
        ):
            folder = Path(parent, name)
            try:
                folder.mkdir()
            except OSError:
                continue
            try:
                for file, value in files.items():
                    (folder / file).write_text(str(value), encoding="ascii")
            except OSError:
                folder.rmdir()
                continue
            self.folder, self.means = folder, f"cgroup ({', '.join(files)})"
            break
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if not self.folder:
            return
        for pid in (self.folder / "cgroup.procs").read_text(encoding="ascii").split():
            (self.folder.parent / "cgroup.procs").write_text(pid, encoding="ascii")
        self.folder.rmdir()

    def take(self, pid: int) -> None:
        """A running process comes in, until the cage is taken away."""
        if self.folder:
            (self.folder / "cgroup.procs").write_text(str(pid), encoding="ascii")

    def around(self, command: list[str]) -> list[str]:
        """The command line that starts `command` inside."""
        if not self.folder:
            return command
        return ["sh", "-c", f'echo $$ > {self.folder}/cgroup.procs; exec "$@"', "sh", *command]

    @contextmanager
    def holding(self, pid: int) -> Iterator[None]:
        """Without a cgroup: lets the process group run for its share of each period only."""
        if self.folder:
            yield
            return
        over = threading.Event()

        def hold() -> None:
            period_s = PERIOD_US / 1e6
            while not over.wait(self.share * period_s):
                os.killpg(pid, signal.SIGSTOP)
                time.sleep((1 - self.share) * period_s)
                os.killpg(pid, signal.SIGCONT)

        thread = threading.Thread(target=hold, daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()


class Stage:
    """A world with everything that a scene needs beside it.

    Two of them: one `timed`, whose truth is exact and costs the peer half a microsecond a packet,
    for errors; one not, for wall and CPU.
    """

    def __init__(self, folder: Path, timed: bool) -> None:
        self.world = World(spin=True, timed=timed)
        self.folder = folder
        self.helpers: list[subprocess.Popen[str]] = []
        self.service: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        self.world.__enter__()
        listener = self._help([str(built(PEER)), "listen", str(PORT)])
        assert listener.stdout
        listener.stdout.readline()
        self.world.inside(_deepen_backlog)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for helper in self.helpers:
            helper.kill()
            helper.communicate()
        self.world.close()

    def _help(self, command: list[str]) -> "subprocess.Popen[str]":
        helper = subprocess.Popen(
            self.world.command(*command),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,  # so that a cage without cgroups holds this one only
        )
        self.helpers.append(helper)
        return helper

    def start_service(self) -> int:
        """blackbox_exporter; returns its process id. One that has served is replaced."""
        if self.service:
            self.service.kill()
            self.service.wait()
        modules = self.folder / "blackbox.yml"
        modules.write_text(BLACKBOX_MODULES, encoding="ascii")
        listen = f"--web.listen-address=127.0.0.1:{BLACKBOX_PORT}"
        options = [f"--config.file={modules}", "--log.level=error", listen]
        self.service = self._help(["prometheus-blackbox-exporter", *options])
        self.world.inside(_await_port, BLACKBOX_PORT)
        return self.service.pid

    def sweep(
        self, peer: Peer, scene: Scene, rules: Sequence[Rule] = (), addresses: Sequence[str] = ()
    ) -> tuple[Measured, Truth]:
        """One sweep of that peer, and what the world saw of it."""
        addresses = addresses or self.addresses(scene)
        file = self.folder / f"targets-{len(addresses)}-{int(scene.loopback)}"
        file.write_text("\n".join(addresses) + "\n", encoding="ascii")
        self.world.plan(rules or [Rule(delay_ms=RTT_MS)])
        service = self.start_service() if peer.service else 0
        used_s = cpu_s_of(service) if service else 0.0
        measured = self.run(peer, peer.command(file, scene.echoes), scene.cage_mb)
        if service:
            measured.cpu_s = cpu_s_of(service) - used_s
            measured.peak_kb = peak_kb_of(service)
        return measured, self.world.truth()

    @staticmethod
    def addresses(scene: Scene) -> list[str]:
        """The servers of that scene."""
        if scene.loopback:
            return [f"127.77.{n >> 8}.{n & 255}" for n in range(1, scene.servers + 1)]
        return [address(n) for n in range(1, scene.servers + 1)]

    def run(self, peer: Peer, command: list[str], cage_mb: int) -> Measured:
        """Runs a command under the meter, inside the namespace."""
        out, complaints = self.folder / "meter", self.folder / "complaints"
        with Cage(cage_mb / LAMBDA_MB if cage_mb else 1.0) as cage:
            service = self.service.pid if peer.service and self.service else 0
            if cage_mb and service:  # it's the service that has little CPU, not the one who asks it
                cage.take(service)
            caged = cage.around(command) if cage_mb and not service else command
            metered = self.world.command(str(built(PEER)), "meter", str(out), *caged)
            with (
                open(complaints, "w+", encoding="utf-8") as errors,
                subprocess.Popen(
                    metered,
                    cwd=ROOT,
                    stdout=subprocess.PIPE,
                    stderr=errors,
                    text=True,
                    start_new_session=True,
                ) as process,
            ):
                try:
                    if cage_mb:
                        with cage.holding(service or process.pid):
                            printed = process.communicate(timeout=LIMIT_S)[0]
                    else:
                        printed = process.communicate(timeout=LIMIT_S)[0]
                except subprocess.TimeoutExpired:
                    os.killpg(process.pid, signal.SIGKILL)
                    raise
        if not printed:
            raise RuntimeError(f"{peer.name} failed: {complaints.read_text(encoding='utf-8')}")
        wall_s, cpu_s, peak_kb = map(float, out.read_text(encoding="ascii").split())
        last = printed.rstrip().rpartition("\n")[2]
        facts = json.loads(last[1:]) if last.startswith("#") else {}
        wall_s = facts.get("wall_s", wall_s)
        return Measured(wall_s, cpu_s, int(peak_kb), peer.read(printed), facts)


def _deepen_backlog() -> None:
    Path("/proc/sys/net/core/somaxconn").write_text("65535", encoding="ascii")


def _await_port(port: int) -> None:
    """Until somebody listens there."""
    import socket

    until = time.monotonic() + 10
    while time.monotonic() < until:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.02)
    raise TimeoutError(f"nobody listens at {port}")


def cpu_s_of(pid: int) -> float:
    """CPU a running process has used, in s (proc(5): 14th and 15th field of stat)."""
    words = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) * TICK_S


def peak_kb_of(pid: int) -> int:
    """The most memory a running process has had, in kB."""
    for line in Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1])
    return 0


def errors_ms(measured: Measured, truth: Truth) -> list[float]:
    """How far each reported round trip is from the true one, sorted, in ms.

    Nothing is taken off for a truth that is itself an interval (2 to 3 us): its middle counts.
    """
    seen = truth.echoes()
    errors = []
    for name, rtts_ms in measured.rtts.items():
        for ms, trips in zip(rtts_ms, seen.get(name, []), strict=False):
            trip = next((one for one in trips if one.came_back), None)
            if ms is not None and trip is not None:
                errors.append(abs(ms - (trip.least_ms + trip.most_ms) / 2))
    return sorted(errors)


def share_of(values: Sequence[float], share: float) -> float:
    """The value below which that share of sorted `values` lies; NaN if there are none."""
    if not values:
        return float("nan")
    return values[min(len(values) - 1, int(share * len(values)))]


def middle(values: Sequence[float]) -> float:
    """Their median; NaN if there are none."""
    return median(values) if values else float("nan")
