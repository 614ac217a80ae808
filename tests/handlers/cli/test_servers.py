"""`flask servers`, `worker`, `ping`, `db`, `demo`: what they print, and their exit codes."""

import json
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import Result
from flask.testing import FlaskCliRunner

from core import probe
from core.models import SCHEMA_VERSION
from core.settings import Settings
from handlers.cli import app as local
from tests.handlers.conftest import Rows, open_to_all

Said = Callable[..., str]

needs_icmp = pytest.mark.skipif(
    bool(probe.icmp_problem()), reason=f"NOT TESTED: ICMP; {probe.icmp_problem()}"
)


def run(cli: FlaskCliRunner, *arguments: str, stdin: str = "") -> Result:
    result: Result = cli.invoke(args=arguments, input=stdin)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def done(cli: FlaskCliRunner, *arguments: str, stdin: str = "") -> str:
    """Run a command that must succeed; return what it wrote to standard output."""
    result = run(cli, *arguments, stdin=stdin)
    assert result.exit_code == 0, result.output
    return result.stdout


def refused(cli: FlaskCliRunner, *arguments: str, code: int = 1, stdin: str = "") -> str:
    """Run a command that must be refused; return what it wrote to standard error."""
    result = run(cli, *arguments, stdin=stdin)
    assert result.exit_code == code, result.output
    assert result.stdout == ""
    assert "Error: " in result.stderr
    return result.stderr


@pytest.fixture
def listening() -> Iterator[str]:
    """A TCP port on 127.0.0.1 that takes connections."""
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listener:
        yield str(listener.getsockname()[1])


