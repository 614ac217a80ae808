"""TCP handshakes on loopback: who answers, refuses or stays silent; no limit of ours is theirs."""

import os
import socket
from dataclasses import replace

import pytest

from core.probe import (
    ClockUsed,
    Destination,
    Echo,
    Kind,
    Pace,
    Verdict,
    probe,
)
from core.probe.system import HERE, System
from tests.core.probe.engine import FULL_TABLE, LOOPBACKS, QUICK, SYSTEMS, printed, verdicts


@LOOPBACKS
@SYSTEMS
def test_a_listening_port_answers(address: str, system: System, port: int) -> None:
    (result,) = probe(Kind.TCP, [Destination(address, (port,))], QUICK, system=system)
    assert verdicts([result]) == [[Verdict.ANSWERED] * 2]
    assert result.port == port
    clock = ClockUsed.KERNEL if system.kernel_clocks else ClockUsed.USER
    assert {echo.clock for echo in result.echoes} == {clock}


@LOOPBACKS
@SYSTEMS
def test_a_closed_port_refuses_and_the_user_clock_says_its_bound(
    address: str, system: System, closed_port: int
) -> None:
    (result,) = probe(Kind.TCP, [Destination(address, (closed_port,))], QUICK, system=system)
    assert verdicts([result]) == [[Verdict.REFUSED] * 2]
    assert result.port == closed_port
    for echo in result.echoes:
        assert echo.clock is ClockUsed.USER
        assert echo.rtt_ms is not None
        assert echo.bound_ms is not None
        assert echo.bound_ms > 0


@SYSTEMS
def test_a_port_that_drops_syns_gives_no_answer(system: System, deaf_port: int) -> None:
    pace = Pace(echoes=2, timeout_s=0.05, gap_s=0.001)
    (result,) = probe(Kind.TCP, [Destination("127.0.0.1", (deaf_port,))], pace, system=system)
    assert list(result.echoes) == [Echo(Verdict.NO_ANSWER)] * 2
    assert result.port is None


@SYSTEMS
def test_the_first_port_that_answers_serves_the_later_echoes(
    system: System, deaf_port: int, port: int
) -> None:
    (result,) = probe(
        Kind.TCP, [Destination("127.0.0.1", (deaf_port, port))], Pace(3, 20, 0.001), system=system
    )
    assert verdicts([result]) == [[Verdict.ANSWERED] * 3]
    assert result.port == port


def test_a_refusal_is_an_answer_to_a_volley(deaf_port: int, closed_port: int) -> None:
    ports = (deaf_port, closed_port)
    (result,) = probe(Kind.TCP, [Destination("127.0.0.1", ports)], Pace(2, 20, 0.001))
    assert verdicts([result]) == [[Verdict.REFUSED] * 2]
    assert result.port == closed_port


def test_after_a_volley_that_nobody_answered_nothing_more_is_sent(deaf_port: int) -> None:
    target = Destination("127.0.0.1", (deaf_port, deaf_port))
    (result,) = probe(Kind.TCP, [target], Pace(echoes=3, timeout_s=0.05, gap_s=0.001))
    assert verdicts([result]) == [[Verdict.NO_ANSWER, Verdict.LOCAL_FAULT, Verdict.LOCAL_FAULT]]
    assert "no port answered" in result.echoes[1].reason
    assert result.port is None


def test_an_echo_that_could_not_be_heard_out_is_no_loss(deaf_port: int) -> None:
    pace = Pace(echoes=1, timeout_s=30, budget_s=0.05)
    (result,) = probe(Kind.TCP, [Destination("127.0.0.1", (deaf_port,))], pace)
    assert list(result.echoes) == [Echo(Verdict.LOCAL_FAULT, reason="out of time")]


@pytest.mark.parametrize("ports", [(), (0,), (65536,), (-1,), (80, 70000)])
def test_a_target_without_a_usable_port_is_our_fault(ports: tuple[int, ...]) -> None:
    (result,) = probe(Kind.TCP, [Destination("127.0.0.1", ports)], QUICK)
    assert verdicts([result]) == [[Verdict.LOCAL_FAULT] * 2]
    assert "port" in result.echoes[0].reason


FOUR = Pace(echoes=4, timeout_s=50, gap_s=0.001)


@LOOPBACKS
def test_one_socket_serves_echo_after_echo(address: str, port: int) -> None:
    kept: list[int] = []

    def reset(fd: int) -> bool:
        kept.append(fd)
        assert HERE.reset
        return HERE.reset(fd)

    target = Destination(address, (port,))
    (result,) = probe(Kind.TCP, [target], FOUR, system=replace(HERE, reset=reset))
    assert verdicts([result]) == [[Verdict.ANSWERED] * 4]
    assert {echo.clock for echo in result.echoes} == {ClockUsed.KERNEL}
    assert kept == [kept[0]] * 3, "the last one is closed"


def test_both_families_are_answered_when_sockets_serve_again(port: int) -> None:
    addresses = ("127.0.0.1", "::ffff:127.0.0.1", "::1", "127.0.0.2")
    targets = [Destination(address, (port,)) for address in addresses]
    assert verdicts(probe(Kind.TCP, targets, FOUR)) == [[Verdict.ANSWERED] * 4] * 4


def test_a_socket_that_cannot_be_reset_gives_way_to_another(port: int) -> None:
    stubborn = replace(HERE, reset=lambda fd: False)
    results = probe(Kind.TCP, [Destination("127.0.0.1", (port,))], FOUR, system=stubborn)
    assert verdicts(results) == [[Verdict.ANSWERED] * 4]


def test_the_server_sees_every_connection_reset() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        probe(Kind.TCP, [Destination("127.0.0.1", (server.getsockname()[1],))], FOUR)
        for _ in range(4):
            connection, _ = server.accept()
            with connection, pytest.raises(ConnectionResetError):
                connection.recv(1)


def test_few_descriptors_make_a_sweep_slower_not_wrong() -> None:
    verdicts, _ = printed("-c", FULL_TABLE, "tcp", "4", "100")
    assert verdicts == ["refused"] * 200


def test_no_descriptor_left_is_a_local_fault_with_its_reason() -> None:
    verdicts, reason = printed("-c", FULL_TABLE, "tcp", "1", "3")
    assert verdicts == ["local fault"] * 6  # the poller takes the one that was left
    assert reason == os.strerror(24)
