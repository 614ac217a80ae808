"""The command line: `flask servers`, `flask worker`, `flask ping`, `flask tidy`, `flask db`,
`flask demo`.

Exit codes: 0 done, 1 a refusal or a server that didn't answer, 2 wrong arguments.
"""

import asyncio
import csv
import io
import json
import logging
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import timedelta
from enum import StrEnum
from functools import cache
from typing import Any, TextIO

import click
from flask import Flask, current_app
from flask.cli import AppGroup, with_appcontext
from sqlalchemy.orm import Session

from core import accounts, estimate, probe, rounds, servers
from core.accounts import Grant, Kind, Role, Scope
from core.clock import utc_now
from core.errors import CoreError, WrongRequest
from core.models import SCHEMA_VERSION, Server
from core.probe import Echo, Result, Verdict
from core.schema import Probe, ServerRequest, State, iso, read_json, server_name
from core.settings import Settings
from handlers import demo, night, worker
from handlers.worker import Round
from infra import logs
from infra.database import Database


def _choice(words: type[StrEnum]) -> click.Choice[str]:
    # click would offer the names of an enum; people type the values.
    return click.Choice([word.value for word in words])


log = logging.getLogger("pinglet.manage")

COLUMNS = ["name", "IP", "probe", "port"]


def _database() -> Database:
    database: Database = current_app.extensions["pinglet"]
    return database


def _settings() -> Settings:
    return _database().settings


@contextmanager
def _refusals() -> Iterator[None]:
    """Turn what core refuses into one line and exit code 1."""
    try:
        yield
    except CoreError as error:
        raise click.ClickException(str(error)) from error


# Servers


@click.group("servers", cls=AppGroup)
def servers_group() -> None:
    """Add, list, remove, import and export servers."""


@servers_group.command("add")
@click.argument("name")
@click.argument("ip", metavar="IP")
@click.option("--probe", "how", type=_choice(Probe), help="How to probe the server.")
@click.option("--port", type=click.IntRange(1, 65_535), help="TCP port to probe.")
def add(name: str, ip: str, how: str | None, port: int | None) -> None:
    """Add a server."""
    given = {"name": name, "IP": ip, "probe": how, "port": port}
    with _refusals():
        wanted = ServerRequest.parse_inner({key: value for key, value in given.items() if value})
        with _database().transaction() as session:
            servers.create(session, wanted, _settings(), utc_now())
    click.echo(f"Added {wanted.name} ({wanted.ip})")


@servers_group.command("list")
def list_servers() -> None:
    """List the servers with their state and latest ping."""
    with _refusals(), _database().reading() as session:
        rows = [_line(server, state) for server, state in servers.states(session, utc_now())]
    _table(["name", "IP", "state", "ms", "slot"], rows)


def _line(server: Server, state: State) -> list[str]:
    slot = iso(server.last_slot) if server.last_slot else ""
    ms = "" if server.last_ms is None else f"{server.last_ms:g}"
    return [server.name, server.ip, state, ms, slot]


@servers_group.command("remove")
@click.argument("name")
@click.option("--yes", is_flag=True, help="Don't ask for confirmation.")
def remove(name: str, yes: bool) -> None:
    """Remove a server and all its history."""
    with _refusals():
        wanted = server_name(name)
        if not yes:
            with _database().reading() as session:
                servers.find(session, wanted)
            click.confirm(f"Remove {wanted} and all its history?", abort=True)
        with _database().transaction() as session:
            servers.remove(session, wanted)
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
    with _refusals():
        wanted = _read_servers(file, kind or _format(file.name))
        with _database().transaction() as session, _bar(wanted, "Importing") as progress:
            for place, request in progress:
                _create(session, place, request)
    click.echo(f"Added {_counted(len(wanted), 'server')}")


def _create(session: Session, place: str, request: ServerRequest) -> None:
    try:
        servers.create(session, request, _settings(), utc_now())
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
    with _refusals(), _database().reading() as session:
        found = servers.everything(session)
        with _bar(found, "Exporting") as progress:
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


def _read_servers(file: TextIO, kind: str) -> list[tuple[str, ServerRequest]]:
    read = _json_rows if kind == "json" else _csv_rows
    wanted, wrong = [], []
    for place, row in read(file):
        try:
            wanted.append((place, ServerRequest.parse_inner(row)))
        except WrongRequest as error:
            wrong.append(f"{place}: {error}")
    if wrong:
        raise WrongRequest("\n".join(["nothing was imported:", *wrong[:20]]))
    return wanted


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


# The worker


