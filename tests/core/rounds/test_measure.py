"""A round measured: by real sockets on loopback."""

import asyncio
import contextlib
import resource
import socket
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from msgspec import structs

from core import probe
from core.checks import echoes as checks_echoes
from core.checks.records import Ping, Probe, Reason, State, Target, Unobserved
from core.probe import Pace
from core.rounds.measure import (
    GRACE,
    Measured,
    batches,
    deadline,
    in_time,
    left,
    measure,
    measure_blocking,
    pace,
    too_late,
)
from core.settings import Settings

SLOT = datetime(2026, 1, 2, 7, 1, tzinfo=UTC)
TARGET = Target(17, "192.0.2.1", Probe.AUTO, None, 443)
PACE = Pace(timeout_s=10.0, gap_s=0.0)
HURRIED = Pace(timeout_s=1.0, gap_s=0.0)

icmp_only = pytest.mark.skipif(
    probe.icmp_problem() is not None, reason=f"NOT TESTED: ICMP; {probe.icmp_problem()}"
)


def measured(*targets: Target, how: Pace = PACE) -> Measured:
    return asyncio.run(measure(targets, how), debug=True)


def test_the_pace_is_that_of_the_settings() -> None:
    settings = Settings(echo_timeout_s=0.5, echo_gap_s=0.2, rate_pps=7, allow_loopback=False)
    how = pace(settings)
    assert (how.echoes, how.timeout_s, how.gap_s, how.rate_pps) == (4, 0.5, 0.2, 7)
    assert how.allowed("8.8.8.8")
    assert not how.allowed("127.0.0.1")


# Real sockets


@pytest.mark.parametrize("blocking", [False, True])
def test_witnesses_are_asked_with_the_targets_and_are_none_of_them(blocking: bool) -> None:
    how = replace(HURRIED, allowed=lambda ip: ip != "127.0.0.3")
    target, asked = Target(17, "127.0.0.1", port=9), ["127.0.0.2", "127.0.0.3"]
    if blocking:
        found = measure_blocking([target], how, asked)
    else:
        found = asyncio.run(measure([target], how, witnesses=asked))
    assert [one.server_id for one in found.pings] == [17]
    assert not found.unobserved
    assert found.heard == {"127.0.0.2": True, "127.0.0.3": False}


def test_where_nobody_is_due_no_witness_is_asked() -> None:
    assert asyncio.run(measure([], HURRIED, witnesses=["127.0.0.2"])) == Measured([], [])


@pytest.fixture
def open_port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listener:
        yield listener.getsockname()[1]


