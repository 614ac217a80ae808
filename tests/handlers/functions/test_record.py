"""The round's end on AWS: results become rows, once, whatever else a queue brings."""

import itertools
import json
import random
from datetime import datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text

from core import slots
from core.clock import utc_now
from core.incidents import find as find_incidents
from core.rounds import log as round_log
from core.rounds.messages import Results
from core.servers import change, find
from core.servers.records import ServerWanted
from core.settings import Settings
from handlers.functions.record import Recorder
from handlers.worker import rounds
from infra.database import Database
from tests.cloud import event_of, failed
from tests.counts import EVENTS, MESSAGES, examples
from tests.handlers.functions.messages import MINUTE, POISON, SLOT, names, results_of
from tests.infra.rows import IP, add_many, ping, rows_in, stored
from tests.infra.rows import server as server_row


def test_results_become_rows(recorder: Recorder) -> None:
    ids = add_many(recorder.database, names(3))
    assert failed(recorder.answer(event_of(results_of(SLOT, *ids)))) == []
    assert stored(recorder.database) == [(server_id, SLOT, 1.5) for server_id in ids]


def test_results_delivered_again_and_out_of_order_change_nothing_and_lose_nothing(
    recorder: Recorder,
) -> None:
    """Issue 6: 1,000 messages, 30 % duplicated, shuffled, some a day late."""
    chance = random.Random(6)
    ids = add_many(recorder.database, names(10))
    slots = [SLOT + n * MINUTE for n in range(MESSAGES // 10)]
    groups = [ids[n : n + 1] for n in range(10)]
    texts = [results_of(slot, *group) for slot in slots for group in groups]
    texts += chance.sample(texts, k=3 * len(texts) // 10)
    chance.shuffle(texts)
    late = results_of(SLOT - timedelta(days=1), *ids)
    texts.insert(len(texts) // 2, late)
    newest: dict[int, datetime] = {}
    for start in range(0, len(texts), 10):
        assert failed(recorder.answer(event_of(*texts[start : start + 10]))) == []
        newest = _never_back(recorder.database, newest)
    assert len(stored(recorder.database)) == len(ids) * (len(slots) + 1)
    assert set(newest.values()) == {slots[-1]}


def test_results_make_incidents_whatever_their_order(recorder: Recorder) -> None:
    ids = add_many(recorder.database, names(2))
    later = SLOT + MINUTE
    rounds.close(recorder.database, SLOT)
    with recorder.database.transaction() as session:
        round_log.begin(session, later, len(ids), later)
    down = [
        next(iter(Results(slot, [ping(server_id, None)], []).texts()))
        for slot in (later, SLOT)
        for server_id in ids
    ]
    for text_ in [*down[:3], *down]:
        assert failed(recorder.answer(event_of(text_))) == []
    with recorder.database.reading() as session:
        found = find_incidents.open_ones(session, later)
    assert [one.server and one.server.id for one in found] == ids
    assert {(one.opened, one.confirmed) for one in found} == {(SLOT, later)}


def _never_back(database: Database, before: dict[int, datetime]) -> dict[int, datetime]:
    with database.reading() as session:
        found = {row.id: row.last_slot for row in find.everything(session) if row.last_slot}
    assert all(found[server_id] >= slot for server_id, slot in before.items())
    return found


def test_what_one_prober_could_not_see_is_not_down_and_what_another_saw_is(
    recorder: Recorder,
) -> None:
    [one, other] = add_many(recorder.database, names(2))
    for slot, heard in ((SLOT, [True, True]), (SLOT + MINUTE, [False, True])):
        texts = [
            text
            for server_id, did in zip((one, other), heard, strict=True)
            for text in Results(slot, [ping(server_id, None)], [], heard={IP: did}).texts()
        ]
        assert failed(recorder.answer(event_of(*texts))) == []
    found = [(server_id, slot) for server_id, slot, _ in stored(recorder.database)]
    assert found == [(one, SLOT), (other, SLOT), (other, SLOT + MINUTE)]


def test_of_ten_messages_with_one_poisonous_only_that_fails_and_nine_are_recorded_once(
    recorder: Recorder,
) -> None:
    """Issue 6: 100 events, each with another poison in another place."""
    ids = add_many(recorder.database, names(9))
    for number in range(100):
        slot = SLOT + number * MINUTE
        texts = [results_of(slot, server_id) for server_id in ids]
        place = number % 10
        texts.insert(place, POISON[number % len(POISON)])
        assert failed(recorder.answer(event_of(*texts))) == [str(place)]
    assert len(stored(recorder.database)) == 900


def test_one_ping_that_can_not_be_read_costs_the_others_in_its_message_nothing(
    recorder: Recorder,
) -> None:
    ids = add_many(recorder.database, names(2))
    body = json.loads(results_of(SLOT, *ids))
    body["pings"].insert(1, ["DROP TABLE data", None])
    assert failed(recorder.answer(event_of(json.dumps(body)))) == []
    assert rows_in(recorder.database, SLOT) == 2


def test_a_slot_in_the_far_future_would_hide_all_later_pings_and_is_refused(
    recorder: Recorder,
) -> None:
    (server_id,) = add_many(recorder.database, ["web"])
    future = slots.slot_of(utc_now()) + timedelta(hours=1)
    assert failed(recorder.answer(event_of(results_of(future, server_id)))) == ["0"]
    assert server_row(recorder.database).last_slot is None


def test_while_the_database_is_away_messages_stay_in_the_queue() -> None:
    away = Database(Settings(database_url="postgresql://x@127.0.0.1:9/x", connect_timeout_s=0.1))
    reply = Recorder(away).answer(event_of(results_of(SLOT, 1), results_of(SLOT + MINUTE, 1)))
    assert failed(reply) == ["0", "1"]


def test_a_message_that_only_the_database_refuses_fails_alone(postgres_settings: Settings) -> None:
    database = Database(postgres_settings)
    ids = add_many(database, names(3))
    with database.transaction() as session:
        # A rule that the border knows nothing of.
        session.execute(text("ALTER TABLE data ADD CONSTRAINT odd CHECK (response_time <> 7)"))
    try:
        texts = [results_of(SLOT, ids[0]), results_of(SLOT, ids[1], ms=7), results_of(SLOT, ids[2])]
        assert failed(Recorder(database).answer(event_of(*texts))) == ["1"]
        assert rows_in(database, SLOT) == 2
    finally:
        with database.transaction() as session:
            session.execute(text("ALTER TABLE data DROP CONSTRAINT odd"))
        database.engine.dispose()


@given(st.data())
@examples(40, EVENTS)
def test_whatever_a_queue_brings_no_row_is_lost_or_doubled(
    recorder: Recorder, data: st.DataObject
) -> None:
    """Good messages among any others: each is there once, and only the others fail."""
    slot = SLOT + next(FRESH) * MINUTE
    with recorder.database.transaction() as session:
        known = list(find.names(session))
        if not known:
            for name in names(5):
                wanted = ServerWanted(name=name, ip="192.0.2.1")
                change.add(session, wanted, recorder.database.settings, SLOT)
        ids = [row.id for row in find.everything(session)]
    good = data.draw(st.lists(st.sampled_from(ids), max_size=6))
    bad = data.draw(st.lists(st.sampled_from(POISON) | st.text(max_size=50), max_size=4))
    texts = [(results_of(slot, server_id), True) for server_id in good]
    texts = data.draw(st.permutations(texts + [(nonsense, False) for nonsense in bad]))
    reply = recorder.answer(event_of(*(body for body, _ in texts)))
    assert failed(reply) == [str(n) for n, (_, fine) in enumerate(texts) if not fine]
    assert rows_in(recorder.database, slot) == len(set(good))


FRESH = itertools.count()
