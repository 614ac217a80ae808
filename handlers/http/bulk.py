"""POST /api/v1/servers/bulk: many servers at once. Loaded at first use."""

from collections.abc import Mapping, Sequence
from functools import partial
from itertools import chain
from types import MappingProxyType

from flask import request
from msgspec import structs

from core.clock import utc_now
from core.errors import CutOff, RefusedLate, WrongRequest
from core.reading import read_json
from core.servers import change, lists
from core.servers.lists import Entry
from core.servers.records import (
    Bulk,
    BulkDone,
    BulkItem,
    BulkQuery,
    BulkServer,
    ListDone,
    ListItem,
)
from handlers import steps
from handlers.http.routes import CSV
from handlers.instance import Instance

SAVED = ("CREATED", "UPDATED")
"""Outcomes that need no line beside them."""


def put(here: Instance, asked: BulkQuery) -> BulkDone | ListDone:
    """Add many servers at once, or add and change them by name, with a result for each."""
    body = request.get_data()
    if request.mimetype == CSV:
        return _put_list(here, lists.read(body), asked.upsert)
    bulk = Bulk.of(read_json(body))
    return put_all(here, bulk.servers, bulk.upsert or asked.upsert)


def put_all(here: Instance, servers: Sequence[Mapping[str, object]], upsert: bool) -> BulkDone:
    """Add these servers, or add and change them; each is read by itself."""
    return BulkDone(results=_put(here, [_read(one) for one in servers], upsert))


def _put_list(here: Instance, entries: Sequence[Entry], upsert: bool) -> ListDone:
    outcomes = _put(here, [entry.said for entry in entries], upsert)
    return ListDone(results=list(map(_at, entries, outcomes)))


def _put(here: Instance, wanted: Sequence[BulkServer | BulkItem], upsert: bool) -> list[BulkItem]:
    """Do it in portions; of what comes after one that fails each says why it wasn't put."""
    with here.database.reading() as session:
        wanted = change.checked(session, wanted, here.settings, upsert=upsert)
        parts = change.portions(session, wanted, upsert=upsert)
    how = partial(change.put, settings=here.settings, now=utc_now(), upsert=upsert)
    portions = [partial(how, wanted=[wanted[place] for place in places]) for places in parts]
    try:
        return _in_order(parts, steps.each(here.database, portions, _told))
    except (CutOff, RefusedLate) as error:
        left = BulkItem.refused(error)
        rest = [one if isinstance(one, BulkItem) else left for one in wanted]
        return _in_order(parts, error.done, dict(enumerate(rest)))


def _in_order(
    parts: Sequence[Sequence[int]],
    done: Sequence[list[BulkItem]],
    rest: Mapping[int, BulkItem] = MappingProxyType({}),
) -> list[BulkItem]:
    """Return what became of each, as they were sent; of those that weren't done `rest`."""
    outcomes = {**rest, **dict(zip(chain(*parts), chain(*done), strict=False))}
    return [outcomes[place] for place in sorted(outcomes)]


def _told(done: Sequence[list[BulkItem]]) -> str:
    return f"only {sum(map(len, done)):,} servers of the request were put"


def _read(one: Mapping[str, object]) -> BulkServer | BulkItem:
    """What was said of one server of many, or why it can't be understood."""
    try:
        return BulkServer.of(one)
    except WrongRequest as error:
        return BulkItem.refused(error)


def _at(entry: Entry, outcome: BulkItem) -> ListItem:
    found = structs.asdict(outcome)
    if outcome.status not in SAVED:
        found |= {"place": entry.place, "text": entry.text}
    return ListItem(**found)
