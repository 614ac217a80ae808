"""Back-tests: a draft of a rule beside those in force, over days that are packed and others."""

from typing import Any

import pytest

from core.errors import WrongRequest
from core.history import past
from core.incidents import backtest, rulebook
from core.incidents.backtest import Plan, Trial
from core.incidents.records import Backtest, BacktestWanted, Effect
from core.incidents.rules import Rule
from core.servers import change
from core.servers.records import ServerWanted
from core.slots import SLOT
from infra.database import Database
from tests.core.history.histories import DATES, DAY, FIRST, HOUR, IP, History, fill, pack_day
from tests.core.incidents.planned import hold

DRAFT = {"name": "web down", "when": {"down": 3, "of": 3}}
NOW = FIRST + DAY + HOUR


def add(database: Database, name: str, *tags: str) -> History:
    wanted = ServerWanted(name=name, ip=IP, tags=tags)
    with database.transaction() as session:
        made = change.add(session, wanted, database.settings, FIRST)
    return History(name, made, [(FIRST, 60, True)])


def make(database: Database, **wanted: Any) -> None:
    with database.transaction() as session:
        rulebook.make(session, Rule.of(wanted), "ann", FIRST)


def planned(database: Database, rule: dict[str, Any], keep_days: float = 30, **more: Any) -> Plan:
    wanted = BacktestWanted.of({"rule": rule, "days": 1} | more)
    with database.reading() as session:
        return backtest.plan(session, wanted, keep_days, NOW)


def tried(database: Database, rule: dict[str, Any], **more: Any) -> Backtest:
    trial = Trial(planned(database, rule, **more))
    for some in trial.plan.portions:
        with database.reading() as session:
            trial.add(session, some)
    return trial.told()


def told(effect: Effect) -> tuple[int, int, int | None]:
    return effect.incidents, effect.missed, effect.delay_worst_s


def test_a_draft_stands_beside_the_rule_in_force(database: Database) -> None:
    web = add(database, "web")
    # Twelve minutes down, two, and every other one of twelve.
    fill(database, web, 60, *[4] * 10, *[0] * 12, *[4] * 30, 0, 0, *[4] * 30, *[0, 4] * 6, *[4] * 9)
    found = tried(database, DRAFT)
    assert (found.servers, found.outages) == (1, 1)
    assert (found.since, found.until) == (NOW - DAY, NOW)
    assert (found.draft.rules, found.in_force.rules) == (["web down"], ["default"])
    assert told(found.draft) == (1, 0, 120)
    assert told(found.in_force) == (3, 0, 120)
    assert found.draft.longest is not None
    assert found.draft.longest.since == FIRST + 70 * SLOT
    assert found.draft.longest.duration_s == 12 * 60
    assert found.draft.servers[0].server.name == "web"


def test_an_outage_that_a_draft_would_have_missed_is_named(database: Database) -> None:
    web = add(database, "web")
    fill(database, web, 60, *[0] * 11, *[4] * 30)
    found = tried(database, {"name": "slow to tell", "when": {"down": 20, "of": 20}})
    assert told(found.draft) == (0, 1, None)
    assert told(found.in_force) == (1, 0, 60)
    assert found.draft.outages[0].since == FIRST + HOUR


def test_packed_or_not_it_comes_to_the_same(database: Database) -> None:
    web = add(database, "web")
    fill(database, web, 1_400, *[0] * 100)
    before = tried(database, DRAFT)
    pack_day(database, DATES[0], [web.server_id])
    assert tried(database, DRAFT) == before
    assert before.draft.longest is not None
    assert (before.draft.longest.until, before.draft.longest.duration_s) == (None, 6_000)


