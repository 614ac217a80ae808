"""`flask run` as a process, talked to over real sockets, its worker included."""

import http.client
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from sqlalchemy import text

from core.settings import Settings
from handlers.http import browser
from infra.database import Database
from tests import people
from tests.handlers.calls import named, server
from tests.handlers.conftest import ROOT, environment, flask_command
from tests.postgres import free_port

DEADLINE_S = 250
MB = 1_000_000

pytestmark = pytest.mark.xdist_group("flask run")


class Running:
    """A `flask run` of the test's own; everything it says goes to a file."""

    def __init__(self, folder: Path, *options: str, **variables: str) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}/"
        self.output = folder / "output"
        command = flask_command("run", "--port", str(self.port), *options)
        variables = {"DATABASE_URL": f"sqlite:///{folder}/pinglet.db"} | variables
        if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
            # These tests are a shell's background job: what they start would ignore Ctrl-C as well.
            signal.signal(signal.SIGINT, signal.default_int_handler)
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                command,
                cwd=ROOT,
                env=environment(**variables),
                stdout=output,
                stderr=output,
                start_new_session=True,  # so that Ctrl-C reaches the reloader's child as well
            )

    def wait_until_it_answers(self) -> None:
        give_up = time.monotonic() + DEADLINE_S
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=5).close()
                return
            except OSError:
                assert self.process.poll() is None, self.said()
                assert time.monotonic() < give_up, self.said()
                time.sleep(0.05)

    def said(self) -> str:
        return self.output.read_text(encoding="utf-8")

    def interrupt(self) -> int:
        """Press Ctrl-C; return the exit code."""
        os.killpg(self.process.pid, signal.SIGINT)
        return self.process.wait(DEADLINE_S)

    def close(self) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One server for all tests that leave nothing behind."""
    started = Running(tmp_path_factory.mktemp("flask_run"), PINGLET_WORKER_IN_SERVER="0")
    try:
        started.wait_until_it_answers()
        yield started
    finally:
        started.close()


def call(running: Running, method: str, **options: Any) -> tuple[int, Any]:
    response = requests.request(method, running.url, timeout=DEADLINE_S, **options)
    assert response.headers["Content-Type"] == "application/json"
    return response.status_code, response.json()


def answered(running: Running, request: bytes) -> bytes:
    """Return all that comes back for these octets."""
    with socket.create_connection(("127.0.0.1", running.port), timeout=DEADLINE_S) as connection:
        connection.sendall(request)
        connection.shutdown(socket.SHUT_WR)  # the server reads on until then, to be heard
        return b"".join(iter(lambda: connection.recv(65_536), b""))


def test_the_five_calls_over_http(running: Running) -> None:
    assert call(running, "GET") == (200, {"servers": []})
    assert call(running, "POST", data=server("web")) == (201, {"status": "CREATED"})
    assert call(running, "POST", json={"server": {"name": "web", "IP": "127.0.0.1"}}) == (
        409,
        {"status": "NAME_ALREADY_EXIST"},
    )
    assert call(running, "PUT", data=server("web", "127.0.0.2")) == (200, {"status": "UPDATED"})
    assert call(running, "GET") == (200, {"servers": ["web"]})
    history = (200, {"server": "web", "pings": []})
    assert call(running, "GET", data=named("web")) == history
    assert call(running, "GET", params={"server": "web"}) == history
    assert call(running, "DELETE", data=named("web")) == (200, {"status": "DELETED"})
    assert call(running, "GET", data=named("web")) == (404, {"status": "NAME_DID_NOT_FOUND"})


def test_get_with_a_body_by_the_standard_library(running: Running) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", running.port, timeout=DEADLINE_S)
    connection.request("GET", "/", body=named("nobody"))
    response = connection.getresponse()
    assert (response.status, response.read()) == (404, b'{"status":"NAME_DID_NOT_FOUND"}\n')
    connection.close()


def test_a_body_that_comes_in_chunks_is_read(running: Running) -> None:
    body = server("chunks")
    assert call(running, "POST", data=iter([body[:9], body[9:]])) == (201, {"status": "CREATED"})
    assert call(running, "DELETE", data=iter([named("chunks")])) == (200, {"status": "DELETED"})


@pytest.mark.parametrize("size", [MB + 1, 5 * MB])
def test_a_body_above_1_mb_is_too_large_with_a_length_or_in_chunks(
    running: Running, size: int
) -> None:
    body = server("large").ljust(size)
    head = b"POST / HTTP/1.1\r\nHost: localhost\r\n"
    told = answered(running, head + b"Content-Length: %d\r\n\r\n" % size + body)
    assert told.startswith(b"HTTP/1.1 413 ")
    assert told.endswith(b'{"status":"REQUEST_TOO_LARGE"}\n')
    chunked = b"Transfer-Encoding: chunked\r\n\r\n%x\r\n" % size + body + b"\r\n0\r\n\r\n"
    assert answered(running, head + chunked).startswith(b"HTTP/1.1 413 ")
    assert call(running, "GET") == (200, {"servers": []})


@pytest.mark.parametrize(
    "request_line",
    [
        b"GARBAGE",
        b"GET / HTTP/9.9",
        b"GET /" + b"a" * 70_000 + b" HTTP/1.1",
        b"GET /?server=" + b"a" * 60_000 + b" HTTP/1.1",
        b"GET / HTTP/1.1\r\nX: " + b"a" * 70_000,
        b"GET / HTTP/1.1" + b"\r\nX: a" * 200,
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nnonsense",
        b"POST / HTTP/1.1\r\nContent-Length: -5",
        b"POST / HTTP/1.1\r\nContent-Length: many",
        b"GET ?server=web HTTP/1.1",
        b"GET // HTTP/1.1",
        b"GET /../ HTTP/1.1",
        b"GET /%ff HTTP/1.1",
        b"GET /\xff HTTP/1.1",
        b"GET /?server=\xff HTTP/1.1",
        b"GET * HTTP/1.1",
        b"OPTIONS * HTTP/1.1",
        b"TRACE / HTTP/1.1",
        b"GET http://evil.example/ HTTP/1.1",
        b"GET /console HTTP/1.1",
        b"GET /?__debugger__=yes&cmd=resource&f=style.css HTTP/1.1",
    ],
    ids=lambda line: repr(line[:30]),
)
def test_no_request_is_answered_in_html(running: Running, request_line: bytes) -> None:
    told = answered(running, request_line + b"\r\nHost: localhost\r\n\r\n")
    assert b"<" not in told
    assert b"text/html" not in told
    assert told.rstrip().endswith(b"}")
    assert b" 500 " not in told.split(b"\r\n")[0]
    # What isn't HTTP is answered as HTTP was before it had headers.
    for name, value in browser.HEADERS.items() if told.startswith(b"HTTP/") else ():
        assert f"\r\n{name}: {value}\r\n".encode() in told


def test_a_query_stays_out_of_the_log(running: Running) -> None:
    """Somebody may have put a secret there."""
    answered(running, b"GET /api/v1/health?max_age_s=hunter2 HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert '"GET /api/v1/health HTTP/1.1" 400' in running.said()
    assert "hunter2" not in running.said()


def test_a_worker_in_the_server_pings_and_ctrl_c_ends_both(tmp_path: Path) -> None:
    listener = socket.create_server(("127.0.0.1", 0), backlog=64)
    database_url = f"sqlite:///{tmp_path}/pinglet.db"
    port = str(listener.getsockname()[1])
    command = flask_command("servers", "add", "web", "127.0.0.1", "--probe", "tcp", "--port", port)
    subprocess.run(command, cwd=ROOT, env=environment(database_url), check=True, timeout=250)
    running = Running(tmp_path, PINGLET_WORKER_IN_SERVER="1", PINGLET_ECHO_GAP_S="0")
    try:
        running.wait_until_it_answers()
        ((slot, ms),) = first_ping(running).items()
        assert slot.endswith(":00Z")
        assert 0 <= ms < 1000
        assert running.interrupt() == 0
    finally:
        running.close()
        listener.close()
    assert "Traceback" not in running.said()
    assert "\x1b" not in running.said()
    assert "round" in running.said()


def first_ping(running: Running) -> dict[str, float]:
    give_up = time.monotonic() + DEADLINE_S
    while True:
        code, body = call(running, "GET", params={"server": "web"})
        assert code == 200
        if body["pings"]:
            ping: dict[str, float] = body["pings"][0]
            return ping
        assert time.monotonic() < give_up, running.said()
        time.sleep(0.1)


def test_under_the_reloader_there_is_one_worker(tmp_path: Path) -> None:
    running = Running(tmp_path, "--debug", PINGLET_WORKER_IN_SERVER="1")
    try:
        running.wait_until_it_answers()
        assert call(running, "GET") == (200, {"servers": []})
        assert running.said().count("the worker is running, too") == 1
        running.interrupt()
    finally:
        running.close()
    assert "Traceback" not in running.said()


def test_an_old_postgres_is_503_until_it_is_upgraded(
    tmp_path: Path, postgres_settings: Settings
) -> None:
    database = Database(postgres_settings)
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("DROP DATABASE IF EXISTS old_one"))
        connection.execute(text("CREATE DATABASE old_one TEMPLATE template0"))
    database.engine.dispose()
    url = f"{postgres_settings.database_url.rpartition('/')[0]}/old_one"
    running = Running(tmp_path, DATABASE_URL=url, PINGLET_WORKER_IN_SERVER="0")
    try:
        running.wait_until_it_answers()
        assert call(running, "GET") == (503, {"status": "SERVICE_UNAVAILABLE"})
        assert "flask db upgrade" in running.said()
        upgrade = flask_command("db", "upgrade")
        subprocess.run(upgrade, cwd=ROOT, env=environment(url), check=True, timeout=DEADLINE_S)
        assert call(running, "GET") == (200, {"servers": []})
    finally:
        running.close()


@pytest.fixture
def machines(settings: Settings, tmp_path: Path) -> Iterator[list[Running]]:
    """Two servers on one database without users."""
    started = []
    with people.nobody_but(settings) as own:
        try:
            for name in ("here", "there"):
                folder = tmp_path / name
                folder.mkdir()
                variables = {"DATABASE_URL": own.database_url, "PINGLET_WORKER_IN_SERVER": "0"}
                started.append(Running(folder, **variables))
            for running in started:
                running.wait_until_it_answers()
            yield started
        finally:
            for running in started:
                running.close()


def ask(running: Running, method: str, path: str, **options: Any) -> requests.Response:
    """Call /api/v1."""
    return requests.request(method, f"{running.url}api/v1/{path}", timeout=DEADLINE_S, **options)


def answers(running: Running, shown: dict[str, str]) -> int:
    """Return the code of a request that shows this."""
    return requests.get(running.url, headers=shown, timeout=DEADLINE_S).status_code


def test_what_ends_in_one_process_has_ended_in_the_other(
    machines: list[Running], settings: Settings
) -> None:
    here, there = machines
    for machine in machines:
        assert answers(machine, {}) == 200
        assert "open access: whoever sits at this machine" in machine.said()
    subprocess.run(
        flask_command("users", "add", "ann", "--password-stdin"),
        cwd=ROOT,
        env=environment(settings.database_url),
        input=people.PASSWORD.encode(),
        check=True,
        timeout=DEADLINE_S,
    )
    for machine in machines:
        assert answers(machine, {}) == 401
        assert "every request must carry a token" in machine.said()
    password = people.basic()
    pair = ask(here, "POST", "tokens", headers=password).json()
    log_in = {"name": "ann", "password": people.PASSWORD}
    (session,) = ask(here, "POST", "session", json=log_in).cookies.values()
    for shown in (people.bearer(pair["access"]), people.cookie(session)):
        assert answers(there, shown) == 200
        assert ask(here, "DELETE", "session", headers=shown).status_code == 200
        assert answers(there, shown) == 401
    spent = {"refresh": pair["refresh"]}
    assert ask(there, "POST", "tokens/refresh", json=spent).status_code == 401
    key = ask(here, "POST", "tokens", json={"name": "script"}, headers=password).json()["token"]
    assert answers(there, people.bearer(key)) == 200
    new = {"old": people.PASSWORD, "new": "another good password"}
    assert ask(here, "PUT", "me/password", json=new, headers=password).status_code == 200
    assert answers(there, people.bearer(key)) == 401
    assert answers(there, password) == 401
