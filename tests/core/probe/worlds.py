"""Judges what the engine reports against what the world saw."""

from collections import Counter
from collections.abc import Iterable, Sequence

from benchmarks.probe.world import Outcome, Trip, Truth, World
from core.probe import Destination, Echo, Kind, Pace, Result, Verdict, probe

PORT = 443
UNSHARP_MS = 50
VERDICTS = {
    Outcome.ANSWERED: Verdict.ANSWERED,
    Outcome.REFUSED: Verdict.REFUSED,
    Outcome.UNREACHABLE: Verdict.UNREACHABLE,
}


def targets_at(addresses: Iterable[str], port: int = PORT) -> list[Destination]:
    """Targets that both kinds of echo can use."""
    return [Destination(address, (port,)) for address in addresses]


class Sweep:
    """One sweep inside the world: what the engine says and what is true."""

    def __init__(self, world: World, kind: Kind, addresses: Sequence[str], pace: Pace) -> None:
        self.kind, self.addresses, self.pace = kind, addresses, pace
        self.heard: list[tuple[int, int, Echo]] = []
        self.results: list[Result] = world.inside(
            probe, kind, targets_at(addresses), pace, lambda *one: self.heard.append(one)
        )
        self.truth: Truth = world.truth()

    @property
    def verdicts(self) -> Counter[Verdict]:
        """How many echoes ended how."""
        return Counter(echo.verdict for result in self.results for echo in result.echoes)

    def judge(self) -> None:
        """Fails on the first echo that isn't as the world says."""
        assert self.truth.unwritten == 0, "the world couldn't answer: its own fault"
        assert self.truth.untimed == 0, "the world lost a stamp: its own fault"
        assert len(self.results) == len(self.addresses)
        assert sorted((target, number) for target, number, _ in self.heard) == [
            (target, number)
            for target in range(len(self.addresses))
            for number in range(self.pace.echoes)
        ], "each echo is told once"
        seen = self.truth.echoes()
        for address, result in zip(self.addresses, self.results, strict=True):
            assert len(result.echoes) == self.pace.echoes
            assert len(seen.get(address, [])) == self.pace.echoes, f"{address}: packets sent"
            for number, (echo, trips) in enumerate(zip(result.echoes, seen[address], strict=True)):
                self._judge_echo(f"{address} echo {number}: {echo}", echo, trips)

    def _judge_echo(self, which: str, echo: Echo, trips: list[Trip]) -> None:
        answers = [trip for trip in trips if trip.came_back]
        if not answers:
            assert echo.verdict == Verdict.NO_ANSWER, f"{which}, but {trips}"
            return
        # From the first request on, as the time-out runs; a busy machine makes the edge unsharp.
        waited_ms = (answers[0].written_ns - trips[0].sent_ns) / 1e6
        timeout_ms = self.pace.timeout_s * 1000
        if waited_ms > timeout_ms + UNSHARP_MS:
            assert echo.verdict == Verdict.NO_ANSWER, f"{which}, but late: {trips}"
        if echo.verdict == Verdict.NO_ANSWER:
            assert waited_ms > timeout_ms - UNSHARP_MS, f"{which}, but {trips}"
            return
        assert echo.verdict == VERDICTS[Outcome(answers[0].outcome)], f"{which}, but {trips}"
        self._judge_time(which, echo, trips, answers[0])

    def _judge_time(self, which: str, echo: Echo, trips: list[Trip], trip: Trip) -> None:
        if not echo.verdict.came_back:
            assert echo.rtt_ms is None, which
            return
        if echo.rtt_ms is None:
            # Nobody can say which SYN an answer is for, unless timestamps tell.
            assert len(trips) > 1, f"{which}: no time"
            return
        assert echo.clock is not None, which
        assert echo.bound_ms is not None, which
        assert trip.least_ms - echo.bound_ms <= echo.rtt_ms <= trip.most_ms + echo.bound_ms, (
            f"{which}, but truly {trip.least_ms} to {trip.most_ms} ms"
        )
