"""Many servers at once, beside others who change the same ones: nobody waits in a circle."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
from flask import Flask

from core.settings import Settings
from handlers.http.app import create_app
from tests.handlers.calls import server
from tests.handlers.races import Racer, meet, packs, puts, records, removes, renames, takes


@pytest.fixture
def app(postgres_settings: Settings) -> Iterator[Flask]:
    made = create_app(replace(postgres_settings, authentication=False))
    yield made
    made.extensions["pinglet"].database.engine.dispose()


@pytest.mark.parametrize(
    "racers",
    [
        pytest.param(
            [renames(1, "x", "a"), renames(2, "y", "b"), puts("y", "b", "x", "a")],
            id="two renames and a bulk upsert",
        ),
        pytest.param(
            [renames(1, "x", "a"), renames(2, "y", "b"), puts("y", "b", "x", "a", upsert=False)],
            id="two renames and a bulk insert",
        ),
        pytest.param(
            [renames(1, "b", "a"), renames(2, "a", "b"), renames(3, "a", "c")],
            id="names that go round",
        ),
        pytest.param(
            [puts("a", "b", "c", "new", "more"), puts("more", "new", "c", "b", "a")],
            id="two bulk upserts in opposite orders",
        ),
        pytest.param(
            [
                takes("a", "b", "c", "new"),
                takes("new", "c", "b", "a"),
                puts("new", "b", "a"),
                records(3, 2, 1),
                packs(1, 2, 3),
            ],
            id="imports, a bulk upsert, a round, packing",
        ),
        pytest.param(
            [
                removes("c", "new"),
                takes("new", "c", "a"),
                puts("a", "new", "c"),
                records(1, 2, 3),
                renames(1, "x", "a"),
            ],
            id="removals",
        ),
    ],
)
def test_nobody_is_refused_and_nobody_waits_in_a_circle(
    app: Flask, racers: list[Racer], caplog: pytest.LogCaptureFixture
) -> None:
    clients = [app.test_client() for _racer in racers]
    for name in "abc":
        clients[0].post("/", data=server(name))
    answers = set().union(*meet(clients, racers))
    assert answers <= {200, 404, 409}
    assert [line for line in caplog.messages if "made way" in line] == []
