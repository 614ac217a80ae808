"""Servers: found by name, by id, by page; the targets of a round.

Every function takes a session inside a transaction that its caller ends.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from math import isfinite
from typing import Any

from msgspec import UNSET
from msgspec.structs import replace
from sqlalchemy import (
    BigInteger,
    BindParameter,
    ColumnElement,
    Double,
    FromClause,
    Row,
    Select,
    String,
    and_,
    bindparam,
    case,
    func,
    literal,
    or_,
    select,
    true,
    tuple_,
)
from sqlalchemy.orm import Session
from sqlalchemy.types import TypeEngine

from core.checks.records import Probe, State, Target
from core.errors import IdUnknown, NameUnknown, WrongRequest
from core.models import LARGEST_ID, RECHECK, TAG, Schedule, Server
from core.reading import folded, nfc
from core.servers import parents, tags
from core.servers.records import FIELDS, FleetPage, FleetQuery, LastPing, Sort, Standing
from core.servers.schedule import in_force, in_force_or_first
from core.slots import AHEAD, EPOCH, SLOT, slot_time
from core.sql import NOW, UtcDateTime, as_rows, by_code_point, epoch_minute, incoming


def by_name(session: Session, name: str) -> Server:
    """Return the server of that name. Raises NameUnknown."""
    here = name_here(session, name)
    server = session.scalar(select(Server).where(Server.name == here))
    if server is None:
        raise NameUnknown(name)
    return server


def name_here(session: Session, name: str) -> str:
    """Return the name of the server that `name` means; its NFC where there is none.

    Asks the database only where there can be several ways to write it.
    """
    return names_here(session, [name]).get(name, nfc(name))


def names_here(session: Session, given: Iterable[str]) -> dict[str, str]:
    """Return which of the servers' names are meant by those `given` that aren't ASCII.

    What means none isn't among them. At most two statements; the second, which reads every name,
    where something isn't found: a server from before names were kept in NFC may have it.
    """
    wanted = {name: nfc(name) for name in given if not name.isascii()}
    if not wanted:
        return {}
    rows = as_rows([name] for name in {*wanted, *wanted.values()})
    same = set(session.scalars(NAMED, {"rows": rows}))
    found = {name: kept if name not in same else name for name, kept in wanted.items()}
    missing = {name: kept for name, kept in wanted.items() if found[name] not in same}
    if missing:
        older = {nfc(name): name for name in names(session) if not name.isascii()}
        found |= {name: older.get(kept, "") for name, kept in missing.items()}
    return {name: here for name, here in found.items() if here}


NAMED = select(Server.name).where(Server.name.in_(select(incoming({"name": String()}).c.name)))


def existing(session: Session, wanted: Sequence[int]) -> Sequence[int]:
    """Return those of these ids that a server has, in order of creation."""
    possible = [server_id for server_id in wanted if server_id <= LARGEST_ID]
    return session.scalars(
        select(Server.id).where(Server.id.in_(possible)).order_by(Server.id)
    ).all()


def names(session: Session) -> Sequence[str]:
    """Return every server's name, in order of creation."""
    return session.scalars(select(Server.name).order_by(Server.id)).all()


def ids(session: Session) -> Sequence[int]:
    """Return every server's id, in order of creation."""
    return session.scalars(select(Server.id).order_by(Server.id)).all()


def everything(session: Session) -> Sequence[Server]:
    """Return every server, in order of creation."""
    return session.scalars(select(Server).order_by(Server.id)).all()


def targets(session: Session, slot: datetime) -> list[Target]:
    """Return the servers to be looked at in `slot`, in order of creation, as a round needs them.

    A server is first due in the slot in which it was added, so that nobody waits a minute in vain.
    """
    wanted = looked_at_in(slot, TARGET).order_by(Server.id)
    return [_target(row) for row in session.execute(wanted)]


def due_in(slot: datetime, columns: Sequence[Any]) -> Select[*tuple[Any, ...]]:
    """Select these columns of the servers due in `slot`."""
    return _enabled_in(slot, columns).where(_is_due(slot))


