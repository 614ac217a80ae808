"""Queues, and the functions on either side of them."""

from collections.abc import Iterator

import pytest
from sqlalchemy import update

from core.accounts import tokens, users
from core.accounts.records import Role, TokenKind
from core.accounts.tokens import Grant
from core.accounts.users import UserWanted
from core.clock import utc_now
from core.models import Token
from core.settings import Settings
from handlers.functions import api, probe, warm
from handlers.functions.record import Recorder
from infra.database import Database
from tests.cloud import Queue
from tests.handlers.functions.events import HOST, TOKEN


@pytest.fixture
def recorder(database: Database) -> Recorder:
    """A recorder on an empty database."""
    return Recorder(database)


@pytest.fixture
def results(cloud: None) -> Queue:
    """The queue that the prober fills."""
    return Queue("results")


@pytest.fixture
def fleet(
    cloud: None, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> Iterator[dict[str, Queue]]:
    """The three functions as deployed: their settings come by the environment."""
    queues = {"batches": Queue("batches"), "results": Queue("results")}
    monkeypatch.setenv("DATABASE_URL", settings.database_url)
    monkeypatch.setenv("PINGLET_BATCH_QUEUE_URL", queues["batches"].url)
    monkeypatch.setenv("PINGLET_RESULT_QUEUE_URL", queues["results"].url)
    monkeypatch.setenv("PINGLET_BATCH_SIZE", "2")
    monkeypatch.setenv("PINGLET_ECHO_TIMEOUT_S", "0.3")
    monkeypatch.setenv("PINGLET_ECHO_GAP_S", "0")
    warm.warm_instance.cache_clear()
    probe.warm_settings.cache_clear()
    yield queues
    warm.warm_instance().database.engine.dispose()
    warm.warm_instance.cache_clear()
    probe.warm_settings.cache_clear()


@pytest.fixture
def deployed(sqlite_settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The application as Lambda builds it, from the environment."""
    monkeypatch.setenv("DATABASE_URL", sqlite_settings.database_url)
    monkeypatch.setenv("PINGLET_HOSTS", HOST)
    monkeypatch.setenv("STRIP_STAGE_PATH", "yes")
    api.warm_app.cache_clear()
    _allow(Database(sqlite_settings))
    yield
    api.warm_app().extensions["pinglet"].database.engine.dispose()
    api.warm_app.cache_clear()


def _allow(database: Database) -> None:
    """Make TOKEN an admin's."""
    with database.transaction() as session:
        wanted = UserWanted(name="ann", password="a long password", role=Role.ADMIN)
        users.create_user(session, users.NewUser.of(wanted), utc_now())
        ann = users.find_user_named(session, "ann")
        tokens.issue(session, users.identity_of(ann), Grant(TokenKind.KEY), utc_now())
        session.execute(update(Token).values(digest=tokens.digest(TOKEN)))
    database.engine.dispose()
