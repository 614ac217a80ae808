"""/api/v1/health: what a load balancer and other monitors ask."""

import asyncio
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from core.clock import utc_now
from core.rounds import log as round_log
from core.rounds import stretches
from core.rounds.kernel import SILENT
from core.rounds.measure import Measured
from core.rounds.trust import Reading
from core.servers import change
from core.servers.records import ServerWanted
from core.settings import Settings
from handlers.http.app import create_app
from handlers.http.health import LOOKED
from handlers.worker import rounds
from infra.database import Database
from tests.handlers.histories import IP, MINUTE, add, at, record, this_slot
from tests.handlers.races import database_of
from tests.instances import instance

HEALTH = "/api/v1/health"


def health(client: FlaskClient, query: str = "") -> tuple[int, dict[str, Any]]:
    response = client.get(HEALTH + query)
    assert response.headers["Cache-Control"] == "no-store"
    body: dict[str, Any] = response.get_json()
    return response.status_code, body


def test_it_is_well_before_the_first_round(client: FlaskClient) -> None:
    code, body = health(client)
    assert code == 200
    assert body == {
        "status": "OK",
        "database": True,
        "last_round_age_s": None,
        "removal_waits": None,
        "now": body["now"],
        "late": False,
        "left_out": [],
    }


def add_as_if(database: Database, name: str, *, interval_s: int, ago: timedelta) -> list[int]:
    """Add a server as if some time ago; return its id."""
    wanted = ServerWanted(name=name, ip=IP, interval_s=interval_s)
    with database.transaction() as session:
        return [change.add(session, wanted, database.settings, utc_now() - ago)]


def test_each_answer_says_what_time_it_is_here(client: FlaskClient) -> None:
    before = utc_now()
    _code, first = health(client)
    _code, second = health(client)  # what it says of the database is kept for a second
    assert before <= at(first["now"]) < at(second["now"]) <= utc_now()


@pytest.mark.parametrize(
    ("minutes", "interval_s", "late"),
    [(2, 60, False), (4, 60, True), (60, 3_600, False), (122, 3_600, True), (None, 60, False)],
)
def test_rounds_are_late_by_the_shortest_interval_of_any_server(
    client: FlaskClient, database: Database, minutes: int | None, interval_s: int, late: bool
) -> None:
    ids = [
        *add_as_if(database, "web", interval_s=interval_s, ago=timedelta(days=minutes is not None)),
        *add_as_if(database, "slower", interval_s=7_200, ago=timedelta(0)),
    ]
    if minutes is not None:
        record(database, ids, this_slot() - minutes * MINUTE, (4, 1.5))
    code, body = health(client)
    assert (code, body["status"], body["late"]) == (200, "OK", late)


def test_without_any_round_it_is_late_once_one_was_due(
    client: FlaskClient, database: Database
) -> None:
    add_as_if(database, "web", interval_s=60, ago=2 * MINUTE)
    assert health(client)[1]["late"] is False
    add_as_if(database, "older", interval_s=60, ago=4 * MINUTE)
    LOOKED.clear()
    assert health(client)[1]["late"] is True


def test_who_goes_on_after_a_pause_is_not_late(client: FlaskClient, database: Database) -> None:
    ids = add_as_if(database, "web", interval_s=60, ago=timedelta(days=2))
    record(database, ids, this_slot() - timedelta(days=1), (4, 1.5))
    client.patch(f"/api/v1/servers/{ids[0]}", json={"enabled": False})
    client.patch(f"/api/v1/servers/{ids[0]}", json={"enabled": True})
    assert health(client)[1]["late"] is False


def test_who_is_due_more_often_from_now_on_makes_nothing_late(
    client: FlaskClient, database: Database
) -> None:
    ids = add_as_if(database, "hourly", interval_s=3_600, ago=timedelta(days=2))
    record(database, ids, this_slot() - 40 * MINUTE, (4, 1.5))
    add_as_if(database, "web", interval_s=60, ago=timedelta(0))
    assert health(client)[1]["late"] is False
    client.patch(f"/api/v1/servers/{ids[0]}", json={"interval_s": 60})
    LOOKED.clear()
    assert health(client)[1]["late"] is False


def test_nothing_is_late_where_every_server_is_paused(client: FlaskClient) -> None:
    (server_id,) = add(client, "web")
    client.patch(f"/api/v1/servers/{server_id}", json={"enabled": False})
    assert health(client)[1]["late"] is False


