"""What is asked over HTTP: requests to every route, good ones and bad ones."""

import json
from dataclasses import dataclass, field
from typing import Any

from tests.pins.world import PASSWORD, Headers, basic, history

JSON = {"Content-Type": "application/json"}
V1 = "/api/v1"


@dataclass
class Call:
    """A request; credentials come to its headers, unless it shows its own."""

    method: str
    path: str
    body: bytes = b""
    headers: Headers = field(default_factory=dict)

    def __str__(self) -> str:
        """Return it as a heading."""
        words = [f"{self.method} {self.path}"]
        words += [f"> {name}: {value}" for name, value in self.headers.items()]
        if self.body:
            told = self.body[:1500].decode(errors="backslashreplace")
            words.append(f"> {told}" + (f"... {len(self.body)} bytes" * (len(self.body) > 1500)))
        return "\n".join(words)


def call(words: str, body: object = None, **headers: str) -> Call:
    """Return a request; a body that isn't bytes is sent as JSON."""
    method, _, path = words.partition(" ")
    octets = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
    return Call(method, path, octets, {name.replace("_", "-"): v for name, v in headers.items()})


def named(name: object, ip: object = "127.0.0.9", **more: object) -> dict[str, Any]:
    """Return the contract's body for a server."""
    return {"server": {"name": name, "IP": ip} | more}


CONTRACT = [
    call("GET /"),
    call("GET /", Accept="text/html"),
    call("GET /", Accept="application/json"),
    call("GET /", {"server": "web"}),
    call("GET /?server=web&limit=3"),
    call("GET /?server=cache&limit=2"),
    call("GET /?server=web&since=2026-01-18T10:00:00Z&limit=2"),
    call("GET /?server=web&until=2026-01-18T10:03:00Z&limit=2"),
    call("GET /?server=web&since=2026-01-18&until=2026-01-18T10:02:00%2B00:00"),
    call("GET /?server=web&server=db"),
    call("GET /?server=web", {"server": "db"}),
    call("GET /?server=nobody"),
    call("GET /?server=web&limit=0"),
    call("GET /?server=web&limit=10001"),
    call("GET /?server=web&since=yesterday"),
    call("GET /?limit=3"),
    call("GET /?more=3"),
    call("GET /?server=%FF"),
    call("GET /?server=old&limit=1"),
    call("HEAD /"),
    call("OPTIONS /"),
    call("PATCH /"),
    call("GET /", b"{"),
    call("POST /", named("new")),
    call("POST /", named("new", probe="tcp", port=443)),
    call("POST /", named("  new  ")),
    call("POST /", named("web")),
    call("POST /", named("")),
    call("POST /", named("new", "example.com")),
    call("POST /", named("new", "224.0.0.1")),
    call("POST /", named("new", "0.0.0.0")),
    call("POST /", named("new", "127.0.0.01")),
    call("POST /", named("new", port=0)),
    call("POST /", named("new", probe="udp")),
    call("POST /", named("new", more=1)),
    call("POST /", named("n" * 256)),
    call("POST /", named("a\nb")),
    call("POST /", named(3)),
    call("POST /", {"server": "new"}),
    call("POST /", []),
    call("POST /"),
    call("POST /", b"{"),
    call("POST /", b'{"server": {"name": "a", "name": "b", "IP": "127.0.0.9"}}'),
    call("POST /", b"\xff\xfe"),
    call("POST /", b'{"server": "' + b"x" * 1_000_001 + b'"}'),
    call("POST /", named("new"), Origin="https://elsewhere.example"),
    call("POST /", named("new"), Sec_Fetch_Site="cross-site"),
    call("POST /", named("new"), Host="elsewhere.example"),
    call("GET /", Host="elsewhere.example"),
    call("GET /", X_Forwarded_For="192.0.2.1"),
    call("PUT /", named("web", "127.0.0.8")),
    call("PUT /", named("web", "127.0.0.8", probe="icmp")),
    call("PUT /", named("web", port=22)),
    call("PUT /", named("nobody")),
    call("PUT /", {"server": "web"}),
    call("DELETE /", {"server": "web"}),
    call("DELETE /", {"server": "nobody"}),
    call("DELETE /", named("web")),
    call("DELETE /?server=web"),
    call("DELETE /"),
]

