"""`flask incidents`: what is wrong, and what was."""

from collections.abc import Sequence
from functools import partial

import click
from flask.cli import AppGroup

from core.clock import utc_now
from core.incidents import change, find
from core.incidents.records import (
    Acknowledgement,
    Comment,
    Extent,
    Incident,
    IncidentsQuery,
    Resolution,
    Standing,
)
from core.reading import iso
from handlers.cli.output import current_database, me, print_table, refusals

HEADER = ["id", "state", "server", "since", "until", "minutes", "reason"]


@click.group("incidents", cls=AppGroup)
def incidents_group() -> None:
    """List incidents, acknowledge them, resolve them by hand."""


@incidents_group.command("list")
@click.option(
    "--all", "every", is_flag=True, help="Also those that are resolved, the newest 1,000."
)
def list_incidents(every: bool) -> None:
    """List the open incidents."""
    now = utc_now()
    with refusals(), current_database().reading() as session:
        wanted = IncidentsQuery(limit=1_000)
        found: Sequence[Incident] = (
            find.page(session, wanted, now).incidents if every else find.open_ones(session, now)
        )
    print_table(HEADER, [_line(one) for one in found])


def _line(one: Incident) -> list[object]:
    state = "flapping" if one.flapping else one.state
    if one.acked_by and one.state is Standing.OPEN:
        state = f"{state}, {one.acked_by} looks after it"
    until = iso(one.resolved) if one.resolved else ""
    why = one.detail or one.reason or ""
    if one.held:
        state = f"{state}, held"
    return [one.id, state, what(one), iso(one.opened), until, one.duration_s // 60, why]


def what(one: Incident) -> str:
    """Say of what an incident is."""
    if one.server:
        return one.server.name
    if one.extent is Extent.US:
        return "our own network"
    of = {
        Extent.PARENT: f"behind {one.parent.name if one.parent else ''}",
        Extent.TAG: f"tag {one.tag}",
        Extent.NETWORK: f"network {one.network}",
        Extent.ALL: "all servers",
    }
    return f"{of[one.extent]} ({one.servers})"


@incidents_group.command("show")
@click.argument("incident_id", type=click.IntRange(min=1))
def show_incident(incident_id: int) -> None:
    """Show an incident's timeline, and the servers that it is of where it is a group's."""
    with refusals(), current_database().reading() as session:
        told = find.told(session, incident_id, utc_now())
    rows = [[iso(one.at), one.kind, one.who or "", one.note or ""] for one in told.timeline]
    print_table(["at", "what", "who", "note"], rows)
    members = [
        [one.server.name, iso(one.since), iso(one.until) if one.until else ""]
        for one in told.members
    ]
    if members:
        print_table(["server", "since", "until"], members)


noted = click.option("--note", help="What there is to say, at most 1,000 characters.")


@incidents_group.command("ack")
@click.argument("incident_id", type=click.IntRange(min=1))
@click.option("--until", help="A time such as 2026-01-02T07:01:00Z; else until it is resolved.")
@noted
def acknowledge(incident_id: int, until: str | None, note: str | None) -> None:
    """Say that you look after an open incident."""
    with refusals():
        wanted = Acknowledgement.of({"until": until, "note": note})
        do = partial(
            change.acknowledge, incident_id=incident_id, wanted=wanted, who=me(), now=utc_now()
        )
        current_database().write(do)
    click.echo(f"You look after incident {incident_id}")


@incidents_group.command("unack")
@click.argument("incident_id", type=click.IntRange(min=1))
def unacknowledge(incident_id: int) -> None:
    """Take an acknowledgement back."""
    with refusals():
        do = partial(change.unacknowledge, incident_id=incident_id, who=me(), now=utc_now())
        current_database().write(do)
    click.echo(f"Nobody looks after incident {incident_id}")


@incidents_group.command("resolve")
@click.argument("incident_id", type=click.IntRange(min=1))
@noted
def resolve(incident_id: int, note: str | None) -> None:
    """Resolve an open incident by hand: new bad slots open another."""
    with refusals():
        wanted = Resolution.of({"note": note})
        do = partial(
            change.resolve, incident_id=incident_id, wanted=wanted, who=me(), now=utc_now()
        )
        current_database().write(do)
    click.echo(f"Resolved incident {incident_id}")


@incidents_group.command("comment")
@click.argument("incident_id", type=click.IntRange(min=1))
@click.argument("text")
def comment(incident_id: int, text: str) -> None:
    """Write a line into an incident's timeline."""
    with refusals():
        wanted = Comment.of({"note": text})
        do = partial(
            change.comment, incident_id=incident_id, wanted=wanted, who=me(), now=utc_now()
        )
        current_database().write(do)
    click.echo(f"Commented on incident {incident_id}")
