"""Many servers at once: find them, page through them, add or change them in bulk.

Every function takes a session inside a transaction that its caller ends, and makes the same few
statements however many servers there are.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import (
    CTE,
    BigInteger,
    BindParameter,
    Boolean,
    ColumnElement,
    Double,
    FromClause,
    Integer,
    Row,
    Select,
    String,
    and_,
    bindparam,
    case,
    cast,
    func,
    literal,
    or_,
    select,
    true,
    tuple_,
    update,
)
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session
from sqlalchemy.types import TypeEngine

from core import models
from core.errors import NameTaken, WrongRequest
from core.models import Schedule, Server, UtcDateTime, epoch_minute
from core.schema import (
    Changes,
    FleetPage,
    FleetRequest,
    Outcome,
    Probe,
    Sort,
    State,
)
from core.servers import MOMENT, in_force
from core.settings import Settings

# The plain tables: these are statements about rows, the ORM has no part in them.
SERVER = models.Base.metadata.tables["server"]
SCHEDULE = models.Base.metadata.tables["schedule"]
NOW: BindParameter[datetime] = bindparam("now", type_=UtcDateTime())

WORST_FIRST = (State.DOWN, State.DEGRADED, State.UNOBSERVED, State.UP)


# Finding


def page(session: Session, wanted: FleetRequest, now: datetime) -> FleetPage:
    """Return the page of servers that `wanted` asks for. Two statements.

    Raises WrongRequest for an `after` that no page gave.
    """
    standing = _standing(now)
    found = session.execute(_page_query(standing, wanted)).all()
    totals, last_round = _totals(session, standing, wanted)
    shown, more = found[: wanted.limit], found[wanted.limit :]
    return FleetPage(
        ids=[row.id for row in shown],
        totals=totals,
        last_round=last_round,
        after=_cursor(shown[-1]) if more else None,
    )


def _standing(now: datetime) -> FromClause:
    """Every server with its state's place in WORST_FIRST; it says what `schema.Last.state` says."""
    # The last slot and twice the interval after it, in seconds: two intervals later it is old.
    fresh_until_s = epoch_minute(Server.last_slot) * 60 + 2 * Schedule.interval_s
    unseen = or_(
        Server.last_slot.is_(None),
        func.coalesce(Schedule.enabled, False).is_(False),
        fresh_until_s < literal(now.timestamp(), Double()),
    )
    rank = case(
        (unseen, WORST_FIRST.index(State.UNOBSERVED)),
        (Server.last_received == 0, WORST_FIRST.index(State.DOWN)),
        (Server.last_received < Server.last_sent, WORST_FIRST.index(State.DEGRADED)),
        else_=WORST_FIRST.index(State.UP),
    )
    return (
        select(
            Server.id, Server.name, Server.ip, Server.last_slot, Server.last_ms, rank.label("rank")
        )
        .outerjoin(
            Schedule, and_(Schedule.server_id == Server.id, in_force(now + MOMENT))
        )
        .subquery("standing")
    )


def _found(standing: FromClause, wanted: FleetRequest) -> ColumnElement[bool]:
    tests = [true()]
    if wanted.search:
        tests.append(
            or_(
                standing.c.name.icontains(wanted.search, autoescape=True),
                standing.c.ip.contains(wanted.search, autoescape=True),
            )
        )
    if wanted.name:
        tests.append(standing.c.name == wanted.name)
    return and_(*tests)


def _totals(
    session: Session, standing: FromClause, wanted: FleetRequest
) -> tuple[dict[State, int], datetime | None]:
    matching = func.sum(case((_found(standing, wanted), 1), else_=0))
    rows = session.execute(
        select(standing.c.rank, matching, func.max(standing.c.last_slot)).group_by(standing.c.rank)
    ).all()
    counted = {WORST_FIRST[rank]: int(count) for rank, count, _ in rows}
    slots = [slot for *_, slot in rows if slot is not None]
    return {state: counted.get(state, 0) for state in State}, max(slots, default=None)


def _page_query(standing: FromClause, wanted: FleetRequest) -> Select[Any]:
    backwards = wanted.sort.startswith("-")
    key = _key(standing, wanted.sort)
    order = [key.desc(), standing.c.id.desc()] if backwards else [key, standing.c.id]
    query = select(standing.c.id, key.label("key")).where(_found(standing, wanted))
    if wanted.state is not None:
        query = query.where(standing.c.rank == WORST_FIRST.index(wanted.state))
    if wanted.after:
        here = tuple_(key, standing.c.id)
        there = tuple_(*_place(wanted, key.type), types=[key.type, BigInteger()])
        query = query.where(here < there if backwards else here > there)
    # One more than asked for, to know whether there is more.
    return query.order_by(*order).limit(wanted.limit + 1)


def _key(standing: FromClause, sort: Sort) -> ColumnElement[Any]:
    match sort.removeprefix("-"):
        case Sort.NAME:
            return standing.c.name
        case Sort.STATE:
            return standing.c.rank
        case Sort.RESPONSE:
            return func.coalesce(standing.c.last_ms, literal(1e12, Double()))
    return standing.c.id


def _cursor(row: Row[Any]) -> str:
    return f"{row.id}:{row.key}"


def _place(wanted: FleetRequest, kind: TypeEngine[Any]) -> tuple[Any, int]:
    server_id, _, key = wanted.after.partition(":")
    read: Any = {String: str, Double: float}.get(type(kind), int)
    try:
        return read(key), _within_bigint(int(server_id))
    except ValueError:
        raise WrongRequest("after is what the page before gave", "after") from None
