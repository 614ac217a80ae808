"""flask rules test: a draft of a rule beside those in force, as tables."""

import json
from pathlib import Path

import pytest
from flask.testing import FlaskCliRunner

from core.slots import SLOT
from infra.database import Database
from tests.handlers.cli.commands import done, refused
from tests.handlers.histories import IP, record_minutes, this_slot
from tests.infra.rows import add

DRAFT = json.dumps({"name": "slow to tell", "when": {"down": 15, "of": 15}})


def an_outage(cli: FlaskCliRunner) -> None:
    """Have a server be down for twelve minutes of the last hour."""
    database: Database = cli.app.extensions["pinglet"].database
    record_minutes(
        database,
        [add(database, ip=IP)],
        this_slot() - 60 * SLOT,
        60,
        lambda number: (0, None) if 10 <= number < 22 else (4, 1.0),
    )


def test_a_draft_stands_beside_the_rules_in_force(cli: FlaskCliRunner, tmp_path: Path) -> None:
    an_outage(cli)
    file = tmp_path / "rule.json"
    file.write_text(DRAFT)
    lines = done(cli, "rules", "test", str(file), "--days", "2").splitlines()
    assert lines[0].startswith("1 server from ")
    assert "1 outage of ten minutes or more; hours are those of UTC" in lines[0]
    since = f"{this_slot() - 50 * SLOT:%Y-%m-%dT%H:%M:00Z}"
    assert [line.split("\t") for line in lines[1:9]] == [
        ["rules", "slow to tell", "default"],
        ["incidents", "0", "1"],
        ["opened again", "0", "0"],
        ["nights woken", "0", lines[4].split("\t")[2]],
        ["delay, median", "-", "1 min"],
        ["delay, worst", "-", "1 min"],
        ["longest", "-", f"12 min, web, {since}"],
        ["outages missed", "1", "0"],
    ]
    hours = [line.split("\t") for line in lines[11:35]]
    assert [hour for hour, _, _ in hours] == [f"{hour:02}" for hour in range(24)]
    assert sum(int(number) for _, _, number in hours) == 1
    assert lines[35:] == [
        "",
        "Outages that the draft would have missed",
        f"web\t{since}\t12",
        "",
        "Most incidents by the rules in force",
        "web\t1\t12",
    ]


def test_without_servers_there_is_nothing_to_tell(cli: FlaskCliRunner) -> None:
    lines = done(cli, "rules", "test", "-", stdin=DRAFT).splitlines()
    assert lines[0].startswith("0 servers from ")
    assert lines[1].split("\t") == ["rules", "slow to tell", "none of this kind"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [(["--zone", "Mars/Olympus"], "zone must be a time zone's name"), ([], "not valid JSON")],
)
def test_what_cannot_be_tried_is_one_line(
    cli: FlaskCliRunner, arguments: list[str], sentence: str
) -> None:
    stdin = DRAFT if arguments else "{"
    assert sentence in refused(cli, "rules", "test", "-", *arguments, stdin=stdin)
