"""A walk through a whole Pinglet, as its user makes it: does it work on what is installed here?

    DATABASE_URL=... python .ci/smoke.py

Needs nothing but what Pinglet needs itself: it is run on the oldest and the newest there is.
"""

import json
import os
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
ENVIRONMENT = os.environ | {
    "PINGLET_WITNESSES": "none",  # packets stay on this machine
    "FLASK_APP": "handlers.cli.app",
    "PINGLET_AUTHENTICATION": "1",
    "PINGLET_WORKER_IN_SERVER": "0",
    "PINGLET_ECHO_GAP_S": "0",
    "PYTHONPATH": str(Path(__file__).parent),
}
PATIENCE_S = 100


def flask(*arguments: str, given: str = "") -> str:
    """Run a command; return what it prints."""
    return python("flask", *arguments, given=given)


def python(*arguments: str, given: str = "") -> str:
    """Run a module; return what it prints. Ends this script where that fails."""
    command = [sys.executable, "-W", "error", "-m", *arguments]
    done = subprocess.run(
        command, cwd=ROOT, env=ENVIRONMENT, input=given, text=True, capture_output=True, check=False
    )
    if done.returncode:
        sys.exit(f"{' '.join(arguments)} ended with {done.returncode}: {done.stderr}")
    return done.stdout


class Api:
    """Calls of one Pinglet."""

    def __init__(self, port: int, token: str) -> None:
        self.port = port
        self.token = token

    def __call__(self, method: str, path: str, body: object = None) -> Any:
        """Make a call; return what its JSON says. Raises AssertionError for a failure."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {self.token}"}
        connection.request(method, path, None if body is None else json.dumps(body), headers)
        answer = connection.getresponse()
        text = answer.read()
        connection.close()
        assert answer.status < 300, f"{method} {path}: {answer.status} {text!r}"
        return json.loads(text) if text else None


@contextmanager
def served(token: str) -> Iterator[Api]:
    """Serve on a free port of loopback."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    command = [sys.executable, "-m", "flask", "run", "--port", str(port)]
    with subprocess.Popen(command, cwd=ROOT, env=ENVIRONMENT) as server:
        try:
            _await(port)
            yield Api(port, token)
        finally:
            server.terminate()


def _await(port: int) -> None:
    give_up = time.monotonic() + PATIENCE_S
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port)).close()
        except ConnectionRefusedError:
            if time.monotonic() > give_up:
                raise
            time.sleep(0.05)


def contract(api: Api) -> None:
    """The user's own calls at `/`, and a round between them."""
    for name in ("me", "me too"):
        api("POST", "/", {"server": {"name": name, "IP": "127.0.0.1"}})
    api("PUT", "/", {"server": {"name": "me too", "IP": "127.0.0.2"}})
    round_told = flask("worker", "--once")
    assert round_told.count("\tup\t") == 2, round_told
    assert api("GET", "/") == {"servers": ["me", "me too"]}
    assert len(api("GET", "/", {"server": "me"})["pings"]) == 1
    api("DELETE", "/", {"server": "me too"})


def api_of_today(api: Api) -> None:
    """Lists, charts, health and metrics' kin: all that reads."""
    [server] = api("GET", "/api/v1/servers")["servers"]
    assert (server["name"], server["state"]) == ("me", "up")
    of_it = f"/api/v1/servers/{server['id']}"
    api("PATCH", of_it, {"port": 22})
    assert api("GET", f"{of_it}/summary?window=1d")["counts"]["up"] == 1
    assert api("GET", f"{of_it}/series?points=10")["buckets"]
    assert api("POST", f"{of_it}/ping")["echoes"]
    assert api("GET", "/api/v1/health")["database"]
    assert "/api/v1/servers" in api("GET", "/api/v1/openapi.json")["paths"]
    asked = "{ servers { nodes { name state lastPing { responseMs } } } }"
    answer = api("POST", "/graphql", {"query": asked})
    assert answer["data"]["servers"]["nodes"][0]["state"] == "up", answer


def incidents(api: Api) -> None:
    """An outage of which a minute came late; rules, planned work, a try on the past."""
    assert python("outage").split() == ["opened", "resolved", "late"]
    rule = {"name": "broken", "for": {"names": ["b*"]}, "when": {"loss_pct": 50, "of": 3}}
    flask("rules", "add", "-", given=json.dumps(rule))
    tried = api("POST", "/api/v1/rules/test", {"rule": rule | {"when": {"down": 2, "of": 3}}})
    assert tried["draft"]["incidents"] == 1, tried
    held = flask("quiet", "10m", "--name", "b*").split()[0]
    [broken] = api("GET", "/api/v1/servers?search=broken")["servers"]
    assert broken["exempt"]
    flask("quiet", "--end", held)
    [incident] = api("GET", "/api/v1/incidents?search=broken")["incidents"]
    assert (incident["state"], incident["how"]) == ("resolved", "good"), incident
    api("DELETE", f"/api/v1/servers/{broken['id']}")


def moved(api: Api) -> None:
    """An export, imported where it came from and, under another name, anew."""
    kept = api("GET", "/api/v1/export")
    assert api("POST", "/api/v1/import", kept) == {"servers": 0, "schedules": 0, "pings": 0}
    for one in (*kept["servers"], *kept["days"]):
        one["name" if "name" in one else "server"] = "copy"
    found = api("POST", "/api/v1/import", kept)
    assert (found["servers"], found["pings"]) == (1, 1), found


def main() -> None:
    """Walk through all of it."""
    flask("db", "upgrade")
    flask("users", "add", "ann", "--password-stdin", given="correct horse battery staple\n")
    with served(flask("users", "token", "ann", "smoke", "--scope", "write").split()[-1]) as api:
        incidents(api)
        contract(api)
        api_of_today(api)
        moved(api)
        flask("tidy")
    print(f"Python {sys.version.split()[0]}, SQLite {sqlite3.sqlite_version}: all is well")


if __name__ == "__main__":
    main()
