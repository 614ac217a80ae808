"""Lists of servers: read in whatever dialect they come, each wrong line refused by itself."""

import csv
import io
import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from core.checks.records import Probe
from core.errors import WrongRequest
from core.reading import NAME_LENGTH
from core.servers.lists import HARMLESS, LIMIT_BYTES, Entry, read, to_csv
from core.servers.records import FIELDS, KNOWN, LIMIT, BulkItem, BulkServer
from core.settings import INTERVALS_S

WEB = {"name": "web", "ip": "192.0.2.1"}
DB = {"name": "db", "ip": "192.0.2.2"}
ALL = {
    "name": "web",
    "ip": "192.0.2.1",
    "probe": Probe.TCP,
    "port": 443,
    "interval_s": 300,
    "enabled": False,
}
GROUPED = ALL | {"tags": ("eu", "web"), "parent": "a switch"}


def servers(text: bytes | str) -> list[Any]:
    """Return what is said of each server; none may be refused."""
    entries = read(text)
    assert [entry for entry in entries if isinstance(entry.said, BulkItem)] == []
    return [said(entry) for entry in entries]


def said(entry: Entry) -> Any:
    """Return what is said of a server that isn't refused, by the fields' names."""
    return entry.said.said() if isinstance(entry.said, BulkServer) else None


def refusals(text: bytes | str) -> list[tuple[str, str | None, str | None]]:
    """Return place, field and sentence of each server that is refused."""
    return [
        (entry.place, entry.said.field, entry.said.detail)
        for entry in read(text)
        if isinstance(entry.said, BulkItem)
    ]


def refusal(text: bytes | str) -> str:
    """Return why the whole list is refused."""
    with pytest.raises(WrongRequest) as caught:
        read(text)
    return str(caught.value)


# Dialects


@pytest.mark.parametrize(
    "text",
    [
        "name,ip\nweb,192.0.2.1\ndb,192.0.2.2\n",
        "name,ip\r\nweb,192.0.2.1\r\ndb,192.0.2.2",
        "name,ip\rweb,192.0.2.1\rdb,192.0.2.2\r",
        "\ufeffname;ip\nweb;192.0.2.1\ndb;192.0.2.2\n",
        "name\tip\nweb\t192.0.2.1\ndb\t192.0.2.2\n",
        "IP,Name\n192.0.2.1,web\n192.0.2.2,db\n",
        "address;server\n192.0.2.1;web\n192.0.2.2;db\n",
        "Host , NAME\n 192.0.2.1 , web \n 192.0.2.2 , db \n",
        '"name","ip"\n"web","192.0.2.1"\n"db", "192.0.2.2"\n',
        "name,ip,,\nweb,192.0.2.1,,\n,,,\ndb,192.0.2.2,,\n",
        "name,ip,port\nweb,192.0.2.1\ndb,192.0.2.2,\n",
        "web,192.0.2.1\ndb,192.0.2.2",
        "web;192.0.2.1\ndb;192.0.2.2",
        "web\t192.0.2.1\ndb\t192.0.2.2",
        "192.0.2.1,web\n192.0.2.2,db",
        "web 192.0.2.1\ndb   192.0.2.2",
        "192.0.2.1 web\n192.0.2.2\tdb",
        "web,192.0.2.1\n192.0.2.2;db",
        "# ours\n\n  \nweb,192.0.2.1\n  # theirs, 192.0.2.9\n\ndb,192.0.2.2\n#",
        "web,192.0.2.1,,,,\ndb,192.0.2.2,",
    ],
)
def test_the_same_list_is_read_in_every_dialect(text: str) -> None:
    assert servers(text) == [WEB, DB]
    assert servers(text.encode()) == [WEB, DB]


