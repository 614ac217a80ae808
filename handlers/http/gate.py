"""The one gate: who asks, and what they may do. Deny by default."""

import logging
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial
from http import HTTPStatus
from weakref import WeakKeyDictionary, WeakSet

from flask import Flask, Response, g, request
from werkzeug.datastructures import Authorization

from core.accounts import tokens, users
from core.accounts.attempts import Attempts, count_attempt, forgive_attempts
from core.accounts.records import Identity, Level, TokenKind
from core.clock import utc_now
from core.errors import Forbidden, TokenRejected, Unavailable, WrongRequest
from handlers.http import browser
from handlers.http.origin import SAFE, is_local_request, refuse_strangers
from handlers.http.routes import PUBLIC, routes_of
from handlers.instance import Instance
from infra import patience
from infra.database import Database

log = logging.getLogger("pinglet.auth")

SCRIPT_HEADER = "X-Requested-With"
"""Sent with every change by our own pages: a form of another site can't send it."""

LOCAL = Identity("whoever sits at this machine", Level.ADMIN)
OPEN = f"open access: {LOCAL.name} may do everything until you run `flask users add NAME`"
CLOSED = "every request must carry a token or a password"

BEGUN: WeakSet[Database] = WeakSet()
"""The databases that are known to have had a user."""

SAID: WeakKeyDictionary[Database, bool] = WeakKeyDictionary()
"""What the log has said last: whether access is open."""


def guard(app: Flask, here: Instance) -> None:
    """Ask every request where it comes from, who sends it, and whether they may."""

    @app.before_request
    def check() -> None:
        refuse_strangers(here.settings)
        if request.url_rule is None:
            return  # there is nothing to protect: 404 or 405 follows
        # What was added behind the table's back has no entry: closed, and our fault (503).
        needed = routes_of(app)[request.url_rule.endpoint].may
        if needed is PUBLIC:
            return
        g.identity = identify(here)
        if g.identity.level < needed:
            raise Forbidden(f"this needs {_access(needed)}, which {g.identity.name} doesn't have")

    app.after_request(_headers)


def whoami() -> Identity:
    """Return who sends this request; only for routes that aren't public."""
    identity: Identity = g.identity
    return identity


def may_call(fields: Mapping[str, Level]) -> None:
    """Let this request's sender call these fields of /graphql, all of them. Raises Forbidden."""
    for name, level in fields.items():
        if whoami().level < level:
            raise Forbidden(f"{whoami().name} may not call {name}: it needs {_access(level)}")


def _access(level: Level) -> str:
    return f"{level.name.lower()} access"


def identify(here: Instance) -> Identity:
    """Return who sends this request. Raises TokenRejected, TooManyAttempts."""
    if is_open_to_caller(here):
        return LOCAL
    credentials = _credentials()
    if credentials is not None and credentials.type == "basic":
        return log_in(here, credentials.username or "", credentials.password or "")
    if credentials is not None and credentials.type == "bearer":
        return _bearer(here, credentials.token or "")
    if (session := _session(here)) is not None:
        return _cookie(here, session)
    if is_before_users(here):
        log.warning("nobody can log in yet: create a user with `flask users add NAME`")
    raise TokenRejected("a request must carry a token or a password: Authorization: Bearer ...")


def _session(here: Instance) -> str | None:
    # A session that began before cookies had the instance in their names goes on.
    kept = request.cookies.get(browser.SESSION_COOKIE)
    return request.cookies.get(browser.session_cookie(here.settings), kept)


def _credentials() -> Authorization | None:
    # Werkzeug takes what isn't Base64 for no credentials, but fails at what isn't ASCII.
    try:
        return request.authorization
    except ValueError:
        raise TokenRejected("the Authorization header must be ASCII") from None


