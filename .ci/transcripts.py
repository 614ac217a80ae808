"""The README's transcripts: the user's calls and a few of GraphQL, made by running them.

`make docs` puts them into README.md; tests/test_readme.py compares.
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
PLACE = re.compile(
    r"(<!-- (contract|graphql) transcript.*?-->\n```console\n)(.*?)(```\n<!-- end -->)", re.DOTALL
)
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
GRAPHQL_CALLS = [
    "curl 127.0.0.1:5000/graphql -d "
    """'{"query": "{ servers { nodes { name state lastPing { responseMs } } } }"}'""",
    "curl 127.0.0.1:5000/graphql -d "
    r"""'{"query": "mutation { createServer(server: {name: \"me\", ip: \"127.1\"}) """
    """{ status field detail } }"}'""",
]


def flask(*arguments: str) -> list[str]:
    """Return the command for `flask` under this Python."""
    return [sys.executable, "-m", "flask", *arguments]


def made_now(folder: Path) -> dict[str, str]:
    """Serve an empty database from `folder`, make the calls, return what a terminal would show."""
    environ = os.environ | {
        "PINGLET_WITNESSES": "none",  # packets stay on this machine
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
        return {
            name: "".join(_shown(call, address, environ) for call in calls)
            for name, calls in {"contract": CALLS, "graphql": GRAPHQL_CALLS}.items()
        }
    finally:
        server.terminate()
        server.wait(250)


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
    path = next(word for word in words if word.startswith(SERVED)).removeprefix(SERVED) or "/"
    method = "POST" if body and "-X" not in words else method
    connection = HTTPConnection(address, timeout=250)
    connection.request(method, path, body, {"Content-Type": "application/x-www-form-urlencoded"})
    return connection.getresponse().read().decode().rstrip("\n") + "\n"


def _await(address: str) -> None:
    host, port = address.split(":")
    give_up = time.monotonic() + 250
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
    return re.sub(r'"(SLOT|responseMs)":[\d.]+', r'"\1":MS', text)


def in_readme() -> dict[str, str]:
    """Return the transcripts that stand in the README."""
    return {found[2]: found[3] for found in PLACE.finditer(README.read_text())}


def write() -> None:
    """Put fresh transcripts into the README."""
    with tempfile.TemporaryDirectory() as folder:
        made = made_now(Path(folder))
    text = README.read_text()
    README.write_text(PLACE.sub(lambda found: found[1] + made[found[2]] + found[4], text))


if __name__ == "__main__":
    write()
