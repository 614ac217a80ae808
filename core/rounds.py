"""Rounds: slots, and echoes made into pings. Holds no connection, knows no table."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from core import probe
from core.messages import Batch
from core.probe import Echo, Kind, Pace, Result
from core.schema import SLOT, Ping, Probe, Target, Unobserved, quantised_ms
from core.settings import Settings

ECHOES = 4
DISCOVERY_PORTS = (443, 80, 22, 53)
UNKNOWN_PORT = (
    f"nothing answered on ports {', '.join(map(str, DISCOVERY_PORTS))}, and ICMP can't be used "
    "from here: give the server a port"
)

LATE = timedelta(seconds=30)
"""A round may reach so far into the next slot: the clock that starts it may strike at any second of
its minute (docs.aws.amazon.com/eventbridge, "Creating a rule that runs on a schedule")."""

ByKind = dict[Kind, list[Target]]

Progress = Callable[[int], None]
"""Called with how many echoes have ended since the last call."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What a round found: a ping for each server we could observe, a reason for each other."""

    pings: Sequence[Ping]
    unobserved: Sequence[Unobserved]


def slot_of(moment: datetime) -> datetime:
    """Return the slot that `moment` lies in: its minute, UTC."""
    return moment.astimezone(UTC).replace(second=0, microsecond=0)


def deadline(slot: datetime) -> datetime:
    """Return when `slot`'s round is over: what is measured later says nothing about that slot."""
    return slot + SLOT + LATE


def batches(slot: datetime, targets: Sequence[Target], size: int) -> list[Batch]:
    """Cut a round into batches of `size` targets, in their order; the last may be smaller."""
    return [
        Batch(slot, deadline(slot), targets[start : start + size])
        for start in range(0, len(targets), size)
    ]


def pace(settings: Settings, echoes: int = ECHOES) -> Pace:
    """Return how echoes are to be sent, as the settings say."""
    return Pace(
        echoes=echoes,
        timeout_s=settings.echo_timeout_s,
        gap_s=settings.echo_gap_s,
        rate_pps=settings.rate_pps,
        allowed=settings.address_rules.allows,
    )


async def measure(
    targets: Sequence[Target], how: Pace, progress: Progress | None = None
) -> Measured:
    """Send every target its echoes and add them up. Raises nothing for what targets do.

    ICMP and TCP run side by side; a target whose echoes all failed on our side, or that can't be
    probed from here, is unobserved.
    """
    # Loaded by who uses it: asyncio would double the cold start of the prober, which doesn't.
    import asyncio  # pylint: disable=import-outside-toplevel

    by_kind, impossible = _divide(targets)
    heard = (lambda _target, _number, _echo: progress(1)) if progress else None
    found = await asyncio.gather(
        *(
            probe.probe_async(kind, _to_probe(kind, members), how, heard)
            for kind, members in by_kind.items()
        )
    )
    return _measured(by_kind, found, impossible)


def measure_blocking(targets: Sequence[Target], how: Pace) -> Measured:
    """The same without asyncio, for a process that has nothing else to do meanwhile.

    Where there are both, ICMP and TCP run one after the other, within `how.budget_s` together.
    """
    by_kind, impossible = _divide(targets)
    started = time.monotonic()
    found = []
    for kind, members in by_kind.items():
        if how.budget_s is not None:
            how = replace(how, budget_s=max(0.0, how.budget_s - (time.monotonic() - started)))
            started = time.monotonic()
        found.append(probe.probe(kind, _to_probe(kind, members), how))
    return _measured(by_kind, found, impossible)


def _divide(targets: Sequence[Target]) -> tuple[ByKind, list[Unobserved]]:
    """Return who is probed how, and who can't be probed from here."""
    icmp_problem = probe.icmp_problem()
    by_kind: ByKind = {}
    impossible = []
    for target in targets:
        if target.probe is Probe.ICMP and icmp_problem:
            impossible.append(Unobserved(target.server_id, icmp_problem))
        else:
            by_kind.setdefault(_kind(target, icmp_problem), []).append(target)
    return by_kind, impossible


def ping_once(target: Target, how: Pace) -> tuple[Sequence[Echo], Ping | Unobserved]:
    """Send one target its echoes at once, and wait for them; return them and what they add up to.

    It blocks for as long as the echoes take. Raises nothing for what the target does.
    """
    icmp_problem = probe.icmp_problem()
    if target.probe is Probe.ICMP and icmp_problem:
        return [], Unobserved(target.server_id, icmp_problem)
    kind = _kind(target, icmp_problem)
    result = probe.probe(kind, [probe.Target(target.ip, _ports(kind, target))], how)[0]
    return result.echoes, add_up(kind, target, result)


def _kind(target: Target, icmp_problem: str | None) -> Kind:
    if target.probe is Probe.TCP or icmp_problem:
        return Kind.TCP
    return Kind.ICMP


def _to_probe(kind: Kind, targets: Sequence[Target]) -> list[probe.Target]:
    return [probe.Target(target.ip, _ports(kind, target)) for target in targets]


def _measured(
    by_kind: ByKind, found: Sequence[Sequence[Result]], impossible: Sequence[Unobserved]
) -> Measured:
    outcomes = [
        add_up(kind, target, result)
        for (kind, targets), results in zip(by_kind.items(), found, strict=True)
        for target, result in zip(targets, results, strict=True)
    ]
    lost = [outcome for outcome in outcomes if isinstance(outcome, Unobserved)]
    return Measured(
        [outcome for outcome in outcomes if isinstance(outcome, Ping)], [*impossible, *lost]
    )


def _ports(kind: Kind, target: Target) -> tuple[int, ...]:
    if kind is Kind.ICMP:
        return ()
    known = target.port or target.last_port
    return (known,) if known else DISCOVERY_PORTS


def add_up(kind: Kind, target: Target, result: Result) -> Ping | Unobserved:
    """Make one target's echoes a ping, or say why they don't add up to one.

    Echoes that failed on our side count as not sent. Lost ones never enter the mean, nor does an
    answer whose time is unknown.
    """
    sent = [echo for echo in result.echoes if echo.verdict is not probe.Verdict.LOCAL_FAULT]
    if not sent:
        return Unobserved(target.server_id, _reason(result.echoes))
    received = [echo for echo in sent if echo.verdict.came_back]
    if not received and kind is Kind.TCP and not (target.port or target.last_port):
        return Unobserved(target.server_id, UNKNOWN_PORT)
    times = [echo.rtt_ms for echo in received if echo.rtt_ms is not None]
    return Ping(
        server_id=target.server_id,
        ip=target.ip,
        sent=len(sent),
        received=len(received),
        response_ms=quantised_ms(sum(times) / len(times)) if times else None,
        best_ms=quantised_ms(min(times)) if times else None,
        worst_ms=quantised_ms(max(times)) if times else None,
        probe=Probe(kind),
        port=result.port,
    )


def _reason(echoes: Sequence[Echo]) -> str:
    return next((echo.reason for echo in echoes if echo.reason), "no echo could be sent")
