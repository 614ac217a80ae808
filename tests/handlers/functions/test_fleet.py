"""Across schedule, probe and record: a round over real handlers and queues, SQS by moto."""

import contextlib
import socket
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text

from core import slots
from core.checks.records import Probe
from core.clock import utc_now
from core.rounds import log as round_log
from handlers.functions import probe, record, schedule, warm
from handlers.worker import rounds
from infra.database import Database
from tests.cloud import Context, Queue
from tests.handlers.functions.messages import MINUTE, add_five, every_minute
from tests.infra.rows import add, add_many, rows_in, stored
from tests.instances import instance


def run_round(queues: dict[str, Queue], slot: datetime) -> None:
    """Drive one round through the three functions, a second after it is due."""
    schedule.send_round(warm.warm_instance(), slot, slot + timedelta(seconds=1))
    queues["batches"].drain(lambda event: probe.probe(event, Context()))
    queues["results"].drain(lambda event: record.record(event, Context()))


def test_a_round_goes_through_both_queues_and_ends_in_rows(fleet: dict[str, Queue]) -> None:
    database = warm.warm_instance().database
    add_five(database)
    slot = slots.slot_of(utc_now())
    sent = schedule.schedule(every_minute(slot), Context())
    assert (sent["due"], sent["batches"]) == (5, 3)
    fleet["batches"].drain(lambda event: probe.probe(event, Context()))
    fleet["results"].drain(lambda event: record.record(event, Context()))
    assert rows_in(database, slot) == 5


def no_server(_database: Database) -> None:
    """Leave the fleet empty: nothing is ever due."""


def add_some_out_of_reach(database: Database) -> None:
    """Add servers, of which this deployment may not probe all."""
    add_five(database)
    with database.transaction() as session:
        session.execute(text("UPDATE server SET ip = '224.0.0.1' WHERE id IN (2, 3)"))


@pytest.mark.parametrize(
    ("add", "count"), [(no_server, 0), (add_five, 5), (add_some_out_of_reach, 3)]
)
def test_in_one_process_and_over_queues_a_fleet_ends_in_the_same_rows(
    fleet: dict[str, Queue], add: Callable[[Database], None], count: int
) -> None:
    database = warm.warm_instance().database
    add(database)
    slot = slots.slot_of(utc_now())
    run_round(fleet, slot)
    over_queues = told(database)
    forget_what_came(database)
    run_in_one_process(database, slot)
    assert told(database) == over_queues
    assert [len(of_table) for of_table in over_queues] == [count, 1]


def test_a_round_that_can_not_be_recorded_leaves_the_same_rows_either_way(
    fleet: dict[str, Queue],
) -> None:
    database = warm.warm_instance().database
    add_five(database)
    slot = slots.slot_of(utc_now())
    with renamed(database, "data"):
        run_round(fleet, slot)
    over_queues = told(database)
    forget_what_came(database)
    with renamed(database, "data"):
        run_in_one_process(database, slot)
    assert told(database) == over_queues
    assert [len(of_table) for of_table in over_queues] == [0, 1]


@contextlib.contextmanager
def renamed(database: Database, table: str) -> Iterator[None]:
    """Take a table away meanwhile."""
    with database.transaction() as session:
        session.execute(text(f"ALTER TABLE {table} RENAME TO elsewhere"))
    yield
    with database.transaction() as session:
        session.execute(text(f"ALTER TABLE elsewhere RENAME TO {table}"))


def run_in_one_process(database: Database, slot: datetime) -> None:
    """Run the worker until that slot's round is over."""
    seconds = iter([1, 1, 3])  # it asks for the slot, when the round starts, and when it ends

    def now() -> datetime:
        return slot + timedelta(seconds=next(seconds))

    with pytest.raises(RuntimeError, match="StopIteration"):  # the round is over
        rounds.asyncio.run(rounds.run(instance(database), now))


def forget_what_came(database: Database) -> None:
    """Leave the servers as they were before their first round."""
    with database.transaction() as session:
        for table in ("data", "why", "round", "incident", "event", "judged"):
            session.execute(text(f"DELETE FROM {table}"))
        session.execute(text("DELETE FROM latch WHERE name = 'announced'"))
        session.execute(text("UPDATE server SET last_slot = NULL, last_ms = NULL"))


