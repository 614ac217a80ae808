"""Pages that say why there is no other page, and what to do about it.

Each stands for itself: it is also shown where nothing else that a page would load can be reached,
by an unknown host name or behind a proxy that isn't trusted yet.
"""

import re
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from http import HTTPStatus
from pathlib import Path

from flask import Response, render_template, request

from handlers.http import browser

STYLE = Path(__file__).parent / "templates" / "notice.css"
HOSTNAME = re.compile(r"[a-z0-9]([a-z0-9._-]*[a-z0-9])?")
TITLES = {
    HTTPStatus.BAD_REQUEST: "This address can't be understood",
    HTTPStatus.FORBIDDEN: "You may not see this",
    HTTPStatus.NOT_FOUND: "There is nothing here",
    HTTPStatus.METHOD_NOT_ALLOWED: "This address is for programs",
    HTTPStatus.TOO_MANY_REQUESTS: "Please wait",
    HTTPStatus.SERVICE_UNAVAILABLE: "Pinglet can't answer now",
}


@dataclass(frozen=True, slots=True)
class Part:
    """A paragraph, and what to type below it."""

    text: str
    code: str = ""


@dataclass(frozen=True, slots=True)
class Notice:
    """What such a page says; from some it `leads_on` to the servers."""

    title: str
    parts: Sequence[Part]
    leads_on: bool = False


def is_wanted() -> bool:
    """Whether this request is to be answered by a page if anything is wrong with it.

    What was asked of the contract or of GraphQL is answered in their words, whoever asks.
    """
    if request.path == "/graphql" or not browser.wants_page():
        return False
    return request.path != "/" or not (request.query_string or request.content_length)


def page(notice: Notice, code: HTTPStatus) -> Response:
    """Return the page."""
    style, policy = _style()
    html = render_template("notice.html", notice=notice, code=int(code), style=style)
    response = Response(html, code)
    response.headers["Content-Security-Policy"] = policy
    response.vary.add("Accept")
    return response


@lru_cache(maxsize=1)
def _style() -> tuple[str, str]:
    """The style, and the policy that lets it stand: nothing else, and nothing from anywhere."""
    text = STYLE.read_text()
    allowed = b64encode(sha256(text.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; style-src 'sha256-{allowed}'; base-uri 'none'; frame-ancestors 'none'"
    )
    return text, policy


def refused(code: HTTPStatus, told: str) -> Notice:
    """Say what was refused, in the words that a program is told."""
    sentence = told[:1].upper() + told[1:]
    title = TITLES.get(code, code.phrase)
    return Notice(title, [Part(f"{sentence}.")], leads_on=code != HTTPStatus.SERVICE_UNAVAILABLE)


def unknown_host(host: str) -> Notice:
    """Say how to make a host name known."""
    name = host.rpartition(":")[0] if re.search(r":\d+$", host) else host
    # What isn't a name can't be set; whoever sends it knows what they do.
    example = name if HOSTNAME.fullmatch(name) else "pinglet.example.org"
    return Notice(
        "Pinglet isn't known by this name",
        [
            Part(
                f"You came by the host name {name!r}, which this Pinglet doesn't know. If it is "
                "yours, set this where Pinglet runs, add further names with commas, and start it "
                "again:",
                f"PINGLET_HOSTS={example}",
            ),
            Part("On AWS, deploy with:", f"--param hosts={example}"),
        ],
    )


def nobody_yet(*, is_closed: bool) -> Notice:
    """Say how the first user is made; `is_closed`: also for whoever sits at the machine."""
    here = "" if is_closed else " Until then only whoever sits at that machine can use it."
    return Notice(
        "There are no users yet",
        [
            Part(
                f"Nobody can log in to this Pinglet before it has a user.{here} On the machine "
                "where it runs, create the first one, an admin, then load this page again:",
                "flask users add NAME",
            ),
            Part(
                "On AWS, through the function that runs commands:",
                "python -m infra.manage pinglet-prod-manage users add NAME --password-stdin "
                "<password.txt",
            ),
        ],
    )
