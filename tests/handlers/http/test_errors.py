"""What isn't there is said to programs in the contract's shape, never in HTML."""

import pytest
from flask.testing import FlaskClient

from core.errors import CoreError, Unavailable
from core.settings import Settings
from handlers.http.errors import HTTP_CODES, HTTP_WORDS
from tests.handlers.calls import CREATED, UNKNOWN, named, names, server, told
from tests.handlers.conftest import open_to_all

NOT_FOUND = (404, b'{"status":"NOT_FOUND"}\n')
NOT_ALLOWED = (405, b'{"status":"METHOD_NOT_ALLOWED"}\n')

PATHS = [
    "/nowhere",
    "/nowhere/",
    "/favicon.ico",
    "/index.html",
    "/robots.txt",
    "/console",
    "/admin",
    "/server",
    "/servers/web",
    "//nowhere",
    "/./",
    "/../",
    "/../../etc/passwd",
    "/..%2f",
    "/;x",
    "/*",
    "/ ",
    "/\x00",
    "/\n",
    "/\xff",
    "/\xed\xa0\x80",
    "/\u0080\u009f",
    "/" + "a" * 100_000,
    "/" + "a/" * 10_000,
    "nowhere",
    "*",
]
METHODS = ["PATCH", "OPTIONS", "TRACE", "CONNECT", "PROPFIND", "MADEUP", "POST ", "G\xcbT", ""]


@pytest.fixture
def settings(sqlite_settings: Settings) -> Settings:
    """No database is asked in most of what follows: one kind is enough."""
    return open_to_all(sqlite_settings.database_url)


@pytest.mark.parametrize("path", PATHS, ids=[repr(path[:20]) for path in PATHS])
def test_an_unknown_path_is_not_found(client: FlaskClient, path: str) -> None:
    for method in ("GET", "POST", "PUT", "DELETE", "PATCH", "MADEUP"):
        # Past the client's own ideas of a path: this one arrives as it stands here.
        response = client.open("/", method=method, environ_overrides={"PATH_INFO": path})
        assert told(response) == NOT_FOUND, method


@pytest.mark.parametrize(
    ("method", "path", "code", "sentence"),
    [
        ("GET", "/api/v1/nowhere", 404, "there is nothing at this address"),
        (
            "PUT",
            "/api/v1/servers",
            405,
            "this address doesn't take that method: see the header Allow",
        ),
        ("POST", "/api/v1/servers", 413, "the body must be at most 1 MB long: send it in parts"),
    ],
)
def test_what_flask_refuses_is_told_in_our_words(
    client: FlaskClient, method: str, path: str, code: int, sentence: str
) -> None:
    response = client.open(path, method=method, data=b" " * 1_100_000 if code == 413 else b"")
    assert (response.status_code, response.get_json()["detail"]) == (code, sentence)


@pytest.mark.parametrize("path", ["", "/", "//", "///"])
def test_no_number_of_slashes_is_redirected(client: FlaskClient, path: str) -> None:
    overrides = {"PATH_INFO": path}
    assert told(client.post("/", data=server("web"), environ_overrides=overrides)) == CREATED
    listed = client.get("/", environ_overrides=overrides)
    assert told(listed) == (200, b'{"servers":["web"]}\n')


@pytest.mark.parametrize("method", METHODS)
def test_an_unknown_method_is_not_allowed(client: FlaskClient, method: str) -> None:
    response = client.open("/", environ_overrides={"REQUEST_METHOD": method})
    assert told(response) == NOT_ALLOWED
    allowed = {word.strip() for word in response.headers["Allow"].split(",")}
    assert allowed >= {"GET", "POST", "PUT", "DELETE"}


def test_a_method_is_not_changed_by_a_header_or_a_query(client: FlaskClient) -> None:
    for header in ("X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"):
        response = client.get("/", headers={header: "DELETE"}, data=named("web"))
        assert told(response) == UNKNOWN
    client.post("/", data=server("web"))
    assert client.get("/?_method=DELETE", data=named("web")).status_code == 400
    assert names(client) == ["web"]


@pytest.mark.parametrize("accept", ["*/*", "image/png", "", "text/html;q=0.9,*/*"])
def test_an_error_is_json_whatever_a_program_prefers(client: FlaskClient, accept: str) -> None:
    assert told(client.get("/nowhere", headers={"Accept": accept})) == NOT_FOUND
    assert told(client.patch("/", headers={"Accept": accept})) == NOT_ALLOWED


def test_head_says_what_get_would_without_its_body(client: FlaskClient) -> None:
    for path, code in (("/nowhere", 404), ("/?x=1", 400)):
        head, get = client.head(path), client.get(path)
        assert (head.status_code, head.data) == (get.status_code, b"")
        assert head.status_code == code
        assert head.content_type == "application/json"


@pytest.mark.parametrize("length", ["-1", "abc", "1e3", " ", "99999999999999999999", "0x10"])
def test_a_length_that_is_none_is_no_fault(client: FlaskClient, length: str) -> None:
    overrides = {"CONTENT_LENGTH": length}
    response = client.post("/", data=server("web"), environ_overrides=overrides)
    assert response.status_code in (201, 400, 413)
    assert response.content_type == "application/json"


def test_every_refusal_has_a_code_and_every_code_a_word() -> None:
    def all_kinds(kind: type[CoreError]) -> set[type[CoreError]]:
        return {kind}.union(*(all_kinds(below) for below in kind.__subclasses__()))

    # A wrong setting is no reply: nothing was started. The same is true of a newer database. By a
    # contradicted clock rounds are refused, never requests; backups are made by commands.
    never_replies = {"CoreError", "SettingsError", "NewerSchema"}
    never_replies |= {"ClockContradicted", "BackupRefused"}
    for kind in all_kinds(CoreError):
        if kind.__name__ not in never_replies:
            assert any(base in HTTP_CODES for base in kind.__mro__), kind
            assert kind.status == kind.status.upper()
            assert " " not in kind.status


def test_the_words_for_what_flask_refuses_are_those_of_the_contract() -> None:
    assert HTTP_WORDS[400] == "WRONG_REQUEST"
    assert Unavailable.status == "SERVICE_UNAVAILABLE"


def test_a_database_that_is_away_is_503_with_a_hint(
    client: FlaskClient, settings: Settings
) -> None:
    assert names(client) == []
    file = settings.database_url.removeprefix("sqlite:///")
    # Every later connection finds this instead of a database.
    client.application.extensions["pinglet"].database.engine.dispose()
    with open(file, "r+b") as found:
        found.write(b"this is no database any more, whatever it was before")
    response = client.get("/")
    assert told(response) == (503, b'{"status":"SERVICE_UNAVAILABLE"}\n')
