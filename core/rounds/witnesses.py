"""Witnesses: is it us? Addresses that answer as long as our own network works.

A witness counts once it has answered within the last hour in which anything came back: while
nothing does we can't see, however long that takes. One that doesn't answer is left out.

Every function takes a session inside a transaction that its caller ends.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from sqlalchemy import Row, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from core.checks.records import Ping, Reason, Unobserved
from core.incidents import blind
from core.incidents.late import hold_recording
from core.models import WITNESS

COUNTS = timedelta(hours=1)
NOTED = timedelta(minutes=10)
"""What was noted so recently isn't noted anew: few rounds write."""
LOOKED_BACK = timedelta(days=1)

Known = Mapping[str, Row[str, datetime, datetime | None]]


def weigh(
    session: Session, slot: datetime, pings: Sequence[Ping], heard: Mapping[str, bool]
) -> tuple[Sequence[Ping], list[Unobserved]]:
    """Return which pings of a batch count, and who is unobserved, as no witness answered.

    `heard` says of each witness that was asked with them whether it did. What came back counts all
    the same; while nothing else does, an incident says that we can't see.
    """
    if not heard:
        return pings, []
    query = select(WITNESS.c.ip, WITNESS.c.asked, WITNESS.c.answered)
    known = {row.ip: row for row in session.execute(query.where(WITNESS.c.ip.in_(heard)))}
    answered = sorted(ip for ip, did in heard.items() if did)
    counting = sorted(ip for ip, row in known.items() if _counts(row.asked, row.answered))
    lost = [] if answered or not counting else [ping for ping in pings if _is_lost(ping)]
    if answered:
        blind.see_again(session, slot, answered)
    if lost:
        blind.see_nothing(session, slot, counting)
    _note(session, slot, heard, known, is_seeing=bool(answered) or not all(map(_is_lost, pings)))
    if not lost:
        return pings, []
    detail = f"no witness answered: {', '.join(counting)}"
    unobserved = [Unobserved(ping.server_id, detail, Reason.OUR_NETWORK) for ping in lost]
    return [ping for ping in pings if not _is_lost(ping)], unobserved


def left_out(session: Session, now: datetime) -> list[str]:
    """Return the witnesses that were asked within a day and don't count."""
    asked = WITNESS.c.asked > now - LOOKED_BACK
    rows = session.execute(select(WITNESS).where(asked).order_by(WITNESS.c.ip))
    return [row.ip for row in rows if not _counts(row.asked, row.answered)]


def _counts(asked: datetime, answered: datetime | None) -> bool:
    return answered is not None and answered >= asked - COUNTS


def _is_lost(ping: Ping) -> bool:
    """Whether nothing came back. Whose service refused has answered."""
    return ping.received == 0 and ping.reason != Reason.REFUSED


def _note(
    session: Session, slot: datetime, heard: Mapping[str, bool], known: Known, *, is_seeing: bool
) -> None:
    """Note who answered, and who was asked while anything came back."""
    news = {
        ip: did
        for ip, did in sorted(heard.items())
        if _is_news(slot, known.get(ip), did=did, is_seeing=is_seeing)
    }
    if not news:
        return
    hold_recording(session, slot)  # before any row, as whoever says that we can't see does
    for ip, did in news.items():
        new = insert(WITNESS).values(ip=ip, asked=slot, answered=slot if did else None)
        session.execute(new.on_conflict_do_nothing())
        said = {"asked": slot} if is_seeing else {}
        said |= {"answered": slot} if did else {}
        if ip in known:
            session.execute(update(WITNESS).where(WITNESS.c.ip == ip).values(**said))


def _is_news(
    slot: datetime, row: Row[str, datetime, datetime | None] | None, *, did: bool, is_seeing: bool
) -> bool:
    if row is None:
        return True
    if did and (row.answered is None or slot - row.answered >= NOTED):
        return True
    return is_seeing and slot - row.asked >= NOTED
