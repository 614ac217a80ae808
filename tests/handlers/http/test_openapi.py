"""openapi.json says what the running application does, and the application keeps to it."""

import re
from collections.abc import Callable, Iterator
from functools import partial
from html.parser import HTMLParser
from http import HTTPStatus
from ipaddress import IPv4Network

import pytest
import schemathesis
from flask import Flask
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given
from hypothesis import settings as run
from hypothesis import strategies as st
from openapi_spec_validator import validate
from schemathesis import Case, GenerationMode
from schemathesis.config import SchemathesisConfig
from sqlalchemy import delete

from core.accounts import tokens, users
from core.accounts.records import TokenKind
from core.accounts.tokens import Grant
from core.clock import utc_now
from core.errors import WrongRequest
from core.incidents.backtest import zone
from core.incidents.records import BacktestWanted
from core.incidents.rules import Rule
from core.models import Attempt
from core.reading import NAME_LENGTH, USER_NAME_LENGTH, kept_name
from core.settings import Settings
from handlers.http import openapi
from handlers.http.app import create_app
from handlers.http.routes import Route, routes_of
from infra.database import Database
from tests import people
from tests.counts import CASES

# What one parameter allows and two of them together, or the address's owner, may not.
BEYOND_SCHEMA = [
    *("GET /api/v1/servers", "GET /api/v1/export", "POST /api/v1/import"),
    *(f"GET /api/v1/servers/{{server_id}}/{part}" for part in ("pings", "series", "summary")),
    *(f"GET /api/v1/servers/{{server_id}}/{part}" for part in ("spells", "maintenance")),
    *("POST /api/v1/maintenance", "PATCH /api/v1/maintenance/{maintenance_id}"),
    *("POST /api/v1/tokens", "PATCH /api/v1/users/{user_id}", "DELETE /api/v1/users/{user_id}"),
    "PUT /api/v1/me/password",  # a wrong old one
]
# What nobody sees in a new name: older ones may hold it, so no pattern refuses it.
NEW_NAMES = {
    "POST /api/v1/servers": NAME_LENGTH,
    "PATCH /api/v1/servers/{server_id}": NAME_LENGTH,
    "POST /api/v1/users": USER_NAME_LENGTH,
}
REFUSED = ["400", "401", "403", "404", "405", "409", "413", "415", "429", "5xx"]
CONFIG = {
    # A list of too many may be a body of too many bytes: that is refused as well.
    "checks": {"negative_data_rejection": {"expected-statuses": REFUSED}},
    "operations": [
        {
            "include-name": name,
            "checks": {
                "positive_data_acceptance": {
                    "expected-statuses": ["2xx", "400", "401", "403", "404", "409", "429"]
                }
            },
        }
        for name in BEYOND_SCHEMA
    ]
    # A round that is later than the caller allows is said with a 503: that is what it is for.
    + [
        {
            "include-name": "GET /api/v1/health",
            "checks": {"not_a_server_error": {"expected-statuses": ["2xx", "4xx", "503"]}},
        }
    ],
}
PLAIN = {"Accept-Encoding": "identity"}  # the client in this process doesn't unpack

# Servers that are made here may be pinged here: they are all this machine.
ADDRESSES = st.ip_addresses(network=IPv4Network("127.0.0.0/8")).map(str)
schemathesis.openapi.format("ipv4", ADDRESSES)
# A list is text that a schema can't describe.
LISTS = st.lists(ADDRESSES.map("web,{}".format)).map("\n".join).map(str.encode)
schemathesis.openapi.media_type("text/csv", LISTS)


def described_routes(app: Flask) -> tuple[Route, ...]:
    """Return the routes that openapi.json describes."""
    with app.app_context():
        return openapi.described_routes()


def generated() -> list[tuple[str, GenerationMode]]:
    """Return every operation, to be called rightly and, where that can be, wrongly."""
    routes = described_routes(create_app(Settings()))
    found = []
    for method, path, operation in openapi.operations(openapi.described(routes)):
        found.append((f"{method} {path}", GenerationMode.POSITIVE))
        if operation["parameters"] or "requestBody" in operation:
            found.append((f"{method} {path}", GenerationMode.NEGATIVE))
    return found


