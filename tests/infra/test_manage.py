"""A command of `flask` in the cloud, by an `aws` that answers as Lambda would."""

import io
import json
import stat
from pathlib import Path

import pytest

from infra import manage

AWS = """#!/bin/sh
folder="$(dirname "$0")"
printf '%s\\n' "$@" > "$folder/words"
for word in "$@"; do
  case "$word" in file://*) cp "${word#file://}" "$folder/event";; esac
  last="$word"
done
cp "$folder/answer" "$last"
exit "$(cat "$folder/code")"
"""


@pytest.fixture
def cloud_of_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in which `aws` finds its answer and leaves what it was asked."""
    program = tmp_path / "aws"
    program.write_text(AWS)
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    (tmp_path / "code").write_text("0")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setattr("sys.stdin", io.StringIO("name,IP\nweb,192.0.2.1\n"))
    return tmp_path


def test_a_command_goes_with_its_input_and_its_output_and_exit_code_come_back(
    cloud_of_one: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (cloud_of_one / "answer").write_text(json.dumps({"exit_code": 3, "output": "no such user\n"}))
    assert manage.main(["pinglet-prod-manage", "servers", "import", "-"]) == 3
    assert capsys.readouterr().out == "no such user\n"
    assert json.loads((cloud_of_one / "event").read_text()) == {
        "command": ["servers", "import", "-"],
        "input": "name,IP\nweb,192.0.2.1\n",
    }


def test_nothing_that_was_typed_stands_in_the_list_of_processes(cloud_of_one: Path) -> None:
    (cloud_of_one / "answer").write_text(json.dumps({"exit_code": 0, "output": ""}))
    assert manage.main(["pinglet-prod-manage", "users", "add", "ann", "--password-stdin"]) == 0
    words = (cloud_of_one / "words").read_text()
    assert "pinglet-prod-manage" in words
    assert "ann" not in words.replace("manage", "")
    assert "192.0.2.1" not in words


def test_a_function_that_failed_is_exit_code_1_and_says_why(
    cloud_of_one: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (cloud_of_one / "answer").write_text(json.dumps({"errorMessage": "out of memory"}))
    assert manage.main(["pinglet-prod-manage", "db", "upgrade"]) == 1
    assert "out of memory" in capsys.readouterr().err


def test_without_a_command_it_says_how_it_is_used(capsys: pytest.CaptureFixture[str]) -> None:
    assert manage.main(["pinglet-prod-manage"]) == 2
    assert "python -m infra.manage FUNCTION COMMAND" in capsys.readouterr().out
