"""What the judge is asked, slot by slot, and what it remembers until it is asked again.

Functions that take a session run inside a transaction that their caller ends.
"""

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import NamedTuple

import msgspec
from sqlalchemy import BigInteger, Executable, Integer, String, delete, literal, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from core.incidents import judge, rules
from core.incidents.judge import Decision, Memory, Verdict
from core.incidents.look import Found, given_servers
from core.models import JUDGED
from core.servers.schedule import due_slots, spans
from core.sql import as_rows, incoming


class Decided(NamedTuple):
    """A decision about a server, and whether it is flapping then."""

    server_id: int
    decision: Decision
    is_flapping: bool


def fold(
    found: Found, server_id: int, memory: Memory, first: int, last: int
) -> tuple[Memory, list[Decided]]:
    """Judge a server's slots from `first` to `last`, in order."""
    decided = []
    for slot, verdict in _verdicts(found, server_id, first, last):
        memory, decision = judge.step(memory, slot, verdict, rules.DEFAULT.measure.limits)
        if decision:
            decided.append(Decided(server_id, decision, memory.is_flapping))
    return memory, decided


def _verdicts(found: Found, server_id: int, first: int, last: int) -> Iterator[tuple[int, Verdict]]:
    """Yield what each slot says that was due, or was looked at all the same.

    More blind slots in a row than the judge remembers are no news.
    """
    planned = spans(found.plans.get(server_id, ()))
    rows = found.rows.get(server_id, {})
    seen = first - 1
    for slot in [*sorted(rows), last + 1]:
        for blind in islice(due_slots(planned, seen + 1, slot), judge.MOST):
            yield blind, Verdict.BLIND
        if slot <= last:
            yield slot, Verdict.GOOD if rows[slot] else Verdict.BAD
        seen = slot


def remember(session: Session, found: Found, memories: Mapping[int, Memory], last: int) -> None:
    """Keep what is remembered after the slot `last`; of who is quiet then, nothing."""
    quiet = [one for one, memory in memories.items() if judge.is_quiet(memory, last)]
    loud = [
        [one, found.revisions[one], msgspec.json.encode(memory).decode()]
        for one, memory in memories.items()
        if not judge.is_quiet(memory, last)
    ]
    if quiet:
        session.execute(FORGET, {"rows": as_rows([one] for one in quiet)})
    if loud:
        session.execute(REMEMBER, {"rows": as_rows(loud)})


def _remembering() -> Executable:
    given = incoming({"server_id": BigInteger(), "revision": Integer(), "memory": String()})
    rows = select(given.c.server_id, given.c.revision, given.c.memory).where(literal(True))
    new = insert(JUDGED).from_select(["server_id", "revision", "memory"], rows)
    anew = {"revision": new.excluded.revision, "memory": new.excluded.memory}
    return new.on_conflict_do_update(index_elements=["server_id"], set_=anew)


REMEMBER = _remembering()
FORGET = delete(JUDGED).where(JUDGED.c.server_id.in_(given_servers()))
