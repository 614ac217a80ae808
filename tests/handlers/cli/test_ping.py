"""`flask ping`: echoes and a summary for people, an exit code for scripts."""

import socket
from pathlib import Path

import pytest
from flask.testing import FlaskCliRunner

from core import probe
from tests.handlers.cli.commands import done, run

needs_icmp = pytest.mark.skipif(
    bool(probe.icmp_problem()), reason=f"NOT TESTED: ICMP; {probe.icmp_problem()}"
)


def test_ping_prints_echoes_and_a_summary(alone: FlaskCliRunner, listening: str) -> None:
    lines = done(alone, "ping", "127.0.0.1", "--port", listening).splitlines()
    assert lines[0].startswith("TCP, 4 echoes per address")
    echoes = lines[1:5]
    assert [echo.split()[:2] for echo in echoes] == [
        ["127.0.0.1:", f"seq={n}"] for n in (1, 2, 3, 4)
    ]
    assert all(" ms" in echo and "clock" in echo for echo in echoes)
    assert lines[5:8] == ["", "--- 127.0.0.1 ---", "4 echoes sent, 4 received, 0% lost"]
    assert lines[8].startswith("rtt min/avg/max = ")
    fastest, mean, slowest = (float(ms) for ms in lines[8].split()[3].split("/"))
    assert 0 <= fastest <= mean <= slowest


def test_a_closed_port_is_an_answer(alone: FlaskCliRunner) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = str(listener.getsockname()[1])
    said = done(alone, "ping", "127.0.0.1", "--port", port, "--count", "2")
    assert said.count("(refused)") == 2
    assert "2 echoes sent, 2 received" in said


def test_an_address_that_stays_silent_is_exit_code_1(
    alone: FlaskCliRunner, listening: str, silent: str
) -> None:
    result = run(alone, "ping", "127.0.0.1", "--port", silent, "--count", "1")
    assert result.exit_code == 1
    assert "1 echo sent, 0 received, 100% lost" in result.stdout
    assert "rtt" not in result.stdout


def test_ping_needs_no_database_and_makes_none(
    alone: FlaskCliRunner, no_database: Path, listening: str
) -> None:
    done(alone, "ping", "127.0.0.1", "--port", listening, "--count", "1")
    assert not no_database.exists()


@needs_icmp
def test_ping_without_a_port_is_icmp(alone: FlaskCliRunner) -> None:
    said = done(alone, "ping", "127.0.0.1", "127.0.0.2")
    assert said.startswith("ICMP, 4 echoes per address")
    assert said.count("4 echoes sent, 4 received, 0% lost") == 2
