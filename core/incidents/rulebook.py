"""The rules that somebody made, as they are kept: listed, made, changed, removed.

Every function takes a session inside a transaction that its caller ends.
"""

from datetime import datetime
from functools import lru_cache
from typing import Any

import msgspec
from sqlalchemy import Row, Select, delete, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from core.errors import RuleTaken, RuleUnknown, WrongRequest
from core.incidents import events
from core.incidents.records import Deed
from core.incidents.rules import DEFAULT, Rule, RuleListed, Rules, hints
from core.models import LARGEST_ID, RULE
from core.sql import written

MOST_RULES = 200


def in_force(session: Session) -> Rules:
    """Return the rules that somebody made, to be asked which of them hold for whom."""
    rows = session.execute(select(RULE.c.id, RULE.c.wanted))
    return Rules({rule_id: _read(wanted) for rule_id, wanted in rows})


def everything(session: Session) -> list[RuleListed]:
    """Return every rule that somebody made, the oldest first."""
    return [_listed(row) for row in session.execute(select(RULE).order_by(RULE.c.id))]


def find(session: Session, rule_id: int) -> RuleListed:
    """Return the rule of that id. Raises RuleUnknown."""
    return _listed(_found(session, _of_it(rule_id), rule_id))


def make(session: Session, wanted: Rule, who: str, now: datetime) -> RuleListed:
    """Add a rule, which holds from the next slot on. Raises RuleTaken, WrongRequest."""
    _refuse_channels(wanted)
    if session.scalar(select(func.count()).select_from(RULE)) == MOST_RULES:
        raise WrongRequest(f"there are {MOST_RULES} rules already, the most there can be")
    new = {"name": wanted.name, "made": now, "changed": now, "wanted": _kept(wanted)}
    # No look before the insert: two requests at once would both see a free name.
    added = insert(RULE).values(**new).on_conflict_do_nothing(index_elements=["name"])
    if wanted.name == DEFAULT.name or not written(session, added):
        raise RuleTaken(wanted.name)
    events.note(session, Deed.RULE_MADE, now, who, _kept(wanted))
    return _listed(session.execute(select(RULE).where(RULE.c.name == wanted.name)).one())


def change(session: Session, rule_id: int, wanted: Rule, who: str, now: datetime) -> RuleListed:
    """Have a rule be another from the next slot on; what is open keeps what it was opened by.

    Raises RuleUnknown, RuleTaken, WrongRequest.
    """
    _refuse_channels(wanted)
    held = _held(session, rule_id)
    if wanted.name == DEFAULT.name:
        raise RuleTaken(wanted.name)
    anew = {"name": wanted.name, "changed": now, "wanted": _kept(wanted)}
    try:
        with session.begin_nested():
            session.execute(update(RULE).where(RULE.c.id == held.id).values(**anew))
    except IntegrityError:
        raise RuleTaken(wanted.name) from None
    events.note(session, Deed.RULE_CHANGED, now, who, _kept(wanted))
    return find(session, rule_id)


def remove(session: Session, rule_id: int, who: str, now: datetime) -> None:
    """Delete a rule; what is open under it is resolved with the next slot. Raises RuleUnknown."""
    held = _held(session, rule_id)
    session.execute(delete(RULE).where(RULE.c.id == held.id))
    events.note(session, Deed.RULE_REMOVED, now, who, held.wanted)


def _of_it(rule_id: int) -> Select[*tuple[Any, ...]]:
    return select(RULE).where(RULE.c.id == min(rule_id, LARGEST_ID))


def _held(session: Session, rule_id: int) -> Row[*tuple[Any, ...]]:
    return _found(session, _of_it(rule_id).with_for_update(), rule_id)


def _found(
    session: Session, query: Select[*tuple[Any, ...]], rule_id: int
) -> Row[*tuple[Any, ...]]:
    row = session.execute(query).first()
    if row is None:
        raise RuleUnknown(rule_id)
    return row


def _refuse_channels(wanted: Rule) -> None:
    if wanted.say:
        said = wanted.say[0].channel
        raise WrongRequest("there is no channel of that name", "say[0].channel", got=said)


def _kept(rule: Rule) -> str:
    return msgspec.json.encode(rule).decode()


@lru_cache(maxsize=MOST_RULES)
def _read(wanted: str) -> Rule:
    return msgspec.json.decode(wanted, type=Rule)


def _listed(row: Row[*tuple[Any, ...]]) -> RuleListed:
    rule = _read(row.wanted)
    words = {name: getattr(rule, name) for name in Rule.__struct_fields__}
    kept = {"id": row.id, "made": row.made, "changed": row.changed, "hints": hints(rule)}
    return RuleListed(**words, **kept)