@pytest.fixture(scope="module")
def described(standing: Flask) -> schemathesis.BaseSchema:
    """The description that the application gives of itself."""
    config = SchemathesisConfig.from_dict(CONFIG)
    return schemathesis.openapi.from_wsgi("/api/v1/openapi.json", standing, config=config)


@pytest.fixture
def admin(standing: Flask) -> Iterator[None]:
    """Somebody who may do everything; until the test ends nobody else may do anything."""
    database: Database = standing.extensions["pinglet"].database
    people.forget_everybody(database)
    people.add(database)
    yield
    people.forget_everybody(database)


def refreshed(database: Database) -> dict[str, str]:
    """Return a header that lets an admin in, also after what the case before did to her tokens."""
    with database.transaction() as session:
        # Each case shows wrong passwords too; before long they would be answered with 429.
        session.execute(delete(Attempt))
        admin = users.identity_of(users.find_user_named(session, "ann"))
        issued = tokens.issue(session, admin, Grant(TokenKind.KEY), utc_now())
    return {"Authorization": f"Bearer {issued.token}"}


def test_the_description_is_openapi(client: FlaskClient) -> None:
    validate(client.get("/api/v1/openapi.json").get_json())


def test_every_route_and_nothing_else_is_described(app: Flask, client: FlaskClient) -> None:
    paths = client.get("/api/v1/openapi.json").get_json()["paths"]
    told = {(path, method.upper()) for path, methods in paths.items() for method in methods}
    rules = {
        (openapi.PARAMETER.sub(r"{\g<name>}", rule.rule), method)
        for rule in app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
        if rule.rule.startswith("/api/v1/")
    }
    assert told == rules


def test_every_route_says_who_may_call_it(app: Flask) -> None:
    for rule in app.url_map.iter_rules():
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}:
            assert f"{method} {rule.rule}" in routes_of(app), rule


def test_where_a_body_is_taken_it_may_be_too_long(client: FlaskClient) -> None:
    spec = client.get("/api/v1/openapi.json").get_json()
    for method, path, operation in openapi.operations(spec):
        assert ("413" in operation["responses"]) == ("requestBody" in operation)
        if "requestBody" in operation:
            somewhere = re.sub(r"\{\w+\}", "1", path)
            response = client.open(somewhere, method=method, data=b" " * 1_000_001)
            assert response.status_code == HTTPStatus.REQUEST_ENTITY_TOO_LARGE, path
            assert response.content_type == "application/problem+json"


def test_operations_are_told_apart_by_their_ids(client: FlaskClient) -> None:
    spec = client.get("/api/v1/openapi.json").get_json()
    ids = [operation["operationId"] for _, _, operation in openapi.operations(spec)]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize(
    ("shape", "name", "may_be"),
    [
        ("UserWanted", "ann", True),
        ("UserWanted", "a:b", False),
        ("UserWanted", "a\x02b", False),
        ("TokenWanted", "a:b", True),
        ("TokenWanted", "a\x02b", False),
        ("TokenWanted", " ", False),
    ],
)
def test_names_that_would_be_refused_are_not_described_as_right(
    client: FlaskClient, shape: str, name: str, may_be: bool
) -> None:
    spec = client.get("/api/v1/openapi.json").get_json()
    described = spec["components"]["schemas"][shape]["properties"]["name"]
    assert bool(re.search(described["pattern"], name)) == may_be


def test_the_page_tells_every_operation_and_every_shape(client: FlaskClient) -> None:
    spec = client.get("/api/v1/openapi.json").get_json()
    page = client.get("/api/v1/docs").text
    for _method, path, operation in openapi.operations(spec):
        assert path in page
        assert f'id="{operation["operationId"]}"' in page
    for name in spec["components"]["schemas"]:
        assert f'id="{name}"' in page


def test_the_page_shows_code_as_code(client: FlaskClient) -> None:
    page = client.get("/api/v1/docs").text
    assert "by id or <code>current</code>, and all others" in page
    assert "`" not in page


