"""A list of servers, added: all of it, or nothing where anything in it is wrong."""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial

from sqlalchemy.orm import Session

from core.errors import NameTaken, WrongRequest
from core.servers import change
from core.servers.lists import Entry
from core.servers.records import BulkItem
from core.settings import Settings

Step = Callable[[Session], Counter[str]]
DONE = frozenset({"CREATED", "UPDATED", "UNCHANGED"})
TOLD = 20
"""Refused servers that are told of, each on its line."""


def steps(
    session: Session,
    entries: Sequence[Entry],
    settings: Settings,
    now: datetime,
    *,
    upsert: bool = False,
    skip: bool = False,
) -> list[Step]:
    """Check a list; return the steps that add it, each for a transaction of its own.

    A step returns how often each outcome was. With `upsert` servers that exist are changed, with
    `skip` they stay as they are; else they are refused. `session` is only read. Raises WrongRequest
    that says what is wrong in which place; a step does so, too, where somebody else was quicker.
    """
    entries = _checked(session, entries, settings, upsert)
    if not (upsert or skip):
        entries = _without_taken(session, entries)
    wrong = [(one.place, one.said) for one in entries if isinstance(one.said, BulkItem)]
    _refuse(wrong, "nothing was imported:")
    put = partial(change.put, settings=settings, now=now, upsert=upsert)
    how = partial(_put, put=put, good=DONE | {NameTaken.status} if skip else DONE)
    portions = change.portions(session, [entry.said for entry in entries], upsert=upsert)
    return [
        partial(how, entries=[entries[place] for place in places], before=number * change.AT_ONCE)
        for number, places in enumerate(portions)
    ]


def _checked(
    session: Session, entries: Sequence[Entry], settings: Settings, upsert: bool
) -> list[Entry]:
    said = change.checked(session, [entry.said for entry in entries], settings, upsert=upsert)
    return [replace(entry, said=one) for entry, one in zip(entries, said, strict=True)]


def _without_taken(session: Session, entries: Sequence[Entry]) -> list[Entry]:
    names = {one.said.name for one in entries if not isinstance(one.said, BulkItem)}
    there = change.existing(session, names)
    return [
        one
        if isinstance(one.said, BulkItem) or one.said.name not in there
        else replace(one, said=change.taken(one.said.name))
        for one in entries
    ]


def _put(
    session: Session,
    entries: Sequence[Entry],
    put: Callable[..., list[BulkItem]],
    good: frozenset[str],
    before: int,
) -> Counter[str]:
    outcomes = put(session, wanted=[entry.said for entry in entries])
    wrong = [
        (entry.place, outcome)
        for entry, outcome in zip(entries, outcomes, strict=True)
        if outcome.status not in good
    ]
    so_far = f"only {before:,} servers were imported:"
    _refuse(wrong, so_far if before else "nothing was imported:")
    return Counter(outcome.status for outcome in outcomes)


def _refuse(wrong: Sequence[tuple[str, BulkItem]], heading: str) -> None:
    """Raise WrongRequest if anything is wrong."""
    if not wrong:
        return
    lines = [f"{place}: {outcome.detail}" for place, outcome in wrong[:TOLD]]
    more = [f"and {len(wrong) - TOLD} more"] if len(wrong) > TOLD else []
    raise WrongRequest("\n".join([heading, *lines, *more]), wrong[0][0])


def refuse_pings(given: bytes) -> None:
    """Refuse a CSV that an old release exported with pings: as a list it would lose them."""
    if re.match(b"(\xef\xbb\xbf)?record,server,time,", given) and b"\nping," in given:
        raise WrongRequest("pings must come as JSON, got CSV: export them with format=json")
