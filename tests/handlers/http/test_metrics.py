"""/api/v1/metrics, read as Prometheus reads it: with its own parsers."""

from collections.abc import Iterable
from datetime import timedelta

import pytest
from flask.testing import FlaskClient
from prometheus_client.openmetrics import parser as open_metrics
from prometheus_client.parser import text_string_to_metric_families as read_text
from prometheus_client.samples import Sample

from core.clock import utc_now
from core.rounds import log as round_log
from core.rounds import stretches
from core.rounds.kernel import SILENT
from core.rounds.trust import Reading
from core.servers import find, schedule
from infra.database import Database
from tests.handlers.histories import MINUTE, add, record, record_minutes, this_slot
from tests.infra.statements import counted

METRICS = "/api/v1/metrics"
OPEN = "application/openmetrics-text;version=1.0.0;q=0.9,text/plain;version=0.0.4;q=0.5"
Labels = frozenset[tuple[str, str]]


def by_labels(samples: Iterable[Sample]) -> dict[Labels, float]:
    found = {}
    for sample in samples:
        assert frozenset(sample.labels.items()) not in found
        found[frozenset(sample.labels.items())] = sample.value
    return found


def scrape(client: FlaskClient) -> dict[str, dict[Labels, float]]:
    """Return the values of every family, by their labels."""
    response = client.get(METRICS)
    assert response.content_type == "text/plain; version=0.0.4; charset=utf-8"
    return {family.name: by_labels(family.samples) for family in read_text(response.text)}


def of(server: str, **more: str) -> Labels:
    return frozenset({"server": server, **more}.items())


NOBODY: Labels = frozenset()


def test_before_anything_was_added_it_is_a_page_too(client: FlaskClient) -> None:
    found = scrape(client)
    assert sum(found["pinglet_servers"].values()) == 0
    assert found["pinglet_rounds"] == {NOBODY: 0}
    assert "pinglet_last_round_age_seconds" not in found


def test_every_server_is_told_as_its_last_quarter_of_an_hour_was(
    client: FlaskClient, database: Database
) -> None:
    good, bad, _unseen = add(client, "good", "bad", "unseen")
    with database.transaction() as session:  # due for the whole quarter, and longer
        long_ago = utc_now() - timedelta(days=1)
        due = {server_id: {"enabled": True} for server_id in find.ids(session)}
        schedule.reschedule(session, due, long_ago)
    first = this_slot() - 20 * MINUTE
    record_minutes(database, [good], first, 20, lambda number: (4, 1.0 + number))
    record_minutes(database, [bad], first + 10 * MINUTE, 10, lambda number: ((number % 3), 8.0))
    record(database, [bad], this_slot(), (0, None))
    found = scrape(client)
    assert found["pinglet_server_observed"] == {of("good"): 1, of("bad"): 1, of("unseen"): 0}
    assert found["pinglet_server_up"] == {of("good"): 1, of("bad"): 0}
    assert found["pinglet_server_echoes_sent"] == {of("good"): 60, of("bad"): 40}
    assert found["pinglet_server_echoes_lost"] == {of("good"): 0, of("bad"): 31}
    assert found["pinglet_server_uptime_ratio"] == {of("good"): 1, of("bad"): 0.6}
    coverage = found["pinglet_server_coverage_ratio"]
    assert coverage[of("good")] == 1
    times = found["pinglet_server_response_seconds"]
    ranks = [times[of("good", quantile=q)] for q in ("0.5", "0.9", "1")]
    assert ranks == [0.013, 0.019, 0.020]


