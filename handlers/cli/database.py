"""`flask db` and `flask demo`."""

from functools import partial

import click
from flask.cli import AppGroup, with_appcontext

from core.clock import utc_now
from core.models import SCHEMA_VERSION
from handlers.cli import demo
from handlers.cli.output import counted, current_database, current_settings, items_bar, refusals


@click.group("db", cls=AppGroup)
def db_group() -> None:
    """Manage the database."""


@db_group.command("upgrade")
def upgrade() -> None:
    """Upgrade the tables to this release."""
    with refusals():
        current_database().upgrade()
    click.echo(f"The tables are at version {SCHEMA_VERSION}")


@click.command("demo")
@click.option(
    "--days",
    type=click.IntRange(1, 30),
    default=3,
    show_default=True,
    help="Days of history to make up.",
)
@with_appcontext
def demo_command(days: int) -> None:
    """Add a few servers in 127.0.0.0/8 with some days of made-up history.

    Their names begin with "demo". Remove them with `flask servers remove`.
    """
    with refusals():
        now = utc_now()
        create = partial(demo.create_servers, settings=current_settings(), now=now, days=days)
        ids = current_database().write(create)
        rounds_made = demo.made_up_rounds(ids, now, days)
        with items_bar(rounds_made, "Making up history") as progress:
            for chunk in progress:
                current_database().write(partial(demo.record, chunk=chunk))
    click.echo(
        f"Added {counted(len(demo.SERVERS), 'server')} with {counted(days, 'day')} of made-up "
        "history; list them with: flask servers list"
    )
