"""Pinglet on one machine: the application, the command line, and the worker beside it.

`.flaskenv` names this module, so `flask run` and `flask worker` find it. AWS never loads it.
"""

import logging
import threading

import click
from flask import Flask
from flask.cli import NoAppException
from flask.helpers import get_debug_flag
from werkzeug.serving import is_running_from_reloader

from core.errors import SettingsError
from core.settings import Settings
from handlers import api, manage, worker

log = logging.getLogger("pinglet")


def create_app(settings: Settings | None = None) -> Flask:
    """Build the application with its commands; inside `flask run`, start the worker as well."""
    logging.basicConfig(format="%(asctime)s %(name)s: %(message)s", level=logging.INFO)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    try:
        app = api.create_app(settings)
    except SettingsError as error:
        raise NoAppException(str(error)) from error
    for command in manage.COMMANDS:
        app.cli.add_command(command)
    database = app.extensions["pinglet"]
    if database.settings.worker_in_server and _is_serving():
        thread = threading.Thread(target=worker.run_until_interrupted, args=[database], daemon=True)
        thread.start()
        log.info("the worker runs beside the server: one round a minute")
    return app


def _is_serving() -> bool:
    """Whether this process answers requests: the parent of a reloader doesn't."""
    context = click.get_current_context(silent=True)
    if context is None or context.info_name != "run":
        return False
    reloads = context.params.get("reload")
    if reloads is None:
        reloads = get_debug_flag()
    return is_running_from_reloader() or not reloads
