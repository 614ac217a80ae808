"""Behind a proxy, under a prefix, beside a second instance: who asks, and what they are told."""

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from ipaddress import ip_network
from urllib.parse import parse_qs, urlsplit

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from core.accounts.records import Identity, TokenKind
from core.clock import utc_now
from core.servers import change
from core.servers.records import ServerWanted
from core.settings import UNIX_SOCKET, Proxy, Settings
from handlers.http import proxies
from handlers.http.app import create_app
from handlers.http.pages import PAGES
from infra.database import Database
from tests.people import PASSWORD, Headers, add, basic, cookie, token

PROXY, CLIENT, STRANGER = "10.1.0.1", "192.0.2.7", "198.51.100.9"
TRUSTED: tuple[Proxy, ...] = (ip_network("10.1.0.0/24"), ip_network("2001:db8:1::/48"))
OURS = "pinglet.example"
LOG_IN = {"name": "ann", "password": PASSWORD}
Make = Callable[..., FlaskClient]


@pytest.fixture
def ann(database: Database) -> Identity:
    """An admin."""
    return add(database)


@pytest.fixture
def make(settings: Settings, ann: Identity) -> Iterator[Make]:
    """Make a client of an instance that is set up in this way, of which `ann` is an admin."""
    assert ann.name == LOG_IN["name"]
    with ExitStack() as opened:

        def made(**changes: object) -> FlaskClient:
            usual = {"authentication": True, "hosts": (OURS,), "trusted_proxies": TRUSTED}
            app = create_app(replace(settings, **(usual | changes)))
            opened.callback(app.extensions["pinglet"].database.engine.dispose)
            return app.test_client(use_cookies=False)

        yield made


def ask(
    client: FlaskClient, method: str, path: str, said: Headers, peer: str = PROXY, **more: object
) -> TestResponse:
    """Ask as `peer` passes it on: headers go past the client's own checks."""
    over = {f"HTTP_{name.upper().replace('-', '_')}": value for name, value in said.items()}
    return client.open(
        path,
        method=method,
        environ_overrides=over | {"REMOTE_ADDR": peer},
        **more,
    )


# The table


@dataclass(frozen=True)
class Row:
    """A log-in, as it arrives; whether it is answered, and whether the client came by https."""

    host: str
    origin: str | None = None
    site: str | None = None
    forwarded: Headers = field(default_factory=dict)
    peer: str = STRANGER
    hosts: tuple[str, ...] = (OURS,)
    answered: bool = True
    secure: bool = False

    @property
    def said(self) -> Headers:
        """Its headers."""
        said = {"Host": self.host, "Origin": self.origin, "Sec-Fetch-Site": self.site}
        forwarded = {f"X-Forwarded-{name}": value for name, value in self.forwarded.items()}
        return {name: value for name, value in said.items() if value is not None} | forwarded


