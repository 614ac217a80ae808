"""Hostile headers at random: no page of another origin passes, nobody untrusted is believed."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from ipaddress import ip_network

import pytest
from flask import request
from flask.testing import FlaskClient
from hypothesis import given
from hypothesis import strategies as st
from werkzeug.test import TestResponse

from core.accounts.records import TokenKind
from core.settings import Settings
from handlers.http.app import create_app
from infra.database import Database
from tests import people
from tests.counts import HEADERS, examples
from tests.people import Headers

OURS, EVIL = "pinglet.example", "evil.example"
EDGE, INNER, CLIENT = "10.1.0.1", "10.1.0.2", "192.0.2.7"
DEFAULT_PORTS = {"http": 80, "https": 443}
Origin = tuple[str, str, int]

names = st.sampled_from(
    [OURS, EVIL, f"www.{OURS}", f"{OURS}.{EVIL}", f"not{OURS}", OURS.upper(), "localhost", CLIENT]
)
ports = st.sampled_from(["", ":80", ":443", ":8443", ":0", ":x", ":99999999"])
hosts = st.builds("{}{}".format, names, ports) | st.sampled_from(["", "[::1]", "[", "null", "a b"])
# What a header can hold at all: servers refuse the rest.
anything = st.text(st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"))
addresses = st.sampled_from(
    [CLIENT, EDGE, INNER, "127.0.0.1", "::1", "[::1]:1", "unknown", "", "_"]
)
lists_of_addresses = st.lists(addresses, max_size=4).map(", ".join)
schemes = st.sampled_from(["http", "https", "HTTPS", "https, http", "gopher", ""])
prefixes = st.sampled_from(["/pinglet", "//evil.example", "/..", "https://evil.example", "/a?b"])
SPOKEN = {
    "X-Forwarded-For": lists_of_addresses | anything,
    "X-Forwarded-Proto": schemes | anything,
    "X-Forwarded-Host": hosts | anything,
    "X-Forwarded-Port": st.sampled_from(["80", "443", "8443", "-1", "x"]) | anything,
    "X-Forwarded-Prefix": prefixes | anything,
    "Forwarded": st.builds("for={};host={};proto={}".format, addresses, hosts, schemes) | anything,
    "X-Real-IP": addresses,
    "X-Forwarded-Server": hosts,
    "X-Original-URL": st.sampled_from(["/", "/api/v1/health", "/login"]),
    "X-HTTP-Method-Override": st.sampled_from(["GET", "DELETE"]),
    "X-Script-Name": prefixes,
}
spoken = st.fixed_dictionaries({}, optional=SPOKEN)
"""What an attacker may write of proxies."""


@dataclass
class Instance:
    """An instance at which somebody is logged in, and what its application is told of callers."""

    client: FlaskClient
    cookie: Headers
    told: tuple[str | None, ...] = ()

    def ask(self, method: str, path: str, said: Headers, peer: str) -> TestResponse:
        """Ask as `peer` passes it on; the session's cookie is always shown."""
        shown = {"Cookie": self.cookie["Cookie"]} | said
        over = {f"HTTP_{name.upper().replace('-', '_')}": value for name, value in shown.items()}
        self.told = ()
        return self.client.open(path, method=method, environ_overrides=over | {"REMOTE_ADDR": peer})

    def changes(self, said: Headers, peer: str) -> bool:
        """Whether a change is let through: that there is no such token is found out behind it."""
        response = self.ask("DELETE", "/api/v1/tokens/999", said, peer)
        assert response.status_code in (400, 403, 404), response.text
        return response.status_code == 404


@pytest.fixture
def instance(settings: Settings) -> Iterator[Instance]:
    """An instance with a name, behind two proxies that it trusts."""
    guarded = replace(
        settings,
        authentication=True,
        hosts=(OURS,),
        trusted_proxies=(ip_network("10.1.0.0/24"),),
    )
    app = create_app(guarded)
    database: Database = app.extensions["pinglet"].database
    people.forget_everybody(database)
    text = people.token(database, people.add(database), TokenKind.SESSION)
    made = Instance(app.test_client(use_cookies=False), people.cookie(text))

    def note() -> None:
        made.told = (request.remote_addr, request.host, request.scheme, request.script_root)

    app.before_request_funcs.setdefault(None, []).insert(0, note)
    yield made
    people.forget_everybody(database)
    database.engine.dispose()


def of_page(origin: Origin) -> str:
    """Return the Origin that a browser sends from such a page."""
    scheme, name, port = origin
    shown = "" if port == DEFAULT_PORTS[scheme] else f":{port}"
    return f"{scheme}://{name}{shown}"


def site_of(page: Origin, target: Origin) -> str:
    """Return the Sec-Fetch-Site that a browser sends (W3C Fetch Metadata), by scheme and name."""
    if page == target:
        return "same-origin"
    is_sibling = page[1] == target[1] or page[1].endswith(f".{target[1]}")
    return "same-site" if page[0] == target[0] and is_sibling else "cross-site"