def looked_at_in(slot: datetime, columns: Sequence[Any]) -> Select[*tuple[Any, ...]]:
    """Select these columns of the servers due in `slot`, or rechecked."""
    rechecked = select(RECHECK.c.server_id).where(RECHECK.c.since <= slot)
    return _enabled_in(slot, columns).where(or_(_is_due(slot), Server.id.in_(rechecked)))


def _enabled_in(slot: datetime, columns: Sequence[Any]) -> Select[*tuple[Any, ...]]:
    of_server = select(*columns).join(Schedule, Schedule.server_id == Server.id)
    return of_server.where(in_force(slot + SLOT), Schedule.enabled)


def _is_due(slot: datetime) -> ColumnElement[bool]:
    second = int(slot.timestamp())  # wider than interval_s, or 2038 would be the last year
    return literal(second, BigInteger) % Schedule.interval_s == 0


def target(session: Session, server_id: int) -> Target:
    """Return the server of that id as a round needs it, due or not. Raises IdUnknown."""
    row = session.execute(select(*TARGET).where(Server.id == min(server_id, LARGEST_ID))).first()
    if row is None:
        raise IdUnknown(server_id)
    return _target(row)


TARGET = (Server.id, Server.ip, Server.probe, Server.port, Server.last_port, Server.revision)


def _target(row: Sequence[Any]) -> Target:
    server_id, ip, probe, *ports_and_revision = row
    return Target(server_id, ip, Probe(probe), *ports_and_revision)


WORST_FIRST = (State.DOWN, State.DEGRADED, State.UNOBSERVED, State.UP)


def page(session: Session, wanted: FleetQuery, now: datetime) -> FleetPage:
    """Return the page of servers that `wanted` asks for. Three statements; with a search, four.

    Raises WrongRequest for an `after` that no page gave.
    """
    given = _at(now)
    if wanted.search:
        given["rows"] = _searched(session, wanted.search)
    if wanted.name:
        wanted = replace(wanted, name=name_here(session, wanted.name))
    found = session.execute(_page_query(wanted), given).all()
    shown, more = found[: wanted.limit], found[wanted.limit :]
    return FleetPage(
        servers=_standings(session, shown),
        cursors=[_cursor(row) for row in shown],
        more=bool(more),
        **_totals(session, wanted, given),
    )


def standings(
    session: Session, now: datetime, wanted: Sequence[int] | None = None
) -> list[Standing]:
    """Return every server, or those of these ids, with its state, in order of creation.

    Two statements.
    """
    query = select(*LISTED).order_by(STANDING.c.id)
    if wanted is not None:
        query = query.where(STANDING.c.id.in_(wanted))
    return _standings(session, session.execute(query, _at(now)).all(), whole=wanted is None)


def standing(session: Session, server_id: int, now: datetime) -> Standing:
    """Return a server with its state. Two statements. Raises IdUnknown."""
    for found in standings(session, now, [server_id] if server_id <= LARGEST_ID else []):
        return found
    raise IdUnknown(server_id)


def _standings(
    session: Session, rows: Sequence[Row[Any]], *, whole: bool = False
) -> list[Standing]:
    """Read rows of LISTED, the `whole` of it or a part, and with them their tags. One statement."""
    tagged = tags.of(session, None if whole else [row[0] for row in rows]) if rows else {}
    return [_read(row, tagged.get(row[0], [])) for row in rows]


def _read(row: Sequence[Any], tagged: Sequence[str]) -> Standing:
    # By place: by name a long row takes twice as long, and there are thousands.
    kept = dict(zip(KEPT, row, strict=False))
    kept["probe"] = Probe(kept["probe"])
    rank, is_new, minute, *heard = row[len(KEPT) : len(KEPT) + 6]
    last_ping = None if minute is None else LastPing(slot_time(minute), *heard)
    derived: dict[str, Any] = {
        "state": WORST_FIRST[rank],
        "new": bool(is_new),
        "last_ping": last_ping,
    }
    return Standing(**kept, **derived, tags=tagged)


def newest_slot(session: Session, now: datetime) -> datetime | None:
    """Return the newest slot that any server has a ping of, but for slots of the future."""
    return session.scalar(select(func.max(Server.last_slot)).where(Server.last_slot <= now + AHEAD))


