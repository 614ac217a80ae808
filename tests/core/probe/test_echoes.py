"""The engine on this machine's own loopback: what it says about servers that really are there."""

import os
import pickle
import socket
import struct
import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from ipaddress import ip_address
from itertools import pairwise
from time import monotonic

import pytest

from core.probe import (
    PORTABLE,
    ClockUsed,
    Echo,
    Kind,
    Pace,
    Result,
    Target,
    Verdict,
    icmp_problem,
    probe,
)
from core.probe.addresses import sockaddr_of, understand
from core.probe.system import HERE, System

KINDS = pytest.mark.parametrize("kind", list(Kind))
SYSTEMS = pytest.mark.parametrize("system", [HERE, PORTABLE], ids=["here", "portable"])
LOOPBACKS = pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
QUICK = Pace(echoes=2, timeout_s=5, gap_s=0.001)


@pytest.fixture(name="port")
def fixture_port() -> Iterator[int]:
    """A port that accepts on 127.0.0.0/8 and ::1."""
    with socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True) as server:
        server.listen(4096)
        yield int(server.getsockname()[1])


@pytest.fixture(name="closed_port")
def fixture_closed_port() -> Iterator[int]:
    """A port that nobody else takes and where nobody listens."""
    with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as holder:
        holder.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        holder.bind(("::", 0))
        yield int(holder.getsockname()[1])