NEW = {"name": "new", "ip": "127.0.0.9"}
SERVERS = [
    call(f"GET {V1}/servers"),
    call(f"GET {V1}/servers", Accept_Encoding="gzip"),
    *(
        call(f"GET {V1}/servers?{query}")
        for query in (
            "limit=1",
            "limit=1&after=1",
            "name=web",
            "name=nobody",
            "search=WEB",
            "search=127.0.0.2",
            "state=down&limit=1",
            "state=nothing",
            "sort=name&limit=1",
            "sort=-name&limit=1",
            "sort=state&limit=1",
            "sort=-state&limit=1",
            "sort=response_ms&limit=1",
            "sort=-response_ms&limit=1",
            "sort=-added&limit=1",
            "sort=color",
            "limit=0",
            "limit=1001",
            "limit=x",
            "limit=1&limit=2",
            "after=nonsense",
            "more=1",
        )
    ),
    call(f"POST {V1}/servers", NEW),
    call(f"POST {V1}/servers", NEW | {"probe": "tcp", "port": 443}),
    call(f"POST {V1}/servers", NEW | {"interval_s": 300, "enabled": False}),
    call(f"POST {V1}/servers", NEW | {"port": 443.0}),
    call(f"POST {V1}/servers", NEW | {"port": 70_000}),
    call(f"POST {V1}/servers", NEW | {"port": "443"}),
    call(f"POST {V1}/servers", NEW | {"interval_s": 61}),
    call(f"POST {V1}/servers", NEW | {"interval_s": 30}),
    call(f"POST {V1}/servers", NEW | {"enabled": "yes"}),
    call(f"POST {V1}/servers", NEW | {"probe": "udp"}),
    call(f"POST {V1}/servers", NEW | {"more": 1}),
    call(f"POST {V1}/servers", NEW | {"name": "web"}),
    call(f"POST {V1}/servers", NEW | {"name": " "}),
    call(f"POST {V1}/servers", NEW | {"name": "n" * 256}),
    call(f"POST {V1}/servers", NEW | {"name": "a\tb"}),
    call(f"POST {V1}/servers", NEW | {"ip": "example.com"}),
    call(f"POST {V1}/servers", NEW | {"ip": "255.255.255.255"}),
    call(f"POST {V1}/servers", {"name": "new"}),
    call(f"POST {V1}/servers", []),
    call(f"POST {V1}/servers", b"{"),
    call(f"POST {V1}/servers", b'{"name": NaN}'),
    call(f"POST {V1}/servers", b" " * 1_000_001),
    call(f"POST {V1}/servers", NEW, Origin="http://localhost"),
    call(f"POST {V1}/servers", NEW, Origin="null"),
    call(f"POST {V1}/servers", NEW, Sec_Fetch_Site="same-origin"),
    call(f"POST {V1}/servers", NEW, Sec_Fetch_Site="same-site"),
    call(f"POST {V1}/servers/bulk", {"servers": []}),
    call(
        f"POST {V1}/servers/bulk",
        {"servers": [NEW, NEW, {"name": "web", "ip": "127.0.0.1"}, {"name": "x"}, 3 * "x", {}]},
    ),
    call(
        f"POST {V1}/servers/bulk",
        {
            "upsert": True,
            "servers": [
                NEW | {"interval_s": 120},
                {"name": "web", "ip": "127.0.0.1"},
                {"name": "db", "ip": "127.0.0.7", "port": None},
                {"name": "cache", "ip": "224.0.0.1"},
                {"name": "old", "ip": "127.0.0.4", "enabled": True},
                {"name": "later", "ip": "127.0.0.10", "port": 0},
            ],
        },
    ),
    call(
        f"POST {V1}/servers/bulk",
        {"servers": [NEW, {"name": "x"}, {"name": "web", "ip": "127.0.0.1"}, {"more": 1}]},
    ),
    call(f"POST {V1}/servers/bulk", {"servers": [NEW] * 10_001}),
    call(f"POST {V1}/servers/bulk", {"servers": NEW}),
    call(f"POST {V1}/servers/bulk", {"servers": [NEW], "upsert": 1}),
    call(f"GET {V1}/servers/1"),
    call(f"GET {V1}/servers/4"),
    call(f"GET {V1}/servers/99"),
    call(f"GET {V1}/servers/99999999999999999999"),
    call(f"GET {V1}/servers/web"),
    call(f"GET {V1}/servers/1/"),
    call(f"PATCH {V1}/servers/1", {}),
    call(f"PATCH {V1}/servers/1", {"name": "web-2", "ip": "127.0.0.8", "port": 22}),
    call(f"PATCH {V1}/servers/2", {"port": None, "probe": "auto"}),
    call(f"PATCH {V1}/servers/1", {"interval_s": 86_400}),
    call(f"PATCH {V1}/servers/1", {"enabled": False}),
    call(f"PATCH {V1}/servers/4", {"enabled": True, "interval_s": 120}),
    call(f"PATCH {V1}/servers/1", {"name": "db"}),
    call(f"PATCH {V1}/servers/1", {"port": 0}),
    call(f"PATCH {V1}/servers/1", {"probe": None}),
    call(f"PATCH {V1}/servers/1", {"ip": "::1"}),
    call(f"PATCH {V1}/servers/1", {"color": 1}),
    call(f"PATCH {V1}/servers/99", {"name": "x"}),
    call(f"DELETE {V1}/servers/1"),
    call(f"DELETE {V1}/servers/99"),
    call(f"POST {V1}/servers/2/ping"),
    call(f"POST {V1}/servers/99/ping"),
]

