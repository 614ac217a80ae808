"""The application as it is put together: bodies, addresses, JSON, what it opens."""

import io
from pathlib import Path

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from core.errors import SettingsError
from core.settings import Settings
from handlers.http.app import MAX_BODY, create_app
from handlers.http.routes import routes_of
from tests.handlers.calls import CREATED, TOO_LARGE, named, server, told
from tests.handlers.conftest import open_to_all


@pytest.fixture
def settings(sqlite_settings: Settings) -> Settings:
    """What is tried here is the same on both databases."""
    return open_to_all(sqlite_settings.database_url)


def in_chunks(client: FlaskClient, body: bytes, path: str = "/") -> TestResponse:
    """Send a body whose length nobody has said, as a server hands a chunked one over."""
    return client.post(
        path,
        input_stream=io.BytesIO(body),
        environ_overrides={"wsgi.input_terminated": True, "HTTP_TRANSFER_ENCODING": "chunked"},
    )


def padded(body: bytes, length: int) -> bytes:
    """Return the same JSON in so many bytes."""
    return body + b" " * (length - len(body))


def test_a_body_may_be_a_megabyte_with_a_length_and_in_chunks(client: FlaskClient) -> None:
    assert told(client.post("/", data=padded(server("one"), MAX_BODY))) == CREATED
    assert told(in_chunks(client, padded(server("two"), MAX_BODY))) == CREATED


@pytest.mark.parametrize("more", [1, 2, 1_000])
def test_a_longer_one_is_too_large_and_never_read_in_part(client: FlaskClient, more: int) -> None:
    body = padded(server("one"), MAX_BODY + more)
    assert told(client.post("/", data=body)) == TOO_LARGE
    assert told(in_chunks(client, body)) == TOO_LARGE
    assert client.get("/").get_json() == {"servers": []}


def test_a_chunked_body_is_read_wherever_one_is_taken(client: FlaskClient) -> None:
    added = in_chunks(client, b'{"name": "web", "ip": "127.0.0.1"}', "/api/v1/servers")
    assert (added.status_code, added.get_json()["name"]) == (201, "web")
    over = padded(b'{"name": "new", "ip": "127.0.0.1"}', MAX_BODY + 1)
    assert in_chunks(client, over, "/api/v1/servers").status_code == 413


def test_an_address_with_more_slashes_is_another_one_and_leads_nowhere(client: FlaskClient) -> None:
    for path in ("/api//v1/me", "/api/v1//me", "/api/v1/me/"):
        response = client.get("/", environ_overrides={"PATH_INFO": path})
        assert (response.status_code, response.headers.get("Location")) == (404, None), path


def test_keys_stay_in_the_order_they_were_given_in(client: FlaskClient) -> None:
    client.post("/", data=server("web"))
    assert list(client.get("/", data=named("web")).get_json()) == ["server", "pings"]


def test_nobody_is_told_by_a_method_what_there_is(client: FlaskClient) -> None:
    assert client.options("/").status_code == 405


def test_to_be_made_an_application_opens_nothing(tmp_path: Path) -> None:
    file = tmp_path / "pinglet.db"
    app = create_app(Settings(database_url=f"sqlite:///{file}"))
    assert routes_of(app)
    assert not file.exists()


def test_an_application_without_usable_settings_is_not_made() -> None:
    with pytest.raises(SettingsError):
        create_app(Settings(database_url="oracle://somewhere"))
