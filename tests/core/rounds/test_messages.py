"""Messages: what is written is read back; nonsense is refused, whole or in part."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import astuple, replace

from core.checks.records import Ping, Probe, Reason, Target, Unobserved
from core.errors import WrongRequest
from core.rounds import measure, messages
from core.rounds.messages import MESSAGE_BYTES, Batch, Results
from tests.counts import EVENTS, examples
from tests.fixtures.v0_1_0 import messages as v0_1_0

SLOT = datetime(2026, 1, 2, 7, 1, tzinfo=UTC)
TARGET = Target(17, "192.0.2.1", Probe.AUTO, None, 443)
PING = Ping(17, "192.0.2.1", 4, 3, 35.2, 35.0, 36.1, Probe.TCP, 443)
BATCH = Batch(SLOT, measure.deadline(SLOT), [TARGET])
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
details = st.text(st.characters(codec="utf-8"), max_size=300)
losses = st.builds(Unobserved, ids, details)
reasons = st.sampled_from(Reason) | st.from_regex(r"[a-z_]{1,16}", fullmatch=True)
explained = st.builds(replace, pings, reason=st.none() | reasons, detail=details)
explained_losses = st.builds(Unobserved, ids, details, reasons)
junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=12,
)


def _is_json(value: object) -> bool:
    try:
        return bool(json.dumps(value, allow_nan=False))
    except ValueError:  # NaN and the infinities
        return False


additions = st.lists(junk.filter(_is_json), max_size=3)
BATCH_KEYS = {"version", "slot", "deadline", "targets"}
keys = st.text(max_size=9).filter(
    lambda key: (
        key not in {"version", "slot", "deadline", "targets", "pings", "unobserved", "heard"}
    )
)


@given(slots, st.lists(targets, max_size=20))
@examples(100, EVENTS)
def test_a_batch_is_read_as_it_was_written(slot: datetime, members: list[Target]) -> None:
    batch = Batch(slot, measure.deadline(slot), members)
    assert replace(Batch.read(batch.text()), refused=()) == batch


@given(slots, st.lists(explained, max_size=20), st.lists(explained_losses, max_size=20))
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


def test_what_witnesses_said_travels_with_each_part_of_the_results() -> None:
    heard = {"192.0.2.1": False, "2001:db8::1": True}
    many = replace(RESULTS, pings=[PING] * 6_000, heard=heard)
    parts = [Results.read(text) for text in many.texts()]
    assert len(parts) > 1
    assert [part.heard for part in parts] == [heard] * len(parts)
    assert sum(len(part.pings) for part in parts) == 6_000


def test_where_no_witness_was_asked_the_message_is_as_it_always_was() -> None:
    (text,) = RESULTS.texts()
    assert set(json.loads(text)) == {"version", "slot", "pings", "unobserved"}
    assert Results.read(text).heard == {}


def test_a_witness_that_is_no_address_is_refused() -> None:
    (text,) = replace(RESULTS, heard={"gateway": True}).texts()
    with pytest.raises(WrongRequest, match="ip must be"):
        Results.read(text)


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
    with pytest.raises(WrongRequest, match="version must be 1, got "):
        Batch.read(_changed(BATCH_TEXT, version=version))


@pytest.mark.parametrize(
    "slot", ["2026-01-02T07:01:30Z", "2026-01-02T07:01:00.5Z", "soon", 7, None, "9999-13-01", ""]
)
def test_a_message_whose_slot_is_no_slot_is_refused(slot: object) -> None:
    for read, text in ((Batch.read, BATCH_TEXT), (Results.read, RESULTS_TEXT)):
        with pytest.raises(WrongRequest):
            read(_changed(text, slot=slot))


@pytest.mark.parametrize("other", [{"targets": {}}, {"targets": None}, {"deadline": 7}])
def test_a_batch_of_another_shape_is_refused(other: dict[str, Any]) -> None:
    with pytest.raises(WrongRequest):
        Batch.read(_changed(BATCH_TEXT, **other))


@pytest.mark.parametrize("key", ["version", "slot", "deadline", "targets"])
def test_a_batch_that_lacks_a_key_is_refused(key: str) -> None:
    body = json.loads(BATCH_TEXT)
    del body[key]
    with pytest.raises(WrongRequest, match=f": {key} is required$"):
        Batch.read(json.dumps(body))


@pytest.mark.parametrize("key", ["version", "slot", "pings", "unobserved"])
def test_results_that_lack_a_key_are_refused(key: str) -> None:
    body = json.loads(RESULTS_TEXT)
    del body[key]
    with pytest.raises(WrongRequest, match=f": {key} is required$"):
        Results.read(json.dumps(body))


@pytest.mark.parametrize(
    "item",
    [
        "NaN",
        "-Infinity",
        "01",
        '"\\ud800"',
        '"\\udc00\\ud800"',
        '"\ud800"',
        '"\x01"',
        "'",
        "[" * 100_000 + "]" * 100_000,
    ],
)
def test_a_message_that_is_not_strict_json_is_refused_even_where_its_items_are_ignored(
    item: str,
) -> None:
    text = BATCH_TEXT.replace("null,443]", f"null,443,{item}]")
    assert text != BATCH_TEXT
    with pytest.raises(WrongRequest):
        Batch.read(text)


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
    assert json.dumps(value) in reason


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        ([0, "192.0.2.1"], f"server_id must be 1 to {2**63 - 1}, got 0"),
        ([1, "192.0.2.1", "smoke"], "probe must be auto, icmp or tcp, got 'smoke'"),
        ([1, "192.0.2.1", "tcp", "x"], "port must be 1 to 65535 or null, got 'x'"),
        ([1, "example.com"], "ip must be an IPv4 or IPv6 address, got 'example.com'"),
        ([1], "the entry must be a list of server_id, ip"),
        ({}, "the entry must be a list of server_id, ip"),
    ],
    ids=["id", "probe", "port", "ip", "short", "object"],
)
def test_why_a_target_is_set_aside_is_said_in_our_words(entry: object, told: str) -> None:
    batch = Batch.read(_changed(BATCH_TEXT, targets=[entry]))
    assert batch.refused == [f"{json.dumps(entry)!r}: {told}"]


def test_a_lost_target_that_no_prober_writes_is_set_aside_with_its_reason() -> None:
    body = json.loads(RESULTS_TEXT)
    good = body["unobserved"][0]
    results = Results.read(json.dumps(body | {"unobserved": [[18, None], good, [0, "why"]]}))
    assert results.unobserved == RESULTS.unobserved
    assert ["null" in reason or "[0," in reason for reason in results.refused] == [True, True]


def test_a_reason_that_is_too_long_is_cut_where_it_is_written_and_where_it_is_read() -> None:
    (written,) = Results(SLOT, [], [Unobserved(18, "why " * 500)]).texts()
    assert len(json.loads(written)["unobserved"][0][1]) == 300
    read = Results.read(_changed(RESULTS_TEXT, unobserved=[[18, "why " * 500]]))
    assert read.unobserved == [Unobserved(18, "why " * 75)]


# What other releases write and read


def _as_v0_1_0(batch: Batch) -> v0_1_0.Batch:
    members = [
        v0_1_0.Target(
            target.server_id,
            target.ip,
            v0_1_0.Probe(target.probe),
            target.port,
            target.last_port,
        )
        for target in batch.targets
    ]
    return v0_1_0.Batch(batch.slot, batch.deadline, members)


def _found_by_v0_1_0(results: Results) -> v0_1_0.Results:
    found = [
        v0_1_0.Ping(
            ping.server_id,
            ping.ip,
            ping.sent,
            ping.received,
            ping.response_ms,
            ping.best_ms,
            ping.worst_ms,
            v0_1_0.Probe(ping.probe),
            ping.port,
        )
        for ping in results.pings
    ]
    lost = [v0_1_0.Unobserved(entry.server_id, entry.detail) for entry in results.unobserved]
    return v0_1_0.Results(results.slot, found, lost)


@given(slots, st.lists(targets, max_size=20))
@examples(50, EVENTS)
def test_batches_cross_from_v0_1_0_and_to_it_without_a_change(
    slot: datetime, members: list[Target]
) -> None:
    batch = Batch(slot, measure.deadline(slot), members, [])
    old = _as_v0_1_0(batch)
    assert batch.text() == old.text()
    assert v0_1_0.Batch.read(batch.text()) == v0_1_0.Batch(old.slot, old.deadline, old.targets, [])
    assert Batch.read(old.text()) == batch


@given(slots, st.lists(pings, max_size=20), st.lists(losses, max_size=20))
@examples(50, EVENTS)
def test_results_cross_from_v0_1_0_and_to_it_without_a_change(
    slot: datetime, found: list[Ping], lost: list[Unobserved]
) -> None:
    results = Results(slot, found, lost, [])
    old = _found_by_v0_1_0(results)
    (text,) = results.texts()
    assert [text] == list(old.texts())
    assert v0_1_0.Results.read(text) == v0_1_0.Results(slot, old.pings, old.unobserved, [])
    assert Results.read(text) == results


def test_long_results_are_cut_where_v0_1_0_cuts_them() -> None:
    found = [replace(PING, server_id=number) for number in range(1, 5001)]
    results = Results(
        SLOT, found, [Unobserved(number, "\N{BELL}" * 900) for number in range(1, 99)]
    )
    assert list(results.texts()) == list(_found_by_v0_1_0(results).texts())


def _grown(text: str, more: list[Any], fields: dict[str, Any]) -> str:
    """Return a message as a later release may write it: longer lists, and other keys."""
    body = json.loads(text)
    lists = {
        key: [[*entry, *more] for entry in entries]
        for key, entries in body.items()
        if isinstance(entries, list)
    }
    return json.dumps(fields | body | lists)


@given(st.lists(targets, max_size=9), additions, st.dictionaries(keys, junk.filter(_is_json)))
@examples(50, EVENTS)
def test_a_batch_that_has_grown_is_read_as_far_as_this_release_knows_it(
    members: list[Target], more: list[Any], fields: dict[str, Any]
) -> None:
    batch = Batch(SLOT, measure.deadline(SLOT), members, [])
    whole = _changed(batch.text(), targets=[astuple(target) for target in members])
    assert Batch.read(_grown(whole, more, fields)) == batch


@given(
    st.lists(pings, max_size=9),
    st.lists(losses, max_size=9),
    additions,
    st.dictionaries(keys, junk.filter(_is_json)),
)
@examples(50, EVENTS)
def test_results_that_have_grown_are_read_as_far_as_this_release_knows_them(
    found: list[Ping], lost: list[Unobserved], more: list[Any], fields: dict[str, Any]
) -> None:
    results = Results(SLOT, found, lost, [])
    (text,) = results.texts()
    whole = {
        "pings": [astuple(ping) for ping in found],
        "unobserved": [astuple(entry) for entry in lost],
    }
    assert Results.read(_grown(_changed(text, **whole), more, fields)) == results


def test_a_target_that_has_grown_would_not_be_pinged_by_v0_1_0() -> None:
    grown = v0_1_0.Batch.read(_grown(BATCH_TEXT, [1], {}))
    assert (grown.targets, len(grown.refused)) == ([], 1)
    with pytest.raises(v0_1_0.WrongRequest):
        v0_1_0.Batch.read(_grown(BATCH_TEXT, [], {"more": 1}))


def test_what_is_missing_at_the_end_takes_its_default() -> None:
    short = _changed(BATCH_TEXT, targets=[[17, "192.0.2.1"], [17, "192.0.2.1", "icmp"], [17]])
    batch = Batch.read(short)
    assert batch.targets == [Target(17, "192.0.2.1"), Target(17, "192.0.2.1", Probe.ICMP)]
    assert len(batch.refused) == 1
    results = Results.read(_changed(RESULTS_TEXT, pings=[astuple(PING)[:8]]))
    assert results.pings == [replace(PING, port=None)]


def test_every_message_says_its_version() -> None:
    assert json.loads(BATCH_TEXT)["version"] == messages.VERSION == 1
