"""Is it us? What counts while no witness answers."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from msgspec.structs import replace
from sqlalchemy import select

from core.checks.records import Ping, Reason
from core.incidents.records import Extent, Standing
from core.models import WITNESS
from core.rounds.witnesses import left_out, weigh
from infra.database import Database
from tests.core.incidents.fleets import incidents
from tests.infra.rows import MINUTE, SLOT, ping
from tests.infra.statements import counted

HERE, THERE = "127.0.0.1", "127.0.0.2"
GOOD, BAD = ping(1), ping(2, None)


def lost(
    database: Database,
    slot: datetime,
    heard: Mapping[str, bool],
    pings: Sequence[Ping] = (GOOD, BAD),
) -> list[int]:
    """Weigh a batch; return the ids of the servers that are unobserved."""
    with database.transaction() as session:
        seen, unobserved = weigh(session, slot, pings, heard)
    ids = {one.server_id for one in pings}
    gone = [one.server_id for one in unobserved]
    assert {one.server_id for one in seen} == ids - set(gone)
    assert {one.reason for one in unobserved} <= {Reason.OUR_NETWORK}
    return gone


def test_who_does_not_answer_while_no_witness_does_is_unobserved(database: Database) -> None:
    assert lost(database, SLOT, {HERE: True}) == []
    assert lost(database, SLOT + MINUTE, {HERE: False}) == [2]
    [one] = incidents(database)
    assert (one.extent, one.state, one.server) == (Extent.US, Standing.OPEN, None)
    assert (one.opened, one.detail) == (SLOT + MINUTE, f"no answer from {HERE}")
    assert lost(database, SLOT + 2 * MINUTE, {HERE: True}) == []
    [one] = incidents(database)
    assert one.resolved == SLOT + 2 * MINUTE


def test_one_witness_that_answers_is_enough(database: Database) -> None:
    lost(database, SLOT, {HERE: True, THERE: True})
    assert lost(database, SLOT + MINUTE, {HERE: True, THERE: False}) == []
    assert lost(database, SLOT + MINUTE, {HERE: False, THERE: False}) == [2]


def test_a_service_that_refused_has_answered(database: Database) -> None:
    lost(database, SLOT, {HERE: True})
    refused = replace(BAD, reason=Reason.REFUSED)
    assert lost(database, SLOT + MINUTE, {HERE: False}, [refused]) == []


def test_a_witness_that_never_answered_is_left_out(database: Database) -> None:
    assert lost(database, SLOT, {HERE: False}) == []
    assert lost(database, SLOT + MINUTE, {HERE: False}) == []
    assert incidents(database) == []
    with database.reading() as session:
        assert left_out(session, SLOT + MINUTE) == [HERE]


def test_a_witness_that_fell_silent_while_others_answer_is_left_out_after_an_hour(
    database: Database,
) -> None:
    lost(database, SLOT, {HERE: True})
    gone = [lost(database, SLOT + number * MINUTE, {HERE: False}) for number in range(1, 90)]
    assert gone[:60] == 60 * [[2]]
    assert gone[80:] == 9 * [[]]


def test_while_nothing_comes_back_we_can_not_see_however_long_that_takes(
    database: Database,
) -> None:
    lost(database, SLOT, {HERE: True})
    for number in range(1, 200):
        assert lost(database, SLOT + number * MINUTE, {HERE: False}, [BAD]) == [2]


def test_a_laptop_that_wakes_up_or_changes_its_network_makes_no_outage(
    database: Database,
) -> None:
    lost(database, SLOT, {HERE: True})
    morning = SLOT + 600 * MINUTE
    assert lost(database, morning, {HERE: False}, [BAD]) == [2]
    # The new network's gateway isn't known yet; it answers, or it counts for nothing.
    assert lost(database, morning + MINUTE, {THERE: True}) == []
    assert lost(database, morning + 2 * MINUTE, {THERE: False}, [BAD]) == [2]


def test_few_rounds_write(database: Database) -> None:
    lost(database, SLOT, {HERE: True})
    with counted(database) as statements:
        lost(database, SLOT + MINUTE, {HERE: True})
    assert [one for one in statements if not one.startswith("SELECT")] == []
    lost(database, SLOT + 10 * MINUTE, {HERE: True})
    with database.reading() as session:
        assert session.scalars(select(WITNESS.c.answered)).all() == [SLOT + 10 * MINUTE]


def test_where_nobody_is_asked_everything_counts(database: Database) -> None:
    lost(database, SLOT, {HERE: True})
    with counted(database) as statements:
        assert lost(database, SLOT + MINUTE, {}) == []
    assert statements == []