def test_states_are_counted_and_the_newest_round_dated(
    client: FlaskClient, database: Database
) -> None:
    ids = add(client, "a", "b", "c", "d")
    slot = this_slot() - MINUTE
    record(database, ids[:1], slot, (4, 1.5))
    record(database, ids[1:2], slot, (1, 1.5))
    record(database, ids[2:3], slot - 60 * MINUTE, (4, 1.5))
    record(database, ids[3:], slot + timedelta(days=1), (4, 1.5))  # the clock was wrong
    found = scrape(client)
    states = {dict(labels)["state"]: n for labels, n in found["pinglet_servers"].items()}
    assert states == {"up": 1, "degraded": 1, "down": 0, "unobserved": 2}
    assert found["pinglet_last_round_timestamp_seconds"] == {NOBODY: slot.timestamp()}
    assert found["pinglet_last_round_pings"] == {NOBODY: 2}
    assert 60 <= found["pinglet_last_round_age_seconds"][NOBODY] < 180


def test_the_rounds_themselves_are_told(client: FlaskClient, database: Database) -> None:
    second = timedelta(seconds=1)
    now = this_slot()
    with database.transaction() as session:
        for number in range(20):
            slot = now - number * MINUTE
            round_log.begin(session, slot, 10, slot + number * second)
            if number != 5:
                round_log.add(session, slot, 9, slot + number * second + 2 * second)
    found = scrape(client)
    assert found["pinglet_rounds"] == {NOBODY: 15}
    assert found["pinglet_round_pings_due"] == {NOBODY: 150}
    assert found["pinglet_round_pings_unobserved"] == {NOBODY: 14 + 10}
    assert found["pinglet_round_lag_seconds"][NOBODY] in (16, 17)  # the minute may just pass
    assert found["pinglet_round_duration_seconds"] == {NOBODY: 2}


def test_a_clock_in_doubt_is_told(client: FlaskClient, database: Database) -> None:
    now = this_slot()
    for wall, contradicted, doubted_s in (
        (now - timedelta(days=7), 0, 0),
        (now, 0, 7 * 86_400),
        (now - timedelta(days=3), 1, 7 * 86_400),
    ):
        with database.transaction() as session:
            stretches.note(session, Reading(wall, SILENT))
        found = scrape(client)
        assert found["pinglet_clock_contradicted"] == {NOBODY: contradicted}
        assert found["pinglet_clock_doubted_seconds"][NOBODY] >= doubted_s


STRANGE = [
    'a "quoted" one',
    "back\\slash",
    "\u05e9\u05e8\u05ea.exe",
    "{server='x'}",
    "\U0001f600",
    "a,b=c",
]


def test_names_arrive_as_they_are_by_both_parsers(client: FlaskClient, database: Database) -> None:
    ids = add(client, *STRANGE)
    record(database, ids, this_slot(), (4, 1.5))
    assert set(scrape(client)["pinglet_server_up"]) == {of(name) for name in STRANGE}
    response = client.get(METRICS, headers={"Accept": OPEN})
    assert response.mimetype == "application/openmetrics-text"
    families = {f.name: f for f in open_metrics.text_string_to_metric_families(response.text)}
    assert set(by_labels(families["pinglet_server_up"].samples)) == {of(name) for name in STRANGE}
    assert families["pinglet_server_response_seconds"].type == "summary"


@pytest.mark.parametrize("accepted", ["", "*/*", "text/plain", f"text/plain, {OPEN}"])
def test_who_does_not_ask_for_open_metrics_gets_text(client: FlaskClient, accepted: str) -> None:
    assert client.get(METRICS, headers={"Accept": accepted}).mimetype == "text/plain"


def test_lines_are_bounded_and_statements_don_t_grow_with_the_fleet(
    client: FlaskClient, database: Database
) -> None:
    def lines_and_statements() -> tuple[int, int]:
        with counted(database) as sent:
            text = client.get(METRICS).text
        told = [line for line in text.splitlines() if not line.startswith("#")]
        return len(told), len(sent)

    record(database, add(client, "first"), this_slot() - MINUTE, (4, 1.5))
    few = lines_and_statements()
    record(database, add(client, *map(str, range(40))), this_slot() - MINUTE, (3, 2.5))
    many = lines_and_statements()
    assert many[0] - few[0] == 9 * 40
    assert many[1] == few[1]
