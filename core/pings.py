"""Pings: record a round, read a server's history."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import (
    CTE,
    BigInteger,
    BindParameter,
    Double,
    Executable,
    Integer,
    SmallInteger,
    String,
    and_,
    bindparam,
    cast,
    func,
    or_,
    select,
    true,
    update,
)
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session
from sqlalchemy.types import TypeEngine

from core import models
from core.models import Server, UtcDateTime
from core.schema import Bucket, HistoryRequest, Ping, ServerStatus, Summary

FIELDS: dict[str, TypeEngine[Any]] = {
    "server_id": BigInteger(),
    "ip": String(),
    "response_ms": Double(),
    "sent": SmallInteger(),
    "received": SmallInteger(),
    "best_ms": Double(),
    "worst_ms": Double(),
    "probe": String(),
    "port": Integer(),
}
# The plain tables: these are statements about rows, the ORM has no part in them.
DATA = models.Base.metadata.tables["data"]
SERVER = models.Base.metadata.tables["server"]
SLOT: BindParameter[datetime] = bindparam("slot", type_=UtcDateTime())


@dataclass(frozen=True, slots=True)
class History:
    """Pings of one server, oldest first: (slot, mean ms or None where no echo came back).

    `before` and `after` say that there are more: the first slot of the page that follows, and the
    slot up to which the page before reaches (exclusive).
    """

    name: str
    pings: Sequence[tuple[datetime, float | None]]
    before: datetime | None = None
    after: datetime | None = None


def record(session: Session, slot: datetime, pings: Sequence[Ping]) -> int:
    """Write one row for each ping and repeat it on its server; return how many rows are new.

    A ping whose server is gone, or has another address by now, is dropped; one that is there
    already changes nothing, and a late round never turns `last_*` back.
    """
    if not pings:
        return 0
    # The same parameter feeds both statements: all pings as one JSON array of arrays.
    parameters = {
        "slot": slot,
        "rows": json.dumps([[getattr(p, f) for f in FIELDS] for p in pings]),
    }
    new_rows = session.scalars(INSERT_PINGS, parameters).all()
    session.execute(UPDATE_SERVERS, parameters)
    return len(new_rows)


def history(session: Session, server: Server, wanted: HistoryRequest) -> History:
    """Return the pings that `wanted` asks for. One statement, whatever the size of the history."""
    ping = models.Ping
    query = select(ping.slot, ping.response_ms).where(ping.server_id == server.id)
    if wanted.until is not None:
        query = query.where(ping.slot < wanted.until)
    if wanted.since is not None:
        query = query.where(ping.slot >= wanted.since).order_by(ping.slot)
    else:
        query = query.order_by(ping.slot.desc())
    # One more than asked for, to know whether there is more.
    rows = session.execute(query.limit(wanted.limit + 1)).all()
    page, rest = rows[: wanted.limit], rows[wanted.limit :]
    if wanted.since is not None:
        return History(server.name, page, after=rest[0][0] if rest else None)
    return History(server.name, page[::-1], before=page[-1][0] if rest else None)


def series(  # pylint: disable=too-many-positional-arguments
    session: Session, server: Server, since: datetime, until: datetime, points: int, now: datetime
) -> list[Bucket]:
    """Reduce the slots of [since, until) to at most `points` buckets, oldest first.

    A bucket holds 1, 2, 5, 10, 15, 20, 30 minutes, 1, 2, 3, 4, 6, 8, 12 hours or whole days, on
    UTC's own boundaries; the first and the last are cut off at `since` and `until`. Every slot of
    the window is in exactly one bucket. Raises ValueError for an empty or too long window.
    """
    raise NotImplementedError


def summary(
    session: Session, server: Server, since: datetime, until: datetime, now: datetime
) -> Summary:
    """Return the slots of [since, until) in figures, whichever table holds them.

    Due are the slots that the schedule in force as they began wanted, and those that were pinged
    all the same (such as the one in which a server was added). A slot without a ping is
    unobserved when the next slot has begun; until then, and in the future, it is not due.
    """
    raise NotImplementedError


def fleet(session: Session, now: datetime, ids: Sequence[int] | None = None) -> list[ServerStatus]:
    """Return every server, or those of `ids`, with state and last 24 hours, in order of creation.

    The same few statements however many servers there are.
    """
    raise NotImplementedError


def _incoming() -> CTE:
    value = func.json_rows(bindparam("rows", type_=String())).table_valued("value", name="element")
    fields = [
        cast(value.c.value.op("->>")(number), kind).label(name)
        for number, (name, kind) in enumerate(FIELDS.items())
    ]
    return select(*fields).select_from(value).cte("incoming")


def _insert() -> Executable:
    incoming = _incoming()
    # The servers' rows are locked in order of id before anything is written: two recorders can't
    # deadlock, and a server that is being deleted takes its own ping along, not the round (the
    # INSERT would fail on the foreign key). SQLite has one writer and needs no such lock.
    alive = (
        select(Server.id, Server.ip)
        .where(Server.id.in_(select(incoming.c.server_id)))
        .order_by(Server.id)
        .with_for_update(key_share=True)
        .subquery("alive")
    )
    same_server = and_(alive.c.id == incoming.c.server_id, alive.c.ip == incoming.c.ip)
    stored = ["response_ms", "sent", "received", "best_ms", "worst_ms", "probe"]
    columns = [models.Ping.__mapper__.columns[name].name for name in stored]
    rows = (
        select(incoming.c.server_id, SLOT, *(incoming.c[name] for name in stored))
        .join_from(incoming, alive, same_server)
        .where(true())  # or SQLite would read ON CONFLICT as a condition of the join
    )
    return (
        insert(DATA)
        .from_select(["server_id", "datetime", *columns], rows)
        .on_conflict_do_nothing()
        .returning(DATA.c.id)
    )


def _update() -> Executable:
    incoming = _incoming()
    return (
        update(SERVER)
        .where(SERVER.c.id == incoming.c.server_id, SERVER.c.ip == incoming.c.ip)
        .where(or_(SERVER.c.last_slot.is_(None), SERVER.c.last_slot < SLOT))
        .values(
            last_slot=SLOT,
            last_ms=incoming.c.response_ms,
            last_sent=incoming.c.sent,
            last_received=incoming.c.received,
            last_port=func.coalesce(incoming.c.port, SERVER.c.last_port),
        )
    )


INSERT_PINGS = _insert()
UPDATE_SERVERS = _update()
