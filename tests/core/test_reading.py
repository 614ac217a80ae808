"""What crosses the border: read once, refused with a reason."""

import json
import math
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.checks.records import Ping, Probe, State, quantised_ms
from core.errors import WrongRequest
from core.reading import iso, moment, read_json

NOON = datetime(2018, 1, 2, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("sent", "received", "state"),
    [
        (4, 4, State.UP),
        (1, 1, State.UP),
        (4, 3, State.DEGRADED),
        (4, 1, State.DEGRADED),
        (4, 0, State.DOWN),
        (1, 0, State.DOWN),
    ],
)
def test_a_state_is_what_the_echoes_add_up_to(sent: int, received: int, state: State) -> None:
    assert State.of(sent, received) is state
    ping = Ping(1, "127.0.0.1", sent, received, None, None, None, Probe.ICMP)
    assert ping.state is state


@pytest.mark.parametrize(
    ("ms", "kept"),
    [
        (0.0, 0.0),
        (0.004, 0.0),
        (0.006, 0.01),
        (35.02499, 35.02),
        (99.994, 99.99),
        (99.996, 100.0),
        (100.04, 100.0),
        (100.06, 100.1),
        (999.94, 999.9),
        (1000.4, 1000.0),
        (1234.5678, 1235.0),
        (12345.0, 12340.0),
        (12346.0, 12350.0),
    ],
)
def test_times_are_kept_to_a_hundredth_or_a_thousandth_part(ms: float, kept: float) -> None:
    assert quantised_ms(ms) == kept


@given(ms=st.floats(0, 3_600_000))
def test_quantising_loses_at_most_a_thousandth_and_nothing_the_second_time(ms: float) -> None:
    kept = quantised_ms(ms)
    assert abs(kept - ms) <= max(0.005, ms / 1000) * (1 + 1e-9)
    assert quantised_ms(kept) == kept


@given(moments=st.datetimes(timezones=st.timezones()))
def test_a_time_that_was_written_is_read_again(moments: datetime) -> None:
    try:
        written = iso(moments)
    except OverflowError:  # a zone ahead of UTC in the year 1
        return
    assert written.endswith("Z")
    assert moment(written, "since") == moments.astimezone(UTC)


def test_times_are_written_in_utc() -> None:
    assert iso(NOON) == "2018-01-02T12:00:00Z"
    assert iso(NOON.astimezone(timezone(timedelta(hours=5, minutes=30)))) == "2018-01-02T12:00:00Z"
    assert iso(NOON + timedelta(milliseconds=5)) == "2018-01-02T12:00:00.005000Z"


@given(
    value=st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.text(st.characters(exclude_categories=["Cs"])),
        lambda inner: st.lists(inner) | st.dictionaries(st.text("abcé\n"), inner),
        max_leaves=20,
    )
)
def test_all_strict_json_is_read(value: object) -> None:
    assert read_json(json.dumps(value).encode()) == value
    assert read_json(json.dumps(value, ensure_ascii=False).encode()) == value


@given(body=st.binary())
def test_any_octets_are_read_or_refused(body: bytes) -> None:
    try:
        read = read_json(body)
    except WrongRequest:
        return
    assert read == json.loads(body)


@pytest.mark.parametrize("depth", [900, 10_000, 100_000, 1_000_000])
def test_depth_is_refused_and_not_followed(depth: int) -> None:
    for opening in (b"[", b'{"a":'):
        with pytest.raises(WrongRequest):
            read_json(opening * depth)


def test_a_reason_never_repeats_a_whole_body() -> None:
    for body in (b"1e9" + b"9" * 100_000, b"[" + b"\xff" * 10, b"x" * 100_000):
        with pytest.raises(WrongRequest) as refusal:
            read_json(body)
        assert len(str(refusal.value)) < 300


def test_a_time_quantised_is_never_minus_zero_or_nothing() -> None:
    assert math.copysign(1, quantised_ms(0.0)) == 1
