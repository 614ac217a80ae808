"""flask rules: when bad is bad enough, and for whom."""

import json
from pathlib import Path

import pytest
from flask.testing import FlaskCliRunner

from tests.handlers.cli.commands import done, refused, run

WANTED = {"name": "web down", "for": {"tags": ["web"]}, "when": {"down": 2, "of": 3}}


def test_a_rule_is_added_listed_changed_and_removed(cli: FlaskCliRunner, tmp_path: Path) -> None:
    file = tmp_path / "rule.json"
    file.write_text(json.dumps(WANTED))
    number = done(cli, "rules", "add", str(file)).split()[-1]
    assert done(cli, "rules", "list").rstrip("\n").split("\t") == [
        number,
        "web down",
        '{"tags":["web"],"names":[]}',
        '{"of":3,"down":2}',
        "2",
        "critical",
    ]
    anew = json.dumps({"name": "one", "when": {"down": 1, "of": 1}})
    result = run(cli, "rules", "change", number, "-", stdin=anew)
    assert result.stdout == f"Changed rule {number}\n"
    assert "again and again" in result.stderr
    assert done(cli, "rules", "list").split("\t")[1] == "one"
    assert done(cli, "rules", "remove", number) == f"Removed rule {number}\n"
    assert done(cli, "rules", "list") == ""


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{", "not valid JSON"),
        ('{"name": "web", "when": {"down": 4, "of": 3}}', "down must be at most as many slots"),
    ],
)
def test_what_is_no_rule_is_one_line(cli: FlaskCliRunner, text: str, sentence: str) -> None:
    assert sentence in refused(cli, "rules", "add", "-", stdin=text)


def test_a_rule_that_is_not_there_is_one_line(cli: FlaskCliRunner) -> None:
    for command in ("remove", "change"):
        file = ["-"] if command == "change" else []
        said = refused(cli, "rules", command, "4711", *file, stdin=json.dumps(WANTED))
        assert said == "Error: no rule has the id 4711\n"
