"""Servers: add, change, remove, one by one or many at once, by the same few statements.

Every function takes a session inside a transaction that its caller ends. The fields that can be
said are those of records.FIELDS.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from msgspec import UNSET
from msgspec.structs import replace
from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Executable,
    Insert,
    Row,
    Select,
    String,
    and_,
    case,
    delete,
    literal_column,
    null,
    or_,
    select,
    true,
    update,
)
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session
from sqlalchemy.types import TypeEngine

from core.errors import IdUnknown, NameTaken, NameUnknown, WrongRequest
from core.models import LARGEST_ID, SERVER
from core.reading import nfc
from core.servers import find, parents, records, tags
from core.servers.records import BulkItem, BulkServer, ServerChange, new_name
from core.servers.schedule import put_plans, reschedule
from core.settings import Settings
from core.sql import UtcDateTime, as_rows, incoming, inserted, time_at, turn, written

COLUMNS = {c.name: c.type for c in SERVER.columns if c.name not in ("id", "revision")}
FIELDS = [field.name for field in records.FIELDS if field.table == SERVER.name]
"""What of a server as wanted is its own row's; the rest is its schedule's, or below."""
APART: Mapping[str, Callable[[Session, Mapping[int, Any]], set[int]]] = {
    "tags": tags.put,
    "parent": parents.put,
}
"""What is kept in rows of its own: who puts it there, for many servers, by their ids."""
LOOKED_AT = ("ip", "probe", "port")
"""What makes another revision of a server."""
DEFAULTS = {field.name: field.default for field in records.FIELDS}
AT_ONCE = 2_000
"""Servers that are added or changed in one transaction."""


def add(session: Session, wanted: BulkServer, settings: Settings, now: datetime) -> int:
    """Add a server, due from now on, every `settings.interval_s` if nothing else is said.

    Returns its id. Raises NameTaken, or WrongRequest for an address that may not be probed from
    here, and for a parent that isn't there.
    """
    refuse_address(wanted.ip, settings)
    new = replace(wanted, name=_free(session, wanted.name))
    if new.parent:
        parent = find.name_here(session, new.parent)
        # Held before the new one is there, as servers are held in order.
        there = {*locked_ids(session, [parent])}
        _refuse_parent(new.name, parent, there, {})
        new = replace(new, parent=parent)
    # No look before the insert: two requests at once would both see a free name. The index decides.
    ids = _add(session, [new], settings, now)
    if new.name not in ids:
        raise NameTaken(wanted.name)
    return ids[new.name]


def _refuse_parent(name: str, parent: str, there: Iterable[str], known: Mapping[str, str]) -> None:
    """Raise WrongRequest for a parent that this one server can't have."""
    for error in parents.refusals({name: parent}, [], {*there}, known).values():
        raise error


def _free(session: Session, name: str, own: str | None = None) -> str:
    """Return `name` as it is kept, but for one that an older server has in another spelling.

    `own` is the name of the server that is to have it. Raises NameTaken, WrongRequest.
    """
    if find.names_here(session, [name]).get(name, own) != own:
        raise NameTaken(name)
    return new_name(name)


def change(session: Session, wanted: BulkServer, settings: Settings, now: datetime) -> None:
    """Change what is said of the server of that name.

    Its history stays; what was last heard from another address is forgotten. Raises NameUnknown,
    WrongRequest.
    """
    refuse_address(wanted.ip, settings)
    name = find.name_here(session, wanted.name)
    found = session.execute(_locked(SERVER.c.name == name)).all()
    if not found:
        raise NameUnknown(wanted.name)
    said = wanted.said() | {"name": name}
    _change(session, [(row, said) for row in found], now)


def alter(
    session: Session, server_id: int, wanted: ServerChange, settings: Settings, now: datetime
) -> None:
    """Change what is said of the server of that id, as `change` does, and also name and parent.

    Raises IdUnknown, NameTaken, WrongRequest.
    """
    said = wanted.said()
    if "ip" in said:
        refuse_address(said["ip"], settings)
    parent = said.get("parent")
    if "name" in said or parent:
        claim_names(session)
    if parent:
        said["parent"] = parent = find.name_here(session, parent)
    which = SERVER.c.id == min(server_id, LARGEST_ID)
    held = _locked(or_(which, SERVER.c.name == parent) if parent else which, whole="name" in said)
    rows = session.execute(held).all()
    found = [row for row in rows if row.id == server_id]
    if not found:
        raise IdUnknown(server_id)
    own = found[0].name
    if parent:
        _refuse_parent(own, parent, [row.name for row in rows], parents.by_name(session))
    # A name that stays may be one from before, which nobody could take today.
    if said.get("name", own) != own:
        said["name"] = _free(session, said["name"], own)
    # As in add: the index decides.
    try:
        with session.begin_nested():
            _change(session, [(row, said) for row in found], now)
    except IntegrityError:
        raise NameTaken(said["name"]) from None


