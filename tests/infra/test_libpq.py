"""The words after ? in a Postgres URL: taken, needless, or ignored by name; never a stop."""

import logging
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from core.errors import SettingsError
from core.settings import Settings
from infra import libpq
from infra.database import Database
from infra.postgres import _postgres_arguments, database_url, url_in_secret
from tests.infra.conftest import TLS_NAME
from tests.infra.databases import administer, opened, why_not, works
from tests.postgres import Postgres

# Every word of www.postgresql.org/docs/18/libpq-connect.html#LIBPQ-PARAMKEYWORDS, each with a
# value that providers or its documentation show, and what becomes of it.
TAKEN = {
    "host": "localhost",
    "hostaddr": "127.0.0.1",
    "port": "5432",
    "dbname": "pinglet",
    "user": "pinglet",
    "password": "word",
    "connect_timeout": "5",
    "options": "-c search_path=pinglet",
    "application_name": "watch",
    "fallback_application_name": "watch",
    "sslmode": "require",
    "sslrootcert": "system",
}
NEEDLESS = {
    "channel_binding": "require",
    "client_encoding": "UTF8",
    "gssencmode": "disable",
    "keepalives": "1",
    "load_balance_hosts": "disable",
    "replication": "false",
    "ssl_min_protocol_version": "TLSv1.2",
    "sslcompression": "0",
    "sslnegotiation": "postgres",
    "sslsni": "1",
    "target_session_attrs": "read-write",
}
IGNORED = {
    "gssdelegation": "0",
    "gsslib": "gssapi",
    "keepalives_count": "5",
    "keepalives_idle": "30",
    "keepalives_interval": "10",
    "krbsrvname": "postgres",
    "max_protocol_version": "3.2",
    "min_protocol_version": "3.0",
    "oauth_client_id": "us",
    "oauth_client_secret": "secret-word",
    "oauth_issuer": "https://issuer.example",
    "oauth_scope": "all",
    "passfile": "/home/me/.pgpass",
    "require_auth": "scram-sha-256",
    "requirepeer": "postgres",
    "requiressl": "1",
    "scram_client_key": "c2VjcmV0",
    "scram_server_key": "c2VjcmV0",
    "service": "pinglet",
    "servicefile": "/home/me/.pg_service.conf",
    "ssl_max_protocol_version": "TLSv1.3",
    "sslcertmode": "allow",
    "sslcrl": "root.crl",
    "sslcrldir": "crls",
    "sslkeylogfile": "keys.log",
    "tcp_user_timeout": "1000",
}
OTHERS_TAKEN = {
    "pgbouncer": "true",
    "schema": "pinglet",
    "currentSchema": "a,b",
    "ssl": "true",
}
OTHERS_IGNORED = {
    "connection_limit": "1",
    "pool_timeout": "10",
    "prepareThreshold": "0",
    "sslmod": "require",  # nothing is lost: where encryption is due it is the default
    "statement_cache_size": "0",
    "supa": "base-pooler.x",
}
OTHER_VALUES = {
    "channel_binding": "disable",
    "client_encoding": "latin1",
    "connect_timeout": "soon",
    "gssencmode": "require",
    "options": "endpoint=ep-cool-name",
    "ssl": "false",
    "target_session_attrs": "standby",
}


@pytest.fixture(autouse=True)
def _first_in_its_process() -> None:
    libpq._warn.cache_clear()


def opened_by(query: str) -> Settings:
    settings = Settings(database_url=f"postgres://127.0.0.1/pinglet?{query}")
    Database(settings).engine.dispose()
    return settings


@pytest.mark.parametrize(("word", "value"), [*TAKEN.items(), *NEEDLESS.items()])
def test_a_word_that_is_honoured_is_taken_in_silence(
    word: str, value: str, caplog: pytest.LogCaptureFixture
) -> None:
    if word == "host":
        Database(Settings(database_url=f"postgres:///pinglet?host={value}")).engine.dispose()
    else:
        opened_by(f"{word}={value}")
    assert caplog.messages == []


@pytest.mark.parametrize(("word", "value"), OTHERS_TAKEN.items())
def test_so_is_a_word_of_other_programs(
    word: str, value: str, caplog: pytest.LogCaptureFixture
) -> None:
    opened_by(f"{word}={value}")
    assert caplog.messages == []


@pytest.mark.parametrize(
    ("word", "value"),
    [*IGNORED.items(), *OTHERS_IGNORED.items(), *OTHER_VALUES.items()],
)
def test_any_other_word_is_named_in_a_warning_without_its_value(
    word: str, value: str, caplog: pytest.LogCaptureFixture
) -> None:
    opened_by(f"{word}={value}")
    assert caplog.messages == [f"DATABASE_URL: Pinglet ignores {word}"]
    assert caplog.records[0].levelno == logging.WARNING
    assert value not in caplog.text.replace(word, "").rpartition("ignores")[2]


