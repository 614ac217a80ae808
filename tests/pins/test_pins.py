"""What Pinglet v0.1.0 does, seen from outside, is what it does today."""

from collections.abc import Iterator
from contextlib import suppress
from difflib import unified_diff
from pathlib import Path

import pytest
from werkzeug.exceptions import HTTPException

from tests.pins import pins, replies
from tests.pins.pins import Look
from tests.pins.world import KINDS, NOW, World, stopped
from tests.postgres import Postgres

KEPT = Path(__file__).parent / "kept"
pytestmark = pytest.mark.xdist_group("pins")  # they share one world


@pytest.fixture(scope="module")
def world(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Both databases, made once."""
    made = World(tmp_path_factory.mktemp("pins"), postgres)
    yield made
    made.close()


@pytest.mark.parametrize(
    ("name", "kind", "look"), [pytest.param(*one, id="-".join(one[:2])) for one in pins.looks()]
)
def test_what_is_seen_from_outside_is_what_was(
    world: World, name: str, kind: str, look: Look
) -> None:
    kept = (KEPT / name).read_text(encoding="utf-8")
    now = look(world, kind)
    assert list(unified_diff(kept.splitlines(), now.splitlines(), "kept", "now", n=4)) == []


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("form", ["json", "csv"])
def test_what_was_exported_can_be_imported_again(world: World, kind: str, form: str) -> None:
    empty = world.place(kind, f"from_{form}", opened=True)
    with stopped(NOW):
        for page in pins.pages(world.open_to_all(kind), form):
            answer = empty.client.post(f"/api/v1/import?format={form}", data=page.encode())
            assert answer.status_code == 200, answer.text
        again = "".join(pins.pages(empty, form))
    assert again == pins.exported(world, kind, form)


def test_every_route_is_asked(world: World) -> None:
    place = world.open_to_all("sqlite")
    urls = place.app.url_map.bind("localhost")
    asked = set()
    for call in replies.bare(place):
        with suppress(HTTPException):
            rule, _ = urls.match(call.path, method=call.method, return_rule=True)
            asked.add(rule.rule)
    left_out = {rule.rule for rule in place.app.url_map.iter_rules()} - asked
    # Another call asks that one, of a server that takes no time.
    assert left_out == {"/api/v1/servers/<int:server_id>/ping"}
