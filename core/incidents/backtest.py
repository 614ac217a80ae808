"""A back-test: what a draft of a rule would have made of the past, beside the rules in force.

By the judge's own steps, over what is kept of each slot. It can't know what isn't kept: what people
did about an incident, which results came too late, and when a server was looked at otherwise.

Functions that take a session run inside a transaction that their caller ends.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from sqlalchemy import select
from sqlalchemy.orm import Session

from core.errors import WrongRequest
from core.history import past
from core.history.spells import DOWN, NOT_DUE
from core.incidents import rulebook
from core.incidents.effect import Between, Open, Sums, incidents
from core.incidents.jump import decisions
from core.incidents.records import Backtest, BacktestWanted, Watched
from core.incidents.rules import Rule, Rules
from core.incidents.track import Track, runs, track
from core.models import SERVER
from core.servers import tags
from core.slots import DAY_SLOTS, current_slot, slot_time

OUTAGE_M = 10
OUTAGES = re.compile(f"{DOWN}[{DOWN}{NOT_DUE}]{{{OUTAGE_M - 1},}}")


class Held(NamedTuple):
    """A server for which the draft would hold, and the rule of its kind that does."""

    name: str
    by: Rule | None


class Plan(NamedTuple):
    """What is tried: a draft, on which servers by id, in which slots, by whose clock."""

    draft: Rule
    servers: Mapping[int, Held]
    first: int
    end: int
    zone: ZoneInfo

    @property
    def portions(self) -> Iterator[Sequence[int]]:
        """As many servers as are read at once, again and again."""
        ids = list(self.servers)
        return (ids[start : start + past.AT_ONCE] for start in range(0, len(ids), past.AT_ONCE))

    @property
    def days(self) -> int:
        """How many days it looks at."""
        return (self.end - self.first) // DAY_SLOTS

    @property
    def server_days(self) -> int:
        """How much there is to read: the days of all servers together."""
        return len(self.servers) * self.days


def plan(session: Session, wanted: BacktestWanted, keep_days: float, now: datetime) -> Plan:
    """Find out for whom the draft would hold. Three statements. Raises WrongRequest.

    It takes the place of the rule of its name, if there is one. Of the days that are asked for
    those count that are kept.
    """
    made = rulebook.everything(session)
    taken = {one.id: one for one in made if one.name == wanted.rule.name}
    draft_id = next(iter(taken), max((one.id for one in made), default=0) + 1)
    before = Rules({one.id: one for one in made})
    after = Rules({one.id: one for one in made} | {draft_id: wanted.rule})
    tagged = tags.of(session) if after.ask_tags or before.ask_tags else {}
    servers = {}
    for server_id, name in session.execute(
        select(SERVER.c.id, SERVER.c.name).order_by(SERVER.c.id)
    ):
        if draft_id in after.of(name, tagged.get(server_id, ())):
            holding = before.of(name, tagged.get(server_id, ())).values()
            by = next((one for one in holding if one.when.kind == wanted.rule.when.kind), None)
            servers[server_id] = Held(name, by)
    end = current_slot(now)
    days = min(wanted.days, max(int(keep_days), 1))
    return Plan(wanted.rule, servers, end - days * DAY_SLOTS, end, zone(wanted.zone))


def zone(name: str) -> ZoneInfo:
    """Return the time zone of that name. Raises WrongRequest."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        told = "zone must be a time zone's name as the IANA has it, such as Europe/Prague"
        raise WrongRequest(told, "zone", got=name) from None


NAMES = select(SERVER.c.id, SERVER.c.name).order_by(SERVER.c.id)


class Trial:
    """A back-test under way: portions of servers are added until all of it can be told."""

    def __init__(self, of: Plan) -> None:
        self.plan = of
        self._outages = 0
        self._draft, self._in_force = Sums(of.end, of.zone), Sums(of.end, of.zone)

    def add(self, session: Session, ids: Sequence[int]) -> None:
        """Try both on these servers. Five statements for every portion."""
        draft, first = self.plan.draft, self.plan.first
        for server_id, found in past.read(session, ids, first, self.plan.end):
            name, by = self.plan.servers[server_id]
            server, line = Watched(id=server_id, name=name), track(found)
            outages = [Between(*one.span()).later(first) for one in OUTAGES.finditer(found.letters)]
            self._outages += len(outages)
            self._draft.add(server, _tried(line, draft), outages)
            self._in_force.add(server, _tried(line, by) if by else [], outages)

    def told(self) -> Backtest:
        """Say what came of it."""
        _draft, _servers, first, end, by = self.plan
        held = dict.fromkeys(one.by.name for one in self.plan.servers.values() if one.by)
        return Backtest(
            since=slot_time(first),
            until=slot_time(end),
            zone=by.key,
            servers=len(self.plan.servers),
            outages=self._outages,
            draft=self._draft.told([self.plan.draft.name]),
            in_force=self._in_force.told(sorted(held)),
        )


def _tried(of: Track, rule: Rule) -> Sequence[Open]:
    return incidents(decisions(of, runs(of, rule.when, rule.measure), rule.measure))
