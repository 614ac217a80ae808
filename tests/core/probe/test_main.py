"""`python -m core.probe`, as scripts see it."""

import io
import json
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.probe.__main__ import main
from core.probe.system import HERE

ROOT = Path(__file__).parents[3]


@pytest.fixture(name="port")
def fixture_port() -> Iterator[int]:
    """A port that accepts on 127.0.0.1 and ::1."""
    with socket.create_server(
        ("::", 0), family=socket.AF_INET6, backlog=64, dualstack_ipv6=True
    ) as server:
        yield int(server.getsockname()[1])


@pytest.fixture(name="targets")
def fixture_targets(tmp_path: Path) -> Path:
    """A file with two targets, an empty line and a comment."""
    file = tmp_path / "targets"
    file.write_text("# ours\n127.0.0.1\n\n::1  # the other\n", "utf-8")
    return file


def test_json_has_one_object_a_line(
    targets: Path, port: int, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--kind", "tcp", "--targets", str(targets), "--count", "2", "--gap", "0.001"]
    assert main([*words, "--port", str(port), "--json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["target"] for line in lines] == ["127.0.0.1", "::1"]
    for line in lines:
        assert line["verdict"] == "answered"
        assert line["clock"] == ("kernel" if HERE.kernel_clocks else "user")
        assert line["port"] == port
        assert len(line["rtts_ms"]) == len(line["bounds_ms"]) == 2


def test_json_is_printed_whether_or_not_it_is_asked_for(
    targets: Path, port: int, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--kind", "tcp", "--targets", str(targets), "--count", "1", "--port", str(port)]
    for more in ([], ["--json"]):
        assert main([*words, *more]) == 0
        lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        assert [line["target"] for line in lines] == ["127.0.0.1", "::1"]


def test_a_lost_echo_is_null_and_the_exit_status_is_1(
    port: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # There's no interface of that number, so nothing can be sent there from anywhere.
    monkeypatch.setattr("sys.stdin", io.StringIO("fe80::1%4000000\n127.0.0.1\n"))
    words = ["--kind", "tcp", "--targets", "-", "--count", "1", "--port", str(port), "--json"]
    assert main(words) == 1
    lost, answered = map(json.loads, capsys.readouterr().out.splitlines())
    assert lost["rtts_ms"] == [None]
    assert lost["clock"] is None
    assert lost["verdict"] == "local fault"
    assert lost["reasons"]
    assert answered["verdict"] == "answered"


@pytest.mark.parametrize(
    ("content", "said"),
    [("127.0.0.1\nexample.org\n", "line 2: not an IP address"), ("# none\n", "no targets")],
)
def test_a_file_that_cannot_be_used_is_explained(
    tmp_path: Path, content: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "targets"
    file.write_text(content, "utf-8")
    assert main(["--targets", str(file)]) == 2
    output = capsys.readouterr()
    assert said in output.err
    assert not output.out


def test_a_missing_file_is_explained(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--targets", str(tmp_path / "missing")]) == 2
    assert "missing" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words", [["--port", "0"], ["--port", "x"], ["--kind", "udp"], ["--count", "many"]]
)
def test_a_wrong_option_ends_with_status_2(words: list[str], targets: Path) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--targets", str(targets), *words])
    assert ended.value.code == 2


def test_a_pace_nobody_can_keep_is_explained(
    targets: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--targets", str(targets), "--count", "0"]) == 2
    assert "echoes must be at least 1" in capsys.readouterr().err


@pytest.fixture(name="running")
def fixture_running() -> Iterator["subprocess.Popen[str]"]:
    """The command while it prints: more lines than a pipe holds, of which one has been read."""
    words = ("--kind", "tcp", "--targets", "-", "--count", "1", "--port", "1", "--json")
    with subprocess.Popen(
        [sys.executable, "-m", "core.probe", *words],
        cwd=ROOT,
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        process.stdin.write("127.0.0.1\n" * 2000)
        process.stdin.close()
        assert process.stdout.readline()
        yield process
        process.kill()


def test_a_reader_that_has_read_enough_ends_it_quietly(running: "subprocess.Popen[str]") -> None:
    running.stdout.close()
    assert running.stderr.read() == ""
    assert running.wait(250) == -signal.SIGPIPE


def test_ctrl_c_ends_it_quietly(running: "subprocess.Popen[str]") -> None:
    running.send_signal(signal.SIGINT)
    assert running.stderr.read() == ""
    assert running.wait(250) == -signal.SIGINT
