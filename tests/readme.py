"""The README's transcript: the user's calls, made by running them.

`python -m tests.readme --write` puts it into README.md; tests/test_readme.py compares.
"""

import os
import re
import shlex
import socket
import subprocess
import sys
import tempfile
import time
from http.client import HTTPConnection
from pathlib import Path

from tests.postgres import free_port

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
PLACE = re.compile(r"(<!-- transcript.*?-->\n```console\n)(.*?)(```\n<!-- end -->)", re.DOTALL)
SERVED = "127.0.0.1:5000"
CALLS = [
    """curl -X POST 127.0.0.1:5000 -d '{"server": {"name": "me", "IP": "127.0.0.1"}}'""",
    """curl -X POST 127.0.0.1:5000 -d '{"server": {"name": "me too", "IP": "127.0.0.3"}}'""",
    """curl -X PUT 127.0.0.1:5000 -d '{"server": {"name": "me too", "IP": "127.0.0.2"}}'""",
    "curl 127.0.0.1:5000",
    """curl -X GET 127.0.0.1:5000 -d '{"server": "me"}'""",
    """curl -X DELETE 127.0.0.1:5000 -d '{"server": "me too"}'""",
]
HISTORY = CALLS[4]


def flask(*arguments: str) -> list[str]:
    """Return the command for `flask` under this Python."""
    return [sys.executable, "-m", "flask", *arguments]


def transcript(folder: Path) -> str:
    """Serve an empty database from `folder`, make the calls, return what a terminal would show."""
    environ = os.environ | {
        "DATABASE_URL": f"sqlite:///{folder / 'pinglet.db'}",
        "PINGLET_WORKER_IN_SERVER": "0",
    }
    address = f"127.0.0.1:{free_port()}"
    server = subprocess.Popen(
        flask("run", "--port", address.split(":")[1]),
        cwd=ROOT,
        env=environ,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _await(address)
        return "".join(_shown(call, address, environ) for call in CALLS)
    finally:
        server.terminate()
        server.wait(30)


def _shown(call: str, address: str, environ: dict[str, str]) -> str:
    if call == HISTORY:
        # What the worker beside the server does when the minute is full.
        subprocess.run(
            flask("worker", "--once"), cwd=ROOT, env=environ, check=True, capture_output=True
        )
    return f"$ {call}\n{_made(call, address)}"


def _made(call: str, address: str) -> str:
    """Send what curl would send for `call`; a new machine has no curl."""
    words = shlex.split(call)
    method = words[words.index("-X") + 1] if "-X" in words else "GET"
    body = words[words.index("-d") + 1] if "-d" in words else None
    connection = HTTPConnection(address, timeout=30)
    connection.request(method, "/", body, {"Content-Type": "application/x-www-form-urlencoded"})
    return connection.getresponse().read().decode()


def _await(address: str) -> None:
    host, port = address.split(":")
    give_up = time.monotonic() + 30
    while time.monotonic() < give_up:
        try:
            socket.create_connection((host, int(port))).close()
            return
        except ConnectionRefusedError:
            time.sleep(0.1)
    raise TimeoutError("flask run doesn't answer")


def comparable(text: str) -> str:
    """Return a transcript with its times made alike."""
    text = re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d:00Z", "SLOT", text)
    return re.sub(r'"SLOT":[\d.]+', '"SLOT":MS', text)


def in_readme() -> str:
    """Return the transcript that stands in the README."""
    found = PLACE.search(README.read_text())
    assert found, "the README has no transcript"
    return found[2]


def write() -> None:
    """Put a fresh transcript into the README."""
    with tempfile.TemporaryDirectory() as folder:
        made = transcript(Path(folder))
    README.write_text(PLACE.sub(lambda found: found[1] + made + found[3], README.read_text()))


if __name__ == "__main__":
    if sys.argv[1:] != ["--write"]:
        sys.exit("usage: python -m tests.readme --write")
    write()
