"""Records of an export: what they carry, and what no export can hold."""

from typing import Any

import msgspec
import pytest

from core.errors import WrongRequest
from core.export.records import PLAIN, Exported, ServerKept
from core.models import SERVER, Server
from core.reading import convert
from core.slots import EPOCH

SERVER_KEPT = {"name": "web", "ip": "192.0.2.1", "added": "2026-01-01T00:00:00Z"}
DAY_KEPT = {"server": "web", "date": "2026-01-01", "pings": []}


def field(page: dict[str, Any]) -> str | None:
    """Return the field for which this page is refused."""
    with pytest.raises(WrongRequest) as refused:
        convert(Exported, page)
    return refused.value.field


def test_an_export_carries_every_column_of_a_server() -> None:
    kept = {getattr(Server, name).key for name in PLAIN}
    newest = {"last_slot", "last_ms", "last_sent", "last_received"}
    assert kept | newest | {"id", "revision"} == {
        Server.__mapper__.get_property_by_column(c).key for c in SERVER.columns
    }


def test_an_empty_page_is_a_page() -> None:
    assert convert(Exported, {}) == Exported()


def test_what_is_left_out_of_a_server_is_as_it_is_for_a_new_one() -> None:
    [server] = convert(Exported, {"servers": [SERVER_KEPT]}).servers
    assert server == ServerKept(name="web", ip="192.0.2.1", added=server.added)
    assert server.added > EPOCH
    assert (server.probe, server.port, server.last_ping, server.schedule) == (
        "auto",
        None,
        None,
        [],
    )


@pytest.mark.parametrize(
    ("wrong", "place"),
    [
        ({"name": ""}, "name"),
        ({"name": "n" * 256}, "name"),
        ({"name": "two\nlines"}, "name"),
        ({"added": "2026-01-01T00:00:00"}, "added"),
        ({"probe": "udp"}, "probe"),
        ({"port": 65_536}, "port"),
        ({"last_ping": {}}, "last_ping.slot"),
        ({"schedule": [{"since": "2026-01-01T00:00:00Z"}]}, "schedule[0].interval_s"),
        ({"colour": "red"}, "colour"),
        ({"tags": ["a b"]}, "tags[0]"),
        ({"tags": ["a"] * 21}, "tags"),
    ],
)
def test_what_no_server_is_kept_as_is_refused_with_its_place(
    wrong: dict[str, object], place: str
) -> None:
    assert field({"servers": [SERVER_KEPT, SERVER_KEPT | wrong]}) == f"servers[1].{place}"


@pytest.mark.parametrize(
    ("tags", "told"),
    [
        (["a b"], "tags[0] must be 1 to 40 of a-z, 0-9, . _ and -, got 'a b'"),
        (["eu", 7], "tags[1] must be 1 to 40 of a-z, 0-9, . _ and -, got 7"),
        ("eu", "tags must be a list of at most 20, got 'eu'"),
        (["eu"] * 21, "tags must be a list of at most 20, got a list of 21"),
    ],
)
def test_a_wrong_tag_is_told_in_words(tags: object, told: str) -> None:
    with pytest.raises(WrongRequest) as refused:
        convert(Exported, {"servers": [SERVER_KEPT | {"tags": tags}]})
    assert str(refused.value) == told


@pytest.mark.parametrize(
    ("row", "place"),
    [
        ([1_440, None, None, None, 4, 0], "[0][0]"),
        ([0, -1, 1, 1, 4, 4], "[0][1]"),
        ([0, 1, 1, 3_600_001, 4, 4], "[0][3]"),
        ([0, 1, 1, 1, 1_001, 4], "[0][4]"),
        ([0, 1, 1, 1, 4], "[0]"),
    ],
)
def test_what_no_ping_is_kept_as_is_refused_with_its_place(row: list[Any], place: str) -> None:
    assert field({"days": [DAY_KEPT | {"pings": [row]}]}) == f"days[0].pings{place}"


def test_a_page_goes_out_as_it_comes_in() -> None:
    ping = [3, 1.5, 1.0, 2.0, 4, 4]
    link = {"server": "web", "parent": "switch"}
    page = {"servers": [], "parents": [link], "days": [DAY_KEPT | {"pings": [ping]}], "next": "7"}
    assert msgspec.json.decode(msgspec.json.encode(convert(Exported, page))) == page
