"""What the judge is asked, slot by slot, and what it remembers until it is asked again.

Functions that take a session run inside a transaction that their caller ends.
"""

from collections.abc import Collection, Iterator, Mapping
from itertools import islice
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import BigInteger, Executable, Integer, String, delete, literal, select, tuple_
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session
from sqlalchemy.types import TypeEngine

from core.incidents import judge, when
from core.incidents.judge import Decision, Memory
from core.incidents.look import Case, Found
from core.incidents.rules import Rule, measure_by
from core.incidents.when import Seen
from core.models import JUDGED
from core.servers.exempt import is_exempt
from core.servers.schedule import due_slots, spans
from core.sql import as_rows, incoming


class Decided(NamedTuple):
    """A decision about a server under a rule, and whether it is flapping then."""

    case: Case
    rule: Rule
    decision: Decision
    is_flapping: bool


def fold(found: Found, case: Case, first: int, last: int) -> tuple[Memory, list[Decided]]:
    """Judge a server's slots from `first` to `last` by a rule, in order."""
    _, terms, memory = found.cases[case]
    measure, rule = measure_by(terms), found.rules[case]
    decided = []
    for slot, seen in _seen(found, case.server_id, first, last):
        memory, decision = when.step(memory, slot, seen, measure)
        if decision:
            decided.append(Decided(case, rule, decision, memory.is_flapping))
    return memory, decided


def _seen(found: Found, server_id: int, first: int, last: int) -> Iterator[tuple[int, Seen | None]]:
    """Yield what came of each slot that was due, or was looked at all the same, and isn't exempt.

    More blind slots in a row than the judge remembers are no news.
    """
    planned = spans(found.plans.get(server_id, ()))
    exempt = found.exempt.get(server_id, ())
    rows = {
        slot: seen
        for slot, seen in found.rows.get(server_id, {}).items()
        if not is_exempt(exempt, slot)
    }
    passed = first - 1
    for slot in [*sorted(rows), last + 1]:
        unseen = (one for one in due_slots(planned, passed + 1, slot) if not is_exempt(exempt, one))
        for blind in islice(unseen, judge.MOST):
            yield blind, None
        if slot <= last:
            yield slot, rows[slot]
        passed = slot


def remember(session: Session, found: Found, memories: Mapping[Case, Memory], last: int) -> None:
    """Keep what is remembered after the slot `last`; of who is quiet then, nothing."""
    quiet = (case for case, memory in memories.items() if judge.is_quiet(memory, last))
    forget(session, [case for case in quiet if case in found.known])
    loud = [
        [*case, *found.cases[case][:2], msgspec.json.encode(memory).decode()]
        for case, memory in memories.items()
        if not judge.is_quiet(memory, last)
    ]
    if loud:
        session.execute(REMEMBER, {"rows": as_rows(loud)})


def forget(session: Session, cases: Collection[Case]) -> None:
    """Remember nothing of these."""
    if cases:
        session.execute(FORGET, {"rows": as_rows(cases)})


REMEMBERED: Mapping[str, TypeEngine[Any]] = {
    "server_id": BigInteger(),
    "rule_id": BigInteger(),
    "revision": Integer(),
    "terms": String(),
    "memory": String(),
}
CASE = "server_id", "rule_id"


def _remembering() -> Executable:
    given = incoming(REMEMBERED)
    new = insert(JUDGED).from_select([*REMEMBERED], select(given).where(literal(True)))
    anew = {name: new.excluded[name] for name in REMEMBERED if name not in CASE}
    return new.on_conflict_do_update(index_elements=CASE, set_=anew)


def _forgetting() -> Executable:
    given = incoming(REMEMBERED, *CASE)
    return delete(JUDGED).where(tuple_(JUDGED.c.server_id, JUDGED.c.rule_id).in_(select(given)))


REMEMBER = _remembering()
FORGET = _forgetting()