@pytest.mark.parametrize(
    "text",
    [
        "name,ip,probe,port,interval_s,enabled,tags,parent\n"
        "web,192.0.2.1,tcp,443,300,no,web eu,a switch",
        "web,192.0.2.1,tcp,443,300,no,eu web,a switch",
        '192.0.2.1;web;TCP;0443;300;OFF;"WEB  eu web";a switch',
        "parent\ttags\tenabled\tinterval_s\tport\tprobe\tip\tname\n"
        "a switch\tweb eu\tFalse\t300\t443\ttcp\t192.0.2.1\tweb",
        json.dumps([GROUPED]),
        json.dumps({"servers": [GROUPED]}),
        '[{"server": "web", "IP": "192.0.2.1", "probe": "tcp", "port": 443.0, "interval_s": 300,'
        ' "enabled": false, "tags": ["web", "EU", "web"], "parent": "a switch"}]',
    ],
)
def test_each_field_can_be_said(text: str) -> None:
    assert servers(text) == [GROUPED]


@pytest.mark.parametrize(
    ("cell", "enabled"),
    [
        *(("yes", True), ("True", True), ("1", True), ("on", True)),
        *(("no", False), ("FALSE", False), ("0", False), ("off", False)),
    ],
)
def test_yes_and_no_have_many_words(cell: str, enabled: bool) -> None:
    assert servers(f"name,ip,enabled\nweb,192.0.2.1,{cell}") == [WEB | {"enabled": enabled}]


@pytest.mark.parametrize(
    ("line", "name", "ip"),
    [
        ('"mail, old";192.0.2.1', "mail, old", "192.0.2.1"),
        ('"mail, old",192.0.2.1', "mail, old", "192.0.2.1"),
        ("mail, old;192.0.2.1", "mail, old", "192.0.2.1"),
        ('"say ""hi""",192.0.2.1', 'say "hi"', "192.0.2.1"),
        ('say "hi",192.0.2.1', 'say "hi"', "192.0.2.1"),
        ('"# one",192.0.2.1', "# one", "192.0.2.1"),
        ("my web server 192.0.2.1", "my web server", "192.0.2.1"),
        ("192.0.2.1 my web server", "my web server", "192.0.2.1"),
        ('"my web" 192.0.2.1', "my web", "192.0.2.1"),
        ("a\u2028b,192.0.2.1", "a\u2028b", "192.0.2.1"),
        ("192.0.2.1", "192.0.2.1", "192.0.2.1"),
        ("192.0.2.1,192.0.2.2", "192.0.2.1", "192.0.2.2"),
        ("server,192.0.2.1", "server", "192.0.2.1"),
        ("=1+1,192.0.2.1", "=1+1", "192.0.2.1"),
    ],
)
def test_a_line_without_columns_shows_which_is_the_address(line: str, name: str, ip: str) -> None:
    assert servers(line) == [{"name": name, "ip": ip}]


def test_a_list_may_be_empty() -> None:
    for text in ("", "\n\n", "# nothing\n", "name,ip\n", "[]", '{"servers": []}'):
        assert read(text) == []


# What is refused


@pytest.mark.parametrize(
    ("line", "field", "sentence"),
    [
        ("web,192.0.2.1,,70000", "port", "port must be 1 to 65535, got 70000"),
        ("web,192.0.2.1,,http", "port", "port must be 1 to 65535, got 'http'"),
        ("web,192.0.2.1,,٤٤٣", "port", "port must be 1 to 65535, got '٤٤٣'"),
        ("web,192.0.2.1,udp", "probe", "probe must be auto, icmp or tcp, got 'udp'"),
        (
            "web,192.0.2.1,,,7",
            "interval_s",
            "interval_s must be whole minutes that divide a day, in seconds, such as 60 or 300, "
            "got 7",
        ),
        (
            "web,192.0.2.1,,,,maybe",
            "enabled",
            "enabled must be yes or no (true or false), got 'maybe'",
        ),
        ("web,127.1", "ip", "ip must be an IPv4 address such as 192.0.2.10, got '127.1'"),
        ("web,192.0.2.01", "ip", "ip must be an IPv4 address such as 192.0.2.10, got '192.0.2.01'"),
        (
            "web example.com",
            "ip",
            "ip must be an IPv4 address such as 192.0.2.10, got 'example.com'",
        ),
        (",192.0.2.1", "name", "name is missing"),
        ("web,,tcp", "ip", "ip is missing"),
        (f"{'n' * 256},192.0.2.1", "name", "name must be 1 to 255 characters long, got 256"),
        ("a\x1bb,192.0.2.1", "name", "name must not contain control characters or lone surrogates"),
        (
            "\x1fweb,192.0.2.1",
            "name",
            "name must not contain control characters or lone surrogates",
        ),
        ('"web,192.0.2.1', None, "a quote isn't closed, or text follows one that is"),
        ("what is this", None, "expected name,ip, got 'what is this'"),
        (
            "web,192.0.2.1,,,,,,,9",
            None,
            f"a line may have at most 8 cells ({KNOWN}), got 9",
        ),
        ("first,192.0.2.9", "name", "'first' appears twice (first: line 1)"),
    ],
)
def test_one_wrong_line_says_why_and_hurts_no_other(
    line: str, field: str | None, sentence: str
) -> None:
    text = f"first,192.0.2.1\n{line}\nlast,192.0.2.2\n"
    assert refusals(text) == [("line 2", field, sentence)]
    assert [entry.place for entry in read(text)] == ["line 1", "line 2", "line 3"]
    assert read(text)[1].text == line


