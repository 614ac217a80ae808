"""A list of servers as people bring it: CSV in any dialect, JSON, Pinglet's own exports.

`read` is the only reader of such lists: command line, API and pages call it. One wrong line never
hurts the others.
"""

import csv
import io
import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

from core.errors import WrongRequest
from core.reading import moment, read_json
from core.servers.records import FIELDS, KNOWN, LIMIT, BulkItem, BulkServer, is_ip

LIMIT_BYTES = 1_000_000
DELIMITERS = ",;\t"

# What stands beside a server's fields where Pinglet itself wrote the list.
IN_OUR_OBJECTS = {
    *("id", "added", "last_port", "last_ping", "schedule", "exempt"),
    *("state", "reason", "detail", "new"),
    *("uptime", "coverage", "counts", "strip", "strip_counts", "means_ms"),
}
BESIDE_OUR_SERVERS = {"servers", "parents", "days", "next"} | {
    *("totals", "paused", "new", "last_round"),
}
NAMES = [field.name for field in FIELDS]
COLUMNS = {name: field for field in FIELDS for name in (field.name, *field.names)}
"""The fields by the names that a list may give them, in lower case."""
FORMULA = re.compile(r"(^|; *)(?='*[=+\-@\t\r\uff1d\uff0b\uff0d\uff20])")
"""Where a spreadsheet would begin to calculate: at a cell's beginning, and behind a semicolon, at
which many countries' spreadsheets cut a cell in two. `to_csv` puts an apostrophe there, and `read`
takes it away below columns' names. Source: owasp.org/www-community/attacks/CSV_Injection
"""
HARMLESS = re.compile(FORMULA.pattern.replace("(?=", "'(?="))
WRONG_QUOTES = "a quote isn't closed, or text follows one that is"


# The list


@dataclass(frozen=True, slots=True)
class Entry:
    """A server of a list, or why it is refused.

    `place` is `line 3` of CSV or `server 3` of JSON, counted from 1; `text` is that line, or that
    value, for people to mend. `said` has a name and an ip; what isn't in it wasn't said.
    """

    place: str
    text: str
    said: BulkServer | BulkItem


class Row(NamedTuple):
    """An entry to be. `read` returns what is said of a server, unchecked; raises WrongRequest."""

    place: str
    text: str
    read: Callable[[], Mapping[str, object]]


def read(given: bytes | str, *, bounded: bool = True) -> list[Entry]:
    """Read a list of servers: JSON where it begins with [ or {, else CSV. Octets are UTF-8.

    What came by a request is `bounded` to LIMIT servers and LIMIT_BYTES.

    JSON is a list of objects, or has one under `servers`. CSV has commas, semicolons or tabs, and
    may begin with the columns' names, in any order; without them the columns are those of FIELDS,
    the address may come first, and blanks may stand between the two. Between tags there are blanks.
    Lines that are empty or begin with # are passed over, and so is what an export holds beyond its
    servers and their newest schedule. Raises WrongRequest for what is no list.
    """
    text = _text(given, bounded)
    is_json = text.lstrip().startswith(("[", "{"))
    return _entries(_json_rows(text) if is_json else _csv_rows(text, bounded), bounded)


def to_csv(servers: Iterable[Mapping[str, object]]) -> str:
    """Write servers, each by its fields' names, so that `read` reads them.

    A spreadsheet takes no cell for a formula.
    """
    written = io.StringIO()
    plain = csv.writer(written, lineterminator="\n")
    quoted = csv.writer(written, lineterminator="\n", quoting=csv.QUOTE_ALL)
    plain.writerow(NAMES)
    for server in servers:
        cells = [_cell(server.get(name)) for name in NAMES]
        # Bare, it would be a comment.
        (quoted if cells[0].startswith("#") else plain).writerow(cells)
    return written.getvalue()


def to_json(servers: Iterable[Mapping[str, object]]) -> str:
    """Write servers as `to_csv` does, as a list in JSON; a field without a value is left out."""
    said = [{name: value for name, value in one.items() if value is not None} for one in servers]
    return f"{json.dumps(said, ensure_ascii=False, indent=1)}\n"


