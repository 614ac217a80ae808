"""All commands: each says what it does, and what each of its options does."""

from collections.abc import Iterator

import click
import pytest
from flask.testing import FlaskCliRunner

from core.settings import Settings
from handlers.cli import app as local
from handlers.cli.commands import COMMANDS


def everyone(
    commands: list[click.Command], before: str = ""
) -> Iterator[tuple[str, click.Command]]:
    """Return every command with the words that call it."""
    for command in commands:
        words = f"{before}{command.name}"
        yield words, command
        if isinstance(command, click.Group):
            yield from everyone(list(command.commands.values()), f"{words} ")


EVERYONE = dict(everyone(list(COMMANDS)))


@pytest.fixture
def typed(sqlite_settings: Settings) -> FlaskCliRunner:
    """The command line as `flask` has it, with flask's own commands."""
    return local.create_app(sqlite_settings).test_cli_runner()


@pytest.mark.parametrize("words", EVERYONE)
def test_a_command_is_found_and_explains_itself(typed: FlaskCliRunner, words: str) -> None:
    said = typed.invoke(args=[*words.split(), "--help"])
    assert said.exit_code == 0
    first_line = (EVERYONE[words].help or "").partition("\n")[0]
    assert first_line.endswith((".", ":"))
    assert first_line[:40] in " ".join(said.output.split())


@pytest.mark.parametrize("words", EVERYONE)
def test_an_option_says_what_it_does(words: str) -> None:
    options = [p for p in EVERYONE[words].params if isinstance(p, click.Option) and not p.hidden]
    assert [option.name for option in options if not option.help] == []
