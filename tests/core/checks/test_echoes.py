"""Echoes made into pings, by properties."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from core import probe
from core.checks.echoes import DISCOVERY_PORTS, add_up, divide, kind_of, to_probe
from core.checks.records import Ping, Probe, Reason, State, Target, Unobserved, quantised_ms
from core.probe import Echo, Kind, Result, Verdict

BACK = (Verdict.ANSWERED, Verdict.REFUSED)
KNOWN = Target(1, "192.0.2.1", Probe.TCP, None, 443)
SERVICE = Target(1, "192.0.2.1", Probe.TCP, 443)
NEVER_ANSWERED = Target(1, "192.0.2.1", Probe.TCP)


def echo(verdict: Verdict, rtt_ms: float | None) -> Echo:
    return Echo(verdict, rtt_ms if verdict.came_back else None, reason=f"it was {verdict}")


times_ms = st.floats(0, 20_000, allow_nan=False)
echoes = st.builds(echo, st.sampled_from(Verdict), times_ms)
results = st.builds(Result, st.lists(echoes, min_size=1, max_size=8), st.none())


def came_back(result: Result) -> list[float]:
    return [e.rtt_ms for e in result.echoes if e.verdict in BACK and e.rtt_ms is not None]


@given(results)
def test_what_failed_on_our_side_was_not_sent_and_is_never_held_against_a_server(
    result: Result,
) -> None:
    ours = sum(e.verdict is Verdict.LOCAL_FAULT for e in result.echoes)
    outcome = add_up(Kind.TCP, KNOWN, result)
    if ours == len(result.echoes):
        assert isinstance(outcome, Unobserved)
        assert outcome.detail == "it was local fault"
        return
    assert isinstance(outcome, Ping)
    assert outcome.sent == len(result.echoes) - ours
    assert outcome.received == sum(e.verdict in BACK for e in result.echoes)


@given(results)
def test_a_local_fault_more_changes_nothing(result: Result) -> None:
    faulty = Result([*result.echoes, echo(Verdict.LOCAL_FAULT, None)])
    assert add_up(Kind.ICMP, KNOWN, faulty) == add_up(Kind.ICMP, KNOWN, result)


@given(results)
def test_lost_echoes_never_enter_the_mean(result: Result) -> None:
    outcome = add_up(Kind.ICMP, KNOWN, result)
    only_answers = Result([e for e in result.echoes if e.verdict in BACK])
    if isinstance(outcome, Unobserved) or not only_answers.echoes:
        return
    alone = add_up(Kind.ICMP, KNOWN, only_answers)
    assert isinstance(alone, Ping)
    unexplained = {"sent": 0, "received": 0, "reason": None, "detail": ""}
    assert structs.replace(outcome, **unexplained) == structs.replace(alone, **unexplained)


@given(results)
def test_the_mean_lies_between_the_best_and_the_worst(result: Result) -> None:
    outcome = add_up(Kind.ICMP, KNOWN, result)
    if isinstance(outcome, Unobserved) or not came_back(result):
        return
    assert outcome.best_ms is not None
    assert outcome.response_ms is not None
    assert outcome.worst_ms is not None
    assert outcome.best_ms <= outcome.response_ms <= outcome.worst_ms
    assert outcome.best_ms == quantised_ms(min(came_back(result)))
    assert outcome.worst_ms == quantised_ms(max(came_back(result)))


@given(results)
def test_there_are_times_only_where_an_echo_came_back(result: Result) -> None:
    outcome = add_up(Kind.ICMP, KNOWN, result)
    if isinstance(outcome, Unobserved):
        return
    times = (outcome.response_ms, outcome.best_ms, outcome.worst_ms)
    assert (None in times) == (outcome.received == 0)
    assert (outcome.state == State.DOWN) == (outcome.received == 0)


def test_a_refused_connection_proves_that_a_server_is_up() -> None:
    outcome = add_up(Kind.TCP, KNOWN, Result([echo(Verdict.REFUSED, 1.0)] * 4))
    assert isinstance(outcome, Ping)
    assert outcome.state == State.UP


def test_silence_on_a_known_port_is_down_and_on_guessed_ones_is_unobserved() -> None:
    silence = Result([echo(Verdict.NO_ANSWER, None)] * 4)
    for known in (KNOWN, SERVICE):
        outcome = add_up(Kind.TCP, known, silence)
        assert isinstance(outcome, Ping)
        assert outcome.state == State.DOWN
    guessed = add_up(Kind.TCP, NEVER_ANSWERED, silence)
    assert isinstance(guessed, Unobserved)
    assert "set the server's port" in guessed.detail
    by_icmp = add_up(Kind.ICMP, NEVER_ANSWERED, silence)
    assert isinstance(by_icmp, Ping)


def test_a_target_is_asked_on_its_port_or_the_last_that_answered_or_the_usual_ones() -> None:
    for target, ports in (
        (structs.replace(SERVICE, last_port=22), (443,)),
        (structs.replace(NEVER_ANSWERED, last_port=22), (22,)),
        (NEVER_ANSWERED, DISCOVERY_PORTS),
    ):
        assert to_probe(Kind.TCP, [target]) == [probe.Destination("192.0.2.1", ports)]
        assert to_probe(Kind.ICMP, [target]) == [probe.Destination("192.0.2.1", ())]


def test_auto_is_icmp_unless_icmp_can_not_be_used() -> None:
    auto, icmp = (Target(1, "192.0.2.1", asked) for asked in (Probe.AUTO, Probe.ICMP))
    assert kind_of(KNOWN, None) is Kind.TCP
    assert kind_of(auto, None) is kind_of(icmp, None) is Kind.ICMP
    assert kind_of(auto, "no ICMP from here") is Kind.TCP


def test_every_target_is_probed_in_one_way_or_told_to_be_impossible() -> None:
    targets = [Target(n, "192.0.2.1", how) for n, how in enumerate(Probe, 1)]
    by_kind, impossible = divide(targets)
    ids = [target.server_id for members in by_kind.values() for target in members]
    assert sorted([*ids, *(lost.server_id for lost in impossible)]) == [1, 2, 3]
    assert bool(impossible) == (probe.icmp_problem() is not None)


HOSTS = [
    Target(1, "192.0.2.1"),
    Target(1, "192.0.2.1", Probe.AUTO, 443),
    Target(1, "192.0.2.1", Probe.TCP, None, 443),
    Target(1, "192.0.2.1", Probe.ICMP, 443),
]


def of(*verdicts: Verdict) -> Result:
    return Result([Echo(verdict, 1.0, reason=f"it was {verdict}") for verdict in verdicts])


def test_who_refuses_a_service_that_was_asked_for_is_down() -> None:
    outcome = add_up(Kind.TCP, SERVICE, of(*[Verdict.REFUSED] * 4))
    assert isinstance(outcome, Ping)
    assert (outcome.state, outcome.received, outcome.response_ms) == (State.DOWN, 0, None)
    assert (outcome.reason, outcome.detail) == (Reason.REFUSED, "it was refused")


@pytest.mark.parametrize("host", HOSTS)
def test_who_refuses_a_port_that_nobody_asked_for_is_there(host: Target) -> None:
    outcome = add_up(Kind.TCP, host, of(*[Verdict.REFUSED] * 4))
    assert isinstance(outcome, Ping)
    assert (outcome.state, outcome.reason, outcome.detail) == (State.UP, None, "")


@pytest.mark.parametrize(
    ("missing", "reason"),
    [
        ([Verdict.NO_ANSWER], Reason.TIMEOUT),
        ([Verdict.NO_ANSWER, Verdict.UNREACHABLE], Reason.UNREACHABLE),
        ([Verdict.UNREACHABLE, Verdict.NO_ANSWER, Verdict.REFUSED], Reason.REFUSED),
    ],
)
def test_of_several_reasons_the_one_that_tells_most_is_kept(
    missing: list[Verdict], reason: Reason
) -> None:
    for found in (missing, [Verdict.ANSWERED, *missing, Verdict.LOCAL_FAULT]):
        outcome = add_up(Kind.TCP, SERVICE, of(*found))
        assert isinstance(outcome, Ping)
        assert outcome.reason == reason


def test_every_verdict_but_an_answer_has_its_reason() -> None:
    for verdict in set(Verdict) - {Verdict.ANSWERED}:
        outcome = add_up(Kind.TCP, SERVICE, of(verdict))
        assert outcome.reason is not None


def test_why_there_is_no_ping_has_a_code_of_its_own() -> None:
    for detail, reason in (
        (probe.OUT_OF_TIME, Reason.OUT_OF_TIME),
        (probe.NOT_ALLOWED, Reason.NOT_ALLOWED),
        ("no buffer space", Reason.LOCAL),
    ):
        target = structs.replace(KNOWN, revision=7)
        lost = add_up(Kind.ICMP, target, Result([Echo(Verdict.LOCAL_FAULT, reason=detail)]))
        assert lost == Unobserved(1, detail, reason, 7)
