"""Many servers at once: put, each with its outcome."""

from core.clock import utc_now
from core.servers import change, lists
from core.servers.records import Changes, Outcome
from infra.database import Database
from tests.infra.rows import IP, add

LIST = """\
name,ip,probe,port,interval_s,enabled
new,192.0.2.7,tcp,443,300,no
web,192.0.2.8,,,,
odd,192.0.2.9,,70000,,
multicast,224.0.0.1,,,,
new,192.0.2.10,,,,
last,192.0.2.11,,,,
"""


def put(database: Database, text: str, upsert: bool = False) -> list[tuple[str, str | None]]:
    """Put a list; return each server's word and, where it is refused, the field."""
    wanted: list[Changes | Outcome] = [entry.said for entry in lists.read(text)]
    with database.transaction() as session:
        outcomes = change.put(session, wanted, database.settings, utc_now(), upsert=upsert)
    return [(outcome.status, outcome.field) for outcome in outcomes]


def test_what_could_not_be_read_keeps_its_place_among_the_outcomes(database: Database) -> None:
    add(database, "web", IP)
    refused = [
        ("WRONG_REQUEST", "port"),
        ("WRONG_REQUEST", "ip"),
        ("NAME_ALREADY_EXIST", "name"),
    ]
    same = ("UNCHANGED", None)
    first = [("CREATED", None), ("NAME_ALREADY_EXIST", "name"), *refused, ("CREATED", None)]
    assert put(database, LIST) == first
    assert put(database, LIST, upsert=True) == [same, ("UPDATED", None), *refused, same]
    assert put(database, LIST, upsert=True) == [same, same, *refused, same]


def test_a_list_without_a_server_to_add_does_nothing(database: Database) -> None:
    assert put(database, "") == []
    assert put(database, "odd,192.0.2.9,,70000") == [("WRONG_REQUEST", "port")]
