"""Two workers on one database decide what one would: each incident once, and nothing else."""

import random
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

import pytest
from sqlalchemy import select, text

from core.incidents.judge import Limits
from core.models import DATA, EVENT, INCIDENT
from core.rounds.measure import Measured
from core.slots import slot_number
from handlers.worker import rounds
from infra.database import Database
from tests.core.incidents import oracle
from tests.core.incidents.rounds import found
from tests.infra.rows import MINUTE, SLOT, add

WORKERS = 3
HISTORIES = {"web": "gbbgbbggggbbbggg", "db": "bbggbbggbbggbbgg", "mail": "gggbxbgxggbbxxgg"}


@pytest.fixture
def workers(database: Database) -> Iterator[list[Database]]:
    """Processes have connections of their own, and so have these."""
    opened = [Database(database.settings) for _ in range(WORKERS)]
    yield opened
    for one in opened:
        one.engine.dispose()


def one_round(database: Database, slot: datetime, seen: Mapping[int, str]) -> None:
    """Do what a worker does in a round, but for looking."""
    rounds.close(database, slot)
    parts = [found(*one) for one in seen.items()]
    pings = [ping for some, _ in parts for ping in some]
    lost = [one for _, others in parts for one in others]
    rounds.store(database, slot, Measured(pings, lost), slot)
    rounds.announce(database, slot)


def timelines(database: Database) -> dict[int, list[tuple[str, int]]]:
    """Return of each server what happened in its incidents, and by which slot, in order."""
    lines: dict[int, list[tuple[str, int]]] = {}
    query = select(INCIDENT.c.server_id, EVENT.c.kind, EVENT.c.at)
    query = query.join(EVENT, EVENT.c.incident_id == INCIDENT.c.id).order_by(EVENT.c.id)
    with database.reading() as session:
        for server_id, kind, at in session.execute(query):
            lines.setdefault(server_id, []).append((kind, slot_number(at) - slot_number(SLOT)))
    return lines


def by_oracle(letters: str) -> list[tuple[str, int]]:
    turns = oracle.decisions(list(enumerate(letters)), *Limits(2, 3, 2))
    return [(turn, slot) for turn, slot, _ in turns]


@pytest.mark.driver
@pytest.mark.parametrize("in_step", [True, False], ids=["in step", "each at its own pace"])
def test_several_workers_on_one_database_decide_what_one_would(
    database: Database, workers: list[Database], *, in_step: bool
) -> None:
    letters = {add(database, name): history for name, history in HISTORIES.items()}
    barrier = threading.Barrier(WORKERS if in_step else 1, timeout=60)

    def work(number: int) -> None:
        ids = random.Random(number).sample(list(letters), len(letters))
        for minute in range(len(HISTORIES["web"])):
            barrier.wait()
            seen = {one: letters[one][minute] for one in ids}
            one_round(workers[number], SLOT + minute * MINUTE, seen)

    with ThreadPoolExecutor(WORKERS) as threads:
        list(threads.map(work, range(WORKERS)))
    assert timelines(database) == {one: by_oracle(history) for one, history in letters.items()}


def test_a_round_that_can_not_be_judged_is_recorded_and_judged_by_the_next(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    server_id = add(database)
    one_round(database, SLOT, {server_id: "b"})
    rename = "ALTER TABLE {} RENAME TO {}".format
    with database.transaction() as session:
        session.execute(text(rename("judged", "elsewhere")))
    one_round(database, SLOT + MINUTE, {server_id: "b"})
    assert "can't decide yet what round" in caplog.text
    with database.transaction() as session:
        session.execute(text(rename("elsewhere", "judged")))
        assert len(session.execute(select(DATA)).all()) == 2
    assert timelines(database) == {}
    one_round(database, SLOT + 2 * MINUTE, {server_id: "b"})
    assert timelines(database) == {server_id: [("opened", 1)]}
