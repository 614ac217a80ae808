"""/api/v1: log in and out, tokens, users."""

from http import HTTPStatus

from flask import Flask, request
from flask.typing import ResponseReturnValue

from core import accounts
from core.accounts import Grant, Kind
from core.clock import utc_now
from core.errors import TokenRejected
from handlers import auth, routes, shapes
from handlers.people_calls import PeopleCalls, pair_shown
from handlers.routes import Route
from infra.database import Database


def register(app: Flask, database: Database) -> None:
    """Serve the people's part of /api/v1."""
    people = People(PeopleCalls(database))
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
    """The views."""

    def __init__(self, calls: PeopleCalls) -> None:
        self.calls = calls
        self.database = calls.database

    # Sessions

    def log_in(self) -> ResponseReturnValue:
        """Begin a browser session: its token goes into a cookie that scripts can't read."""
        wanted = shapes.parse(shapes.LogIn, request.get_data())
        identity = auth.log_in(self.database, wanted.name, wanted.password)
        with self.database.transaction() as session:
            issued = accounts.issue(session, identity, Grant(Kind.SESSION), utc_now())
        response = routes.reply(self.calls.me(identity), HTTPStatus.CREATED)
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
        response = routes.reply(shapes.Done(status="LOGGED_OUT"))
        response.delete_cookie(auth.COOKIE, secure=request.is_secure, httponly=True, samesite="Lax")
        return response

    def me(self) -> ResponseReturnValue:
        """Who is asking."""
        return routes.reply(self.calls.me(auth.whoami()))

    def change_own_password(self) -> ResponseReturnValue:
        """Change one's own password, which ends every token one has."""
        wanted = shapes.parse(shapes.PasswordChange, request.get_data())
        return routes.reply(self.calls.change_password(auth.whoami(), wanted))

    # Tokens

    def list_tokens(self) -> ResponseReturnValue:
        """One's own tokens."""
        return routes.reply(self.calls.tokens(auth.whoami()))

    def issue(self) -> ResponseReturnValue:
        """With a password and no body: an access and a refresh token. With a name: a key."""
        if not request.get_data():
            return routes.reply(self.calls.issue_pair(auth.whoami()), HTTPStatus.CREATED)
        wanted = shapes.parse(shapes.TokenWanted, request.get_data())
        return routes.reply(self.calls.issue_key(auth.whoami(), wanted), HTTPStatus.CREATED)

    def refresh(self) -> ResponseReturnValue:
        """Trade a refresh token for the next pair."""
        wanted = shapes.parse(shapes.Refresh, request.get_data())
        with self.database.transaction() as session:
            pair = accounts.refresh(session, wanted.refresh, utc_now())
        if pair is None:
            raise TokenRejected("this refresh token was used before: log in again")
        return routes.reply(pair_shown(*pair), HTTPStatus.CREATED)

    def revoke(self, token: str) -> ResponseReturnValue:
        """End one of one's own tokens, by id, or `current`; with it go those of the same log-in."""
        if token == "current":  # noqa: S105 (a word, not a secret)
            return self.log_out()
        return routes.reply(self.calls.revoke(auth.whoami(), token))

    # Users

    def list_users(self) -> ResponseReturnValue:
        """Every user."""
        return routes.reply(self.calls.users())

    def create_user(self) -> ResponseReturnValue:
        """Add a user."""
        wanted = shapes.parse(shapes.UserWanted, request.get_data())
        return routes.reply(self.calls.create_user(wanted), HTTPStatus.CREATED)

    def change_user(self, user_id: int) -> ResponseReturnValue:
        """Change a user's password, role, or whether they may come in."""
        wanted = shapes.parse(shapes.UserChange, request.get_data())
        return routes.reply(self.calls.change_user(user_id, wanted))

    def remove_user(self, user_id: int) -> ResponseReturnValue:
        """Delete a user and all their tokens."""
        return routes.reply(self.calls.remove_user(user_id))
