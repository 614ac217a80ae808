"""Files of the pages: kept for a year under the hash of what they hold, and packed."""

import base64
import gzip
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from core.settings import Settings
from handlers.functions import gateway
from handlers.http import assets, pages
from handlers.http.app import create_app
from tests.handlers.functions import events

FOR_A_YEAR = "public, max-age=31536000, immutable"
PACKED = {"Accept-Encoding": "gzip, deflate, br"}
WORTH_IT = "/* the same again and again */\n" * 100


@pytest.fixture
def settings(sqlite_settings: Settings) -> Settings:
    """Files know no database: one kind is enough."""
    return replace(sqlite_settings, authentication=False)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of files in the place of ours."""
    (tmp_path / "page.js").write_text('import "./part.js";\n')
    (tmp_path / "part.js").write_text(WORTH_IT)
    monkeypatch.setattr(assets, "FOLDER", tmp_path)
    return tmp_path


def address(client: FlaskClient, name: str) -> str:
    """Return where the pages find a file."""
    with client.application.test_request_context():
        return assets.address(name)


def loaded(client: FlaskClient, page: str) -> list[str]:
    """Return the addresses of ours that a page names."""
    return re.findall(r'(?:src|href)="([^"]*/static/[^"]*)"', client.get(page).text)


@pytest.mark.parametrize(
    "page", ["/login", "/dashboard", "/dashboard/servers/1", "/dashboard/graphql", "/api/v1/docs"]
)
def test_all_that_a_page_names_is_kept_for_a_year(client: FlaskClient, page: str) -> None:
    names = loaded(client, page)
    assert names
    for name in names:
        response = client.get(name)
        assert (response.status_code, response.headers["Cache-Control"]) == (200, FOR_A_YEAR), name


def test_a_module_finds_its_neighbour_under_the_same_hash(
    client: FlaskClient, folder: Path
) -> None:
    where = address(client, "page.js").rpartition("/")[0]
    for name in ("page.js", "part.js"):
        response = client.get(f"{where}/{name}")
        assert response.headers["Cache-Control"] == FOR_A_YEAR
        assert response.data == (folder / name).read_bytes()


@pytest.mark.parametrize("name", ["page.js", "part.js", "another.svg"])
def test_whatever_file_changes_or_comes_has_all_addresses_change(
    client: FlaskClient, folder: Path, name: str
) -> None:
    before = address(client, "page.js")
    (folder / name).write_text("something else")
    assert address(client, "page.js") != before
    assert client.get(address(client, name)).text == "something else"


def test_the_same_files_have_the_same_addresses_wherever_they_are(
    client: FlaskClient,
    folder: Path,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = address(client, "page.js")
    copy = tmp_path_factory.mktemp("copy")
    for file in folder.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    monkeypatch.setattr(assets, "FOLDER", copy)
    assert address(client, "page.js") == before


@pytest.mark.parametrize("asked", ["/static/0123456789abcdef/page.js", "/static/page.js"])
@pytest.mark.usefixtures("folder")
def test_by_another_releases_hash_or_by_none_a_file_is_given_but_not_kept(
    client: FlaskClient, asked: str
) -> None:
    response = client.get(asked)
    assert (response.status_code, response.headers["Cache-Control"]) == (200, "no-cache")
    again = client.get(asked, headers={"If-None-Match": response.headers["ETag"]})
    assert (again.status_code, again.data) == (304, b"")


def test_a_file_is_packed_for_those_who_take_it_so(client: FlaskClient, folder: Path) -> None:
    where = address(client, "part.js")
    plain, packed = client.get(where), client.get(where, headers=PACKED)
    assert plain.data == gzip.decompress(packed.data) == (folder / "part.js").read_bytes()
    assert [one.headers.get("Content-Encoding") for one in (plain, packed)] == [None, "gzip"]
    assert [one.content_length for one in (plain, packed)] == [len(plain.data), len(packed.data)]
    for one in (plain, packed):
        assert one.content_type == "text/javascript; charset=utf-8"
        assert "Accept-Encoding" in one.vary


@pytest.mark.usefixtures("folder")
def test_a_short_file_leaves_as_it_is(client: FlaskClient) -> None:
    response = client.get(address(client, "page.js"), headers=PACKED)
    assert "Content-Encoding" not in response.headers
    assert "Accept-Encoding" not in response.vary


def test_a_library_is_kept_by_the_hash_of_its_own_file(
    client: FlaskClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client.post("/api/v1/servers", json={"name": "web", "ip": "127.0.0.1"})
    file = tmp_path / pages.LIBRARIES["chart.js"].path
    file.parent.mkdir(parents=True)
    monkeypatch.setattr(pages, "MODULES", tmp_path)
    seen = set()
    for text in ("// one", "// another"):
        file.write_text(text)
        (where,) = (one for one in loaded(client, "/dashboard/servers/1") if "/lib/" in one)
        assert client.get(where).text == text
        assert client.get(where).headers["Cache-Control"] == FOR_A_YEAR
        seen.add(where)
    assert len(seen) == 2


@pytest.mark.usefixtures("folder")
def test_under_a_prefix_an_address_begins_with_it(client: FlaskClient) -> None:
    with client.application.test_request_context(environ_overrides={"SCRIPT_NAME": "/monitor"}):
        assert re.fullmatch(r"/monitor/static/[0-9a-f]{16}/page\.js", assets.address("page.js"))


@pytest.mark.parametrize("kind", events.KINDS)
def test_on_aws_a_packed_file_arrives_whole(
    client: FlaskClient, folder: Path, kind: Callable[[], dict[str, Any]]
) -> None:
    where = address(client, "part.js")
    headers = {"host": "localhost", "accept-encoding": "gzip"}
    event = kind() | {
        "path": where,
        "rawPath": where,
        "headers": headers,
        "multiValueHeaders": None,
    }
    reply = gateway.answer(lambda: client.application, event, None)
    said = {name.lower(): value for name, value in reply["headers"].items()}
    assert (reply["statusCode"], said["cache-control"]) == (200, FOR_A_YEAR)
    assert (said["content-encoding"], reply["isBase64Encoded"]) == ("gzip", True)
    assert gzip.decompress(base64.b64decode(reply["body"])) == (folder / "part.js").read_bytes()


def test_the_applications_own_folder_is_served(settings: Settings) -> None:
    client = create_app(settings).test_client()
    assert "export const" in client.get(address(client, "common.js")).text
