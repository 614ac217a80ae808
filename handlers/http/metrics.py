"""Metrics for Prometheus, in text. Loaded at first use.

Names and help are ours; every label's value but the servers' names is from a fixed set, so there
are nine lines for each server at most. Source: prometheus.io/docs/instrumenting (exposition
formats); the OpenMetrics 1.0 specification.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime

from flask import Response, request

from core.checks.records import State
from core.clock import utc_now
from core.history import lately
from core.history.lately import LATELY_SLOTS, Gauge
from core.rounds import log as round_log
from core.rounds import stretches
from core.rounds.log import Tally
from core.rounds.trust import Trust
from core.slots import AHEAD, current_slot, slot_time
from handlers.instance import Instance

TEXT = "text/plain; version=0.0.4; charset=utf-8"
OPEN_METRICS = "application/openmetrics-text"
QUARTER = "in the last 15 minutes"

Value = Callable[[Gauge], float | None]


def show(here: Instance) -> Response:
    """Tell Prometheus about every server, and about Pinglet itself."""
    now = utc_now()
    over = current_slot(now) - 1  # a slot's round is over half a minute after the next one begins
    with here.database.reading() as session:
        found = lately.gauges(session, now)
        rounds = round_log.between(session, slot_time(over - LATELY_SLOTS), slot_time(over))
        trusted = stretches.kept(session)
    lines = [
        *_of_pinglet(found, now),
        *_of_clock(trusted),
        *_of_rounds(rounds),
        *_of_servers(found),
    ]
    if _wants_open_metrics():
        kind = f"{OPEN_METRICS}; version=1.0.0; charset=utf-8"
        response = Response("\n".join([*lines, "# EOF", ""]), content_type=kind)
    else:
        response = Response("\n".join([*lines, ""]), content_type=TEXT)
    response.vary.add("Accept")
    return response


def _wants_open_metrics() -> bool:
    # Scrapers add versions to the types, with which Werkzeug's own matching finds nothing; and its
    # order puts a type with a version before one that is wanted more.
    by_quality = sorted(request.accept_mimetypes, key=lambda accepted: -accepted[1])
    known = (kind.partition(";")[0] for kind, _quality in by_quality)
    return (
        next((kind for kind in known if kind in (OPEN_METRICS, "text/plain")), "") == OPEN_METRICS
    )


def _of_pinglet(found: Sequence[Gauge], now: datetime) -> Iterator[str]:
    states = Counter(one.server.state for one in found)
    yield from _family("pinglet_servers", "Servers by their state now.")
    yield from (f'pinglet_servers{{state="{state}"}} {states[state]}' for state in State)
    slots = [one.server.last_ping.slot for one in found if one.server.last_ping]
    last_round = max((slot for slot in slots if slot <= now + AHEAD), default=None)
    if last_round is None:
        return
    yield from _family("pinglet_last_round_timestamp_seconds", "The newest round's slot.")
    yield f"pinglet_last_round_timestamp_seconds {last_round.timestamp()}"
    yield from _family("pinglet_last_round_age_seconds", "How long ago the newest round was due.")
    yield f"pinglet_last_round_age_seconds {max(0.0, (now - last_round).total_seconds())}"
    yield from _family("pinglet_last_round_pings", "Servers that the newest round has a ping of.")
    yield f"pinglet_last_round_pings {slots.count(last_round)}"


def _of_clock(trusted: Trust) -> Iterator[str]:
    told = "Whether nothing is recorded or removed, as something contradicts the worker's clock."
    yield from _family("pinglet_clock_contradicted", told)
    yield f"pinglet_clock_contradicted {int(trusted.contradicted)}"
    told = "Time that rounds don't vouch for yet: what is old is removed so much later."
    yield from _family("pinglet_clock_doubted_seconds", told)
    yield f"pinglet_clock_doubted_seconds {trusted.doubted.total_seconds()}"


def _of_rounds(rounds: Sequence[Tally]) -> Iterator[str]:
    yield from _family("pinglet_rounds", f"Rounds that began {QUARTER}.")
    yield f"pinglet_rounds {len(rounds)}"
    yield from _family("pinglet_round_pings_due", f"Pings that were due {QUARTER}.")
    yield f"pinglet_round_pings_due {sum(one.due for one in rounds)}"
    told = "Of these, pings that nobody could make (local faults) or that got lost on their way."
    yield from _family("pinglet_round_pings_unobserved", told)
    yield f"pinglet_round_pings_unobserved {sum(one.unobserved for one in rounds)}"
    lags = [one.lag for one in rounds]
    if lags:
        yield from _family(
            "pinglet_round_lag_seconds", f"The longest that a round began after its slot {QUARTER}."
        )
        yield f"pinglet_round_lag_seconds {max(lags).total_seconds()}"
    durations = [one.duration for one in rounds if one.duration is not None]
    if durations:
        yield from _family(
            "pinglet_round_duration_seconds",
            f"The longest that a round took until its last ping was recorded {QUARTER}.",
        )
        yield f"pinglet_round_duration_seconds {max(durations).total_seconds()}"


def _of_servers(found: Sequence[Gauge]) -> Iterator[str]:
    named = [(_escaped(one.server.name), one) for one in found]
    for name, told, value in GAUGES:
        yield from _family(name, told)
        for server, one in named:
            number = value(one)
            if number is not None:
                yield f'{name}{{server="{server}"}} {number}'
    yield from _response_times(named)


UP = {State.UP: 1, State.DEGRADED: 1, State.DOWN: 0, State.UNOBSERVED: None}
GAUGES: Sequence[tuple[str, str, Value]] = (
    (
        "pinglet_server_observed",
        "Whether we know how the server is: 0 when nobody looked for two intervals.",
        lambda one: int(one.server.state is not State.UNOBSERVED),
    ),
    (
        "pinglet_server_up",
        "Whether the server's newest ping was answered, by one echo at least; "
        "absent while it is unobserved.",
        lambda one: UP[one.server.state],
    ),
    (
        "pinglet_server_echoes_sent",
        f"Echoes sent {QUARTER}.",
        lambda one: one.lately.sent if one.lately else None,
    ),
    (
        "pinglet_server_echoes_lost",
        f"Echoes that didn't come back {QUARTER}.",
        lambda one: one.lately.sent - one.lately.received if one.lately else None,
    ),
    (
        "pinglet_server_uptime_ratio",
        f"Answered / observed slots {QUARTER}.",
        lambda one: one.uptime,
    ),
    ("pinglet_server_coverage_ratio", f"Observed / due slots {QUARTER}.", lambda one: one.coverage),
)


def _response_times(named: Sequence[tuple[str, Gauge]]) -> Iterator[str]:
    # A summary's sum and count would be counters, which the tables can't tell: they are left out.
    name = "pinglet_server_response_seconds"
    yield from _family(name, f"Mean response times of the pings {QUARTER}.", "summary")
    for server, one in named:
        if one.lately is None or one.lately.max_ms is None:
            continue
        times = (("0.5", one.lately.p50_ms), ("0.9", one.lately.p90_ms), ("1", one.lately.max_ms))
        for quantile, ms in times:
            yield f'{name}{{server="{server}",quantile="{quantile}"}} {_seconds(ms)}'


def _seconds(ms: float | None) -> float:
    return round((ms or 0.0) / 1_000, 9)


def _family(name: str, told: str, kind: str = "gauge") -> Iterator[str]:
    yield f"# HELP {name} {told}"
    yield f"# TYPE {name} {kind}"


def _escaped(name: str) -> str:
    return name.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
