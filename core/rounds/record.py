"""Record a round: one row for each ping, repeated on its server."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    BindParameter,
    ColumnElement,
    Double,
    Executable,
    Integer,
    SmallInteger,
    SQLColumnExpression,
    String,
    and_,
    bindparam,
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
from core.checks.records import Ping
from core.models import DATA, SERVER, Server
from core.slots import AHEAD, is_slot
from core.sql import UtcDateTime, incoming, written

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
SLOT: BindParameter[datetime] = bindparam("slot", type_=UtcDateTime())
FUTURE: BindParameter[datetime] = bindparam("future", type_=UtcDateTime())
NO_FUTURE = datetime.max.replace(tzinfo=UTC) - AHEAD


def record(
    session: Session, slot: datetime, pings: Sequence[Ping], now: datetime = NO_FUTURE
) -> int:
    """Write one row for each ping and repeat it on its server; return how many rows are new.

    A ping whose server is gone, or has another address by now, is dropped; one that is there
    already changes nothing, and a late round never turns `last_*` back: unless they lie in the
    future of `now`, told by a clock that was wrong. Raises ValueError for a slot that isn't a whole
    minute.
    """
    if not is_slot(slot):
        raise ValueError(f"slot must be a whole minute, got {slot}")
    if not pings:
        return 0
    # The same parameter feeds both statements: all pings as one JSON array of arrays.
    parameters = {
        "slot": slot,
        "future": now + AHEAD,
        "lowest": min(ping.server_id for ping in pings),
        "highest": max(ping.server_id for ping in pings),
        "rows": json.dumps([[getattr(p, f) for f in FIELDS] for p in pings]),
    }
    # Counted by the database: to have 10,000 ids returned costs a fifth of the statement.
    new = written(session, INSERT_PINGS, parameters)
    session.execute(UPDATE_SERVERS, parameters)
    return new


def _among(server_id: SQLColumnExpression[int]) -> ColumnElement[bool]:
    """Whether an id lies among those of the pings, as a planner sees at once: a batch is a slice.

    Without it Postgres reads all servers for a batch of a hundred.
    """
    return server_id.between(bindparam("lowest"), bindparam("highest"))


def _insert() -> Executable:
    stored = ["response_ms", "sent", "received", "best_ms", "worst_ms", "probe"]
    given = incoming(FIELDS, "server_id", "ip", *stored)
    # The servers' rows are locked in order of id before anything is written: two recorders can't
    # deadlock, and a server that is being deleted takes its own ping along, not the round (the
    # INSERT would fail on the foreign key). SQLite has one writer and needs no such lock.
    alive = (
        select(Server.id, Server.ip)
        .where(Server.id.in_(select(given.c.server_id)), _among(Server.id))
        .order_by(Server.id)
        .with_for_update(key_share=True)
        .subquery("alive")
    )
    same_server = and_(alive.c.id == given.c.server_id, alive.c.ip == given.c.ip)
    columns = [models.StoredPing.__mapper__.columns[name].name for name in stored]
    rows = (
        select(given.c.server_id, SLOT, *(given.c[name] for name in stored))
        .join_from(given, alive, same_server)
        .where(true())  # or SQLite would read ON CONFLICT as a condition of the join
    )
    return (
        insert(DATA).from_select(["server_id", "datetime", *columns], rows).on_conflict_do_nothing()
    )


def _update() -> Executable:
    given = incoming(FIELDS, "server_id", "ip", "response_ms", "sent", "received", "port")
    last_slot = SERVER.c.last_slot
    return (
        update(SERVER)
        .where(SERVER.c.id == given.c.server_id, SERVER.c.ip == given.c.ip)
        .where(_among(SERVER.c.id))
        .where(or_(last_slot.is_(None), last_slot < SLOT, last_slot > FUTURE))
        .values(
            last_slot=SLOT,
            last_ms=given.c.response_ms,
            last_sent=given.c.sent,
            last_received=given.c.received,
            last_port=func.coalesce(given.c.port, SERVER.c.last_port),
        )
    )


INSERT_PINGS = _insert()
UPDATE_SERVERS = _update()
