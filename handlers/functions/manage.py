"""Some of the commands as a function: for those who may invoke it, by nothing else."""

import logging
from collections.abc import Sequence
from typing import Any

from flask import Flask

from core.errors import WrongRequest
from handlers.cli.commands import COMMANDS
from handlers.functions.warm import warm_instance
from handlers.instance import Instance
from infra import logs

log = logging.getLogger("pinglet.manage")


ONE_OFF = {"servers", "users", "db"}
"""What runs as a function. A worker or a ping would want the internet, which `probe` has."""


def handler(event: object, context: object) -> dict[str, Any]:
    """Run one command: `{"command": ["db", "upgrade"], "input": "for its standard input"}`.

    `command` may be one text with blanks between, `input` may be left out. Returns `exit_code` and
    `output`, both streams together. Raises WrongRequest for another event: one that an API or a
    queue sends is such, too.
    """
    logs.configure(context)
    command, given = _read_command(event)
    return run_command(warm_instance(), command, given)


def run_command(here: Instance, command: Sequence[str], given: str = "") -> dict[str, Any]:
    """Run one of the commands in this process, with `given` as its standard input."""
    app = Flask(__name__, static_folder=None)
    app.extensions["pinglet"] = here
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
        raise WrongRequest(
            'the event must be {"command": ["db", "upgrade"]}, optionally with "input"'
        )
    command, given = event["command"], event.get("input", "")
    if isinstance(command, str):
        command = command.split()
    if not isinstance(command, list) or not all(isinstance(word, str) for word in command):
        raise WrongRequest("command must be text or a list of text")
    if not command or command[0] not in ONE_OFF:
        raise WrongRequest(f"command must begin with one of {', '.join(sorted(ONE_OFF))}")
    if not isinstance(given, str):
        raise WrongRequest("input must be text")
    return command, given