@pytest.mark.parametrize(
    ("line", "field", "sentence"),
    [
        ("web,192.0.2.1,x", None, "the first line names 2 columns; this line has 3"),
        ("web", "ip", "ip is missing"),
        ('"web"x,192.0.2.1', None, "a quote isn't closed, or text follows one that is"),
        ("web;192.0.2.1", "ip", "ip is missing"),
    ],
)
def test_a_line_has_what_the_first_one_names(line: str, field: str | None, sentence: str) -> None:
    text = f"name,ip\n{line}\ndb,192.0.2.2\n"
    assert refusals(text) == [("line 2", field, sentence)]
    assert said(read(text)[1]) == DB


@pytest.mark.parametrize(
    ("server", "field", "sentence"),
    [
        ('{"name": "web"}', "ip", "ip is missing"),
        ("7", None, "a server must be an object with name and ip, got 7"),
        ('"web"', None, "a server must be an object with name and ip, got 'web'"),
        ('{"name": 1, "ip": "192.0.2.1"}', "name", "name must be text, got 1"),
        (
            '{"name": "web", "ip": 3221225985}',
            "ip",
            "ip must be an IPv4 address such as 192.0.2.10, got 3221225985",
        ),
        (
            '{"name": "web", "ip": "192.0.2.1", "colour": "red"}',
            "colour",
            f"unknown field 'colour'; known fields: {KNOWN}",
        ),
        ('{"name": "web", "ip": "192.0.2.1", "IP": "192.0.2.2"}', "ip", "ip appears twice"),
        (
            '{"name": "web", "ip": "192.0.2.1", "port": true}',
            "port",
            "port must be 1 to 65535, got true",
        ),
        (
            '{"name": "web", "ip": "192.0.2.1", "port": "443"}',
            "port",
            "port must be 1 to 65535, got '443'",
        ),
        (
            '{"name": "web", "ip": "192.0.2.1", "probe": null}',
            "probe",
            "probe must be auto, icmp or tcp, got null",
        ),
        (
            '{"name": "web", "ip": "192.0.2.1", "enabled": 1}',
            "enabled",
            "enabled must be yes or no (true or false), got 1",
        ),
        (
            '{"name": "web", "ip": "192.0.2.1", "schedule": 1}',
            "schedule",
            "schedule must be a list of rows, got 1",
        ),
    ],
)
def test_one_wrong_object_says_why_and_hurts_no_other(
    server: str, field: str | None, sentence: str
) -> None:
    text = f'[{server}, {{"name": "db", "ip": "192.0.2.2"}}]'
    assert refusals(text) == [("server 1", field, sentence)]
    assert json.loads(read(text)[0].text) == json.loads(server)


