"""`flask worker` and `flask tidy`."""

import asyncio
import sys

import click
from flask.cli import with_appcontext

from core import slots
from core.checks.records import State
from core.clock import utc_now
from core.rounds import gateway, measure
from core.servers import find
from handlers.cli.output import (
    counted,
    current_database,
    current_instance,
    current_settings,
    items_bar,
    print_table,
    progress_bar,
    refusals,
    shown_ms,
)
from handlers.worker import rounds, upkeep
from handlers.worker.rounds import RoundReport
from infra import patience


@click.command("worker")
@click.option("--once", is_flag=True, help="Run one round, print it and exit.")
@with_appcontext
def worker_command(once: bool) -> None:
    """Ping the servers, one round a minute, until you press Ctrl-C.

    With --once, the exit code is 1 if a server could not be observed.
    """
    if not once:
        click.echo("Running one round a minute; press Ctrl-C to stop", err=True)
        rounds.run_until_interrupted(current_instance())
        return
    with refusals():
        wall = utc_now()
        slot = slots.slot_of(wall)
        rounds.check_clock(current_database(), wall)
        targets = rounds.due(current_database(), slot)
        asked = len(targets) and len(targets) + len(gateway.witnesses(current_settings()))
        with progress_bar(asked * measure.ECHOES, "Pinging") as progress:
            done = asyncio.run(rounds.run_round(current_instance(), slot, targets, progress))
        with current_database().reading() as session:
            names = {server.id: server.name for server in find.everything(session)}
    _print_round(done, names)
    sys.exit(1 if done.unobserved else 0)


def _print_round(done: RoundReport, names: dict[int, str]) -> None:
    outcomes = {
        ping.server_id: (
            ping.state,
            shown_ms(ping.response_ms),
            f"{ping.received}/{ping.sent}",
            ping.detail,
        )
        for ping in done.pings
    }
    outcomes |= {
        lost.server_id: (State.UNOBSERVED, "", "", lost.detail) for lost in done.unobserved
    }
    rows = [
        (names.get(target.server_id, "(removed)"), target.ip, *outcomes[target.server_id])
        for target in done.targets
    ]
    print_table(["name", "IP", "state", "ms", "echoes", "reason"], rows)
    click.echo(f"{done}; {counted(done.recorded, 'new row')}", err=True)


@click.command("tidy")
@click.option(
    "--clock-is-right",
    is_flag=True,
    help="Believe this machine's clock, whatever speaks against it.",
)
@with_appcontext
def tidy_command(clock_is_right: bool) -> None:
    """Pack the days that are over and remove history older than the settings keep.

    The worker does this every night by itself. It measures by the time that its rounds vouch for:
    after a gap removal waits, until they have shown that the clock is right or you say so.
    """
    here = current_instance()
    with refusals():
        if clock_is_right:
            with patience.of(patience.of_job(here.settings)):
                rounds.believe_clock(here.database, utc_now())
        with items_bar(upkeep.plan_vouched(here), "Tidying") as progress:
            done = sum((step() for step in progress), upkeep.Tidied())
    click.echo(str(done))
