"""Where Pinglet may connect: sixty spellings of what it may not, at every way in.

The last word is the kernel's: an audit hook counts what a process really hands to a socket.
"""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from core.addresses import AddressRules
from core.settings import Settings
from tests.handlers.conftest import environment
from tests.people import nobody_but

ROOT = Path(__file__).parents[2]
DEPLOYED = AddressRules(loopback=False, private=False)
LAPTOP = AddressRules()

NEVER = [
    *("0.0.0.0", "0.0.0.1", "0.255.255.255"),
    *("169.254.169.254", "169.254.0.1", "169.254.170.2", "169.254.255.255"),
    *("224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255", "192.0.0.192"),
    *("::", "fe80::1", "fe80::1%1", "febf::1", "ff02::1", "ff0e::1"),
    *("fec0::1", "100::1", "5f00::1", "4000::1", "2001::1", "2001:0:7f00:1::"),
    *("::ffff:169.254.169.254", "::ffff:a9fe:a9fe", "::169.254.169.254", "::2"),
    *("64:ff9b::169.254.169.254", "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::1"),
    *("64:ff9b:1::1", "64:ff9b:1:7f00:0:100:808:808", "64:ff9b:1:fffe:a9:fea9:fe08:808"),
    *("::ffff:0:169.254.169.254", "::ffff:224.0.0.1", "::ffff:0.0.0.0"),
]
LOOPBACK = [
    *("127.0.0.1", "127.0.0.0", "127.255.255.254", "127.1.2.3", "::1", "0:0:0:0:0:0:0:1", "::1%1"),
    *("::ffff:127.0.0.1", "::FFFF:7F00:1", "::127.0.0.1", "64:ff9b::127.0.0.1"),
    *("2002:7f00:1::", "2002:7f00:1:ffff:ffff:ffff:ffff:ffff", "::ffff:0:127.0.0.1"),
]
PRIVATE = [
    *("10.0.0.0", "10.255.255.255", "172.16.0.1", "172.31.255.255", "192.168.0.1", "100.64.0.1"),
    *("100.100.100.200", "198.18.0.1", "fc00::1", "fd00:ec2::254", "::ffff:10.0.0.1"),
    *("64:ff9b::192.168.1.1", "2002:c0a8:101::", "::ffff:0:10.0.0.1"),
]
NO_ADDRESSES = [
    *("", " ", "localhost", "127.1", "127.0.1", "2130706433", "0x7f000001", "0x7f.0.0.1", "0"),
    *("0177.0.0.1", "127.0.0.01", "127.000.000.001", " 127.0.0.1", "127.0.0.1 ", "127.0.0.1\n"),
    *("127.0.0.1\0", "127.0.0.1.", "127.0.0.1:80", "127.0.0.1/32", "[::1]", "1.1.1.1@127.0.0.1"),
    *(
        "\uff11\uff12\uff17.0.0.1",
        "127。0。0。1",
        "١٢٧.0.0.1",
        "①②⑦.0.0.1",
        "127.0.0.1%lo",
        "http://127.0.0.1",
    ),
    *("::ffff:127.1", "::ffff:0x7f.0.0.1", "::1::", "::1%", "metadata.google.internal"),
]
PUBLIC = [
    *("8.8.8.8", "1.1.1.1", "9.255.255.255", "11.0.0.0", "126.255.255.255", "128.0.0.0"),
    *("169.253.255.255", "169.255.0.0", "172.15.255.255", "172.32.0.0", "192.167.255.255"),
    *("192.169.0.0", "100.63.255.255", "100.128.0.0", "223.255.255.255", "192.0.1.0"),
    *("198.17.255.255", "198.20.0.0", "1.0.0.0", "2606:4700::1111", "2a00:1450::8"),
    *("::ffff:8.8.8.8", "64:ff9b::8.8.8.8", "2002:808:808::", "2001:4860:4860::8888"),
]
DENIED = NEVER + LOOPBACK + PRIVATE + NO_ADDRESSES


def test_sixty_spellings_and_more_are_tried() -> None:
    assert len(set(DENIED)) == len(DENIED) >= 60


@pytest.mark.parametrize("address", DENIED, ids=ascii)
def test_a_deployed_instance_refuses(address: str) -> None:
    assert not DEPLOYED.allows(address)
    assert DEPLOYED.refusal(address)


@pytest.mark.parametrize("address", NEVER + NO_ADDRESSES, ids=ascii)
def test_a_laptop_refuses_as_well(address: str) -> None:
    assert not LAPTOP.allows(address)


@pytest.mark.parametrize("address", LOOPBACK + PRIVATE)
def test_a_laptop_watches_itself_and_its_network(address: str) -> None:
    assert LAPTOP.allows(address)
    assert AddressRules(loopback=True, private=False).allows(address) == (address in LOOPBACK)
    assert AddressRules(loopback=False, private=True).allows(address) == (address in PRIVATE)