@pytest.mark.parametrize(
    ("minutes", "query", "code", "status"),
    [
        (3, "", 200, "OK"),
        (3, "?max_age_s=600", 200, "OK"),
        (3, "?max_age_s=60", 503, "ROUNDS_LATE"),
        (None, "?max_age_s=60", 503, "ROUNDS_LATE"),
    ],
)
def test_rounds_are_late_where_the_newest_is_older_than_the_caller_allows(
    client: FlaskClient,
    database: Database,
    minutes: int | None,
    query: str,
    code: int,
    status: str,
) -> None:
    ids = add(client, "web")
    if minutes is not None:
        record(database, ids, this_slot() - minutes * MINUTE, (4, 1.5))
    found, body = health(client, query)
    assert (found, body["status"], body["database"]) == (code, status, True)


def test_the_age_is_that_of_the_newest_rounds_slot(client: FlaskClient, database: Database) -> None:
    slow, fast = add(client, "slow", "fast")
    record(database, [slow], this_slot() - 30 * MINUTE, (4, 1.5))
    record(database, [fast], this_slot() - 2 * MINUTE, (0, None))
    _code, body = health(client)
    assert 120 <= body["last_round_age_s"] < 240


def test_a_slot_of_the_future_is_no_sign_of_life(client: FlaskClient, database: Database) -> None:
    ids = add(client, "ahead", "late")
    record(database, ids[:1], this_slot() + timedelta(days=1), (4, 1.5))
    record(database, ids[1:], this_slot() - 10 * MINUTE, (4, 1.5))
    code, body = health(client, "?max_age_s=120")
    assert (code, body["status"]) == (503, "ROUNDS_LATE")
    assert body["last_round_age_s"] >= 600


def test_a_database_that_is_away_is_said_with_a_503(postgres_settings: Settings) -> None:
    nowhere = "postgresql://nobody@127.0.0.1:1/none"
    settings = replace(postgres_settings, database_url=nowhere, connect_timeout_s=0.1)
    app = create_app(settings)
    code, body = health(app.test_client())
    assert code == 503
    assert body == {
        "status": "DATABASE_UNREACHABLE",
        "database": False,
        "last_round_age_s": None,
        "removal_waits": None,
        "now": body["now"],
        "late": False,
        "left_out": [],
    }


def test_whoever_asks_often_asks_the_database_once_a_second(
    client: FlaskClient, database: Database
) -> None:
    ids = add(client, "web")
    _code, before = health(client)
    record(database, ids, this_slot(), (4, 1.5))
    _code, again = health(client)
    assert again | {"now": before["now"]} == before


def test_removal_that_waits_is_told(client: FlaskClient, database: Database) -> None:
    week_ago = this_slot() - timedelta(days=7)
    with database.transaction() as session:
        stretches.note(session, Reading(week_ago, SILENT))
        stretches.note(session, Reading(this_slot(), SILENT))
    code, body = health(client)
    assert (code, body["status"]) == (200, "OK")
    assert "rounds don't vouch yet for 168.0 hours" in body["removal_waits"]


def test_a_clock_that_lies_behind_its_rounds_is_told(
    client: FlaskClient, database: Database
) -> None:
    with database.transaction() as session:
        stretches.note(session, Reading(this_slot(), SILENT))
        stretches.note(session, Reading(this_slot() - timedelta(days=7), SILENT))
    _code, body = health(client)
    assert body["removal_waits"].startswith("the clock is contradicted: nothing is recorded")


def begin(database: Database, slot: datetime, due: int = 1) -> None:
    with database.transaction() as session:
        round_log.begin(session, slot, due, slot)


def test_a_round_that_could_not_be_recorded_is_told_unasked(
    client: FlaskClient, database: Database
) -> None:
    add(client, "web")
    with database.transaction() as session:
        session.execute(text("ALTER TABLE data RENAME TO elsewhere"))
    try:
        slot = this_slot() - 3 * MINUTE
        targets = rounds.due(database, slot + 4 * MINUTE)
        with pytest.raises(SQLAlchemyError):
            asyncio.run(rounds.run_round(instance(database), slot, targets, now=lambda: slot))
    finally:
        with database.transaction() as session:
            session.execute(text("ALTER TABLE elsewhere RENAME TO data"))
    code, body = health(client)
    assert (code, body["status"], body["database"]) == (200, "ROUNDS_FAIL", True)


def test_rounds_that_no_longer_begin_are_told_unasked(
    client: FlaskClient, database: Database
) -> None:
    begin(database, this_slot() - 7 * MINUTE, due=0)
    code, body = health(client)
    assert (code, body["status"], body["database"]) == (200, "ROUNDS_LATE", True)


def test_a_round_that_is_under_way_is_no_failure(client: FlaskClient, database: Database) -> None:
    begin(database, this_slot() - MINUTE)
    assert health(client)[0] == 200


def test_a_witness_that_does_not_answer_is_named(client: FlaskClient) -> None:
    now = this_slot()
    rounds.store(database_of(client), now, Measured([], [], {"192.0.2.9": False}), now)
    assert health(client)[1]["left_out"] == ["192.0.2.9"]