@pytest.fixture(name="deaf_port")
def fixture_deaf_port() -> Iterator[int]:
    """A port whose queue of waiting connections is full: the kernel drops further SYNs."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        address = server.getsockname()
        waiting = [socket.socket() for _ in range(4)]
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(address)
        waiting[0].settimeout(50)
        yield int(address[1])
        for one in waiting:
            one.close()


def verdicts(results: Sequence[Result]) -> list[list[Verdict]]:
    """Just the verdicts, target by target."""
    return [[echo.verdict for echo in result.echoes] for result in results]


@LOOPBACKS
@SYSTEMS
def test_an_icmp_echo_on_loopback_is_answered(address: str, system: System) -> None:
    (result,) = probe(Kind.ICMP, [Target(address)], QUICK, system=system)
    assert verdicts([result]) == [[Verdict.ANSWERED] * 2]
    clock = ClockUsed.KERNEL if system.kernel_clocks else ClockUsed.USER
    assert {echo.clock for echo in result.echoes} == {clock}
    assert all(echo.rtt_ms is not None and echo.rtt_ms >= 0 for echo in result.echoes)
    assert all(echo.bound_ms is not None and echo.bound_ms > 0 for echo in result.echoes)
    assert result.port is None


@LOOPBACKS
@SYSTEMS
def test_a_listening_port_answers(address: str, system: System, port: int) -> None:
    (result,) = probe(Kind.TCP, [Target(address, (port,))], QUICK, system=system)
    assert verdicts([result]) == [[Verdict.ANSWERED] * 2]
    assert result.port == port
    clock = ClockUsed.KERNEL if system.kernel_clocks else ClockUsed.USER
    assert {echo.clock for echo in result.echoes} == {clock}


@LOOPBACKS
@SYSTEMS
def test_a_closed_port_refuses_and_the_user_clock_says_its_bound(
    address: str, system: System, closed_port: int
) -> None:
    (result,) = probe(Kind.TCP, [Target(address, (closed_port,))], QUICK, system=system)
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
    (result,) = probe(Kind.TCP, [Target("127.0.0.1", (deaf_port,))], pace, system=system)
    assert list(result.echoes) == [Echo(Verdict.NO_ANSWER)] * 2
    assert result.port is None


@KINDS
@SYSTEMS
def test_thousands_of_targets_are_all_answered(kind: Kind, system: System, port: int) -> None:
    # Twice as many fit the listener's queue.
    each, count = "127.1.{}.{}", 1000 if system.kernel_clocks else 300
    if sys.platform != "linux":  # a Mac's loopback has one address, and answers 250 pings a second
        each, count = "127.0.0.1", 50
    targets = [Target(each.format(n >> 8, n & 255), (port,)) for n in range(1, count + 1)]
    results = probe(kind, targets, Pace(echoes=2, timeout_s=50, gap_s=0.001), system=system)
    assert verdicts(results) == [[Verdict.ANSWERED] * 2] * count


@SYSTEMS
def test_the_first_port_that_answers_serves_the_later_echoes(
    system: System, deaf_port: int, port: int
) -> None:
    (result,) = probe(
        Kind.TCP, [Target("127.0.0.1", (deaf_port, port))], Pace(3, 20, 0.001), system=system
    )
    assert verdicts([result]) == [[Verdict.ANSWERED] * 3]
    assert result.port == port


def test_a_refusal_is_an_answer_to_a_volley(deaf_port: int, closed_port: int) -> None:
    ports = (deaf_port, closed_port)
    (result,) = probe(Kind.TCP, [Target("127.0.0.1", ports)], Pace(2, 20, 0.001))
    assert verdicts([result]) == [[Verdict.REFUSED] * 2]
    assert result.port == closed_port


def test_after_a_volley_that_nobody_answered_nothing_more_is_sent(deaf_port: int) -> None:
    target = Target("127.0.0.1", (deaf_port, deaf_port))
    (result,) = probe(Kind.TCP, [target], Pace(echoes=3, timeout_s=0.05, gap_s=0.001))
    assert verdicts([result]) == [[Verdict.NO_ANSWER, Verdict.LOCAL_FAULT, Verdict.LOCAL_FAULT]]
    assert "no port answered" in result.echoes[1].reason
    assert result.port is None


@KINDS
def test_echoes_of_one_target_keep_the_gap(kind: Kind, port: int) -> None:
    asked: list[float] = []

    def note(_address: str) -> bool:
        asked.append(monotonic())  # right before each echo is sent
        return True

    pace = Pace(echoes=4, timeout_s=10, gap_s=0.05, allowed=note)
    probe(kind, [Target("127.0.0.1", (port,))], pace)
    assert len(asked) == 4
    assert min(later - sooner for sooner, later in pairwise(asked)) >= 0.05


@KINDS
def test_a_rate_limit_spreads_the_packets(kind: Kind, port: int) -> None:
    began = monotonic()
    pace = Pace(echoes=1, timeout_s=10, gap_s=0, rate_pps=100)
    probe(kind, [Target(f"127.0.0.{n}", (port,)) for n in range(1, 22)], pace)
    assert monotonic() - began >= 0.2  # 21 packets have 20 spaces of 10 ms between them


@KINDS
def test_what_the_budget_leaves_is_out_of_time(kind: Kind, port: int) -> None:
    pace = Pace(echoes=1, timeout_s=10, rate_pps=10, budget_s=1)
    results = probe(kind, [Target("127.0.0.1", (port,))] * 50, pace)
    assert verdicts(results)[-1] == [Verdict.LOCAL_FAULT]
    assert results[-1].echoes[0].reason == "out of time"
    assert verdicts(results)[0] == [Verdict.ANSWERED]


def test_an_echo_that_could_not_be_heard_out_is_no_loss(deaf_port: int) -> None:
    pace = Pace(echoes=1, timeout_s=30, budget_s=0.05)
    (result,) = probe(Kind.TCP, [Target("127.0.0.1", (deaf_port,))], pace)
    assert list(result.echoes) == [Echo(Verdict.LOCAL_FAULT, reason="out of time")]


@KINDS
def test_an_address_that_is_not_allowed_is_not_probed(kind: Kind, port: int) -> None:
    asked: list[str] = []

    def only_first(address: str) -> bool:
        asked.append(address)
        return address == "127.0.0.1"

    targets = [Target("127.0.0.1", (port,)), Target("127.0.0.2", (port,))]
    results = probe(kind, targets, Pace(echoes=2, gap_s=0.001, allowed=only_first))
    refused = [Echo(Verdict.LOCAL_FAULT, reason="not allowed from here")] * 2
    assert list(results[1].echoes) == refused
    assert verdicts(results)[0] == [Verdict.ANSWERED] * 2
    assert asked == ["127.0.0.1", "127.0.0.2"] * 2


@KINDS
@pytest.mark.parametrize("literal", ["127.1", "localhost", "0x7f000001", "", "127.0.0.1 ", "a\0"])
def test_what_is_no_address_is_never_looked_up(kind: Kind, literal: str, port: int) -> None:
    results = probe(kind, [Target(literal, (port,)), Target("127.0.0.1", (port,))], QUICK)
    assert verdicts(results) == [[Verdict.LOCAL_FAULT] * 2, [Verdict.ANSWERED] * 2]
    assert "not an IP address" in results[0].echoes[0].reason


LITERALS = """
1.2.3.4  1.2.3  1.2.3.4.5  01.2.3.4  1.2.3.256  1.2.3.-4  1.2.3.4/32  ::1  ::g  1::2::3  [::1]
::1/64  ::ffff:1.2.3.4  fe80::1%  1:2:3:4:5:6:7:8  1:2:3:4:5:6:7:8:9  0:0::1  FE80::A  \u0663.2.3.4
"""


@pytest.mark.parametrize("literal", LITERALS.split())
def test_literals_are_read_as_the_ipaddress_module_reads_them(literal: str) -> None:
    try:
        wanted = ip_address(literal)
    except ValueError:
        with pytest.raises(ValueError, match="no"):
            understand(literal)
        assert sockaddr_of(literal) is None
        return
    assert ip_address(understand(literal).address) == wanted
    assert (sockaddr_of(literal) is not None) == (wanted.version == 4)


def test_a_scope_is_a_number_or_an_interface() -> None:
    name = socket.if_indextoname(1)
    assert understand(f"fe80::1%{name}").sockaddr(80) == ("fe80::1", 80, 0, 1)
    assert understand("fe80::1%7").sockaddr(80) == ("fe80::1", 80, 0, 7)
    with pytest.raises(ValueError, match="interface"):
        understand("fe80::1%nosuchinterface")


@pytest.mark.parametrize("ports", [(), (0,), (65536,), (-1,), (80, 70000)])
def test_a_target_without_a_usable_port_is_our_fault(ports: tuple[int, ...]) -> None:
    (result,) = probe(Kind.TCP, [Target("127.0.0.1", ports)], QUICK)
    assert verdicts([result]) == [[Verdict.LOCAL_FAULT] * 2]
    assert "port" in result.echoes[0].reason


@KINDS
def test_each_echo_is_told_once_in_order_of_sending(kind: Kind, port: int) -> None:
    told: list[tuple[int, int, Echo]] = []
    targets = [Target("127.0.0.1", (port,)), Target("127.0.0.2", (port,))]
    results = probe(kind, targets, QUICK, lambda *one: told.append(one))
    assert sorted((target, echo) for target, echo, _ in told) == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert all(results[target].echoes[number] == echo for target, number, echo in told)


@KINDS
def test_what_a_listener_raises_ends_the_sweep_and_closes_its_sockets(
    kind: Kind, port: int
) -> None:
    before = descriptors()

    def fail(*_: object) -> None:
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        probe(kind, [Target("127.0.0.1", (port,))] * 10, QUICK, fail)
    assert descriptors() == before


@KINDS
@SYSTEMS
def test_a_sweep_leaves_no_descriptor_open(kind: Kind, system: System, port: int) -> None:
    targets = [Target("127.0.0.1", (port,)), Target("127.0.0.2", (1, port)), Target("bad")]
    before = descriptors()
    for _ in range(3):
        probe(kind, targets, QUICK, system=system)
    assert descriptors() == before


@KINDS
def test_no_targets_no_results(kind: Kind) -> None:
    assert not probe(kind, [])


def test_echoes_are_a_sequence_that_can_be_sliced_compared_and_sent(port: int) -> None:
    results = probe(Kind.TCP, [Target("127.0.0.1", (port,))], QUICK)
    echoes = results[0].echoes
    assert len(echoes) == 2
    assert echoes[-1] == list(echoes)[1]
    assert echoes[:1] == (echoes[0],)
    assert echoes == tuple(echoes)
    assert pickle.loads(pickle.dumps(results)) == results  # noqa: S301
    with pytest.raises(IndexError):
        _ = echoes[2]


@pytest.mark.parametrize(
    "wrong",
    [
        {"echoes": 0},
        {"timeout_s": 0},
        {"timeout_s": float("nan")},
        {"gap_s": -1},
        {"rate_pps": -1},
        {"budget_s": -1},
    ],
    ids=str,
)
def test_a_pace_nobody_could_keep_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Pace(**wrong)  # type: ignore[arg-type]


def test_a_forged_reply_is_not_counted() -> None:
    """Whoever sees one echo answers all later ones in advance, right but for their tokens."""
    need_root()
    stop = threading.Event()
    ready = threading.Event()
    forger = threading.Thread(target=forge_replies, args=(ready, stop))
    forger.start()
    try:
        assert ready.wait(50)
        results = probe(
            Kind.ICMP, [Target("127.0.0.1")], Pace(echoes=20, timeout_s=10, gap_s=0.001)
        )
    finally:
        stop.set()
        forger.join()
    assert verdicts(results) == [[Verdict.ANSWERED] * 20]
    # An echo that a forgery had ended before it was sent would have no sensible time.
    assert all(0 <= (echo.rtt_ms or -1) < 1000 for echo in results[0].echoes)


def forge_replies(ready: threading.Event, stop: threading.Event) -> None:
    """For every echo request seen on loopback, reply to all 20 sequence numbers."""
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, 1) as sock:
        sock.settimeout(0.01)
        ready.set()
        while not stop.is_set():
            try:
                packet = sock.recv(2048)
            except TimeoutError:
                continue
            if packet[20] == 8:
                for number in range(20):
                    sock.sendto(forgery(packet[20:], number), ("127.0.0.1", 0))


def forgery(request: bytes, number: int) -> bytes:
    """A perfect reply to another request: all is right but the token, which nobody can guess."""
    message = struct.pack("!BBHHHI", 0, 0, 0, *struct.unpack_from("!H", request, 4), number, number)
    message += request[12:]
    checksum = 0xFFFF - int.from_bytes(message, "big") % 0xFFFF
    return message[:2] + checksum.to_bytes(2, "big") + message[4:]


def test_icmp_works_here_or_a_sentence_says_what_to_set() -> None:
    need_root()
    assert icmp_problem() is None
    assert icmp_problem(socket.AF_INET6) is None


def descriptors() -> int:
    """How many files this process has open."""
    return len(os.listdir("/dev/fd"))


def need_root() -> None:
    """Have root, or skip aloud."""
    if os.geteuid() != 0:
        pytest.skip("NOT TESTED: full buffers and the sockets of others; needs root")


FOUR = Pace(echoes=4, timeout_s=50, gap_s=0.001)


@LOOPBACKS
def test_one_socket_serves_echo_after_echo(address: str, port: int) -> None:
    kept: list[int] = []

    def reset(fd: int) -> bool:
        kept.append(fd)
        assert HERE.reset
        return HERE.reset(fd)

    target = Target(address, (port,))
    (result,) = probe(Kind.TCP, [target], FOUR, system=replace(HERE, reset=reset))
    assert verdicts([result]) == [[Verdict.ANSWERED] * 4]
    assert {echo.clock for echo in result.echoes} == {ClockUsed.KERNEL}
    assert kept == [kept[0]] * 3, "the last one is closed"


def test_both_families_are_answered_when_sockets_serve_again(port: int) -> None:
    addresses = ("127.0.0.1", "::ffff:127.0.0.1", "::1", "127.0.0.2")
    targets = [Target(address, (port,)) for address in addresses]
    assert verdicts(probe(Kind.TCP, targets, FOUR)) == [[Verdict.ANSWERED] * 4] * 4


def test_a_socket_that_cannot_be_reset_gives_way_to_another(port: int) -> None:
    stubborn = replace(HERE, reset=lambda fd: False)
    results = probe(Kind.TCP, [Target("127.0.0.1", (port,))], FOUR, system=stubborn)
    assert verdicts(results) == [[Verdict.ANSWERED] * 4]


def test_the_server_sees_every_connection_reset() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        probe(Kind.TCP, [Target("127.0.0.1", (server.getsockname()[1],))], FOUR)
        for _ in range(4):
            connection, _ = server.accept()
            with connection, pytest.raises(ConnectionResetError):
                connection.recv(1)
