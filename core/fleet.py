"""Many servers at once: find them, page through them, add or change them in bulk.

Every function takes a session inside a transaction that its caller ends, and makes the same few
statements however many servers there are.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from math import isfinite
from typing import Any, NamedTuple

from sqlalchemy import (
    CTE,
    BigInteger,
    BindParameter,
    Boolean,
    ColumnElement,
    Double,
    Executable,
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
    null,
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
from core.models import Schedule, Server, UtcDateTime, epoch_minute, time_at
from core.schema import (
    AHEAD,
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
from core.slots import EPOCH

# The plain tables: these are statements about rows, the ORM has no part in them.
SERVER = models.Base.metadata.tables["server"]
SCHEDULE = models.Base.metadata.tables["schedule"]
COLUMNS = {column.name: column.type for column in SERVER.columns if column.name != "id"}
NOW: BindParameter[datetime] = bindparam("now", type_=UtcDateTime())

WORST_FIRST = (State.DOWN, State.DEGRADED, State.UNOBSERVED, State.UP)


# Finding


def page(session: Session, wanted: FleetRequest, now: datetime) -> FleetPage:
    """Return the page of servers that `wanted` asks for. Two statements.

    Raises WrongRequest for an `after` that no page gave.
    """
    standing = _standing(now)
    found = session.execute(_page_query(standing, wanted)).all()
    totals, last_round = _totals(session, standing, wanted, now)
    shown, more = found[: wanted.limit], found[wanted.limit :]
    return FleetPage(
        ids=[row.id for row in shown],
        totals=totals,
        last_round=last_round,
        cursors=[_cursor(row) for row in shown],
        more=bool(more),
    )


class Standing(NamedTuple):
    """A server and how it stands."""

    server_id: int
    name: str
    state: State
    last_slot: datetime | None


def standings(session: Session, now: datetime) -> list[Standing]:
    """Return every server with its state, in order of creation. One statement."""
    one = _standing(now)
    rows = session.execute(
        select(one.c.id, one.c.name, one.c.rank, one.c.last_slot).order_by(one.c.id)
    )
    return [Standing(row.id, row.name, WORST_FIRST[row.rank], row.last_slot) for row in rows]


def newest_slot(session: Session, now: datetime) -> datetime | None:
    """Return the newest slot that any server has a ping of, but for slots of the future."""
    return session.scalar(select(func.max(Server.last_slot)).where(Server.last_slot <= now + AHEAD))


def _standing(now: datetime) -> FromClause:
    """Every server with its state's place in WORST_FIRST; it says what `schema.Last.state` says."""
    # The last slot and twice the interval after it, in seconds: two intervals later it is old.
    fresh_until_s = epoch_minute(Server.last_slot) * 60 + 2 * Schedule.interval_s
    unseen = or_(
        Server.last_slot.is_(None),
        func.coalesce(Schedule.enabled, False).is_(False),
        fresh_until_s < literal(now.timestamp(), Double()),
        Server.last_slot > now + AHEAD,
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
        .outerjoin(Schedule, and_(Schedule.server_id == Server.id, in_force(now + MOMENT)))
        .subquery("standing")
    )


def _found(standing: FromClause, wanted: FleetRequest) -> ColumnElement[bool]:
    tests: list[ColumnElement[bool]] = [true()]
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
    session: Session, standing: FromClause, wanted: FleetRequest, now: datetime
) -> tuple[dict[State, int], datetime | None]:
    matching = case((_found(standing, wanted), 1), else_=0)
    past = case((standing.c.last_slot <= now + AHEAD, standing.c.last_slot))
    figures = [standing.c.rank, func.sum(matching), func.max(past)]
    rows = session.execute(select(*figures).group_by(standing.c.rank)).all()
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
    read: Any = {String: str, Double: _finite}.get(type(kind), _within_bigint)
    try:
        return read(key), _within_bigint(server_id)
    except ValueError:
        raise WrongRequest("after is what the page before gave", "after") from None


def _within_bigint(text: str) -> int:
    if not -(2**63) <= int(text) < 2**63:
        raise ValueError(f"{text} is larger than any id")
    return int(text)


