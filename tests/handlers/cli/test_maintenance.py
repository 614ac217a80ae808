"""flask maintenance and flask quiet: planned work."""

from datetime import datetime, timedelta

import pytest
from flask.testing import FlaskCliRunner

from core.clock import utc_now
from tests.handlers.cli.commands import done, refused

WEEKLY = ("--day", "sat", "--at", "02:00", "--minutes", "60", "--zone", "Europe/Berlin")


def test_planned_work_is_added_listed_and_removed(cli: FlaskCliRunner) -> None:
    number, until = done(
        cli, "maintenance", "add", "patches", "--tag", "web", "--name", "eu-*", *WEEKLY
    ).split()
    [line] = done(cli, "maintenance", "list").splitlines()
    assert line.split("\t")[:4] == [
        number,
        "patches",
        "tag:web eu-*",
        "sat 02:00 Europe/Berlin, 60 min",
    ]
    assert line.split("\t")[5] == until
    assert done(cli, "maintenance", "remove", number) == f"Removed maintenance {number}\n"
    assert done(cli, "maintenance", "list") == ""


def test_by_cron_and_once(cli: FlaskCliRunner) -> None:
    done(cli, "maintenance", "add", "backups", "--cron", "0 3 * * *", "--minutes", "30", "--counts")
    until = f"{utc_now() + timedelta(days=2):%Y-%m-%dT%H:%M:00Z}"
    since = f"{utc_now() + timedelta(days=1):%Y-%m-%dT%H:%M:00Z}"
    done(cli, "maintenance", "add", "disks", "--since", since, "--until", until)
    disks, backups = (one.split("\t") for one in done(cli, "maintenance", "list").splitlines())
    assert disks[1:] == ["disks", "all", "once", since, until]
    assert backups[1:4] == ["backups", "all", "0 3 * * * UTC, 30 min"]


def test_quiet_prints_its_id_and_its_end_and_is_ended(cli: FlaskCliRunner) -> None:
    number, until = done(cli, "quiet", "30m", "--tag", "web", "--note", "deploy").split()
    left = datetime.fromisoformat(until) - utc_now()
    assert timedelta(minutes=29) < left <= timedelta(minutes=31)
    [line] = done(cli, "maintenance", "list").splitlines()
    assert line.split("\t")[:4] == [number, "deploy", "tag:web", "once"]
    assert done(cli, "quiet", "--end", number) == ""
    assert done(cli, "maintenance", "list") == ""


@pytest.mark.parametrize(
    "words", [(), ("30m", "--end", "1"), ("30",), ("soon",), ("²m",), ("0m",), ("",)]
)
def test_quiet_wants_either_a_length_or_an_end(cli: FlaskCliRunner, words: tuple[str]) -> None:
    assert "must be" in refused(cli, "quiet", *words, code=2)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("quiet", "400d"), "until must be at most 366 days after since"),
        (("quiet", "--end", "4711"), "no maintenance has the id 4711"),
        (("maintenance", "remove", "4711"), "no maintenance has the id 4711"),
        (("maintenance", "add", "patches"), "when must be since and until, or days"),
        (("maintenance", "add", "patches", *WEEKLY[:-1], "Berlin"), "zone must be a name"),
    ],
)
def test_what_is_refused_is_one_line(
    cli: FlaskCliRunner, words: tuple[str, ...], told: str
) -> None:
    line = refused(cli, *words)
    assert told in line
    assert line.count("\n") == 1
