"""/api/v1/rules: when bad is bad enough, and for whom; /api/v1/events: who changed that."""

from functools import partial
from http import HTTPStatus

from core.clock import utc_now
from core.incidents import events, rulebook
from core.incidents.records import EventPage, EventsQuery
from core.incidents.rules import Rule, RuleList, RuleListed
from handlers.http.gate import whoami
from handlers.http.routes import ADMIN, READ, Done, Routes
from handlers.instance import Instance

ROUTES = Routes()
RULES, RULE = "/api/v1/rules", "/api/v1/rules/<int:rule_id>"
UNKNOWN, TAKEN = HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT
DELETED = Done(status="DELETED")


@ROUTES("GET", RULES, may=READ, gives=RuleList, fresh=True)
def listed(here: Instance) -> RuleList:
    """List the rules that somebody made, the oldest first."""
    with here.database.reading() as session:
        return RuleList(rules=rulebook.everything(session))


@ROUTES(
    "POST",
    RULES,
    may=ADMIN,
    takes=Rule,
    gives=RuleListed,
    status=HTTPStatus.CREATED,
    errors=[TAKEN],
    location=lambda made: f"{RULES}/{made.id}",
)
def make(here: Instance, wanted: Rule) -> RuleListed:
    """Make a rule; it holds from the next slot on."""
    return here.database.write(
        partial(rulebook.make, wanted=wanted, who=whoami().name, now=utc_now())
    )


@ROUTES("GET", RULE, may=READ, gives=RuleListed, errors=[UNKNOWN], fresh=True)
def show(here: Instance, rule_id: int) -> RuleListed:
    """Show a rule."""
    with here.database.reading() as session:
        return rulebook.find(session, rule_id)


@ROUTES("PUT", RULE, may=ADMIN, takes=Rule, gives=RuleListed, errors=[UNKNOWN, TAKEN])
def change(here: Instance, wanted: Rule, rule_id: int) -> RuleListed:
    """Replace a rule from the next slot on; what is open keeps what it was opened by."""
    who, now = whoami().name, utc_now()
    return here.database.write(
        partial(rulebook.change, rule_id=rule_id, wanted=wanted, who=who, now=now)
    )


@ROUTES("DELETE", RULE, may=ADMIN, gives=Done, errors=[UNKNOWN])
def remove(here: Instance, rule_id: int) -> Done:
    """Delete a rule; what is open under it is resolved with the next slot."""
    who, now = whoami().name, utc_now()
    here.database.write(partial(rulebook.remove, rule_id=rule_id, who=who, now=now))
    return DELETED


@ROUTES("GET", "/api/v1/events", may=ADMIN, query=EventsQuery, gives=EventPage, fresh=True)
def list_events(here: Instance, wanted: EventsQuery) -> EventPage:
    """List who changed rules, the newest first."""
    with here.database.reading() as session:
        return events.page(session, wanted)