@pytest.fixture
def silent() -> Iterator[str]:
    """A TCP port on 127.0.0.1 that answers nothing: its queue is full."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        waiting = []
        for _ in range(4):
            client = socket.socket()
            client.setblocking(False)
            client.connect_ex(listener.getsockname())
            waiting.append(client)
        yield str(listener.getsockname()[1])
        for client in waiting:
            client.close()


# Servers


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
        ("a.csv", b"name,IP\ncaf\xe9,127.0.0.1\n", "UTF-8, line 2 isn't"),
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


# Rounds


def test_a_round_is_printed_and_recorded(
    cli: FlaskCliRunner, rows: Callable[[], Rows], listening: str
) -> None:
    done(cli, "servers", "add", "web", "127.0.0.1", "--probe", "tcp", "--port", listening)
    (line,) = done(cli, "worker", "--once").splitlines()
    name, ip, state, ms, echoes, why = line.split("\t")
    assert (name, ip, state, echoes, why) == ("web", "127.0.0.1", "up", "4/4", "")
    assert 0 <= float(ms) < 1000
    assert len(rows()["data"]) == 1
    (listed,) = done(cli, "servers", "list").splitlines()
    assert listed.split("\t")[2:4] == ["up", ms]


def test_a_server_that_is_down_is_found_so_and_the_round_is_well(
    cli: FlaskCliRunner, silent: str
) -> None:
    done(cli, "servers", "add", "web", "127.0.0.1", "--probe", "tcp", "--port", silent)
    result = run(cli, "worker", "--once")
    assert result.stdout.split("\t")[2:5] == ["down", "", "0/4"]
    assert result.exit_code == 0
    assert "1 down" in result.stderr


def test_a_server_that_could_not_be_observed_is_exit_code_1(
    cli: FlaskCliRunner, settings: Settings, listening: str
) -> None:
    done(cli, "servers", "add", "web", "127.0.0.1", "--probe", "tcp", "--port", listening)
    environ = {"DATABASE_URL": settings.database_url, "PINGLET_ALLOW_LOOPBACK": "0"}
    stricter = local.create_app(Settings.from_env(environ))
    result = run(stricter.test_cli_runner(), "worker", "--once")
    stricter.extensions["pinglet"].database.engine.dispose()
    assert result.exit_code == 1
    name, _, state, ms, echoes, why = result.stdout.rstrip("\n").split("\t")
    assert (name, state, ms, echoes) == ("web", "unobserved", "", "")
    assert why


def test_a_round_of_nobody_is_well(cli: FlaskCliRunner) -> None:
    assert done(cli, "worker", "--once") == ""


# ping


@pytest.fixture
def alone(no_database: Path) -> FlaskCliRunner:
    """The command line where there is no database."""
    environ = {"DATABASE_URL": f"sqlite:///{no_database}", "PINGLET_ECHO_GAP_S": "0"}
    settings = Settings.from_env(environ | {"PINGLET_ECHO_TIMEOUT_S": "0.3"})
    return local.create_app(settings).test_cli_runner()


def test_ping_prints_echoes_and_a_summary(alone: FlaskCliRunner, listening: str) -> None:
    lines = done(alone, "ping", "127.0.0.1", "--port", listening).splitlines()
    assert lines[0].startswith("TCP, 4 echoes per address")
    echoes = lines[1:5]
    assert [echo.split()[:2] for echo in echoes] == [
        ["127.0.0.1:", f"seq={n}"] for n in (1, 2, 3, 4)
    ]
    assert all(" ms" in echo and "clock" in echo for echo in echoes)
    assert lines[5:8] == ["", "--- 127.0.0.1 ---", "4 echoes sent, 4 received, 0% lost"]
    assert lines[8].startswith("rtt min/avg/max = ")
    fastest, mean, slowest = (float(ms) for ms in lines[8].split()[3].split("/"))
    assert 0 <= fastest <= mean <= slowest


def test_a_closed_port_is_an_answer(alone: FlaskCliRunner) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = str(listener.getsockname()[1])
    said = done(alone, "ping", "127.0.0.1", "--port", port, "--count", "2")
    assert said.count("(refused)") == 2
    assert "2 echoes sent, 2 received" in said


def test_an_address_that_stays_silent_is_exit_code_1(
    alone: FlaskCliRunner, listening: str, silent: str
) -> None:
    result = run(alone, "ping", "127.0.0.1", "--port", silent, "--count", "1")
    assert result.exit_code == 1
    assert "1 echo sent, 0 received, 100% lost" in result.stdout
    assert "rtt" not in result.stdout


def test_ping_needs_no_database_and_makes_none(
    alone: FlaskCliRunner, no_database: Path, listening: str
) -> None:
    done(alone, "ping", "127.0.0.1", "--port", listening, "--count", "1")
    assert not no_database.exists()


@needs_icmp
def test_ping_without_a_port_is_icmp(alone: FlaskCliRunner) -> None:
    said = done(alone, "ping", "127.0.0.1", "127.0.0.2")
    assert said.startswith("ICMP, 4 echoes per address")
    assert said.count("4 echoes sent, 4 received, 0% lost") == 2


# The database, and something to look at


def test_an_upgrade_says_where_the_tables_are(cli: FlaskCliRunner) -> None:
    for _ in range(2):
        assert SCHEMA_VERSION in done(cli, "db", "upgrade")


def test_the_demo_makes_up_servers_and_history_once(sqlite_settings: Settings) -> None:
    app = local.create_app(open_to_all(sqlite_settings.database_url))
    cli = app.test_cli_runner()
    assert "5 servers with 1 day of" in done(cli, "demo", "--days", "1")
    listed = done(cli, "servers", "list").splitlines()
    assert len(listed) == 5
    assert all(line.startswith("demo ") for line in listed)
    # Of the day's 1,440 slots twenty are unobserved on purpose.
    history = app.test_client().get("/?server=demo%20office&limit=2000").get_json()
    assert len(history["pings"]) == 1_420
    assert {None} < {ms for ping in history["pings"] for ms in ping.values()}
    assert "exists already" in refused(cli, "demo")
    assert done(cli, "servers", "list").splitlines() == listed
    app.extensions["pinglet"].database.engine.dispose()


@pytest.mark.parametrize(
    ("database_url", "reason"),
    [
        ("nonsense", "no URL"),
        ("postgres://127.0.0.1:port/x", "no URL"),
        ("mysql://127.0.0.1/x", "mysql"),
        ("sqlite://", "needs a file"),
        ("sqlite:///:memory:", "needs a file"),
        ("sqlite:////dev/null/pinglet.db", "/dev/null"),
        ("postgresql://127.0.0.1/x?nonsense=1", "nonsense"),
    ],
)
def test_a_database_url_that_cannot_be_used_is_one_line(database_url: str, reason: str) -> None:
    with pytest.raises(SystemExit) as ended:
        local.create_app(Settings(database_url=database_url))
    said = str(ended.value)
    assert said.startswith("Error: DATABASE_URL")
    assert reason in said
    assert "\n" not in said


@pytest.mark.parametrize("command", [["servers", "list"], ["db", "upgrade"], ["worker", "--once"]])
def test_a_database_that_cannot_be_used_is_one_line(
    not_a_database: Path, tmp_path: Path, command: list[str]
) -> None:
    for database_url, reason in (
        (f"sqlite:///{not_a_database}", "not a database"),
        (f"sqlite:///{tmp_path}", "unable to open"),
        ("postgres://127.0.0.1:1/pinglet", "refused"),
    ):
        app = local.create_app(Settings(database_url=database_url))
        said = refused(app.test_cli_runner(), *command)
        assert reason in said
        assert said.count("\n") == 1
        app.extensions["pinglet"].database.engine.dispose()


def test_a_postgres_without_tables_says_what_to_do(postgres_settings: Settings) -> None:
    url = postgres_settings.database_url.rpartition("/")[0] + "/template1"
    app = local.create_app(Settings(database_url=url))
    assert "flask db upgrade" in refused(app.test_cli_runner(), "servers", "list")
    app.extensions["pinglet"].database.engine.dispose()