def told(database: Database) -> list[list[tuple[Any, ...]]]:
    """Return all that a round's rows say, but for times taken, which are never the same."""
    of_pings = (
        "SELECT d.server_id, d.datetime, d.sent, d.received, d.probe, d.response_time IS NULL, "
        "d.best_ms IS NULL, d.worst_ms IS NULL, s.last_slot, s.last_sent, s.last_received, "
        "s.last_port FROM data d JOIN server s ON s.id = d.server_id ORDER BY d.server_id"
    )
    of_rounds = "SELECT slot, due, observed, began >= slot, ended >= began FROM round ORDER BY slot"
    with database.reading() as session:
        found = (session.execute(text(query)) for query in (of_pings, of_rounds))
        return [[tuple(row) for row in rows] for rows in found]


Going = Callable[[datetime], object]
"""A way to go a round."""


@pytest.fixture
def port() -> int:
    """A port that refuses, as long as nobody listens there."""
    with reserved(0) as one:
        found: int = one.getsockname()[1]
        return found


def reserved(port: int) -> socket.socket:
    """Have a port for ourselves, on which nobody listens yet."""
    one = socket.socket()
    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    one.bind(("127.0.0.1", port))
    return one


def test_in_one_process_and_over_queues_the_incidents_are_the_same(
    fleet: dict[str, Queue], port: int
) -> None:
    database = warm.warm_instance().database
    add(database, "comes back", "127.0.0.1", probe=Probe.TCP, port=port)
    add(database, "away", "127.0.0.2", probe=Probe.TCP, port=port)
    add_many(database, ["out of reach"], "224.0.0.1")
    slot = slots.slot_of(utc_now())

    def go_through(one_round: Going) -> list[list[tuple[Any, ...]]]:
        with reserved(port) as service:
            for minute in range(4):
                if minute == 2:
                    service.listen()
                one_round(slot + minute * MINUTE)
        return incidents_told(database)

    over_queues = go_through(lambda at: run_round(fleet, at))
    forget_what_came(database)
    assert go_through(lambda at: run_in_one_process(database, at)) == over_queues
    incidents, lines, remembered = over_queues
    assert [(name, how) for name, _, _, how, *_ in incidents] == [
        ("comes back", "good"),
        ("away", None),
    ]
    assert [kind for _, kind, _ in lines] == ["opened", "resolved", "opened"]
    assert len(remembered) == 2


def incidents_told(database: Database) -> list[list[tuple[Any, ...]]]:
    """Return what was decided: incidents, their timelines, what the judge remembers."""
    queries = (
        "SELECT name, opened, confirmed, how, resolved, flaps, reason, detail "
        "FROM incident ORDER BY server_id, id",
        "SELECT i.server_id, e.kind, e.at FROM event e JOIN incident i ON i.id = e.incident_id "
        "ORDER BY i.server_id, e.id",
        "SELECT server_id, revision, memory FROM judged ORDER BY server_id",
    )
    with database.reading() as session:
        found = (session.execute(text(query)) for query in queries)
        return [[tuple(row) for row in rows] for rows in found]


def test_a_round_run_twice_over_queues_is_recorded_once(fleet: dict[str, Queue]) -> None:
    database = warm.warm_instance().database
    add_five(database)
    slot = slots.slot_of(utc_now())
    run_round(fleet, slot)
    before = stored(database)
    run_round(fleet, slot)
    assert stored(database) == before
    with database.reading() as session:
        [tally] = round_log.between(session, slot, slot + MINUTE)
    assert (tally.due, tally.observed, tally.unobserved) == (5, 5, 0)
    assert tally.lag >= timedelta(0)
    assert tally.duration is not None


def test_poison_ends_in_the_dead_letters_under_the_id_that_the_log_names(
    fleet: dict[str, Queue], caplog: pytest.LogCaptureFixture
) -> None:
    database = warm.warm_instance().database
    add_five(database)
    slot = slots.slot_of(utc_now())
    schedule.schedule(every_minute(slot), Context())
    fleet["batches"].send("poison")
    fleet["batches"].drain(lambda event: probe.probe(event, Context()))
    fleet["results"].send("poison, too")
    fleet["results"].drain(lambda event: record.record(event, Context()))
    for queue in fleet.values():
        (dead,) = queue.dead_letters()
        assert dead["Body"].startswith("poison")
        assert f"message {dead['MessageId']} failed: can't be read" in caplog.text
    assert rows_in(database, slot) == 5