HISTORY = [
    *(
        call(f"GET {V1}/servers/1/{query}")
        for query in (
            "pings?limit=2",
            "pings?since=2026-01-18T10:00:00Z&limit=2",
            "pings?until=2026-01-18T10:02:00&limit=2",
            "pings?since=2026-01-20T11:58:00Z&until=2026-01-20T12:00:00Z",
            "pings?since=2026-01-21",
            "pings?limit=0",
            "pings?limit=10001",
            "pings?since=x",
            "pings?since=2026-01-20&until=2026-01-19",
            "pings?more=1",
            "series?points=3",
            "series?points=2&since=2026-01-18&until=2026-01-21",
            "series?points=1&since=2026-01-18T10:00:00Z&until=2026-01-18T10:10:00Z",
            "series?points=0",
            "series?points=2001",
            "series?since=x",
            "series?since=2026-01-20&until=2026-01-19",
            "summary",
            "summary?window=7d",
            "summary?window=15m",
            "summary?window=1w",
            "summary?window=1y",
            "summary?window=0d",
            "summary?window=1x",
            "summary?since=2026-01-18&until=2026-01-19",
            "summary?since=2026-01-18&window=1d",
            "summary?since=8999-12-31&until=9999-12-31",
        )
    ),
    *(
        call(f"GET {V1}/servers/{server}/{what}")
        for server in (2, 3, 4, 5)
        for what in ("pings?limit=1", "series?points=1", "summary?window=7d")
    ),
    call(f"GET {V1}/servers/99/pings"),
    call(f"GET {V1}/servers/99/series"),
    call(f"GET {V1}/servers/99/summary"),
]

USER = {"name": "new", "password": PASSWORD, "role": "viewer"}
PEOPLE = [
    call(f"GET {V1}/me"),
    call(f"GET {V1}/me", Authorization=basic("ann")),
    call(f"GET {V1}/me", Authorization=basic("ann", "wrong password")),
    call(f"GET {V1}/me", Authorization=basic("nobody")),
    call(f"GET {V1}/me", Authorization="Bearer nonsense"),
    call(f"GET {V1}/me", Authorization="Basic nonsense"),
    call(f"GET {V1}/me", Cookie="pinglet_session=nonsense"),
    call(f"GET {V1}/users"),
    call(f"POST {V1}/users", USER),
    call(f"POST {V1}/users", USER | {"name": "ann"}),
    call(f"POST {V1}/users", USER | {"name": "a:b"}),
    call(f"POST {V1}/users", USER | {"name": ""}),
    call(f"POST {V1}/users", USER | {"password": "short"}),
    call(f"POST {V1}/users", USER | {"role": "king"}),
    call(f"POST {V1}/users", USER | {"more": 1}),
    call(f"POST {V1}/users", {"name": "new"}),
    call(f"PATCH {V1}/users/3", {"role": "admin"}),
    call(f"PATCH {V1}/users/3", {"enabled": False}),
    call(f"PATCH {V1}/users/3", {"password": "another long password"}),
    call(f"PATCH {V1}/users/3", {}),
    call(f"PATCH {V1}/users/1", {"role": "viewer"}),
    call(f"PATCH {V1}/users/1", {"enabled": False}),
    call(f"PATCH {V1}/users/99", {"enabled": False}),
    call(f"PATCH {V1}/users/3", {"name": "x"}),
    call(f"DELETE {V1}/users/3"),
    call(f"DELETE {V1}/users/1"),
    call(f"DELETE {V1}/users/99"),
    call(f"PUT {V1}/me/password", {"old": PASSWORD, "new": "another long password"}),
    call(f"PUT {V1}/me/password", {"old": "wrong", "new": "another long password"}),
    call(f"PUT {V1}/me/password", {"old": PASSWORD, "new": "short"}),
    call(f"PUT {V1}/me/password", {"new": "another long password"}),
    call(f"POST {V1}/session", {"name": "vic", "password": PASSWORD}),
    call(f"POST {V1}/session", {"name": "vic", "password": "wrong password"}),
    call(f"POST {V1}/session", {"name": "vic"}),
    call(f"POST {V1}/session", {"name": "vic", "password": PASSWORD, "more": 1}),
    call(f"DELETE {V1}/session"),
    call(f"GET {V1}/tokens"),
    call(f"POST {V1}/tokens"),
    call(f"POST {V1}/tokens", Authorization=basic("vic")),
    call(f"POST {V1}/tokens", {"name": "script"}),
    call(f"POST {V1}/tokens", {"name": "script", "scope": "write", "expires_in_s": 60}),
    call(f"POST {V1}/tokens", {"name": "script", "scope": "admin"}),
    call(f"POST {V1}/tokens", {"name": "script", "scope": "all"}),
    call(f"POST {V1}/tokens", {"name": "script", "expires_in_s": 59}),
    call(f"POST {V1}/tokens", {"name": ""}),
    call(f"DELETE {V1}/tokens/1"),
    call(f"DELETE {V1}/tokens/99"),
    call(f"DELETE {V1}/tokens/x"),
    call(f"DELETE {V1}/tokens/current"),
    call(f"POST {V1}/tokens/refresh", {"refresh": "nonsense"}),
    call(f"POST {V1}/tokens/refresh", {}),
]

