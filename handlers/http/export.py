"""Export and import, as JSON and CSV, in pages that any instance takes. Loaded at first use."""

import csv
import io
import re
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar
from urllib.parse import urlencode

import msgspec
from flask import Response, request

from core.checks.records import quantised_ms
from core.clock import utc_now
from core.errors import WrongRequest
from core.export import give as export_give
from core.export import take as export_take
from core.export.records import KeptDay, KeptServer, LastPing, Place
from core.history.slices import Kept
from core.reading import convert, iso, moment, read_json
from core.servers.records import server_interval_s, server_ip, server_name
from core.servers.schedule import Planned
from core.slots import AHEAD, EPOCH, EPOCH_DATE, date_of, first_slot, slot_time
from handlers.http import routes, shapes
from handlers.instance import Instance
from infra.database import Database

BUDGET = 900_000  # bytes: a page with its frame stays below MAX_BODY, so it can be imported
CSV = "text/csv"
T = TypeVar("T")

Item = KeptServer | KeptDay
Encode = Callable[[Item], bytes]


# Out


def give(here: Instance, wanted: shapes.ExportQuery) -> Response:
    """Export servers, schedules and pings, a page at a time."""
    is_csv = wanted.format == "csv" if wanted.format else _accepts_csv()
    encode = _csv_lines if is_csv else _json_item
    items, after = _page(here.database, wanted.after, encode)
    response = _csv_page(items) if is_csv else _json_page(items, after)
    response.vary.add("Accept")
    if after:
        query = urlencode({"format": "csv" if is_csv else "json", "after": after})
        response.headers["Link"] = f'</api/v1/export?{query}>; rel="next"'
    return response


def _accepts_csv() -> bool:
    return request.accept_mimetypes.best_match([routes.JSON, CSV], routes.JSON) == CSV


def _page(
    database: Database, after: str, encode: Encode
) -> tuple[list[tuple[Item, bytes]], str | None]:
    """Return the items that fit, each with its octets, and the cursor of the page that follows."""
    page: list[tuple[Item, bytes]] = []
    size = 0
    with database.reading() as session:
        for item, place in _items(session, after):
            if item is None:
                return page, place
            octets = encode(item)
            if page and size + len(octets) > BUDGET:
                return page, place
            page.append((item, octets))
            size += len(octets)
    return page, None


def _items(session: Any, after: str) -> Iterator[tuple[Item | None, str]]:
    """Servers, then days, each with the cursor that begins with it; None: look there next time."""
    place = _read_cursor(after)
    last_id = 0
    while isinstance(place, int):
        servers = export_give.servers_from(session, place)
        yield from ((server, str(server.server_id)) for server in servers)
        last_id = servers[-1].server_id if servers else place - 1
        place = last_id + 1 if len(servers) == export_give.SERVERS_AT_ONCE else Place(0, 0, last_id)
    days, further = export_give.days_from(session, place)
    for day in days:
        number = (day.date - EPOCH_DATE).days
        yield day, _cursor(Place(day.server_id, number, place.last_id))
    if further is not None:
        yield None, _cursor(further)


def _cursor(place: Place) -> str:
    return ".".join(map(str, place))


def _read_cursor(after: str) -> int | Place:
    """A server's id, or a place among the days."""
    if not after:
        return 0
    numbers = after.split(".")
    if not all(re.fullmatch(r"[0-9]{1,18}", number, re.ASCII) for number in numbers):
        raise WrongRequest("after is what the page before gave", "after")
    match [int(number) for number in numbers]:
        case [server_id]:
            return server_id
        case [server_id, day, last_id] if day < 2_900_000:
            return Place(server_id, day, last_id)
    raise WrongRequest("after is what the page before gave", "after")


def _json_item(item: Item) -> bytes:
    shown = _shown_server(item) if isinstance(item, KeptServer) else _shown_day(item)
    return msgspec.json.encode(shown)


def _shown_server(server: KeptServer) -> shapes.ServerKept:
    last_ping = server.last_ping
    return shapes.ServerKept(
        name=server.name,
        ip=server.ip,
        added=server.added,
        probe=server.probe,
        port=server.port,
        last_port=server.last_port,
        last_ping=shapes.LastPingKept(**last_ping._asdict()) if last_ping else None,
        schedule=[shapes.PlannedKept(**planned._asdict()) for planned in server.schedule],
    )


def _shown_day(day: KeptDay) -> shapes.DayKept:
    first = first_slot(day.date)
    rows = [(slot - first, *heard) for slot, *heard in day.pings]
    return shapes.DayKept(server=day.server, date=day.date, pings=rows)  # type: ignore[arg-type]


def _json_page(items: Sequence[tuple[Item, bytes]], after: str | None) -> Response:
    servers = [msgspec.Raw(octets) for item, octets in items if isinstance(item, KeptServer)]
    days = [msgspec.Raw(octets) for item, octets in items if isinstance(item, KeptDay)]
    return routes.reply({"servers": servers, "days": days, "next": after})


