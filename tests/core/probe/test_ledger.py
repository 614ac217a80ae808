"""What has become of each echo: written once, read when looked at."""

import pickle

import pytest

from core.probe import (
    ClockUsed,
    Destination,
    Echo,
    Kind,
    Verdict,
    probe,
)
from core.probe.ledger import ANSWERED, KERNEL, LOCAL_FAULT, NO_ANSWER, REFUSED, USER, Ledger
from tests.core.probe.engine import QUICK


def test_echoes_are_a_sequence_that_can_be_sliced_compared_and_sent(port: int) -> None:
    results = probe(Kind.TCP, [Destination("127.0.0.1", (port,))], QUICK)
    echoes = results[0].echoes
    assert len(echoes) == 2
    assert echoes[-1] == list(echoes)[1]
    assert echoes[:1] == (echoes[0],)
    assert echoes == tuple(echoes)
    assert pickle.loads(pickle.dumps(results)) == results  # noqa: S301 (our own)
    with pytest.raises(IndexError):
        _ = echoes[2]


def test_an_echo_has_the_index_of_its_turn_and_is_told_as_it_ends() -> None:
    told: list[tuple[int, int, Echo]] = []
    ledger = Ledger(3, 2, lambda *echo: told.append(echo))
    ledger.timed(5, ANSWERED, 1.5, 0.01, KERNEL)  # the second echo of the third target
    ledger.end(0, NO_ANSWER)
    answered = Echo(Verdict.ANSWERED, 1.5, ClockUsed.KERNEL, 0.01)
    assert told == [(2, 1, answered), (0, 0, Echo(Verdict.NO_ANSWER))]
    assert list(ledger.codes) == [NO_ANSWER, 0, 0, 0, 0, ANSWERED]
    assert ledger.open == 4


def test_results_come_in_the_order_of_the_targets_with_the_port_that_answered() -> None:
    ledger = Ledger(2, 2, None)
    ledger.ports[1] = 443
    for index in (3, 1):
        ledger.timed(index, REFUSED, index, 0.5, USER)
    for index in (0, 2):
        ledger.end(index, LOCAL_FAULT, "no room")
    first, second = ledger.results()
    assert (first.port, second.port) == (None, 443)
    assert list(first.echoes) == [Echo(Verdict.LOCAL_FAULT, reason="no room")] * 2
    assert [echo.rtt_ms for echo in second.echoes] == [1, 3]
    assert ledger.open == 0


def test_what_was_explained_before_an_echo_ended_stays_with_it() -> None:
    ledger = Ledger(1, 1, None)
    ledger.explain(0, "the SYN was sent again")
    ledger.timed(0, ANSWERED, 2.0, 0.1, USER)
    assert ledger.echo(0).reason == "the SYN was sent again"
