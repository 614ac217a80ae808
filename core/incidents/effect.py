"""What rules would have made of the past, added up server by server. Pure.

However many incidents there were, what is held are sums and the worst of them.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import date, timedelta, tzinfo
from heapq import nlargest
from typing import NamedTuple, Self

from core.incidents.judge import Decision, Turn
from core.incidents.records import Effect, Outage, ServerCount, Watched
from core.slots import slot_time

SHOWN = 20
"""Servers and outages that an answer names."""
NIGHT = 22, 6
"""From which hour on, and before which, nobody wants to be woken."""
NOON = timedelta(hours=12)


class Between(NamedTuple):
    """From a slot to before another; without an end it lasts."""

    since: int
    until: int

    def later(self, slots: int) -> Self:
        """Return the same so many slots later."""
        return self._replace(since=self.since + slots, until=self.until + slots)


class Open(NamedTuple):
    """An incident that would have been; `told` are the slots by which it was told of."""

    since: int
    told: Sequence[int]
    until: int | None


def incidents(decided: Iterable[Decision]) -> list[Open]:
    """Return what decisions about one server, in order, come to."""
    found: list[Open] = []
    for turn, slot, since in decided:
        if turn is Turn.OPENED:
            found.append(Open(since, [slot], None))
        elif turn is Turn.REOPENED:
            found[-1] = found[-1]._replace(told=[*found[-1].told, slot], until=None)
        else:
            found[-1] = found[-1]._replace(until=since)
    return found


class Sums:
    """What incidents add up to, up to the slot `end`; hours are those of `zone`."""

    def __init__(self, end: int, zone: tzinfo) -> None:
        self._end, self._zone = end, zone
        self._flaps = self._missed = 0
        self._hours, self._nights = [0] * 24, set[date]()
        self._delays_m = Counter[int]()
        self._servers: list[ServerCount] = []
        self._longest: list[Outage] = []
        self._outages: list[Outage] = []

    def add(self, server: Watched, found: Sequence[Open], outages: Sequence[Between]) -> None:
        """Add a server's incidents, in order, and its outages."""
        for one in found:
            self._add(one)
        missed = [one for one in outages if not self._is_told(one, found)]
        self._missed += len(missed)
        self._outages = self._worst(server, missed, self._outages, SHOWN)
        self._longest = self._worst(server, found, self._longest, 1)
        if found:
            lasted = sum(self._minutes(one) for one in found)
            count = ServerCount(server=server, incidents=len(found), duration_s=60 * lasted)
            self._servers.append(count)

    def told(self, rules: list[str]) -> Effect:
        """Say what these rules would have made of it."""
        most = nlargest(SHOWN, self._servers, key=lambda one: (one.incidents, one.duration_s))
        delays_m = sorted(self._delays_m.elements())
        return Effect(
            rules=rules,
            incidents=len(delays_m),
            flaps=self._flaps,
            hours=self._hours,
            servers=most,
            longest=next(iter(self._longest), None),
            missed=self._missed,
            outages=self._outages,
            delay_median_s=_median_s(delays_m),
            delay_worst_s=60 * delays_m[-1] if delays_m else None,
            nights=len(self._nights),
        )

    def _add(self, one: Open) -> None:
        self._flaps += len(one.told) - 1
        self._delays_m[one.told[0] - one.since] += 1
        self._hours[slot_time(one.told[0]).astimezone(self._zone).hour] += 1
        for slot in one.told:
            local = slot_time(slot).astimezone(self._zone)
            if local.hour >= NIGHT[0] or local.hour < NIGHT[1]:
                self._nights.add((local.replace(tzinfo=None) - NOON).date())

    def _is_told(self, outage: Between, found: Sequence[Open]) -> bool:
        return any(
            one.since < outage.until and (one.until is None or one.until > outage.since)
            for one in found
        )

    def _minutes(self, one: Open | Between) -> int:
        return (self._end if one.until is None else one.until) - one.since

    def _worst(
        self, server: Watched, some: Sequence[Open | Between], known: list[Outage], most: int
    ) -> list[Outage]:
        longest = nlargest(most, some, key=self._minutes)
        told = [
            Outage(
                server=server,
                since=slot_time(one.since),
                until=None if one.until is None else slot_time(one.until),
                duration_s=60 * self._minutes(one),
            )
            for one in longest
        ]
        return nlargest(most, [*known, *told], key=lambda one: one.duration_s)


def _median_s(minutes: Sequence[int]) -> int | None:
    if not minutes:
        return None
    middle = len(minutes) // 2
    return 30 * (minutes[middle] + minutes[middle if len(minutes) % 2 else middle - 1])
