"""What there is of some slots: who isn't quiet or had none of its echoes back.

Every function takes a session inside a transaction that its caller ends.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

import msgspec
from sqlalchemy import BigInteger, Executable, Select, and_, bindparam, select
from sqlalchemy.orm import Session

from core.incidents import judge
from core.incidents.judge import NOTHING, Memory
from core.models import DATA, JUDGED, SERVER
from core.servers.exempt import exempt
from core.servers.schedule import Planned, Span, schedules
from core.slots import slot_number
from core.sql import UtcDateTime, as_rows, incoming


class Found(NamedTuple):
    """What there is of some slots: who isn't quiet or had none of its echoes back."""

    revisions: Mapping[int, int]
    memories: Mapping[int, Memory]
    rows: Mapping[int, Mapping[int, int]]
    """How many echoes came back, by server and slot."""
    plans: Mapping[int, Sequence[Planned]]
    exempt: Mapping[int, Sequence[Span]]
    """Which slots aren't judged, from the one before on."""


def look(session: Session, first: datetime, last: datetime) -> Found:
    """Read what the judge is to be asked about in the slots from `first` to `last`."""
    known = _known(session)
    span = {"first": first, "last": last}
    ids = {*known, *session.scalars(NEWLY_BAD if first == last else EVER_BAD, span)}
    if not ids:
        return Found({}, {}, {}, {}, {})
    wanted = span | {"rows": as_rows([one] for one in sorted(ids))}
    now = dict(session.execute(REVISIONS, wanted).all())
    rows: dict[int, dict[int, int]] = defaultdict(dict)
    for server_id, slot, received in session.execute(ROWS, wanted):
        rows[server_id][slot_number(slot)] = received
    low, end = slot_number(first), slot_number(last) + 1
    # Where every slot has its ping nobody asks what was due.
    gaps = [one for one in now if len(rows.get(one, ())) < end - low]
    plans = schedules(session, gaps) if gaps else {}
    return Found(now, _memories(known, now), rows, plans, exempt(session, [*now], low - 1, end))


class _Known(NamedTuple):
    """What is remembered, and the revision of the server of which it is."""

    revision: int
    memory: Memory


def _known(session: Session) -> dict[int, _Known]:
    return {
        server_id: _Known(revision, msgspec.json.decode(memory, type=Memory))
        for server_id, revision, memory in session.execute(select(JUDGED))
    }


def _memories(known: Mapping[int, _Known], now: Mapping[int, int]) -> dict[int, Memory]:
    memories = {}
    for server_id, revision in now.items():
        of_then, memory = known.get(server_id, (revision, NOTHING))
        memories[server_id] = memory if of_then == revision else judge.begun_anew(memory)
    return memories


FIRST = bindparam("first", type_=UtcDateTime())
LAST = bindparam("last", type_=UtcDateTime())
WITHIN = DATA.c.datetime.between(FIRST, LAST)
EVER_BAD = select(DATA.c.server_id).where(WITHIN, DATA.c.received == 0)


def _newly_bad() -> Executable:
    """As EVER_BAD, of one slot: as a rule it is every server's newest, which is said beside it."""
    newest = select(SERVER.c.id).where(SERVER.c.last_slot == LAST, SERVER.c.last_received == 0)
    later = (
        select(SERVER.c.id)
        .join(DATA, and_(DATA.c.server_id == SERVER.c.id, DATA.c.datetime == LAST))
        .where(SERVER.c.last_slot > LAST, DATA.c.received == 0)
    )
    return newest.union_all(later)


def given_servers() -> Select[int]:
    """Select the ids of the servers that a statement is given."""
    return select(incoming({"server_id": BigInteger()}).c.server_id)


NEWLY_BAD = _newly_bad()
# Held before anything is written of them: whoever removes a server does so before or after.
REVISIONS = (
    select(SERVER.c.id, SERVER.c.revision)
    .where(SERVER.c.id.in_(given_servers()))
    .order_by(SERVER.c.id)
    .with_for_update(read=True, key_share=True)
)
ROWS = select(DATA.c.server_id, DATA.c.datetime, DATA.c.received).where(
    DATA.c.server_id.in_(given_servers()), WITHIN
)
