"""A database of v0.1.0 opened by today's code: every figure is the same, on both databases."""

import json
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from core.checks.records import Ping, Probe
from core.models import INCIDENT, LATCH
from core.rounds.measure import Measured
from core.slots import SLOT, slot_of
from handlers.worker import rounds
from infra.database import Database
from tests.fixtures.v0_1_0 import messages
from tests.pins import world
from tests.pins.world import Place
from tests.postgres import Postgres
from tests.upgrades import FIXTURE, answers, figures, fill_postgres, sqlite_file

# Today it is a list of servers, as people open it in a spreadsheet; history is exported as JSON.
NO_LONGER = {"/api/v1/export?format=csv"}
TOLD: dict[str, Any] = json.loads((FIXTURE / "figures.json").read_text())


@pytest.fixture(params=world.KINDS)
def upgraded(request: pytest.FixtureRequest, postgres: Postgres, tmp_path: Path) -> Iterator[Place]:
    """v0.1.0's database, upgraded and opened."""
    url = sqlite_file(tmp_path)
    if request.param == "postgres":
        url = world.new_database(postgres, "of_v0_1_0")
        fill_postgres(url, tmp_path)
    place = Place(request.param, url)
    yield place
    place.close()


def test_the_database_of_v0_1_0_keeps_every_figure(upgraded: Place) -> None:
    now = datetime.fromisoformat(TOLD["now"])
    told = answers(upgraded, TOLD["token"], now)
    now_told = figures({one: as_then(one, told[one]) for one in told}, TOLD["keys"])
    assert now_told.keys() == TOLD["answers"].keys() - NO_LONGER
    for address, now_so in now_told.items():
        assert now_so == TOLD["answers"][address], address


def test_after_the_upgrade_nothing_of_the_past_is_an_incident(upgraded: Place) -> None:
    database = upgraded.app.extensions["pinglet"].database
    first = slot_of(datetime.fromisoformat(TOLD["now"])) + SLOT
    past = [first - number * SLOT for number in (1, 2, 3)]
    for slot in (*past, first):
        one_round(database, slot, begins=slot == first)
    with database.reading() as session:
        assert session.execute(select(INCIDENT)).all() == []
    one_round(database, first + SLOT)
    with database.reading() as session:
        opened = session.scalars(select(INCIDENT.c.opened)).all()
        newest = session.scalar(select(LATCH.c.since).where(LATCH.c.name == "announced"))
    assert newest == first + SLOT
    assert {*opened} == {first}


def one_round(database: Database, slot: datetime, *, begins: bool = True) -> None:
    """Find every server that is due down; what doesn't begin was recorded by the older release."""
    targets = rounds.due(database, slot)
    down = [Ping(one.server_id, one.ip, 4, 0, None, None, None, Probe.TCP) for one in targets]
    if begins:
        rounds.close(database, slot)
    rounds.store(database, slot, Measured(down, []), slot)
    rounds.announce(database, slot)


def as_then(address: str, told: Any) -> Any:
    """Leave out what an answer has gained since, where another answer had a key of that name."""
    if address == "/api/v1/tokens":  # it comes in pages, and this is the last one
        assert told[1].pop("next") is None
    if address.startswith("/api/v1/servers") and told[0] == 200:
        of_lists = [one for key in ("servers", "pings") for one in told[1].get(key, [])]
        for one in [told[1], *of_lists]:
            # Why it isn't up: of what v0.1.0 recorded nobody knows.
            assert (one.pop("reason", None), one.pop("detail", None)) == (None, None)
    return told


def test_v0_1_0_reads_what_is_sent_today() -> None:
    for text in world.batch_texts():
        batch = messages.Batch.read(text)
        assert (batch.refused, batch.text()) == ([], text)
    for text in world.results_texts():
        results = messages.Results.read(text)
        assert (results.refused, list(results.texts())) == ([], [text])