@click.command("worker")
@click.option("--once", is_flag=True, help="Run one round, print it and exit.")
@with_appcontext
def worker_command(once: bool) -> None:
    """Ping the servers, one round a minute, until you press Ctrl-C.

    With --once, the exit code is 1 if a server could not be observed.
    """
    if not once:
        click.echo("Running one round a minute; press Ctrl-C to stop", err=True)
        worker.run_until_interrupted(_database())
        return
    with _refusals():
        slot = rounds.slot_of(utc_now())
        targets = worker.due(_database(), slot)
        with _progress(len(targets) * rounds.ECHOES, "Pinging") as progress:
            done = asyncio.run(worker.run_round(_database(), slot, targets, progress))
        with _database().reading() as session:
            names = {server.id: server.name for server in servers.everything(session)}
    _print_round(done, names)
    sys.exit(1 if done.unobserved else 0)


def _print_round(done: Round, names: dict[int, str]) -> None:
    outcomes = {
        ping.server_id: (ping.state, _ms(ping.response_ms), f"{ping.received}/{ping.sent}", "")
        for ping in done.pings
    }
    outcomes |= {
        lost.server_id: (State.UNOBSERVED, "", "", lost.reason) for lost in done.unobserved
    }
    rows = [
        (names.get(target.server_id, "(removed)"), target.ip, *outcomes[target.server_id])
        for target in done.targets
    ]
    _table(["name", "IP", "state", "ms", "echoes", "reason"], rows)
    click.echo(f"{done}; {_counted(done.recorded, 'new row')}", err=True)


def _ms(value: float | None) -> str:
    return "" if value is None else f"{value:g}"


# ping


@click.command("ping")
@click.argument("addresses", nargs=-1, required=True, metavar="ADDRESS...")
@click.option(
    "--count",
    type=click.IntRange(1, 1000),
    default=rounds.ECHOES,
    show_default=True,
    help="Number of echoes to send to each address.",
)
@click.option(
    "--port", type=click.IntRange(1, 65_535), help="Ping over TCP, on this port, instead of ICMP."
)
@with_appcontext
def ping(addresses: Sequence[str], count: int, port: int | None) -> None:
    """Ping each ADDRESS and print every echo. Needs no database.

    The exit code is 1 if an address did not answer, 2 if no echo could be sent to it.
    """
    how = rounds.pace(_settings(), echoes=count)
    kind = probe.Kind.TCP if port else probe.Kind.ICMP
    problem = None if port else probe.icmp_problem()
    if problem:
        raise click.UsageError(f"{problem} Or ping a TCP port: --port 443")
    _refuse_addresses(addresses)
    echoes = _counted(count, "echo", "echoes")
    click.echo(f"{kind.upper()}, {echoes} per address, timeout {how.timeout_s:g} s")
    targets = [probe.Target(address, (port,) if port else ()) for address in addresses]
    results = probe.probe(kind, targets, how, _echo_printer(addresses))
    for address, result in zip(addresses, results, strict=True):
        _print_summary(address, result)
    sys.exit(max(_exit_code(result) for result in results))


def _refuse_addresses(addresses: Iterable[str]) -> None:
    for address in addresses:
        refusal = _settings().address_rules.refusal(address)
        if refusal:
            raise click.UsageError(refusal)


def _echo_printer(addresses: Sequence[str]) -> Callable[[int, int, Echo], None]:
    def print_echo(index: int, number: int, echo: Echo) -> None:
        line = f"{addresses[index]}: seq={number + 1} {_told(echo)}"
        click.echo(line)

    return print_echo


def _told(echo: Echo) -> str:
    if echo.rtt_ms is None:
        return f"{echo.verdict}" + (f": {echo.reason}" if echo.reason else "")
    refused = " (refused)" if echo.verdict is Verdict.REFUSED else ""
    return f"time={echo.rtt_ms:.3f} ms{refused}, {echo.clock} clock, +-{echo.bound_ms:.3f} ms"


def _print_summary(address: str, result: Result) -> None:
    sent = [echo for echo in result.echoes if echo.verdict is not Verdict.LOCAL_FAULT]
    times = [echo.rtt_ms for echo in sent if echo.verdict.came_back and echo.rtt_ms is not None]
    received = sum(echo.verdict.came_back for echo in sent)
    click.echo(f"\n--- {address} ---")
    lost = f", {100 * (len(sent) - received) / len(sent):.0f}% lost" if sent else ""
    click.echo(f"{_counted(len(sent), 'echo', 'echoes')} sent, {received} received{lost}")
    if times:
        mean = sum(times) / len(times)
        click.echo(f"rtt min/avg/max = {min(times):.3f}/{mean:.3f}/{max(times):.3f} ms")