HTTPS = {"Proto": "https"}
OF_PROXY = {"Proto": "https", "Host": OURS, "For": CLIENT}
UPSTREAM = "127.0.0.1:5000"
TABLE = {
    "a script": Row(UPSTREAM),
    "a script, by our name": Row(OURS),
    # What nginx sends unless told otherwise: $proxy_host, no word of the client.
    "nginx's default, a browser": Row(UPSTREAM, f"https://{OURS}", "same-origin"),
    "nginx's default, no name set": Row(UPSTREAM, f"https://{OURS}", "same-origin", hosts=()),
    "nginx's default, an upstream by name": Row("localhost:5000", f"https://{OURS}", "same-origin"),
    "nginx's default, http or old browser": Row(UPSTREAM, f"http://{OURS}"),
    "nginx's default, another port, listed": Row(
        UPSTREAM, f"http://{OURS}:8080", hosts=(f"{OURS}:8080",)
    ),
    "nginx's default, an upstream's own name": Row(
        "backend", f"https://{OURS}", "same-origin", answered=False
    ),
    # $host, which has no port.
    "$host": Row(OURS, f"https://{OURS}", "same-origin"),
    "$host and another port": Row(OURS, f"https://{OURS}:8443", "same-origin"),
    "$host and another port, an address": Row(
        "192.0.2.1", "http://192.0.2.1:8080", "same-origin", hosts=()
    ),
    "$host and another port, listed, http": Row(
        OURS, f"http://{OURS}:8080", hosts=(f"{OURS}:8080",)
    ),
    # $http_host, with the port.
    "the port that goes without saying, said": Row(f"{OURS}:443", f"https://{OURS}", "same-origin"),
    "the same of http": Row(f"{OURS}:80", f"http://{OURS}"),
    "the same, said by the browser": Row(OURS, f"https://{OURS}:443"),
    "in capitals": Row(OURS.upper(), f"https://{OURS}"),
    "with its port": Row(f"{OURS}:8443", f"https://{OURS}:8443"),
    "IPv6": Row("[2001:db8::7]:8443", "https://[2001:db8::7]:8443"),
    # Others' pages, which no header of theirs makes ours.
    "foreign": Row(OURS, "https://evil.example", "cross-site", answered=False),
    "foreign, old browser": Row(OURS, "https://evil.example", answered=False),
    "foreign, at nginx's default": Row(
        UPSTREAM, "https://evil.example", "cross-site", answered=False
    ),
    "foreign, at nginx's default, old": Row(UPSTREAM, "https://evil.example", answered=False),
    "sibling": Row(OURS, "https://www.pinglet.example", "same-site", answered=False),
    "sibling by its port": Row(OURS, f"https://{OURS}:3000", "same-site", answered=False),
    "sibling by its port, old browser": Row(OURS, f"http://{OURS}:3000", answered=False),
    "sibling on the usual port, old": Row(f"{OURS}:8080", f"http://{OURS}", answered=False),
    "another scheme": Row(f"{OURS}:443", f"http://{OURS}", answered=False),
    "null": Row(OURS, "null", "cross-site", answered=False),
    "null, whatever else is said": Row(OURS, "null", "same-origin", answered=False),
    "null, old browser": Row(UPSTREAM, "null", answered=False),
    "no origin, foreign": Row(OURS, None, "cross-site", answered=False),
    "no origin, sibling": Row(OURS, None, "same-site", answered=False),
    "an origin that is none": Row(OURS, f"https://{OURS}/", "same-origin", answered=False),
    "a user in it": Row(OURS, f"https://ann@{OURS}", answered=False),
    "a name pointed here": Row(
        "evil.example", "http://evil.example", "same-origin", answered=False
    ),
    # What a trusted proxy says.
    "trusted": Row(
        UPSTREAM, f"https://{OURS}", "same-origin", OF_PROXY, PROXY, (OURS,), secure=True
    ),
    "trusted, old browser": Row(UPSTREAM, f"https://{OURS}", None, OF_PROXY, PROXY, secure=True),
    "trusted, over IPv6": Row(
        UPSTREAM, f"https://{OURS}", None, OF_PROXY, "2001:db8:1::5", secure=True
    ),
    "trusted, IPv4 as IPv6": Row(
        UPSTREAM, f"https://{OURS}", None, OF_PROXY, f"::ffff:{PROXY}", secure=True
    ),
    "trusted, with a port": Row(
        UPSTREAM, f"https://{OURS}:8443", None, OF_PROXY | {"Port": "8443"}, PROXY, secure=True
    ),
    "trusted, port in the host": Row(
        UPSTREAM,
        f"https://{OURS}:8443",
        None,
        {"Proto": "https", "Host": f"{OURS}:8443", "Port": "443"},
        PROXY,
        secure=True,
    ),
    "trusted, usual port": Row(
        UPSTREAM, f"https://{OURS}", None, OF_PROXY | {"Port": "443"}, PROXY, secure=True
    ),
    "trusted, http": Row(OURS, f"http://{OURS}", None, {"Proto": "http"}, PROXY),
    "trusted, HTTPS in capitals": Row(OURS, None, None, {"Proto": "HTTPS"}, PROXY, secure=True),
    "trusted, nonsense": Row(OURS, None, None, {"Proto": "gopher", "Port": "x"}, PROXY),
    "trusted, two proxies": Row(
        UPSTREAM,
        f"https://{OURS}",
        None,
        {"For": f"{CLIENT}, 10.1.0.2", "Proto": "https, http", "Host": f"{OURS}, inner"},
        PROXY,
        secure=True,
    ),
    "trusted, two proxies of which one speaks": Row(
        OURS, None, None, {"For": f"{CLIENT}, 10.1.0.2", "Proto": "https"}, PROXY, secure=True
    ),
    "trusted, the client wrote first": Row(
        UPSTREAM,
        f"http://{OURS}",
        None,
        {"For": f"1.1.1.1, {CLIENT}", "Proto": "https, http", "Host": f"evil.example, {OURS}"},
        PROXY,
    ),
    "trusted, page of http": Row(OURS, f"http://{OURS}", None, HTTPS, PROXY, answered=False),
    "page of http that never leaves this machine": Row(
        "api.localhost:4566",
        "http://api.localhost:4566",
        None,
        HTTPS,
        PROXY,
        hosts=("*",),
        secure=True,
    ),
    "page of http whose name only looks like it": Row(
        "apilocalhost", "http://apilocalhost", None, HTTPS, PROXY, hosts=("*",), answered=False
    ),
    "trusted, foreign": Row(
        UPSTREAM, "https://evil.example", None, OF_PROXY, PROXY, answered=False
    ),
    "trusted, sibling": Row(
        UPSTREAM, f"https://{OURS}:3000", "same-site", OF_PROXY, PROXY, answered=False
    ),
    "trusted, null": Row(UPSTREAM, "null", "same-origin", OF_PROXY, PROXY, answered=False),
    "trusted, an unknown host": Row(
        UPSTREAM, None, None, OF_PROXY | {"Host": "evil.example"}, PROXY, answered=False
    ),
    # Anybody else's word.
    "untrusted https": Row(OURS, None, None, HTTPS),
    "untrusted host": Row("evil.example", None, None, {"Host": OURS}, answered=False),
    "untrusted, in the trusted list's words": Row(OURS, None, None, OF_PROXY | {"For": PROXY}),
    "untrusted, to make a page ours": Row(
        OURS, "https://evil.example", None, {"Host": "evil.example"}, answered=False
    ),
}


