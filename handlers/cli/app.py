"""Pinglet on one machine: the application, the command line, and the worker beside it.

`.flaskenv` names this module, so `flask run` and `flask worker` find it. AWS never loads it.
"""

import logging
import re
import sys
import threading
from typing import Any

import click
from flask import Flask
from flask.helpers import get_debug_flag
from werkzeug import serving
from werkzeug.serving import WSGIRequestHandler, is_running_from_reloader

from core.errors import CoreError, PlatformError, SettingsError
from core.settings import Settings
from handlers.cli import commands
from handlers.http import app as http_app
from handlers.instance import Instance
from handlers.worker import rounds
from infra import logs

log = logging.getLogger("pinglet")


def create_app(settings: Settings | None = None) -> Flask:
    """Build the application with its commands; inside `flask run`, start the worker as well."""
    _log_to_stderr()
    # The server that `flask run` starts can't be given another one.
    serving.WSGIRequestHandler = RequestHandler  # type: ignore[misc]
    try:
        app = http_app.create_app(settings)
    except (SettingsError, PlatformError) as error:
        # flask would go on after its own NoAppException and say that it knows no such command.
        sys.exit(f"Error: {error}")
    for command in commands.COMMANDS:
        app.cli.add_command(command)
    here = app.extensions["pinglet"]
    if not _is_serving():
        return app
    _say_who_may(here)
    if here.settings.worker_in_server:
        thread = threading.Thread(target=rounds.run_until_interrupted, args=[here], daemon=True)
        thread.start()
        log.info("the worker is running, too: one round a minute")
    return app


class Lines(logging.Formatter):
    """Lines for people; no token is in them."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        return logs.without_tokens(super().format(record))


class PlainLines(Lines):
    """The same without the colours that Werkzeug puts into them, terminal or not."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        return re.sub(r"\x1b\[[0-9;]*m", "", super().format(record))


def _log_to_stderr() -> None:
    handler = logging.StreamHandler()
    kind = Lines if sys.stderr.isatty() else PlainLines
    handler.setFormatter(kind("%(asctime)s %(name)s: %(message)s"))
    logging.basicConfig(handlers=[handler], level=logging.INFO)
    logging.getLogger("alembic").setLevel(logging.WARNING)


class RequestHandler(WSGIRequestHandler):
    """What the development server refuses before Flask sees it: a line too long, no HTTP at all."""

    error_content_type = "application/json"
    error_message_format = '{"status":"WRONG_REQUEST"}\n'
    refuses = False

    def send_error(self, *args: Any, **kwargs: Any) -> None:
        """Refuse in JSON."""
        self.refuses = True
        super().send_error(*args, **kwargs)

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Log a request without its query: somebody may have put a secret there."""
        line = re.sub(r"\?[^ ]*", "", self.requestline).translate(self._control_char_table)
        self.log("info", '"%s" %s %s', line, str(code), size)

    def end_headers(self) -> None:
        """Give refusals the headers that every reply has."""
        for name, value in http_app.HEADERS.items() if self.refuses else ():
            self.send_header(name, value)
        super().end_headers()


def _say_who_may(here: Instance) -> None:
    try:
        http_app.access_is_open(here)
    except CoreError as error:
        log.warning("%s", error)


def _is_serving() -> bool:
    """Whether this process answers requests: the parent of a reloader doesn't."""
    context = click.get_current_context(silent=True)
    if context is None or context.info_name != "run":
        return False
    reloads = context.params.get("reload")
    if reloads is None:
        reloads = get_debug_flag()
    return is_running_from_reloader() or not reloads
