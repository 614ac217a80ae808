"""The engine from the command line: `python -m core.probe --kind icmp --targets FILE`.

One address a line in FILE (or on standard input with `-`); empty lines and what follows a `#` are
skipped. Exit status: 0 every echo came back, 1 some didn't, 2 it couldn't be tried.
"""

import argparse
import json
import signal
import sys
from collections.abc import Iterable, Sequence

from core.probe import ClockUsed, Destination, Kind, Pace, Result, Verdict, icmp_problem, probe
from core.probe.addresses import understand

STRENGTH = list(Verdict)  # a target's verdict is the strongest of its echoes'


class Impossible(Exception):
    """What was asked for can't be done; the message says why."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Probe what the command line says, print it, return the exit status."""
    asked = _parser().parse_args(arguments)
    try:
        addresses = _addresses(asked.targets)
        pace = Pace(asked.count, asked.timeout, asked.gap, asked.rate)
        kind = Kind(asked.kind)
        if kind is Kind.ICMP:
            _require_icmp(addresses)
    except (Impossible, ValueError, OSError) as error:
        print(f"core.probe: {error}", file=sys.stderr)
        return 2
    results = probe(kind, [Destination(address, tuple(asked.port)) for address in addresses], pace)
    _print_json(addresses, results)
    return 0 if all(_came_back(result) == asked.count for result in results) else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m core.probe", description=__doc__)
    parser.add_argument("--kind", choices=[str(kind) for kind in Kind], default=str(Kind.ICMP))
    parser.add_argument("--targets", required=True, metavar="FILE", help="- for standard input")
    parser.add_argument("--count", type=int, default=4, metavar="N", help="echoes for each target")
    parser.add_argument(
        "--port", type=_port, nargs="+", default=[443, 80, 22, 53], help="TCP: the first to answer"
    )
    parser.add_argument("--timeout", type=float, default=1.0, metavar="S", help="for one echo")
    parser.add_argument("--gap", type=float, default=0.1, metavar="S", help="between two echoes")
    parser.add_argument("--rate", type=float, default=0.0, metavar="PPS", help="0: no limit")
    # JSON is all there is; scripts of v0.1.0 had to say so.
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    return parser


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 0 < int(text) < 65536):
        raise argparse.ArgumentTypeError(f"port must be 1 to 65535, got {text!r}")
    return int(text)


def _addresses(path: str) -> list[str]:
    """The addresses in that file. Raises Impossible, naming the line, or OSError."""
    if path == "-":
        return _read(sys.stdin)
    with open(path, encoding="utf-8") as file:
        return _read(file)


def _read(lines: Iterable[str]) -> list[str]:
    addresses = []
    for number, line in enumerate(lines, start=1):
        text = line.partition("#")[0].strip()
        if not text:
            continue
        try:
            understand(text)
        except ValueError as error:
            raise Impossible(f"line {number}: {error}") from None
        addresses.append(text)
    if not addresses:
        raise Impossible("no targets given")
    return addresses


def _require_icmp(addresses: Sequence[str]) -> None:
    for family in {understand(address).family for address in addresses}:
        problem = icmp_problem(family)
        if problem:
            raise Impossible(problem)


def _came_back(result: Result) -> int:
    return sum(echo.verdict.came_back for echo in result.echoes)


def _verdict(result: Result) -> Verdict:
    return min((echo.verdict for echo in result.echoes), key=STRENGTH.index)


def _clock(result: Result) -> ClockUsed | None:
    """The worse of the clocks used."""
    clocks = {echo.clock for echo in result.echoes} - {None}
    return ClockUsed.USER if ClockUsed.USER in clocks else next(iter(clocks), None)


def _print_json(addresses: Sequence[str], results: Sequence[Result]) -> None:
    for address, result in zip(addresses, results, strict=True):
        line = {
            "target": address,
            "port": result.port,
            "rtts_ms": [_rounded(echo.rtt_ms) for echo in result.echoes],
            "bounds_ms": [_rounded(echo.bound_ms) for echo in result.echoes],
            "clock": _clock(result),
            "verdict": _verdict(result),
            "verdicts": [echo.verdict for echo in result.echoes],
            "reasons": sorted({echo.reason for echo in result.echoes} - {""}),
        }
        print(json.dumps(line))


def _rounded(time_ms: float | None) -> float | None:
    return None if time_ms is None else round(time_ms, 6)


if __name__ == "__main__":
    # Ctrl-C, and a reader that has read enough (`| head`), end this as they end other programs.
    for name in ("SIGINT", "SIGPIPE"):
        if hasattr(signal, name):  # Windows has no SIGPIPE
            signal.signal(getattr(signal, name), signal.SIG_DFL)
    sys.exit(main())
