"""Ports that answer and ports that don't, and a command line without a database."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask.testing import FlaskCliRunner

from core.settings import Settings
from handlers.cli import app as local


@pytest.fixture
def listening() -> Iterator[str]:
    """A TCP port on 127.0.0.1 that takes connections."""
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listener:
        yield str(listener.getsockname()[1])


@pytest.fixture
def silent() -> Iterator[str]:
    """A TCP port on 127.0.0.1 that answers nothing: its queue is full."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        waiting = []
        for _ in range(4):
            client = socket.socket()
            client.setblocking(False)
            client.connect_ex(listener.getsockname())
            waiting.append(client)
        yield str(listener.getsockname()[1])
        for client in waiting:
            client.close()


@pytest.fixture
def alone(no_database: Path) -> FlaskCliRunner:
    """The command line where there is no database."""
    environ = {"DATABASE_URL": f"sqlite:///{no_database}", "PINGLET_ECHO_GAP_S": "0"}
    settings = Settings.from_env(environ | {"PINGLET_ECHO_TIMEOUT_S": "0.3"})
    return local.create_app(settings).test_cli_runner()
