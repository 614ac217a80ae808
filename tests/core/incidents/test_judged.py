"""What the judge is asked, and what it remembers."""

import random
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import pytest
from msgspec.structs import replace
from sqlalchemy import select

from core.incidents import announce, rulebook
from core.incidents import change as incidents
from core.incidents.records import How, Kind, Resolution
from core.incidents.rules import DEFAULT_ID, Rule, RuleListed
from core.models import EVENT, INCIDENT, JUDGED
from core.rounds import record
from core.servers import change
from core.servers.records import ServerChange
from core.slots import slot_number
from infra.database import Database
from tests.core.incidents import oracle
from tests.core.incidents.rounds import Told, arrive, begin, minutes, told
from tests.core.incidents.test_rulebook import made
from tests.counts import count, named
from tests.infra.rows import MINUTE, SLOT, add, ping

WORLDS = named("random histories under each kind of rule, on each database", 100)


def test_blindness_resolves_nothing(database: Database) -> None:
    server_id = add(database)
    slot = minutes(database, server_id, "bb" + "x" * 5)
    minutes(database, server_id, "gg", slot + timedelta(days=1))
    begun = slot_number(slot + timedelta(days=1)) - slot_number(SLOT)
    assert told(database) == [Told(0, 1, begun, How.GOOD, 0)]


def test_a_quiet_server_is_forgotten(database: Database) -> None:
    server_id = add(database)
    minutes(database, server_id, "b" + "g" * 31)
    with database.reading() as session:
        assert session.execute(select(JUDGED)).all() != []
    minutes(database, server_id, "g", SLOT + 32 * MINUTE)
    with database.reading() as session:
        assert session.execute(select(JUDGED)).all() == []


def test_who_is_looked_at_otherwise_begins_anew_and_what_is_open_stays_open(
    database: Database,
) -> None:
    server_id = add(database)
    slot = minutes(database, server_id, "bbg")
    with database.transaction() as session:
        change.alter(session, server_id, ServerChange(port=80), database.settings, slot)
    for number, ms in enumerate([1.0, None, 1.0, 1.0]):
        with database.transaction() as session:
            now = slot + number * MINUTE
            record.record(session, now, [ping(server_id, ms, revision=1)])
            announce.announce(session, now)
    assert told(database) == [Told(0, 1, 5, How.GOOD, 0)]


# Rules that somebody made


def test_each_server_is_judged_by_the_rules_that_hold_for_it(database: Database) -> None:
    web, other = add(database, tags=["web"]), add(database, "db")
    made(database, name="web", when={"down": 1, "of": 1}, clear=1, **{"for": {"tags": ["web"]}})
    made(database, name="loss", when={"loss_pct": 50, "of": 2}, **{"for": {"names": ["d*"]}})
    begin(database, SLOT)
    for slot in (SLOT, SLOT + MINUTE):
        arrive(database, slot, [(web, "b"), (other, "b")])
    with database.reading() as session:
        rows = session.execute(select(INCIDENT).order_by(INCIDENT.c.id)).all()
    begun = [(row.name, row.rule, row.opened, row.confirmed) for row in rows]
    assert begun == [
        ("web", "web", SLOT, SLOT),
        ("db", "loss", SLOT, SLOT),
        ("db", "default", SLOT, SLOT + MINUTE),
    ]


def seen(database: Database, server_id: int, pings: Sequence[tuple[int, float | None]]) -> None:
    """Have so many of a server's four echoes answered in each minute, in so long."""
    for number, (received, ms) in enumerate(pings):
        slot = SLOT + number * MINUTE
        one = replace(ping(server_id, ms), received=received, response_ms=ms)
        with database.transaction() as session:
            announce.close(session, slot)
            record.record(session, slot, [one])
            announce.announce(session, slot)