def is_late(session: Session, newest: datetime | None, now: datetime) -> bool:
    """Whether servers are due, but `newest`, the newest slot of any, says that nobody looks.

    Each is late a minute after two of its intervals, from `newest` or from when it was added or
    went on: until then a round may be under way.
    """
    if newest is not None and now <= newest + 3 * SLOT:
        return False  # no interval is shorter than a minute
    given = {"now": now, "newest": newest or EPOCH, "newest_s": (newest or EPOCH).timestamp()}
    soonest_s = session.scalar(SOONEST_S, given)
    return soonest_s is not None and now.timestamp() > soonest_s + SLOT.total_seconds()


def _soonest_s() -> Select[float | None]:
    newest = bindparam("newest", type_=UtcDateTime())
    newest_s: BindParameter[float] = bindparam("newest_s", type_=Double())
    looked_s = case((Schedule.since > newest, epoch_minute(Schedule.since) * 60), else_=newest_s)
    return (
        select(func.min(looked_s + 2 * Schedule.interval_s))
        .join(Server, and_(Schedule.server_id == Server.id, in_force_or_first()))
        .where(Schedule.enabled)
    )


SOONEST_S = _soonest_s()


KEPT = [
    name for name in Standing.__struct_fields__ if name not in ("state", "new", "last_ping", "tags")
]
"""What a standing repeats of its server, its schedule and its parent."""
SOURCES = {
    field.name: getattr(Schedule, field.name)
    for field in FIELDS
    if field.table == Schedule.__tablename__
} | {"parent": parents.BEHIND.name}
"""What isn't a server's own."""


def _standing() -> FromClause:
    """Every server with its state as its place in WORST_FIRST, at the time that _at() says.

    The state is derived here and nowhere stored. A newest ping older than two intervals says
    nothing about now, nor does one of the future, recorded while the clock was wrong; of a paused
    server, or one whose schedule is yet to begin, we say nothing either: nobody looks.
    """
    # The last slot and twice the interval after it, in seconds: two intervals later it is old.
    last_minute = epoch_minute(Server.last_slot)
    now_s: BindParameter[float] = bindparam("now_s", type_=Double())
    unseen = or_(
        Server.last_slot.is_(None),
        Schedule.enabled.is_(False),
        Schedule.since > NOW,
        last_minute * 60 + 2 * Schedule.interval_s < now_s,
        Server.last_slot > AHEAD_OF_NOW,
    )
    is_new = and_(
        Server.last_slot.is_(None),
        Schedule.enabled.is_(True),
        epoch_minute(Schedule.since) * 60 + 2 * Schedule.interval_s >= now_s,
    )
    rank = case(
        (unseen, WORST_FIRST.index(State.UNOBSERVED)),
        (Server.last_received == 0, WORST_FIRST.index(State.DOWN)),
        (Server.last_received < Server.last_sent, WORST_FIRST.index(State.DEGRADED)),
        else_=WORST_FIRST.index(State.UP),
    )
    columns = [
        *((SOURCES.get(name) or getattr(Server, name)).label(name) for name in KEPT),
        *(rank.label("rank"), is_new.label("new"), last_minute.label("last_minute")),
        *(Server.last_ms, Server.last_sent, Server.last_received),
    ]
    every = (
        select(*columns, Server.last_slot)
        .select_from(Server)
        .join(Schedule, and_(Schedule.server_id == Server.id, in_force_or_first()))
    )
    return parents.with_parent(every).subquery("standing")


AHEAD_OF_NOW = bindparam("ahead", type_=UtcDateTime())


# Made once: to make it takes as long as to ask for one server.
STANDING = _standing()
# The last slot is read as a number, which is faster.
LISTED = [column for column in STANDING.c if column.name != "last_slot"]


def _at(now: datetime) -> dict[str, Any]:
    """The parameters of whatever selects from STANDING."""
    return {"now": now, "now_s": now.timestamp(), "ahead": now + AHEAD}


