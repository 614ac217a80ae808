"""What can be asked and done of people, from shapes to shapes: REST and GraphQL call the same.

Each call is a transaction of its own.
"""

from datetime import timedelta

from core import accounts
from core.accounts import Grant, Identity, Issued, Kind, Level, Role, Scope
from core.clock import utc_now
from core.errors import Forbidden, TokenUnknown, WrongRequest
from core.models import Token, User
from handlers import auth, shapes
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
        known = auth.log_in(self.database, identity.name, wanted.old)
        with self.database.transaction() as session:
            # An admin may have taken the account away meanwhile: the old password is worth nothing.
            accounts.change_user(
                session, known.user_id, password=wanted.new, generation=known.generation
            )
        return UPDATED

    # Tokens

    def tokens(self, identity: Identity) -> shapes.TokenList:
        """List one's own tokens that work."""
        with self.database.reading() as session:
            found = accounts.tokens(session, identity.user_id, utc_now())
            return shapes.TokenList(tokens=[_token(row) for row in found])

    def issue_key(self, identity: Identity, wanted: shapes.TokenWanted) -> shapes.TokenIssued:
        """Make a named token for a script. Raises Forbidden, WrongRequest."""
        if identity.kind is Kind.KEY:
            raise Forbidden("a key makes no other keys: use your password")
        if wanted.scope.level > identity.level:
            raise Forbidden(f"{identity.name} may not give away the scope {wanted.scope}")
        life = timedelta(seconds=wanted.expires_in_s)
        grant = Grant(Kind.KEY, wanted.scope, accounts.label(wanted.name), life)
        with self.database.transaction() as session:
            return _issued(accounts.issue(session, _account(identity), grant, utc_now()))

    def issue_pair(self, identity: Identity) -> shapes.TokenPair:
        """Make an access and a refresh token for whoever showed a password. Raises WrongRequest."""
        if identity.kind is not None:
            raise WrongRequest("a pair of tokens is for a password (HTTP Basic); a key has a name")
        with self.database.transaction() as session:
            return pair_shown(*accounts.issue_pair(session, _account(identity), utc_now()))

    def revoke(self, identity: Identity, token_id: str) -> shapes.Done:
        """End one of one's own tokens; with it go those of the same log-in.

        Raises Forbidden, TokenUnknown.
        """
        if not (token_id.isascii() and token_id.isdecimal() and len(token_id) < 19):
            raise TokenUnknown
        if identity.kind is Kind.KEY and int(token_id) != identity.token_id:
            raise Forbidden("a key ends no token but itself: use your password")
        with self.database.transaction() as session:
            if not accounts.revoke(session, identity.user_id, int(token_id)):
                raise TokenUnknown
        return DELETED

    # Users

    def users(self) -> shapes.UserList:
        """List every user."""
        with self.database.reading() as session:
            return shapes.UserList(users=[_user(row) for row in accounts.users(session)])

    def create_user(self, wanted: shapes.UserWanted) -> shapes.UserListed:
        """Add a user. Raises UserTaken, WrongRequest."""
        with self.database.transaction() as session:
            return _user(
                accounts.create_user(session, wanted.name, wanted.password, wanted.role, utc_now())
            )

    def change_user(self, user_id: int, wanted: shapes.UserChange) -> shapes.UserListed:
        """Change a user's password, role, or whether they may come in.

        Raises UserUnknown, WrongRequest.
        """
        with self.database.transaction() as session:
            return _user(
                accounts.change_user(
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
            accounts.remove_user(session, user_id)
        return DELETED


def pair_shown(access: Issued, refresh: Issued) -> shapes.TokenPair:
    """Show a log-in's two tokens, this once."""
    life_s = int(accounts.LIVES[Kind.ACCESS].total_seconds())
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
