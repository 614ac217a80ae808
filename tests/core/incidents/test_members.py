"""A group's incident from its first member to its last."""

from datetime import timedelta

from sqlalchemy import select

from core.incidents import change, find
from core.incidents.records import How, IncidentsQuery, Resolution, Standing
from core.models import JUDGED
from core.servers import change as servers
from core.servers.records import ServerChange
from infra.database import Database
from tests.core.incidents.fleets import fleet, incidents, lines, members, shown, together
from tests.core.incidents.rounds import begin
from tests.infra.rows import MINUTE, SLOT


def test_it_is_over_when_the_last_one_is_good(database: Database) -> None:
    ids = fleet(database, 5)
    letters = dict.fromkeys(ids[:4], "bbgggg") | {ids[4]: "bbbbgg"}
    slot = together(database, {one: said[:5] for one, said in letters.items()})
    [one] = incidents(database)
    assert (one.state, one.servers) == (Standing.OPEN, 5)
    told = shown(database, one.id)
    assert members(told) == [ids[4], *ids[:4]]
    assert [member.until for member in told.members] == [None, *4 * [SLOT + 2 * MINUTE]]
    together(database, dict.fromkeys(ids, "g"), slot)
    [one] = incidents(database)
    assert (one.resolved, one.how) == (SLOT + 4 * MINUTE, How.GOOD)
    assert lines(shown(database, one.id)) == [
        ("opened", None),
        ("left", "4 servers"),
        ("resolved", None),
    ]


def test_who_is_bad_soon_again_is_back_in_it(database: Database) -> None:
    ids = fleet(database, 5)
    together(database, dict.fromkeys(ids[:4], "bb" + "b" * 4) | {ids[4]: "bbggbb"})
    [one] = incidents(database)
    assert members(shown(database, one.id)) == ids
    assert [line for line, _ in lines(shown(database, one.id))] == ["opened", "left", "joined"]


def test_one_of_them_soon_again_opens_it_again(database: Database) -> None:
    ids = fleet(database, 5)
    together(database, dict.fromkeys(ids[:4], "bbgggg") | {ids[4]: "bbggbb"})
    [one] = incidents(database)
    assert (one.state, one.flaps, one.servers) == (Standing.OPEN, 1, 5)
    assert [line for line, _ in lines(shown(database, one.id))] == [
        "opened",
        "resolved",
        "reopened",
    ]


def test_it_flaps_when_one_of_them_does(database: Database) -> None:
    ids = fleet(database, 5)
    flapping = "bb" + 4 * "ggbb"
    slot = together(database, dict.fromkeys(ids[:4], "b" * 18) | {ids[4]: flapping})
    assert [one.flapping for one in incidents(database)] == [True]
    together(database, dict.fromkeys(ids, "g" * 15), slot)
    assert [(one.flapping, one.how) for one in incidents(database)] == [(False, How.GOOD)]


def test_who_is_no_longer_watched_leaves_and_stays_readable(database: Database) -> None:
    ids = fleet(database, 5)
    slot = together(database, dict.fromkeys(ids, "bb"))
    before = slot - timedelta(seconds=1)
    with database.transaction() as session:
        servers.remove(session, "s0")
        for server_id in ids[1:]:
            servers.alter(
                session, server_id, ServerChange(enabled=False), database.settings, before
            )
    begin(database, slot + 2 * MINUTE)
    [one] = incidents(database)
    assert (one.how, one.servers) == (How.PAUSED, 5)
    told = shown(database, one.id)
    assert [member.server.name for member in told.members] == ["s0", "s1", "s2", "s3", "s4"]
    assert members(told) == [None, *ids[1:]]
    with database.reading() as session:
        assert session.execute(select(JUDGED)).all() == []


def test_resolved_by_hand_everybody_is_judged_anew(database: Database) -> None:
    ids = fleet(database, 5)
    slot = together(database, dict.fromkeys(ids, "bb"))
    [one] = incidents(database)
    with database.transaction() as session:
        change.resolve(session, one.id, Resolution(), "ada", slot)
    assert all(member.until == slot for member in shown(database, one.id).members)
    slot = together(database, dict.fromkeys(ids, "b"), slot)
    assert len(incidents(database)) == 1
    together(database, dict.fromkeys(ids, "b"), slot)
    assert [one.how for one in incidents(database)] == [How.HAND, None]


def test_incidents_of_a_member_are_found_by_it(database: Database) -> None:
    ids = fleet(database, 6)
    together(database, dict.fromkeys(ids[:5], "bb") | {ids[5]: "gg"})
    with database.reading() as session:
        for server_id, number in (ids[0], 1), (ids[5], 0):
            page = find.page(session, IncidentsQuery(server=server_id), SLOT)
            assert len(page.incidents) == number
