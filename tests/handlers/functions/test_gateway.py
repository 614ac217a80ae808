"""Any event gets an answer: requests the application's, everything else the contract's 400."""

import base64
import json
from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask, Response, request
from hypothesis import given
from hypothesis import strategies as st

from handlers.functions import api, gateway
from tests.cloud import Context, event_of
from tests.counts import EVENTS, examples
from tests.handlers.functions.events import (
    HOST,
    KINDS,
    WEB,
    answer,
    balancer,
    is_a_clean_answer,
    payload_1,
    payload_2,
)


@pytest.mark.parametrize(
    "event",
    [
        payload_2(rawQueryString="server=a%20%26%20b"),
        payload_1(queryStringParameters={"server": "a & b"}),
        payload_1(multiValueQueryStringParameters={"server": ["a & b"]}),
        balancer(queryStringParameters={"server": "a%20%26%20b"}),
    ],
    ids=["2.0", "1.0", "1.0 multi", "balancer"],
)
def test_a_name_in_the_query_arrives_as_it_was_meant(deployed: None, event: Any) -> None:
    answer(payload_2("POST", {"server": {"name": "a & b", "IP": "192.0.2.1"}}))
    assert answer(event) == (200, {"server": "a & b", "pings": []})


@pytest.mark.parametrize("kind", KINDS)
def test_a_body_in_base64_is_decoded(deployed: None, kind: Any) -> None:
    encoded = base64.b64encode(json.dumps(WEB).encode()).decode()
    event = kind("POST") | {"body": encoded, "isBase64Encoded": True}
    assert answer(event) == (201, {"status": "CREATED"})


REFUSED = [
    None,
    7,
    "text",
    [],
    {},
    {"source": "aws.events", "detail-type": "Scheduled Event"},
    {"source": "serverless-plugin-warmup"},
    {"_serverless-wsgi": {"command": "exec", "data": "print(1)"}},
    event_of("message"),
    payload_2(headers=None, rawPath=None),
    payload_2(headers=[HOST]),
    payload_2(headers={"host": 7}),
    payload_2(headers={"ho st": HOST}),
    payload_2(headers={"host": HOST, "x": "a\r\nb"}),
    payload_2(headers={"host": HOST, "x": "\ud800"}),
    payload_2(requestContext=None),
    payload_2(requestContext={"http": None}),
    payload_2(method=""),
    payload_2(rawPath="no slash"),
    payload_2(rawPath="/\ud800"),
    payload_2(rawQueryString=["a"]),
    payload_2(cookies="a=b"),
    payload_2(cookies=[7]),
    payload_2(body=None, isBase64Encoded="yes"),
    payload_2() | {"body": "%%%", "isBase64Encoded": True},
    payload_2() | {"body": 7},
    payload_2() | {"body": "\ud800"},
    payload_1(httpMethod=None),
    payload_1(path=None),
    payload_1(requestContext=7),
    payload_1(multiValueHeaders={"Host": HOST}),
    payload_1(multiValueHeaders={"Ho st": [HOST]}),
    payload_1(multiValueQueryStringParameters={"a": "b"}),
    {"requestPath": "/", "path": {}, "method": "GET", "headers": {}, "body": {}, "query": {}},
]


@pytest.mark.parametrize("event", REFUSED, ids=[str(n) for n in range(len(REFUSED))])
def test_what_is_no_request_is_refused_in_the_contracts_words(deployed: None, event: Any) -> None:
    assert answer(event) == (400, {"status": "WRONG_REQUEST"})


def test_a_command_hidden_in_an_event_is_not_run(
    deployed: None, capsys: pytest.CaptureFixture[str]
) -> None:
    hidden = {"_serverless-wsgi": {"command": "exec", "data": "print('it ran')"}}
    assert answer(payload_2() | hidden) == (200, {"servers": []})
    assert "it ran" not in capsys.readouterr().out


def test_an_authorizer_of_null_is_no_obstacle(deployed: None) -> None:
    event = payload_2()
    event["requestContext"]["authorizer"] = None
    assert answer(event) == (200, {"servers": []})