# CSV: one line for a server, its newest ping, each row of its schedule and each ping.

COLUMNS = [
    *("record", "server", "time"),
    *("ip", "probe", "port", "last_port"),
    *("interval_s", "enabled"),
    *("response_ms", "best_ms", "worst_ms", "sent", "received"),
]


def _csv_lines(item: Item) -> bytes:
    lines = _server_lines(item) if isinstance(item, KeptServer) else _day_lines(item)
    return _csv(lines)


def _csv(lines: Iterator[dict[str, object]]) -> bytes:
    text = io.StringIO()
    csv.DictWriter(text, COLUMNS, lineterminator="\r\n").writerows(lines)  # RFC 4180
    return text.getvalue().encode()


def _server_lines(server: KeptServer) -> Iterator[dict[str, object]]:
    yield {
        "record": "server",
        "server": server.name,
        "time": iso(server.added),
        "ip": server.ip,
        "probe": server.probe,
        "port": server.port,
        "last_port": server.last_port,
    }
    if server.last_ping:
        slot, response_ms, sent, received = server.last_ping
        yield {
            "record": "last_ping",
            "server": server.name,
            "time": iso(slot),
            "response_ms": response_ms,
            "sent": sent,
            "received": received,
        }
    for since, interval_s, enabled in server.schedule:
        yield {
            "record": "schedule",
            "server": server.name,
            "time": iso(since),
            "interval_s": interval_s,
            "enabled": int(enabled),
        }


def _day_lines(day: KeptDay) -> Iterator[dict[str, object]]:
    for ping in day.pings:
        heard = ping._asdict()
        time = iso(slot_time(heard.pop("slot")))
        yield {"record": "ping", "server": day.server, "time": time, **heard}


def _csv_page(items: Sequence[tuple[Item, bytes]]) -> Response:
    header = f"{','.join(COLUMNS)}\r\n".encode()
    body = b"".join([header, *(octets for _item, octets in items)])
    response = Response(body, mimetype=CSV)
    response.headers["Content-Disposition"] = 'attachment; filename="pinglet.csv"'
    return response


# In


def take(here: Instance, wanted: shapes.ImportQuery) -> shapes.Imported:
    """Import a page of an export; what is here already stays as it is."""
    is_csv = wanted.format == "csv" if wanted.format else request.mimetype == CSV
    body = request.get_data()
    page = convert(shapes.Exported, _from_csv(body) if is_csv else read_json(body))
    now = utc_now()
    servers = [_server(one, f"servers[{at}]", now) for at, one in enumerate(page.servers)]
    days = [_day(one, f"days[{at}]", now) for at, one in enumerate(page.days)]
    with here.database.transaction() as session:
        taken = export_take.take(session, servers, days, here.settings, now)
    return shapes.Imported(servers=taken.servers, schedules=taken.schedules, pings=taken.pings)


def _server(one: shapes.ServerKept, place: str, now: datetime) -> KeptServer:
    return KeptServer(
        server_id=0,
        name=_checked(server_name, one.name, f"{place}.name"),
        ip=_checked(server_ip, one.ip, f"{place}.ip"),
        probe=one.probe,
        port=one.port,
        last_port=one.last_port,
        added=_past(one.added, f"{place}.added", now),
        last_ping=_last_ping(one.last_ping, f"{place}.last_ping", now),
        schedule=[_planned(row, f"{place}.schedule", now) for row in one.schedule],
    )


def _checked(check: Callable[[object], T], value: object, field: str) -> T:
    try:
        return check(value)
    except WrongRequest as error:
        raise WrongRequest(str(error), field) from None


def _past(given: datetime, field: str, now: datetime) -> datetime:
    """Return a time of the past: one in the future would look fresh for ever."""
    # The latest day's last hours lie beyond datetime's end elsewhere.
    year_9000 = datetime(9000, 1, 1)  # noqa: DTZ001
    if not EPOCH.replace(tzinfo=None) < given.replace(tzinfo=None) < year_9000:
        raise WrongRequest("a time after 1970 was expected", field)
    if given > now + AHEAD:
        raise WrongRequest("a time of the past was expected", field)
    return max(given.astimezone(UTC), EPOCH)


def _planned(row: shapes.PlannedKept, field: str, now: datetime) -> Planned:
    since = _past(row.since, field, now)
    interval_s = _checked(server_interval_s, row.interval_s, field)
    return Planned(since, interval_s, row.enabled)


def _last_ping(one: shapes.LastPingKept | None, field: str, now: datetime) -> LastPing | None:
    if one is None:
        return None
    slot = _past(one.slot, field, now)
    if slot.second or slot.microsecond:
        raise WrongRequest("a slot is a whole minute", field)
    _refuse_odd(one.sent, one.received, [one.response_ms], field)
    return LastPing(slot, _quantised(one.response_ms), one.sent, one.received)


