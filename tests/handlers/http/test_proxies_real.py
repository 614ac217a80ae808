"""Real nginx, Caddy and gunicorn, configured as docs/proxies.md says."""

import http.client
import json
import re
import shlex
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from ipaddress import ip_network
from os import kill
from pathlib import Path

import pytest
from flask import request
from werkzeug.serving import make_server

from core.settings import Settings
from handlers.http.app import create_app
from infra.database import Database
from tests.handlers.conftest import environment
from tests.people import PASSWORD, Headers, add, basic

ROOT = Path(__file__).parents[3]
NAME, CLIENT = "pinglet.example.org", "127.0.0.5"
DEADLINE_S = 60
LOG_IN = json.dumps({"name": "ann", "password": PASSWORD})
FORGED = {
    "X-Forwarded-For": "1.2.3.4",
    "X-Forwarded-Proto": "http",
    "X-Forwarded-Host": "127.0.0.1",
    "X-Forwarded-Port": "1",
    "X-Forwarded-Prefix": "/forged",
}
SAYS_NOTHING = """
server {
    listen 443 ssl;
    ssl_certificate /etc/ssl/certs/pinglet.pem;
    ssl_certificate_key /etc/ssl/private/pinglet.key;
    location / { proxy_pass http://127.0.0.1:5000; }
}
"""
AROUND_NGINX = """
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
{server}
}}
"""
AROUND_CADDY = """
{{
    admin off
    auto_https off
}}
{site}
"""


@dataclass
class Front:
    """A proxy on a port of this machine; `seen` is what reached the application."""

    port: int
    prefix: str
    seen: list[tuple[str | None, str, str, str]] = field(default_factory=list)

    @property
    def origin(self) -> str:
        """Where a browser is that looks at it."""
        return f"https://{NAME}:{self.port}"

    def ask(
        self, method: str, path: str, said: Headers | None = None, body: str | None = None
    ) -> http.client.HTTPResponse:
        """Ask by name over TLS, as a client with an address of its own; the body is read."""
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        plain = socket.create_connection(
            ("127.0.0.1", self.port), DEADLINE_S, source_address=(CLIENT, 0)
        )
        connection = http.client.HTTPConnection(NAME, self.port)
        with context.wrap_socket(plain, server_hostname=NAME) as connection.sock:
            connection.request(method, path, body, said or {})
            response = connection.getresponse()
            response.read()
        return response


def shown(kind: str) -> list[str]:
    """Return what docs/proxies.md shows of this kind, in its order."""
    return re.findall(rf"```{kind}\n(.*?)```", (ROOT / "docs/proxies.md").read_text(), re.DOTALL)


def configuration(kind: str, prefix: str) -> str:
    """Return the configuration for a name of its own, or for a prefix that the proxy takes away."""
    at_root, under_prefix, *_ = shown(kind)
    return under_prefix if prefix else at_root


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def certificate(folder: Path) -> tuple[Path, Path]:
    """Make a certificate that signs itself; return its file and its key's."""
    signed, key = folder / "pinglet.pem", folder / "pinglet.key"
    made = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    subject = [
        "-nodes",
        "-days",
        "2",
        "-subj",
        f"/CN={NAME}",
        "-addext",
        f"subjectAltName=DNS:{NAME}",
    ]
    subprocess.run(
        [*made, *subject, "-keyout", str(key), "-out", str(signed)], check=True, capture_output=True
    )
    return signed, key


def replaced(text: str, places: dict[str, str]) -> str:
    """Return a configuration with these ports and files; each must stand in it."""
    for stood, stands in places.items():
        assert stood in text, stood
        text = text.replace(stood, stands)
    return text


@contextmanager
def nginx(folder: Path, shown: str, port: int, upstream: int) -> Iterator[None]:
    """Run nginx; it returns when it listens."""
    signed, key = certificate(folder)
    places = {
        "listen 443 ssl;": f"listen 127.0.0.1:{port} ssl;",
        "/etc/ssl/certs/pinglet.pem": str(signed),
        "/etc/ssl/private/pinglet.key": str(key),
        "127.0.0.1:5000": f"127.0.0.1:{upstream}",
    }
    file = folder / "nginx.conf"
    file.write_text(AROUND_NGINX.format(folder=folder, server=replaced(shown, places)))
    command = ["nginx", "-p", str(folder), "-c", str(file), "-e", str(folder / "error.log")]
    subprocess.run(command, check=True, capture_output=True, timeout=DEADLINE_S)
    try:
        yield
    finally:
        subprocess.run([*command, "-s", "stop"], check=True, capture_output=True)