# A small application shows what arrives and what leaves.


def mirror() -> Flask:
    """Answer with what was asked, two cookies and a header that stands twice."""
    app = Flask("mirror")

    @app.route("/", defaults={"path": ""}, methods=["GET", "POST"])
    @app.route("/<path:path>")
    def show(path: str) -> Response:
        seen = {"path": path, "cookies": dict(request.cookies), "from": request.remote_addr}
        reply = Response(json.dumps(seen), mimetype="application/problem+json")
        reply.set_cookie("a", "1")
        reply.set_cookie("b", "2")
        reply.headers.add("Link", "<1>")
        reply.headers.add("Link", "<2>")
        return reply

    return app


def test_every_cookie_that_is_set_leaves(deployed: None) -> None:
    reply = gateway.answer(mirror, payload_2(), Context())
    assert reply["cookies"] == ["a=1; Path=/", "b=2; Path=/"]
    assert "set-cookie" not in reply["headers"]
    assert reply["headers"]["link"] == "<1>, <2>"


@pytest.mark.parametrize(
    "cookies",
    [
        {"cookies": ["x=1", "y=2"]},
        {"headers": {"host": HOST, "cookie": "x=1; y=2"}},
        {"headers": {"host": HOST, "Cookie": "x=1; y=2"}, "cookies": []},
    ],
)
def test_every_cookie_that_comes_arrives(deployed: None, cookies: dict[str, Any]) -> None:
    reply = gateway.answer(mirror, payload_2(**cookies), Context())
    assert json.loads(reply["body"])["cookies"] == {"x": "1", "y": "2"}


def test_our_media_types_leave_as_text(deployed: None) -> None:
    assert gateway.answer(mirror, payload_2(), Context())["isBase64Encoded"] is False


def test_the_address_is_the_gateways_word_and_not_the_clients(deployed: None) -> None:
    headers = {"host": HOST, "x-forwarded-for": "198.51.100.1", "x-real-ip": "198.51.100.1"}
    for kind in (payload_2, payload_1):
        reply = gateway.answer(mirror, kind(headers=headers), Context())
        assert json.loads(reply["body"])["from"] == "203.0.113.7"


def test_a_stage_is_no_part_of_the_path(deployed: None) -> None:
    reply = gateway.answer(mirror, payload_2(rawPath="/api/v1"), Context())
    assert json.loads(reply["body"])["path"] == "api/v1"


# Anything


junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=8,
)


@given(data=st.data())
@pytest.mark.parametrize("kind", KINDS)
@examples(150, EVENTS)
def test_an_event_with_any_part_changed_is_answered_in_json(
    deployed: None, kind: Any, data: st.DataObject
) -> None:
    event = kind("POST", WEB)
    for _ in range(data.draw(st.integers(1, 3))):
        holder, key = data.draw(st.sampled_from(list(_places(event))))
        if data.draw(st.booleans()):
            holder[key] = data.draw(junk)
        else:
            holder.pop(key, None)
    is_a_clean_answer(api.handler(event, Context()))


def _places(event: dict[str, Any]) -> Iterator[tuple[dict[str, Any], str]]:
    for key, value in list(event.items()):
        yield event, key
        if isinstance(value, dict):
            yield from _places(value)


@given(junk | st.dictionaries(st.sampled_from(sorted(payload_2() | payload_1())), junk))
@examples(150, EVENTS)
def test_any_event_at_all_is_answered_in_json(deployed: None, event: object) -> None:
    is_a_clean_answer(api.handler(event, Context()))


@given(
    st.text(max_size=60).map(lambda t: "/" + t),
    st.text(max_size=60),
    st.text(max_size=60),
    st.sampled_from(["GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "BREW"]),
)
@examples(150, EVENTS)
def test_any_path_query_body_and_method_is_answered_in_json(
    deployed: None, path: str, query: str, body: str, method: str
) -> None:
    event = payload_2(method, rawPath=path, rawQueryString=query) | {"body": body}
    is_a_clean_answer(api.handler(event, Context()), method)