def _day(one: shapes.DayKept, place: str, now: datetime) -> KeptDay:
    first = _first_slot(one, place)
    end = (now + AHEAD - EPOCH) // timedelta(minutes=1)
    pings = [_ping(first + minute, *heard, f"{place}.pings") for minute, *heard in one.pings]
    if pings and max(ping.slot for ping in pings) > end:
        raise WrongRequest("a time of the past was expected", f"{place}.pings")
    server = _checked(server_name, one.server, f"{place}.server")
    return KeptDay(0, server, date_of(first), pings)


def _ping(slot: int, *heard: Any) -> Kept:
    mean, best, worst, sent, received, field = heard
    _refuse_odd(sent, received, [mean, best, worst], field)
    return Kept(slot, _quantised(mean), _quantised(best), _quantised(worst), sent, received)


def _first_slot(one: shapes.DayKept, place: str) -> int:
    first = first_slot(one.date)
    if first < 0:
        raise WrongRequest("a day after 1970 was expected", f"{place}.date")
    return first


def _refuse_odd(sent: int, received: int, times: Sequence[float | None], field: str) -> None:
    """Refuse what no ping can have added up to; the times are mean, best and worst."""
    if not max(1, received) <= sent:
        raise WrongRequest("a ping sends an echo and receives no more than it sent", field)
    known = [ms for ms in times if ms is not None]
    if known and (not received or len(known) != len(times)):
        raise WrongRequest("a ping has all its times, or none if nothing came back", field)
    if len(known) == 3 and not known[1] <= known[0] <= known[2]:
        raise WrongRequest("a mean lies between the best and the worst", field)


def _quantised(ms: float | None) -> float | None:
    return None if ms is None else quantised_ms(ms)


def _from_csv(body: bytes) -> dict[str, object]:
    """Return the lines as the JSON of a page has them. Raises WrongRequest with the line."""
    page = _Page()
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise WrongRequest(f"not the CSV we write: {error}", "line 1") from None
    lines = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    try:
        if lines.fieldnames != COLUMNS:
            raise WrongRequest(f"the first line is {','.join(COLUMNS)}", "line 1")
        for line in lines:
            page.add(line)
    except WrongRequest as error:
        raise WrongRequest(str(error), f"line {max(1, lines.reader.line_num)}") from None
    except (csv.Error, ValueError, TypeError, OverflowError) as error:
        where = f"line {max(1, lines.reader.line_num)}"
        raise WrongRequest(f"not the CSV we write: {error}", where) from None
    return {"servers": list(page.servers.values()), "days": list(page.days.values())}


class _Page:
    """The records of a CSV, put together."""

    def __init__(self) -> None:
        self.servers: dict[str, dict[str, Any]] = {}
        self.days: dict[tuple[str, str], dict[str, Any]] = {}

    def add(self, line: dict[str, str]) -> None:
        """Put one line where it belongs."""
        readers = {
            "server": self._server,
            "last_ping": self._last_ping,
            "schedule": self._schedule,
            "ping": self._ping,
        }
        # Where a field is too many or too few, csv puts None in its place.
        if None in line or None in line.values():
            raise WrongRequest("a line has as many fields as the first one")
        if line["record"] not in readers:
            raise WrongRequest(f"record is one of {', '.join(readers)}")
        readers[line["record"]](line)

    def _server(self, line: dict[str, str]) -> None:
        self.servers[line["server"]] = {
            "name": line["server"],
            "ip": line["ip"],
            "added": line["time"],
            "probe": line["probe"],
            "port": _whole(line["port"]),
            "last_port": _whole(line["last_port"]),
            "schedule": [],
        }

    def _of(self, line: dict[str, str]) -> dict[str, Any]:
        if line["server"] not in self.servers:
            raise WrongRequest("a server's own line comes first")
        return self.servers[line["server"]]

    def _last_ping(self, line: dict[str, str]) -> None:
        self._of(line)["last_ping"] = {
            "slot": line["time"],
            "response_ms": _number(line["response_ms"]),
            "sent": int(line["sent"]),
            "received": int(line["received"]),
        }

    def _schedule(self, line: dict[str, str]) -> None:
        planned = {
            "since": line["time"],
            "interval_s": int(line["interval_s"]),
            "enabled": bool(int(line["enabled"])),
        }
        self._of(line)["schedule"].append(planned)

    def _ping(self, line: dict[str, str]) -> None:
        slot = moment(line["time"], "time")
        if slot.second or slot.microsecond:
            raise WrongRequest("a slot is a whole minute")
        day = slot.date().isoformat()
        times = [_number(line[name]) for name in ("response_ms", "best_ms", "worst_ms")]
        echoes = [int(line["sent"]), int(line["received"])]
        known = self.days.setdefault(
            (line["server"], day), {"server": line["server"], "date": day, "pings": []}
        )
        known["pings"].append([slot.hour * 60 + slot.minute, *times, *echoes])


def _whole(text: str) -> int | None:
    return int(text) if text else None


def _number(text: str) -> float | None:
    return float(text) if text else None