def remove(session: Session, name: str) -> int:
    """Delete the server of that name and all its rows; return how many had it as their parent.

    Raises NameUnknown.
    """
    removed = _remove(session, SERVER.c.name == find.name_here(session, name))
    if removed is None:
        raise NameUnknown(name)
    return removed


def remove_id(session: Session, server_id: int) -> int:
    """Delete the server of that id, as `remove` does. Raises IdUnknown."""
    removed = _remove(session, SERVER.c.id == min(server_id, LARGEST_ID))
    if removed is None:
        raise IdUnknown(server_id)
    return removed


def _remove(session: Session, which: ColumnElement[bool]) -> int | None:
    """Delete a server; return how many had it as their parent, None where there is no such one."""
    # Held first, so that nobody gets it as a parent after they were counted.
    server_id = session.scalar(select(SERVER.c.id).where(which).with_for_update())
    if server_id is None:
        return None
    children = parents.children(session, server_id)
    return children if written(session, delete(SERVER).where(SERVER.c.id == server_id)) else None


def refuse_address(ip: str, settings: Settings) -> None:
    """Raise WrongRequest for an address that may not be probed from here."""
    refusal = settings.address_rules.refusal(ip)
    if refusal:
        raise WrongRequest(refusal, "ip")


def portions(
    session: Session, wanted: Sequence[BulkServer | BulkItem], *, upsert: bool = False
) -> list[Sequence[int]]:
    """Cut what is wanted and `checked` for `put`: each for a transaction of less than 200 ms.

    Returns the places of each. A parent is never in a later one than its child. `session` is only
    read.
    """
    places: Sequence[int] = range(len(wanted))
    said = _parents(_servers(wanted).values())
    if len(wanted) > AT_ONCE and any(said.values()):
        said = _to_be_granted(said, existing(session, said), upsert)
        depths = parents.depths(said, parents.by_name(session) | said)
        places = sorted(places, key=lambda place: depths.get(getattr(wanted[place], "name", ""), 0))
    return [sorted(places[start : start + AT_ONCE]) for start in range(0, len(places), AT_ONCE)]


def checked(
    session: Session,
    wanted: Sequence[BulkServer | BulkItem],
    settings: Settings,
    *,
    upsert: bool = False,
) -> list[BulkServer | BulkItem]:
    """Give each the name that its server has here, or that a new one will be kept under.

    So it gives parents. One that can be refused already gets its outcome, also for a name that
    stands before it: in whatever spelling, but where servers from before have both. `session` is
    only read.
    """
    refused = _refusals(_servers(wanted), settings)
    allowed = [refused.get(place, one) for place, one in enumerate(wanted)]
    here = find.names_here(session, _names(_servers(allowed).values()))
    named = _once([one if isinstance(one, BulkItem) else _named(one, here) for one in allowed])
    return _with_parents(session, named, upsert)


def _names(wanted: Iterable[BulkServer]) -> set[str]:
    """Names and parents' names."""
    return {name for one in wanted for name in (one.name, one.parent) if isinstance(name, str)}


def _parents(wanted: Iterable[BulkServer]) -> dict[str, str | None]:
    return {one.name: one.parent for one in wanted if one.parent is not UNSET}


def _to_be_granted(
    said: Mapping[str, str | None], there: Collection[str], upsert: bool
) -> dict[str, str | None]:
    """Leave out what is said of servers that aren't to be changed: they count as they are."""
    return {name: parent for name, parent in said.items() if upsert or name not in there}


def _with_parents(
    session: Session, wanted: Sequence[BulkServer | BulkItem], upsert: bool
) -> list[BulkServer | BulkItem]:
    """Refuse each whose parent it can't have."""
    servers = _servers(wanted).values()
    said = _parents(servers)
    if not any(said.values()):
        return list(wanted)
    there = existing(session, _names(servers))
    said = _to_be_granted(said, there, upsert)
    coming = {one.name for one in servers}
    # Nobody stands behind one that is new: a circle through such ones is all of wanted parents.
    known = parents.by_name(session) if there & said.keys() else {}
    refused = parents.refusals(said, coming, there, known)
    return [
        BulkItem.refused(refused[one.name])
        if isinstance(one, BulkServer) and one.name in refused
        else one
        for one in wanted
    ]


def _once(wanted: Sequence[BulkServer | BulkItem]) -> list[BulkServer | BulkItem]:
    """Refuse each whose name stands before it."""
    first = {one.name: place for place, one in reversed(_servers(wanted).items())}
    return [
        one if isinstance(one, BulkItem) or first[one.name] == place else TWICE
        for place, one in enumerate(wanted)
    ]


