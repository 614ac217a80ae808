"""Rounds for tests of incidents: who begins them, what arrives, what is told then."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import select

from core.checks.records import Ping, Reason, Unobserved
from core.incidents import announce
from core.models import INCIDENT
from core.rounds import record
from core.slots import slot_number
from infra.database import Database
from tests.infra.rows import MINUTE, SLOT, ping

UP, DOWN, LOST = "g", "b", "x"


def found(server_id: int, letter: str) -> tuple[list[Ping], list[Unobserved]]:
    """Return what a prober says of a server."""
    if letter == LOST:
        return [], [Unobserved(server_id, "no route", Reason.LOCAL)]
    return [ping(server_id, 1.0 if letter == UP else None)], []


def arrive(database: Database, slot: datetime, seen: Sequence[tuple[int, str]]) -> None:
    """Record a batch, and announce what there is to announce."""
    pings, lost = [], []
    for one in seen:
        some, others = found(*one)
        pings += some
        lost += others
    with database.transaction() as session:
        record.record(session, slot, pings, unobserved=lost)
    with database.transaction() as session:
        announce.announce(session, slot)


def begin(database: Database, slot: datetime) -> None:
    with database.transaction() as session:
        announce.close(session, slot)


def minutes(database: Database, server_id: int, letters: str, first: datetime = SLOT) -> datetime:
    """Have a server looked at each minute, in order; return the slot after."""
    slot = first
    for letter in letters:
        begin(database, slot)
        arrive(database, slot, [(server_id, letter)])
        slot += MINUTE
    return slot


class Told(NamedTuple):
    """An incident, in slots since SLOT."""

    opened: int
    confirmed: int
    resolved: int | None
    how: str | None
    flaps: int


def told(database: Database) -> list[Told]:
    columns = INCIDENT.c.opened, INCIDENT.c.confirmed, INCIDENT.c.resolved, INCIDENT.c.how
    zero = slot_number(SLOT)
    with database.reading() as session:
        rows = session.execute(select(*columns, INCIDENT.c.flaps).order_by(INCIDENT.c.id))
        return [
            Told(*(one and slot_number(one) - zero for one in slots), how, flaps)
            for *slots, how, flaps in rows
        ]
