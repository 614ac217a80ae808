"""A round's echoes, cut into batches, sent, made into pings. Holds no connection."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from core import probe
from core.checks.echoes import ByKind, add_up, divide, kind_of, no_icmp, to_probe
from core.checks.records import Ping, Probe, Reason, Target, Unobserved
from core.probe import Echo, Pace, Result
from core.rounds.messages import Batch
from core.settings import Settings
from core.slots import SLOT

ECHOES = 4

LATE = timedelta(seconds=30)
"""A round may reach so far into the next slot: the clock that starts it may strike at any second of
its minute (docs.aws.amazon.com/eventbridge, "Creating a rule that runs on a schedule")."""

GRACE = timedelta(seconds=5)
"""A sweep that ends with its deadline takes so long to say what it found, at most."""
TOO_LATE = "its batch came after the deadline, or the prober ran out of time"

Progress = Callable[[int], None]
"""Called with how many echoes have ended since the last call."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What a round found: a ping for each server we could observe, a reason for each other.

    `heard` says of each witness that was asked whether it answered.
    """

    pings: Sequence[Ping]
    unobserved: Sequence[Unobserved]
    heard: Mapping[str, bool] = field(default_factory=dict)


def deadline(slot: datetime) -> datetime:
    """Return when `slot`'s round is over: what is measured later says nothing about that slot."""
    return slot + SLOT + LATE


def left(slot: datetime, now: datetime) -> timedelta:
    """Return how long `slot`'s round may still take: nothing after its deadline."""
    return min(max(timedelta(0), deadline(slot) - now), SLOT + LATE)


def in_time(measured: Measured, slot: datetime, now: datetime) -> Measured:
    """Return what a round found; after its deadline that says nothing about any server.

    A sweep ends by its deadline, but a machine may have slept meanwhile, or the process was
    stopped: `now` has to be by a clock that counts that.
    """
    if now <= deadline(slot) + GRACE:
        return measured
    late = [too_late(ping) for ping in measured.pings]
    return Measured([], [*measured.unobserved, *late])


def too_late(one: Target | Ping) -> Unobserved:
    """Return what there is of a server whose turn came after the deadline."""
    return Unobserved(one.server_id, TOO_LATE, Reason.OUT_OF_TIME, one.revision)


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
    targets: Sequence[Target],
    how: Pace,
    progress: Progress | None = None,
    witnesses: Sequence[str] = (),
) -> Measured:
    """Send every target its echoes and add them up. Raises nothing for what targets do.

    The witnesses are asked at the same time, where there are targets.

    ICMP and TCP run side by side; a target whose echoes all failed on our side, or that can't be
    probed from here, is unobserved.
    """
    # Loaded by who uses it: asyncio would double the cold start of the prober, which doesn't.
    import asyncio

    by_kind, impossible = divide(_with(witnesses, targets))
    heard = (lambda _target, _number, _echo: progress(1)) if progress else None
    found = await asyncio.gather(
        *(
            probe.probe_async(kind, to_probe(kind, members), how, heard)
            for kind, members in by_kind.items()
        )
    )
    return _measured(by_kind, found, impossible, witnesses)


def measure_blocking(
    targets: Sequence[Target], how: Pace, witnesses: Sequence[str] = ()
) -> Measured:
    """The same without asyncio, for a process that has nothing else to do meanwhile.

    Where there are both, ICMP and TCP run one after the other, within `how.budget_s` together.
    """
    by_kind, impossible = divide(_with(witnesses, targets))
    started = time.monotonic()
    found = []
    for kind, members in by_kind.items():
        if how.budget_s is not None:
            how = replace(how, budget_s=max(0.0, how.budget_s - (time.monotonic() - started)))
            started = time.monotonic()
        found.append(probe.probe(kind, to_probe(kind, members), how))
    return _measured(by_kind, found, impossible, witnesses)


def ping_once(target: Target, how: Pace) -> tuple[Sequence[Echo], Ping | Unobserved]:
    """Send one target its echoes at once, and wait for them; return them and what they add up to.

    It blocks for as long as the echoes take. Raises nothing for what the target does.
    """
    icmp_problem = probe.icmp_problem()
    if target.probe is Probe.ICMP and icmp_problem:
        return [], no_icmp(target, icmp_problem)
    kind = kind_of(target, icmp_problem)
    [result] = probe.probe(kind, to_probe(kind, [target]), how)
    return result.echoes, add_up(kind, target, result)


def _with(witnesses: Sequence[str], targets: Sequence[Target]) -> Sequence[Target]:
    """Put witnesses before the targets; they have the ids -1, -2, ..., which no server has."""
    if not targets:
        return targets
    return [*(Target(-number, ip) for number, ip in enumerate(witnesses, 1)), *targets]


def _measured(
    by_kind: ByKind,
    found: Sequence[Sequence[Result]],
    impossible: Sequence[Unobserved],
    witnesses: Sequence[str],
) -> Measured:
    outcomes = [
        add_up(kind, target, result)
        for (kind, targets), results in zip(by_kind.items(), found, strict=True)
        for target, result in zip(targets, results, strict=True)
    ]
    asked = [outcome for outcome in outcomes if outcome.server_id < 0]
    outcomes = [outcome for outcome in outcomes if outcome.server_id >= 0]
    lost = [outcome for outcome in outcomes if isinstance(outcome, Unobserved)]
    return Measured(
        [outcome for outcome in outcomes if isinstance(outcome, Ping)],
        [*impossible, *lost],
        {
            witnesses[-one.server_id - 1]: isinstance(one, Ping) and one.received > 0
            for one in asked
        },
    )