KEPT = history()["servers"]
ROW = [1, 1.5, 1, 2, 4, 4]
CSV = (
    b"record,server,time,ip,probe,port,last_port,interval_s,enabled,"
    b"response_ms,best_ms,worst_ms,sent,received\n"
)
TRANSFER = [
    call(f"GET {V1}/export?after=4"),
    call(f"GET {V1}/export?after=x"),
    call(f"GET {V1}/export?after=4.1.2.3"),
    call(f"GET {V1}/export?format=xml"),
    call(f"GET {V1}/export?format=csv&after=4"),
    call(f"GET {V1}/export?after=4", Accept="text/csv"),
    call(f"POST {V1}/import", {"servers": KEPT[:1]}),
    call(f"POST {V1}/import", {"servers": [KEPT[0] | {"name": "new"}]}),
    call(f"POST {V1}/import", {"servers": [KEPT[0] | {"name": "new", "more": 1}]}),
    call(f"POST {V1}/import", {"servers": [KEPT[0] | {"name": "new", "ip": "224.0.0.1"}]}),
    call(
        f"POST {V1}/import",
        {"days": [{"server": "web", "date": "2026-01-20", "pings": [ROW]}]},
    ),
    call(
        f"POST {V1}/import",
        {"days": [{"server": "nobody", "date": "2026-01-20", "pings": [ROW]}]},
    ),
    call(
        f"POST {V1}/import",
        {"days": [{"server": "web", "date": "2026-02-20", "pings": [ROW]}]},
    ),
    call(
        f"POST {V1}/import",
        {"days": [{"server": "web", "date": "2026-01-20", "pings": [[1440, *ROW[1:]]]}]},
    ),
    call(
        f"POST {V1}/import",
        {"days": [{"server": "web", "date": "2026-01-20", "pings": [[1, 1, 1, 1, 4, 5]]}]},
    ),
    call(f"POST {V1}/import", {}),
    call(f"POST {V1}/import", []),
    call(f"POST {V1}/import", b"{"),
    call(
        f"POST {V1}/import",
        CSV + b"server,new,2026-01-17T00:00:00Z,127.0.0.9,auto,,,,,,,,,\n",
        Content_Type="text/csv",
    ),
    call(
        f"POST {V1}/import?format=csv", CSV + b"ping,web,2026-01-20T00:01:00Z,,,,,,,1.5,1,2,4,4\n"
    ),
    call(f"POST {V1}/import?format=csv", CSV + b"ping,web,yesterday,,,,,,,1.5,1,2,4,4\n"),
    call(f"POST {V1}/import?format=csv", CSV + b"nonsense,web,2026-01-20T00:01:00Z,,,,,,,,,,,\n"),
    call(f"POST {V1}/import?format=csv", b"name,IP\nnew,127.0.0.9\n"),
    call(f"POST {V1}/import?format=xml", b""),
    call(f"GET {V1}/metrics", Accept="application/openmetrics-text;version=1.0.0"),
    call(f"GET {V1}/health"),
    call(f"GET {V1}/health?max_age_s=60"),
    call(f"GET {V1}/health?max_age_s=3600"),
    call(f"GET {V1}/health?max_age_s=0"),
]

PAGES = [
    call("GET /dashboard", Accept="text/html"),
    call("GET /dashboard/servers/99", Accept="text/html"),
    call("GET /static/common.js"),
    call("GET /static/style.css"),
    call("GET /static/nothing.js"),
    call("GET /static/../api.py"),
    call("GET /static/lib/nothing"),
    call("GET /nothing"),
    call("GET /api/nothing"),
    call(f"GET {V1}/nothing"),
    call(f"PUT {V1}/servers"),
    call("GET /login", Accept="text/html"),
]
