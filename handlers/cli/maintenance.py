"""`flask maintenance` and `flask quiet`: planned work, during which nothing is judged."""

import re
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import click
from flask.cli import AppGroup, with_appcontext

from core.clock import utc_now
from core.incidents import maintenance
from core.incidents.maintenance_records import (
    Maintenance,
    MaintenanceQuery,
    MaintenanceWanted,
    MaintenanceWhen,
    Weekday,
)
from core.reading import iso
from handlers.cli.output import choice, current_database, me, print_table, refusals

HEADER = ["id", "name", "for", "when", "since", "until"]
LENGTH = re.compile("[1-9][0-9]{0,4}[mhd]")
UNITS_S = {"m": 60, "h": 3_600, "d": 86_400}


@click.group("maintenance", cls=AppGroup)
def maintenance_group() -> None:
    """Plan work during which servers are exempt."""


@maintenance_group.command("list")
@click.option("--over", is_flag=True, help="What is over instead, the newest 1,000.")
def list_maintenance(over: bool) -> None:
    """List planned work, with what it holds now or holds next."""
    with refusals(), current_database().reading() as session:
        wanted = MaintenanceQuery(over=over, limit=1_000)
        found = maintenance.page(session, wanted, utc_now()).maintenance
    print_table(HEADER, [_line(one) for one in found])


def _line(one: Maintenance) -> list[object]:
    whom = " ".join([*(f"tag:{tag}" for tag in one.whom.tags), *one.whom.names]) or "all"
    times = [iso(one.next.since), iso(one.next.until)] if one.next else ["", ""]
    return [one.id, one.name, whom, _when(one.when), *times]


def _when(when: MaintenanceWhen) -> str:
    if when.since:
        return "once"
    what = f"{','.join(when.days)} {when.at}" if when.days else when.cron
    return f"{what} {when.zone or 'UTC'}, {when.duration_m} min"


def for_whom(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options that say for which servers."""
    tag = click.option("--tag", "tags", multiple=True, help="Servers that have one of these tags.")
    name = click.option("--name", "names", multiple=True, help="Servers such as eu-*.")
    return tag(name(command))


@maintenance_group.command("add")
@click.argument("name")
@for_whom
@click.option("--since", help="Once: from then, such as 2026-01-02T07:01:00Z.")
@click.option("--until", help="Once: up to then.")
@click.option("--day", "days", multiple=True, type=choice(Weekday), help="Weekly: on that day.")
@click.option("--at", help="Weekly: the time of day, such as 02:30.")
@click.option(
    "--cron", help="By cron: minute, hour, day, month and weekday, such as '0 2 * * 6#1'."
)
@click.option("--minutes", "duration_m", type=int, help="How long it takes, unless it is once.")
@click.option("--zone", help="Such as Europe/Berlin; else UTC.")
@click.option("--counts", is_flag=True, help="Its minutes are part of the uptime.")
def add(name: str, tags: Sequence[str], names: Sequence[str], counts: bool, **when: object) -> None:
    """Plan work: once, weekly or by cron."""
    given = {key: value for key, value in when.items() if value}
    _print_made(name, tags, names, counts=counts, when=given, now=utc_now())


@maintenance_group.command("remove")
@click.argument("maintenance_id", type=click.IntRange(min=1))
def remove(maintenance_id: int) -> None:
    """Remove planned work; what is under way ends with this minute."""
    _remove(maintenance_id)
    click.echo(f"Removed maintenance {maintenance_id}")


@click.command("quiet")
@click.argument("length", required=False)
@for_whom
@click.option("--note", default="quiet", help="What it is for.")
@click.option(
    "--end",
    "ended",
    type=click.IntRange(min=1),
    metavar="ID",
    help="End the one of that id instead.",
)
@with_appcontext
def quiet_command(
    length: str | None, tags: Sequence[str], names: Sequence[str], note: str, ended: int | None
) -> None:
    """Keep servers exempt from now on, such as for 30m, 2h or 1d; print id and end.

    \b
        id=$(flask quiet 30m --tag web | cut -f1)
        ./deploy && flask quiet --end "$id"
    """
    if (length is None) == (ended is None):
        raise click.UsageError("quiet must be given either a length such as 30m, or --end")
    if ended is not None:
        _remove(ended)
        return
    now = utc_now()
    when = {"since": iso(now), "until": iso(now + _length(length or ""))}
    _print_made(note, tags, names, counts=False, when=when, now=now)


def _length(text: str) -> timedelta:
    if not LENGTH.fullmatch(text):
        raise click.UsageError(f"length must be a number of m, h or d such as 30m, got {text!r}")
    return timedelta(seconds=int(text[:-1]) * UNITS_S[text[-1]])


def _print_made(
    name: str, tags: Sequence[str], names: Sequence[str], *, now: datetime, **more: Any
) -> None:
    """Make it, and print its id and when it ends, or ends next."""
    whom_of = {"tags": list(tags), "names": list(names)}
    with refusals():
        wanted = MaintenanceWanted.of({"name": name, "for": whom_of, **more})
        make = partial(maintenance.make, wanted=wanted, who=me(), now=now)
        maintenance_id = current_database().write(make)
        with current_database().reading() as session:
            found = maintenance.told(session, maintenance_id, now)
    click.echo(f"{found.id}\t{iso(found.next.until) if found.next else ''}")


def _remove(maintenance_id: int) -> None:
    with refusals():
        do = partial(maintenance.remove, maintenance_id=maintenance_id, now=utc_now())
        current_database().write(do)
