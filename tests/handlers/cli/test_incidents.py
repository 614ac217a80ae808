"""flask incidents: what is wrong, and what was."""

from typing import Any

import pytest
from flask.testing import FlaskCliRunner

from core.clock import utc_now
from core.incidents.records import Extent, Incident, Watched
from core.rounds.measure import Measured
from core.slots import SLOT, slot_of
from handlers.cli.incidents import what
from handlers.worker import rounds
from infra.database import Database
from tests.handlers.cli.commands import done
from tests.infra.rows import add, ping


def an_outage(cli: FlaskCliRunner) -> Database:
    database: Database = cli.app.extensions["pinglet"].database
    server_id = add(database)
    now = slot_of(utc_now())
    for slot in (now - SLOT, now):
        rounds.close(database, slot)
        rounds.store(database, slot, Measured([ping(server_id, None)], []), now)
        rounds.announce(database, slot)
    return database


def test_an_incident_is_listed_acknowledged_and_resolved(cli: FlaskCliRunner) -> None:
    assert done(cli, "incidents", "list") == ""
    an_outage(cli)
    number, state, name, *_ = done(cli, "incidents", "list").split("\t")
    assert (state, name) == ("open", "web")
    assert "You look after" in done(cli, "incidents", "ack", number, "--note", "a cable")
    assert "looks after it" in done(cli, "incidents", "list")
    done(cli, "incidents", "unack", number)
    done(cli, "incidents", "comment", number, "found it")
    done(cli, "incidents", "resolve", number)
    assert done(cli, "incidents", "list") == ""
    assert done(cli, "incidents", "list", "--all").split("\t")[1] == "resolved"
    lines = [line.split("\t") for line in done(cli, "incidents", "show", number).splitlines()]
    kinds = ["opened", "acknowledged", "unacknowledged", "comment", "resolved"]
    assert [kind for _, kind, *_ in lines] == kinds
    assert [note for *_, note in lines] == ["", "a cable", "", "found it", ""]


def test_a_group_is_shown_with_its_members(cli: FlaskCliRunner) -> None:
    database: Database = cli.app.extensions["pinglet"].database
    ids = [add(database, f"web{number}", tags=["web"]) for number in range(5)]
    now = slot_of(utc_now())
    for slot in (now - SLOT, now):
        rounds.close(database, slot)
        rounds.store(database, slot, Measured([ping(one, None) for one in ids], []), now)
        rounds.announce(database, slot)
    number, _, name, *_ = done(cli, "incidents", "list").split("\t")
    assert name == "tag web (5)"
    lines = [line.split("\t") for line in done(cli, "incidents", "show", number).splitlines()]
    assert [line[0] for line in lines[1:]] == [f"web{one}" for one in range(5)]


@pytest.mark.parametrize(
    ("of", "said"),
    [
        ({"extent": Extent.PARENT, "parent": Watched(id=1, name="switch")}, "behind switch (7)"),
        ({"extent": Extent.NETWORK, "network": "10.0.0.0/24"}, "network 10.0.0.0/24 (7)"),
        ({"extent": Extent.ALL}, "all servers (7)"),
        ({"extent": Extent.US}, "our own network"),
    ],
)
def test_a_group_is_called_by_what_its_servers_share(of: dict[str, Any], said: str) -> None:
    nothing = dict.fromkeys(Incident.__struct_fields__)
    assert what(Incident(**nothing | {"servers": 7} | of)) == said


def test_an_incident_that_is_not_there_is_one_line(cli: FlaskCliRunner) -> None:
    assert cli.invoke(args=["incidents", "show", "--", "-99999999999999999999"]).exit_code == 2
    result = cli.invoke(args=["incidents", "resolve", "4711"])
    assert (result.exit_code, result.stderr) == (1, "Error: no incident has the id 4711\n")