pages = st.tuples(
    st.sampled_from(["http", "https"]),
    st.sampled_from([OURS, EVIL, f"www.{OURS}", f"{OURS}.{EVIL}", "localhost"]),
    st.sampled_from([80, 443, 3000, 8443]),
)


@examples(60, HEADERS)
@given(
    page=st.one_of(st.just(("https", OURS, 8443)), st.just(("https", OURS, 443)), pages),
    target=st.sampled_from([("https", OURS, 443), ("https", OURS, 8443), ("http", OURS, 80)]),
    is_modern=st.booleans(),
    proxy=st.sampled_from(["default", "$host", "$http_host", "trusted"]),
    forged=spoken,
)
def test_a_page_passes_with_a_cookie_if_it_is_our_own_and_never_else(
    instance: Instance,
    page: Origin,
    target: Origin,
    is_modern: bool,
    proxy: str,
    forged: Headers,
) -> None:
    """A browser tells the truth of its page; what proxies make of it is in docs/proxies.md."""
    said = forged | {"Origin": of_page(page), "X-Requested-With": "fetch"}
    if is_modern:
        said["Sec-Fetch-Site"] = site_of(page, target)
    host = of_page(target).partition("://")[2]
    peer = "203.0.113.5"
    if proxy == "trusted":
        peer = EDGE
        said |= {
            "Host": "127.0.0.1:5000",
            "X-Forwarded-For": ", ".join([forged.get("X-Forwarded-For", ""), CLIENT]),
            "X-Forwarded-Proto": target[0],
            "X-Forwarded-Host": host,
            "X-Forwarded-Port": "",
            "X-Forwarded-Prefix": "",
        }
    else:
        said["Host"] = {"default": "127.0.0.1:5000", "$host": OURS, "$http_host": host}[proxy]
    passes = instance.changes(said, peer)
    if page == target:
        # An old browser behind a proxy that leaves the name or the port out can't be told.
        assert passes or not (is_modern or proxy in ("$http_host", "trusted"))
        return
    is_told = proxy == "trusted" and not may_have_ended_tls_before_us(page, target)
    if is_modern or is_told or page[1] != OURS:
        assert not passes


def may_have_ended_tls_before_us(page: Origin, target: Origin) -> bool:
    """Whether a proxy before ours, which says http, can have made this page's https of it."""
    return (page[0], page[2], *target) == ("https", 443, "http", page[1], 80)


@examples(60, HEADERS)
@given(
    host=hosts,
    origin=st.none() | hosts.map("https://{}".format) | hosts.map("http://{}".format) | anything,
    site=st.sampled_from([None, "same-origin", "same-site", "cross-site", "none", "x"]) | anything,
    forged=spoken,
    peer=st.sampled_from(
        [CLIENT, "203.0.113.5", "127.0.0.1", "::1", "10.1.1.1", "::ffff:10.2.0.1"]
    ),
)
def test_what_an_untrusted_peer_says_of_proxies_changes_nothing(
    instance: Instance,
    host: str,
    origin: str | None,
    site: str | None,
    forged: Headers,
    peer: str,
) -> None:
    given_away = {"Host": host, "Origin": origin, "Sec-Fetch-Site": site}
    plain = {name: value for name, value in given_away.items() if value is not None}
    for method, path in (
        ("GET", "/dashboard/account"),
        ("GET", "/"),
        ("DELETE", "/api/v1/tokens/999"),
    ):
        answers = []
        for said in (plain, plain | forged):
            response = instance.ask(method, path, said | {"X-Requested-With": "fetch"}, peer)
            lines = sorted(line for line in response.headers if line[0] != "Date")
            answers.append((response.status_code, lines, response.data, instance.told))
        assert answers[0] == answers[1]
        assert answers[0][0] < 500
        if instance.told:
            assert instance.told[0] == peer


@examples(60, HEADERS)
@given(forged=spoken, hops=st.sampled_from([[], [INNER]]), client=st.sampled_from([CLIENT, "::2"]))
def test_the_client_is_who_reached_our_proxies_whatever_it_writes(
    instance: Instance, forged: Headers, hops: list[str], client: str
) -> None:
    """The first of ours sets what it knows, and adds to X-Forwarded-For what the client wrote."""
    written = [forged["X-Forwarded-For"]] if "X-Forwarded-For" in forged else []
    said = forged | {
        "Host": "127.0.0.1:5000",
        "X-Forwarded-For": ", ".join([*written, client, *hops]),
        "X-Forwarded-Proto": "https",
        "X-Forwarded-Host": OURS,
        "X-Forwarded-Port": "",
        "X-Forwarded-Prefix": "/pinglet",
    }
    assert instance.ask("GET", "/", said, EDGE).status_code < 400
    assert instance.told == (client, OURS, "https", "/pinglet")
