"""What was measured, as a page: times, money, the bottleneck, and whether the budgets are kept."""

import math
import os
import platform
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from core.slots import SLOT
from infra import estimate
from infra.estimate import ALL_ANSWER_S, MONTH_S, ONE_IS_SILENT_S

AT_ONCE = {"schedule": 1, "probe": 50, "record": 4}  # serverless.yml: probers, recorders
CONCURRENCIES = (10, 25, 50, 100, 200)
FULL = 10_000  # servers: below, events hold fewer messages than they may, and a call is shorter
BUDGET_DOLLARS = 7.0  # docs/design.md: 1,000 servers each minute, functions and queues
ROUNDS = MONTH_S / SLOT.total_seconds()
SLOT_S = SLOT.total_seconds()

HEADER = """# A round, by the size of the fleet

Made by `python -m benchmarks.fleet --write`; do not edit. {system}

The real handlers over a list for a queue, a real Postgres on the same machine, probes of loopback.
*us a server* is what all calls of a function together did with a full processor; *wait* is what
`record` waited for the database. A round's seconds are Lambda's: processor time by the share that
a function's memory brings, waiting as it was, and in each prober {healthy:g} s for the echoes of
servers further away than loopback, where all answer ({silent:g} s where one in each call is
silent), with {probers} probers and {recorders} recorders at once, as in serverless.yml. Dollars are
of functions and queues, from these durations and the prices in infra/estimate.py.
"""
COLUMNS = (
    "| servers | calls: probe, record | us a server: schedule | probe | record | wait | "
    "rows/s of one recorder | GB-s a round | round s: schedule + probe + record | "
    "$ a month: all answer | some are silent |"
)


@dataclass
class Calls:
    """A function's invocations: what each did with the processor, and what it waited, in s."""

    name: str
    cpu_s: list[float] = field(default_factory=list)
    waits_s: list[float] = field(default_factory=list)

    def on_lambda_s(self, wait_s: float = 0.0) -> float:
        """How long one lasts there, on average."""
        share = min(1.0, estimate.MEMORY_GB[self.name] / estimate.CORE_GB)
        return statistics.fmean(self.cpu_s) / share + statistics.fmean(self.waits_s) + wait_s

    def round_s(self, wait_s: float = 0.0, at_once: int = 0) -> float:
        """How long all last when so many run at once; by default as many as are deployed."""
        waves = math.ceil(len(self.cpu_s) / (at_once or AT_ONCE[self.name]))
        return waves * self.on_lambda_s(wait_s)

    def full_at(self, servers: int, wait_s: float = 0.0) -> float:
        """How many servers keep as many as are deployed busy for a whole minute."""
        busy_s = len(self.cpu_s) * self.on_lambda_s(wait_s)
        return servers * AT_ONCE[self.name] * SLOT_S / busy_s

    def gb_s(self, wait_s: float = 0.0) -> float:
        """What all of them are billed for."""
        return len(self.cpu_s) * estimate.MEMORY_GB[self.name] * self.on_lambda_s(wait_s)


@dataclass(frozen=True)
class Measured:
    """A round of so many servers."""

    servers: int
    schedule: Calls
    probe: Calls
    record: Calls

    def stages_s(self, wait_s: float) -> dict[str, float]:
        """How long each function takes for the round."""
        return {
            "schedule": self.schedule.round_s(),
            "probe": self.probe.round_s(wait_s),
            "record": self.record.round_s(),
        }

    def gb_s(self, wait_s: float) -> float:
        """What a round is billed for."""
        return self.schedule.gb_s() + self.probe.gb_s(wait_s) + self.record.gb_s()

    def dollars(self, wait_s: float) -> float:
        """Functions and queues in a month, a round each minute."""
        bill = estimate.estimate(estimate.Fleet(self.servers, probe_wait_s=wait_s))
        requests = sum(line.dollars for line in bill.lines if line.what in ("calls", "queue"))
        return ROUNDS * self.gb_s(wait_s) * estimate.PRICES["compute"].dollars + requests

    def cpu_us(self, calls: Calls) -> float:
        """What a function did with the processor, for each server."""
        return 1e6 * sum(calls.cpu_s) / self.servers


@dataclass(frozen=True)
class Verdict:
    """A budget, what was measured, and whether it is kept."""

    what: str
    figure: str
    kept: bool

    def __str__(self) -> str:
        return f"- {'kept' if self.kept else '**EXCEEDED**'}: {self.what}: {self.figure}"


def page(measured: Sequence[Measured]) -> str:
    """Return all of it in Markdown."""
    header = HEADER.format(
        system=f"{platform.system()}, {os.cpu_count()} cores, Python {platform.python_version()}.",
        healthy=ALL_ANSWER_S,
        silent=ONE_IS_SILENT_S,
        probers=AT_ONCE["probe"],
        recorders=AT_ONCE["record"],
    )
    parts = [header, COLUMNS, f"|{'--:|' * COLUMNS.count(' |')}"]
    parts += [_row(one) for one in measured]
    parts += ["", *_bottleneck(measured[-1]), "", *_concurrency(measured[-1]), ""]
    parts += ["## Budgets", "", *map(str, verdicts(measured))]
    return "\n".join(parts)


