"""Pinglet on one machine: the application, the command line, and the worker beside it.

`.flaskenv` names this module, so `flask run` and `flask worker` find it. AWS never loads it.
"""

import logging
import re
import sys
import threading

import click
from flask import Flask
from flask.helpers import get_debug_flag
from werkzeug.serving import WSGIRequestHandler, is_running_from_reloader

from core.errors import SettingsError
from core.settings import Settings
from handlers import api, manage, worker
from infra import logs

log = logging.getLogger("pinglet")


def create_app(settings: Settings | None = None) -> Flask:
    """Build the application with its commands; inside `flask run`, start the worker as well."""
    _log_to_stderr()
    _refuse_in_json()
    try:
        app = api.create_app(settings)
    except SettingsError as error:
        # flask would go on after its own NoAppException and say that it knows no such command.
        sys.exit(f"Error: {error}")
    for command in manage.COMMANDS:
        app.cli.add_command(command)
    database = app.extensions["pinglet"]
    if database.settings.worker_in_server and _is_serving():
        thread = threading.Thread(target=worker.run_until_interrupted, args=[database], daemon=True)
        thread.start()
        log.info("the worker runs beside the server: one round a minute")
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


def _refuse_in_json() -> None:
    # What the development server refuses before Flask sees it: a line too long, no HTTP at all.
    WSGIRequestHandler.error_content_type = "application/json"
    WSGIRequestHandler.error_message_format = '{"status":"WRONG_REQUEST"}\n'


def _is_serving() -> bool:
    """Whether this process answers requests: the parent of a reloader doesn't."""
    context = click.get_current_context(silent=True)
    if context is None or context.info_name != "run":
        return False
    reloads = context.params.get("reload")
    if reloads is None:
        reloads = get_debug_flag()
    return is_running_from_reloader() or not reloads