def _cell(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    text = " ".join(value) if isinstance(value, list | tuple) else str(value)
    return "" if value is None else FORMULA.sub(r"\1'", text)


def _text(given: bytes | str, bounded: bool) -> str:
    octets = given.encode("utf-8", "surrogatepass") if isinstance(given, str) else given
    if bounded and len(octets) > LIMIT_BYTES:
        raise WrongRequest(f"a list may have at most {LIMIT_BYTES:,} bytes, got {len(octets):,}")
    try:
        text = octets.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = octets.count(b"\n", 0, error.start) + 1
        raise WrongRequest(f"a list must be text in UTF-8; line {line} isn't") from None
    if "\0" in text:
        raise WrongRequest("a list must be text in UTF-8; this is something else")
    return text


def _entries(rows: Sequence[Row], bounded: bool) -> list[Entry]:
    _hold_to_limit(rows, bounded)
    places: dict[str, str] = {}
    return [Entry(row.place, row.text, _outcome(row, places)) for row in rows]


def _hold_to_limit(rows: Sequence[object], bounded: bool) -> None:
    if bounded and len(rows) > LIMIT:
        sentence = f"a list may have at most {LIMIT:,} servers, got {len(rows):,}"
        raise WrongRequest(sentence, "servers")


def _outcome(row: Row, places: dict[str, str]) -> BulkServer | BulkItem:
    """What the row says. `places` are those of the names before it, and takes its own."""
    try:
        said = BulkServer.saying(row.read())
    except WrongRequest as error:
        return BulkItem.refused(error)
    first = places.setdefault(said.name, row.place)
    if first != row.place:
        sentence = f"{{}} appears twice (first: {first})"
        return BulkItem.refused(WrongRequest(sentence, "name", got=said.name))
    return said


# JSON


def _json_rows(text: str) -> list[Row]:
    body = read_json(text.encode())
    objects = body.get("servers") if isinstance(body, dict) else body
    if not isinstance(objects, list):
        raise WrongRequest("expected a list of servers, or an object with one", "servers")
    unknown = set(body) - BESIDE_OUR_SERVERS if isinstance(body, dict) else None
    if unknown:
        key = min(unknown)
        told = "unknown key {} beside servers"
        raise WrongRequest(told, key, got=key)
    behind = _behind(body.get("parents", []) if isinstance(body, dict) else [])
    return [
        Row(
            f"server {number}",
            json.dumps(given, ensure_ascii=False),
            partial(_of_object, given, behind),
        )
        for number, given in enumerate(objects, 1)
    ]


def _behind(links: object) -> dict[str, object]:
    """The parents of an export, by the servers' names."""
    if not isinstance(links, list) or not all(
        isinstance(one, dict) and isinstance(one.get("server"), str) for one in links
    ):
        raise WrongRequest("parents must be a list of objects with server and parent", "parents")
    return {one["server"]: one.get("parent") for one in links}


def _of_object(given: object, behind: Mapping[str, object]) -> dict[str, object]:
    if not isinstance(given, dict):
        raise WrongRequest("a server must be an object with name and ip", got=given)
    said: dict[str, object] = {}
    for key, value in given.items():
        field = COLUMNS.get(key.lower())
        if field is None and key not in IN_OUR_OBJECTS:
            raise WrongRequest(f"unknown field {{}}; known fields: {KNOWN}", key, got=key)
        if field is not None and field.name in said:
            raise WrongRequest(f"{field.name} appears twice", field.name)
        if field is not None:
            said[field.name] = value
    name = said.get("name")
    if isinstance(name, str) and name in behind:
        said = {"parent": behind[name]} | said
    return said | _newest(given.get("schedule", []))


def _newest(schedule: object) -> dict[str, object]:
    """Interval and pause, as the newest row of a schedule has them; nothing if there is none."""
    if not isinstance(schedule, list) or not all(isinstance(row, dict) for row in schedule):
        raise WrongRequest("schedule must be a list of rows", "schedule", got=schedule)
    if not schedule:
        return {}
    newest = max(schedule, key=lambda row: moment(str(row.get("since")), "since"))
    return {name: newest[name] for name in ("interval_s", "enabled") if name in newest}


# CSV. No field of a server holds a line's end, so each line stands for itself: a quote that isn't
# closed swallows nothing but its own line.


class ListLine(NamedTuple):
    """A line that may name a server."""

    place: str
    text: str


def _csv_rows(text: str, bounded: bool) -> list[Row]:
    # Not splitlines(), which ends a line at six more characters, U+2028 among them.
    every = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    lines = [
        ListLine(f"line {number}", line)
        for number, line in enumerate(every, 1)
        if line.strip(f" {DELIMITERS}") and not line.lstrip(" ").startswith("#")
    ]
    for delimiter in DELIMITERS if lines else "":
        header = _cells(lines[0].text, delimiter)
        if len(COLUMNS.keys() & {cell.lower() for cell in header}) > 1:
            return _rows_under(header, lines[1:], delimiter)
    _hold_to_limit(lines, bounded)  # each is looked at several times
    return _bare_rows(lines)


def _cells(line: str, delimiter: str) -> list[str]:
    """The line's cells, trimmed, without empty ones at its end; none if its quotes are wrong."""
    try:
        [cells] = csv.reader([line], delimiter=delimiter, strict=True, skipinitialspace=True)
    except csv.Error:
        return []
    trimmed = [cell.strip(" \t") for cell in cells]
    while trimmed and not trimmed[-1]:
        trimmed.pop()
    return trimmed


def _rows_under(header: Sequence[str], lines: Sequence[ListLine], delimiter: str) -> list[Row]:
    """The rows of lines below a first one that names their columns."""
    columns = [cell.lower() for cell in header]
    if {"record", "server", "time"} <= set(columns):
        return _export_rows(columns, lines, delimiter)
    _check(header)
    return [
        Row(*line, partial(_below, line.text, columns=columns, delimiter=delimiter))
        for line in lines
    ]


def _check(header: Sequence[str]) -> None:
    for column in header:
        if column.lower() not in COLUMNS:
            told = f"unknown column {{}}; known columns: {KNOWN}"
            raise WrongRequest(told, column, got=column)
    named = [COLUMNS[column.lower()].name for column in header]
    for name in named:
        if named.count(name) > 1:
            raise WrongRequest(f"the first line names the column {name} twice", name)
    for name in BulkServer.needed:
        if name not in named:
            raise WrongRequest(f"the first line names no column {name}", name)


def _below(line: str, columns: Sequence[str], delimiter: str) -> Mapping[str, object]:
    cells = _cells(line, delimiter)
    if not cells:
        raise WrongRequest(WRONG_QUOTES)
    if len(cells) > len(columns):
        named = len(columns)
        raise WrongRequest(f"the first line names {named} columns; this line has {len(cells)}")
    return _said(zip(columns, (HARMLESS.sub(r"\1", cell) for cell in cells), strict=False))


def _said(cells: Iterable[tuple[str, str]]) -> dict[str, object]:
    """What these cells say, given by their columns; an empty one says nothing."""
    fields = [(COLUMNS[column], cell) for column, cell in cells if cell and column in COLUMNS]
    return {field.name: field.in_cell(cell) for field, cell in fields}


def _export_rows(columns: Sequence[str], lines: Sequence[ListLine], delimiter: str) -> list[Row]:
    """The servers of GET /api/v1/export, each with its schedule; pings are passed over."""
    rows = []
    schedules: dict[str, list[object]] = defaultdict(list)
    for line in lines:
        record = dict(zip(columns, _cells(line.text, delimiter), strict=False))
        if record.get("record") == "schedule":
            planned = _said(record.items()) | {"since": record.get("time")}
            schedules[record.get("server", "")].append(planned)
        # Pages that were put together have their first lines in between.
        elif record.get("record") not in ("last_ping", "ping", "record"):
            rows.append(Row(*line, partial(_of_record, record, schedules)))
    return rows


def _of_record(
    record: Mapping[str, str], schedules: Mapping[str, list[object]]
) -> Mapping[str, object]:
    if record.get("record") != "server":
        raise WrongRequest("a record must be server, schedule, last_ping or ping", "record")
    schedule = schedules.get(record.get("server", ""), [])
    return {"port": None} | _said(record.items()) | _newest(schedule)


def _bare_rows(lines: Sequence[ListLine]) -> list[Row]:
    """The rows of lines whose columns nobody named."""
    rows = [Row(*line, partial(_bare, line.text)) for line in lines]
    if lines and not any(_guessed(line.text) for line in lines):
        for delimiter in DELIMITERS:
            header = _cells(lines[0].text, delimiter)
            # One column alone is never enough.
            if COLUMNS.keys() & {cell.lower() for cell in header}:
                _check(header)
        raise WrongRequest("expected JSON, or lines such as web,192.0.2.10", got=lines[0].text)
    return rows


def _bare(line: str) -> Mapping[str, object]:
    cells = _guessed(line)
    if not cells:
        raise (
            WrongRequest(WRONG_QUOTES)
            if '"' in line
            else WrongRequest("expected name,ip", got=line)
        )
    if len(cells) > len(FIELDS):
        raise WrongRequest(
            f"a line may have at most {len(FIELDS)} cells ({KNOWN}), got {len(cells)}"
        )
    if is_ip(cells[0]) and not is_ip(cells[1]):
        cells[:2] = cells[1::-1]
    return _said(zip(NAMES, cells, strict=False))


def _guessed(line: str) -> list[str]:
    """The line's cells, two or more, by the delimiter that shows an address; none if one is all."""
    found: list[str] = []
    for delimiter in DELIMITERS:
        cells = _cells(line, delimiter)
        if len(cells) > 1 and any(map(is_ip, cells[1::-1])):
            return cells
        if len(cells) > 1:
            found = found or cells
    return found or _by_blanks(line)


def _by_blanks(line: str) -> list[str]:
    """The two cells of `my web 192.0.2.10`, also the other way round; an address is a name, too."""
    words = _cells(line.replace("\t", " "), " ")
    if len(words) == 1 and is_ip(words[0]):
        return words * 2
    if len(words) > 2 and is_ip(words[0]):
        return [words[0], " ".join(words[1:])]
    if len(words) > 2 and is_ip(words[-1]):
        return [" ".join(words[:-1]), words[-1]]
    return words if len(words) == 2 else []