def _searched(session: Session, text: str) -> str:
    """The ids of the servers that have `text` in name or address, as FOUND reads them.

    Names are compared here: what a database calls one letter depends on where it was made.
    """
    sought = folded(text)
    every = session.execute(select(Server.id, Server.name, Server.ip))
    return as_rows([one] for one, name, ip in every if sought in folded(name) or sought in ip)


FOUND = incoming({"id": BigInteger()})


def _found(wanted: FleetQuery) -> ColumnElement[bool]:
    tests: list[ColumnElement[bool]] = [true()]
    if wanted.search:
        tests.append(STANDING.c.id.in_(select(FOUND.c.id)))
    if wanted.name:
        tests.append(STANDING.c.name == wanted.name)
    if wanted.tag:
        tagged = select(TAG.c.server_id).where(TAG.c.tag == wanted.tag.lower())
        tests.append(STANDING.c.id.in_(tagged))
    return and_(*tests)


def _shown(wanted: FleetQuery) -> ColumnElement[bool]:
    tests = [_found(wanted)]
    if wanted.state is not UNSET:
        tests.append(STANDING.c.rank == WORST_FIRST.index(wanted.state))
    if wanted.enabled is not UNSET:
        tests.append(STANDING.c.enabled.is_(wanted.enabled))
    if wanted.new is not UNSET:
        tests.append(STANDING.c.new.is_(wanted.new))
    return and_(*tests)


def _totals(session: Session, wanted: FleetQuery, given: Mapping[str, Any]) -> dict[str, Any]:
    """What a FleetPage counts."""
    one = STANDING.c
    found = _found(wanted)
    past = case((one.last_slot <= AHEAD_OF_NOW, one.last_slot))
    groups = (found, and_(found, one.enabled.is_(False)), and_(found, one.new.is_(True)))
    figures = [func.max(past), *(func.sum(case((group, 1), else_=0)) for group in groups)]
    rows = session.execute(select(one.rank, *figures).group_by(one.rank), given).all()
    counted = {WORST_FIRST[rank]: int(count) for rank, _, count, *_ in rows}
    return {
        "totals": {state: counted.get(state, 0) for state in State},
        "paused": sum(int(row[3]) for row in rows),
        "new": sum(int(row[4]) for row in rows),
        "last_round": max((row[1] for row in rows if row[1] is not None), default=None),
    }


def _page_query(wanted: FleetQuery) -> Select[Any]:
    backwards = wanted.sort.startswith("-")
    key = _key(wanted.sort)
    order = [key.desc(), STANDING.c.id.desc()] if backwards else [key, STANDING.c.id]
    query = select(*LISTED, key.label("key")).where(_shown(wanted))
    if wanted.after:
        here = tuple_(key, STANDING.c.id)
        there = tuple_(*_place(wanted, key.type), types=[key.type, BigInteger()])
        query = query.where(here < there if backwards else here > there)
    # One more than asked for, to know whether there is more.
    return query.order_by(*order).limit(wanted.limit + 1)


def _key(sort: Sort) -> ColumnElement[Any]:
    match sort.removeprefix("-"):
        case Sort.NAME:
            return by_code_point(STANDING.c.name)
        case Sort.STATE:
            return STANDING.c.rank
        case Sort.RESPONSE:
            return func.coalesce(STANDING.c.last_ms, literal(1e12, Double()))
    return STANDING.c.id


def _cursor(row: Row[Any]) -> str:
    return f"{row.id}:{row.key}"


def _place(wanted: FleetQuery, kind: TypeEngine[Any]) -> tuple[Any, int]:
    server_id, _, key = wanted.after.partition(":")
    read: Any = {String: str, Double: _finite}.get(type(kind), _within_bigint)
    try:
        return read(key), _within_bigint(server_id)
    except ValueError:
        told = "after must be the `next` of a previous page"
        raise WrongRequest(told, "after", got=wanted.after) from None


def _within_bigint(text: str) -> int:
    if not -(2**63) <= int(text) < 2**63:
        raise ValueError(text)
    return int(text)


def _finite(text: str) -> float:
    if not isfinite(float(text)):
        raise ValueError(text)
    return float(text)