def test_the_page_asks_nobody_else_for_anything_and_runs_nothing(client: FlaskClient) -> None:
    response = client.get("/api/v1/docs")
    policy = response.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; style-src 'self'")
    page = Page()
    page.feed(response.text)
    assert page.tags & {"script", "style", "img", "iframe", "object", "embed", "form"} == set()
    assert {name for name in page.attributes if name == "style" or name.startswith("on")} == set()
    assert all(link.startswith(("#", "/api/v1/", "/static/")) for link in page.links)
    targets = [link for link in page.links if link.startswith("/")]
    assert {client.get(target).status_code for target in targets} == {HTTPStatus.OK}
    anchors = {link.removeprefix("#") for link in page.links if link.startswith("#")}
    assert anchors <= page.ids


class Page(HTMLParser):
    """What a page holds."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.links: list[str] = []
        self.ids: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what may ask for something or run something."""
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        self.links += [value or "" for name, value in attrs if name in ("href", "src")]
        self.ids |= {value or "" for name, value in attrs if name == "id"}


def test_the_description_and_its_page_are_for_everybody(settings: Settings) -> None:
    with people.nobody_but(settings) as closed:
        app = create_app(closed)
        found = [app.test_client().get(f"/api/v1/{name}") for name in PUBLIC_PAGES]
        assert [response.status_code for response in found] == [200] * len(PUBLIC_PAGES)
        app.extensions["pinglet"].database.engine.dispose()


PUBLIC_PAGES = ["openapi.json", "docs", "health"]

quickly = run(
    max_examples=CASES,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)
each = pytest.mark.parametrize(("operation", "mode"), generated(), ids=str)


def may_be(case: Case, length: int) -> bool:
    """Whether a new server or user may have the name in the body, if there is one.

    A parent whose name is made up isn't there.
    """
    body = case.body if isinstance(case.body, dict) else {}
    try:
        kept_name(body.get("name", "web").strip(), "name", length)
    except WrongRequest:
        return False
    return body.get("parent") is None


def is_a_rule(case: Case) -> bool:
    """Whether the numbers of a rule fit together, and it names no channel, of which there is none.

    What one number has to be, given another one, can't be described.
    """
    try:
        return not isinstance(case.body, dict) or not Rule.of(case.body).say
    except WrongRequest:
        return False


def is_a_draft(case: Case) -> bool:
    """Whether a rule that is to be tried is one, by the clock of a zone that there is."""
    try:
        return (
            not isinstance(case.body, dict) or zone(BacktestWanted.of(case.body).zone) is not None
        )
    except WrongRequest:
        return False


def is_to_come(case: Case) -> bool:
    """Whether an acknowledgement doesn't end before it begins, as most times made up would."""
    return not isinstance(case.body, dict) or case.body.get("until") is None


FITTING = {
    "POST /api/v1/rules": is_a_rule,
    "PUT /api/v1/rules/{rule_id}": is_a_rule,
    "POST /api/v1/rules/test": is_a_draft,
    "POST /api/v1/incidents/{incident_id}/ack": is_to_come,
}


def judge(
    described: schemathesis.BaseSchema,
    operation: str,
    mode: GenerationMode,
    headers: Callable[[], dict[str, str]],
) -> None:
    """Call an operation with made-up cases, each with new `headers`, and judge the replies."""
    cases = described.find_operation_by_label(operation).as_strategy(mode)
    if mode is GenerationMode.POSITIVE and operation in NEW_NAMES:
        cases = cases.filter(partial(may_be, length=NEW_NAMES[operation]))
    if mode is GenerationMode.POSITIVE and operation in FITTING:
        cases = cases.filter(FITTING[operation])

    @quickly
    @given(case=cases)
    def call(case: Case) -> None:
        case.call_and_validate(headers=headers())

    call()


@each
def test_whoever_sits_at_the_machine_gets_what_is_described(
    described: schemathesis.BaseSchema, operation: str, mode: GenerationMode
) -> None:
    judge(described, operation, mode, lambda: PLAIN)


@each
@pytest.mark.usefixtures("admin")
def test_an_admin_with_a_token_gets_what_is_described(
    described: schemathesis.BaseSchema,
    standing: Flask,
    operation: str,
    mode: GenerationMode,
) -> None:
    database = standing.extensions["pinglet"].database
    judge(described, operation, mode, lambda: PLAIN | refreshed(database))


@each
@pytest.mark.usefixtures("admin")
def test_strangers_are_told_no_more_than_is_described(
    described: schemathesis.BaseSchema, operation: str, mode: GenerationMode
) -> None:
    judge(described, operation, mode, lambda: PLAIN)
