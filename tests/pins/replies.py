"""The table of requests x credentials, written down: status, headers, body."""

import re
from collections.abc import Iterable, Iterator, Mapping

from werkzeug.test import TestResponse

from tests.pins.calls import CONTRACT, HISTORY, PAGES, PEOPLE, SERVERS, TRANSFER, Call
from tests.pins.graph import GRAPHQL
from tests.pins.world import NOW, TOKEN, Headers, Place, World, stopped

AREAS: Mapping[str, list[Call]] = {
    "contract": CONTRACT,
    "servers": SERVERS,
    "history": HISTORY,
    "people": PEOPLE,
    "transfer": TRANSFER,
    "pages": PAGES,
    "graphql": GRAPHQL,
}
NORMAL = [
    (TOKEN, "pinglet_<token>"),
    (re.compile(r'W/"[0-9a-f]+"|"[0-9a-f.-]{20,}"'), "<etag>"),
    (re.compile("pinglet_session_[0-9a-f]{8}"), "pinglet_session_<instance>"),
    (re.compile(r"nonce-[\w-]+"), "nonce-<nonce>"),
    (re.compile(r"(expires=)[^;]*", re.IGNORECASE), r"\1<time>"),
    # Python 3.13 names the code 413 anew.
    (re.compile("Request Entity Too Large|Content Too Large"), "<413>"),
    # What a ping on demand took.
    (re.compile(r'("(?:rtt_ms|bound_ms|rttMs|boundMs)":)[0-9.]+'), r"\1<ms>"),
    (re.compile(r'("(?:response_ms|responseMs)":)[0-9.]+(?=,"port":1)'), r"\1<ms>"),
    (re.compile(r'("clock":)"[a-z]+"'), r'\1"<clock>"'),
]
UNKEPT = ("Content-Length", "Date", "Last-Modified")
"""Headers that follow from the body, or from files of this checkout."""
Credentials = Mapping[str, tuple[Place, Headers]]


def table(world: World, kind: str, area: str) -> str:
    """Return the answers to an area's requests; `every` asks each route by each of its methods."""
    everybody = credentials(world, kind)
    if area in AREAS:
        return _cut("\n".join(_row(one, everybody) for one in AREAS[area]))
    rows = "\n".join(_row(one, everybody) for one in bare(everybody["none"][0]))
    return re.sub(r"(?m)^(.{200}).*$", r"\1...", rows)


def _cut(text: str) -> str:
    """Long bodies in several lines, so that one can see where they differ."""
    lines = (
        line if len(line) < 300 else re.sub(r'(\}|\]),(?=[{["])', r"\1,\n", line)
        for line in text.split("\n")
    )
    return "\n".join(lines)


def credentials(world: World, kind: str) -> Credentials:
    """Return who asks, where, and what they show."""
    guarded, shown = world.guarded(kind)
    everybody = {"none": (guarded, {})}
    everybody |= {name: (guarded, headers) for name, headers in shown.items()}
    everybody["session, by a form"] = (guarded, {"Cookie": shown["session"]["Cookie"]})
    return everybody | {"open access": (world.open_to_all(kind), {})}


def bare(place: Place) -> Iterator[Call]:
    """Yield a request without a body to each route by each method there is, and by OPTIONS."""
    for rule in sorted({rule.rule for rule in place.app.url_map.iter_rules()}):
        path = re.sub("<int:[^>]*>", "1", rule).replace("<token>", "1")
        path = path.replace("<name>", "chart.js" if "/lib/" in rule else "icon.svg")
        path = path.replace("<hash_there>", "0123456789abcdef")
        for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"):
            if not path.endswith("/ping"):  # that of server 2 takes no time
                yield Call(method, path)


def _row(call: Call, everybody: Credentials) -> str:
    answers: dict[str, list[str]] = {}
    for name, (place, headers) in everybody.items():
        answers.setdefault(_answer(call, place, headers), []).append(name)
    told = "".join(f"-- {', '.join(names)}\n{answer}" for answer, names in answers.items())
    return f"## {normal(str(call))}\n{told}"


def _answer(call: Call, place: Place, headers: Headers) -> str:
    shown = headers | call.headers
    with (
        stopped(NOW),
        place.client.open(call.path, method=call.method, data=call.body, headers=shown) as response,
    ):
        told = "".join(f"{line}\n" for line in (*_head(response), *_body(response)))
    # A refusal may have taken an id, too, and a wrong password counts.
    if call.method not in ("GET", "HEAD", "OPTIONS") or "Authorization" in call.headers:
        place.restore()
    return normal(told)


def _head(response: TestResponse) -> Iterator[str]:
    yield response.status
    headers = [item for item in response.headers if item[0] not in UNKEPT]
    if all(item in headers for item in EVERYWHERE):
        yield "(the usual headers)"
        headers = [item for item in headers if item not in EVERYWHERE]
    yield from (f"{name}: {_sorted(name, value)}" for name, value in sorted(headers))


EVERYWHERE: list[tuple[str, str]] = [
    ("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'"),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "same-origin"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
]


def _sorted(name: str, value: str) -> str:
    return ", ".join(sorted(value.split(", "))) if name == "Allow" else value


def _body(response: TestResponse) -> Iterable[str]:
    if response.headers.get("Content-Encoding"):
        return [f"({response.headers['Content-Encoding']})"]
    if response.mimetype in ("text/javascript", "text/css", "image/svg+xml"):
        return [f"({response.mimetype})"]
    if response.mimetype == "text/html" and "/static/" in response.text:
        return _outline(response.text)
    if response.status_code == 200 and "openapi.json" in response.request.path:
        return ["(openapi.json)"]
    return [response.text] if response.data else []


def _outline(page: str) -> list[str]:
    """What scripts and people hold on to: the title, and what has an id or leads on."""
    title = re.findall(r"<title>.*?</title>", page, re.DOTALL)
    held = re.findall(r'(?<![\w-])(?:id|href|src|action|name)="[^"]*"', page)
    return [*title, *sorted({_of_library(one) for one in held})]


def _of_library(attribute: str) -> str:
    # From node_modules where npm has put them, else from a CDN.
    found = re.sub(r'"(?:https://[^"]*/npm/|/static/lib/).*"', '"<library>"', attribute)
    return re.sub(r"/static/[0-9a-f]{16}/", "/static/<hash>/", found)


def normal(text: str) -> str:
    """Return it without what differs from run to run."""
    for pattern, shown in NORMAL:
        text = pattern.sub(shown, text)
    return text
