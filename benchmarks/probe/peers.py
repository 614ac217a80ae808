"""Who is measured: how to get it, how to call it, how to read what it says."""

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.probe.world import BUILD, built

ROOT = Path(__file__).parents[2]
PEER = Path(__file__).with_name("peer.c")
VENV = BUILD / "venv-peers"
PACKAGES = {
    "fping": "fping",
    "nmap": "nmap",
    "prometheus-blackbox-exporter": "prometheus-blackbox-exporter",
    "ip": "iproute2",
    "cc": "build-essential",
}
ICMPLIB = "icmplib==3.0.4"
PORT = 443
BLACKBOX_PORT = 9115
BLACKBOX_MODULES = """modules:
  icmp: {prober: icmp, timeout: 1s, icmp: {preferred_ip_protocol: ip4}}
  tcp: {prober: tcp, timeout: 1s, tcp: {preferred_ip_protocol: ip4}}
"""
Rtts = dict[str, list[float | None]]


def install() -> list[str]:
    """Gets what is missing; returns the names of what couldn't be had."""
    absent = [package for name, package in PACKAGES.items() if shutil.which(name) is None]
    if absent:
        # No service may start by itself: the benchmark runs its own in the namespace.
        quiet = {"DEBIAN_FRONTEND": "noninteractive", "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
        words = ["apt-get", "install", "-y", "--no-install-recommends", *absent]
        subprocess.run(["apt-get", "update"], env=quiet, stdout=subprocess.DEVNULL, check=False)
        subprocess.run(words, env=quiet, stdout=subprocess.DEVNULL, check=False)
    if not (VENV / "bin" / "python").exists():
        subprocess.run([sys.executable, "-m", "venv", VENV], check=True)
    pip = [str(VENV / "bin" / "python"), "-m", "pip", "install", "-q", ICMPLIB]
    has_icmplib = not subprocess.run(pip, check=False).returncode
    lost = [package for name, package in PACKAGES.items() if shutil.which(name) is None]
    return lost + ([] if has_icmplib else ["icmplib"])


def read_lines(printed: str) -> Rtts:
    """'address rtt|- ...' lines, as drivers.py, peer.c and (with a colon) fping print them."""
    rtts: Rtts = {}
    for line in printed.splitlines():
        name, *words = line.replace(" :", " ").split()
        if name != "#" and name not in rtts:
            rtts[name] = [None if word == "-" else float(word) for word in words]
    return rtts


def read_nmap(printed: str) -> Rtts:
    """nmap's XML: the smoothed round trip, after one probe the probe's own."""
    host = re.compile(
        r'<address addr="(\S+)".*?<state state="(open|closed)".*?<times srtt="(\d+)"', re.S
    )
    rtts: Rtts = {}
    for text in printed.split("<host ")[1:]:
        found = host.search(text)
        if found:
            rtts[found[1]] = [int(found[3]) / 1000]
    return rtts


@dataclass(frozen=True)
class Peer:
    """A program under measurement.

    `command` makes its command line from the file of targets and the number of echoes. Libraries
    say their sweep's wall themselves; a program's wall is its process's.
    """

    name: str
    kind: str
    command: Callable[[Path, int], list[str]]
    read: Callable[[str], Rtts] = read_lines
    slow: bool = False  # seconds for 10,000: measured once where others are measured often
    most_echoes: int = 4
    loopback: bool = True
    service: bool = False  # what is measured is blackbox_exporter, not the one who asks it


def driver(*words: str, python: str = sys.executable) -> Callable[[Path, int], list[str]]:
    """A peer of drivers.py."""
    name, *options = words

    def command(file: Path, count: int) -> list[str]:
        module = ["-m", "benchmarks.probe.drivers"]
        return [python, *module, name, str(file), str(count), *options]

    return command


def fping(interval_ms: str) -> Callable[[Path, int], list[str]]:
    """fping with that interval between packets; -p is the gap between echoes of a target."""

    def command(file: Path, count: int) -> list[str]:
        options = [f"-i{interval_ms}", "-r0", "-q", "-p100", "-t1000", f"-C{count}"]
        # What we want is on standard error.
        line = f"exec fping {' '.join(options)} -f {file} 2>&1"
        return ["sh", "-c", line]

    return command


def in_c(kind: str) -> Callable[[Path, int], list[str]]:
    """The floor: peer.c."""
    return lambda file, count: [str(built(PEER)), kind, str(file), str(count), str(PORT)]


def nmap(file: Path, count: int) -> list[str]:
    """One connect scan of one port."""
    del count
    options = "-sT -Pn -n -T5 --max-retries 0 --min-hostgroup 10000 -oX -"
    return ["nmap", *options.split(), f"-p{PORT}", "-iL", str(file)]


ICMPLIB_PYTHON = str(VENV / "bin" / "python")
OURS_ICMP = Peer("pinglet", "icmp", driver("ours", "icmp"))
OURS_TCP = Peer("pinglet", "tcp", driver("ours", "tcp"))
OURS_DEFAULT = Peer("pinglet, default buffer", "icmp", driver("ours", "icmp-default"))
FPING_0 = Peer("fping -i0", "icmp", fping("0"))
FPING = Peer("fping -i0.02", "icmp", fping("0.02"))
ICMPLIB_DGRAM = Peer(
    "icmplib, 500 dgram", "icmp", driver("icmplib", "dgram", python=ICMPLIB_PYTHON)
)
ICMPLIB_RAW = Peer(
    "icmplib, 500 raw",
    "icmp",
    driver("icmplib", "raw", python=ICMPLIB_PYTHON),
    slow=True,
    most_echoes=1,
)
C_ICMP = Peer("C, sendto", "icmp", in_c("icmp"))
C_TCP = Peer("C, epoll", "tcp", in_c("tcp"))
STREAMS = Peer("asyncio.open_connection, 500", "tcp", driver("streams"))
NMAP = Peer("nmap -sT", "tcp", nmap, read_nmap, most_echoes=1)
BLACKBOX_ICMP = Peer(
    "blackbox_exporter",
    "icmp",
    driver("blackbox", "icmp", str(BLACKBOX_PORT)),
    slow=True,
    most_echoes=1,
    service=True,
)
BLACKBOX_TCP = Peer(
    "blackbox_exporter",
    "tcp",
    driver("blackbox", "tcp", str(BLACKBOX_PORT)),
    slow=True,
    most_echoes=1,
    service=True,
)
ALL = [
    OURS_ICMP,
    FPING_0,
    FPING,
    ICMPLIB_DGRAM,
    ICMPLIB_RAW,
    BLACKBOX_ICMP,
    C_ICMP,
    OURS_TCP,
    STREAMS,
    NMAP,
    BLACKBOX_TCP,
    C_TCP,
]
