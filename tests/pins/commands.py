"""What the command line says: every --help, and what comes of good and of wrong usage.

Run as a process of its own, it prints what `flask` answers to the lists of words on its standard
input: as many processes would take a second each.
"""

import json
import logging
import sys
from collections.abc import Iterator
from typing import Any

import click
from click.testing import CliRunner
from flask.cli import ScriptInfo, cli

from tests.pins.world import NOW, PASSWORD, stopped

FLASKS_OWN = {"run", "shell", "routes"}
CSV = "name,IP,probe,port\na1,127.0.0.9,tcp,443\na2,127.0.0.10,,\n"
JSON = '[{"name": "a3", "IP": "127.0.0.9", "probe": "icmp"}]'
# Later ones see what earlier ones did.
USAGES: list[tuple[str, str]] = [
    ("nothing", ""),
    ("servers nothing", ""),
    ("servers list", ""),
    ("servers list web", ""),
    ("servers export", ""),
    ("servers export --format json", ""),
    ("servers export --format xml", ""),
    ("servers export /nowhere/at/all", ""),
    ("servers add", ""),
    ("servers add new", ""),
    ("servers add new 127.0.0.9", ""),
    ("servers add newer 127.0.0.9 --probe tcp --port 443", ""),
    ("servers add web 127.0.0.1", ""),
    ("servers add new example.com", ""),
    ("servers add new 224.0.0.1", ""),
    ("servers add new 127.0.0.9 --port 0", ""),
    ("servers add new 127.0.0.9 --probe udp", ""),
    ("servers add new 127.0.0.9 --color", ""),
    ("servers remove web", "n\n"),
    ("servers remove web", "y\n"),
    ("servers remove web --yes", ""),
    ("servers remove nobody --yes", ""),
    ("servers import /nowhere", ""),
    ("servers import -", CSV),
    ("servers import - --format json", JSON),
    ("servers import -", "name,IP\na4,127.0.0.9\ndb,127.0.0.1\n"),
    ("servers import -", "name,IP\na5,x\n,127.0.0.1\n"),
    ("servers import -", "name;IP\nnew;127.0.0.9\n"),
    ("servers import - --format json", '{"name": "new"}'),
    ("servers import - --format json", "{"),
    ("servers import - --format json", '[{"name": "new", "IP": "x"}, 3]'),
    ("users list", ""),
    ("users add new --password-stdin", f"{PASSWORD}\n"),
    ("users add newer --role viewer --password-stdin", f"{PASSWORD}\n"),
    ("users add new --role king --password-stdin", f"{PASSWORD}\n"),
    ("users add ann --password-stdin", f"{PASSWORD}\n"),
    ("users add a:b --password-stdin", f"{PASSWORD}\n"),
    ("users add newest --password-stdin", "short\n"),
    ("users add", ""),
    ("users password vic --password-stdin", "another long password\n"),
    ("users password nobody --password-stdin", "another long password\n"),
    ("users disable vic", ""),
    ("users disable ann", ""),
    ("users enable vic", ""),
    ("users remove ann", ""),
    ("users remove nobody", ""),
    ("users token vic script", ""),
    ("users token vic script --scope admin", ""),
    ("users token vic script --scope all", ""),
    ("users token vic script --days 0", ""),
    ("users token nobody script", ""),
    ("users remove vic", ""),
    ("ping", ""),
    ("ping --count 0 127.0.0.1", ""),
    ("ping --port 65536 127.0.0.1", ""),
    ("ping --port 1 224.0.0.1", ""),
    ("ping --port 1 example.com", ""),
    ("worker --twice", ""),
    ("tidy", ""),
    ("tidy now", ""),
    ("db upgrade", ""),
    ("db downgrade", ""),
    ("demo --days 31", ""),
    ("estimate --servers 1000", ""),
    ("estimate --servers 1000 --every 300 --requests 0 --database aurora", ""),
    ("estimate --servers 1000 --every 59", ""),
    ("estimate --servers 0", ""),
    ("estimate --database oracle", ""),
]
PROBE_USAGES = [
    "--help",
    "",
    "--targets /nowhere",
    "--targets - --kind udp",
    "--targets - --kind tcp --count 0",
    "--targets - --kind tcp --port 0",
    "--targets - --kind tcp --timeout 0",
    "--targets - --kind tcp nothing",
]


def helps() -> list[str]:
    """Return how to ask for the help of each command and sub command of ours."""
    with click.Context(cli, obj=ScriptInfo("handlers.local")) as context:
        ours = [name for name in cli.list_commands(context) if name not in FLASKS_OWN]
        found = [[name, cli.get_command(context, name)] for name in ours]
    return [" ".join([*words, "--help"]) for name, one in found for words in _walk([name], one)]


def _walk(words: list[str], command: Any) -> Iterator[list[str]]:
    yield words
    for name in sorted(getattr(command, "commands", {})):
        yield from _walk([*words, name], command.commands[name])


def answer(words: str, given: str) -> tuple[int, str, str]:
    """Return the exit code and both streams."""
    done = CliRunner().invoke(cli, words.split(), input=given, prog_name="flask")
    if done.exception and not isinstance(done.exception, SystemExit):
        return 1, done.stdout, f"{done.exception!r}\n"
    return done.exit_code, done.stdout, done.stderr


def main() -> None:
    """Answer the lists on standard input, or `helps`."""
    logging.disable(logging.CRITICAL)
    usages = json.load(sys.stdin) or [(words, "") for words in helps()]
    with stopped(NOW):
        json.dump([[words, given, *answer(words, given)] for words, given in usages], sys.stdout)


if __name__ == "__main__":
    main()
