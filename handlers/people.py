"""/api/v1: log in and out, tokens, users."""

from datetime import timedelta
from http import HTTPStatus
from typing import Any

import msgspec
from flask import Flask, Response, jsonify, request
from flask.typing import ResponseReturnValue

from core import accounts
from core.accounts import Grant, Identity, Issued, Kind, Level, Role, Scope
from core.clock import utc_now
from core.errors import Forbidden, TokenRejected, TokenUnknown, WrongRequest
from core.models import Token, User
from handlers import auth, routes, shapes
from handlers.routes import Route
from infra.database import Database


def register(app: Flask, database: Database) -> None:
    """Serve the people's part of /api/v1."""
    people = People(database)
    created, users, user = HTTPStatus.CREATED, "/api/v1/users", "/api/v1/users/<int:user_id>"
    unknown, taken, often = HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT, HTTPStatus.TOO_MANY_REQUESTS
    routes.register(
        app,
        [
            Route(
                "POST",
                "/api/v1/session",
                people.log_in,
                body=shapes.LogIn,
                reply=shapes.Me,
                code=created,
                errors=[HTTPStatus.UNAUTHORIZED, often],
            ),
            Route("DELETE", "/api/v1/session", people.log_out, reply=shapes.Done),
            Route("GET", "/api/v1/me", people.me, reply=shapes.Me),
            Route(
                "PUT",
                "/api/v1/me/password",
                people.change_own_password,
                body=shapes.PasswordChange,
                reply=shapes.Done,
            ),
            Route("GET", "/api/v1/tokens", people.list_tokens, reply=shapes.TokenList),
            Route(
                "POST",
                "/api/v1/tokens",
                people.issue,
                body=shapes.TokenWanted,
                reply=[shapes.TokenIssued, shapes.TokenPair],
                code=created,
                needs_body=False,
            ),
            Route(
                "POST",
                "/api/v1/tokens/refresh",
                people.refresh,
                body=shapes.Refresh,
                reply=shapes.TokenPair,
                code=created,
                errors=[HTTPStatus.UNAUTHORIZED],
            ),
            Route(
                "DELETE",
                "/api/v1/tokens/<token>",
                people.revoke,
                reply=shapes.Done,
                errors=[unknown],
            ),
            Route("GET", users, people.list_users, reply=shapes.UserList),
            Route(
                "POST",
                users,
                people.create_user,
                body=shapes.UserWanted,
                reply=shapes.UserListed,
                code=created,
                errors=[taken],
            ),
            Route(
                "PATCH",
                user,
                people.change_user,
                body=shapes.UserChange,
                reply=shapes.UserListed,
                errors=[unknown],
            ),
            Route("DELETE", user, people.remove_user, reply=shapes.Done, errors=[unknown]),
        ],
    )


