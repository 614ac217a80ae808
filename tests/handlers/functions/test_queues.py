"""What a queue brings: events that are none, records that are no messages."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.clock import utc_now
from core.errors import WrongRequest
from handlers.functions.probe import Prober
from handlers.functions.record import Recorder
from infra.database import Database
from tests.cloud import failed
from tests.counts import EVENTS, examples
from tests.handlers.functions.messages import FAST, NO_EVENTS


@pytest.mark.parametrize("event", NO_EVENTS)
def test_an_event_that_is_not_of_a_queue_is_refused(database: Database, event: object) -> None:
    for answers in (Recorder(database).answer, Prober(FAST, utc_now()).answer):
        with pytest.raises(WrongRequest):
            answers(event)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=9),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["Records", "messageId", "body", "time", "source"]), inner
            )
        ),
    )
)
@examples(100, EVENTS)
def test_records_that_are_no_messages_fail_or_make_the_whole_event_come_again(
    recorder: Recorder, event: Any
) -> None:
    for answers in (recorder.answer, Prober(FAST, utc_now()).answer):
        try:
            kept = failed(answers(event))
        except WrongRequest:
            continue
        assert len(kept) == len({record["messageId"] for record in event["Records"]})