def _exit_code(result: Result) -> int:
    if all(echo.verdict is Verdict.LOCAL_FAULT for echo in result.echoes):
        return 2
    return 0 if any(echo.verdict.came_back for echo in result.echoes) else 1


# Users


@click.group("users", cls=AppGroup)
def users_group() -> None:
    """Add and change users. Creating the first user ends open access permanently."""


def _password(given: bool) -> str:
    if given:
        return sys.stdin.readline().rstrip("\n")
    password: str = click.prompt("Password", hide_input=True, confirmation_prompt=True)
    return password


from_stdin = click.option(
    "--password-stdin", is_flag=True, help="Read the password from standard input."
)


@users_group.command("add")
@click.argument("name")
@click.option(
    "--role",
    type=_choice(Role),
    default=Role.ADMIN.value,
    show_default=True,
    help="What the user may do.",
)
@from_stdin
def add_user(name: str, role: str, password_stdin: bool) -> None:
    """Add a user."""
    # Before the transaction: while somebody is typing, nobody else could write to an SQLite file.
    password = _password(password_stdin)
    with _refusals(), _database().transaction() as session:
        accounts.create_user(session, name, password, Role(role), utc_now())
    click.echo(f"Added {name}; from now on every request needs a token or a password")


@users_group.command("list")
def list_users() -> None:
    """List the users."""
    with _refusals(), _database().reading() as session:
        found = accounts.users(session)
        rows = [[user.name, user.role, "" if user.enabled else "disabled"] for user in found]
    _table(["name", "role", "state"], rows)


@users_group.command("password")
@click.argument("name")
@from_stdin
def change_password(name: str, password_stdin: bool) -> None:
    """Set a new password for a user. This ends all their tokens."""
    _change_user(name, "has a new password", password=_password(password_stdin))


@users_group.command("disable")
@click.argument("name")
def disable_user(name: str) -> None:
    """Lock a user out immediately, on every machine."""
    _change_user(name, "is locked out", enabled=False)


@users_group.command("enable")
@click.argument("name")
def enable_user(name: str) -> None:
    """Let a user log in again."""
    _change_user(name, "can log in again", enabled=True)


def _change_user(name: str, outcome: str, **changes: Any) -> None:
    with _refusals(), _database().transaction() as session:
        user = accounts.find_user_named(session, name)
        accounts.change_user(session, user.id, **changes)
    click.echo(f"{name} {outcome}")


@users_group.command("remove")
@click.argument("name")
def remove_user(name: str) -> None:
    """Delete a user and all their tokens."""
    with _refusals(), _database().transaction() as session:
        accounts.remove_user(session, accounts.find_user_named(session, name).id)
    click.echo(f"Removed {name}")


@users_group.command("token")
@click.argument("name")
@click.argument("label")
@click.option(
    "--scope",
    type=_choice(Scope),
    default=Scope.READ.value,
    show_default=True,
    help="What the token allows.",
)
@click.option(
    "--days",
    type=click.IntRange(1, 5 * 365),
    default=365,
    show_default=True,
    help="Days until the token expires.",
)
def issue_token(name: str, label: str, scope: str, days: int) -> None:
    """Create a long-lived token for user NAME and print it. It is shown only once.

    LABEL is the name of the token, such as the script that uses it.
    """
    with _refusals(), _database().transaction() as session:
        user = accounts.find_user_named(session, name)
        grant = Grant(Kind.KEY, Scope(scope), accounts.label(label), timedelta(days=days))
        issued = accounts.issue(session, accounts.identity_of(user), grant, utc_now())
    click.echo(issued.token)


# The database, and something to look at


@click.group("db", cls=AppGroup)
def db_group() -> None:
    """Manage the database."""


@db_group.command("upgrade")
def upgrade() -> None:
    """Upgrade the tables to this release."""
    with _refusals():
        _database().upgrade()
    click.echo(f"the tables are at version {SCHEMA_VERSION}")


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
    with _refusals():
        with _database().transaction() as session:
            rounds_made = demo.create_servers(session, _settings(), utc_now(), days)
        with _bar(rounds_made, "Making up history") as progress:
            for chunk in progress:
                with _database().transaction() as session:
                    demo.record(session, chunk)
    click.echo(
        f"Added {_counted(len(demo.SERVERS), 'server')} with {_counted(days, 'day')} of made-up "
        "history; list them with: flask servers list"
    )


@click.command("tidy")
@with_appcontext
def tidy_command() -> None:
    """Pack the days that are over and remove history older than the settings keep.

    The worker does this every night by itself.
    """
    with _refusals():
        steps = night.plan(_database(), utc_now())
        with _bar(steps, "Tidying") as progress:
            done = sum((step() for step in progress), night.Tidied())
    click.echo(str(done))