@pytest.mark.parametrize("address", PUBLIC)
def test_the_rest_of_the_world_may_be_watched(address: str) -> None:
    assert DEPLOYED.allows(address)
    assert LAPTOP.allows(address)


@pytest.mark.parametrize("variable", ["PINGLET_ALLOW_LOOPBACK", "PINGLET_ALLOW_PRIVATE"])
def test_what_is_deployed_is_strict_unless_told_otherwise(variable: str) -> None:
    lambda_ = {"AWS_LAMBDA_FUNCTION_NAME": "pinglet-api"}
    assert Settings.from_env(lambda_).address_rules == DEPLOYED
    assert Settings.from_env({}).address_rules == LAPTOP
    told = Settings.from_env(lambda_ | {variable: "1"}).address_rules
    assert told in (AddressRules(True, False), AddressRules(False, True))


# At every way in, in a process that tells what it hands to a socket


WATCH = r"""
import json, sys

handed_over = []


def watch(event, arguments):
    if event == "socket.getaddrinfo":
        place = arguments[:2]
    elif event in ("socket.connect", "socket.sendto", "socket.sendmsg"):
        place = arguments[1]
    else:
        return
    if isinstance(place, tuple) and list(place[:2]) == DATABASE:
        return
    # The clock's self-test: a socket writes to itself.
    if event == "socket.sendto" and place == arguments[0].getsockname():
        return
    handed_over.append([event, repr(place)])


DATABASE = None
sys.addaudithook(watch)
"""
EVERY_WAY_IN = r"""
import asyncio

settings_made, denied, DATABASE = json.load(sys.stdin)

from sqlalchemy import select
from core import probe, slots
from core.accounts import records, tokens, users
from core.clock import utc_now
from core.models import Schedule, Server
from core.rounds import measure
from core.rounds.messages import Batch
from core.servers import change, find
from core.servers.records import ServerWanted
from core.settings import Settings
from handlers.functions.probe import Prober
from handlers.http import app as http_app
from handlers.instance import Instance
from handlers.worker import rounds
from infra.database import Database
from tests.instances import instance

settings = Settings(**settings_made)
database = Database(settings)
app = http_app.create_app(settings)
client = app.test_client()
with database.transaction() as session:
    ann = users.UserWanted(name="ann", password="a password", role=records.Role.ADMIN)
    users.create_user(session, users.NewUser.of(ann), utc_now())
    user = users.identity_of(users.find_user_named(session, "ann"))
    token = tokens.issue(session, user, tokens.Grant(records.TokenKind.ACCESS), utc_now()).token
    kept = change.add(session, ServerWanted(name="kept", ip="8.8.8.8"), settings, utc_now())

headers = {"Authorization": "Bearer " + token}
exported = client.get("/api/v1/export?format=json", headers=headers).get_json()["servers"][0]
lines = client.get("/api/v1/export?format=csv", headers=headers).text.replace("kept", "new")


def ways_in(address):
    # Method, path and body of every call that takes an address.
    yield "POST", "/", {"server": {"name": "new", "IP": address}}
    yield "PUT", "/", {"server": {"name": "kept", "IP": address}}
    yield "POST", "/api/v1/servers", {"name": "new", "ip": address}
    yield "PATCH", f"/api/v1/servers/{kept}", {"ip": address}
    for name in ("new", "kept"):
        moved = exported | {"name": name, "ip": address}
        yield "POST", "/api/v1/import?format=json", {"servers": [moved]}
    for listed in (lines.replace("8.8.8.8", f'"{address}"'), f'name,ip\\nnew,"{address}"\\n'):
        yield "POST", "/api/v1/import?format=csv", listed


def reply(method, path, body):
    data = body if isinstance(body, str) else json.dumps(body)
    return client.open(path, method=method, data=data, headers=headers)


answers = {reply(*way).status_code for address in denied for way in ways_in(address)}
for upsert in (False, True):
    rows = [{"name": name, "ip": address} for address in denied for name in ("new", "kept")]
    done = reply("POST", "/api/v1/servers/bulk", {"servers": rows, "upsert": upsert}).get_json()
    answers |= {one["status"] + " " + one["field"] for one in done["results"]}
with database.reading() as session:
    stored = [server.ip for server in find.everything(session)]

# As if an older release, or another setting, had let them in: the round must stop them itself.
with database.transaction() as session:
    change.remove(session, "kept")
    for number, address in enumerate(denied):
        if "\0" in address:
            continue
        for probe_kind in ("icmp", "tcp"):
            made = Server(name=f"{number} {probe_kind}", ip=address, added=utc_now(),
                          probe=probe_kind, port=80)
            session.add(made)
            session.flush()
            session.add(Schedule(server_id=made.id, since=utc_now(), interval_s=60, enabled=True))
slot = slots.slot_of(utc_now())
targets = rounds.due(database, slot)
done = asyncio.run(rounds.run_round(Instance(settings, database), slot, targets))
now = {
    reply("POST", f"/api/v1/servers/{target.server_id}/ping", "").get_json()["state"]
    for target in targets
}
# And as if a queue's message came from an older release.
queued = [Batch.read(batch.text()) for batch in measure.batches(slot, targets, 50)]
probed = Prober(settings, measure.deadline(slot)).measure(queued)
how = measure.pace(settings)
for kind in probe.Kind:
    for address in denied:
        probe.probe(kind, [probe.Destination(address, (80,))], how)
database.engine.dispose()
print(json.dumps({"answers": sorted(answers, key=str), "stored": stored, "pings": len(done.pings),
                  "unobserved": len(done.unobserved), "targets": len(targets), "now": sorted(now),
                  "probed": len(probed.pings),
                  "not probed": len(probed.unobserved),
                  "handed over": handed_over}))
"""


