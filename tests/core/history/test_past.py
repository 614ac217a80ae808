"""The past of many servers: each slot is a letter, whichever table holds it."""

import random
from datetime import datetime

import pytest

from core.history import past
from core.history.past import Past
from core.slots import DAY_SLOTS, SLOT, slot_number, slot_time
from infra.database import Database
from tests.core.history.histories import (
    DATES,
    DAY,
    FIRST,
    History,
    add,
    fill,
    forget_day,
    made_up,
    pack_day,
    record,
    remove,
    reschedule,
)
from tests.core.history.histories import one_ping as ping
from tests.core.incidents.planned import hold
from tests.infra.statements import counted

LETTERS = {"up": "+", "degraded": "~", "down": "-"}


def read(database: Database, ids: list[int], since: datetime, until: datetime) -> list[Past]:
    with database.reading() as session:
        found = dict(past.read(session, ids, slot_number(since), slot_number(until)))
    return [found[one] for one in ids]


def letters(database: Database, history: History, minutes: int) -> str:
    """Return the letters of a server's first minutes."""
    return read(database, [history.server_id], FIRST, FIRST + minutes * SLOT)[0].letters


def letter(history: History, slot: datetime, now: datetime) -> str:
    """Say what a slot is, by what was written down of its server."""
    if slot in history.pings:
        return LETTERS[history.pings[slot].state]
    if history.due(slot, now):
        return "u"
    in_force = [row for row in history.schedule if row[0] <= slot]
    return "_" if in_force and not in_force[-1][2] else " "


@pytest.mark.parametrize("seed", range(6))
def test_every_slot_is_what_it_was_however_it_is_kept(database: Database, seed: int) -> None:
    history, _now = made_up(database, seed)
    chance = random.Random(seed)
    first = slot_time(slot_number(min(history.pings)) // DAY_SLOTS * DAY_SLOTS)
    for number in range(chance.randint(0, 3)):
        pack_day(database, (first + number * DAY).date(), [history.server_id])
        if chance.random() < 0.5:
            forget_day(database, (first + number * DAY).date())
    since, until = first + 50 * SLOT, first + 2.5 * DAY
    (found,) = read(database, [history.server_id], since, until)
    told = [letter(history, since + place * SLOT, until) for place in range(len(found.letters))]
    assert found.letters == "".join(told)
    assert len(found.letters) == (until - since) // SLOT
    for slot, one in history.pings.items():
        if since <= slot < until:
            number, minute = divmod(slot_number(slot), DAY_SLOTS)
            slots = found.days[number].slots
            assert (slots.sent[minute], slots.received[minute]) == (one.sent, one.received)
            assert one.worst_ms is None or one.worst_ms <= found.worst_ms.get(number, one.worst_ms)


def test_who_is_asked_for_is_told_of_in_that_order_and_who_is_gone_was_never_due(
    database: Database,
) -> None:
    web, gone, mail = (add(database, name=name) for name in ("web", "gone", "mail"))
    for history in (web, gone, mail):
        fill(database, history, 0, 4, 0)
    remove(database, "gone")
    ids = [mail.server_id, gone.server_id, web.server_id]
    told = [one.letters for one in read(database, ids, FIRST, FIRST + 3 * SLOT)]
    assert told == ["+-u", "   ", "+-u"]


def test_what_was_not_due_is_neither_a_gap_nor_a_pause(database: Database) -> None:
    history = add(database)
    reschedule(database, history, FIRST + 2 * SLOT, interval_s=120)
    reschedule(database, history, FIRST + 6 * SLOT, enabled=False)
    fill(database, history, 0, 4)
    assert letters(database, history, 8) == "+uu u __"


def test_what_came_late_for_a_packed_day_is_missing_until_the_night(database: Database) -> None:
    history = add(database)
    fill(database, history, 0, 4, 0)
    pack_day(database, DATES[0], [history.server_id])
    record(database, FIRST + 2 * SLOT, ping(history, None, 0))
    until = FIRST + DAY + 2 * SLOT
    assert read(database, [history.server_id], FIRST, until)[0].letters[:4] == "+-uu"
    pack_day(database, DATES[0], [history.server_id])
    assert read(database, [history.server_id], FIRST, until)[0].letters[:4] == "+--u"


def test_the_last_day_may_be_packed_in_part(database: Database) -> None:
    history = add(database)
    fill(database, history, 0, 4, 0)
    pack_day(database, DATES[0], [history.server_id])
    fill(database, history, 2, 3, 0)
    assert letters(database, history, 5) == "+-~-u"


def test_many_servers_cost_five_statements_a_portion(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(past, "AT_ONCE", 2)
    histories = [add(database, name=f"web-{number}") for number in range(5)]
    for history in histories:
        fill(database, history, 0, *[4] * 30)
    ids = [history.server_id for history in histories]
    with counted(database) as sent:
        found = read(database, ids, FIRST, FIRST + 30 * SLOT)
    assert [one.letters for one in found] == ["+" * 30] * 5
    assert len([one for one in sent if "schema" not in one]) == 5 * 3


def test_exempt_slots_are_told_apart_and_a_pause_in_them_stays_one(database: Database) -> None:
    web, db = (add(database, name=name) for name in ("web", "db"))
    for history in (web, db):
        fill(database, history, 0, *[0] * 10)
    for first, minutes in ((2, 3), (8, 60)):
        hold(database, FIRST + first * SLOT, minutes, **{"for": {"names": ["web"]}})
    assert letters(database, web, 10) == "--mmm---mm"
    assert letters(database, db, 10) == "-" * 10
    reschedule(database, web, FIRST + 10 * SLOT, enabled=False)
    reschedule(database, web, FIRST + 12 * SLOT, enabled=True)
    assert letters(database, web, 14) == "--mmm---mm__mm"