def _finite(text: str) -> float:
    if not isfinite(float(text)):
        raise ValueError(f"{text} is no time")
    return float(text)


# Adding and changing in bulk


def put(
    session: Session,
    wanted: Sequence[Changes | Outcome],
    settings: Settings,
    now: datetime,
    *,
    upsert: bool = False,
) -> list[Outcome]:
    """Add each server of `wanted`, or with `upsert` change it where its name exists.

    Each stands for itself and has its outcome, in their order; all of them have a name and an ip.
    One that couldn't be read comes with its outcome already.
    """
    outcomes = {place: one for place, one in enumerate(wanted) if isinstance(one, Outcome)}
    said = {place: one for place, one in enumerate(wanted) if not isinstance(one, Outcome)}
    outcomes |= _refusals(said, settings)
    places = {one["name"]: place for place, one in said.items() if place not in outcomes}
    added = _add(session, [said[place] for place in places.values()], settings, now)
    outcomes |= {places[name]: Outcome("CREATED", server_id) for name, server_id in added.items()}
    known = [said[place] for name, place in places.items() if name not in added]
    if upsert:
        changed = _change(session, known, now)
        outcomes |= {places[name]: outcome for name, outcome in changed.items()}
    else:
        outcomes |= {places[one["name"]]: _taken(one["name"]) for one in known}
    return [outcomes[place] for place in range(len(wanted))]


def _taken(name: str, detail: str = "") -> Outcome:
    return Outcome(NameTaken.status, detail=detail or str(NameTaken(name)), field="name")


def _refusals(wanted: Mapping[int, Changes], settings: Settings) -> dict[int, Outcome]:
    """What needs no database to be refused; of two that have one name, the first counts."""
    refused, seen = {}, set()
    for place, one in wanted.items():
        refusal = settings.address_rules.refusal(one["ip"])
        if refusal:
            refused[place] = Outcome(WrongRequest.status, detail=refusal, field="ip")
        elif one["name"] in seen:
            refused[place] = _taken(one["name"], "this name stands twice in the request")
        seen.add(one["name"])
    return refused


def _add(
    session: Session, wanted: Sequence[Changes], settings: Settings, now: datetime
) -> dict[str, int]:
    """Add those whose name is free; return the ids, by name. Two statements."""
    if not wanted:
        return {}
    ids = insert_servers(session, [{"datetime": now, "probe": Probe.AUTO, **one} for one in wanted])
    planned = [
        [ids[one["name"]], one.get("interval_s", settings.interval_s), one.get("enabled", True)]
        for one in wanted
        if one["name"] in ids
    ]
    _plan(session, planned, now)
    return ids


def insert_servers(session: Session, rows: Iterable[Mapping[str, object]]) -> dict[str, int]:
    """Insert these rows of `server` whose name is free, as far as they have its columns.

    Returns the new ids, by name. One statement.
    """
    values = [[row.get(name) for name in COLUMNS] for row in rows]
    given = json.dumps(values, default=microseconds)
    return {row.name: row.id for row in session.execute(INSERT_SERVERS, {"rows": given})}


def _plan(session: Session, planned: Sequence[Sequence[object]], now: datetime) -> None:
    if planned:
        session.execute(PLAN, {"rows": json.dumps(planned), "now": now})


def _change(session: Session, wanted: Sequence[Changes], now: datetime) -> dict[str, Outcome]:
    """Change the servers of these names. Three statements, with the two that plan anew."""
    if not wanted:
        return {}
    by_name = {one["name"]: one for one in wanted}
    names = json.dumps([[name] for name in by_name])
    found = session.execute(_known(now), {"rows": names}).all()
    outcomes = {name: _gone(name) for name in by_name}
    altered, planned = [], []
    for row in found:
        change, plan = _altered(row, by_name[row.name]), _planned(row, by_name[row.name])
        altered += [change] if change else []
        planned += [plan] if plan else []
        outcomes[row.name] = Outcome("UPDATED" if change or plan else "UNCHANGED", row.id)
    if altered:
        session.execute(ALTER, {"rows": json.dumps(altered)})
    _plan(session, planned, now)
    return outcomes