# What it would cost on AWS


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
    with _refusals():
        if number is None:
            with _database().reading() as session:
                number = len(servers.names(session)) or 1
        fleet = estimate.Fleet(number, every, api_requests=requests, database=database)
        silent = estimate.estimate(fleet)
        healthy = estimate.estimate(replace(fleet, probe_wait_s=estimate.ALL_ANSWER_S))
    rows = [
        [good.what, _units(bad.amount), bad.unit, f"{good.dollars:.2f}", f"{bad.dollars:.2f}"]
        for good, bad in zip(healthy.lines, silent.lines, strict=True)
    ]
    rows.append(["total", "", "", f"{healthy.total:.2f}", f"{silent.total:.2f}"])
    _table(["", "units", "unit", "$ all answer", "$ some silent"], rows)
    click.echo(f"history at full retention: {estimate.stored_gb(fleet):.1f} GB", err=True)


def _units(amount: float) -> str:
    return f"{amount:,.0f}" if amount >= 10 else f"{amount:.2g}"


COMMANDS = [
    servers_group,
    users_group,
    worker_command,
    ping,
    tidy_command,
    db_group,
    demo_command,
    estimate_command,
]


# The same commands as a function: for those who may invoke it, by nothing else

ONE_OFF = {"servers", "users", "db"}
"""What runs as a function. A worker or a ping would want the internet, which `probe` has."""

warm_database = cache(lambda: Database(Settings.from_env()))


def handler(event: object, context: object) -> dict[str, Any]:
    """Run one command: `{"command": ["db", "upgrade"], "input": "for its standard input"}`.

    `command` may be one text with blanks between, `input` may be left out. Returns `exit_code` and
    `output`, both streams together. Raises WrongRequest for another event: one that an API or a
    queue sends is such, too.
    """
    logs.configure(context)
    command, given = _read_command(event)
    return run_command(warm_database(), command, given)


def run_command(database: Database, command: Sequence[str], given: str = "") -> dict[str, Any]:
    """Run one of the commands in this process, with `given` as its standard input."""
    app = Flask(__name__, static_folder=None)
    app.extensions["pinglet"] = database
    for one in COMMANDS:
        if one.name in ONE_OFF:
            app.cli.add_command(one)
    done = app.test_cli_runner().invoke(args=list(command), input=given)
    if done.exception and not isinstance(done.exception, SystemExit):
        log.error("%s failed", command[:2], exc_info=done.exception)
        return {"exit_code": 1, "output": f"{done.output}{done.exception!r}\n"}
    return {"exit_code": done.exit_code, "output": done.output}


def _read_command(event: object) -> tuple[list[str], str]:
    if not isinstance(event, dict) or not {"command"} <= set(event) <= {"command", "input"}:
        raise WrongRequest('expected {"command": ["db", "upgrade"]}, and perhaps "input"')
    command, given = event["command"], event.get("input", "")
    if isinstance(command, str):
        command = command.split()
    if not isinstance(command, list) or not all(isinstance(word, str) for word in command):
        raise WrongRequest("a command is text, or a list of texts")
    if not command or command[0] not in ONE_OFF or not isinstance(given, str):
        raise WrongRequest(f"expected one of {', '.join(sorted(ONE_OFF))}, and text as input")
    return command, given


# How it looks


def _counted(number: int, noun: str, plural: str | None = None) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {plural or noun + 's'}"


def _table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print a table for people, or lines with tabs between for scripts."""
    if not sys.stdout.isatty():
        for row in rows:
            click.echo("\t".join(map(str, row)))
        return
    from rich.console import Console  # pylint: disable=import-outside-toplevel
    from rich.table import Table  # pylint: disable=import-outside-toplevel
    from rich.text import Text  # pylint: disable=import-outside-toplevel

    table = Table(*header, box=None, pad_edge=False)
    for row in rows:
        table.add_row(*(Text(str(cell)) for cell in row))
    Console().print(table)


@contextmanager
def _progress(length: int, label: str) -> Iterator[rounds.Progress | None]:
    """A bar on a terminal, None elsewhere."""
    if not sys.stderr.isatty():
        yield None
        return
    with click.progressbar(length=length, label=label, file=sys.stderr) as progress:
        yield progress.update


@contextmanager
def _bar(items: Sequence[Any], label: str) -> Iterator[Iterable[Any]]:
    """The items, with a bar on a terminal. Elsewhere click would still print an empty line."""
    if not sys.stderr.isatty():
        yield items
        return
    with click.progressbar(items, label=label, file=sys.stderr) as progress:
        yield progress