def test_log_in_works_behind_every_proxy_and_from_no_other_page(make: Make) -> None:
    clients = {hosts: make(hosts=hosts) for hosts in {row.hosts for row in TABLE.values()}}
    for name, row in TABLE.items():
        client = clients[row.hosts]
        response = ask(client, "POST", "/api/v1/session", row.said, row.peer, json=LOG_IN)
        assert response.status_code == (201 if row.answered else 403), name
        cookies = response.headers.getlist("Set-Cookie")
        assert ["; Secure;" in cookie for cookie in cookies] == [row.secure] * row.answered, name
        if row.answered:
            assert ("Strict-Transport-Security" in response.headers) == row.secure, name


def test_without_the_setting_no_proxy_is_believed(make: Make) -> None:
    client = make(trusted_proxies=())
    for peer in ("127.0.0.1", "::1", PROXY, ""):
        said = {"Host": OURS, "X-Forwarded-Proto": "https", "X-Forwarded-Prefix": "/pinglet"}
        response = ask(client, "POST", "/api/v1/session", said, peer, json=LOG_IN)
        (cookie,) = response.headers.getlist("Set-Cookie")
        assert "Secure" not in cookie
        assert "Path=/;" in cookie


def test_where_nothing_is_asked_for_a_name_that_is_pointed_here_changes_nothing(
    make: Make,
) -> None:
    client = make(authentication=False)
    for origin, status in ((f"https://{OURS}", 201), ("http://evil.example", 403)):
        said = {"Host": UPSTREAM, "Origin": origin, "Sec-Fetch-Site": "same-origin"}
        response = ask(client, "POST", "/api/v1/session", said, json=LOG_IN)
        assert response.status_code == status


