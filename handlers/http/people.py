"""/api/v1: log in and out, tokens, users. REST and GraphQL make the same calls."""

from datetime import timedelta
from http import HTTPStatus

from flask import Response, request

from core.accounts import tokens, users
from core.accounts.records import Identity, Kind, Level, Role, Scope
from core.accounts.tokens import Grant, Issued
from core.clock import utc_now
from core.errors import Forbidden, TokenRejected, TokenUnknown, WrongRequest
from core.models import Token, User
from handlers.http import gate, routes, shapes
from handlers.http.routes import ADMIN, PUBLIC, READ, Routes
from handlers.instance import Instance

UPDATED, DELETED = shapes.Done(status="UPDATED"), shapes.Done(status="DELETED")


ROUTES = Routes()
USERS, USER = "/api/v1/users", "/api/v1/users/<int:user_id>"
UNKNOWN, TAKEN = HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT


# Sessions


@ROUTES(
    "POST",
    "/api/v1/session",
    may=PUBLIC,
    takes=shapes.LogIn,
    gives=shapes.Me,
    status=HTTPStatus.CREATED,
    errors=[HTTPStatus.UNAUTHORIZED, HTTPStatus.TOO_MANY_REQUESTS],
)
def log_in(here: Instance, wanted: shapes.LogIn) -> Response:
    """Begin a browser session: its token goes into a cookie that scripts can't read."""
    identity = gate.log_in(here, wanted.name, wanted.password)
    with here.database.transaction() as session:
        issued = tokens.issue(session, identity, Grant(Kind.SESSION), utc_now())
    response = routes.reply(_me(identity), HTTPStatus.CREATED)
    response.set_cookie(
        gate.COOKIE,
        issued.token,
        max_age=tokens.LIVES[Kind.SESSION],
        secure=request.is_secure,
        httponly=True,
        samesite="Lax",
    )
    return response


@ROUTES("DELETE", "/api/v1/session", may=READ, gives=shapes.Done)
def log_out(here: Instance) -> Response:
    """End the session, or whatever log-in the token shown comes from."""
    with here.database.transaction() as session:
        tokens.revoke_family(session, gate.whoami().family)
    response = routes.reply(shapes.Done(status="LOGGED_OUT"))
    response.delete_cookie(gate.COOKIE, secure=request.is_secure, httponly=True, samesite="Lax")
    return response


# Oneself


@ROUTES("GET", "/api/v1/me", may=READ, gives=shapes.Me)
def me(_here: Instance) -> shapes.Me:
    """Who is asking."""
    return _me(gate.whoami())


def _me(identity: Identity) -> shapes.Me:
    may = Level(identity.level).name.lower()
    return shapes.Me(name=identity.name, may=may, open=not identity.user_id)


@ROUTES("PUT", "/api/v1/me/password", may=READ, takes=shapes.PasswordChange, gives=shapes.Done)
def change_password(here: Instance, wanted: shapes.PasswordChange) -> shapes.Done:
    """Change one's own password, which ends every token one has."""
    known = gate.log_in(here, gate.whoami().name, wanted.old)
    with here.database.transaction() as session:
        # An admin may have taken the account away meanwhile: the old password is worth nothing.
        users.change_user(session, known.user_id, password=wanted.new, generation=known.generation)
    return UPDATED


# Tokens


@ROUTES("GET", "/api/v1/tokens", may=READ, gives=shapes.TokenList)
def list_tokens(here: Instance) -> shapes.TokenList:
    """One's own tokens."""
    with here.database.reading() as session:
        found = tokens.of_user(session, gate.whoami().user_id, utc_now())
        return shapes.TokenList(tokens=[_token(row) for row in found])


@ROUTES(
    "POST",
    "/api/v1/tokens",
    may=READ,
    takes=shapes.TokenWanted,
    body_required=False,
    gives=[shapes.TokenIssued, shapes.TokenPair],
    status=HTTPStatus.CREATED,
)
def issue(
    here: Instance, wanted: shapes.TokenWanted | None
) -> shapes.TokenIssued | shapes.TokenPair:
    """With a password and no body: an access and a refresh token. With a name: a key."""
    return issue_pair(here) if wanted is None else issue_key(here, wanted)


def issue_key(here: Instance, wanted: shapes.TokenWanted) -> shapes.TokenIssued:
    """Make a named token for a script. Raises Forbidden, WrongRequest."""
    identity = gate.whoami()
    if identity.kind is Kind.KEY:
        raise Forbidden("a key makes no other keys: use your password")
    if wanted.scope.level > identity.level:
        raise Forbidden(f"{identity.name} may not give away the scope {wanted.scope}")
    life = timedelta(seconds=wanted.expires_in_s)
    grant = Grant(Kind.KEY, wanted.scope, users.label(wanted.name), life)
    with here.database.transaction() as session:
        return _issued(tokens.issue(session, _account(identity), grant, utc_now()))


