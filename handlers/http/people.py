"""/api/v1: log in and out, tokens, users. REST and GraphQL make the same calls."""

from functools import partial
from http import HTTPStatus

from flask import Response, request

from core.accounts import tokens, users
from core.accounts.records import (
    Me,
    TokenIssued,
    TokenKind,
    TokenList,
    TokenPair,
    UserList,
    UserListed,
)
from core.accounts.tokens import Grant, Refresh, TokensQuery, TokenWanted
from core.accounts.users import (
    Change,
    LogIn,
    NewUser,
    PasswordChange,
    UserChange,
    UserWanted,
)
from core.clock import utc_now
from core.errors import Forbidden, TokenRejected, WrongRequest
from handlers.http import browser, gate, routes
from handlers.http.routes import ADMIN, PUBLIC, READ, Done, Routes
from handlers.instance import Instance

UPDATED, DELETED = Done(status="UPDATED"), Done(status="DELETED")


ROUTES = Routes()
USERS, USER = "/api/v1/users", "/api/v1/users/<int:user_id>"
UNKNOWN, TAKEN = HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT


# Sessions


@ROUTES(
    "POST",
    "/api/v1/session",
    may=PUBLIC,
    takes=LogIn,
    gives=Me,
    status=HTTPStatus.CREATED,
    errors=[HTTPStatus.UNAUTHORIZED, HTTPStatus.TOO_MANY_REQUESTS],
)
def log_in(here: Instance, wanted: LogIn) -> Response:
    """Begin a browser session: its token goes into a cookie that scripts can't read."""
    identity = gate.log_in(here, wanted.name, wanted.password)
    grant = Grant(TokenKind.SESSION, name=browser.device())
    issued = here.database.write(partial(tokens.issue, user=identity, grant=grant, now=utc_now()))
    response = routes.reply(Me.of(identity), HTTPStatus.CREATED)
    response.set_cookie(
        browser.session_cookie(here.settings),
        issued.token,
        max_age=tokens.LIVES[TokenKind.SESSION],
        path=request.script_root or "/",
        secure=request.is_secure,
        httponly=True,
        samesite="Lax",
    )
    return response


@ROUTES("DELETE", "/api/v1/session", may=READ, gives=Done)
def log_out(here: Instance) -> Response:
    """Log out: end the session, or the log-in that the token comes from."""
    here.database.write(partial(tokens.revoke_family, family=gate.whoami().family))
    response = routes.reply(Done(status="LOGGED_OUT"))
    response.delete_cookie(
        browser.session_cookie(here.settings),
        path=request.script_root or "/",
        secure=request.is_secure,
        httponly=True,
        samesite="Lax",
    )
    return response


# Oneself


@ROUTES("GET", "/api/v1/me", may=READ, gives=Me)
def me(_here: Instance) -> Me:
    """Show who you are."""
    return Me.of(gate.whoami())


@ROUTES("PUT", "/api/v1/me/password", may=READ, takes=PasswordChange, gives=Done)
def change_password(here: Instance, wanted: PasswordChange) -> Done:
    """Change your password; this ends all your tokens."""
    if not gate.whoami().user_id:
        raise WrongRequest("a password needs a user: create one with `flask users add NAME`")
    known = gate.shown(here, wanted.old, "the old password is wrong", "old")
    # An admin may have taken the account away meanwhile: the old password is worth nothing.
    change_it = partial(
        users.change_user,
        user_id=known.user_id,
        change=Change.of(UserChange(password=wanted.new)),
        generation=known.generation,
    )
    here.database.write(change_it)
    return UPDATED


# Tokens


@ROUTES("GET", "/api/v1/tokens", may=READ, query=TokensQuery, gives=TokenList)
def list_tokens(here: Instance, wanted: TokensQuery) -> TokenList:
    """List your tokens."""
    with here.database.reading() as session:
        return tokens.of_user(session, gate.whoami(), wanted, utc_now())


