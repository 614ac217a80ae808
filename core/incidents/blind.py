"""We can't see: the incident of our own network, one at a time.

Every function takes a session inside a transaction that its caller ends.
"""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Row, select, update
from sqlalchemy.orm import Session

from core.incidents.change import hold_announcing
from core.incidents.judge import REOPEN_M
from core.incidents.records import Extent, How, Kind
from core.incidents.standing import IS_OPEN, LET_GO
from core.incidents.timeline import note
from core.models import INCIDENT
from core.slots import SLOT

RULE, SEVERITY, KIND = "witnesses", "critical", "coverage_pct"
"""What nobody observed is what rules of that kind look at."""
NEWEST = (
    select(INCIDENT.c.id, INCIDENT.c.opened, INCIDENT.c.resolved, INCIDENT.c.how)
    .where(INCIDENT.c.extent == Extent.US.value)
    .order_by(INCIDENT.c.id.desc())
    .limit(1)
)


def see_nothing(session: Session, slot: datetime, witnesses: Sequence[str]) -> None:
    """Open the incident, as none of these answered in `slot`; soon after its end, open it again.

    What comes late, of a slot before its end, changes nothing.
    """
    hold_announcing(session)
    newest = session.execute(NEWEST).first()
    if newest and (newest.resolved is None or newest.resolved >= slot):
        return
    said = f"no answer from {', '.join(witnesses)}"
    if newest and newest.how == How.GOOD and slot - newest.resolved <= REOPEN_M * SLOT:
        again = {"resolved": None, "how": None, "flaps": INCIDENT.c.flaps + 1}
        session.execute(update(INCIDENT).where(INCIDENT.c.id == newest.id).values(**again))
        note(session, slot, Kind.REOPENED, {newest.id: said})
        return
    new = {"rule": RULE, "severity": SEVERITY, "kind": KIND, "extent": Extent.US.value, "name": ""}
    new |= {"detail": said}
    times = {"opened": slot, "confirmed": slot, "flaps": 0, "is_flapping": False}
    session.execute(INCIDENT.insert().values(**new, **times))
    opened = session.execute(NEWEST).one()
    note(session, slot, Kind.OPENED, {opened.id: said})


def see_again(session: Session, slot: datetime, witnesses: Sequence[str]) -> None:
    """Resolve the incident, as these answered in `slot`."""
    if _open_before(session, slot) is None:
        return
    hold_announcing(session)
    found = _open_before(session, slot)
    if found is None:
        return
    over = {"resolved": slot, "how": How.GOOD.value, **LET_GO}
    session.execute(update(INCIDENT).where(INCIDENT.c.id == found.id).values(**over))
    note(session, slot, Kind.RESOLVED, {found.id: f"{', '.join(witnesses)} answered"})


def _open_before(session: Session, slot: datetime) -> Row[int, datetime, datetime, str] | None:
    return session.execute(NEWEST.where(IS_OPEN, INCIDENT.c.opened < slot)).first()
