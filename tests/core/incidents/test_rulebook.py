"""Rules as they are kept, and what becomes of incidents when they change."""

from collections.abc import Sequence
from typing import Any

import pytest
from sqlalchemy import select

from core.errors import RuleTaken, RuleUnknown, WrongRequest
from core.incidents import events, rulebook
from core.incidents.records import Deed, EventsQuery
from core.incidents.rules import AT_ONCE, Rule, RuleListed
from core.models import RULE
from infra.database import Database
from tests.infra.rows import MINUTE, SLOT

DOWN = {"name": "web down", "when": {"down": 2, "of": 3}}


def made(database: Database, **words: Any) -> RuleListed:
    """Make a rule as somebody does."""
    with database.transaction() as session:
        return rulebook.make(session, Rule.of(DOWN | words), "ada", SLOT)


def noted(database: Database) -> Sequence[tuple[str, str]]:
    with database.reading() as session:
        page = events.page(session, EventsQuery())
    return [(one.kind, one.who) for one in page.events]


def test_a_rule_is_kept_as_it_was_said_and_what_was_not_said_beside_it(
    database: Database,
) -> None:
    wanted = {"for": {"tags": ["web"], "names": ["eu-*"]}, "remind_m": None, "severity": "info"}
    kept = made(database, **wanted, when={"p95_ms": 250.5, "of": 20})
    with database.reading() as session:
        assert rulebook.find(session, kept.id) == kept
        assert rulebook.everything(session) == [kept]
    assert (kept.whom.tags, kept.whom.names) == (("web",), ("eu-*",))
    assert (kept.when.p95_ms, kept.when.k, kept.clear, kept.remind_m) == (250.5, 2, 2, None)
    assert (kept.made, kept.changed) == (SLOT, SLOT)


def test_what_opens_again_at_once_is_said(database: Database) -> None:
    assert made(database, when={"down": 1, "of": 1}).hints == [AT_ONCE]


@pytest.mark.parametrize("name", ["web down", " web down ", "default"])
def test_a_name_is_taken_once(database: Database, name: str) -> None:
    made(database)
    other = made(database, name="other")
    with pytest.raises(RuleTaken, match="exists already"):
        made(database, name=name)
    with pytest.raises(RuleTaken), database.transaction() as session:
        rulebook.change(session, other.id, Rule.of(DOWN | {"name": name}), "ada", SLOT)


def test_there_are_no_channels_yet(database: Database) -> None:
    with pytest.raises(
        WrongRequest, match="there is no channel of that name, got 'ops'"
    ) as refused:
        made(database, say=[{"channel": "ops"}])
    assert refused.value.field == "say[0].channel"


def test_a_rule_is_changed_as_a_whole_and_stays_the_same_rule(database: Database) -> None:
    kept = made(database, severity="info")
    wanted = Rule.of({"name": "db down", "when": {"down": 3, "of": 5}})
    with database.transaction() as session:
        anew = rulebook.change(session, kept.id, wanted, "bob", SLOT + MINUTE)
    assert (anew.id, anew.name, anew.severity, anew.clear) == (kept.id, "db down", "critical", 3)
    assert (anew.made, anew.changed) == (SLOT, SLOT + MINUTE)


@pytest.mark.parametrize("number", [4711, 2**63])
def test_a_rule_that_is_not_there_is_not_found(database: Database, number: int) -> None:
    with database.transaction() as session:
        with pytest.raises(RuleUnknown):
            rulebook.find(session, number)
        with pytest.raises(RuleUnknown):
            rulebook.change(session, number, Rule.of(DOWN), "ada", SLOT)
        with pytest.raises(RuleUnknown):
            rulebook.remove(session, number, "ada", SLOT)


def test_there_are_only_so_many(database: Database) -> None:
    kept = made(database)
    with database.transaction() as session:
        row = session.execute(select(RULE)).mappings().one()
        others = range(kept.id + 1, kept.id + rulebook.MOST_RULES)
        session.execute(RULE.insert(), [{**row, "id": one, "name": str(one)} for one in others])
    with pytest.raises(WrongRequest, match="there are 200 rules already"):
        made(database, name="one more")


def test_each_change_is_an_event(database: Database) -> None:
    kept = made(database)
    with database.transaction() as session:
        rulebook.change(session, kept.id, Rule.of(DOWN), "bob", SLOT)
        rulebook.remove(session, kept.id, "eve", SLOT)
    assert noted(database) == [
        (Deed.RULE_REMOVED, "eve"),
        (Deed.RULE_CHANGED, "bob"),
        (Deed.RULE_MADE, "ada"),
    ]
