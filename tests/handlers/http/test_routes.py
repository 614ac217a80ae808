"""Routes: what each reads of a request, and how what it gives is told."""

from collections.abc import Callable
from http import HTTPStatus
from typing import Any

import msgspec
import pytest
from flask import Flask, Response
from flask.testing import FlaskClient

from core.errors import WrongRequest
from core.reading import Record, Request
from core.settings import Settings
from handlers.http import routes
from handlers.http.errors import reply_with_error
from handlers.http.routes import GRAPHQL_JSON, JSON, PUBLIC, READ, Done, Later, Routes
from handlers.instance import Instance


class Words(Request, frozen=True):
    """A query."""

    name: str = ""
    limit: int = 10
    since: str | msgspec.UnsetType = msgspec.UNSET


class Wanted(Request, frozen=True):
    """A body."""

    name: str


class Shown(Record, frozen=True):
    """A reply."""

    id: int
    name: str


@pytest.fixture
def here() -> Instance:
    """An instance whose database nobody asks."""
    return Instance.of(Settings())


def serving(here: Instance, view: Callable[..., Any], **more: Any) -> FlaskClient:
    """Return a client of an application with one route, `GET` or `POST /things/<id>`."""
    app = Flask("nothing")
    table = Routes()
    method = "POST" if "takes" in more else "GET"
    table(method, "/things/<int:thing_id>", may=PUBLIC, **more)(view)
    routes.register(app, here, table.table)
    app.register_error_handler(WrongRequest, reply_with_error)
    return app.test_client()


def asked(words: str) -> Words:
    """Return what a query asks."""
    with Flask("nothing").test_request_context("/?" + words):
        return routes.query(Words)


# What a route is given


def test_a_view_gets_the_instance_the_query_the_body_and_the_rules_variables(
    here: Instance,
) -> None:
    given: list[object] = []

    def view(*arguments: object, thing_id: int) -> Done:
        given.extend([*arguments, thing_id])
        return Done(status="DONE")

    client = serving(here, view, query=Words, takes=Wanted, gives=Done)
    assert client.post("/things/7?limit=3", json={"name": "x"}).get_json() == {"status": "DONE"}
    assert given == [here, Words(limit=3), Wanted(name="x"), 7]


def test_a_body_may_be_left_out_only_where_the_route_says_so(here: Instance) -> None:
    def view(_here: Instance, wanted: Wanted | None, thing_id: int) -> Shown:
        return Shown(id=thing_id, name=wanted.name if wanted else "nothing")

    needed = serving(here, view, takes=Wanted, gives=Shown)
    assert needed.post("/things/1").status_code == 400
    optional = serving(here, view, takes=Wanted, gives=Shown, body_required=False)
    assert optional.post("/things/1").get_json() == {"id": 1, "name": "nothing"}
    assert optional.post("/things/1", data=b"{}").status_code == 400
    assert optional.post("/things/1", data=b" ").status_code == 400


def test_a_route_that_does_not_say_who_may_call_it_cannot_be_written() -> None:
    with pytest.raises(TypeError, match="may"):
        Routes()("GET", "/new")


def test_each_route_is_in_its_applications_table(here: Instance) -> None:
    table = Routes()
    table("GET", "/a", may=READ)(lambda _here: Response())
    app, other = Flask("nothing"), Flask("nothing")
    routes.register(app, here, table.table)
    assert list(routes.routes_of(app)) == ["GET /a"]
    assert routes.routes_of(other) == {}


def test_a_view_in_a_module_of_its_own_is_loaded_at_its_first_call() -> None:
    later = Later("json.dumps")
    assert "view" not in vars(later)
    assert later([1], indent=None) == "[1]"
    assert Later("no.such.module").place == "no.such.module"


# Queries


def test_a_query_is_read_by_its_shape() -> None:
    assert asked("") == Words()
    assert asked("name=a%20b+c&limit=7") == Words(name="a b c", limit=7)
    assert asked("name=&since=") == Words(since="")
    assert asked("name=%C3%A9%00") == Words(name="é\0")


