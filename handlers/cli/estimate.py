"""`flask estimate`: what a month costs on AWS."""

from dataclasses import replace

import click
from flask.cli import with_appcontext

from core.servers import find
from handlers.cli.output import current_database, print_table, refusals
from infra import estimate


@click.command("estimate")
@click.option(
    "--servers",
    "number",
    type=click.IntRange(1),
    help="Number of servers. Default: as many as are in the database.",
)
@click.option(
    "--every",
    type=click.IntRange(60, 86_400),
    default=60,
    show_default=True,
    help="Seconds between two pings of a server.",
)
@click.option(
    "--requests",
    type=click.IntRange(0),
    default=100_000,
    show_default=True,
    help="API requests a month.",
)
@click.option(
    "--database",
    type=click.Choice(estimate.DATABASES),
    default=estimate.DATABASES[0],
    show_default=True,
    help="Where the database runs; see docs/deploy.md.",
)
@with_appcontext
def estimate_command(number: int | None, every: int, requests: int, database: str) -> None:
    """Estimate what a fleet costs on AWS in a month, item by item.

    Prints two figures: one if every server answers, and one if a server in each call is silent, so
    that every prober waits for four timeouts.
    """
    with refusals():
        if number is None:
            with current_database().reading() as session:
                number = len(find.names(session)) or 1
        fleet = estimate.Fleet(number, every, api_requests=requests, database=database)
        silent = estimate.estimate(fleet)
        healthy = estimate.estimate(replace(fleet, probe_wait_s=estimate.ALL_ANSWER_S))
    rows = [
        [good.what, _units(bad.amount), bad.unit, f"{good.dollars:.2f}", f"{bad.dollars:.2f}"]
        for good, bad in zip(healthy.lines, silent.lines, strict=True)
    ]
    rows.append(["total", "", "", f"{healthy.total:.2f}", f"{silent.total:.2f}"])
    print_table(["", "units", "unit", "$ all answer", "$ some silent"], rows)
    click.echo(f"history at full retention: {estimate.stored_gb(fleet):.1f} GB", err=True)


def _units(amount: float) -> str:
    return f"{amount:,.0f}" if amount >= 10 else f"{amount:.2g}"