def issue_pair(here: Instance) -> shapes.TokenPair:
    """Make an access and a refresh token for whoever showed a password. Raises WrongRequest."""
    identity = gate.whoami()
    if identity.kind is not None:
        raise WrongRequest("a pair of tokens is for a password (HTTP Basic); a key has a name")
    with here.database.transaction() as session:
        return _pair(*tokens.issue_pair(session, _account(identity), utc_now()))


@ROUTES(
    "POST",
    "/api/v1/tokens/refresh",
    may=PUBLIC,
    takes=shapes.Refresh,
    gives=shapes.TokenPair,
    status=HTTPStatus.CREATED,
    errors=[HTTPStatus.UNAUTHORIZED],
)
def refresh(here: Instance, wanted: shapes.Refresh) -> shapes.TokenPair:
    """Trade a refresh token for the next pair."""
    with here.database.transaction() as session:
        pair = tokens.refresh(session, wanted.refresh, utc_now())
    if pair is None:
        raise TokenRejected("this refresh token was used before: log in again")
    return _pair(*pair)


@ROUTES("DELETE", "/api/v1/tokens/<token>", may=READ, gives=shapes.Done, errors=[UNKNOWN])
def end(here: Instance, token: str) -> shapes.Done | Response:
    """End one of one's own tokens, by id, or `current`; with it go those of the same log-in."""
    if token == "current":  # noqa: S105 (a word, not a secret)
        return log_out(here)
    return revoke(here, token)


def revoke(here: Instance, token_id: str) -> shapes.Done:
    """End one of one's own tokens. Raises Forbidden, TokenUnknown."""
    identity = gate.whoami()
    if not (token_id.isascii() and token_id.isdecimal() and len(token_id) < 19):
        raise TokenUnknown
    if identity.kind is Kind.KEY and int(token_id) != identity.token_id:
        raise Forbidden("a key ends no token but itself: use your password")
    with here.database.transaction() as session:
        if not tokens.revoke(session, identity.user_id, int(token_id)):
            raise TokenUnknown
    return DELETED


# Users


@ROUTES("GET", USERS, may=ADMIN, gives=shapes.UserList)
def list_users(here: Instance) -> shapes.UserList:
    """Every user."""
    with here.database.reading() as session:
        return shapes.UserList(users=[_user(row) for row in users.everyone(session)])


@ROUTES(
    "POST",
    USERS,
    may=ADMIN,
    takes=shapes.UserWanted,
    gives=shapes.UserListed,
    status=HTTPStatus.CREATED,
    errors=[TAKEN],
)
def create_user(here: Instance, wanted: shapes.UserWanted) -> shapes.UserListed:
    """Add a user."""
    with here.database.transaction() as session:
        return _user(
            users.create_user(session, wanted.name, wanted.password, wanted.role, utc_now())
        )


@ROUTES(
    "PATCH",
    USER,
    may=ADMIN,
    takes=shapes.UserChange,
    gives=shapes.UserListed,
    errors=[UNKNOWN],
)
def change_user(here: Instance, wanted: shapes.UserChange, user_id: int) -> shapes.UserListed:
    """Change a user's password, role, or whether they may come in."""
    with here.database.transaction() as session:
        return _user(
            users.change_user(
                session,
                user_id,
                password=wanted.password,
                role=wanted.role,
                enabled=wanted.enabled,
            )
        )


@ROUTES("DELETE", USER, may=ADMIN, gives=shapes.Done, errors=[UNKNOWN])
def remove_user(here: Instance, user_id: int) -> shapes.Done:
    """Delete a user and all their tokens."""
    with here.database.transaction() as session:
        users.remove_user(session, user_id)
    return DELETED


# What goes out


def _pair(access: Issued, refresh: Issued) -> shapes.TokenPair:
    life_s = int(tokens.LIVES[Kind.ACCESS].total_seconds())
    return shapes.TokenPair(access=access.token, refresh=refresh.token, expires_in_s=life_s)


def _account(identity: Identity) -> Identity:
    if not identity.user_id:
        raise WrongRequest("nobody has an account here yet: make one with `flask users add NAME`")
    return identity


def _issued(issued: Issued) -> shapes.TokenIssued:
    return shapes.TokenIssued(
        id=issued.id,
        token=issued.token,
        kind=issued.kind,
        scope=issued.scope,
        expires=issued.expires,
    )


def _token(row: Token) -> shapes.TokenListed:
    return shapes.TokenListed(
        id=row.id,
        name=row.name,
        kind=Kind(row.kind),
        scope=Scope(row.scope),
        created=row.created,
        expires=row.expires,
        last_used=row.last_used,
    )


def _user(row: User) -> shapes.UserListed:
    return shapes.UserListed(
        id=row.id, name=row.name, role=Role(row.role), enabled=row.enabled, created=row.created
    )
