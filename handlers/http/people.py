"""/api/v1: log in and out, tokens, users. REST and GraphQL make the same calls."""

from datetime import timedelta
from http import HTTPStatus

from flask import Flask, request
from flask.typing import ResponseReturnValue

from core.accounts import tokens, users
from core.accounts.records import Identity, Kind, Level, Role, Scope
from core.accounts.tokens import Grant, Issued
from core.clock import utc_now
from core.errors import Forbidden, TokenRejected, TokenUnknown, WrongRequest
from core.models import Token, User
from handlers.http import gate, routes, shapes
from handlers.http.routes import Route
from infra.database import Database

UPDATED, DELETED = shapes.Done(status="UPDATED"), shapes.Done(status="DELETED")


class PeopleCalls:
    """The calls; `identity` is who makes one."""

    def __init__(self, database: Database) -> None:
        self.database = database

    # Oneself

    def me(self, identity: Identity) -> shapes.Me:
        """Say who is asking."""
        may = Level(identity.level).name.lower()
        return shapes.Me(name=identity.name, may=may, open=not identity.user_id)

    def change_password(self, identity: Identity, wanted: shapes.PasswordChange) -> shapes.Done:
        """Change one's own password, which ends every token one has.

        Raises TokenRejected, TooManyAttempts, WrongRequest.
        """
        known = gate.log_in(self.database, identity.name, wanted.old)
        with self.database.transaction() as session:
            # An admin may have taken the account away meanwhile: the old password is worth nothing.
            users.change_user(
                session, known.user_id, password=wanted.new, generation=known.generation
            )
        return UPDATED

    # Tokens

    def tokens(self, identity: Identity) -> shapes.TokenList:
        """List one's own tokens that work."""
        with self.database.reading() as session:
            found = tokens.of_user(session, identity.user_id, utc_now())
            return shapes.TokenList(tokens=[_token(row) for row in found])

    def issue_key(self, identity: Identity, wanted: shapes.TokenWanted) -> shapes.TokenIssued:
        """Make a named token for a script. Raises Forbidden, WrongRequest."""
        if identity.kind is Kind.KEY:
            raise Forbidden("a key makes no other keys: use your password")
        if wanted.scope.level > identity.level:
            raise Forbidden(f"{identity.name} may not give away the scope {wanted.scope}")
        life = timedelta(seconds=wanted.expires_in_s)
        grant = Grant(Kind.KEY, wanted.scope, users.label(wanted.name), life)
        with self.database.transaction() as session:
            return _issued(tokens.issue(session, _account(identity), grant, utc_now()))

    def issue_pair(self, identity: Identity) -> shapes.TokenPair:
        """Make an access and a refresh token for whoever showed a password. Raises WrongRequest."""
        if identity.kind is not None:
            raise WrongRequest("a pair of tokens is for a password (HTTP Basic); a key has a name")
        with self.database.transaction() as session:
            return pair_shown(*tokens.issue_pair(session, _account(identity), utc_now()))

    def revoke(self, identity: Identity, token_id: str) -> shapes.Done:
        """End one of one's own tokens; with it go those of the same log-in.

        Raises Forbidden, TokenUnknown.
        """
        if not (token_id.isascii() and token_id.isdecimal() and len(token_id) < 19):
            raise TokenUnknown
        if identity.kind is Kind.KEY and int(token_id) != identity.token_id:
            raise Forbidden("a key ends no token but itself: use your password")
        with self.database.transaction() as session:
            if not tokens.revoke(session, identity.user_id, int(token_id)):
                raise TokenUnknown
        return DELETED

    # Users

    def users(self) -> shapes.UserList:
        """List every user."""
        with self.database.reading() as session:
            return shapes.UserList(users=[_user(row) for row in users.everyone(session)])

    def create_user(self, wanted: shapes.UserWanted) -> shapes.UserListed:
        """Add a user. Raises UserTaken, WrongRequest."""
        with self.database.transaction() as session:
            return _user(
                users.create_user(session, wanted.name, wanted.password, wanted.role, utc_now())
            )

    def change_user(self, user_id: int, wanted: shapes.UserChange) -> shapes.UserListed:
        """Change a user's password, role, or whether they may come in.

        Raises UserUnknown, WrongRequest.
        """
        with self.database.transaction() as session:
            return _user(
                users.change_user(
                    session,
                    user_id,
                    password=wanted.password,
                    role=wanted.role,
                    enabled=wanted.enabled,
                )
            )

    def remove_user(self, user_id: int) -> shapes.Done:
        """Delete a user and all their tokens. Raises UserUnknown, WrongRequest."""
        with self.database.transaction() as session:
            users.remove_user(session, user_id)
        return DELETED


def pair_shown(access: Issued, refresh: Issued) -> shapes.TokenPair:
    """Show a log-in's two tokens, this once."""
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
        identity = gate.log_in(self.database, wanted.name, wanted.password)
        with self.database.transaction() as session:
            issued = tokens.issue(session, identity, Grant(Kind.SESSION), utc_now())
        response = routes.reply(self.calls.me(identity), HTTPStatus.CREATED)
        response.set_cookie(
            gate.COOKIE,
            issued.token,
            max_age=tokens.LIVES[Kind.SESSION],
            secure=request.is_secure,
            httponly=True,
            samesite="Lax",
        )
        return response

    def log_out(self) -> ResponseReturnValue:
        """End the session, or whatever log-in the token shown comes from."""
        with self.database.transaction() as session:
            tokens.revoke_family(session, gate.whoami().family)
        response = routes.reply(shapes.Done(status="LOGGED_OUT"))
        response.delete_cookie(gate.COOKIE, secure=request.is_secure, httponly=True, samesite="Lax")
        return response

    def me(self) -> ResponseReturnValue:
        """Who is asking."""
        return routes.reply(self.calls.me(gate.whoami()))

    def change_own_password(self) -> ResponseReturnValue:
        """Change one's own password, which ends every token one has."""
        wanted = shapes.parse(shapes.PasswordChange, request.get_data())
        return routes.reply(self.calls.change_password(gate.whoami(), wanted))

    # Tokens

    def list_tokens(self) -> ResponseReturnValue:
        """One's own tokens."""
        return routes.reply(self.calls.tokens(gate.whoami()))

    def issue(self) -> ResponseReturnValue:
        """With a password and no body: an access and a refresh token. With a name: a key."""
        if not request.get_data():
            return routes.reply(self.calls.issue_pair(gate.whoami()), HTTPStatus.CREATED)
        wanted = shapes.parse(shapes.TokenWanted, request.get_data())
        return routes.reply(self.calls.issue_key(gate.whoami(), wanted), HTTPStatus.CREATED)

    def refresh(self) -> ResponseReturnValue:
        """Trade a refresh token for the next pair."""
        wanted = shapes.parse(shapes.Refresh, request.get_data())
        with self.database.transaction() as session:
            pair = tokens.refresh(session, wanted.refresh, utc_now())
        if pair is None:
            raise TokenRejected("this refresh token was used before: log in again")
        return routes.reply(pair_shown(*pair), HTTPStatus.CREATED)

    def revoke(self, token: str) -> ResponseReturnValue:
        """End one of one's own tokens, by id, or `current`; with it go those of the same log-in."""
        if token == "current":  # noqa: S105 (a word, not a secret)
            return self.log_out()
        return routes.reply(self.calls.revoke(gate.whoami(), token))

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
