"""The commands as a function: the same as on the command line, by nobody who isn't meant to."""

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import WrongRequest
from core.servers import find
from core.settings import Settings
from handlers.functions import manage, warm
from infra.database import Database
from tests.cloud import Context, event_of
from tests.counts import EVENTS, examples
from tests.handlers.functions.events import balancer, payload_1, payload_2
from tests.instances import instance


@pytest.fixture
def deployed(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Database]:
    """The function as Lambda has it, with its settings in the environment."""
    monkeypatch.setenv("DATABASE_URL", settings.database_url)
    warm.warm_instance.cache_clear()
    yield warm.warm_instance().database
    warm.warm_instance().database.engine.dispose()
    warm.warm_instance.cache_clear()


def run(command: Any, given: str = "") -> dict[str, Any]:
    """Invoke the function."""
    return manage.handler({"command": command, "input": given}, Context())


def test_the_tables_are_upgraded(deployed: Database) -> None:
    done = run("db upgrade")
    assert done["exit_code"] == 0
    assert "The tables are at version" in done["output"]


def test_servers_are_imported_from_the_events_own_text(deployed: Database) -> None:
    text = "name,IP\nweb,192.0.2.1\nmail,192.0.2.2\n"
    assert run(["servers", "import", "-", "--format", "csv"], text)["exit_code"] == 0
    with deployed.reading() as session:
        assert list(find.names(session)) == ["web", "mail"]
    assert "web\t192.0.2.1" in run("servers list")["output"]


def test_a_user_is_added_without_a_question(deployed: Database) -> None:
    done = run("users add anna --password-stdin", "correct horse battery staple\n")
    assert done["exit_code"] == 0, done["output"]
    assert "correct horse" not in done["output"]
    assert "anna" in run("users list")["output"]
    token = run(["users", "token", "anna", "a script"])
    assert token["exit_code"] == 0


def test_a_refusal_is_told_with_its_exit_code(deployed: Database) -> None:
    done = run("servers remove nobody --yes")
    assert done["exit_code"] == 1
    assert "no server is named 'nobody'" in done["output"]


def test_wrong_arguments_are_told_with_their_exit_code(deployed: Database) -> None:
    assert run("servers add web")["exit_code"] == 2


def test_a_defect_of_ours_is_told_and_logged(monkeypatch: pytest.MonkeyPatch) -> None:
    away = Database(Settings(database_url="postgresql://x@127.0.0.1:9/x", connect_timeout_s=0.1))
    done = manage.run_command(instance(away), ["db", "upgrade"])
    assert done["exit_code"] == 1
    assert done["output"]


@pytest.mark.parametrize(
    "event",
    [
        None,
        [],
        {},
        {"command": None},
        {"command": []},
        {"command": ""},
        {"command": ["worker"]},
        {"command": ["ping", "192.0.2.1"]},
        {"command": ["shell"]},
        {"command": ["--app", "x", "run"]},
        {"command": "db upgrade", "input": 7},
        {"command": "db upgrade", "requestContext": {}},
        payload_2("POST", {"command": "db upgrade"}),
        payload_1("POST", {"command": "db upgrade"}),
        balancer("POST", {"command": "db upgrade"}),
        event_of('{"command": "db upgrade"}'),
    ],
)
def test_what_is_no_command_is_refused(deployed: Database, event: object) -> None:
    with pytest.raises(WrongRequest):
        manage.handler(event, Context())


@given(
    st.lists(st.text(st.characters(codec="utf-8"), max_size=12), max_size=4),
    st.sampled_from(sorted(manage.ONE_OFF)),
    st.text(max_size=40),
)
@examples(40, EVENTS)
def test_any_words_after_a_command_end_with_an_exit_code(
    sqlite_settings: Settings, words: list[str], group: str, given_text: str
) -> None:
    database = Database(sqlite_settings)
    done = manage.run_command(instance(database), [group, *words], given_text)
    assert done["exit_code"] in (0, 1, 2)
    assert "Traceback" not in done["output"]
    database.engine.dispose()
