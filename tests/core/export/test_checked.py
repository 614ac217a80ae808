"""What another instance says it knew: refused where it can't have been so."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from core.errors import WrongRequest
from core.export.checked import checked
from core.export.records import DayKept, Exported, LastPingKept, PlannedKept, ServerKept
from core.settings import Settings
from tests.infra.rows import IP, SLOT

NOW = datetime(2026, 2, 1, tzinfo=UTC)
WEB = ServerKept(name="web", ip=IP, added=SLOT)


def looked_at(page: Exported) -> Exported:
    return checked(page, Settings(), NOW)


def refused(**page: Any) -> tuple[str | None, str]:
    """Return the field for which this page is refused, and the sentence."""
    with pytest.raises(WrongRequest) as caught:
        looked_at(Exported(**page))
    return caught.value.field, str(caught.value)


def test_names_are_trimmed_times_are_in_utc_and_begin_with_1970() -> None:
    early = datetime.fromisoformat("1970-01-01T01:00:00+02:00")
    heard = LastPingKept(slot=SLOT, response_ms=1.504, sent=4, received=4)
    page = Exported(servers=[ServerKept(name=" web ", ip=IP, added=early, last_ping=heard)])
    [server] = looked_at(page).servers
    assert (server.name, server.added) == ("web", datetime(1970, 1, 1, tzinfo=UTC))
    assert server.last_ping is not None
    assert server.last_ping.response_ms == 1.5


@pytest.mark.parametrize(
    ("ping", "sentence"),
    [
        ((0, 1.0, 2.0, 3.0, 4, 4), "mean must be between best and worst, got 1.0"),
        (
            (0, 1.0, None, 3.0, 4, 4),
            "a ping must have all of mean, best and worst, or none of them, got 2",
        ),
        ((0, 1.0, 1.0, 1.0, 4, 0), "times must be null where nothing was received, got 1.0"),
        ((0, None, None, None, 0, 0), "sent must be at least 1, got 0"),
        ((0, None, None, None, 3, 4), "received must be at most 3, got 4"),
    ],
)
def test_what_no_ping_can_add_up_to_is_refused(ping: Any, sentence: str) -> None:
    day = DayKept(server="web", date=SLOT.date(), pings=[ping])
    assert refused(servers=[WEB], days=[day]) == ("days[0].pings", sentence)


def test_the_future_is_refused_and_so_is_what_was_before_1970() -> None:
    late = NOW + timedelta(minutes=6)
    ahead = ServerKept(name="web", ip=IP, added=late)
    assert refused(servers=[ahead]) == (
        "servers[0].added",
        "added must be a time in the past, got '2026-02-01T00:06:00Z'",
    )
    planned = ServerKept(
        name="web",
        ip=IP,
        added=SLOT,
        schedule=[PlannedKept(since=late, interval_s=60, enabled=True)],
    )
    assert refused(servers=[WEB, planned]) == (
        "servers[1].schedule",
        "since must be a time in the past, got '2026-02-01T00:06:00Z'",
    )
    tomorrow = DayKept(server="web", date=NOW.date(), pings=[(6, None, None, None, 4, 0)])
    assert refused(servers=[WEB], days=[tomorrow]) == (
        "days[0].pings",
        "a ping must be of a time in the past, got '2026-02-01T00:06:00Z'",
    )
    before = DayKept(server="web", date=date(1969, 12, 31), pings=[])
    assert refused(servers=[WEB], days=[before]) == (
        "days[0].date",
        "date must be 1970-01-01 or later, got '1969-12-31'",
    )
    old = ServerKept(name="web", ip=IP, added=datetime(1969, 12, 31, tzinfo=UTC))
    assert refused(servers=[old]) == (
        "servers[0].added",
        "added must be a time from 1970 to 8999, got '1969-12-31T00:00:00Z'",
    )


def test_a_slot_is_refused_that_is_no_whole_minute() -> None:
    heard = LastPingKept(slot=SLOT + timedelta(seconds=1), response_ms=1.5, sent=4, received=4)
    web = ServerKept(name="web", ip=IP, added=SLOT, last_ping=heard)
    field, sentence = refused(servers=[web])
    assert field == "servers[0].last_ping"
    assert sentence.startswith("slot must be a whole minute, got '")


def test_a_value_that_is_refused_stays_out_of_the_sentence_for_logs() -> None:
    with pytest.raises(WrongRequest) as caught:
        looked_at(Exported(servers=[ServerKept(name="web", ip="127.1", added=SLOT)]))
    assert caught.value.field == "servers[0].ip"
    told = "ip must be an IPv4 address such as 192.0.2.10, got text of 5 characters"
    assert caught.value.logged == told


def test_an_address_that_may_not_be_probed_is_refused() -> None:
    multicast = ServerKept(name="web", ip="224.0.0.1", added=SLOT)
    assert refused(servers=[multicast])[0] == "ip"