def test_it_is_for_whom_the_draft_would_hold(database: Database) -> None:
    make(database, name="mail", when={"down": 1, "of": 1}, **{"for": {"tags": ["mail"]}})
    for name, tag in (("web-1", "web"), ("web-2", "web"), ("mail-1", "mail")):
        fill(database, add(database, name, tag), 60, 0, 4, 4, 4)
    everyone = tried(database, DRAFT)
    assert everyone.servers == 2  # the rule for mail names more
    assert everyone.in_force.rules == ["default"]
    named = tried(database, DRAFT | {"for": {"names": ["mail-*", "web-2"]}})
    assert (named.servers, named.draft.incidents, named.in_force.incidents) == (2, 0, 1)
    assert named.in_force.rules == ["default", "mail"]


def test_a_draft_takes_the_place_of_the_rule_of_its_name(database: Database) -> None:
    make(database, name="web down", when={"down": 1, "of": 1})
    fill(database, add(database, "web"), 60, 0, 4, 4, 0, 4, 4)
    found = tried(database, DRAFT)
    assert (found.draft.rules, found.in_force.rules) == (["web down"], ["web down"])
    assert (found.draft.incidents, found.in_force.incidents) == (0, 1)
    assert found.in_force.flaps == 1


def test_where_no_rule_of_its_kind_holds_nothing_stands_beside_it(database: Database) -> None:
    fill(database, add(database, "web"), 60, *[2] * 10, 4, 4, 4)
    found = tried(database, {"name": "lossy", "when": {"loss_pct": 50, "of": 5}})
    assert (found.draft.incidents, found.in_force.incidents) == (1, 0)
    assert found.in_force.rules == []


def test_no_more_days_are_looked_at_than_are_kept(database: Database) -> None:
    add(database, "web")
    assert planned(database, DRAFT, days=30, keep_days=7).days == 7
    assert planned(database, DRAFT, days=30, keep_days=0.1).days == 1
    assert planned(database, DRAFT, days=30).server_days == 30


@pytest.mark.parametrize("zone", ["Mars/Olympus", "../etc/passwd", "/etc/localtime", "a\0b", "."])
def test_a_zone_that_is_none_is_refused(database: Database, zone: str) -> None:
    with pytest.raises(WrongRequest, match="zone must be") as refused:
        planned(database, DRAFT, zone=zone)
    assert refused.value.field == "zone"


def test_hours_are_those_of_the_zone(database: Database) -> None:
    fill(database, add(database, "web"), 60, *[0] * 5, 4, 4)
    found = tried(database, DRAFT, zone="Europe/Prague")
    assert (found.zone, found.draft.hours.index(1)) == ("Europe/Prague", 2)
    assert found.draft.nights == 1


def test_portions_add_up_to_the_whole(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(5):
        fill(database, add(database, f"web-{number}"), 60, *[0] * (number + 1), 4, 4, 4)
    whole = tried(database, DRAFT)
    monkeypatch.setattr(past, "AT_ONCE", 2)
    assert [len(some) for some in planned(database, DRAFT).portions] == [2, 2, 1]
    assert tried(database, DRAFT) == whole
    assert whole.draft.incidents == 3


def test_who_is_removed_meanwhile_had_nothing(database: Database) -> None:
    web = add(database, "web")
    fill(database, web, 60, *[0] * 5)
    trial = Trial(planned(database, DRAFT))
    with database.transaction() as session:
        change.remove(session, "web")
    with database.reading() as session:
        trial.add(session, [web.server_id])
    assert trial.told().draft.incidents == 0


def test_what_was_in_maintenance_would_have_opened_nothing(database: Database) -> None:
    web = add(database, "web")
    fill(database, web, 60, *[0] * 30, *[4] * 30)
    before = tried(database, DRAFT)
    hold(database, FIRST + HOUR, 30)
    assert [told(before.draft)[0], told(tried(database, DRAFT).draft)[0]] == [1, 0]


def test_maintenance_makes_no_outage_longer(database: Database) -> None:
    web = add(database, "web")
    fill(database, web, 60, 4, 0, *[4] * 70)
    hold(database, FIRST + HOUR + 2 * SLOT, 30)
    found = tried(database, DRAFT)
    assert (found.outages, found.draft.missed) == (0, 0)
