"""Messages: what is written is read back; nonsense is refused, whole or in part."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core import messages, rounds
from core.errors import WrongRequest
from core.messages import MESSAGE_BYTES, Batch, Results
from core.schema import Ping, Probe, Target, Unobserved
from tests.counts import EVENTS, examples

SLOT = datetime(2026, 1, 2, 7, 1, tzinfo=UTC)
TARGET = Target(17, "192.0.2.1", Probe.AUTO, None, 443)
PING = Ping(17, "192.0.2.1", 4, 3, 35.2, 35.0, 36.1, Probe.TCP, 443)
BATCH = Batch(SLOT, rounds.deadline(SLOT), [TARGET])
RESULTS = Results(SLOT, [PING], [Unobserved(18, "no echo could be sent")])

ids = st.integers(1, 2**63 - 1)
ports = st.none() | st.integers(1, 65_535)
ips = st.ip_addresses().map(str)
times_ms = st.none() | st.floats(0, 3_599_999)
slots = st.integers(0, 120_000_000).map(lambda minute: datetime.fromtimestamp(60 * minute, UTC))
targets = st.builds(Target, ids, ips, st.sampled_from(Probe), ports, ports)
pings = st.builds(
    Ping,
    ids,
    ips,
    st.integers(4, 1000),
    st.integers(0, 4),
    times_ms,
    times_ms,
    times_ms,
    st.sampled_from([Probe.ICMP, Probe.TCP]),
    ports,
)
losses = st.builds(Unobserved, ids, st.text(st.characters(codec="utf-8"), max_size=300))
junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=12,
)


@given(slots, st.lists(targets, max_size=20))
@examples(100, EVENTS)
def test_a_batch_is_read_as_it_was_written(slot: datetime, members: list[Target]) -> None:
    batch = Batch(slot, rounds.deadline(slot), members)
    assert replace(Batch.read(batch.text()), refused=()) == batch


@given(slots, st.lists(pings, max_size=20), st.lists(losses, max_size=20))
@examples(100, EVENTS)
def test_results_are_read_as_they_were_written(
    slot: datetime, found: list[Ping], lost: list[Unobserved]
) -> None:
    (text,) = Results(slot, found, lost).texts()
    assert Results.read(text) == Results(slot, found, lost, [])


def test_long_results_travel_in_several_messages_and_lose_nothing() -> None:
    found = [replace(PING, server_id=number) for number in range(1, 3001)]
    lost = [Unobserved(number, "why " * 75) for number in range(3001, 4001)]
    texts = list(Results(SLOT, found, lost).texts())
    parts = [Results.read(text) for text in texts]
    assert len(texts) > 1
    assert max(len(text.encode()) for text in texts) <= MESSAGE_BYTES
    assert [ping for part in parts for ping in part.pings] == found
    assert [entry for part in parts for entry in part.unobserved] == lost


def test_a_batch_of_the_largest_size_fits_in_a_message() -> None:
    widest = Target(2**63 - 1, "ffff:" * 7 + "ffff", Probe.ICMP, 65_535, 65_535)
    assert len(Batch(SLOT, SLOT, [widest] * 1000).text()) <= MESSAGE_BYTES


def test_a_batch_of_a_hundred_servers_stays_below_one_billed_unit_of_64_kb() -> None:
    assert len(replace(BATCH, targets=[TARGET] * 100).text()) < 64_000


@given(st.text() | junk.map(json.dumps))
@examples(300, EVENTS)
def test_any_other_text_is_refused_and_nothing_else_happens(text: str) -> None:
    for kind in (Batch, Results):
        with pytest.raises(WrongRequest):
            kind.read(text)


def _changed(text: str, **fields: Any) -> str:
    return json.dumps(json.loads(text) | fields)


BATCH_TEXT = BATCH.text()
RESULTS_TEXT = next(iter(RESULTS.texts()))


@pytest.mark.parametrize("version", [0, 2, "1", 1.5, True, None, [1]])
def test_a_message_of_an_unknown_version_is_refused(version: object) -> None:
    with pytest.raises(WrongRequest, match="version"):
        Batch.read(_changed(BATCH_TEXT, version=version))


@pytest.mark.parametrize(
    "slot", ["2026-01-02T07:01:30Z", "2026-01-02T07:01:00.5Z", "soon", 7, None, "9999-13-01", ""]
)
def test_a_message_whose_slot_is_no_slot_is_refused(slot: object) -> None:
    for read, text in ((Batch.read, BATCH_TEXT), (Results.read, RESULTS_TEXT)):
        with pytest.raises(WrongRequest):
            read(_changed(text, slot=slot))


@pytest.mark.parametrize("extra", [{"more": 1}, {"targets": {}}, {"targets": None}])
def test_a_batch_of_another_shape_is_refused(extra: dict[str, Any]) -> None:
    with pytest.raises(WrongRequest):
        Batch.read(_changed(BATCH_TEXT, **extra))


@given(junk)
@examples(300, EVENTS)
def test_a_target_that_is_nonsense_costs_its_neighbours_nothing(nonsense: object) -> None:
    good = json.loads(BATCH_TEXT)["targets"][0]
    try:
        text = json.dumps([good, nonsense, good], allow_nan=False)
    except ValueError:
        return  # NaN is refused with its whole message: it isn't JSON
    body = json.loads(BATCH_TEXT) | {"targets": json.loads(text)}
    batch = Batch.read(json.dumps(body))
    assert list(batch.targets) == [TARGET, TARGET]
    assert len(batch.refused) == 1


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (0, 0),
        (0, 2**63),
        (0, True),
        (1, "localhost"),
        (1, "127.1"),
        (2, 0),
        (2, 1001),
        (3, 5),
        (3, -1),
        (4, -0.1),
        (4, "35"),
        (4, 1e300),
        (5, True),
        (7, "auto"),
        (7, None),
        (8, 0),
        (8, 65_536),
    ],
)
def test_a_ping_that_no_prober_writes_is_set_aside_with_its_reason(
    place: int, value: object
) -> None:
    body = json.loads(RESULTS_TEXT)
    good = body["pings"][0]
    bad = [*good]
    bad[place] = value
    results = Results.read(json.dumps(body | {"pings": [good, bad]}))
    assert list(results.pings) == [PING]
    (reason,) = results.refused
    assert str(value) in reason


def test_a_round_is_cut_into_batches_that_hold_every_target_once() -> None:
    members = [replace(TARGET, server_id=number) for number in range(1, 251)]
    batches = rounds.batches(SLOT, members, 100)
    assert [len(batch.targets) for batch in batches] == [100, 100, 50]
    assert [target for batch in batches for target in batch.targets] == members
    assert {batch.deadline for batch in batches} == {SLOT + timedelta(seconds=90)}


def test_a_round_without_targets_has_no_batches() -> None:
    assert rounds.batches(SLOT, [], 100) == []


def test_every_message_says_its_version() -> None:
    assert json.loads(BATCH_TEXT)["version"] == messages.VERSION == 1
