"""Tags: the words that group servers.

Every function takes a session inside a transaction that its caller ends; who writes holds the
servers.
"""

from collections.abc import Mapping, Sequence

from sqlalchemy import BigInteger, String, delete, func, select, true, tuple_
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from core.models import TAG
from core.sql import as_rows, given_ids, incoming

GIVEN = incoming({"server_id": BigInteger(), "tag": String()})
BETWEEN = " "  # no tag holds one


def of(session: Session, ids: Sequence[int] | None = None) -> dict[int, list[str]]:
    """Return the tags of these servers or of all, sorted, by server; none for one without.

    One statement.
    """
    if ids is None:
        found = session.execute(TAGS)
    else:
        found = session.execute(TAGS_OF, {"rows": as_rows([one] for one in ids)})
    # Sorted here: what comes first in a database depends on where it was made.
    return {server_id: sorted(tags.split(BETWEEN)) for server_id, tags in found}


def put(session: Session, wanted: Mapping[int, Sequence[str]]) -> set[int]:
    """Have servers, by id, tagged so; return the ids of those that were tagged otherwise.

    Three statements at most.
    """
    if not wanted:
        return set()
    there = of(session, list(wanted))
    anew = {one: set(tags) for one, tags in wanted.items() if set(tags) != {*there.get(one, ())}}
    old = {one: set(there.get(one, ())) for one in anew}
    gone = [(one, tag) for one in anew for tag in old[one] - anew[one]]
    new = [(one, tag) for one in anew for tag in anew[one] - old[one]]
    if gone:
        session.execute(REMOVE, {"rows": as_rows(gone)})
    if new:
        session.execute(ADD, {"rows": as_rows(new)})
    return set(anew)


TAGS = select(TAG.c.server_id, func.aggregate_strings(TAG.c.tag, BETWEEN)).group_by(TAG.c.server_id)
TAGS_OF = TAGS.where(TAG.c.server_id.in_(given_ids()))
REMOVE = delete(TAG).where(
    tuple_(TAG.c.server_id, TAG.c.tag).in_(select(GIVEN.c.server_id, GIVEN.c.tag))
)
ADD = (
    insert(TAG)
    .from_select(["server_id", "tag"], select(GIVEN.c.server_id, GIVEN.c.tag).where(true()))
    .on_conflict_do_nothing()
)
