"""Parents: which server stands behind which, such as its switch. None stands behind itself.

Functions that take a session run inside a transaction that their caller ends; who writes holds the
servers.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import BigInteger, Select, String, delete, func, select, true
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session, aliased

from core.errors import WrongRequest
from core.models import PARENT, SERVER, Server
from core.sql import as_rows, given_ids, incoming

ITSELF = "parent must be another server"
UNKNOWN = "parent must be a server that exists"
CIRCLE = "parent must not stand behind the server itself"
BEHIND = aliased(Server, name="behind")
"""The server that is a parent."""
LINKS = (
    select(Server.id, Server.name, BEHIND.name)
    .join_from(PARENT, Server, Server.id == PARENT.c.server_id)
    .join(BEHIND, BEHIND.id == PARENT.c.parent_id)
)
"""Each server that has a parent: its id, its name and the parent's."""


def with_parent(query: Select[Any]) -> Select[Any]:
    """Join to a query of Server the one BEHIND each, if there is one."""
    return query.outerjoin(PARENT, PARENT.c.server_id == Server.id).outerjoin(
        BEHIND, BEHIND.id == PARENT.c.parent_id
    )


def of(session: Session, ids: Sequence[int]) -> dict[int, str]:
    """Return the names of these servers' parents, by id; none for one without. One statement."""
    found = session.execute(PARENTS_OF, {"rows": as_rows([one] for one in ids)})
    return {row[0]: row[1] for row in found}


def by_name(session: Session) -> dict[str, str]:
    """Return the name of each server's parent, by its own. One statement."""
    return {row[0]: row[1] for row in session.execute(BY_NAME)}


def children(session: Session, server_id: int) -> int:
    """Return how many servers have that one as their parent."""
    query = select(func.count()).where(PARENT.c.parent_id == server_id)
    return session.scalar(query) or 0


def put(session: Session, wanted: Mapping[int, str | None]) -> set[int]:
    """Give servers, by id, the parents of these names, or none; return whose is another one now.

    Who asks has seen that nothing speaks against it. Three statements at most.
    """
    if not wanted:
        return set()
    there = of(session, list(wanted))
    anew = {one: name for one, name in wanted.items() if name != there.get(one)}
    gone = [[one] for one, name in anew.items() if name is None]
    new = [(one, name) for one, name in anew.items() if name is not None]
    if gone:
        session.execute(REMOVE, {"rows": as_rows(gone)})
    if new:
        session.execute(PUT, {"rows": as_rows(new)})
    return set(anew)


# What may be wanted. Servers are known by their names: not all of them are there yet.

Wanted = Mapping[str, str | None]
"""A parent's name, or None, for each server of which one is said."""


def refusals(
    wanted: Wanted, coming: Collection[str], there: Collection[str], known: Mapping[str, str]
) -> dict[str, WrongRequest]:
    """Return why servers can't have the parents wanted, by name.

    `coming` are the names of all that are wanted at once, `there` those that exist, `known` the
    parents they have. Of several at once it counts what they add up to, so their order is free.
    """
    told = {name: ITSELF for name, parent in wanted.items() if parent == name}
    told |= dict.fromkeys(_orphans(wanted, coming, there, told), UNKNOWN)
    told |= dict.fromkeys(_circling(wanted, known, told), CIRCLE)
    told |= dict.fromkeys(_orphans(wanted, coming, there, told), UNKNOWN)
    # Who is refused keeps what it has, which may close another circle. Such knots aren't untied:
    # as they were, all that exist were in none.
    if _circling(wanted, known, told):
        told = {name: CIRCLE for name in wanted if name in there and wanted[name]} | told
    return {
        name: WrongRequest(sentence, "parent", got=wanted[name]) for name, sentence in told.items()
    }


def depths(names: Iterable[str], parents: Wanted) -> dict[str, int]:
    """Return how many stand behind each of these servers, the nearest first.

    In a circle, which somebody else's change may have closed meanwhile, there is no order.
    """
    found: dict[str, int] = {}
    for name in names:
        path: dict[str, None] = {}
        at = name
        while at not in found and at not in path and (parent := parents.get(at)) is not None:
            path[at] = None
            at = parent
        depth = found.setdefault(at, 0)
        for number, one in enumerate(reversed(path), depth + 1):
            found[one] = number
    return found


def _orphans(
    wanted: Wanted, coming: Collection[str], there: Collection[str], refused: Collection[str]
) -> set[str]:
    """Those whose parent isn't there and won't be, as it isn't wanted or is refused itself."""
    children_of: dict[str, list[str]] = defaultdict(list)
    for name, parent in wanted.items():
        if parent is not None and parent not in there and name not in refused:
            children_of[parent].append(name)
    missing = [parent for parent in children_of if parent not in coming or parent in refused]
    orphans: set[str] = set()
    while missing:
        children_here = children_of[missing.pop()]
        orphans |= {*children_here}
        missing += [name for name in children_here if name not in there]
    return orphans


def _circling(wanted: Wanted, known: Mapping[str, str], refused: Collection[str]) -> set[str]:
    """Those who would stand behind themselves, were all granted but what is refused already."""
    parents: dict[str, str | None] = {
        **known,
        **{name: parent for name, parent in wanted.items() if name not in refused},
    }
    circling: set[str] = set()
    seen: set[str] = set()
    for start in wanted:
        path: dict[str, None] = {}  # in order
        at: str | None = start
        while at is not None and at not in seen:
            seen.add(at)
            path[at] = None
            at = parents.get(at)
        if at in path:
            in_order = list(path)
            circling.update(in_order[in_order.index(at) :])
    return {name for name in circling if name in wanted and name not in refused}


def _put() -> Any:
    given = incoming({"server_id": BigInteger(), "name": String()})
    rows = (
        select(given.c.server_id, SERVER.c.id)
        .join_from(given, SERVER, SERVER.c.name == given.c.name)
        .where(true())
    )
    added = insert(PARENT).from_select(["server_id", "parent_id"], rows)
    return added.on_conflict_do_update(
        index_elements=["server_id"], set_={"parent_id": added.excluded.parent_id}
    )


AMONG = PARENT.c.server_id.in_(given_ids())
PARENTS_OF = (
    select(PARENT.c.server_id, BEHIND.name)
    .join(BEHIND, BEHIND.id == PARENT.c.parent_id)
    .where(AMONG)
)
BY_NAME = LINKS.with_only_columns(Server.name, BEHIND.name)
REMOVE = delete(PARENT).where(AMONG)
PUT = _put()
