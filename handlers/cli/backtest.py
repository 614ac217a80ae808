"""`flask rules test`: what a draft of a rule would have made of the past."""

from collections.abc import Sequence
from typing import BinaryIO

import click
from flask.cli import with_appcontext

from core.clock import utc_now
from core.incidents import backtest
from core.incidents.backtest import Trial
from core.incidents.records import MOST_DAYS, Backtest, BacktestWanted, Effect, Outage
from core.reading import iso, read_json
from handlers.cli.output import (
    counted,
    current_database,
    current_settings,
    items_bar,
    print_table,
    refusals,
)


@click.command("test")
@click.argument("file", type=click.File("rb"))
@click.option(
    "--days",
    type=click.IntRange(1, MOST_DAYS),
    default=30,
    show_default=True,
    help="How far back; no further than history is kept.",
)
@click.option(
    "--zone", default="UTC", show_default=True, help="By whose clock, such as Europe/Prague."
)
@with_appcontext
def test_command(file: BinaryIO, days: int, zone: str) -> None:
    """Say what the rule in FILE would have made of the past, beside the rules in force."""
    with refusals():
        given = {"rule": read_json(file.read()), "days": days, "zone": zone}
        found = _tried(BacktestWanted.of(given))
    _tell(found)


def _tried(wanted: BacktestWanted) -> Backtest:
    database = current_database()
    with database.reading() as session:
        plan = backtest.plan(session, wanted, current_settings().keep_days, utc_now())
    trial = Trial(plan)
    with items_bar(list(plan.portions), "Days are read") as portions:
        for some in portions:
            with database.reading() as session:
                trial.add(session, some)
    return trial.told()


def _tell(found: Backtest) -> None:
    servers, outages = counted(found.servers, "server"), counted(found.outages, "outage")
    click.echo(
        f"{servers} from {iso(found.since)} to {iso(found.until)}, "
        f"{outages} of ten minutes or more; hours are those of {found.zone}"
    )
    both = found.draft, found.in_force
    print_table(["", "draft", "in force"], [[what, *map(tell, both)] for what, tell in LINES])
    click.echo("\nBy hour of the day")
    hours = zip(range(24), found.draft.hours, found.in_force.hours, strict=True)
    print_table(["hour", "draft", "in force"], [[f"{hour:02}", *two] for hour, *two in hours])
    for title, effect in ("the draft", found.draft), ("the rules in force", found.in_force):
        _tell_servers(f"\nMost incidents by {title}", effect)
        _tell_outages(f"\nOutages that {title} would have missed", effect.outages)


def _tell_servers(title: str, effect: Effect) -> None:
    if effect.servers:
        click.echo(title)
        rows = [[one.server.name, one.incidents, one.duration_s // 60] for one in effect.servers]
        print_table(["server", "incidents", "minutes"], rows)


def _tell_outages(title: str, outages: Sequence[Outage]) -> None:
    if outages:
        click.echo(title)
        rows = [[one.server.name, iso(one.since), one.duration_s // 60] for one in outages]
        print_table(["server", "since", "minutes"], rows)


def _longest(effect: Effect) -> str:
    one = effect.longest
    return f"{_minutes(one.duration_s)}, {one.server.name}, {iso(one.since)}" if one else "-"


def _minutes(duration_s: int | None) -> str:
    return "-" if duration_s is None else f"{duration_s / 60:g} min"


LINES = (
    ("rules", lambda one: ", ".join(one.rules) or "none of this kind"),
    ("incidents", lambda one: one.incidents),
    ("opened again", lambda one: one.flaps),
    ("nights woken", lambda one: one.nights),
    ("delay, median", lambda one: _minutes(one.delay_median_s)),
    ("delay, worst", lambda one: _minutes(one.delay_worst_s)),
    ("longest", _longest),
    ("outages missed", lambda one: one.missed),
)
