"""What is taken: what was measured elsewhere, added, step by step."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from sqlalchemy import func, select, update

from core.errors import WrongRequest
from core.export import give, take
from core.export.records import (
    DayKept,
    Exported,
    Imported,
    LastPingKept,
    ParentKept,
    PlannedKept,
    ServerKept,
)
from core.models import DAY, Day, Server
from core.servers import change, find, parents
from infra.database import Database
from tests.infra.rows import IP, SLOT, add, ping, record, server, stored

NOW = datetime(2026, 2, 1, tzinfo=UTC)
WEB = ServerKept(name="web", ip=IP, added=SLOT)
PINGS = [(421, 1.5, 1.0, 2.0, 4, 4), (422, None, None, None, 4, 0)]
NOTHING = Imported(servers=0, schedules=0, pings=0)
A_DAY = DayKept(server="web", date=SLOT.date(), pings=PINGS)


def taken(database: Database, page: Exported, now: datetime = NOW) -> Imported:
    with database.reading() as session:
        steps = take.steps(session, page, database.settings, now)
    return sum(map(database.write, steps), NOTHING)


def refused(database: Database, **page: Any) -> tuple[str | None, str]:
    """Return the field for which this page is refused, and the sentence."""
    with pytest.raises(WrongRequest) as caught:
        taken(database, Exported(**page))
    return caught.value.field, str(caught.value)


def names(database: Database) -> list[str]:
    with database.reading() as session:
        return list(session.scalars(select(Server.name).order_by(Server.id)))


# Pages


def test_a_page_is_counted_as_it_is_added_and_not_again(database: Database) -> None:
    page = Exported(servers=[WEB], days=[A_DAY])
    assert taken(database, page, SLOT) == Imported(servers=1, schedules=1, pings=2)
    assert taken(database, page, SLOT) == Imported(servers=0, schedules=0, pings=0)
    assert stored(database) == [(1, SLOT, 1.5), (1, SLOT + timedelta(minutes=1), None)]


def test_what_is_given_is_what_was_taken(database: Database) -> None:
    heard = LastPingKept(slot=SLOT, response_ms=1.5, sent=4, received=4)
    planned = [
        PlannedKept(since=SLOT, interval_s=60, enabled=True),
        PlannedKept(since=SLOT + timedelta(days=1), interval_s=300, enabled=False),
    ]
    web = ServerKept(
        name="web", ip=IP, added=SLOT, port=443, last_port=443, last_ping=heard, schedule=planned
    )
    taken(database, Exported(servers=[web], days=[A_DAY]))
    with database.reading() as session:
        found = give.page(session, "")
        packed = session.scalar(select(func.count()).select_from(Day))
    assert found.servers == [web]
    assert [tuple(row) for row in found.days[0].pings] == PINGS
    assert packed == 1  # a day of a month ago is packed as it comes


def test_a_name_is_trimmed_and_a_time_before_1970_is_its_beginning(database: Database) -> None:
    early = datetime.fromisoformat("1970-01-01T01:00:00+02:00")
    taken(database, Exported(servers=[ServerKept(name=" web ", ip=IP, added=early)]))
    assert server(database, "web").added == datetime(1970, 1, 1, tzinfo=UTC)


def test_pings_of_a_server_that_is_here_already_are_added_to_it(database: Database) -> None:
    add(database)
    assert taken(database, Exported(days=[A_DAY]), SLOT).pings == 2


def test_a_time_of_1970_is_given_as_it_can_be_taken_again(database: Database) -> None:
    zone = timezone(timedelta(hours=2))
    for added in (datetime(1970, 1, 1, 1, tzinfo=zone), datetime(1970, 1, 1, tzinfo=UTC)):
        taken(database, Exported(servers=[ServerKept(name=str(added), ip=IP, added=added)]))
        with database.reading() as session:
            given = give.page(session, "")
        assert taken(database, given).servers == 0


def test_pings_of_a_server_that_nobody_has_are_refused(database: Database) -> None:
    assert refused(database, days=[A_DAY]) == (
        "pings",
        "server must exist here or be on this page (import the pages in their order), got 'web'",
    )


@pytest.mark.parametrize("second", ["Zu\u0308rich", "Z\u00fcrich "])
def test_a_page_with_one_name_twice_in_whatever_spelling_is_refused(
    database: Database, second: str
) -> None:
    twice = [ServerKept(name=name, ip=IP, added=SLOT) for name in ("Z\u00fcrich", "web", second)]
    assert refused(database, servers=twice) == (
        "servers[2].name",
        "'Z\u00fcrich' appears twice (first: servers[0])",
    )
    assert names(database) == []


def test_two_spellings_from_before_are_taken_where_both_are_here(database: Database) -> None:
    both = [ServerKept(name=name, ip=IP, added=SLOT) for name in ("Zu\u0308rich", "Z\u00fcrich")]
    ids = add(database, "was"), add(database, both[1].name)
    with database.transaction() as session:
        session.execute(update(Server).where(Server.id == ids[0]).values(name=both[0].name))
    assert taken(database, Exported(servers=both)).servers == 0


def test_of_a_page_with_something_wrong_nothing_is_added(database: Database) -> None:
    wrong = DayKept(server="web", date=SLOT.date(), pings=[(0, None, None, None, 3, 4)])
    field, _sentence = refused(database, servers=[WEB], days=[A_DAY, wrong])
    assert (field, names(database)) == ("days[1].pings", [])


# Steps


def a_page(days: int = 250) -> Exported:
    """A page that takes several steps, of a server that is here and of one that isn't."""
    first = NOW.date() - timedelta(days=days)
    kept = [
        DayKept(server=name, date=first + timedelta(days=day), pings=PINGS)
        for name in ("web", "mail")
        for day in range(days)
    ]
    early = NOW - timedelta(days=days)
    return Exported(
        servers=[ServerKept(name=n, ip=IP, added=early) for n in ("web", "mail")], days=kept
    )