def test_open_access_is_never_for_whoever_comes_through_a_trusted_proxy(
    settings: Settings,
) -> None:
    app = create_app(replace(settings, trusted_proxies=(ip_network("127.0.0.0/8"),)))
    client = app.test_client()
    assert ask(client, "GET", "/", {}, "127.0.0.1").status_code == 401  # it says nothing
    for name in ("For", "Proto", "Host", "Port", "Prefix"):
        said = {f"X-Forwarded-{name}": {"For": "127.0.0.1", "Host": "localhost"}.get(name, "")}
        assert ask(client, "GET", "/", said, "127.0.0.1").status_code == 401, name
    app.extensions["pinglet"].database.engine.dispose()


def test_open_access_stays_for_whoever_sits_beside_a_trusted_proxy(settings: Settings) -> None:
    app = create_app(replace(settings, trusted_proxies=(ip_network("127.0.0.9/32"),)))
    for peer, status in (("127.0.0.1", 200), ("127.0.0.9", 401)):
        assert ask(app.test_client(), "GET", "/", {}, peer).status_code == status
    app.extensions["pinglet"].database.engine.dispose()


# Who asks


HOPS = [
    (STRANGER, "", STRANGER),
    (STRANGER, CLIENT, STRANGER),
    (PROXY, "", PROXY),
    (PROXY, CLIENT, CLIENT),
    (PROXY, f" {CLIENT} ", CLIENT),
    (PROXY, f"{CLIENT}:51234", CLIENT),
    (PROXY, "[2001:db8::9]:51234", "2001:db8::9"),
    (PROXY, f"::ffff:{CLIENT}", CLIENT),
    (PROXY, f"1.1.1.1, {CLIENT}", CLIENT),
    (PROXY, f"1.1.1.1, {CLIENT}, 10.1.0.2", CLIENT),
    (PROXY, f"1.1.1.1, {CLIENT}, 2001:db8:1::2, 10.1.0.3", CLIENT),
    (PROXY, f"{PROXY}, {CLIENT}", CLIENT),
    (PROXY, f"{CLIENT}, unknown", PROXY),
    (PROXY, f"{CLIENT}, _hidden, 10.1.0.2", "10.1.0.2"),
    (PROXY, f"{CLIENT},", PROXY),
    (PROXY, "10.1.0.3, 10.1.0.2", "10.1.0.3"),
    (PROXY, "1.1.1", PROXY),
]


@pytest.mark.parametrize(("peer", "said", "client"), HOPS)
def test_the_client_is_the_nearest_hop_that_is_not_trusted(
    peer: str, said: str, client: str
) -> None:
    environ = {"REMOTE_ADDR": peer, "HTTP_X_FORWARDED_FOR": said, "wsgi.url_scheme": "http"}
    proxies.believe(environ, TRUSTED)
    assert environ["REMOTE_ADDR"] == client


@pytest.mark.parametrize("peer", ["", "unix:"])
def test_a_unix_socket_is_trusted_by_its_name_alone(peer: str) -> None:
    for trusted, client in (((UNIX_SOCKET,), CLIENT), (TRUSTED, peer)):
        environ = {"REMOTE_ADDR": peer, "HTTP_X_FORWARDED_FOR": f"unix, {CLIENT}"}
        proxies.believe(environ, trusted)
        assert environ["REMOTE_ADDR"] == client


def test_who_guesses_behind_a_proxy_is_counted_alone(make: Make) -> None:
    client = make()

    def guess(address: str, peer: str = PROXY, right: bool = False) -> int:
        shown = basic("ann", PASSWORD if right else "not it")
        said = {"X-Forwarded-For": f"8.8.8.8, {address}"} | shown
        return ask(client, "GET", "/", said, peer).status_code

    assert [guess(CLIENT) for _ in range(6)] == [401] * 5 + [429]
    assert guess("192.0.2.8", right=True) == 200
    # Who isn't trusted is one caller, whatever they write.
    assert [guess(f"192.0.2.{n}", STRANGER) for n in range(20, 26)] == [401] * 5 + [429]


