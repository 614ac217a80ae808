"""Servers as wanted: each field read once, refused with a reason that names it."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.checks.records import Probe
from core.errors import WrongRequest
from core.models import Base
from core.servers.records import (
    FIELDS,
    BulkServer,
    ServerChange,
    ServerWanted,
    server_ip,
    server_name,
)

WEB = {"name": "web", "ip": "192.0.2.1"}


@pytest.mark.parametrize("ip", ["0.0.0.0", "1.2.3.4", "255.255.255.255", "10.0.0.1"])
def test_a_dotted_quad_is_taken_as_it_is(ip: str) -> None:
    assert server_ip(ip) == ip


@given(value=st.text() | st.integers() | st.none() | st.booleans() | st.floats())
def test_whatever_is_taken_as_an_address_is_a_dotted_quad(value: object) -> None:
    try:
        taken = server_ip(value)
    except WrongRequest:
        return
    assert taken == value
    assert [str(int(part)) for part in taken.split(".")] == taken.split(".")


@given(value=st.text(st.characters()))
def test_whatever_is_taken_as_a_name_is_taken_again_and_can_be_stored(value: str) -> None:
    try:
        name = server_name(value)
    except WrongRequest:
        return
    assert server_name(name) == name
    assert 1 <= len(name) <= 255
    assert name == name.strip()
    assert "\0" not in name
    assert name.encode().decode() == name


@pytest.mark.parametrize("shape", [ServerChange, BulkServer, ServerWanted])
def test_each_field_is_one_of_every_shape_and_a_column(shape: type[ServerChange]) -> None:
    assert set(shape.__struct_fields__) == {field.name for field in FIELDS}
    for field in FIELDS:
        columns = Base.metadata.tables[field.table].columns
        assert {field.name, field.name.removesuffix("s"), f"{field.name}_id"} & {*columns.keys()}


def test_what_is_not_said_of_a_server_is_not_there() -> None:
    assert BulkServer.of(WEB).said() == WEB
    assert ServerChange.of({}).said() == {}
    assert ServerChange.of({"port": None}).said() == {"port": None}


def test_a_new_server_is_probed_as_it_can_be_and_at_once() -> None:
    defaults = {"probe": Probe.AUTO, "port": None, "enabled": True, "tags": (), "parent": None}
    assert ServerWanted.of(WEB).said() == WEB | defaults


def test_tags_are_in_lower_case_each_once_and_sorted() -> None:
    wanted = ServerWanted.of(WEB | {"tags": ["web", "EU-1", "Web", "_x", "a.b", "-"]})
    assert wanted.tags == ("-", "_x", "a.b", "eu-1", "web")
    most = [f"{number:040}" for number in range(20)]
    assert ServerChange.of({"tags": most}).said() == {"tags": tuple(most)}


def test_no_tags_and_no_parent_can_be_said() -> None:
    assert ServerChange.of({"tags": [], "parent": None}).said() == {"tags": (), "parent": None}


def test_values_are_as_json_has_them() -> None:
    wanted = ServerWanted.of(WEB | {"name": " web ", "probe": "tcp", "port": 443.0})
    assert (wanted.name, wanted.probe, wanted.port) == ("web", Probe.TCP, 443)


@pytest.mark.parametrize(
    ("body", "field", "reason"),
    [
        ([], None, r"a server must be an object with name and ip, got a list of 0"),
        ({"name": "web"}, "ip", "ip is missing"),
        (WEB | {"id": 7}, "id", "unknown field 'id'; known fields: name, ip, probe, port"),
        (WEB | {"name": "\n"}, "name", "name must not contain control characters"),
        (WEB | {"ip": "example.com"}, "ip", "such as 192.0.2.10, got 'example.com'"),
        (WEB | {"ip": None}, "ip", "ip must be an IPv4 address such as 192.0.2.10, got null"),
        (WEB | {"probe": "udp"}, "probe", "probe must be auto, icmp or tcp, got 'udp'"),
        (WEB | {"port": 70000}, "port", "port must be 1 to 65535, got 70000"),
        (WEB | {"port": True}, "port", "port must be 1 to 65535, got true"),
        (WEB | {"interval_s": 7}, "interval_s", "such as 60 or 300, got 7"),
        (WEB | {"enabled": "no"}, "enabled", "enabled must be yes or no .*, got 'no'"),
        (WEB | {"tags": "web"}, "tags", "tags must be a list of texts, got 'web'"),
        (WEB | {"tags": None}, "tags", "tags must be a list of texts, got null"),
        (WEB | {"tags": ["a b"]}, "tags", "tags must each be 1 to 40 of a-z, .*, got 'a b'"),
        (WEB | {"tags": ["a" * 41]}, "tags", "tags must each be 1 to 40 of a-z"),
        (WEB | {"tags": ["a", ""]}, "tags", "tags must each be 1 to 40 of a-z, .*, got ''"),
        (WEB | {"tags": ["web\n"]}, "tags", "tags must each be 1 to 40 of a-z"),
        (WEB | {"tags": ["\u212a"]}, "tags", "tags must each be 1 to 40 of a-z"),
        (WEB | {"tags": [7]}, "tags", "tags must each be 1 to 40 of a-z, .*, got 7"),
        (WEB | {"tags": ["web"] * 21}, "tags", "tags must be at most 20, got 21"),
        (WEB | {"parent": 7}, "parent", "parent must be text, got 7"),
        (WEB | {"parent": " "}, "parent", "parent must be 1 to 255 characters long, got 0"),
    ],
)
def test_a_reason_says_what_is_right_and_what_came(body: Any, field: str, reason: str) -> None:
    for shape in (ServerWanted, BulkServer):
        with pytest.raises(WrongRequest, match=reason) as refusal:
            shape.of(body)
        assert refusal.value.field == field
