"""`flask servers`: add, list, remove, import and export servers."""

import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import BinaryIO, TextIO

import click
from flask.cli import AppGroup

from core.checks.records import Probe
from core.clock import utc_now
from core.export import give, take_list
from core.history import reasons
from core.reading import iso
from core.servers import change, find, lists
from core.servers.records import ServerWanted, Standing, server_name
from handlers import steps
from handlers.cli.output import (
    choice,
    counted,
    current_database,
    current_settings,
    print_table,
    refusals,
    shown_ms,
)

FORMATS = click.Choice(["csv", "json"])


@click.group("servers", cls=AppGroup)
def servers_group() -> None:
    """Add, list, remove, import and export servers."""


@servers_group.command("add")
@click.argument("name")
@click.argument("ip", metavar="IP")
@click.option("--probe", "how", type=choice(Probe), help="How to probe the server.")
@click.option("--port", type=click.IntRange(1, 65_535), help="TCP port to probe.")
@click.option("--tag", "tags", multiple=True, help="Tag the server; may be given several times.")
@click.option("--parent", help="The server behind which it stands, such as its switch.")
def add(  # pylint: disable=too-many-arguments, too-many-positional-arguments
    name: str,
    ip: str,
    how: str | None,
    port: int | None,
    tags: Sequence[str],
    parent: str | None,
) -> None:
    """Add a server."""
    given = {"name": name, "ip": ip, "probe": how, "port": port, "tags": tags, "parent": parent}
    with refusals():
        wanted = ServerWanted.of({key: value for key, value in given.items() if value is not None})
        add_it = partial(change.add, wanted=wanted, settings=current_settings(), now=utc_now())
        current_database().write(add_it)
    click.echo(f"Added {wanted.name} ({wanted.ip})")


@servers_group.command("list")
@click.option("--tag", help="Only those with that tag.")
def list_servers(tag: str | None) -> None:
    """List the servers with their state and latest ping."""
    with refusals(), current_database().reading() as session:
        now = utc_now()
        every = find.standings(session, now)
        servers = [one for one in every if tag is None or tag.lower() in one.tags]
        causes = reasons.of_servers(session, servers, now)
    rows = [_line(server, causes.get(server.id)) for server in servers]
    print_table(["name", "IP", "state", "ms", "slot", "reason", "tags", "parent"], rows)


def _line(server: Standing, cause: reasons.Cause | None) -> list[str]:
    slot, ms = "", None
    if server.last_ping:
        slot, ms = iso(server.last_ping.slot), server.last_ping.response_ms
    why = cause.detail if cause else ""
    said = [server.name, server.ip, server.state, shown_ms(ms), slot, why]
    return [*said, " ".join(server.tags), server.parent or ""]


@servers_group.command("remove")
@click.argument("name")
@click.option("--yes", is_flag=True, help="Don't ask for confirmation.")
def remove(name: str, yes: bool) -> None:
    """Remove a server and all its history."""
    with refusals():
        wanted = server_name(name)
        if not yes:
            with current_database().reading() as session:
                find.by_name(session, wanted)
            click.confirm(f"Remove {wanted} and all its history?", abort=True)
        children = current_database().write(partial(change.remove, name=wanted))
    told = f"; {counted(children, 'server')} had it as a parent" if children else ""
    click.echo(f"Removed {wanted}{told}")


@servers_group.command("import")
@click.argument("file", type=click.File("rb"))
@click.option("--update", is_flag=True, help="Change the servers that exist already.")
@click.option("--format", "_kind", type=FORMATS, hidden=True)  # ignored: FILE itself says it
def import_servers(file: BinaryIO, update: bool, _kind: str | None) -> None:
    """Add the servers in FILE (`-` for standard input). If one is invalid, none is added.

    FILE is CSV or JSON: what `export` and /api/v1/export write, or lines such as web,192.0.2.10.
    The first line may name the columns: name, ip, probe, port, interval_s, enabled, tags, parent.
    Between tags stand blanks; a parent may come later in FILE.
    """
    with refusals():
        entries = lists.read(file.read(), bounded=False)
        with current_database().reading() as session:
            parts = take_list.steps(session, entries, current_settings(), utc_now(), upsert=update)
        done = steps.each(current_database(), parts, _told)
    changed = f", changed {counted(_sum(done)['UPDATED'], 'server')}" if update else ""
    click.echo(f"Added {counted(_sum(done)['CREATED'], 'server')}{changed}")


def _sum(done: Sequence[Counter[str]]) -> Counter[str]:
    return sum(done, Counter())


def _told(done: Sequence[Counter[str]]) -> str:
    so_far = _sum(done)
    figures = f"added {so_far['CREATED']:,}, changed {so_far['UPDATED']:,}"
    return f"servers so far: {figures}; to go on, import the same file with --update"


@servers_group.command("export")
@click.argument("file", type=click.File("w", encoding="utf-8"), default="-")
@click.option(
    "--format",
    "kind",
    type=FORMATS,
    help="Default: json if the file name ends in .json, else csv.",
)
def export_servers(file: TextIO, kind: str | None) -> None:
    """Write the servers to FILE (default: standard output), for `import` and spreadsheets."""
    with refusals(), current_database().reading() as session:
        found = give.plain(session, utc_now()).values()
    is_json = (kind or _format(file.name)) == "json"
    _write(file, lists.to_json(found) if is_json else lists.to_csv(found))


def _write(file: TextIO, written: str) -> None:
    """Write all of it; where that can't be done, one line says so."""
    try:
        file.write(written)
        file.flush()
    except OSError as error:
        with suppress(OSError):
            file.close()  # or what is left would be tried once more at the end, with a traceback
        if isinstance(error, BrokenPipeError):  # nobody reads on, as in `| head`
            sys.exit(1)
        raise click.ClickException(f"{file.name} can't be written: {error.strerror}") from error


def _format(name: str) -> str:
    return "json" if name.endswith(".json") else "csv"