# Under a prefix


UNDER = {"X-Forwarded-Prefix": "/monitor/pinglet", "Host": OURS}
ADDRESSES = re.compile(r'(?:href|src|action)="(?!#|https://cdn\.)([^"]*)"')


Asked = Callable[..., TestResponse]


def ways_under_a_prefix(make: Make) -> list[Asked]:
    """Return how requests come under it: by a proxy's header, and by the server's own setting."""
    client = make()
    root = "http://localhost/monitor/pinglet"

    def by_proxy(method: str, path: str, said: Headers, **more: object) -> TestResponse:
        return ask(client, method, path, said | UNDER, **more)

    def by_server(method: str, path: str, said: Headers, **more: object) -> TestResponse:
        return ask(client, method, path, said, base_url=root, **more)

    return [by_proxy, by_server]


def test_every_address_of_every_page_is_under_the_prefix(
    make: Make, database: Database, ann: Identity
) -> None:
    shown = cookie(token(database, ann, TokenKind.SESSION))
    web = ServerWanted(name="web", ip="127.0.0.1")
    with database.transaction() as session:
        change.put(session, [web], database.settings, utc_now(), upsert=False)
    pages = [address for _, address, _, _ in PAGES]
    servers = ["/dashboard/servers/1", "/dashboard/servers/4711"]
    for asked in ways_under_a_prefix(make):
        for path in ("/login", *pages, *servers, "/api/v1/docs"):
            page = asked("GET", path, shown)
            assert page.status_code == (404 if path == servers[1] else 200), path
            found = ADDRESSES.findall(page.text)
            assert found, path
            assert [one for one in found if not one.startswith("/monitor/pinglet/")] == [], path
            assert 'data-prefix="/monitor/pinglet"' in page.text or path == "/api/v1/docs"


def test_every_redirect_is_under_the_prefix(make: Make) -> None:
    browser = {"Accept": "text/html"}
    for asked in ways_under_a_prefix(make):
        where = urlsplit(asked("GET", "/dashboard/account?x=1", browser).headers["Location"])
        assert where.path == "/monitor/pinglet/login"
        assert parse_qs(where.query)["next"] == ["/monitor/pinglet/dashboard/account?x=1"]
        on = asked("GET", "/", browser | basic())
        assert on.headers["Location"] == "/monitor/pinglet/dashboard"


def test_every_link_is_under_the_prefix(make: Make, pinged: Callable[..., None]) -> None:
    web = {"name": "web", "ip": "192.0.2.10"}
    by_proxy, by_server = ways_under_a_prefix(make)
    made = by_proxy("POST", "/api/v1/servers", basic(), json=web)
    assert made.headers["Location"] == "/monitor/pinglet/api/v1/servers/1"
    pinged("web", 3)
    for asked in (by_proxy, by_server):
        page = asked("GET", "/?server=web&limit=2", basic())
        assert page.headers["Link"].startswith("</monitor/pinglet/?server=web&")
        spec = asked("GET", "/api/v1/openapi.json", {}).get_json()
        assert spec["servers"] == [{"url": "/monitor/pinglet"}]


def test_every_cookie_is_of_the_prefix(make: Make) -> None:
    for asked in ways_under_a_prefix(make):
        begun = asked("POST", "/api/v1/session", {}, json=LOG_IN).headers["Set-Cookie"]
        assert begun.endswith("; Path=/monitor/pinglet; SameSite=Lax")


def test_a_session_begins_and_ends_under_a_prefix(make: Make) -> None:
    client = make()
    begun = ask(client, "POST", "/api/v1/session", UNDER, json=LOG_IN).headers["Set-Cookie"]
    shown = {"Cookie": begun.partition(";")[0], "X-Requested-With": "x"}
    assert ask(client, "GET", "/api/v1/me", UNDER | shown).status_code == 200
    ended = ask(client, "DELETE", "/api/v1/session", UNDER | shown).headers["Set-Cookie"]
    assert re.sub("=.*?;.*?Path", "=; Path", ended) == re.sub("=.*?;.*?Path", "=; Path", begun)
    assert ask(client, "GET", "/api/v1/me", UNDER | shown).status_code == 401


