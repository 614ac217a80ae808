"""What must never show, whatever a test does, and where it is looked for."""

import gzip
import logging
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from flask import Response, request, request_finished

from tests import people
from tests.postgres import DATABASE_PASSWORD

PLANTED = {"AWS_SECRET_ACCESS_KEY": "p1anted-in-the-environment"}
SECRET = re.compile(
    "|".join(
        [
            r"pinglet_[\w-]{43}",  # tokens
            re.escape("$argon2id$"),  # hashes of passwords
            *map(re.escape, (people.PASSWORD, DATABASE_PASSWORD, *PLANTED.values())),
        ]
    )
)
# Tests of what takes the tokens out of our lines; they look at the lines themselves.
OF_REDACTION = {"test_a_token_in_the_address_is_not_written_down"}
# Where a token is made, its user gets to see it in the reply.
MAKE_TOKENS = {"POST /api/v1/tokens", "POST /api/v1/tokens/refresh"}
# What createToken and createTokenPair answer: {"status":"CREATED",...,"token":{...}}
MADE = re.compile(r'"createToken(?:Pair)?":\{[^{}]*\{[^{}]*\}\}')


@contextmanager
def replies_that_leak() -> Iterator[list[str]]:
    """Collect what shows a secret in the replies of any application in this process."""
    found: list[str] = []

    def look(_app: object, response: Response, **_more: object) -> None:
        found.extend(leaks_of(response, f"{request.method} {request.path}"))

    with request_finished.connected_to(look):
        yield found


def leaks_of(response: Response, call: str = "") -> list[str]:
    """Return the headers of a reply, or its body, that show a secret; `call` is method and path.

    Where a token is made its user gets to see it: in the body of a 201 of these calls, in the
    mutations of GraphQL that make one, and in the one cookie.
    """
    told = [value for name, value in response.headers if name != "Set-Cookie"]
    is_made = response.status_code == 201 and call in MAKE_TOKENS
    if not is_made and not response.is_streamed:
        packed = response.headers.get("Content-Encoding") == "gzip"
        body = gzip.decompress(response.get_data()) if packed else response.get_data()
        told.append(MADE.sub("", body.decode(errors="replace")))
    return [text for text in told if SECRET.search(text)]


def lines_that_leak(records: Iterable[logging.LogRecord]) -> list[str]:
    """Return the lines of the log, tracebacks included, that show a secret.

    As they are before ours take the tokens out: a log of somebody else's would show them.
    """
    return [line for line in map(_line, records) if SECRET.search(line)]


def _line(record: logging.LogRecord) -> str:
    more = getattr(record, "fields", {})
    return f"{logging.Formatter().format(record)} {more}"