def given(database: Database) -> tuple[Exported, list[Any]]:
    """Return what is exported, and what the packed days add up to."""
    with database.reading() as session:
        rows = session.execute(select(DAY).order_by(DAY.c.server_id, DAY.c.date))
        return give.page(session, ""), [tuple(row) for row in rows]


def test_a_page_that_was_cut_off_anywhere_is_finished_by_taking_it_again(
    database: Database,
) -> None:
    add(database)
    page = a_page()
    with database.reading() as session:
        steps = take.steps(session, page, database.settings, NOW)
    assert len(steps) > 4
    done = [database.write(step) for step in steps[: len(steps) // 2]]
    half = given(database)
    assert 0 < len(half[1]) < 500
    assert sum([*done, taken(database, page)], NOTHING) == Imported(
        servers=1, schedules=2, pings=1_000
    )
    whole = given(database)
    assert [database.write(step) for step in steps] == [NOTHING] * len(steps)
    assert given(database) == whole


def test_every_step_may_be_done_twice_and_in_any_order_of_the_days(database: Database) -> None:
    page = a_page()
    with database.reading() as session:
        servers, *days = take.steps(session, page, database.settings, NOW)
    done = [database.write(step) for step in (servers, servers, *days[::-1], *days)]
    assert sum(done, NOTHING) == Imported(servers=2, schedules=2, pings=1_000)
    assert taken(database, page) == NOTHING


def test_the_pings_of_a_server_that_is_deleted_meanwhile_are_passed_over(
    database: Database,
) -> None:
    with database.reading() as session:
        servers, *days = take.steps(session, a_page(), database.settings, NOW)
    database.write(servers)
    database.write(lambda session: change.remove(session, "web"))
    assert sum(map(database.write, days), NOTHING).pings == 500


def test_what_was_measured_here_stays_in_its_slot_and_is_packed_along(database: Database) -> None:
    server_id = add(database)
    record(database, SLOT, [ping(server_id, 7.0)])
    assert taken(database, Exported(days=[A_DAY])).pings == 1
    found, _sums = given(database)
    assert found.days[0].pings == [(421, 7.0, 7.0, 7.0, 4, 4), PINGS[1]]


def test_of_two_pings_of_one_slot_the_first_counts(database: Database) -> None:
    twice = DayKept(server="web", date=SLOT.date(), pings=[PINGS[0], (421, None, None, None, 4, 0)])
    assert taken(database, Exported(servers=[WEB], days=[twice, A_DAY])).pings == 2
    assert given(database)[0].days[0].pings == PINGS


def test_days_are_counted_anew_where_a_schedule_turns_out_to_begin_earlier(
    database: Database,
) -> None:
    add(database)  # due from the day before SLOT on
    earlier = SLOT.date() - timedelta(days=3)
    day = DayKept(server="web", date=earlier, pings=PINGS)
    taken(database, Exported(days=[day, A_DAY]))
    before = [row.unobserved for row in days_of(database)]
    began = SLOT.replace(hour=0, minute=0) - timedelta(days=3)
    planned = PlannedKept(since=began, interval_s=60, enabled=True)
    taken(
        database, Exported(servers=[ServerKept(name="web", ip=IP, added=began, schedule=[planned])])
    )
    assert (before, [row.unobserved for row in days_of(database)]) == ([0, 1_438], [1_438, 1_438])


def days_of(database: Database) -> Sequence[Any]:
    with database.reading() as session:
        return session.execute(select(DAY).order_by(DAY.c.date)).all()


# Tags and parents


def standing(database: Database) -> dict[str, tuple[list[str], str | None]]:
    """Return each server's tags and parent, by its name."""
    with database.reading() as session:
        return {one.name: (list(one.tags), one.parent) for one in find.standings(session, NOW)}


def kept(name: str, *tags: str) -> ServerKept:
    return ServerKept(name=name, ip=IP, added=SLOT, tags=tags)


def test_tags_and_parents_are_taken_also_from_a_later_page(database: Database) -> None:
    taken(database, Exported(servers=[kept("web", "Web", "eu"), kept("mail")]))
    links = [ParentKept(server="web", parent="switch"), ParentKept(server="mail", parent="web")]
    taken(database, Exported(servers=[kept("switch")], parents=links))
    assert standing(database) == {
        "web": (["eu", "web"], "switch"),
        "mail": ([], "web"),
        "switch": ([], None),
    }


def test_what_servers_have_here_stays(database: Database) -> None:
    web = [add(database, name, tags=("own",)) for name in ("switch", "web", "mail")][1]
    with database.transaction() as session:
        parents.put(session, {web: "switch"})
    links = [
        ParentKept(server="web", parent="mail"),
        ParentKept(server="switch", parent="web"),
        ParentKept(server="mail", parent="web"),
        ParentKept(server="mail", parent="switch"),
    ]
    taken(database, Exported(servers=[kept("web", "theirs")], parents=links))
    assert standing(database) == {
        "switch": (["own"], None),
        "web": (["own"], "switch"),
        "mail": (["own"], "web"),
    }


def test_a_parent_that_nobody_is_or_has_is_refused(database: Database) -> None:
    unknown = "server must exist here or be on this page (import the pages in their order), got {}"
    for one in (
        ParentKept(server="web", parent="ghost"),
        ParentKept(server="ghost", parent="web"),
    ):
        found = refused(database, servers=[WEB], parents=[one])
        assert found == ("parents", unknown.format("'ghost'"))
    assert names(database) == []


def test_a_parent_deleted_between_two_steps_is_passed_over(database: Database) -> None:
    add(database, "switch")
    page = Exported(servers=[WEB], parents=[ParentKept(server="web", parent="switch")])
    with database.reading() as session:
        first, second = take.steps(session, page, database.settings, NOW)
    database.write(first)
    database.write(lambda session: change.remove(session, "switch"))
    database.write(second)
    assert standing(database) == {"web": ([], None)}
