"""A real pgbouncer for the tests, on loopback, in front of a Postgres of theirs."""

import contextlib
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from core.settings import Settings
from tests.postgres import Postgres, free_port

SEARCHED = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin"])
CONFIGURATION = """
[databases]
* = host=127.0.0.1 port={server}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = trust
auth_file = {users}
pool_mode = {mode}
default_pool_size = {connections}
{more}
"""


@contextlib.contextmanager
def pgbouncer(postgres: Postgres, mode: str, connections: int = 2, more: str = "") -> Iterator[int]:
    """Run pgbouncer as it is by default, but for the pool's mode and size; yield its port."""
    program = shutil.which("pgbouncer", path=SEARCHED)
    if not program:
        pytest.skip("NOT TESTED: a pooler before Postgres; needs pgbouncer")
    port = free_port()
    users = postgres.write("pgbouncer.users", b'"postgres" ""\n')
    ports = {"server": postgres.port, "port": port}
    said = CONFIGURATION.format(**ports, users=users, mode=mode, connections=connections, more=more)
    file = postgres.write(f"pgbouncer.{port}.ini", said.encode())
    with (postgres.folder / "pgbouncer.log").open("ab") as log:
        process = subprocess.Popen(
            [program, file], stdout=log, stderr=log, cwd=postgres.folder, **postgres.identity
        )
    try:
        _await_ready(postgres, port, process)
        yield port
    finally:
        process.kill()
        process.wait()


def _await_ready(postgres: Postgres, port: int, process: subprocess.Popen[bytes]) -> None:
    give_up = time.monotonic() + 250
    probe = [str(postgres.programs / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(port)]
    while subprocess.run(probe, check=False).returncode:
        if process.poll() is not None or time.monotonic() > give_up:
            raise RuntimeError((postgres.folder / "pgbouncer.log").read_text()[-2000:])
        time.sleep(0.02)


def through(port: int, settings: Settings, query: str = "") -> Settings:
    """Return settings by which the same database is reached through that port."""
    before, _, database = settings.database_url.rpartition("/")
    url = f"{before.rpartition(':')[0]}:{port}/{database}{query}"
    return replace(settings, database_url=url)
