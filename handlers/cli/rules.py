"""`flask rules`: when bad is bad enough, and for whom."""

from functools import partial
from typing import BinaryIO

import click
from flask.cli import AppGroup
from msgspec import json

from core.clock import utc_now
from core.incidents import rulebook
from core.incidents.rules import Rule, RuleListed
from core.reading import read_json
from handlers.cli.backtest import test_command
from handlers.cli.output import current_database, me, print_table, refusals

HEADER = ["id", "name", "for", "when", "clear", "severity"]


@click.group("rules", cls=AppGroup)
def rules_group() -> None:
    """List the rules that open incidents, add, change and remove them.

    FILE holds a rule as JSON, `-` is standard input:

    {"name": "web down", "for": {"tags": ["web"]}, "when": {"down": 2, "of": 3}}
    """


rules_group.add_command(test_command)


@rules_group.command("list")
def list_rules() -> None:
    """List the rules; the default one, which holds where no other does, isn't among them."""
    with refusals(), current_database().reading() as session:
        found = rulebook.everything(session)
    print_table(HEADER, [_line(one) for one in found])


def _line(one: RuleListed) -> list[object]:
    whom, when = json.encode(one.whom).decode(), json.encode(one.when).decode()
    return [one.id, one.name, whom, when, one.clear, one.severity]


@rules_group.command("add")
@click.argument("file", type=click.File("rb"))
def add_rule(file: BinaryIO) -> None:
    """Add the rule in FILE; it holds from the next slot on."""
    with refusals():
        make = partial(rulebook.make, wanted=_read(file), who=me(), now=utc_now())
        made = current_database().write(make)
    _say(f"Added rule {made.id}", made)


@rules_group.command("change")
@click.argument("rule_id", type=click.IntRange(min=1))
@click.argument("file", type=click.File("rb"))
def change_rule(rule_id: int, file: BinaryIO) -> None:
    """Replace a rule by the one in FILE; what is open keeps what it was opened by."""
    with refusals():
        change = partial(
            rulebook.change, rule_id=rule_id, wanted=_read(file), who=me(), now=utc_now()
        )
        changed = current_database().write(change)
    _say(f"Changed rule {rule_id}", changed)


@rules_group.command("remove")
@click.argument("rule_id", type=click.IntRange(min=1))
def remove_rule(rule_id: int) -> None:
    """Remove a rule; what is open under it is resolved with the next slot."""
    with refusals():
        remove = partial(rulebook.remove, rule_id=rule_id, who=me(), now=utc_now())
        current_database().write(remove)
    click.echo(f"Removed rule {rule_id}")


def _read(file: BinaryIO) -> Rule:
    return Rule.of(read_json(file.read()))


def _say(done: str, rule: RuleListed) -> None:
    click.echo(done)
    for hint in rule.hints:
        click.echo(f"Note: {hint}", err=True)