def test_of_two_that_have_one_name_the_first_that_is_right_counts() -> None:
    text = "web,192.0.2.400\nweb,192.0.2.1\nweb,192.0.2.2"
    assert [(place, field) for place, field, _ in refusals(text)] == [
        ("line 1", "ip"),
        ("line 3", "name"),
    ]
    assert [entry.said.status for entry in read(text) if isinstance(entry.said, BulkItem)] == [
        "WRONG_REQUEST",
        "WRONG_REQUEST",
    ]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (b"web,192.0.2.1\ncaf\xe9,192.0.2.2", "a list must be text in UTF-8; line 2 isn't"),
        ("web,192.0.2.1".encode("utf-16"), "a list must be text in UTF-8; line 1 isn't"),
        ("web\ud800,192.0.2.1", "a list must be text in UTF-8; line 1 isn't"),
        (b"PK\x03\x04\x00\x00", "a list must be text in UTF-8; this is something else"),
        (
            "It was a dark and stormy night",
            "expected JSON, or lines such as web,192.0.2.10, got 'It was a dark and stormy night'",
        ),
        (
            "name,ip,colour\nweb,192.0.2.1,red",
            f"unknown column 'colour'; known columns: {KNOWN}",
        ),
        ("name,ip,IP\nweb,192.0.2.1,192.0.2.1", "the first line names the column ip twice"),
        ("name,port\nweb,443", "the first line names no column ip"),
        ("name\nweb\ndb\n", "the first line names no column ip"),
        ('"Server";;\nweb', "the first line names no column ip"),
        ("Address", "the first line names no column name"),
        ('{"name": "web", "ip": "192.0.2.1"}', "expected a list of servers, or an object with one"),
        ('{"servers": [], "upsert": true}', "unknown key 'upsert' beside servers"),
    ],
)
def test_what_is_no_list_is_refused_in_one_sentence(text: bytes | str, sentence: str) -> None:
    assert refusal(text) == sentence


def test_json_that_is_broken_is_refused() -> None:
    for text in ("[", "[web],192.0.2.1", "[" * 100_000, '[{"name": "a\\ud800"}]', "[NaN]"):
        assert "JSON" in refusal(text)


def test_a_list_has_a_length() -> None:
    line = "{0},192.0.2.1\n"
    most = "".join(line.format(number) for number in range(LIMIT))
    assert len(servers(most)) == LIMIT
    too_many = "a list may have at most 10,000 servers, got 10,001"
    too_long = "a list may have at most 1,000,000 bytes, got 1,000,001"
    assert refusal(most + line.format("more")) == too_many
    assert refusal("#" * (LIMIT_BYTES + 1)) == too_long
    assert refusal(json.dumps([WEB] * (LIMIT + 1))) == too_many
    assert refusal("a\n" * (LIMIT + 1)) == too_many  # before any is looked at


# What Pinglet wrote

EXPORTED = (
    "record,server,time,ip,probe,port,last_port,interval_s,enabled,"
    "response_ms,best_ms,worst_ms,sent,received\r\n"
    "server,web,2026-01-01T00:00:00Z,192.0.2.1,tcp,443,443,,,,,,,\r\n"
    "last_ping,web,2026-01-02T00:00:00Z,,,,,,,1.5,,,4,4\r\n"
    "schedule,web,2026-01-02T00:00:00Z,,,,,300,0,,,,,\r\n"
    "schedule,web,2026-01-01T00:00:00Z,,,,,60,1,,,,,\r\n"
    'server,"#2, old",2026-01-01T00:00:00Z,192.0.2.2,auto,,,,,,,,,\r\n'
    'schedule,"#2, old",2026-01-01T00:00:00Z,,,,,60,1,,,,,\r\n'
    "ping,web,2026-01-02T00:00:00Z,,,,,,,1.5,1.2,1.9,4,4\r\n"
)
OLD = {
    "name": "#2, old",
    "ip": "192.0.2.2",
    "probe": Probe.AUTO,
    "port": None,
    "interval_s": 60,
    "enabled": True,
}
KEPT = {
    "name": "web",
    "ip": "192.0.2.1",
    "added": "2026-01-01T00:00:00Z",
    "probe": "tcp",
    "port": 443,
    "last_port": 443,
    "last_ping": {"slot": "2026-01-02T00:00:00Z", "response_ms": 1.5, "sent": 4, "received": 4},
    "schedule": [
        {"since": "2026-01-01T00:00:00Z", "interval_s": 60, "enabled": True},
        {"since": "2026-01-02T00:00:00Z", "interval_s": 300, "enabled": False},
    ],
}
LISTED = {
    **{"id": 7, "name": "web", "ip": "192.0.2.1", "probe": "tcp", "port": 443},
    **{"added": "2026-01-01T00:00:00Z", "interval_s": 300, "enabled": False, "state": "up"},
    **{"last_ping": None, "uptime": None, "coverage": None, "counts": {}, "strip": []},
    **{"new": False, "strip_counts": [], "means_ms": []},
}


