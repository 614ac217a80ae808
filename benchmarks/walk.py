"""How far data walks: own calls, files and changes of file of four flows, as docs/design.md shows.

    python -m benchmarks.walk

Counted are calls of functions written in core, handlers and infra (comprehensions and lambdas are
not), the files they stand in, and how often a call leads from one file into another.
"""

import asyncio
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from types import FrameType
from typing import Any

from flask.testing import FlaskClient

from core.checks.records import Ping, Probe
from core.clock import utc_now
from core.rounds.record import record
from core.settings import Settings
from core.slots import SLOT, slot_of
from handlers.http.app import create_app
from handlers.instance import Instance
from handlers.worker import rounds

ROOT = Path(__file__).parents[1]
ROOMS = tuple(f"{ROOT / room}/" for room in ("core", "handlers", "infra"))
ENGINE = f"{ROOT / 'core' / 'probe'}/"
SERVER = {"name": "web", "ip": "127.0.0.1"}


@dataclass
class Walk:
    """What was walked while it was followed."""

    calls: int = 0
    changes: int = 0
    files: set[str] = field(default_factory=set)

    def follow(self, frame: FrameType, event: str, _argument: object) -> None:
        """Note one call; for sys.setprofile."""
        file = frame.f_code.co_filename
        if event != "call" or not file.startswith(ROOMS) or file.startswith(ENGINE):
            return
        if frame.f_code.co_name.startswith("<"):
            return
        self.calls += 1
        self.files.add(file)
        self.changes += _caller(frame) not in ("", file)


def _caller(frame: FrameType) -> str:
    """Return the file of ours that a call comes from."""
    back = frame.f_back
    while back is not None and not back.f_code.co_filename.startswith(ROOMS):
        back = back.f_back
    return back.f_code.co_filename if back else ""


def walked(do: Callable[[], Any]) -> Walk:
    """Follow one call, after another one has warmed everything up."""
    walk = Walk()
    sys.setprofile(walk.follow)
    try:
        do()
    finally:
        sys.setprofile(None)
    return walk


def flows(here: Instance, client: FlaskClient) -> dict[str, Walk]:
    """Walk each flow once."""
    names = iter(range(1_000))
    now = slot_of(utc_now())

    def contract() -> None:
        body = {"server": {"name": f"web {next(names)}", "IP": "127.0.0.1"}}
        assert client.post("/", json=body).status_code == 201

    def api() -> None:
        body = SERVER | {"name": f"web {next(names)}"}
        assert client.post("/api/v1/servers", json=body).status_code == 201

    def chart() -> None:
        answer = client.get(f"/api/v1/servers/1/series?points=289&until={now:%Y-%m-%dT%H:%M:00Z}")
        assert len(answer.get_json()["buckets"]) in (288, 289)

    def a_round() -> None:
        slot = now + next(names) * SLOT
        targets = rounds.due(here.database, now)[:1]
        asyncio.run(rounds.run_round(here, slot, targets))

    found = {}
    for name, flow in {
        "POST /": contract,
        "POST /api/v1/servers": api,
        "a chart of 289 points": chart,
        "a round of one server, without the engine": a_round,
    }.items():
        flow()
        found[name] = walked(flow)
    return found


def _history(here: Instance) -> None:
    now = slot_of(utc_now())
    with here.database.transaction() as session:
        for minutes in range(1, 1_440):
            ping = Ping(1, "127.0.0.1", 4, 4, 1.0, 0.9, 1.1, Probe.ICMP)
            record(session, now - timedelta(minutes=minutes), [ping])


def main() -> None:
    """Print one line for each flow."""
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(database_url=f"sqlite:///{folder}/walk.db", authentication=False)
        app = create_app(settings)
        here: Instance = app.extensions["pinglet"]
        client = app.test_client()
        client.post("/api/v1/servers", json=SERVER)
        _history(here)
        print("| flow | own calls | files | changes of file |\n|---|--:|--:|--:|")
        for name, walk in flows(here, client).items():
            print(f"| {name} | {walk.calls:,} | {len(walk.files)} | {walk.changes:,} |")
        here.database.engine.dispose()


if __name__ == "__main__":
    main()