def _row(one: Measured) -> str:
    recorded_s = sum(one.record.cpu_s + one.record.waits_s)
    stages = one.stages_s(ALL_ANSWER_S)
    cells = [
        f"{one.servers:,}",
        f"{len(one.probe.cpu_s)}, {len(one.record.cpu_s)}",
        *(f"{one.cpu_us(calls):.0f}" for calls in (one.schedule, one.probe, one.record)),
        f"{1e6 * sum(one.record.waits_s) / one.servers:.0f}",
        f"{one.servers / recorded_s:,.0f}",
        f"{one.gb_s(ALL_ANSWER_S):.2f}",
        f"{' + '.join(f'{s:.1f}' for s in stages.values())} = {sum(stages.values()):.1f}",
        f"{one.dollars(ALL_ANSWER_S):.2f}",
        f"{one.dollars(ONE_IS_SILENT_S):.2f}",
    ]
    return f"| {' | '.join(cells)} |"


def capacities(one: Measured) -> dict[str, float]:
    """Return how many servers each function can serve each minute where some are silent."""
    return {
        "schedule": one.schedule.full_at(one.servers),
        "probe": one.probe.full_at(one.servers, ONE_IS_SILENT_S),
        "record": one.record.full_at(one.servers),
    }


def bottleneck(one: Measured) -> tuple[str, float]:
    """Return the function that can serve the fewest, and how many."""
    most = capacities(one)
    name = min(most, key=lambda function: most[function])
    return name, most[name]


def _bottleneck(one: Measured) -> Iterator[str]:
    name, most = bottleneck(one)
    known = ", ".join(f"`{other}` {_rounded(each):,}" for other, each in capacities(one).items())
    yield f"**The bottleneck** is `{name}`: with {AT_ONCE[name]} at once it is busy all the time at"
    yield f"{_rounded(most):,} servers each minute, where some are silent. Measured with"
    yield f"{one.servers:,} servers, each function can serve, a minute:"
    yield f"{known}."
    yield "`probers` and `recorders` of serverless.yml can be raised, each recorder is a connection"
    yield "more; `schedule` is one call."


def _rounded(number: float) -> int:
    digits = 1 - int(math.log10(number))
    return int(round(number, digits))


def _concurrency(one: Measured) -> Iterator[str]:
    yield f"Wall time of the probers' part of a round of {one.servers:,} servers, by how many run"
    yield "at once; with as many as there are calls it is one call's, however large the fleet:"
    yield ""
    every = len(one.probe.cpu_s)
    known = [number for number in CONCURRENCIES if number < every]
    yield f"| at once |{''.join(f' {number} |' for number in [*known, every])}"
    yield f"|---|{'--:|' * (len(known) + 1)}"
    for label, wait_s in (("all answer", ALL_ANSWER_S), ("some are silent", ONE_IS_SILENT_S)):
        times = (one.probe.round_s(wait_s, number) for number in [*known, every])
        yield f"| {label}, s |{''.join(f' {lasts:.1f} |' for lasts in times)}"


def verdicts(measured: Sequence[Measured]) -> list[Verdict]:
    """Return every budget that these sizes can be held to."""
    return [*_money(measured), *_growth(measured), _in_time(measured[-1]), *_assumed(measured)]


def _money(measured: Sequence[Measured]) -> Iterator[Verdict]:
    for one in measured:
        if one.servers == 1_000:
            dollars = one.dollars(ONE_IS_SILENT_S)
            told = f"{dollars:.2f} $, {one.dollars(ALL_ANSWER_S):.2f} $ where all answer"
            what = f"1,000 servers each minute cost at most {BUDGET_DOLLARS:g} $ a month"
            yield Verdict(what, told, dollars <= BUDGET_DOLLARS)


def _growth(measured: Sequence[Measured]) -> Iterator[Verdict]:
    """Each size against the one before it."""
    for small, large in pairwise(measured):
        times = large.servers / small.servers
        dearer = large.dollars(ALL_ANSWER_S) / small.dollars(ALL_ANSWER_S)
        what = f"from {small.servers:,} to {large.servers:,} servers, {times:g} times"
        yield Verdict(f"{what}, cost grows no faster", f"{dearer:.1f} times", dearer <= 1.1 * times)
        if small.servers >= FULL:
            slower = large.probe.on_lambda_s() / small.probe.on_lambda_s()
            yield Verdict(f"{what}, a prober lasts as long", f"{slower:.2f} times", slower <= 1.5)


def _in_time(one: Measured) -> Verdict:
    lasts_s = sum(one.stages_s(ONE_IS_SILENT_S).values())
    what = f"a round of {one.servers:,} servers is over before the next one"
    return Verdict(what, f"{lasts_s:.1f} s where some are silent", lasts_s < SLOT_S)


def _assumed(measured: Sequence[Measured]) -> Iterator[Verdict]:
    """`flask estimate` counts with no less than what was measured here."""
    for one in measured:
        for calls in (one.schedule, one.probe, one.record):
            call_s, each_s = estimate.CPU_S[calls.name]
            assumed_s = len(calls.cpu_s) * call_s + one.servers * each_s
            what = f"`flask estimate` counts enough for {calls.name} of {one.servers:,} servers"
            figure = (
                f"{1e6 * assumed_s / one.servers:.0f} us each, {one.cpu_us(calls):.0f} measured"
            )
            yield Verdict(what, figure, sum(calls.cpu_s) <= assumed_s)
