"""`flask servers`: what it prints, and its exit codes."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from flask.testing import FlaskCliRunner

from core.servers.change import AT_ONCE
from core.settings import Settings
from handlers.cli import app as local
from infra.database import Database
from tests.handlers.cli.commands import done, refused, run
from tests.handlers.conftest import Rows, open_to_all
from tests.infra.databases import away_after_the_first, names


def test_a_server_is_added_listed_and_removed(cli: FlaskCliRunner) -> None:
    assert done(cli, "servers", "list") == ""
    assert "web (127.0.0.1)" in done(cli, "servers", "add", " web ", "127.0.0.1")
    done(cli, "servers", "add", "mail server", "127.0.0.2", "--probe", "tcp", "--port", "25")
    lines = [line.split("\t") for line in done(cli, "servers", "list").splitlines()]
    assert lines == [
        ["web", "127.0.0.1", "unobserved", "", "", "", "", ""],
        ["mail server", "127.0.0.2", "unobserved", "", "", "", "", ""],
    ]
    assert done(cli, "servers", "remove", "web", "--yes") == "Removed web\n"
    assert done(cli, "servers", "list").startswith("mail server\t")


def test_tags_and_a_parent_are_given_shown_and_looked_for(cli: FlaskCliRunner) -> None:
    done(cli, "servers", "add", "switch", "127.0.0.9", "--tag", "net")
    web = ["add", "web", "127.0.0.1", "--tag", "web", "--tag", "EU", "--parent", "switch"]
    done(cli, "servers", *web)
    [line] = done(cli, "servers", "list", "--tag", "Web").splitlines()
    assert line.split("\t")[-2:] == ["eu web", "switch"]
    assert done(cli, "servers", "list", "--tag", "none") == ""
    exported = done(cli, "servers", "export")
    told = done(cli, "servers", "remove", "switch", "--yes")
    assert told == "Removed switch; 1 server had it as a parent\n"
    # The parent comes after its child now.
    [columns, *lines] = exported.splitlines()
    mended = "\n".join([columns, *reversed(lines)])
    again = done(cli, "servers", "import", "-", "--update", stdin=mended)
    assert again == "Added 1 server, changed 1 server\n"
    assert done(cli, "servers", "list", "--tag", "web") == f"{line}\n"


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
        (
            ["add", "new", "127.0.0.9", "--parent", "ghost"],
            "parent must be a server that exists, got 'ghost'",
        ),
        (["add", "new", "127.0.0.9", "--tag", "a b"], ", got 'a b'"),
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
    {"name": "web", "ip": "127.0.0.1", "probe": "auto", "interval_s": 60, "enabled": True},
    {
        "name": "mail, old",
        "ip": "127.0.0.2",
        "probe": "tcp",
        "port": 25,
        "interval_s": 300,
        "enabled": False,
    },
    {
        "name": '"quoted" 🛰️ שרת',
        "ip": "127.0.0.3",
        "probe": "icmp",
        "interval_s": 86_400,
        "enabled": True,
    },
    {
        "name": "line\u2028separator; a\\b 'c'",
        "ip": "127.0.0.4",
        "probe": "auto",
        "port": 443,
        "interval_s": 60,
        "enabled": False,
    },
    {"name": "=1+1", "ip": "127.0.0.5", "probe": "auto", "interval_s": 60, "enabled": True},
    {"name": "#hash", "ip": "127.0.0.6", "probe": "auto", "interval_s": 60, "enabled": True},
]


@pytest.mark.parametrize("kind", ["csv", "json"])
def test_what_is_exported_can_be_imported(cli: FlaskCliRunner, tmp_path: Path, kind: str) -> None:
    original = tmp_path / "servers.json"
    original.write_text(json.dumps(SERVERS), encoding="utf-8")
    assert "6 servers" in done(cli, "servers", "import", str(original))
    exported = tmp_path / f"exported.{kind}"
    done(cli, "servers", "export", str(exported))
    for each in SERVERS:
        done(cli, "servers", "remove", str(each["name"]), "--yes")
    assert "6 servers" in done(cli, "servers", "import", str(exported))
    assert json.loads(done(cli, "servers", "export", "--format", "json")) == SERVERS


@pytest.mark.parametrize("form", ["json", "csv"])
def test_what_the_api_exports_can_be_imported(
    cli: FlaskCliRunner, tmp_path: Path, form: str
) -> None:
    file = tmp_path / "exported"
    done(cli, "servers", "import", "-", stdin=json.dumps(SERVERS))
    file.write_bytes(cli.app.test_client().get(f"/api/v1/export?format={form}").data)
    for each in SERVERS:
        done(cli, "servers", "remove", str(each["name"]), "--yes")
    assert "6 servers" in done(cli, "servers", "import", str(file))
    assert json.loads(done(cli, "servers", "export", "--format", "json")) == SERVERS


def test_a_file_may_be_longer_than_a_request(cli: FlaskCliRunner) -> None:
    servers = [{"name": f"{number:05}{'n' * 100}", "ip": "127.0.0.1"} for number in range(10_001)]
    given = json.dumps(servers)
    assert len(given) > 1_000_000
    assert done(cli, "servers", "import", "-", stdin=given) == "Added 10001 servers\n"
    exported = done(cli, "servers", "export", "--format", "json")
    assert done(cli, "servers", "import", "-", "--update", stdin=exported).startswith("Added 0 ")


@pytest.mark.parametrize(
    "text",
    [
        "\ufeffname,IP\r\nweb,127.0.0.1\r\n",
        'IP,name\n127.0.0.1,"web"\n',
        "name,IP\nweb,127.0.0.1",
        "name;IP\nweb;127.0.0.1\n",
        "# ours\n\nweb, 127.0.0.1\n",
        "127.0.0.1\tweb\n",
    ],
)
def test_csv_is_read_as_spreadsheets_and_people_write_it(
    cli: FlaskCliRunner, tmp_path: Path, text: str
) -> None:
    file = tmp_path / "servers.csv"
    file.write_bytes(text.encode())
    assert done(cli, "servers", "import", str(file)) == "Added 1 server\n"
    assert done(cli, "servers", "list").startswith("web\t127.0.0.1\t")


def test_what_a_file_holds_counts_not_its_name(cli: FlaskCliRunner, tmp_path: Path) -> None:
    file = tmp_path / "servers.json"
    for content, added in (
        ("", 0),
        ("name,IP\nnew,127.0.0.1\n", 1),
        ("# none yet\n", 0),
        ("[]", 0),
    ):
        file.write_text(content)
        assert done(cli, "servers", "import", str(file)).startswith(f"Added {added} ")


def test_scripts_that_still_say_the_format_go_on(cli: FlaskCliRunner) -> None:
    given = "name,IP\nweb,127.0.0.1\n"
    done(cli, "servers", "import", "-", "--format", "csv", stdin=given)
    assert "--format" not in done(cli, "servers", "import", "--help")


def test_an_update_changes_what_exists(cli: FlaskCliRunner) -> None:
    done(cli, "servers", "import", "-", stdin="web,127.0.0.1\nmail,127.0.0.2\n")
    listed = "name,ip,interval_s,enabled\nweb,127.0.0.1,300,no\nmail,127.0.0.2,,\ndb,127.0.0.3,,\n"
    assert "line 2: " in refused(cli, "servers", "import", "-", stdin=listed)
    said = done(cli, "servers", "import", "-", "--update", stdin=listed)
    assert said == "Added 1 server, changed 1 server\n"
    web, mail, db = json.loads(done(cli, "servers", "export", "--format", "json"))
    assert (web["interval_s"], web["enabled"], mail["interval_s"]) == (300, False, 60)
    assert db["name"] == "db"


@pytest.mark.parametrize(
    ("name", "content", "place"),
    [
        ("a.csv", "name,IP\nnew,127.0.0.1\nbad,127.1\n", "line 3: ip"),
        ("a.csv", "name,IP\nnew,127.0.0.1\n,127.0.0.2\n", "line 3: "),
        ("a.csv", "name,IP\nnew,127.0.0.1\nmore,127.0.0.2,x\n", "line 3: "),
        ("a.csv", "name,IP\nnew,127.0.0.1\nshort\n", "line 3: "),
        ("a.csv", "name,IP,port\nnew,127.0.0.1,\nbad,127.0.0.2,http\n", "line 3: port"),
        ("a.csv", "name,IP,port\nnew,127.0.0.1,\nbad,127.0.0.2,70000\n", "line 3: port"),
        ("a.csv", "name,IP,probe\nnew,127.0.0.1,\nbad,127.0.0.2,udp\n", "line 3: probe"),
        ("a.csv", "name,IP\nnew,127.0.0.1\nbad,224.0.0.1\n", "line 3: 224.0.0.1 is multicast"),
        ("a.csv", "name,IP\nnew,127.0.0.1\nweb,127.0.0.2\n", "line 3: a server named 'web'"),
        ("a.csv", "name,IP\nnew,127.0.0.1\nnew,127.0.0.2\n", "line 3: 'new' appears twice"),
        ("a.csv", "name,colour\nnew,red\n", "line 1: ip"),
        ("a.csv", "name,ip,colour\nnew,127.0.0.1,red\n", "unknown column 'colour'"),
        ("a.csv", 'name,IP\n"new,127.0.0.1\n', "line 2: a quote isn't closed"),
        ("a.csv", b"name,IP\ncaf\xe9,127.0.0.1\n", "UTF-8; line 2 isn't"),
        ("a.json", '[{"name": "new", "IP": "127.0.0.1"}, {"name": "bad"}]', "server 2: "),
        ("a.json", '[{"name": "new", "IP": "127.0.0.1"}, 7]', "server 2: "),
        ("a.json", '[{"name": "new", "name": "x", "IP": "127.0.0.1"}]', "twice"),
        ("a.json", '[{"name": "new\\ud800", "IP": "127.0.0.1"}]', ""),
        ("a.json", '{"name": "new", "IP": "127.0.0.1"}', "list"),
        ("a.json", "[" * 100_000, "JSON"),
        ("a.json", b"\xff\xfe[\x00]\x00", "UTF-8"),
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


def test_of_many_wrong_lines_the_first_twenty_are_named(cli: FlaskCliRunner) -> None:
    listed = "new,127.0.0.1\n" + "".join(f"bad {number},127.1\n" for number in range(25))
    said = refused(cli, "servers", "import", "-", stdin=listed).splitlines()
    assert said[0] == "Error: nothing was imported:"
    assert [line.partition(":")[0] for line in said[1:21]] == [f"line {at}" for at in range(2, 22)]
    assert said[21:] == ["and 5 more"]
    assert done(cli, "servers", "list") == ""


def test_an_import_that_is_cut_off_says_what_is_there_and_how_to_go_on(
    cli: FlaskCliRunner, database: Database
) -> None:
    lines = "".join(f"web {number},192.0.2.1\n" for number in range(AT_ONCE + 1))
    with away_after_the_first(cli.app.extensions["pinglet"].database):
        said = refused(cli, "servers", "import", "-", stdin=lines)
    assert "servers so far: added 2,000, changed 0" in said
    assert "import the same file with --update" in said
    again = done(cli, "servers", "import", "-", "--update", stdin=lines)
    assert again == "Added 1 server, changed 0 servers\n"
    assert len(names(database)) == AT_ONCE + 1