def test_no_way_in_stores_or_reaches_a_denied_address(settings: Settings) -> None:
    with nobody_but(settings) as own:
        strict = replace(own, allow_loopback=False, allow_private=False)
        made = {name: getattr(strict, name) for name in strict.__slots__}
        postgres = strict.database_url.partition("@")[2].partition("/")[0].partition(":")
        place = [postgres[0], int(postgres[2] or 0)]
        found = subprocess.run(
            [sys.executable, "-c", WATCH + EVERY_WAY_IN],
            cwd=ROOT,
            env=environment(),
            input=json.dumps([made, DENIED, place]),
            capture_output=True,
            text=True,
            check=False,
            timeout=250,
        )
    assert found.returncode == 0, found.stderr
    told = json.loads(found.stdout)
    assert told["answers"] == [400, "WRONG_REQUEST ip"]
    assert told["stored"] == ["8.8.8.8"]
    assert told["targets"] == told["unobserved"] >= 120
    assert told["pings"] == told["probed"] == 0
    assert told["not probed"] >= 100
    assert told["now"] == ["unobserved"]
    assert told["handed over"] == []


def test_the_watch_sees_what_is_handed_to_a_socket() -> None:
    probing = """
from core import probe

for kind in probe.Kind:
    probe.probe(kind, [probe.Destination("127.0.0.1", (9,))], probe.Pace(echoes=1))
print(len(handed_over), probe.icmp_problem() or "")
"""
    found = subprocess.run(
        [sys.executable, "-c", WATCH + probing],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
        timeout=250,
    )
    seen, _, no_icmp = found.stdout.strip().partition(" ")
    assert int(seen) >= (1 if no_icmp else 2)


def commands(address: str, folder: Path) -> list[list[str]]:
    """Return the ways in that the command line has."""
    row = {"name": "new", "IP": address}
    (folder / "servers.json").write_text(json.dumps([row]))
    (folder / "servers.csv").write_text(f'name,IP\nnew,"{address}"\n')
    return [
        ["servers", "add", "new", "--", address],
        ["servers", "import", str(folder / "servers.json")],
        ["servers", "import", str(folder / "servers.csv")],
        ["ping", "--", address],
        ["ping", "--port", "80", "--", address],
    ]


COMMAND_LINE = r"""
from handlers import local

runner = local.create_app().test_cli_runner()
codes = [runner.invoke(args=arguments).exit_code for arguments in json.load(sys.stdin)]
listed = runner.invoke(args=["servers", "list"]).stdout
print(json.dumps([codes, listed, handed_over]))
"""


def test_no_command_stores_or_reaches_a_denied_address(
    sqlite_settings: Settings, tmp_path: Path
) -> None:
    typed = [address for address in DENIED if "\0" not in address and "\n" not in address]
    ways = []
    for number, address in enumerate(typed):
        folder = tmp_path / str(number)
        folder.mkdir()
        ways += commands(address, folder)
    found = subprocess.run(
        [sys.executable, "-c", WATCH + COMMAND_LINE],
        cwd=ROOT,
        env=environment(
            sqlite_settings.database_url, PINGLET_ALLOW_LOOPBACK="0", PINGLET_ALLOW_PRIVATE="0"
        ),
        input=json.dumps(ways),
        capture_output=True,
        text=True,
        check=True,
        timeout=250,
    )
    codes, listed, handed_over = json.loads(found.stdout)
    wrong = [way for way, code in zip(ways, codes, strict=True) if code not in (1, 2)]
    assert wrong == []
    assert listed == ""
    assert handed_over == []