PREFIXES = [
    ("/pinglet", "/pinglet"),
    ("/pinglet/", "/pinglet"),
    ("/a/b-c/d_e.f~g", "/a/b-c/d_e.f~g"),
    ("", ""),
    ("/", ""),
    ("//evil.example", ""),
    ("https://evil.example", ""),
    ("/\\evil.example", ""),
    ("/a//b", ""),
    ('/"><script>', ""),
    ("/a?b", ""),
    ("/a;Secure", ""),
    ("pinglet", ""),
    ("/pingl\xe9t", ""),
    ("/outer, /inner", "/inner"),
]


@pytest.mark.parametrize(("said", "prefix"), PREFIXES)
def test_a_prefix_is_a_path_and_leads_nowhere_else(said: str, prefix: str) -> None:
    environ = {"REMOTE_ADDR": PROXY, "HTTP_X_FORWARDED_PREFIX": said, "SCRIPT_NAME": ""}
    proxies.believe(environ, TRUSTED)
    assert environ["SCRIPT_NAME"] == prefix


# Load balancers


@pytest.mark.parametrize("host", ["10.1.0.9", "target-7.internal", "evil.example:1", "", None, "_"])
def test_whether_it_works_is_told_under_any_host_and_nothing_else_is(
    make: Make, host: str | None
) -> None:
    client = make()
    said = {} if host is None else {"Host": host}
    if host is None:
        client.environ_base["SERVER_NAME"] = "0.0.0.0"
    for method in ("GET", "HEAD"):
        assert ask(client, method, "/api/v1/health", said).status_code == 200
    if host not in ("10.1.0.9", None):
        for path in ("/", "/login", "/api/v1/openapi.json", "/api/v1/health/"):
            assert ask(client, "GET", path, said).status_code == 403


# A second instance


@pytest.fixture
def two(
    make: Make, settings: Settings, tmp_path_factory: pytest.TempPathFactory
) -> list[FlaskClient]:
    """Two instances with an "ann" each, whose databases are apart."""
    file = tmp_path_factory.mktemp("other") / "pinglet.db"
    other = make(database_url=f"sqlite:///{file}")
    add(other.application.extensions["pinglet"].database)
    return [make(), other]


def test_two_instances_on_one_host_do_not_log_each_other_out(two: list[FlaskClient]) -> None:
    jar: dict[str, str] = {}

    def browse(client: FlaskClient, method: str, path: str, **more: object) -> int:
        shown = "; ".join(f"{name}={value}" for name, value in jar.items())
        said = {"Host": OURS, "Cookie": shown, "X-Requested-With": "x"}
        response = ask(client, method, path, said, **more)
        for line in response.headers.getlist("Set-Cookie"):
            name, _, value = line.partition(";")[0].partition("=")
            jar[name] = value
        return response.status_code

    for client in two:
        assert browse(client, "POST", "/api/v1/session", json=LOG_IN) == 201
    assert [browse(client, "GET", "/api/v1/me") for client in two] == [200, 200]
    assert browse(two[0], "DELETE", "/api/v1/session") == 200
    assert [browse(client, "GET", "/api/v1/me") for client in two] == [401, 200]


def test_a_session_from_before_the_upgrade_goes_on(
    make: Make, database: Database, ann: Identity
) -> None:
    client, old = make(), cookie(token(database, ann, TokenKind.SESSION))
    assert old["Cookie"].startswith("pinglet_session=")
    assert ask(client, "GET", "/api/v1/me", old).status_code == 200
    new = ask(client, "POST", "/api/v1/session", {}, json=LOG_IN).headers["Set-Cookie"]
    both = {"Cookie": f"pinglet_session=other; {new.partition(';')[0]}"}
    assert ask(client, "GET", "/api/v1/me", both).status_code == 200