def test_words_are_warned_of_once_in_a_process(caplog: pytest.LogCaptureFixture) -> None:
    for _time in range(3):
        opened_by("service=a&passfile=b&channel_binding=require")
    assert caplog.messages == ["DATABASE_URL: Pinglet ignores service, passfile"]


def test_what_is_no_word_is_not_shown(caplog: pytest.LogCaptureFixture) -> None:
    """An @ in a password, or a ? in a name, and the rest of a secret stands there."""
    opened_by("s3cr3t%40db.example=1")
    assert "s3cr3t" not in caplog.text


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("port=many", "port must be 1 to 65535"),
        ("port=99999", "port must be 1 to 65535"),
        ("sslcert=/no/such/file&sslmode=require", "sslcert and sslkey must be files"),
        ("host=other.example", "host must be a socket's folder"),
        ("sslrootcert=/no/such&sslmode=require", "^sslrootcert or PINGLET_DATABASE_CA must be"),
    ],
)
def test_what_contradicts_itself_is_a_wrong_setting(query: str, told: str) -> None:
    with pytest.raises(SettingsError, match=told):
        opened_by(query)


@pytest.mark.parametrize(
    ("url", "host", "port"),
    [
        ("postgres://a,b/x?target_session_attrs=primary", "a", 5432),
        ("postgres://a:5433,b:5434/x", "a", 5433),
        ("postgres://a,b:5434/x", "a", 5432),
        ("postgres://u,v:p,w@a:5433,b/x", "a", 5433),
        ("postgres://u:p@[::1]:5433,[::2]:5434/x", "::1", 5433),
        ("postgres://,b/x", "localhost", 5432),
        ("postgres:///x?host=a,b&port=5433,5434", "a", 5433),
        ("postgres:///x?host=a,b&port=,5434", "a", 5432),
    ],
)
def test_of_several_hosts_the_first_is_taken_with_a_warning(
    url: str, host: str, port: int, caplog: pytest.LogCaptureFixture
) -> None:
    settings = Settings()
    for _time in range(2):
        read = _postgres_arguments(database_url(url), settings)
    assert (read["host"], read["address"], read["port"], read["database"]) == (
        host,
        host,
        port,
        "x",
    )
    told = "DATABASE_URL: Pinglet connects to the first of several hosts only"
    assert caplog.messages == [told]


def test_so_is_the_first_host_of_a_secret(caplog: pytest.LogCaptureFixture) -> None:
    url = url_in_secret('{"host": "a,b", "dbname": "x"}', Settings())
    assert _postgres_arguments(url, Settings())["host"] == "a"
    assert len(caplog.messages) == 1


def test_a_password_with_a_comma_never_reaches_another_host() -> None:
    with pytest.raises(SettingsError, match="must be written as %40 and %2C") as refused:
        libpq.with_first_host("postgres://u:p@ss,word@db.example/pinglet")
    assert "word@" not in str(refused.value)


def test_a_comma_elsewhere_is_none_between_hosts(caplog: pytest.LogCaptureFixture) -> None:
    for url in ("postgres://u,v:p,w@a/x,y?search_path=a,b", "sqlite:///a,b.db"):
        assert libpq.with_first_host(url) == url
    assert caplog.messages == []


def test_the_last_of_a_repeated_word_counts(caplog: pytest.LogCaptureFixture) -> None:
    url = database_url("postgres://a/x?sslmode=disable&user=me&sslmode=require&user=you")
    assert libpq.words(url) == {"sslmode": "require", "user": "you"}
    assert caplog.messages == []


def test_a_mode_that_would_not_verify_is_read_as_the_stricter_one(
    caplog: pytest.LogCaptureFixture,
) -> None:
    settings = Settings(database_url="postgres://127.0.0.1/x?sslmode=no-verify")
    read = _postgres_arguments(database_url(settings.database_url), settings)
    assert read["ssl_context"].verify_mode is ssl.CERT_REQUIRED
    (told,) = caplog.messages
    assert "reads sslmode=no-verify as require" in told


def test_user_password_port_and_database_may_stand_after_the_mark() -> None:
    url = database_url("postgres:///?host=localhost&user=me&password=s&port=5433&dbname=watch")
    placed = libpq.with_places(url, libpq.words(url))
    assert (placed.username, placed.password, placed.port, placed.database) == (
        *("me", "s", 5433, "watch"),
    )