def log_in(here: Instance, name: str, password: str) -> Identity:
    """Return who `name` is if the password is right; the attempt counts before it is looked at.

    Raises TokenRejected, TooManyAttempts.
    """
    # What the network says, and proxies that are trusted: any other header is the caller's word.
    attempts = Attempts(name, request.remote_addr or "")
    counted = here.database.write(partial(count_attempt, attempts=attempts, now=utc_now()))
    with here.database.reading() as session:
        known = users.known(session, name)
    identity = users.check_password(known, password)
    forgive = partial(forgive_attempts, attempts=attempts, counted=counted, now=utc_now())
    here.database.write(forgive)
    return identity


def confirmed(here: Instance, password: str) -> Identity:
    """Return who sends this request as somebody who has just shown their password.

    A named token stays one, and may do no more than before. Raises WrongRequest, TooManyAttempts.
    """
    user = whoami()
    if user.kind in (None, TokenKind.KEY):
        return user
    known = shown(here, password, "the password is wrong", "password")
    return replace(known, level=min(known.level, user.level))


def shown(here: Instance, password: str, told: str, field: str) -> Identity:
    """Return who sends this request, if the password that stands in a field of its body is theirs.

    Raises WrongRequest with what is `told` if it isn't, TooManyAttempts.
    """
    try:
        return log_in(here, whoami().name, password)
    except TokenRejected:
        # Not 401: the request's own token is good.
        raise WrongRequest(told, field) from None


def _bearer(here: Instance, token: str) -> Identity:
    identity = _verified(here, token)
    if identity.kind is TokenKind.SESSION:
        raise TokenRejected("a session's token must come in its cookie")
    return identity


def _cookie(here: Instance, token: str) -> Identity:
    identity = _verified(here, token)
    if identity.kind is not TokenKind.SESSION:
        raise TokenRejected("the cookie must hold a session's token")
    if request.method not in SAFE and not request.headers.get(SCRIPT_HEADER):
        raise Forbidden(f"a change that a session makes must carry the header {SCRIPT_HEADER}")
    return identity


def _verified(here: Instance, token: str) -> Identity:
    tokens.refuse_shapeless(token)
    now = utc_now()
    with here.database.reading() as session:
        identity = tokens.verify(session, token, now)
    if identity.token_id is not None and not identity.used_lately:
        # The next request notes it where this one can't: who reads waits for nobody.
        with suppress(Unavailable), here.database.transaction(waits=False) as session:
            tokens.note_use(session, identity.token_id, now)
    return identity


def access_is_open(here: Instance) -> bool:
    """Whether whoever sits at this machine may do everything without a token; the log says which.

    Only where the settings say so, and never again once a user was made. Raises Unavailable.
    """
    is_open = False
    if not here.settings.authentication:
        with here.database.reading() as session:
            is_open = users.access_is_open(session)
    if SAID.get(here.database) is not is_open:
        SAID[here.database] = is_open
        log.warning(OPEN if is_open else CLOSED)
    return is_open


def is_before_users(here: Instance) -> bool:
    """Whether nobody can log in yet, as there never was a user; not, where that can't be told.

    Whoever has just deployed this finds every door closed. Once there is a user, it isn't asked
    again: requests of strangers cost no query.
    """
    if here.database in BEGUN:
        return False
    is_before = False
    brief = patience.of(patience.brief())
    with brief, suppress(Unavailable), here.database.reading() as session:
        is_before = users.access_is_open(session)
        if not is_before:
            BEGUN.add(here.database)
    return is_before


def is_open_to_caller(here: Instance) -> bool:
    """Whether this request's sender may do everything, as whoever sits at this machine."""
    return is_local_request(here.settings) and access_is_open(here)


def _headers(response: Response) -> Response:
    """Pages loosen what they must by setting it first."""
    said = browser.HEADERS | (browser.ON_HTTPS if request.is_secure else {})
    for name, value in said.items():
        response.headers.setdefault(name, value)
    # Whoever serves us says the date. Werkzeug does, too, where an answer may be left out (304): of
    # two dates nobody can read either.
    response.headers.pop("Date", None)
    if request.path in ("/", "/graphql"):
        response.vary.add("Accept")
    if response.status_code == HTTPStatus.UNAUTHORIZED:
        response.headers["WWW-Authenticate"] = "Bearer"
    return response