def test_who_loses_echoes_or_is_slow_is_found_by_what_came_of_them(database: Database) -> None:
    server_id = add(database)
    made(database, name="loss", when={"loss_pct": 25, "of": 2})
    made(database, name="slow", when={"p95_ms": 10, "of": 3, "k": 2}, severity="warning")
    whole, lossy, slow = (4, 1.0), (2, 1.0), (4, 10.5)
    seen(database, server_id, [whole, lossy, whole, slow, slow, whole])
    with database.reading() as session:
        rows = session.execute(select(INCIDENT).order_by(INCIDENT.c.id)).all()
    zero = slot_number(SLOT)
    assert [(row.rule, row.severity, slot_number(row.opened) - zero) for row in rows] == [
        ("loss", "critical", 1),
        ("slow", "warning", 4),
    ]
    assert rows[0].resolved == SLOT + 3 * MINUTE


def test_who_is_not_looked_at_is_found_by_what_is_missing(database: Database) -> None:
    server_id = add(database)
    made(database, name="seen", when={"coverage_pct": 60, "of": 5})
    minutes(database, server_id, "gxgxgxgggg")
    assert told(database) == [Told(5, 5, 6, How.GOOD, 0)]


def test_after_an_absence_every_slot_of_it_counts(database: Database) -> None:
    server_id = add(database)
    made(database, name="seen", when={"coverage_pct": 60, "of": 5})
    minutes(database, server_id, "g")
    minutes(database, server_id, "g", SLOT + 60 * MINUTE)
    assert told(database) == [Told(3, 3, None, None, 0)]


def test_what_is_open_keeps_the_terms_it_was_opened_by(database: Database) -> None:
    server_id = add(database)
    rule = made(database, when={"down": 1, "of": 1}, clear=3)
    slot = minutes(database, server_id, "b")
    with database.transaction() as session:
        wanted = Rule.of({"name": "other", "when": {"down": 3, "of": 3}, "clear": 1})
        rulebook.change(session, rule.id, wanted, "ada", slot)
    slot = minutes(database, server_id, "ggg", slot)
    assert told(database) == [Told(0, 0, 1, How.GOOD, 0)]
    minutes(database, server_id, "bbb", slot)
    assert told(database)[1:] == [Told(4, 6, None, None, 0)]


def test_a_changed_rule_begins_anew_with_the_next_slot(database: Database) -> None:
    server_id = add(database)
    rule = made(database)
    slot = minutes(database, server_id, "b")
    with database.transaction() as session:
        wanted = Rule.of({"name": "other", "when": {"down": 2, "of": 4}})
        rulebook.change(session, rule.id, wanted, "ada", slot)
    minutes(database, server_id, "bb", slot)
    assert told(database) == [Told(1, 2, None, None, 0)]


def ended(database: Database) -> tuple[str, str | None]:
    """Return how the newest incident ended, and what its timeline says of that."""
    with database.reading() as session:
        how = session.scalars(select(INCIDENT.c.how).order_by(INCIDENT.c.id.desc())).first()
        notes = session.scalars(select(EVENT.c.note).where(EVENT.c.kind == Kind.RESOLVED)).all()
    assert len(notes) == 1
    return str(how), notes[0]


def remove(database: Database, _server_id: int, rule: RuleListed) -> None:
    with database.transaction() as session:
        rulebook.remove(session, rule.id, "ada", SLOT)


def untag(database: Database, server_id: int, _rule: RuleListed) -> None:
    with database.transaction() as session:
        change.alter(session, server_id, ServerChange(tags=[]), database.settings, SLOT)


def rename(database: Database, server_id: int, _rule: RuleListed) -> None:
    with database.transaction() as session:
        change.alter(session, server_id, ServerChange(name="db"), database.settings, SLOT)


def name_more(database: Database, _server_id: int, _rule: RuleListed) -> None:
    made(database, name="more", **{"for": {"tags": ["web"], "names": ["web"]}})


