"""Record a round: one row for each ping, repeated on its server."""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    BindParameter,
    ColumnElement,
    Double,
    Executable,
    FromClause,
    Integer,
    SmallInteger,
    SQLColumnExpression,
    String,
    and_,
    bindparam,
    func,
    literal,
    or_,
    select,
    true,
    update,
)
from sqlalchemy.dialects.postgresql import Insert, insert
from sqlalchemy.orm import Session
from sqlalchemy.types import TypeEngine

from core import models
from core.checks.records import Ping, Unobserved
from core.incidents import late
from core.models import DATA, SERVER, WHY, Server
from core.slots import AHEAD, is_slot
from core.sql import UtcDateTime, incoming, inserted, written

Fields = Mapping[str, TypeEngine[Any]]
FIELDS: Fields = {
    "server_id": BigInteger(),
    "ip": String(),
    "response_ms": Double(),
    "sent": SmallInteger(),
    "received": SmallInteger(),
    "best_ms": Double(),
    "worst_ms": Double(),
    "probe": String(),
    "port": Integer(),
    "revision": Integer(),
}
WHY_LOST: Fields = {
    "server_id": BigInteger(),
    "revision": Integer(),
    "reason": String(),
    "detail": String(),
}
WHY_FAILED: Fields = {"ip": String(), **WHY_LOST}
SLOT: BindParameter[datetime] = bindparam("slot", type_=UtcDateTime())
FUTURE: BindParameter[datetime] = bindparam("future", type_=UtcDateTime())
NO_FUTURE = datetime.max.replace(tzinfo=UTC) - AHEAD


def record(
    session: Session,
    slot: datetime,
    pings: Sequence[Ping],
    now: datetime = NO_FUTURE,
    unobserved: Sequence[Unobserved] = (),
) -> int:
    """Write one row for each ping and repeat it on its server; return how many rows are new.

    Why a ping isn't up, or why a server has none, is written beside. What is of a server that is
    gone, or is looked at otherwise by now, is dropped; what is there already stays, and a
    late round never turns `last_*` back: unless they lie in the future of `now`, told by a clock
    that was wrong. A ping that is late for the judge is told to the incident that was open then.
    Raises ValueError for a slot that isn't a whole minute.
    """
    if not is_slot(slot):
        raise ValueError(f"slot must be a whole minute, got {slot}")
    is_late = late.hold_recording(session, slot)
    new = 0
    if pings:
        # The same parameter feeds both statements: all pings as one JSON array of arrays.
        parameters = _parameters(slot, now, pings, FIELDS)
        new = (_insert_late if is_late else _insert)(session, slot, parameters)
        session.execute(UPDATE_SERVERS, parameters)
    failed = [ping for ping in pings if ping.reason]
    if failed:
        session.execute(EXPLAIN_PINGS, _parameters(slot, now, failed, WHY_FAILED))
    if unobserved:
        session.execute(EXPLAIN_MISSING, _parameters(slot, now, unobserved, WHY_LOST))
    return new


def _insert(session: Session, _slot: datetime, parameters: Mapping[str, Any]) -> int:
    # Counted by the database: to have 10,000 ids returned costs a fifth of the statement.
    return written(session, INSERT_PINGS, parameters)


def _insert_late(session: Session, slot: datetime, parameters: Mapping[str, Any]) -> int:
    ids = [row.server_id for row in inserted(session, INSERT_PINGS, PINGED, parameters)]
    if ids:
        late.note(session, slot, ids)
    return len(ids)


def _parameters(
    slot: datetime, now: datetime, found: Sequence[Ping] | Sequence[Unobserved], fields: Fields
) -> dict[str, Any]:
    ids = [one.server_id for one in found]
    rows = json.dumps([[getattr(one, field) for field in fields] for one in found])
    bounds = {"lowest": min(ids), "highest": max(ids)}
    return {"slot": slot, "future": now + AHEAD, "rows": rows, **bounds}


def _among(server_id: SQLColumnExpression[int]) -> ColumnElement[bool]:
    """Whether an id lies among those of the pings, as a planner sees at once: a batch is a slice.

    Without it Postgres reads all servers for a batch of a hundred.
    """
    return server_id.between(bindparam("lowest"), bindparam("highest"))


def _is_of(given: FromClause, server: FromClause) -> ColumnElement[bool]:
    """Whether what was found is of that server as it is looked at by now.

    Of what has no ping the address isn't told: it changes no more often than the revision.
    """
    told = [name for name in ("ip", "revision") if name in given.c]
    same = [server.c[name] == given.c[name] for name in told]
    return and_(server.c.id == given.c.server_id, *same)


def _inserting() -> Insert:
    stored = ["response_ms", "sent", "received", "best_ms", "worst_ms", "probe"]
    given = incoming(FIELDS, "server_id", "ip", "revision", *stored)
    # The servers' rows are locked in order of id before anything is written: two recorders can't
    # deadlock, and a server that is being deleted takes its own ping along, not the round (the
    # INSERT would fail on the foreign key). SQLite has one writer and needs no such lock.
    alive = (
        select(Server.id, Server.ip, Server.revision)
        .where(Server.id.in_(select(given.c.server_id)), _among(Server.id))
        .order_by(Server.id)
        .with_for_update(key_share=True)
        .subquery("alive")
    )
    same_server = _is_of(given, alive)
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
    heard = ["response_ms", "sent", "received", "port"]
    given = incoming(FIELDS, "server_id", "ip", "revision", *heard)
    last_slot = SERVER.c.last_slot
    return (
        update(SERVER)
        .where(_is_of(given, SERVER), _among(SERVER.c.id))
        .where(or_(last_slot.is_(None), last_slot < SLOT, last_slot > FUTURE))
        .values(
            last_slot=SLOT,
            last_ms=given.c.response_ms,
            last_sent=given.c.sent,
            last_received=given.c.received,
            last_port=func.coalesce(given.c.port, SERVER.c.last_port),
        )
    )


def _explain(fields: Fields, *, observed: bool) -> Executable:
    given = incoming(fields)
    # It was locked with the pings; an unobserved slot of one that is being deleted goes with it.
    rows = (
        select(given.c.server_id, literal(observed), SLOT, given.c.reason, given.c.detail)
        .join_from(given, SERVER, and_(_is_of(given, SERVER), _among(SERVER.c.id)))
        .order_by(given.c.server_id)
        .with_for_update(of=SERVER, key_share=True)
    )
    columns = ["server_id", "observed", "datetime", "reason", "detail"]
    return insert(WHY).from_select(columns, rows).on_conflict_do_nothing()


INSERT_PINGS = _inserting()
PINGED = select(DATA.c.server_id).where(DATA.c.datetime == SLOT, _among(DATA.c.server_id))
UPDATE_SERVERS = _update()
EXPLAIN_PINGS = _explain(WHY_FAILED, observed=True)
EXPLAIN_MISSING = _explain(WHY_LOST, observed=False)
