"""`flask servers`: what it prints, and its exit codes."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from flask.testing import FlaskCliRunner

from core.settings import Settings
from handlers.cli import app as local
from tests.handlers.cli.commands import done, refused, run
from tests.handlers.conftest import Rows, open_to_all


def test_a_server_is_added_listed_and_removed(cli: FlaskCliRunner) -> None:
    assert done(cli, "servers", "list") == ""
    assert "web (127.0.0.1)" in done(cli, "servers", "add", " web ", "127.0.0.1")
    done(cli, "servers", "add", "mail server", "127.0.0.2", "--probe", "tcp", "--port", "25")
    lines = [line.split("\t") for line in done(cli, "servers", "list").splitlines()]
    assert lines == [
        ["web", "127.0.0.1", "unobserved", "", ""],
        ["mail server", "127.0.0.2", "unobserved", "", ""],
    ]
    assert done(cli, "servers", "remove", "web", "--yes") == "Removed web\n"
    assert done(cli, "servers", "list").startswith("mail server\t")


def test_removing_asks_first(cli: FlaskCliRunner) -> None:
    done(cli, "servers", "add", "web", "127.0.0.1")
    assert run(cli, "servers", "remove", "web", stdin="n\n").exit_code == 1
    assert run(cli, "servers", "remove", "web", stdin="").exit_code == 1
    assert done(cli, "servers", "list").startswith("web\t")
    assert "Removed web" in done(cli, "servers", "remove", "web", stdin="y\n")
    assert done(cli, "servers", "list") == ""


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["add", "web", "127.0.0.9"], "exists already"),
        (["add", " web ", "127.0.0.9"], "exists already"),
        (["add", "", "127.0.0.1"], ""),
        (["add", "x" * 256, "127.0.0.1"], "255"),
        (["add", "new\n", "127.0.0.1"], "control"),
        (["add", "new\udcff", "127.0.0.1"], "surrogates"),  # what an octet that isn't UTF-8 becomes
        (["add", "new", "127.1"], "an IPv4 address such as 192.0.2.10, got '127.1'"),
        (["add", "new", "::1"], "an IPv4 address such as"),
        (["add", "new", "localhost"], "an IPv4 address such as"),
        (["add", "new", "224.0.0.1"], "multicast"),
        (["remove", "nobody", "--yes"], "nobody"),
        (["remove", "new\udcff", "--yes"], "surrogates"),
        (["remove", "", "--yes"], ""),
    ],
)
def test_what_core_refuses_is_one_line_and_exit_code_1(
    cli: FlaskCliRunner, rows: Callable[[], Rows], arguments: list[str], reason: str
) -> None:
    done(cli, "servers", "add", "web", "127.0.0.1")
    before = rows()
    said = refused(cli, "servers", *arguments)
    assert reason in said
    assert said.count("\n") == 1
    assert rows() == before


@pytest.mark.parametrize(
    "arguments",
    [
        ["servers", "add", "web"],
        ["servers", "add", "web", "127.0.0.1", "more"],
        ["servers", "add", "web", "127.0.0.1", "--port", "0"],
        ["servers", "add", "web", "127.0.0.1", "--port", "65536"],
        ["servers", "add", "web", "127.0.0.1", "--probe", "udp"],
        ["servers", "remove"],
        ["servers", "import", "/nowhere/at/all.csv"],
        ["servers", "export", "--format", "xml"],
        ["servers", "nonsense"],
        ["worker", "twice"],
        ["db", "downgrade"],
        ["demo", "--days", "0"],
        ["demo", "--days", "365"],
        ["ping"],
        ["ping", "localhost"],
        ["ping", "127.1"],
        ["ping", "224.0.0.1"],
        ["ping", "169.254.169.254", "--port", "80"],
        ["ping", "127.0.0.1", "--port", "0"],
        ["ping", "127.0.0.1", "--port", "http"],
        ["ping", "127.0.0.1", "--count", "0"],
        ["nonsense"],
    ],
    ids=" ".join,
)
def test_wrong_arguments_are_exit_code_2(sqlite_settings: Settings, arguments: list[str]) -> None:
    app = local.create_app(open_to_all(sqlite_settings.database_url))
    refused(app.test_cli_runner(), *arguments, code=2)


# Import and export

SERVERS = [
    {"name": "web", "IP": "127.0.0.1", "probe": "auto"},
    {"name": "mail, old", "IP": "127.0.0.2", "probe": "tcp", "port": 25},
    {"name": '"quoted" 🛰️ שרת', "IP": "127.0.0.3", "probe": "icmp"},
    {"name": "line\u2028separator; a\\b 'c'", "IP": "127.0.0.4", "probe": "auto", "port": 443},
    {"name": "=1+1", "IP": "127.0.0.5", "probe": "auto"},
]


@pytest.mark.parametrize("kind", ["csv", "json"])
def test_what_is_exported_can_be_imported(cli: FlaskCliRunner, tmp_path: Path, kind: str) -> None:
    original = tmp_path / "servers.json"
    original.write_text(json.dumps(SERVERS), encoding="utf-8")
    assert "5 servers" in done(cli, "servers", "import", str(original))
    exported = tmp_path / f"exported.{kind}"
    done(cli, "servers", "export", str(exported))
    for each in SERVERS:
        done(cli, "servers", "remove", str(each["name"]), "--yes")
    assert "5 servers" in done(cli, "servers", "import", str(exported))
    assert json.loads(done(cli, "servers", "export", "--format", "json")) == SERVERS


@pytest.mark.parametrize(
    "text",
    ["\ufeffname,IP\r\nweb,127.0.0.1\r\n", 'IP,name\n127.0.0.1,"web"\n', "name,IP\nweb,127.0.0.1"],
)
def test_csv_is_read_as_spreadsheets_write_it(
    cli: FlaskCliRunner, tmp_path: Path, text: str
) -> None:
    file = tmp_path / "servers.csv"
    file.write_bytes(text.encode())
    assert "Added 1 server\n" in done(cli, "servers", "import", str(file))
    assert done(cli, "servers", "list").startswith("web\t127.0.0.1\t")


@pytest.mark.parametrize(
    ("name", "content", "place"),
    [
        ("a.csv", "name,IP\nnew,127.0.0.1\nbad,127.1\n", "line 3: ip"),
        ("a.csv", "name,IP\nnew,127.0.0.1\n,127.0.0.2\n", "line 3: "),
        ("a.csv", "name,IP\nnew,127.0.0.1\nmore,127.0.0.2,x\n", "line 3: "),
        ("a.csv", "name,IP\nnew,127.0.0.1\nshort\n", "line 3: "),
        ("a.csv", "name,IP,port\nnew,127.0.0.1,\nbad,127.0.0.2,http\n", "line 3: port"),
        ("a.csv", "name,IP,port\nnew,127.0.0.1,\nbad,127.0.0.2,70000\n", "line 3: port"),
        ("a.csv", "name,IP,probe\nnew,127.0.0.1,\nbad,127.0.0.2,ICMP\n", "line 3: probe"),
        ("a.csv", "name,IP\nnew,127.0.0.1\nbad,224.0.0.1\n", "line 3: 224.0.0.1 is multicast"),
        ("a.csv", "name,IP\nnew,127.0.0.1\nweb,127.0.0.2\n", "line 3: a server named 'web'"),
        ("a.csv", "name,IP\nnew,127.0.0.1\nnew,127.0.0.2\n", "line 3: a server named 'new'"),
        ("a.csv", "name;IP\nnew;127.0.0.1\n", "line 2: "),
        ("a.csv", "new,127.0.0.1\nmore,127.0.0.2\n", "line 2: "),
        ("a.csv", 'name,IP\n"new,127.0.0.1\n', "not CSV"),
        ("a.csv", b"name,IP\ncaf\xe9,127.0.0.1\n", "not CSV in UTF-8"),
        ("a.json", '[{"name": "new", "IP": "127.0.0.1"}, {"name": "bad"}]', "server 2: "),
        ("a.json", '[{"name": "new", "IP": "127.0.0.1"}, 7]', "server 2: "),
        ("a.json", '[{"name": "new", "name": "x", "IP": "127.0.0.1"}]', "twice"),
        ("a.json", '[{"name": "new\\ud800", "IP": "127.0.0.1"}]', ""),
        ("a.json", '{"name": "new", "IP": "127.0.0.1"}', "list"),
        ("a.json", "name,IP\nnew,127.0.0.1\n", "JSON"),
        ("a.json", "[" * 100_000, "JSON"),
        ("a.json", b"\xff\xfe[\x00]\x00", "UTF-8"),
        ("a.json", "", "JSON"),
    ],
)
def test_one_wrong_line_is_named_and_nothing_is_imported(
    cli: FlaskCliRunner,
    rows: Callable[[], Rows],
    tmp_path: Path,
    name: str,
    content: str | bytes,
    place: str,
) -> None:
    done(cli, "servers", "add", "web", "127.0.0.1")
    before = rows()
    file = tmp_path / name
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    assert place in refused(cli, "servers", "import", str(file))
    after = rows()
    assert after["server"] == before["server"]
    assert after["schedule"] == before["schedule"]