def test_an_export_as_csv_gives_its_servers_with_their_newest_schedule() -> None:
    assert servers(EXPORTED) == [ALL, OLD]
    assert [entry.place for entry in read(EXPORTED)] == ["line 2", "line 6"]


def test_pages_of_an_export_may_be_put_together() -> None:
    header, rest = EXPORTED.split("\r\n", 1)
    first, second = rest[: rest.index('server,"#2')], rest[rest.index('server,"#2') :]
    assert servers(f"{header}\r\n{first}{header}\r\n{second}") == [ALL, OLD]


def test_an_export_as_json_gives_its_servers_with_their_newest_schedule() -> None:
    page = {"servers": [KEPT], "days": [{"server": "web", "pings": []}], "next": "9"}
    assert servers(json.dumps(page)) == [ALL]


def test_the_list_of_the_api_can_be_read_again() -> None:
    page = {"servers": [LISTED], "totals": {"up": 1}, "last_round": None, "next": None}
    assert servers(json.dumps(page)) == [ALL]


@pytest.mark.parametrize(
    ("line", "field", "sentence"),
    [
        ("user,web", "record", "a record must be server, schedule, last_ping or ping"),
        ('server,"web', "record", "a record must be server, schedule, last_ping or ping"),
        (
            "server,odd,,192.0.2.400",
            "ip",
            "ip must be an IPv4 address such as 192.0.2.10, got '192.0.2.400'",
        ),
        (
            "server,odd,,192.0.2.4\r\nschedule,odd,2026-01-01T00:00:00Z,,,,,7,1",
            "interval_s",
            "interval_s must be whole minutes that divide a day, in seconds, such as 60 or 300, "
            "got 7",
        ),
        (
            "server,odd,,192.0.2.4\r\nschedule,odd",
            None,
            "since must be a time such as 2018-01-02T07:01:00Z, got 'None'",
        ),
    ],
)
def test_one_wrong_line_of_an_export_hurts_no_other(
    line: str, field: str | None, sentence: str
) -> None:
    text = f"{EXPORTED}{line}\r\n"
    assert refusals(text) == [("line 9", field, sentence)]
    assert [said(entry) for entry in read(text)][:2] == [ALL, OLD]


# Written and read

NAMES = st.text(
    st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=NAME_LENGTH
).filter(lambda name: name.strip() == name)
SERVERS = st.lists(
    st.fixed_dictionaries(
        {"name": NAMES, "ip": st.ip_addresses(v=4).map(str)},
        optional={
            "probe": st.sampled_from(Probe),
            "port": st.integers(1, 65_535),
            "interval_s": st.sampled_from(INTERVALS_S),
            "enabled": st.booleans(),
        },
    ),
    unique_by=lambda server: server["name"],
    max_size=5,
)
COLUMNS = [field.name for field in FIELDS]


def written(listed: list[Any], columns: list[str], dialect: dict[str, Any]) -> list[str]:
    """Return the lines of CSV."""
    text = io.StringIO()
    csv.DictWriter(text, columns, **dialect).writerows(listed)
    return text.getvalue().split(dialect["lineterminator"])[:-1]


DIALECTS = st.fixed_dictionaries(
    {
        "delimiter": st.sampled_from(",;\t"),
        "quoting": st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL]),
        "lineterminator": st.sampled_from(["\n", "\r\n", "\r"]),
    }
)


@given(SERVERS, st.permutations(COLUMNS), DIALECTS)
def test_what_is_written_under_its_columns_is_read_as_it_was(
    listed: list[Any], columns: list[str], dialect: dict[str, Any]
) -> None:
    lines = written(listed, columns, dialect)
    assume(not any(line.startswith("#") for line in lines))  # bare, that is a comment
    assume(not any(HARMLESS.search(server["name"]) for server in listed))
    header = dialect["delimiter"].join(columns)
    assert servers(dialect["lineterminator"].join([header, *lines])) == listed


