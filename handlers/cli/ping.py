"""`flask ping`: the engine by hand."""

import sys
from collections.abc import Callable, Iterable, Sequence

import click
from flask.cli import with_appcontext

from core import probe
from core.probe import Echo, Result, Verdict
from core.rounds import measure
from handlers.cli.output import counted, current_settings


@click.command("ping")
@click.argument("addresses", nargs=-1, required=True, metavar="ADDRESS...")
@click.option(
    "--count",
    type=click.IntRange(1, 1000),
    default=measure.ECHOES,
    show_default=True,
    help="Number of echoes to send to each address.",
)
@click.option(
    "--port", type=click.IntRange(1, 65_535), help="Ping over TCP, on this port, instead of ICMP."
)
@with_appcontext
def ping(addresses: Sequence[str], count: int, port: int | None) -> None:
    """Ping each ADDRESS and print every echo. Needs no database.

    The exit code is 1 if an address did not answer, 2 if no echo could be sent to it.
    """
    how = measure.pace(current_settings(), echoes=count)
    kind = probe.Kind.TCP if port else probe.Kind.ICMP
    problem = None if port else probe.icmp_problem()
    if problem:
        raise click.UsageError(f"{problem} Or ping a TCP port: --port 443")
    _refuse_addresses(addresses)
    echoes = counted(count, "echo", "echoes")
    click.echo(f"{kind.upper()}, {echoes} per address, timeout {how.timeout_s:g} s")
    targets = [probe.Destination(address, (port,) if port else ()) for address in addresses]
    results = probe.probe(kind, targets, how, _echo_printer(addresses))
    for address, result in zip(addresses, results, strict=True):
        _print_summary(address, result)
    sys.exit(max(_exit_code(result) for result in results))


def _refuse_addresses(addresses: Iterable[str]) -> None:
    for address in addresses:
        refusal = current_settings().address_rules.refusal(address)
        if refusal:
            raise click.UsageError(refusal)


def _echo_printer(addresses: Sequence[str]) -> Callable[[int, int, Echo], None]:
    def print_echo(index: int, number: int, echo: Echo) -> None:
        line = f"{addresses[index]}: seq={number + 1} {_told(echo)}"
        click.echo(line)

    return print_echo


def _told(echo: Echo) -> str:
    if echo.rtt_ms is None:
        return f"{echo.verdict}" + (f": {echo.reason}" if echo.reason else "")
    refused = " (refused)" if echo.verdict is Verdict.REFUSED else ""
    return f"time={echo.rtt_ms:.3f} ms{refused}, {echo.clock} clock, +-{echo.bound_ms:.3f} ms"


def _print_summary(address: str, result: Result) -> None:
    sent = [echo for echo in result.echoes if echo.verdict is not Verdict.LOCAL_FAULT]
    times = [echo.rtt_ms for echo in sent if echo.verdict.came_back and echo.rtt_ms is not None]
    received = sum(echo.verdict.came_back for echo in sent)
    click.echo(f"\n--- {address} ---")
    lost = f", {100 * (len(sent) - received) / len(sent):.0f}% lost" if sent else ""
    click.echo(f"{counted(len(sent), 'echo', 'echoes')} sent, {received} received{lost}")
    if times:
        mean = sum(times) / len(times)
        click.echo(f"rtt min/avg/max = {min(times):.3f}/{mean:.3f}/{max(times):.3f} ms")


def _exit_code(result: Result) -> int:
    if all(echo.verdict is Verdict.LOCAL_FAULT for echo in result.echoes):
        return 2
    return 0 if any(echo.verdict.came_back for echo in result.echoes) else 1