def test_the_words_reach_the_server(postgres: Postgres, postgres_settings: Settings) -> None:
    query = "?application_name=watch&options=-csearch_path%3Dpg_catalog,public%20-c%20work_mem=5MB"
    settings = Settings(database_url=f"{postgres_settings.database_url}{query}")
    with opened(settings) as database, database.reading() as session:
        shown = ("application_name", "search_path", "work_mem", "client_encoding")
        found = [session.scalar(text(f"SHOW {name}")) for name in shown]
    assert found == ["watch", "pg_catalog,public", "5MB", "UTF8"]


def test_an_address_beside_a_host_is_where_we_connect(postgres: Postgres) -> None:
    url = postgres.url().replace("127.0.0.1", "db.example") + "?hostaddr=127.0.0.1&sslmode=disable"
    with opened(Settings(database_url=url)) as database:
        assert works(database)


def test_the_time_to_connect_can_be_shorter_but_no_longer() -> None:
    assert libpq.connect_timeout_s({"connect_timeout": "3"}, 10) == 3
    assert libpq.connect_timeout_s({"connect_timeout": "30"}, 10) == 10
    assert libpq.connect_timeout_s({"connect_timeout": "0"}, 10) == 10
    assert libpq.connect_timeout_s({"connect_timeout": "-1"}, 10) == 10
    assert libpq.connect_timeout_s({}, 10) == 10


@pytest.mark.parametrize(
    ("said", "settings"),
    [
        ("-c a=1", {"a": "1"}),
        ("-ca=1 --b-c=2", {"a": "1", "b_c": "2"}),
        (r"-c datestyle=ISO,\ MDY", {"datestyle": "ISO, MDY"}),
        (r"-c a.b=c\\d", {"a.b": r"c\d"}),
        ("", {}),
        ("endpoint=ep-1", {}),
    ],
)
def test_options_are_read_as_the_server_reads_them(said: str, settings: dict[str, str]) -> None:
    assert libpq.options(said) == settings


def test_our_time_out_stands_above_that_of_the_options(postgres_settings: Settings) -> None:
    query = "?options=-c%20statement_timeout%3D0"
    settings = Settings(database_url=postgres_settings.database_url + query)
    with opened(settings, statement_timeout_s=7) as database, database.reading() as session:
        assert session.scalar(text("SHOW statement_timeout")) == "7s"


def test_a_certificate_of_our_own_is_shown(encrypted: Postgres, authority: Path) -> None:
    for command in (
        "req -x509 -newkey ed25519 -nodes -subj /CN=us -days 2 -keyout our.key -out our.pem",
        "pkey -in our.key -aes256 -passout pass:word -out locked.key",
    ):
        subprocess.run(
            ["openssl", *command.split()], cwd=authority, check=True, capture_output=True
        )
    base = encrypted.url().replace("127.0.0.1", TLS_NAME)
    base += f"?sslrootcert={authority}/ca.pem&sslcert={authority}/our.pem&sslkey={authority}"
    for key in ("our.key", "locked.key&sslpassword=word"):
        with opened(Settings(database_url=f"{base}/{key}")) as database:
            assert works(database)
    with pytest.raises(SettingsError, match="sslcert and sslkey must be files"):
        Database(Settings(database_url=f"{base}/locked.key"))


@pytest.fixture
def keyed(postgres: Postgres) -> Iterator[Settings]:
    """Settings of a role that has a password, but for that; its method is the test's to say."""
    administer(postgres, "CREATE ROLE keyed LOGIN PASSWORD 'word'")
    rules = Path(postgres.data) / "pg_hba.conf"
    before = rules.read_text()
    yield Settings(database_url=f"postgres://keyed@127.0.0.1:{postgres.port}/postgres")
    rules.write_text(before)
    administer(postgres, "DROP ROLE keyed", "SELECT pg_reload_conf()")


@pytest.mark.parametrize("method", ["scram-sha-256", "password"])
def test_a_server_that_wants_a_password_and_gets_none_says_so(
    postgres: Postgres, keyed: Settings, method: str
) -> None:
    rules = Path(postgres.data) / "pg_hba.conf"
    rules.write_text(f"host all keyed 127.0.0.1/32 {method}\n{rules.read_text()}")
    administer(postgres, "SELECT pg_reload_conf()")
    assert "DATABASE_URL has none" in why_not(keyed)
    wrong = keyed.database_url.replace("keyed@", "keyed:wrong@")
    assert "refuses" in why_not(Settings(database_url=wrong))
    right = keyed.database_url.replace("keyed@", "keyed:word@")
    with opened(Settings(database_url=right)) as database, database.engine.connect():
        assert libpq.words(database.url) == {}
