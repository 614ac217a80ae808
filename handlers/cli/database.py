"""`flask db` and `flask demo`."""

from functools import partial
from pathlib import Path

import click
from flask.cli import AppGroup, with_appcontext

from core.clock import utc_now
from core.models import SCHEMA_VERSION
from handlers.cli import demo
from handlers.cli.output import (
    counted,
    current_database,
    current_settings,
    items_bar,
    progress_bar,
    refusals,
)
from infra import backup as backups

percent_bar = partial(progress_bar, backups.PARTS)


@click.group("db", cls=AppGroup)
def db_group() -> None:
    """Manage the database."""


@db_group.command("upgrade")
def upgrade() -> None:
    """Upgrade the tables to this release."""
    with refusals():
        current_database().upgrade()
    click.echo(f"The tables are at version {SCHEMA_VERSION}")


@db_group.command("backup")
@click.argument("file", type=click.Path(path_type=Path))
def backup(file: Path) -> None:
    """Copy an SQLite database into a new FILE, while Pinglet runs."""
    with refusals():
        servers = backups.back_up(current_database(), file, percent_bar)
    click.echo(f"Backed up {counted(servers, 'server')} to {file}")


@db_group.command("restore")
@click.argument("file", type=click.Path(path_type=Path))
def restore(file: Path) -> None:
    """Put the backup FILE into an SQLite database, while Pinglet runs.

    What was there is kept beside it, in a file whose name ends in .before-restore.
    """
    with refusals():
        done = backups.restore(current_database(), file, percent_bar)
    kept = f"; what was there is in {done.kept}" if done.kept else ""
    again = "; start Pinglet again if it is running" if done.is_another_file else ""
    click.echo(f"Restored {counted(done.servers, 'server')} from {file}{kept}{again}")


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
