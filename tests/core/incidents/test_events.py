"""What people changed of what Pinglet does by itself."""

from core.incidents import events
from core.incidents.records import Deed, Event, EventsQuery
from infra.database import Database
from tests.core.incidents.rounds import minutes
from tests.infra.rows import MINUTE, SLOT, add


def wrote(database: Database, *notes: str) -> None:
    with database.transaction() as session:
        for number, note in enumerate(notes):
            events.note(session, Deed.RULE_MADE, SLOT + number * MINUTE, "ada", note)


def shown(database: Database, **words: int) -> tuple[list[Event], int | None]:
    with database.reading() as session:
        page = events.page(session, EventsQuery(**words))
    return page.events, page.next


def test_the_newest_come_first_and_the_pages_go_on(database: Database) -> None:
    wrote(database, "a", "b", "c")
    newest, after = shown(database, limit=2)
    assert [one.note for one in newest] == ["c", "b"]
    assert after == newest[-1].id
    rest, after = shown(database, limit=2, before=after)
    assert [(one.note, one.at, one.who, one.kind) for one in rest] == [
        ("a", SLOT, "ada", Deed.RULE_MADE)
    ]
    assert after is None
    assert shown(database, before=2**70) == shown(database)


def test_the_timelines_of_incidents_are_apart(database: Database) -> None:
    minutes(database, add(database), "bb")
    assert shown(database) == ([], None)


def test_a_long_note_is_kept_whole(database: Database) -> None:
    wrote(database, "é" * 2_000)
    assert shown(database)[0][0].note == "é" * 2_000
