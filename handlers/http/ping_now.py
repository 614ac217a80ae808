"""Ping a server now, with the real engine. Loaded at first use: the engine costs a cold start."""

from collections.abc import Sequence

from core.checks.records import EchoShown, Ping, PingNow, State, Unobserved
from core.errors import Forbidden
from core.probe import Echo
from core.rounds import measure
from core.servers import find
from handlers.instance import Instance


def ping_now(here: Instance, server_id: int) -> PingNow:
    """Ping a server now and show each echo; nothing is stored."""
    if not here.settings.ping_now:
        # Every echo would be lost on the way out, and a server that is up shown as down.
        raise Forbidden("this deployment's API can't reach the servers: only its rounds ping them")
    with here.database.reading() as session:
        target = find.target(session, server_id)
    # No connection is held while the echoes are out.
    echoes, outcome = measure.ping_once(target, measure.pace(here.settings))
    return _shown(echoes, outcome)


def _shown(echoes: Sequence[Echo], outcome: Ping | Unobserved) -> PingNow:
    lines = [EchoShown(**echo._asdict()) for echo in echoes]
    if isinstance(outcome, Unobserved):
        return PingNow(
            state=State.UNOBSERVED,
            probe=None,
            response_ms=None,
            port=None,
            echoes=lines,
            reason=outcome.reason,
            detail=outcome.detail,
        )
    return PingNow(
        state=outcome.state,
        probe=outcome.probe,
        response_ms=outcome.response_ms,
        port=outcome.port,
        echoes=lines,
        reason=outcome.reason,
        detail=outcome.detail or None,
    )