@ROUTES(
    "POST",
    "/api/v1/tokens",
    may=READ,
    takes=TokenWanted,
    body_required=False,
    gives=[TokenIssued, TokenPair],
    status=HTTPStatus.CREATED,
)
def issue(here: Instance, wanted: TokenWanted | None) -> TokenIssued | TokenPair:
    """Create an access and a refresh token (password, no body), or a named token."""
    return issue_pair(here) if wanted is None else issue_key(here, wanted)


def issue_key(here: Instance, wanted: TokenWanted) -> TokenIssued:
    """Create a named token for a script."""
    user = gate.whoami()
    if wanted.password is not None:
        user = gate.confirmed(here, wanted.password)
    issue_it = partial(tokens.issue_own_key, user=user, wanted=wanted, now=utc_now())
    return here.database.write(issue_it)


def issue_pair(here: Instance) -> TokenPair:
    """Create an access and a refresh token for whoever sent a password."""
    issue_both = partial(tokens.issue_pair, user=gate.whoami(), now=utc_now())
    return here.database.write(issue_both)


@ROUTES(
    "POST",
    "/api/v1/tokens/refresh",
    may=PUBLIC,
    takes=Refresh,
    gives=TokenPair,
    status=HTTPStatus.CREATED,
    errors=[HTTPStatus.UNAUTHORIZED],
)
def refresh(here: Instance, wanted: Refresh) -> TokenPair:
    """Exchange a refresh token for the next pair."""
    tokens.refuse_shapeless(wanted.refresh)
    pair = here.database.write(partial(tokens.refresh, text=wanted.refresh, now=utc_now()))
    # Raised after the commit: what the token's reuse has revoked stays revoked.
    if pair is None:
        raise TokenRejected("this refresh token was used before: log in again")
    return pair


@ROUTES("DELETE", "/api/v1/tokens/<token>", may=READ, gives=Done, errors=[UNKNOWN])
def end(here: Instance, token: str) -> Done | Response:
    """End one of your tokens, by id or `current`, and all others of the same log-in."""
    if token == "current":  # noqa: S105 (a word, not a secret)
        return log_out(here)
    return revoke(here, token)


def revoke(here: Instance, token_id: str) -> Done:
    """End one of your tokens."""
    here.database.write(partial(tokens.revoke, user=gate.whoami(), token_id=token_id))
    return DELETED


# Users


@ROUTES("GET", USERS, may=ADMIN, gives=UserList)
def list_users(here: Instance) -> UserList:
    """List all users."""
    with here.database.reading() as session:
        return UserList(users=users.everyone(session))


@ROUTES(
    "POST",
    USERS,
    may=ADMIN,
    takes=UserWanted,
    gives=UserListed,
    status=HTTPStatus.CREATED,
    errors=[TAKEN],
)
def create_user(here: Instance, wanted: UserWanted) -> UserListed:
    """Add a user."""
    new = NewUser.of(wanted)
    return here.database.write(partial(users.create_user, new=new, now=utc_now()))


@ROUTES("PATCH", USER, may=ADMIN, takes=UserChange, gives=UserListed, errors=[UNKNOWN])
def change_user(here: Instance, wanted: UserChange, user_id: int) -> UserListed:
    """Change a user's password or role, or disable or enable them."""
    asking = gate.whoami()
    if wanted.password is not None and user_id == asking.user_id and asking.kind is not None:
        # Or whoever finds a session open would have the account for good.
        raise Forbidden("your own password is changed with the old one: PUT /api/v1/me/password")
    change = Change.of(wanted)
    return here.database.write(partial(users.change_user, user_id=user_id, change=change))


@ROUTES("DELETE", USER, may=ADMIN, gives=Done, errors=[UNKNOWN])
def remove_user(here: Instance, user_id: int) -> Done:
    """Delete a user and all their tokens."""
    here.database.write(partial(users.remove_user, user_id=user_id))
    return DELETED
