"""`flask worker` and `flask tidy`: a round is printed and recorded, days are packed."""

from collections.abc import Callable
from datetime import timedelta

from flask.testing import FlaskCliRunner

from core.clock import utc_now
from core.rounds import stretches
from core.rounds.kernel import SILENT
from core.rounds.trust import Reading
from core.settings import Settings
from handlers.cli import app as local
from tests.core.history.histories import (
    made_up,
)
from tests.handlers.cli.commands import done, run
from tests.handlers.conftest import Rows
from tests.infra.rows import counts


def test_a_round_is_printed_and_recorded(
    cli: FlaskCliRunner, rows: Callable[[], Rows], listening: str
) -> None:
    done(cli, "servers", "add", "web", "127.0.0.1", "--probe", "tcp", "--port", listening)
    (line,) = done(cli, "worker", "--once").splitlines()
    name, ip, state, ms, echoes, why = line.split("\t")
    assert (name, ip, state, echoes, why) == ("web", "127.0.0.1", "up", "4/4", "")
    assert 0 <= float(ms) < 1000
    assert len(rows()["data"]) == 1
    (listed,) = done(cli, "servers", "list").splitlines()
    assert listed.split("\t")[2:4] == ["up", ms]


def test_a_server_that_is_down_is_found_so_and_the_round_is_well(
    cli: FlaskCliRunner, silent: str
) -> None:
    done(cli, "servers", "add", "web", "127.0.0.1", "--probe", "tcp", "--port", silent)
    result = run(cli, "worker", "--once")
    assert result.stdout.rstrip("\n").split("\t")[2:] == ["down", "", "0/4", "no answer"]
    assert result.exit_code == 0
    assert "1 down" in result.stderr


def test_a_server_that_could_not_be_observed_is_exit_code_1(
    cli: FlaskCliRunner, settings: Settings, listening: str
) -> None:
    done(cli, "servers", "add", "web", "127.0.0.1", "--probe", "tcp", "--port", listening)
    environ = {"DATABASE_URL": settings.database_url, "PINGLET_ALLOW_LOOPBACK": "0"}
    stricter = local.create_app(Settings.from_env(environ))
    result = run(stricter.test_cli_runner(), "worker", "--once")
    stricter.extensions["pinglet"].database.engine.dispose()
    assert result.exit_code == 1
    name, _, state, ms, echoes, why = result.stdout.rstrip("\n").split("\t")
    assert (name, state, ms, echoes) == ("web", "unobserved", "", "")
    assert why


def test_a_round_of_nobody_is_well(cli: FlaskCliRunner) -> None:
    assert done(cli, "worker", "--once") == ""


def test_the_command_says_what_it_did(cli: FlaskCliRunner) -> None:
    database = cli.app.extensions["pinglet"].database
    made_up(database, 1)
    assert done(cli, "tidy") == "days packed: 0, pings removed: 0, old days removed: 0\n"
    result = cli.invoke(args=["tidy", "--clock-is-right"])
    assert result.exit_code == 0
    raw, packed = counts(database)
    assert raw == 0
    assert result.output.startswith(f"days packed: {packed}, pings removed: ")
    assert cli.invoke(args=["tidy"]).stdout.startswith("days packed: 0, pings removed: 0")


def test_by_a_clock_that_is_contradicted_no_round_is_made_until_a_person_says_so(
    cli: FlaskCliRunner, rows: Callable[[], Rows], listening: str
) -> None:
    done(cli, "servers", "add", "web", "127.0.0.1", "--probe", "tcp", "--port", listening)
    with cli.app.extensions["pinglet"].database.transaction() as session:
        stretches.note(session, Reading(utc_now() + timedelta(days=1), SILENT))
    refused = run(cli, "worker", "--once")
    assert refused.exit_code == 1
    assert "nothing is recorded or removed until it is back or has proved right" in refused.stderr
    assert rows()["data"] == []
    done(cli, "tidy", "--clock-is-right")
    done(cli, "worker", "--once")
    assert len(rows()["data"]) == 1
