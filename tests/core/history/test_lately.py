"""What a monitoring system is told of the last quarter of an hour."""

import pytest

from core.checks.records import State
from core.history import lately
from core.history.lately import LATELY_SLOTS, Gauge, Lately
from core.slots import SLOT
from infra.database import Database
from tests.core.history.histories import FIRST, HOUR, add, fill, one_ping, reschedule, store
from tests.infra.statements import counted

NOW = FIRST + HOUR
START = 60 - LATELY_SLOTS


def gauge(database: Database) -> Gauge:
    """Return the only server's."""
    with database.reading() as session:
        [found] = lately.gauges(session, NOW)
        return found


def test_percentiles_are_nearest_ranks_of_the_slots_that_have_a_time(database: Database) -> None:
    history = add(database)
    times = [None, *(float(number) for number in range(1, 11))]
    store(
        database,
        {
            FIRST + (START + place) * SLOT: one_ping(history, ms, 4 if ms else 0)
            for place, ms in enumerate(times)
        },
    )
    assert gauge(database).lately == Lately(history.server_id, 11, 10, 44, 40, 5.0, 9.0, 10.0)


def test_what_is_older_or_not_over_yet_is_not_in_it(database: Database) -> None:
    fill(database, add(database), START - 1, 0, *[4] * LATELY_SLOTS, 0)
    found = gauge(database)
    assert found.lately is not None
    assert (found.lately.observed, found.lately.answered) == (LATELY_SLOTS, LATELY_SLOTS)
    assert (found.uptime, found.coverage) == (1.0, 1.0)


@pytest.mark.parametrize(("enabled", "coverage"), [(True, 0.0), (False, None)])
def test_of_a_server_without_a_ping_there_is_coverage_if_it_was_due(
    database: Database, enabled: bool, coverage: float | None
) -> None:
    history = add(database)
    reschedule(database, history, FIRST, enabled=enabled)
    found = gauge(database)
    assert (found.server.state, found.lately) == (State.UNOBSERVED, None)
    assert (found.uptime, found.coverage) == (None, coverage)


def test_a_pause_in_between_is_not_due(database: Database) -> None:
    history = add(database)
    reschedule(database, history, NOW - 5 * SLOT, enabled=False)
    assert gauge(database).due == LATELY_SLOTS - 5


def test_all_servers_take_four_statements(database: Database) -> None:
    for name in ("a", "b", "c"):
        fill(database, add(database, name=name), START, 4)
    with database.reading() as session, counted(database) as statements:
        found = lately.gauges(session, NOW)
    assert [one.server.name for one in found] == ["a", "b", "c"]
    assert len(statements) == 4