def _servers(wanted: Sequence[BulkServer | BulkItem]) -> dict[int, BulkServer]:
    return {place: one for place, one in enumerate(wanted) if isinstance(one, BulkServer)}


def put(
    session: Session,
    wanted: Sequence[BulkServer | BulkItem],
    settings: Settings,
    now: datetime,
    *,
    upsert: bool = False,
) -> list[BulkItem]:
    """Add each server of `wanted`, or with `upsert` change it where its name exists.

    Each stands for itself and has its outcome, in their order. One that couldn't be read comes with
    its outcome already.
    """
    claim_names(session)
    _hold(session, wanted, upsert)
    wanted = checked(session, wanted, settings, upsert=upsert)
    outcomes = {place: one for place, one in enumerate(wanted) if isinstance(one, BulkItem)}
    said = _servers(wanted)
    places = {one.name: place for place, one in said.items()}
    added = _add(session, [said[place] for place in places.values()], settings, now)
    known = {name: said[place] for name, place in places.items() if name not in added}
    by_name = {name: BulkItem(status="CREATED", id=server_id) for name, server_id in added.items()}
    by_name |= _put_known(session, known, now) if upsert else {name: taken(name) for name in known}
    outcomes |= {places[name]: outcome for name, outcome in by_name.items()}
    return [outcomes[place] for place in range(len(wanted))]


def _hold(session: Session, wanted: Sequence[BulkServer | BulkItem], upsert: bool) -> None:
    """Hold the parents, and with them, in order, whatever is changed."""
    servers = [*_servers(wanted).values()]
    named = {parent for parent in _parents(servers).values() if parent}
    if named:
        names = _names(servers) if upsert else named
        locked_ids(session, {*map(nfc, names), *find.names_here(session, names).values()})


def _named(one: BulkServer, here: Mapping[str, str]) -> BulkServer | BulkItem:
    parent = one.parent and (here.get(one.parent) or nfc(one.parent))
    try:
        return replace(one, name=here.get(one.name) or new_name(one.name), parent=parent)
    except WrongRequest as error:
        return BulkItem.refused(error.at("name"))


def taken(name: str) -> BulkItem:
    """Return the outcome of a server whose name another one has."""
    return BulkItem.refused(NameTaken(name), "name")


TWICE = BulkItem(
    status=NameTaken.status, detail="this name appears twice in the request", field="name"
)


def _refusals(wanted: Mapping[int, BulkServer], settings: Settings) -> dict[int, BulkItem]:
    """What needs no database to be refused; of two that have one name, the first counts."""
    refused: dict[int, BulkItem] = {}
    seen = set()
    for place, one in wanted.items():
        try:
            refuse_address(one.ip, settings)
        except WrongRequest as error:
            refused[place] = BulkItem.refused(error)
        else:
            if one.name in seen:
                refused[place] = TWICE
        seen.add(one.name)
    return refused


def _add(
    session: Session, wanted: Sequence[BulkServer], settings: Settings, now: datetime
) -> dict[str, int]:
    """Add those whose name is free; return the ids, by name. Two statements, and those of APART."""
    if not wanted:
        return {}
    defaults = DEFAULTS | {"interval_s": settings.interval_s, "datetime": now}
    rows = {one.name: defaults | one.said() for one in wanted}
    ids = insert_servers(session, rows.values())
    new = {server_id: rows[name] for name, server_id in ids.items()}
    put_plans(session, new, now)
    for name, put_them in APART.items():
        put_them(session, {one: said[name] for one, said in new.items() if said[name]})
    return ids


def claim_names(session: Session) -> None:
    """Have the turn of those who claim names or give parents: it comes before every other lock.

    The order of locks, which keeps two from waiting for each other: names, servers by id, their
    schedules, tags and parents, their days and pings, rounds. A name has no row that could be
    locked before it is there, and Postgres has whoever wants it wait for whoever gives it up or
    takes it. Of two that want to stand behind each other one has to see what the other did. Who
    adds one server holds at most its parent before, and needs no turn.
    """
    session.execute(CLAIM_NAMES)


def insert_servers(session: Session, rows: Iterable[Mapping[str, object]]) -> dict[str, int]:
    """Insert these rows of `server` whose name is free, as far as they have its columns.

    Returns the new ids, by name. One statement, where there is RETURNING.
    """
    given = as_rows([row.get(name) for name in COLUMNS] for row in rows)
    new = inserted(session, INSERT_SERVERS, IDS, {"rows": given})
    return {row.name: row.id for row in new}


def _put_known(
    session: Session, wanted: Mapping[str, BulkServer], now: datetime
) -> dict[str, BulkItem]:
    """Change the servers of these names. Four statements, and those of APART."""
    if not wanted:
        return {}
    rows = session.execute(LOCKED, {"rows": as_rows([name] for name in wanted)}).all()
    changed = _change(session, [(row, wanted[row.name].said()) for row in rows], now)
    words = {row.id: "UPDATED" if row.id in changed else "UNCHANGED" for row in rows}
    found = {row.name: BulkItem(status=words[row.id], id=row.id) for row in rows}
    return {name: found.get(name) or _gone(name) for name in wanted}


