"""Across all commands: as a user starts them, on a terminal, in a pipe, with a wrong setting."""

import os
import pty
import subprocess
from pathlib import Path

import pytest

from core.settings import Settings
from tests.handlers.conftest import ROOT, Flask, environment, flask_command


def on_a_terminal(database_url: str, *arguments: str) -> tuple[int, str]:
    """Run `flask ...` on a terminal of its own; return its exit code and what was to be seen."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        flask_command(*arguments),
        cwd=ROOT,
        env=environment(database_url, TERM="xterm-256color", COLUMNS="200"),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    seen = b""
    try:
        while octets := os.read(ours, 65_536):
            seen += octets
    except OSError:  # EIO: nobody holds the other end any more
        pass
    os.close(ours)
    return process.wait(250), seen.decode()


def test_in_a_pipe_there_are_lines_and_no_colours(
    flask: Flask, tmp_path: Path, accepting: tuple[str, int]
) -> None:
    file = tmp_path / "servers.csv"
    lines = [f"{name},{accepting[0]},tcp,{accepting[1]}" for name in ("web", "mail [red]x[/red]")]
    file.write_text("\n".join(["name,IP,probe,port", *lines]))
    imported = flask("servers", "import", str(file))
    assert (imported.returncode, imported.stderr) == (0, "")
    assert imported.stdout == "Added 2 servers\n"
    round_done = flask("worker", "--once")
    listed = flask("servers", "list")
    for done in (round_done, listed):
        assert done.returncode == 0
        assert "\x1b" not in done.stdout + done.stderr
        first, second = (line.split("\t") for line in done.stdout.splitlines())
        assert first[:3] == ["web", "127.0.0.1", "up"]
        assert second[0] == "mail [red]x[/red]"
    assert "2 up" in round_done.stderr


def test_servers_come_from_standard_input_and_go_to_standard_output(flask: Flask) -> None:
    given = "name,IP,port\nweb 🛰️,127.0.0.1,\nmail,127.0.0.2,25\n"
    assert flask("servers", "import", "-", stdin=given).returncode == 0
    exported = flask("servers", "export")
    expected = (
        "name,ip,probe,port,interval_s,enabled,tags,parent\n"
        "web 🛰️,127.0.0.1,auto,,60,yes,,\n"
        "mail,127.0.0.2,auto,25,60,yes,,\n"
    )
    assert (exported.stdout, exported.stderr) == (expected, "")


@pytest.mark.skipif(
    not Path("/dev/full").exists(), reason="NOT TESTED: a full disk; needs /dev/full"
)
@pytest.mark.parametrize("arguments", [[], ["--format", "json"], ["/dev/full"]])
def test_an_export_that_finds_no_room_says_so_in_one_line(
    flask: Flask, sqlite_settings: Settings, arguments: list[str]
) -> None:
    flask("servers", "add", "web", "127.0.0.1")
    code, said = exported_to(Path("/dev/full"), sqlite_settings, *arguments)
    assert (code, said.count("\n")) == (1, 1)
    assert said.startswith("Error: ")
    assert said.endswith("can't be written: No space left on device\n")


def test_an_export_that_nobody_reads_on_ends_quietly(
    flask: Flask, sqlite_settings: Settings
) -> None:
    flask("servers", "add", "web", "127.0.0.1")
    reading, writing = os.pipe()
    os.close(reading)
    try:
        assert exported_to(writing, sqlite_settings) == (1, "")
    finally:
        os.close(writing)


def exported_to(target: Path | int, settings: Settings, *arguments: str) -> tuple[int, str]:
    """Export the servers to there; return the exit code and what was said."""
    with open(target, "wb", closefd=isinstance(target, Path)) as stdout:
        done = subprocess.run(
            flask_command("servers", "export", *arguments),
            cwd=ROOT,
            env=environment(settings.database_url),
            stdout=stdout,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            timeout=250,
        )
    return done.returncode, done.stderr


def test_nobody_is_asked_about_a_server_that_is_not_there(flask: Flask) -> None:
    done = flask("servers", "remove", "web", stdin="y\n")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "Error: no server is named 'web'\n"


def test_on_a_terminal_there_is_a_table(
    flask: Flask, sqlite_settings: Settings, accepting: tuple[str, int]
) -> None:
    ip, port = accepting
    flask("servers", "add", "mail [red]x[/red]", ip, "--probe", "tcp", "--port", str(port))
    code, seen = on_a_terminal(sqlite_settings.database_url, "worker", "--once")
    assert code == 0
    assert "Pinging" in seen
    assert "\t" not in seen
    assert all(word in seen for word in ("name", "state", "echoes", "mail [red]x[/red]", "4/4"))


def test_a_wrong_setting_is_one_line_and_exit_code_1(flask: Flask) -> None:
    for arguments in (["servers", "list"], ["run"]):
        done = flask(*arguments, database_url="nonsense")
        assert done.returncode == 1
        assert done.stderr.splitlines()[-1].startswith("Error: DATABASE_URL")
        assert "Traceback" not in done.stderr
        assert "\x1b" not in done.stderr


@pytest.mark.skipif(os.name != "posix", reason="arguments are octets only on POSIX")
def test_an_argument_that_is_not_utf_8_is_refused(sqlite_settings: Settings) -> None:
    for command in (["servers", "add", b"caf\xe9", "127.0.0.1"], ["servers", "remove", b"\xff"]):
        done = subprocess.run(
            [*flask_command(), *command],
            cwd=ROOT,
            env=environment(sqlite_settings.database_url),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            timeout=250,
        )
        assert done.returncode == 1
        assert b"Traceback" not in done.stderr
        assert b"Error: name must not contain control characters" in done.stderr


def test_a_first_command_makes_the_database(flask: Flask, no_database: Path) -> None:
    done = flask("servers", "list", database_url=f"sqlite:///{no_database}")
    assert (done.returncode, done.stdout) == (0, "")
    assert no_database.exists()
