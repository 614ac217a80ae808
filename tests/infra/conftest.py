"""Clusters of a test's own, to be killed, filled up or encrypted; databases without tables."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import NullPool, create_engine, text

from core.settings import Settings
from infra import migrations
from infra.database import Database
from tests.postgres import Postgres

TLS_NAME = "127.1"  # a name to Pinglet, which knows dotted quads only; loopback to the resolver

CA_EXTENSIONS = """
basicConstraints = critical, CA:true
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
"""
SERVER_EXTENSIONS = f"""
basicConstraints = critical, CA:false
authorityKeyIdentifier = keyid
subjectAltName = DNS:{TLS_NAME}
"""


@pytest.fixture
def cluster() -> Iterator[Postgres]:
    """A running Postgres of the test's own, with this release's tables."""
    own = Postgres()
    try:
        own.start()
        database = Database(Settings(database_url=own.url()))
        migrations.upgrade(database.engine)
        database.engine.dispose()
        yield own
    finally:
        own.close()


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two certificate authorities: ca.pem signed server.pem, for TLS_NAME."""
    if not shutil.which("openssl"):
        pytest.skip("NOT TESTED: TLS to Postgres; needs openssl")
    folder = tmp_path_factory.mktemp("authority")
    (folder / "ca.ext").write_text(CA_EXTENSIONS)
    (folder / "server.ext").write_text(SERVER_EXTENSIONS)
    ca = "-CA ca.pem -CAkey ca.key -CAcreateserial"
    for name, extensions, signed in [
        ("ca", "ca", "-signkey ca.key"),
        ("other", "ca", "-signkey other.key"),
        ("server", "server", ca),
    ]:
        key = f"ecparam -name prime256v1 -genkey -noout -out {name}.key"
        request = f"req -new -key {name}.key -subj /CN={name} -out {name}.csr"
        sign = f"x509 -req -in {name}.csr -days 2 {signed} -extfile {extensions}.ext"
        for command in (key, request, f"{sign} -out {name}.pem"):
            subprocess.run(
                ["openssl", *command.split()], cwd=folder, check=True, capture_output=True
            )
    return folder


@pytest.fixture(scope="session")
def encrypted(authority: Path) -> Iterator[Postgres]:
    """A Postgres that speaks TLS, with this release's tables."""
    own = Postgres()
    try:
        certificate = own.write("server.pem", (authority / "server.pem").read_bytes())
        key = own.write("server.key", (authority / "server.key").read_bytes())
        files = f"ssl_cert_file={certificate}", f"ssl_key_file={key}"
        own.start("-c", "ssl=on", "-c", files[0], "-c", files[1])
        database = Database(Settings(database_url=own.url()))
        migrations.upgrade(database.engine)
        database.engine.dispose()
        yield own
    finally:
        own.close()


@pytest.fixture(params=["sqlite", "postgres"])
def bare_settings(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Settings]:
    """Settings for a database without any table: a missing file, or a new one on Postgres."""
    if request.param == "sqlite":
        yield Settings(database_url=f"sqlite:///{tmp_path}/new/pinglet.db")
        return
    postgres: Postgres = request.getfixturevalue("postgres")
    url = postgres.url().replace("postgresql:", "postgresql+pg8000:")
    engine = create_engine(url, isolation_level="AUTOCOMMIT", poolclass=NullPool)
    with engine.connect() as connection:
        connection.execute(text("CREATE DATABASE bare"))
    yield Settings(database_url=postgres.url("bare"))
    with engine.connect() as connection:
        connection.execute(text("DROP DATABASE bare WITH (FORCE)"))


@pytest.fixture
def bare(bare_settings: Settings) -> Iterator[Database]:
    """The same, opened."""
    opened = Database(bare_settings)
    yield opened
    opened.engine.dispose()
