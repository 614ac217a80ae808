"""The database's password in Secrets Manager: read once, and once more when it is refused."""

import json
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from sqlalchemy import text

from core.errors import Misconfigured, SettingsError, Unavailable
from core.settings import Settings
from infra import aws
from infra.database import Database
from infra.postgres import url_in_secret
from tests.cloud import REGION
from tests.postgres import DATABASE_PASSWORD, Postgres


class Secret:
    """A secret, and how often it was read."""

    def __init__(self, value: str) -> None:
        self.manager = boto3.client("secretsmanager", region_name=REGION)
        self.arn: str = self.manager.create_secret(Name="db", SecretString=value)["ARN"]
        self.reads = 0
        aws._client("secretsmanager").meta.events.register("before-call", self._count)

    def _count(self, **_: object) -> None:
        self.reads += 1

    def change(self, value: str) -> None:
        """Rotate it."""
        self.manager.put_secret_value(SecretId=self.arn, SecretString=value)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Postgres]:
    """A Postgres of this module's own, which asks its user `anna` for a password."""
    own = Postgres()
    rules = "host all anna 127.0.0.1/32 scram-sha-256\nhost all all 127.0.0.1/32 trust\n"
    Path(own.data, "pg_hba.conf").write_text(rules)
    try:
        own.start()
        as_admin(own, "CREATE USER anna PASSWORD 'one'")
        yield own
    finally:
        own.close()


@pytest.fixture
def guarded(cluster: Postgres) -> Postgres:
    """The same, where anna's password is "one" again."""
    as_admin(cluster, "ALTER USER anna PASSWORD 'one'")
    return cluster


def as_admin(cluster: Postgres, command: str) -> None:
    """Run a command as the cluster's owner."""
    admin = Database(Settings(database_url=cluster.url()))
    with admin.engine.begin() as connection:
        connection.execute(text(command))
    admin.engine.dispose()


def url_of(cluster: Postgres, password: str) -> str:
    """Return anna's URL."""
    return cluster.url().replace(f"postgres:{DATABASE_PASSWORD}@", f"anna:{password}@")


def who(database: Database) -> object:
    """Connect anew and return who we are."""
    try:
        with database.engine.connect() as connection:
            return connection.scalar(text("SELECT current_user"))
    finally:
        database.engine.dispose()


def test_a_url_in_a_secret_is_read_once_for_many_connections(
    cloud: None, guarded: Postgres
) -> None:
    secret = Secret(url_of(guarded, "one"))
    database = Database(Settings(database_secret=secret.arn))
    assert secret.reads == 0
    assert [who(database) for _ in range(3)] == ["anna"] * 3
    assert secret.reads == 1


def test_a_password_that_is_changed_costs_nobody_a_request(cloud: None, guarded: Postgres) -> None:
    secret = Secret(url_of(guarded, "one"))
    database = Database(Settings(database_secret=secret.arn))
    assert who(database) == "anna"
    as_admin(guarded, "ALTER USER anna PASSWORD 'two'")
    secret.change(url_of(guarded, "two"))
    assert [who(database) for _ in range(3)] == ["anna"] * 3
    assert secret.reads == 2


def test_a_password_that_stays_wrong_is_asked_for_no_more_than_once_again(
    cloud: None, guarded: Postgres
) -> None:
    secret = Secret(url_of(guarded, "one"))
    database = Database(Settings(database_secret=secret.arn))
    assert who(database) == "anna"
    as_admin(guarded, "ALTER USER anna PASSWORD 'nobody knows'")
    with pytest.raises(Misconfigured, match="password"):
        who(database)
    assert secret.reads == 2


def test_without_a_secret_a_wrong_password_asks_nobody(cloud: None, guarded: Postgres) -> None:
    database = Database(Settings(database_url=url_of(guarded, "wrong")))
    with pytest.raises(Unavailable), database.reading():
        pass


def test_a_secret_of_rds_gives_the_password_and_the_settings_give_the_rest(
    cloud: None, guarded: Postgres
) -> None:
    secret = Secret(json.dumps({"username": "anna", "password": "one"}))
    database = Database(Settings(database_url=guarded.url(), database_secret=secret.arn))
    assert who(database) == "anna"


def test_a_secret_that_can_not_be_read_is_unavailable(cloud: None) -> None:
    with pytest.raises(Unavailable), Database(Settings(database_secret="nowhere")).reading():
        pass


@pytest.mark.parametrize(
    ("secret", "url"),
    [
        ("postgres://a:b@db.example:6432/x", "postgresql+pg8000://a:b@db.example:6432/x"),
        ('{"url": "postgres://a:b@db.example/x"}', "postgresql+pg8000://a:b@db.example/x"),
        (
            '{"username": "a", "password": "p@:/?#%41", "host": "h", "port": 1, "dbname": "d"}',
            "postgresql+pg8000://a:p%40%3A%2F%3F%23%2541@h:1/d",
        ),
    ],
)
def test_every_form_of_secret_is_understood(secret: str, url: str) -> None:
    assert url_in_secret(secret, Settings()).render_as_string(hide_password=False) == url


@pytest.mark.parametrize("secret", ["", "7", "[]", "not a url", "mysql://x"])
def test_a_secret_that_is_no_database_is_refused(secret: str) -> None:
    with pytest.raises(SettingsError):
        url_in_secret(secret, Settings())