@contextmanager
def caddy(folder: Path, shown: str, port: int, upstream: int) -> Iterator[None]:
    """Run Caddy; it returns when it listens."""
    signed, key = certificate(folder)
    places = {
        f"{NAME} {{": f"https://{NAME}:{port} {{\n    bind 127.0.0.1\n    tls {signed} {key}",
        "127.0.0.1:5000": f"127.0.0.1:{upstream}",
    }
    file, running = folder / "Caddyfile", folder / "caddy.pid"
    file.write_text(AROUND_CADDY.format(site=replaced(shown, places)))
    subprocess.run(
        ["caddy", "start", "--adapter", "caddyfile", "--config", file, "--pidfile", running],
        check=True,
        env={"HOME": str(folder), "PATH": "/usr/bin:/bin"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        timeout=DEADLINE_S,
    )
    try:
        yield
    finally:
        with suppress(ProcessLookupError):
            kill(int(running.read_text()), signal.SIGTERM)


PROXIES = {"nginx": nginx, "caddy": caddy}


@contextmanager
def gunicorn(settings: Settings, listening: socket.socket, **more: str) -> Iterator[None]:
    """Serve Pinglet with gunicorn on a socket that listens already, with an admin "ann"."""
    database = Database(settings)
    add(database)
    database.engine.dispose()
    (line,) = (line for block in shown("sh") for line in block.splitlines() if "gunicorn" in line)
    command = shlex.split(replaced(line, {"127.0.0.1:5000": f"fd://{listening.fileno()}"}))
    variables = {
        "PINGLET_HOSTS": ",".join(settings.hosts),
        "PINGLET_TRUSTED_PROXIES": ",".join(map(str, settings.trusted_proxies)),
    }
    with subprocess.Popen(
        [sys.executable, "-m", *command],
        cwd=ROOT,
        env=environment(settings.database_url, **variables, **more),
        pass_fds=[listening.fileno()],
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            yield
        finally:
            process.terminate()
            assert process.wait(DEADLINE_S) == 0


@contextmanager
def served(settings: Settings, front: Front) -> Iterator[int]:
    """Serve Pinglet on a free port of this machine, with an admin "ann"; yield the port."""
    app = create_app(settings)
    database = app.extensions["pinglet"].database
    add(database)

    def note() -> None:
        front.seen.append((request.remote_addr, request.host, request.scheme, request.script_root))

    app.before_request(note)
    server = make_server("127.0.0.1", 0, app, threaded=True)
    server.daemon_threads = False
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join(DEADLINE_S)
        server.server_close()
        database.engine.dispose()


@contextmanager
def proxied(
    kind: str, settings: Settings, folder: Path, prefix: str, configured: str
) -> Iterator[Front]:
    """Run a proxy of this kind, so configured, in front of an instance so set up."""
    need(kind)
    front = Front(free_port(), prefix)
    with (
        served(settings, front) as upstream,
        PROXIES[kind](folder, configured, front.port, upstream),
    ):
        yield front


def need(kind: str) -> None:
    """Have a proxy of this kind, or say aloud that it isn't tested."""
    if not shutil.which(kind):
        pytest.skip(f"NOT TESTED: Pinglet behind {kind}; needs {kind} (nginx-light, caddy)")


@pytest.fixture
def guarded(sqlite_settings: Settings) -> Settings:
    """Settings of an instance that is known by its name and trusts the proxy."""
    return replace(sqlite_settings, hosts=(NAME,), trusted_proxies=(ip_network("127.0.0.1"),))


@pytest.fixture(params=["nginx", "caddy"])
def kind(request: pytest.FixtureRequest) -> str:
    """The proxy."""
    name: str = request.param
    return name


@pytest.fixture(params=["", "/pinglet"], ids=["at the root", "under a prefix"])
def front(
    request: pytest.FixtureRequest, kind: str, guarded: Settings, tmp_path: Path
) -> Iterator[Front]:
    """The proxy of docs/proxies.md, in front of an instance that trusts it."""
    configured = configuration(kind, request.param)
    with proxied(kind, guarded, tmp_path, request.param, configured) as running:
        yield running


def log_in_and_walk_on(front: Front) -> None:
    """Do as a browser does, and look at where it is led."""
    prefix = front.prefix
    to_form = front.ask("GET", f"{prefix}/dashboard", {"Accept": "text/html"})
    assert to_form.status == 302
    form = to_form.headers["Location"]
    assert form.startswith(f"{prefix}/login?")
    assert front.ask("GET", form).status == 200
    assert front.ask("GET", f"{prefix}/static/common.js").status == 200
    # An old browser: without a word on where the page is from.
    begun = front.ask("POST", f"{prefix}/api/v1/session", {"Origin": front.origin}, LOG_IN)
    assert begun.status == 201
    assert begun.headers["Set-Cookie"].endswith(
        f"; Secure; HttpOnly; Path={prefix or '/'}; SameSite=Lax"
    )
    assert "Strict-Transport-Security" in begun.headers
    known = {"Cookie": begun.headers["Set-Cookie"].partition(";")[0], "Accept": "text/html"}
    assert front.ask("GET", f"{prefix}/dashboard", known).status == 200
    assert front.ask("GET", f"{prefix}/", known).headers["Location"] == f"{prefix}/dashboard"


def test_one_logs_in_and_walks_on(front: Front) -> None:
    log_in_and_walk_on(front)


def test_no_other_page_and_no_other_name_is_answered(front: Front) -> None:
    session = f"{front.prefix}/api/v1/session"
    for said in (
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": f"https://{NAME}:1", "Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "cross-site"},
    ):
        assert front.ask("POST", session, said, LOG_IN).status == 403


def test_the_application_sees_the_client_and_not_what_it_writes(front: Front) -> None:
    for said in ({}, FORGED):
        front.seen.clear()
        assert front.ask("GET", f"{front.prefix}/", said | basic()).status == 200
        assert front.seen == [(CLIENT, f"{NAME}:{front.port}", "https", front.prefix)]


def test_log_in_works_behind_an_nginx_that_says_nothing(
    sqlite_settings: Settings, tmp_path: Path
) -> None:
    with proxied("nginx", sqlite_settings, tmp_path, "", SAYS_NOTHING) as front:
        for site, origin, status in (
            ("same-origin", front.origin, 201),
            ("cross-site", "https://evil.example", 403),
            ("same-site", f"https://{NAME}:1", 403),
            ("same-origin", "null", 403),
        ):
            said = {"Sec-Fetch-Site": site, "Origin": origin}
            assert front.ask("POST", "/api/v1/session", said, LOG_IN).status == status


# gunicorn


UNDER = {"SCRIPT_NAME": "/pinglet"}


@pytest.mark.parametrize(
    ("number", "variables"),
    [(0, {}), (1, {}), (2, UNDER)],
    ids=["at the root", "X-Forwarded-Prefix", "SCRIPT_NAME"],
)
def test_one_logs_in_and_walks_on_with_gunicorn(
    guarded: Settings, tmp_path: Path, number: int, variables: dict[str, str]
) -> None:
    need("nginx")
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port, front = listening.getsockname()[1], Front(free_port(), "/pinglet" if number else "")
        with (
            gunicorn(guarded, listening, **variables),
            nginx(tmp_path, shown("nginx")[number], front.port, port),
        ):
            log_in_and_walk_on(front)
            said = FORGED | {"SCRIPT_NAME": "/forged"}
            form = front.ask("GET", f"{front.prefix}/dashboard", said | {"Accept": "text/html"})
            assert form.headers["Location"].startswith(f"{front.prefix}/login?")


def test_gunicorn_answers_500_to_what_lacks_its_prefix(guarded: Settings) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as listening,
        gunicorn(guarded, listening, **UNDER),
    ):
        paths = ("/pinglet/api/v1/health", "/api/v1/health")
        assert [asked(listening, "GET", path, {}).status for path in paths] == [200, 500]


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_UNIX])
def test_gunicorn_leaves_what_proxies_say_to_us(
    guarded: Settings, tmp_path: Path, family: socket.AddressFamily
) -> None:
    """Here nobody is trusted."""
    place = ("127.0.0.1", 0) if family == socket.AF_INET else str(tmp_path / "gunicorn.sock")
    with (
        socket.create_server(place, family=family) as listening,
        gunicorn(replace(guarded, trusted_proxies=()), listening),
    ):
        said = {"SCRIPT_NAME": "/api", "X-Forwarded-Prefix": "/api", "X-Forwarded-Proto": "https"}
        begun = asked(listening, "POST", "/api/v1/session", said, LOG_IN)
        assert begun.status == 201
        assert "; Path=/;" in begun.headers["Set-Cookie"]
        # Of a Unix socket gunicorn believes the scheme: only the proxy can connect there.
        assert ("Secure" in begun.headers["Set-Cookie"]) == (family == socket.AF_UNIX)


def asked(
    listening: socket.socket, method: str, path: str, said: Headers, body: str | None = None
) -> http.client.HTTPResponse:
    """Ask without a proxy; the body is read."""
    connection = http.client.HTTPConnection(NAME)
    with socket.socket(listening.family) as connection.sock:
        connection.sock.settimeout(DEADLINE_S)
        connection.sock.connect(listening.getsockname())
        connection.request(method, path, body, said)
        response = connection.getresponse()
        response.read()
    return response