@pytest.mark.parametrize(
    ("do", "note"),
    [
        (remove, "rule removed"),
        (untag, "no longer matches"),
        (rename, "no longer matches"),
        (name_more, "no longer matches"),
    ],
)
def test_what_is_open_under_a_rule_that_holds_no_more_is_resolved_once(
    database: Database, do: Callable[[Database, int, RuleListed], None], note: str
) -> None:
    server_id = add(database, tags=["web"])
    whom = {"for": {"tags": ["web"], "names": ["w*"]}}
    if do is name_more:
        whom = {"for": {"tags": ["web"]}}
    rule = made(database, **whom)
    slot = minutes(database, server_id, "bb")
    do(database, server_id, rule)
    slot = minutes(database, server_id, "x", slot)
    assert ended(database) == (How.RULE, note)
    minutes(database, server_id, "xx", slot)
    assert ended(database) == (How.RULE, note)
    assert told(database) == [Told(0, 1, 2, How.RULE, 0)]


def test_what_is_not_open_is_forgotten_with_its_rule(database: Database) -> None:
    server_id = add(database)
    rule = made(database)
    slot = minutes(database, server_id, "b")
    remove(database, server_id, rule)
    minutes(database, server_id, "b", slot)
    with database.reading() as session:
        assert session.scalars(select(JUDGED.c.rule_id)).all() == [DEFAULT_ID]
    assert told(database) == []


def test_resolved_by_hand_one_rule_forgets_and_another_goes_on(database: Database) -> None:
    server_id = add(database)
    made(database, name="loss", when={"loss_pct": 100, "of": 1})
    slot = minutes(database, server_id, "bb")
    with database.transaction() as session:
        first = session.scalars(select(INCIDENT.c.id).order_by(INCIDENT.c.id)).first()
        incidents.resolve(session, first or 0, Resolution(), "ada", slot)
    assert [(one.how, one.resolved) for one in told(database)] == [(How.HAND, 2), (None, None)]
    minutes(database, server_id, "gg", slot)
    assert [one.how for one in told(database)] == [How.HAND, How.GOOD]


# Any history


KINDS: list[dict[str, Any]] = [
    {"down": 3, "of": 4},
    {"loss_pct": 30, "of": 4},
    {"p95_ms": 10, "of": 5, "k": 2},
    {"coverage_pct": 70, "of": 5},
]


def a_slot(chance: random.Random) -> oracle.Seen:
    received = chance.choice([0, 2, 4, 4, 4])
    ms = chance.choice([1.0, 1.0, 20.0]) if received else None
    return None if chance.random() < 0.3 else (4, received, ms)


@pytest.mark.parametrize("when", KINDS, ids=str)
@pytest.mark.parametrize("seed", range(count(2, WORLDS)))
def test_every_kind_finds_what_one_who_reads_the_whole_history_does(
    database: Database, when: dict[str, Any], seed: int
) -> None:
    chance = random.Random(seed)
    made(database, name="mine", when=when, clear=2)
    histories = {add(database, name): [a_slot(chance) for _ in range(40)] for name in ("a", "b")}
    for number in range(40):
        slot = SLOT + number * MINUTE
        pings = [
            replace(ping(server_id, seen[2]), received=seen[1])
            for server_id, history in histories.items()
            if (seen := history[number])
        ]
        with database.transaction() as session:
            record.record(session, slot, pings)
            if number == 0 or chance.random() < 0.7:
                announce.close(session, slot)
            announce.announce(session, slot)
    begin(database, SLOT + 41 * MINUTE)
    for server_id, history in histories.items():
        letters = list(enumerate(oracle.letters(history, when)))
        bad, of = (when["down"], when["of"]) if "down" in when else (1, 1)
        turns = oracle.decisions(letters, bad, of, 2)
        assert timeline(database, server_id) == [(turn, slot) for turn, slot, _ in turns], history


def timeline(database: Database, server_id: int) -> list[tuple[str, int]]:
    """Return what became of a server's incidents under a rule that somebody made, and when."""
    lines = (
        select(EVENT.c.kind, EVENT.c.at)
        .join(INCIDENT, INCIDENT.c.id == EVENT.c.incident_id)
        .where(INCIDENT.c.server_id == server_id, INCIDENT.c.rule == "mine")
        .order_by(EVENT.c.id)
    )
    with database.reading() as session:
        return [(kind, slot_number(at) - slot_number(SLOT)) for kind, at in session.execute(lines)]