@pytest.fixture
def closed_port() -> Iterator[int]:
    with socket.socket() as reserved:  # bound, but not listening: nobody else gets it
        reserved.bind(("127.0.0.1", 0))
        yield reserved.getsockname()[1]


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port whose queue is full: the kernel drops what else knocks, as a dead server would."""
    with contextlib.ExitStack() as opened:
        listener = opened.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _caller in range(3):
            caller = opened.enter_context(socket.socket())
            caller.setblocking(False)
            caller.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]


@contextlib.contextmanager
def room_for_files(count: int) -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (count, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_a_silent_port_that_is_set_is_down(silent_port: int) -> None:
    [found] = measured(Target(7, "127.0.0.1", Probe.TCP, silent_port), how=HURRIED).pings
    assert (found.sent, found.received, found.state) == (4, 0, State.DOWN)
    assert (found.response_ms, found.best_ms, found.worst_ms) == (None, None, None)


def test_no_targets_make_an_empty_round() -> None:
    assert measured() == Measured([], [])


def test_a_listening_port_is_up_with_its_times(open_port: int) -> None:
    [found] = measured(Target(7, "127.0.0.1", Probe.TCP, open_port)).pings
    assert (found.server_id, found.ip, found.probe) == (7, "127.0.0.1", "tcp")
    assert (found.sent, found.received, found.port) == (4, 4, open_port)
    assert found.best_ms is not None
    assert found.response_ms is not None
    assert found.worst_ms is not None
    assert 0 <= found.best_ms <= found.response_ms <= found.worst_ms


def test_a_host_that_refuses_is_up_and_a_service_that_was_asked_for_is_down(
    closed_port: int,
) -> None:
    host = Target(7, "127.0.0.1", Probe.TCP, None, closed_port)
    service = Target(8, "127.0.0.1", Probe.TCP, closed_port)
    found, refused = measured(host, service).pings
    assert (found.state, found.port, found.reason) == (State.UP, closed_port, None)
    assert (refused.state, refused.port, refused.reason) == (
        State.DOWN,
        closed_port,
        Reason.REFUSED,
    )


def test_the_port_that_answered_last_is_asked_where_none_is_set(open_port: int) -> None:
    target = Target(7, "127.0.0.1", Probe.TCP, last_port=open_port)
    [found] = measured(target).pings
    assert found.port == open_port


def test_guessed_ports_find_a_server_that_refuses_them_and_name_the_one() -> None:
    [found] = measured(Target(7, "127.0.0.99", Probe.TCP)).pings
    assert found.state == State.UP
    assert found.port in checks_echoes.DISCOVERY_PORTS


def test_an_address_that_may_not_be_probed_any_more_is_unobserved(open_port: int) -> None:
    how = replace(PACE, allowed=lambda _address: False)
    target = Target(7, "127.0.0.1", Probe.TCP, open_port)
    found = measured(target, how=how)
    assert not found.pings
    assert [lost.server_id for lost in found.unobserved] == [7]
    assert found.unobserved[0].reason


@pytest.mark.parametrize("spared", [2, 3, 12])
def test_a_process_with_hardly_a_file_left_accuses_nobody(open_port: int, spared: int) -> None:
    targets = [Target(n, "127.0.0.1", Probe.TCP, open_port) for n in range(50)]

    async def starved() -> Measured:
        taken = []
        with room_for_files(64):
            with contextlib.suppress(OSError):
                while True:
                    taken.append(socket.socket())
            for _spared in range(spared):
                taken.pop().close()
            try:
                return await measure(targets, HURRIED)
            finally:
                for sock in taken:
                    sock.close()

    found = asyncio.run(starved())
    assert not [ping for ping in found.pings if ping.state != State.UP]
    assert all(lost.reason for lost in found.unobserved)
    assert len(found.pings) + len(found.unobserved) == 50


@icmp_only
def test_loopback_answers_icmp() -> None:
    [found] = measured(Target(7, "127.0.0.1", Probe.ICMP)).pings
    assert (found.probe, found.received, found.port) == ("icmp", 4, None)


@icmp_only
def test_auto_is_icmp_where_icmp_can_be_had(closed_port: int) -> None:
    [found] = measured(Target(7, "127.0.0.1", Probe.AUTO, closed_port)).pings
    assert found.probe == "icmp"


@icmp_only
def test_both_kinds_share_a_round(open_port: int) -> None:
    targets = [
        Target(1, "127.0.0.1", Probe.ICMP),
        Target(2, "127.0.0.1", Probe.TCP, open_port),
        Target(3, "127.0.0.2", Probe.AUTO),
    ]
    found = {ping.server_id: ping.probe for ping in measured(*targets).pings}
    assert found == {1: "icmp", 2: "tcp", 3: "icmp"}


def test_every_echo_is_told_once_as_it_ends(open_port: int, closed_port: int) -> None:
    told: list[int] = []
    targets = [
        Target(number, "127.0.0.1", Probe.TCP, port)
        for number, port in enumerate([open_port, closed_port] * 10)
    ]
    asyncio.run(measure(targets, PACE, told.append))
    assert sum(told) == 4 * len(targets)


def test_a_thousand_servers_half_of_them_dead_are_told_apart_in_one_round(
    closed_port: int, silent_port: int
) -> None:
    ports = [closed_port, silent_port] * 500
    targets = [Target(n, "127.0.0.1", Probe.TCP, None, port) for n, port in enumerate(ports)]
    found = measured(*targets, how=HURRIED)
    assert not found.unobserved
    states = {ping.server_id: ping.state for ping in found.pings}
    assert states == {n: State.DOWN if n % 2 else State.UP for n in range(1000)}


def test_a_round_is_cut_into_batches_that_hold_every_target_once() -> None:
    members = [structs.replace(TARGET, server_id=number) for number in range(1, 251)]
    cut = batches(SLOT, members, 100)
    assert [len(batch.targets) for batch in cut] == [100, 100, 50]
    assert [target for batch in cut for target in batch.targets] == members
    assert {batch.deadline for batch in cut} == {SLOT + timedelta(seconds=90)}


def test_a_round_without_targets_has_no_batches() -> None:
    assert batches(SLOT, [], 100) == []


def test_what_was_measured_after_the_deadline_is_unobserved() -> None:
    slot = datetime(2026, 1, 2, 7, 1, tzinfo=UTC)
    ping = Ping(1, "192.0.2.1", 4, 4, 1.0, 1.0, 1.0, Probe.TCP, revision=7)
    found = Measured([ping], [Unobserved(2, "no route")])
    over = deadline(slot) + GRACE
    assert in_time(found, slot, over) == found
    late = in_time(found, slot, over + timedelta(seconds=1))
    assert too_late(ping).revision == 7
    assert late == Measured([], [Unobserved(2, "no route"), too_late(ping)])


@pytest.mark.parametrize(
    ("begun_s", "left_s"), [(-3_600, 90), (0, 90), (60, 30), (90, 0), (240, 0)]
)
def test_a_round_may_take_until_its_deadline(begun_s: int, left_s: int) -> None:
    slot = datetime(2026, 1, 2, 7, 1, tzinfo=UTC)
    assert left(slot, slot + timedelta(seconds=begun_s)) == timedelta(seconds=left_s)