@pytest.mark.parametrize(
    ("words", "field"),
    [
        ("limit=x", "limit"),
        ("limit=", "limit"),
        ("limit=1.5", "limit"),
        ("limit=1&limit=2", "limit"),
        ("name=a&name=a", "name"),
        ("other=1", "other"),
        ("Name=a", "Name"),
        ("name=%FF", None),
        ("name=%ED%A0%80", None),
        ("%FF=a", None),
    ],
)
def test_what_a_query_may_not_hold_is_refused_by_its_name(words: str, field: str | None) -> None:
    with pytest.raises(WrongRequest) as refused:
        asked(words)
    assert refused.value.field == field


def test_octets_that_are_no_utf_8_are_refused() -> None:
    environ = {"QUERY_STRING": "name=\xff"}
    with (
        Flask("nothing").test_request_context("/", environ_overrides=environ),
        pytest.raises(WrongRequest),
    ):
        routes.query(Words)


# Replies


def test_a_record_is_told_as_json_with_the_routes_status_and_address(here: Instance) -> None:
    client = serving(
        here,
        lambda _here, thing_id: Shown(id=thing_id, name="é"),
        gives=Shown,
        status=HTTPStatus.CREATED,
        location=lambda shown: f"/things/{shown.id}",
    )
    response = client.get("/things/7")
    assert (response.status_code, response.headers["Location"]) == (201, "/things/7")
    assert response.content_type == "application/json"
    assert response.data == '{"id":7,"name":"é"}'.encode()


def test_a_response_is_left_as_the_view_made_it(here: Instance) -> None:
    client = serving(here, lambda _here, thing_id: Response("x", 202), gives=Shown, fresh=True)
    response = client.get("/things/7")
    assert (response.status_code, response.data) == (202, b"x")
    assert "ETag" not in response.headers


def test_what_the_client_has_already_is_left_out(here: Instance) -> None:
    named = ["a"]
    client = serving(
        here, lambda _here, thing_id: Shown(id=thing_id, name=named[0]), gives=Shown, fresh=True
    )
    first = client.get("/things/7")
    tag = first.headers["ETag"]
    assert tag.startswith('W/"')
    assert first.headers["Cache-Control"] == "private, no-cache"
    for known in (tag, tag.removeprefix("W/"), f'"x", {tag}', "*"):
        again = client.get("/things/7", headers={"If-None-Match": known})
        assert (again.status_code, again.data, again.headers["ETag"]) == (304, b"", tag)
    named[0] = "b"
    changed = client.get("/things/7", headers={"If-None-Match": tag})
    assert (changed.status_code, changed.get_json()["name"]) == (200, "b")
    assert changed.headers["ETag"] != tag


def test_what_is_not_fresh_carries_no_tag(here: Instance) -> None:
    client = serving(here, lambda _here, thing_id: Shown(id=thing_id, name=""), gives=Shown)
    assert "ETag" not in client.get("/things/7").headers


@pytest.mark.parametrize(
    ("accept", "media"),
    [
        ("", JSON),
        ("*/*", JSON),
        (JSON, JSON),
        ("text/html", JSON),
        (GRAPHQL_JSON, GRAPHQL_JSON),
        (f"{GRAPHQL_JSON}; charset=utf-8", GRAPHQL_JSON),
        (f"{GRAPHQL_JSON}, {JSON}", GRAPHQL_JSON),
        (f"{GRAPHQL_JSON}, {JSON};q=0.9", GRAPHQL_JSON),
        (f"{GRAPHQL_JSON};q=0.5, {JSON}", JSON),
        (f"{GRAPHQL_JSON};q=0.5, */*", JSON),
        (f"{GRAPHQL_JSON};q=0", JSON),
        (f"application/*, {GRAPHQL_JSON};q=0.1", JSON),
    ],
)
def test_the_newer_media_type_of_graphql_is_for_those_who_ask_for_it(
    accept: str, media: str
) -> None:
    with Flask("nothing").test_request_context("/graphql", headers={"Accept": accept}):
        assert routes.graphql_media() == media
