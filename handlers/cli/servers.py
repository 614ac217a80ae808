"""`flask servers`: add, list, remove, import and export servers."""

import csv
import io
import json
import sys
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, TextIO

import click
from flask.cli import AppGroup
from sqlalchemy.orm import Session

from core.checks.records import Probe
from core.clock import utc_now
from core.errors import CoreError, WrongRequest
from core.models import Server
from core.reading import iso, read_json
from core.servers import change, find
from core.servers.records import BulkServer, ServerWanted, Standing, server_name
from handlers.cli.output import (
    bar,
    choice,
    counted,
    current_database,
    current_settings,
    print_table,
    refusals,
    shown_ms,
)

COLUMNS = ["name", "IP", "probe", "port"]


@click.group("servers", cls=AppGroup)
def servers_group() -> None:
    """Add, list, remove, import and export servers."""


@servers_group.command("add")
@click.argument("name")
@click.argument("ip", metavar="IP")
@click.option("--probe", "how", type=choice(Probe), help="How to probe the server.")
@click.option("--port", type=click.IntRange(1, 65_535), help="TCP port to probe.")
def add(name: str, ip: str, how: str | None, port: int | None) -> None:
    """Add a server."""
    given = {"name": name, "ip": ip, "probe": how, "port": port}
    with refusals():
        wanted = ServerWanted.of({key: value for key, value in given.items() if value is not None})
        with current_database().transaction() as session:
            change.add(session, wanted, current_settings(), utc_now())
    click.echo(f"Added {wanted.name} ({wanted.ip})")


@servers_group.command("list")
def list_servers() -> None:
    """List the servers with their state and latest ping."""
    with refusals(), current_database().reading() as session:
        rows = [_line(server) for server in find.standings(session, utc_now())]
    print_table(["name", "IP", "state", "ms", "slot"], rows)


def _line(server: Standing) -> list[str]:
    slot, ms = "", None
    if server.last_ping:
        slot, ms = iso(server.last_ping.slot), server.last_ping.response_ms
    return [server.name, server.ip, server.state, shown_ms(ms), slot]


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
        with current_database().transaction() as session:
            change.remove(session, wanted)
    click.echo(f"Removed {wanted}")


@servers_group.command("import")
@click.argument("file", type=click.File("r", encoding="utf-8-sig"))
@click.option(
    "--format",
    "kind",
    type=click.Choice(["csv", "json"]),
    help="Default: json if the file name ends in .json, else csv.",
)
def import_servers(file: TextIO, kind: str | None) -> None:
    """Add the servers in FILE (`-` for standard input). If one is invalid, none is added.

    CSV begins with the header `name,IP` (optionally also `probe` and `port`). JSON is a list of
    objects with these keys.
    """
    with refusals():
        wanted = _read_servers(file, kind or _format(file.name))
        with current_database().transaction() as session, bar(wanted, "Importing") as progress:
            for place, request in progress:
                _create(session, place, request)
    click.echo(f"Added {counted(len(wanted), 'server')}")


def _create(session: Session, place: str, request: BulkServer) -> None:
    try:
        change.add(session, request, current_settings(), utc_now())
    except CoreError as error:
        raise WrongRequest(f"nothing was imported:\n{place}: {error}") from error


@servers_group.command("export")
@click.argument("file", type=click.File("w", encoding="utf-8"), default="-")
@click.option(
    "--format",
    "kind",
    type=click.Choice(["csv", "json"]),
    help="Default: json if the file name ends in .json, else csv.",
)
def export_servers(file: TextIO, kind: str | None) -> None:
    """Write the servers to FILE (default: standard output) in the format that `import` reads."""
    with refusals(), current_database().reading() as session:
        found = find.everything(session)
        with bar(found, "Exporting") as progress:
            rows = [_as_row(server) for server in progress]
    written = io.StringIO()
    if (kind or _format(file.name)) == "json":
        json.dump(rows, written, ensure_ascii=False, indent=1)
        written.write("\n")
    else:
        writer = csv.DictWriter(written, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    _write(file, written.getvalue())


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


def _as_row(server: Server) -> dict[str, Any]:
    row = {"name": server.name, "IP": server.ip, "probe": server.probe}
    return row | ({"port": server.port} if server.port else {})


def _format(name: str) -> str:
    return "json" if name.endswith(".json") else "csv"


def _read_servers(file: TextIO, kind: str) -> list[tuple[str, BulkServer]]:
    read = _json_rows if kind == "json" else _csv_rows
    wanted, wrong = [], []
    for place, row in read(file):
        try:
            wanted.append((place, _wanted(row)))
        except WrongRequest as error:
            wrong.append(f"{place}: {error}")
    if wrong:
        raise WrongRequest("\n".join(["nothing was imported:", *wrong[:20]]))
    return wanted


def _wanted(row: object) -> BulkServer:
    if not isinstance(row, dict) or not {"name", "IP"} <= set(row):
        raise WrongRequest('expected {"name": "text", "IP": "dotted quad"}')
    return BulkServer.of({"ip" if key == "IP" else key: value for key, value in row.items()})


def _json_rows(file: TextIO) -> Iterator[tuple[str, object]]:
    try:
        rows = read_json(file.read().encode())
    except UnicodeDecodeError as error:
        raise WrongRequest(f"not JSON in UTF-8: {error}") from error
    if not isinstance(rows, list):
        raise WrongRequest("expected a list of servers")
    yield from ((f"server {number}", row) for number, row in enumerate(rows, 1))


def _csv_rows(file: TextIO) -> Iterator[tuple[str, object]]:
    try:
        reader = csv.DictReader(io.StringIO(file.read()), strict=True)
        for row in reader:
            given: dict[str, Any] = {key: value for key, value in row.items() if value}
            if given.get("port", "").isdecimal():
                given["port"] = int(given["port"])
            yield f"line {reader.line_num}", given
    except (csv.Error, UnicodeDecodeError) as error:
        raise WrongRequest(f"not CSV in UTF-8: {error}") from error