def existing(session: Session, names: Iterable[str]) -> set[str]:
    """Return which of these names are there."""
    return set(session.scalars(EXISTING, {"rows": as_rows([name] for name in names)}))


def locked_ids(session: Session, names: Iterable[str]) -> dict[str, int]:
    """Return the ids of those of these servers that are there, held as `_locked` holds them."""
    rows = as_rows([name] for name in names)
    return {row.name: row.id for row in session.execute(LOCKED, {"rows": rows})}


def _gone(name: str) -> BulkItem:
    # It was there when we wanted to add it; whoever deleted it since came later.
    detail = f"{name!r} was deleted meanwhile"
    return BulkItem(status=NameUnknown.status, detail=detail, field="name")


def _change(
    session: Session, wanted: Sequence[tuple[Row[Any], Mapping[str, object]]], now: datetime
) -> set[int]:
    """Change these servers, which are locked, to what is said of each.

    Returns the ids of those that are other than before.
    """
    altered = [row for row in (_altered(row, said) for row, said in wanted) if row]
    if altered:
        session.execute(ALTER, {"rows": as_rows(altered)})
    by_id = {row.id: said for row, said in wanted}
    changed = reschedule(session, by_id, now) | {server_id for server_id, *_ in altered}
    for name, put_them in APART.items():
        changed |= put_them(
            session, {one: words[name] for one, words in by_id.items() if name in words}
        )
    return changed


def _altered(row: Row[Any], said: Mapping[str, object]) -> list[Any] | None:
    now_is = [getattr(row, name) for name in FIELDS]
    to_be = [said.get(name, getattr(row, name)) for name in FIELDS]
    return None if now_is == to_be else [row.id, *to_be]


def _locked(which: ColumnElement[bool], *, whole: bool = False) -> Executable:
    """These servers, in order, held against whoever changes or records them meanwhile.

    Else a round recorded between reading and writing would stay in `last_*`. What is renamed is
    held as a `whole`, as another name needs it: a lock that is raised later may wait in a circle.
    """
    columns = [SERVER.c.id, *(SERVER.c[name] for name in FIELDS)]
    query = select(*columns).where(which).order_by(SERVER.c.id)
    return query.with_for_update(key_share=not whole)


def _kinds(names: Iterable[str]) -> dict[str, TypeEngine[Any]]:
    # A text isn't cut to its column's length: what is too long is an error.
    kinds: dict[type, TypeEngine[Any]] = {UtcDateTime: BigInteger(), String: String()}
    return {name: kinds.get(type(COLUMNS[name]), COLUMNS[name]) for name in names}


def _insert_servers() -> Insert:
    given = incoming(_kinds(COLUMNS))
    rows = select(
        *(
            time_at(given.c[name]) if isinstance(kind, UtcDateTime) else given.c[name]
            for name, kind in COLUMNS.items()
        )
    ).where(true())
    new = insert(SERVER).from_select(list(COLUMNS), rows)
    return new.on_conflict_do_nothing(index_elements=["name"])


def _ids() -> Select[str, int]:
    given = incoming(_kinds(COLUMNS), "name")
    return select(SERVER.c.name, SERVER.c.id).where(SERVER.c.name.in_(select(given.c.name)))


def _alter() -> Executable:
    """Other fields; what was last heard from another address is forgotten.

    What is on its way of a server that is now looked at otherwise belongs to an older revision.
    """
    given = incoming({"id": BigInteger(), **_kinds(FIELDS)})
    moved = SERVER.c.ip != given.c.ip
    heard = ["last_slot", "last_ms", "last_sent", "last_received", "last_port"]
    forgotten = {name: case((moved, null()), else_=SERVER.c[name]) for name in heard}
    same = and_(*(SERVER.c[name].is_not_distinct_from(given.c[name]) for name in LOOKED_AT))
    revision = case((same, SERVER.c.revision), else_=SERVER.c.revision + 1)
    return (
        update(SERVER)
        .where(SERVER.c.id == given.c.id)
        .values({name: given.c[name] for name in FIELDS} | forgotten | {"revision": revision})
    )


CLAIM_NAMES = select(turn(literal_column("7046154739")))
"""Any number that nothing else in the same database locks; that of migrations is one less,
that of stretches one more."""
INSERT_SERVERS = _insert_servers()
IDS = _ids()
ALTER = _alter()
GIVEN = SERVER.c.name.in_(select(incoming({"name": String()}).c.name))
EXISTING = select(SERVER.c.name).where(GIVEN)
LOCKED = _locked(GIVEN)
