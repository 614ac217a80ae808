"""Announcing: what is decided is what was recorded, whatever the order in which it came."""

import random
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import pytest
from sqlalchemy import select

from core.incidents import announce
from core.incidents.judge import Limits
from core.incidents.records import How
from core.models import INCIDENT
from core.servers import change
from core.servers.records import ServerChange
from infra.database import Database
from tests.core.incidents import oracle
from tests.core.incidents.rounds import DOWN, LOST, UP, Told, arrive, begin, minutes, told
from tests.counts import count, named
from tests.infra.rows import MINUTE, SLOT, add

WORLDS = named("random worlds of incidents, on each database", 1_000)


def test_two_bad_minutes_of_three_are_an_incident_and_two_good_ones_end_it(
    database: Database,
) -> None:
    server_id = add(database)
    minutes(database, server_id, "ggbgb")
    assert told(database) == [Told(2, 4, None, None, 0)]
    minutes(database, server_id, "bgg", SLOT + 5 * MINUTE)
    assert told(database) == [Told(2, 4, 6, How.GOOD, 0)]


def test_a_slot_waits_for_everybody_who_was_due(database: Database) -> None:
    first, second = add(database), add(database, "db")
    begin(database, SLOT)
    for slot in (SLOT, SLOT + MINUTE):
        arrive(database, slot, [(first, DOWN)])
        assert told(database) == []
        arrive(database, slot, [(second, UP)])
    assert told(database) == [Told(0, 1, None, None, 0)]


def test_who_never_answers_is_waited_for_until_the_round_after_next(database: Database) -> None:
    first, _ = add(database), add(database, "db")
    for slot in (SLOT, SLOT + MINUTE):
        begin(database, slot)
        arrive(database, slot, [(first, DOWN)])
    begin(database, SLOT + 2 * MINUTE)
    assert told(database) == []
    begin(database, SLOT + 3 * MINUTE)
    assert told(database) == [Told(0, 1, None, None, 0)]


def test_nothing_of_the_past_is_told(database: Database) -> None:
    server_id = add(database)
    for slot in (SLOT - 2 * MINUTE, SLOT - MINUTE):
        arrive(database, slot, [(server_id, DOWN)])
    begin(database, SLOT)
    arrive(database, SLOT, [(server_id, DOWN)])
    assert told(database) == []


def test_what_comes_behind_the_fence_decides_nothing(database: Database) -> None:
    server_id = add(database)
    minutes(database, server_id, "b")
    begin(database, SLOT + 3 * MINUTE)
    arrive(database, SLOT + MINUTE, [(server_id, DOWN)])
    minutes(database, server_id, "gg", SLOT + 3 * MINUTE)
    assert told(database) == []


def test_a_worker_that_was_away_makes_no_incident(database: Database) -> None:
    server_id = add(database)
    slot = minutes(database, server_id, "gggb")
    minutes(database, server_id, "bgg", slot + timedelta(days=30))
    assert told(database) == []


def remove(database: Database, _server_id: int, _now: datetime) -> None:
    with database.transaction() as session:
        change.remove(session, "web")


def pause(database: Database, server_id: int, now: datetime) -> None:
    with database.transaction() as session:
        change.alter(session, server_id, ServerChange(enabled=False), database.settings, now)


@pytest.mark.parametrize(("do", "how"), [(remove, How.REMOVED), (pause, How.PAUSED)])
def test_who_is_no_longer_watched_has_no_open_incident(
    database: Database, do: Callable[[Database, int, datetime], None], how: How
) -> None:
    server_id = add(database)
    slot = minutes(database, server_id, "bbb")
    do(database, server_id, slot - timedelta(seconds=1))
    begin(database, slot)
    with database.transaction() as session:
        announce.announce(session, slot)
    assert told(database) == [Told(0, 1, 3, how, 0)]


# Random worlds


class World(NamedTuple):
    """What happens: of each server a letter for each slot, and in which batches that comes."""

    slots: int
    letters: dict[int, str]
    arrivals: list[tuple[datetime, datetime | None, list[tuple[int, str]]]]
    """When a batch comes, its slot, what it says; without a slot a round begins."""


def world(chance: random.Random, ids: Sequence[int], slots: int) -> World:
    letters = {one: a_history(chance, slots) for one in ids}
    arrivals: list[Any] = []
    seen: dict[int, list[str]] = {one: [] for one in ids}
    for number in range(slots):
        slot = SLOT + number * MINUTE
        arrivals.append((slot, None, []))
        shuffled = chance.sample(ids, len(ids))
        cut = chance.randrange(len(ids) + 1)
        for batch in (shuffled[:cut], shuffled[cut:]):
            said = [(one, letters[one][number]) for one in batch]
            lost, late = chance.random() < 0.03, chance.random() < 0.05
            delay = chance.uniform(2, 3_000) if late else chance.uniform(0.01, 1.99)
            for one in batch:
                seen[one].append(LOST if lost or late else letters[one][number])
            for _ in range(0 if lost else 1 + (chance.random() < 0.3)):
                arrivals.append((slot + delay * MINUTE, slot, said))
                delay *= chance.uniform(1, 3)
    arrivals.append((SLOT + (slots + 1) * MINUTE, None, []))
    arrivals.sort(key=lambda arrival: arrival[0])
    return World(slots, {one: "".join(said) for one, said in seen.items()}, arrivals)


def a_history(chance: random.Random, slots: int) -> str:
    letters = ""
    while len(letters) < slots:
        letters += chance.choice("gggbbx") * chance.choice((1, 1, 2, 3, 10))
    return letters[:slots]


def by_oracle(letters: str) -> Iterator[Told]:
    """Return the incidents of a server whose slots were announced as these letters."""
    told: list[Told] = []
    for turn, slot, since in oracle.decisions(list(enumerate(letters)), *Limits(2, 3, 2)):
        if turn == "opened":
            told.append(Told(since, slot, None, None, 0))
        elif turn == "reopened":
            told[-1] = told[-1]._replace(resolved=None, how=None, flaps=told[-1].flaps + 1)
        else:
            told[-1] = told[-1]._replace(resolved=since, how="good")
    yield from told


@pytest.mark.parametrize("seed", range(count(4, WORLDS)))
def test_incidents_are_those_of_one_who_reads_the_whole_history(
    database: Database, seed: int
) -> None:
    chance = random.Random(seed)
    ids = [add(database, name) for name in ("web", "db", "mail")]
    made = world(chance, ids, slots=40)
    for _, slot, said in made.arrivals:
        if slot is None:
            begin(database, _)
        else:
            arrive(database, slot, said)
    with database.reading() as session:
        by_id = defaultdict(list)
        rows = session.execute(select(INCIDENT.c.server_id).order_by(INCIDENT.c.id)).scalars()
        for server_id, one in zip(rows, told(database), strict=True):
            by_id[server_id].append(one)
    for one in ids:
        assert by_id[one] == list(by_oracle(made.letters[one])), made.letters[one]
