"""The application as a function: every kind of event, pages too, and one that can't be built."""

from typing import Any

import pytest

from handlers.functions import api
from tests.cloud import Context
from tests.handlers.functions.events import (
    KINDS,
    WEB,
    answer,
    content_type,
    is_a_clean_answer,
    payload_1,
    payload_2,
)


@pytest.mark.parametrize("kind", KINDS)
def test_the_contracts_five_calls_go_through_every_kind_of_event(deployed: None, kind: Any) -> None:
    assert answer(kind("POST", WEB)) == (201, {"status": "CREATED"})
    assert answer(kind("POST", WEB)) == (409, {"status": "NAME_ALREADY_EXIST"})
    assert answer(kind("PUT", WEB)) == (200, {"status": "UPDATED"})
    assert answer(kind("GET")) == (200, {"servers": ["web"]})
    assert answer(kind("GET", {"server": "web"})) == (200, {"server": "web", "pings": []})
    assert answer(kind("DELETE", {"server": "web"})) == (200, {"status": "DELETED"})


def test_an_application_that_can_not_be_built_is_unavailable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DATABASE_URL", "mysql://x")
    api.warm_app.cache_clear()
    assert answer(payload_2()) == (503, {"status": "SERVICE_UNAVAILABLE"})


def test_a_page_is_an_answer_too(deployed: None) -> None:
    for event in (payload_2(rawPath="/login"), payload_1(path="/login")):
        reply = api.handler(event, Context())
        assert "text/html" in content_type(reply)
        is_a_clean_answer(reply)
