"""Ping checks: which echoes a target gets, and what they add up to."""

from collections.abc import Sequence
from typing import TypedDict

from core import probe
from core.checks.records import Ping, Probe, Reason, Target, Unobserved, figures_ms
from core.probe import Echo, Kind, Result, Verdict

DISCOVERY_PORTS = (443, 80, 22, 53)
UNKNOWN_PORT = (
    f"nothing answered on ports {', '.join(map(str, DISCOVERY_PORTS))}, and ICMP can't be used "
    "from here: set the server's port"
)

CAME_BACK = frozenset(verdict for verdict in Verdict if verdict.came_back)
SERVED = frozenset({Verdict.ANSWERED})
"""Whose service was asked for isn't there when its host refuses."""

REASONS = {
    Verdict.REFUSED: Reason.REFUSED,
    Verdict.UNREACHABLE: Reason.UNREACHABLE,
    Verdict.NO_ANSWER: Reason.TIMEOUT,
}
TELLING = list(REASONS)
WORDS = {
    Reason.REFUSED: "connection refused",
    Reason.UNREACHABLE: "unreachable",
    Reason.TIMEOUT: "no answer",
}
"""What people are told where the network itself has said nothing."""
OF_ENGINE = {probe.OUT_OF_TIME: Reason.OUT_OF_TIME, probe.NOT_ALLOWED: Reason.NOT_ALLOWED}

ByKind = dict[Kind, list[Target]]


def divide(targets: Sequence[Target]) -> tuple[ByKind, list[Unobserved]]:
    """Return who is probed how, and who can't be probed from here."""
    icmp_problem = probe.icmp_problem()
    by_kind: ByKind = {}
    impossible = []
    for target in targets:
        if target.probe is Probe.ICMP and icmp_problem:
            impossible.append(no_icmp(target, icmp_problem))
        else:
            by_kind.setdefault(kind_of(target, icmp_problem), []).append(target)
    return by_kind, impossible


def no_icmp(target: Target, icmp_problem: str) -> Unobserved:
    """Return what there is of a target that only ICMP would do for."""
    return Unobserved(target.server_id, icmp_problem, Reason.NO_ICMP, target.revision)


def kind_of(target: Target, icmp_problem: str | None) -> Kind:
    """Return which echoes a target gets; `icmp_problem` says why ICMP can't be used here."""
    if target.probe is Probe.TCP or icmp_problem:
        return Kind.TCP
    return Kind.ICMP


def to_probe(kind: Kind, targets: Sequence[Target]) -> list[probe.Destination]:
    """Return where the engine is to send these targets' echoes."""
    return [probe.Destination(target.ip, ports_of(kind, target)) for target in targets]


def ports_of(kind: Kind, target: Target) -> tuple[int, ...]:
    """Return the ports to try: none for ICMP, the known one, or those of the discovery."""
    if kind is Kind.ICMP:
        return ()
    known = target.port or target.last_port
    return (known,) if known else DISCOVERY_PORTS


def add_up(kind: Kind, target: Target, result: Result) -> Ping | Unobserved:
    """Make one target's echoes a ping, or say why they don't add up to one.

    Echoes that failed on our side count as not sent. Lost ones never enter the mean, nor does an
    answer whose time is unknown. A refusal says that the host is there; where a service was asked
    for it is no answer.
    """
    sent = [echo for echo in result.echoes if echo.verdict is not Verdict.LOCAL_FAULT]
    if not sent:
        return _unsent(target, result.echoes)
    good = SERVED if target.is_service else CAME_BACK
    received = [echo for echo in sent if echo.verdict in good]
    if not received and kind is Kind.TCP and not (target.port or target.last_port):
        return Unobserved(target.server_id, UNKNOWN_PORT, Reason.NO_PORT, target.revision)
    times = [echo.rtt_ms for echo in received if echo.rtt_ms is not None]
    return Ping(
        server_id=target.server_id,
        ip=target.ip,
        sent=len(sent),
        received=len(received),
        **figures_ms(times),
        probe=Probe(kind),
        port=result.port,
        revision=target.revision,
        **_why([echo for echo in sent if echo.verdict not in good]),
    )


class Explained(TypedDict, total=False):
    """Why a ping isn't up: nothing where it is."""

    reason: Reason
    detail: str


def _why(missing: Sequence[Echo]) -> Explained:
    """Of several reasons the one that tells most: silence tells least."""
    if not missing:
        return Explained()
    telling = min(missing, key=lambda echo: TELLING.index(echo.verdict))
    reason = REASONS[telling.verdict]
    return Explained(reason=reason, detail=telling.reason or WORDS[reason])


def _unsent(target: Target, echoes: Sequence[Echo]) -> Unobserved:
    detail = next((echo.reason for echo in echoes if echo.reason), "no echo could be sent")
    reason = OF_ENGINE.get(detail, Reason.LOCAL)
    return Unobserved(target.server_id, detail, reason, target.revision)