class People:
    """The views; each is one call of core."""

    def __init__(self, database: Database) -> None:
        self.database = database

    # Sessions

    def log_in(self) -> ResponseReturnValue:
        """Begin a browser session: its token goes into a cookie that scripts can't read."""
        wanted = shapes.parse(shapes.LogIn, request.get_data())
        identity = auth.log_in(self.database, wanted.name, wanted.password)
        with self.database.transaction() as session:
            issued = accounts.issue(session, identity, Grant(Kind.SESSION), utc_now())
        response = _json(_me(identity), HTTPStatus.CREATED)
        response.set_cookie(
            auth.COOKIE,
            issued.token,
            max_age=accounts.LIVES[Kind.SESSION],
            secure=request.is_secure,
            httponly=True,
            samesite="Lax",
        )
        return response

    def log_out(self) -> ResponseReturnValue:
        """End the session, or whatever log-in the token shown comes from."""
        with self.database.transaction() as session:
            accounts.revoke_family(session, auth.whoami().family)
        response = _json({"status": "LOGGED_OUT"})
        response.delete_cookie(auth.COOKIE, secure=request.is_secure, httponly=True, samesite="Lax")
        return response

    def me(self) -> ResponseReturnValue:
        """Who is asking."""
        return _json(_me(auth.whoami()))

    def change_own_password(self) -> ResponseReturnValue:
        """Change one's own password, which ends every token one has."""
        wanted = shapes.parse(shapes.PasswordChange, request.get_data())
        identity = auth.log_in(self.database, auth.whoami().name, wanted.old)
        with self.database.transaction() as session:
            # An admin may have taken the account away meanwhile: the old password is worth nothing.
            accounts.change_user(
                session,
                identity.user_id,
                password=wanted.new,
                generation=identity.generation,
            )
        return _json({"status": "UPDATED"})

    # Tokens

    def list_tokens(self) -> ResponseReturnValue:
        """One's own tokens."""
        with self.database.reading() as session:
            found = accounts.tokens(session, auth.whoami().user_id, utc_now())
            return _json({"tokens": [_token(row) for row in found]})

    def issue(self) -> ResponseReturnValue:
        """With a password and no body: an access and a refresh token. With a name: a key."""
        identity = auth.whoami()
        if not request.get_data():
            return self._issue_pair(identity)
        if identity.kind is Kind.KEY:
            raise Forbidden("a key makes no other keys: use your password")
        wanted = shapes.parse(shapes.TokenWanted, request.get_data())
        if wanted.scope.level > identity.level:
            raise Forbidden(f"{identity.name} may not give away the scope {wanted.scope}")
        life = timedelta(seconds=wanted.expires_in_s)
        grant = Grant(Kind.KEY, wanted.scope, accounts.label(wanted.name), life)
        with self.database.transaction() as session:
            issued = accounts.issue(session, _account(identity), grant, utc_now())
        return _json(_issued(issued), HTTPStatus.CREATED)

    def _issue_pair(self, identity: Identity) -> ResponseReturnValue:
        if identity.kind is not None:
            raise WrongRequest("a pair of tokens is for a password (HTTP Basic); a key has a name")
        with self.database.transaction() as session:
            pair = accounts.issue_pair(session, _account(identity), utc_now())
        return _json(_pair(*pair), HTTPStatus.CREATED)

    def refresh(self) -> ResponseReturnValue:
        """Trade a refresh token for the next pair."""
        wanted = shapes.parse(shapes.Refresh, request.get_data())
        with self.database.transaction() as session:
            pair = accounts.refresh(session, wanted.refresh, utc_now())
        if pair is None:
            raise TokenRejected("this refresh token was used before: log in again")
        return _json(_pair(*pair), HTTPStatus.CREATED)

    def revoke(self, token: str) -> ResponseReturnValue:
        """End one of one's own tokens, by id, or `current`; with it go those of the same log-in."""
        identity = auth.whoami()
        if token == "current":  # noqa: S105 (a word, not a secret)
            return self.log_out()
        if not (token.isascii() and token.isdecimal() and len(token) < 19):
            raise TokenUnknown
        if identity.kind is Kind.KEY and int(token) != identity.token_id:
            raise Forbidden("a key ends no token but itself: use your password")
        with self.database.transaction() as session:
            if not accounts.revoke(session, identity.user_id, int(token)):
                raise TokenUnknown
        return _json({"status": "DELETED"})

    # Users

    def list_users(self) -> ResponseReturnValue:
        """Every user."""
        with self.database.reading() as session:
            return _json({"users": [_user(row) for row in accounts.users(session)]})

    def create_user(self) -> ResponseReturnValue:
        """Add a user."""
        wanted = shapes.parse(shapes.UserWanted, request.get_data())
        with self.database.transaction() as session:
            user = accounts.create_user(
                session, wanted.name, wanted.password, wanted.role, utc_now()
            )
            return _json(_user(user), HTTPStatus.CREATED)

    def change_user(self, user_id: int) -> ResponseReturnValue:
        """Change a user's password, role, or whether they may come in."""
        wanted = shapes.parse(shapes.UserChange, request.get_data())
        with self.database.transaction() as session:
            user = accounts.change_user(
                session,
                user_id,
                password=wanted.password,
                role=wanted.role,
                enabled=wanted.enabled,
            )
            return _json(_user(user))

    def remove_user(self, user_id: int) -> ResponseReturnValue:
        """Delete a user and all their tokens."""
        with self.database.transaction() as session:
            accounts.remove_user(session, user_id)
        return _json({"status": "DELETED"})


def _account(identity: Identity) -> Identity:
    if not identity.user_id:
        raise WrongRequest("nobody has an account here yet: make one with `flask users add NAME`")
    return identity


def _json(body: Any, code: HTTPStatus = HTTPStatus.OK) -> Response:
    response = jsonify(msgspec.to_builtins(body))
    response.status_code = code
    return response


def _me(identity: Identity) -> shapes.Me:
    may = Level(identity.level).name.lower()
    return shapes.Me(name=identity.name, may=may, open=not identity.user_id)


def _pair(access: Issued, refresh: Issued) -> shapes.TokenPair:
    life_s = int(accounts.LIVES[Kind.ACCESS].total_seconds())
    return shapes.TokenPair(access=access.token, refresh=refresh.token, expires_in_s=life_s)


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
