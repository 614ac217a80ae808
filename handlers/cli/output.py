"""How the command line looks, and the application it runs in."""

import getpass
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from typing import Any

import click
from flask import current_app

from core.errors import CoreError
from core.rounds import measure
from core.settings import Settings
from handlers.instance import Instance
from infra.database import Database


def choice(words: type[StrEnum]) -> click.Choice[str]:
    """Return a choice among the values of an enum."""
    # click would offer the names of an enum; people type the values.
    return click.Choice([word.value for word in words])


def current_instance() -> Instance:
    """Return the instance that this command is for."""
    here: Instance = current_app.extensions["pinglet"]
    return here


def current_database() -> Database:
    """Return the database that this command is for."""
    return current_instance().database


def me() -> str:
    """Return the name that this machine has for whoever runs this command."""
    return getpass.getuser()


def current_settings() -> Settings:
    """Return the settings that this command runs with."""
    return current_instance().settings


@contextmanager
def refusals() -> Iterator[None]:
    """Turn what core refuses into one line and exit code 1."""
    try:
        yield
    except CoreError as error:
        raise click.ClickException(str(error)) from error


def shown_ms(value: float | None) -> str:
    """Return milliseconds for a table; nothing where there are none."""
    return "" if value is None else f"{value:g}"


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """Return `1 server` or `2 servers`; `plural` where it isn't the noun with an s."""
    return f"{number} {noun}" if number == 1 else f"{number} {plural or noun + 's'}"


def print_table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print a table for people, or lines with tabs between for scripts."""
    if not sys.stdout.isatty():
        for row in rows:
            click.echo("\t".join(map(str, row)))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(*header, box=None, pad_edge=False)
    for row in rows:
        table.add_row(*(Text(str(cell)) for cell in row))
    Console().print(table)


@contextmanager
def progress_bar(length: int, label: str) -> Iterator[measure.Progress | None]:
    """A bar on a terminal, None elsewhere."""
    if not sys.stderr.isatty():
        yield None
        return
    with click.progressbar(length=length, label=label, file=sys.stderr) as progress:
        yield progress.update


@contextmanager
def items_bar(items: Sequence[Any], label: str) -> Iterator[Iterable[Any]]:
    """The items, with a bar on a terminal. Elsewhere click would still print an empty line."""
    if not sys.stderr.isatty():
        yield items
        return
    with click.progressbar(items, label=label, file=sys.stderr) as progress:
        yield progress