def _gone(name: str) -> Outcome:
    # It was there when we wanted to add it; whoever deleted it since came later.
    return Outcome("NAME_DID_NOT_FOUND", detail=f"{name!r} was deleted meanwhile", field="name")


def _altered(row: Row[Any], wanted: Changes) -> list[object] | None:
    now_is = [row.ip, row.probe, row.port]
    to_be = [wanted["ip"], wanted.get("probe", row.probe), wanted.get("port", row.port)]
    return None if now_is == to_be else [row.id, *to_be]


def _planned(row: Row[Any], wanted: Changes) -> list[object] | None:
    now_is = [row.interval_s, row.enabled]
    to_be = [wanted.get("interval_s", row.interval_s), wanted.get("enabled", row.enabled)]
    return None if now_is == to_be else [row.id, *to_be]


def _known(now: datetime) -> Executable:
    return (
        select(
            Server.id,
            Server.name,
            Server.ip,
            Server.probe,
            Server.port,
            Schedule.interval_s,
            Schedule.enabled,
        )
        .outerjoin(Schedule, and_(Schedule.server_id == Server.id, in_force(now + MOMENT)))
        .where(Server.name.in_(select(incoming({"name": String()}).c.name)))
        .order_by(Server.id)
        .with_for_update(key_share=True, of=Server)
    )


def incoming(fields: Mapping[str, TypeEngine[Any]]) -> CTE:
    """Return the rows of the parameter `rows`, a JSON array of arrays, with these columns."""
    value = func.json_rows(bindparam("rows", type_=String())).table_valued("value", name="element")
    columns = [
        cast(value.c.value.op("->>")(number), kind).label(field)
        for number, (field, kind) in enumerate(fields.items())
    ]
    return select(*columns).select_from(value).cte("incoming")


def microseconds(moment: datetime) -> int:
    """Return a time as JSON carries it; `time_at` reads it."""
    return (moment - EPOCH) // timedelta(microseconds=1)


def _insert_servers() -> Executable:
    # A text isn't cut to its column's length: what is too long is an error.
    kinds: dict[type, TypeEngine[Any]] = {UtcDateTime: BigInteger(), String: String()}
    given = incoming({name: kinds.get(type(kind), kind) for name, kind in COLUMNS.items()})
    rows = select(
        *(
            time_at(given.c[name]) if isinstance(kind, UtcDateTime) else given.c[name]
            for name, kind in COLUMNS.items()
        )
    ).where(true())
    return (
        insert(SERVER)
        .from_select(list(COLUMNS), rows)
        .on_conflict_do_nothing(index_elements=["name"])
        .returning(SERVER.c.name, SERVER.c.id)
    )


def _plan_anew() -> Executable:
    """From now on these servers are due otherwise; as servers.reschedule does it for one."""
    given = incoming({"server_id": BigInteger(), "interval_s": Integer(), "enabled": Boolean()})
    newest = (
        select(func.max(SCHEDULE.c.since))
        .where(SCHEDULE.c.server_id == given.c.server_id)
        .correlate(given)
        .scalar_subquery()
    )
    # No row may lie before one that is there: what was due before would change.
    since = case((newest > NOW, newest), else_=NOW)
    rows = select(given.c.server_id, since, given.c.interval_s, given.c.enabled).where(true())
    added = insert(SCHEDULE).from_select(["server_id", "since", "interval_s", "enabled"], rows)
    return added.on_conflict_do_update(
        index_elements=["server_id", "since"],
        set_={"interval_s": added.excluded.interval_s, "enabled": added.excluded.enabled},
    )


def _alter() -> Executable:
    """Another address, probe or port; what was last heard from another address is forgotten."""
    given = incoming({"id": BigInteger(), "ip": String(), "probe": String(), "port": Integer()})
    moved = SERVER.c.ip != given.c.ip
    heard = ["last_slot", "last_ms", "last_sent", "last_received", "last_port"]
    return (
        update(SERVER)
        .where(SERVER.c.id == given.c.id)
        .values(
            ip=given.c.ip,
            probe=given.c.probe,
            port=given.c.port,
            **{name: case((moved, null()), else_=SERVER.c[name]) for name in heard},
        )
    )


INSERT_SERVERS = _insert_servers()
PLAN = _plan_anew()
ALTER = _alter()