@given(SERVERS, DIALECTS)
def test_what_is_written_without_columns_is_read_as_it_was(
    listed: list[Any], dialect: dict[str, Any]
) -> None:
    lines = written(listed, COLUMNS, dialect | {"quoting": csv.QUOTE_ALL})
    assert servers(dialect["lineterminator"].join(lines)) == listed


@given(SERVERS)
def test_what_we_write_we_read(listed: list[Any]) -> None:
    assert servers(to_csv(listed)) == listed
    assert servers(json.dumps(listed)) == listed


def test_the_parents_of_an_export_are_those_of_its_servers() -> None:
    page = {
        "servers": [WEB | {"tags": ["eu"]}, DB],
        "parents": [{"server": "web", "parent": "db"}, {"server": "gone", "parent": "web"}],
    }
    assert servers(json.dumps(page)) == [WEB | {"tags": ("eu",), "parent": "db"}, DB]
    for wrong in ({}, [1], [{"parent": "web"}]):
        told = "parents must be a list of objects with server and parent"
        assert refusal(json.dumps(page | {"parents": wrong})) == told


TAGS = st.lists(st.from_regex(r"[a-z0-9._-]{1,40}", fullmatch=True), max_size=20, unique=True)


@given(TAGS, st.text("=+-@'; ,\"a#", min_size=1, max_size=9).filter(str.strip))
def test_tags_and_parent_that_we_write_are_no_formulas_and_we_read_them(
    tags: list[str], parent: str
) -> None:
    one = {"name": "web", "ip": "192.0.2.1", "tags": tuple(sorted(tags)), "parent": parent.strip()}
    text = to_csv([one])
    for cell in cells_in_a_spreadsheet(text, ","):
        assert not cell.startswith(CALCULATED)
    assert servers(text) == [one if tags else {key: one[key] for key in one if key != "tags"}]
    assert servers(json.dumps([one])) == [one]


CALCULATED = ("=", "+", "-", "@", "\t", "\r", "\uff1d", "\uff0b", "\uff0d", "\uff20")


def cells_in_a_spreadsheet(text: str, delimiter: str) -> list[str]:
    return [cell for row in csv.reader(text.splitlines(), delimiter=delimiter) for cell in row]


@given(st.lists(st.text("=+-@\uff1d'; ,\"a#", min_size=1, max_size=9), max_size=5))
def test_no_spreadsheet_calculates_what_we_write_and_we_read_it_as_it_was(
    given_names: list[str],
) -> None:
    unique = {name.strip() for name in given_names} - {""}
    listed = [{"name": name, "ip": "192.0.2.1"} for name in sorted(unique)]
    for delimiter in ",;\t":
        for cell in cells_in_a_spreadsheet(to_csv(listed), delimiter):
            assert not cell.lstrip(" ").startswith(CALCULATED)
    assert servers(to_csv(listed)) == listed


@pytest.mark.parametrize(
    ("name", "cell"),
    [
        ("=HYPERLINK(0)", "'=HYPERLINK(0)"),
        ("-web", "'-web"),
        ("\uff1d1", "'\uff1d1"),
        ("'=1", "''=1"),
        ("a; =1;b", "a; '=1;b"),
        ("it's", "it's"),
        ("a=1", "a=1"),
    ],
)
def test_a_formula_gets_an_apostrophe_and_nothing_else_does(name: str, cell: str) -> None:
    line = to_csv([{"name": name, "ip": "192.0.2.1"}]).splitlines()[1]
    assert line == f"{cell},192.0.2.1,,,,,,"
    assert servers(f"name,ip\n{line}") == [{"name": name, "ip": "192.0.2.1"}]


@given(st.text() | st.binary() | st.text('[]{}":,;# \t\r\n.0127nameip'))
def test_any_text_is_a_list_or_refused(text: str | bytes) -> None:
    with suppress(WrongRequest):
        assert all(isinstance(entry.said, BulkItem | BulkServer) for entry in read(text))
