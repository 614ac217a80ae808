"""Why servers aren't up, and why nobody could look: what the table `why` says of their slots.

Every function takes a session inside a transaction that its caller ends.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy import BigInteger, Boolean, Integer, Select, and_, bindparam, delete, func, select
from sqlalchemy.orm import Session

from core.checks.records import State
from core.models import WHY
from core.servers.records import Standing
from core.slots import SLOT, slot_of, slot_time
from core.sql import UtcDateTime, as_rows, epoch_minute, incoming

TOLD = (WHY.c.server_id, WHY.c.datetime, WHY.c.reason, WHY.c.detail)


class Cause(NamedTuple):
    """A reason: its code (core.checks.records.Reason), and the same for people."""

    reason: str
    detail: str


def of_servers(session: Session, servers: Sequence[Standing], now: datetime) -> dict[int, Cause]:
    """Return why those of these servers that aren't up are as they are, as far as it's known.

    Of one that nobody observes it is why nobody could, as long as somebody tries: two intervals.
    One statement; none where all are up.
    """
    wanted = {one.id: one for one in servers if one.state is not State.UP and one.enabled}
    if not wanted:
        return {}
    rows = as_rows([one.id, one.state is not State.UNOBSERVED] for one in wanted.values())
    found = session.execute(NEWEST, {"rows": rows})
    return {
        server_id: Cause(reason, detail)
        for server_id, slot, reason, detail in found
        if _is_of_now(slot, wanted[server_id], now)
    }


def _is_of_now(slot: datetime, server: Standing, now: datetime) -> bool:
    """Whether what was so in `slot` is what the server's state comes from."""
    newest = server.last_ping.slot if server.last_ping else None
    if server.state is State.UNOBSERVED:
        lately = now - 2 * timedelta(seconds=server.interval_s)
        return slot >= slot_of(lately) and (newest is None or slot > newest)
    return slot == newest


def _newest() -> Select[int, datetime, str, str]:
    given = incoming({"server_id": BigInteger(), "observed": Boolean()})
    same = and_(WHY.c.server_id == given.c.server_id, WHY.c.observed == given.c.observed)
    other = WHY.alias()
    newest = select(func.max(other.c.datetime)).where(
        other.c.server_id == given.c.server_id, other.c.observed == given.c.observed
    )
    of_now = WHY.c.datetime == newest.correlate(given).scalar_subquery()
    return select(*TOLD).join_from(given, WHY, and_(same, of_now))


NEWEST = _newest()


def of_pings(
    session: Session, failed: Mapping[int, Iterable[datetime]]
) -> dict[tuple[int, datetime], Cause]:
    """Return why pings of these slots aren't up, by server and slot, where it's still kept.

    One statement; none without slots.
    """
    slots = [slot for some in failed.values() for slot in some]
    if not slots:
        return {}
    query = select(*TOLD).where(
        WHY.c.server_id.in_(failed),
        WHY.c.observed,
        WHY.c.datetime.between(min(slots), max(slots)),
    )
    return {
        (server_id, slot): Cause(reason, detail)
        for server_id, slot, reason, detail in session.execute(query)
    }


class Bounds(NamedTuple):
    """Slots of a server from `first` to before `end`: those with a ping, or those without."""

    first: int
    end: int
    observed: bool


class Main(NamedTuple):
    """Why slots in a row are as they are, mostly: the cause, and how many of them say so."""

    cause: Cause
    slots: int


def main_causes(session: Session, server_id: int, wanted: Sequence[Bounds]) -> list[Main | None]:
    """Return what most slots within each bounds say, the earliest of equals; None where none does.

    One statement; none without bounds.
    """
    main: list[Main | None] = [None] * len(wanted)
    if not wanted:
        return main
    parameters = {
        "rows": as_rows([number, *one] for number, one in enumerate(wanted)),
        "server_id": server_id,
        "since": slot_time(min(one.first for one in wanted)),
        "until": slot_time(max(one.end for one in wanted)),
    }
    for number, reason, detail, slots in session.execute(MOSTLY, parameters):
        if main[number] is None:
            main[number] = Main(Cause(reason, detail), slots)
    return main


def _mostly() -> Select[int, str, str, int]:
    given = incoming(
        {"number": Integer(), "first": Integer(), "end": Integer(), "observed": Boolean()}
    )
    slot = epoch_minute(WHY.c.datetime)
    within = and_(WHY.c.observed == given.c.observed, slot >= given.c.first, slot < given.c.end)
    return (
        select(given.c.number, WHY.c.reason, WHY.c.detail, func.count())
        .join_from(given, WHY, within)
        .where(
            WHY.c.server_id == bindparam("server_id", type_=BigInteger()),
            WHY.c.datetime >= bindparam("since", type_=UtcDateTime()),
            WHY.c.datetime < bindparam("until", type_=UtcDateTime()),
        )
        .group_by(given.c.number, WHY.c.reason, WHY.c.detail)
        .order_by(func.count().desc(), func.min(WHY.c.datetime))
    )


MOSTLY = _mostly()


def forget(session: Session, before: datetime, slots: int) -> bool:
    """Delete what is said of the slots before that time, of so many; whether there may be more."""
    oldest = session.scalar(select(func.min(WHY.c.datetime)))
    if oldest is None or oldest >= before:
        return False
    session.execute(delete(WHY).where(WHY.c.datetime < min(before, oldest + slots * SLOT)))
    return True
