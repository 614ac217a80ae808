"""Tokens: issue, verify, trade, revoke, expire.

Every function takes a session inside a transaction that its caller ends, and the time.
"""

import hashlib
import re
import secrets
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Annotated, Any, ClassVar

import msgspec
from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Delete,
    Select,
    String,
    Update,
    and_,
    case,
    delete,
    func,
    or_,
    select,
    update,
)
from sqlalchemy.orm import Session

from core.accounts.attempts import ATTEMPT, KNOWN_ADDRESS, WINDOW
from core.accounts.records import (
    Identity,
    Label,
    Role,
    Scope,
    TokenIssued,
    TokenKind,
    TokenList,
    TokenListed,
    TokenPair,
)
from core.accounts.users import identity_of, new_label
from core.errors import Forbidden, TokenRejected, TokenUnknown, WrongRequest
from core.models import Attempt, Base, Token, User
from core.reading import Request
from core.slots import AHEAD
from core.sql import NOW, as_rows, given_ids, incoming, time_at, written

PREFIX = "pinglet_"  # lets secret scanners find a token that was committed by mistake
# 32 octets in Base64 for URLs: the last of its 43 characters has two bits to spare.
SHAPE = re.compile(PREFIX + "[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]")
LAST_USED_STEP = timedelta(minutes=1)  # finer would write on every request
UNKNOWN = "this token is unknown, expired or revoked"
YEAR_S = 365 * 86_400
TOKEN = Base.metadata.tables["token"]

LIVES = {
    TokenKind.ACCESS: timedelta(minutes=15),
    TokenKind.REFRESH: timedelta(days=7),
    TokenKind.SESSION: timedelta(days=7),
    TokenKind.KEY: timedelta(days=365),
}


MOST_KEYS = 100
MOST_KEPT_KEYS = 1_000
"""Of a user, those that have expired included."""
MOST = {TokenKind.ACCESS: 1_000, TokenKind.REFRESH: 1_000, TokenKind.SESSION: 100}
"""How many rows a user may have. A further key is refused, a further log-in ends the oldest."""


@dataclass(frozen=True, slots=True)
class Grant:
    """What a token is to be good for; without `life` it lives as long as its kind does."""

    kind: TokenKind
    scope: Scope = Scope.ADMIN
    name: str = ""
    life: timedelta | None = None


class TokenWanted(Request, frozen=True):
    """A named token for a script; your password, where the request itself isn't made with it."""

    secrets: ClassVar[bool] = True

    name: Label
    password: str | None = None
    scope: Scope = Scope.READ
    expires_in_s: Annotated[int, msgspec.Meta(ge=60, le=5 * YEAR_S)] = YEAR_S


class TokensQuery(Request, frozen=True):
    """A page of your tokens."""

    after: Annotated[str, msgspec.Meta(extra_json_schema={"pattern": r"^[0-9]{0,18}$(?!\n)"})] = ""
    limit: Annotated[int, msgspec.Meta(ge=1, le=1_000)] = 100


class Refresh(Request, frozen=True):
    """A refresh token, to be exchanged."""

    secrets: ClassVar[bool] = True

    refresh: str


def issue(
    session: Session, user: Identity, grant: Grant, now: datetime, family: str | None = None
) -> TokenIssued:
    """Make a token for a user who has just been identified. It is shown once and kept nowhere.

    Raises TokenRejected when the user has since been removed, disabled, or given a new password;
    WrongRequest for whoever sits at this machine while there is no user.
    """
    if not user.user_id:
        raise WrongRequest("a token needs a user: create one with `flask users add NAME`")
    same = select(User.id).where(User.id == user.user_id, User.generation == user.generation)
    # One token of a user at a time: so it can be said how many there are.
    if session.scalar(same.where(User.enabled).with_for_update(key_share=True)) is None:
        raise TokenRejected("this user was removed, disabled or given a new password")
    if grant.kind is TokenKind.KEY:
        _refuse_further_key(session, user, now)
    text = PREFIX + secrets.token_urlsafe(32)
    row = Token(
        user_id=user.user_id,
        kind=grant.kind,
        digest=digest(text),
        name=grant.name,
        scope=grant.scope,
        family=family or secrets.token_hex(16),
        # As it was when the user was identified: if the password changes at this moment, the
        # token is born dead.
        generation=user.generation,
        created=now,
        expires=now + (LIVES[grant.kind] if grant.life is None else grant.life),
    )
    session.add(row)
    session.flush()
    if grant.kind in MOST:
        _end_oldest(session, user.user_id, grant.kind)
    return TokenIssued(
        id=row.id, token=text, kind=grant.kind, scope=grant.scope, expires=row.expires
    )


def _refuse_further_key(session: Session, user: Identity, now: datetime) -> None:
    """Raise WrongRequest where a user has as many keys as there may be.

    Those of an older password never work again and go at once. Those that have expired stay until
    their user or the night removes them, as `now` may be told by a clock that is wrong.
    """
    mine = Token.user_id == user.user_id, Token.kind == TokenKind.KEY
    session.execute(delete(Token).where(*mine, Token.generation < user.generation))
    works = case((Token.expires > now, 1))
    kept, working = session.execute(select(func.count(), func.count(works)).where(*mine)).one()
    if working >= MOST_KEYS:
        raise WrongRequest(f"a user must have at most {MOST_KEYS} named tokens: revoke one first")
    if kept >= MOST_KEPT_KEYS:
        told = f"a user must have at most {MOST_KEPT_KEYS:,} named tokens, expired ones included"
        raise WrongRequest(f"{told}: revoke one first")


def _end_oldest(session: Session, user_id: int, kind: TokenKind) -> None:
    mine = select(Token.id).where(Token.user_id == user_id, Token.kind == kind)
    # SQLite knows no OFFSET without a LIMIT.
    over = mine.order_by(Token.id.desc()).offset(MOST[kind]).limit(MOST[kind])
    session.execute(delete(Token).where(Token.id.in_(over)))


def issue_key(session: Session, user: Identity, wanted: TokenWanted, now: datetime) -> TokenIssued:
    """Make a named token for a user's script. Raises TokenRejected, WrongRequest."""
    life = timedelta(seconds=wanted.expires_in_s)
    grant = Grant(TokenKind.KEY, wanted.scope, new_label(wanted.name), life)
    return issue(session, user, grant, now)


def issue_own_key(
    session: Session, user: Identity, wanted: TokenWanted, now: datetime
) -> TokenIssued:
    """Make a named token at its user's own request. Raises Forbidden, and what issue_key does.

    It outlives any log-in, so who asks must have shown the password for it: WrongRequest.
    """
    if user.kind is TokenKind.KEY:
        raise Forbidden("a named token can't create others: use your password")
    new_label(wanted.name)  # what is wrong anyway is said before a password is asked for
    if user.kind is not None:
        raise WrongRequest("password must be sent, too: the token outlives this log-in", "password")
    if wanted.scope.level > user.level:
        raise Forbidden(f"scope must be at most {user.level.name.lower()}, got {wanted.scope}")
    return issue_key(session, user, wanted, now)


def issue_pair(
    session: Session, user: Identity, now: datetime, family: str | None = None
) -> TokenPair:
    """Make an access and a refresh token that end together, for whoever showed a password.

    Raises TokenRejected, WrongRequest.
    """
    if user.kind is not None:
        raise WrongRequest(
            "a pair of tokens needs a password (HTTP Basic); to create a named token, send its name"
        )
    family = family or secrets.token_hex(16)
    return TokenPair(
        access=issue(session, user, Grant(TokenKind.ACCESS), now, family).token,
        refresh=issue(session, user, Grant(TokenKind.REFRESH), now, family).token,
        expires_in_s=int(LIVES[TokenKind.ACCESS].total_seconds()),
    )


def refresh(session: Session, text: str, now: datetime) -> TokenPair | None:
    """Trade a refresh token for a new pair of its family; it has then been spent.

    None when it was spent before: somebody else has it too, so the whole family is revoked. That
    is returned, not raised, so that the caller commits it. Raises TokenRejected for tokens that
    aren't valid. Source: RFC 9700, section 4.14.
    """
    row, user = _valid(session, text, now)
    if row.kind != TokenKind.REFRESH:
        raise TokenRejected("this isn't a refresh token")
    _lock_owners(session, Token.family == row.family)
    mine = update(Token).where(Token.id == row.id, Token.spent.is_(None)).values(spent=now)
    if not written(session, mine):
        revoke_family(session, row.family)
        return None
    return issue_pair(session, identity_of(user), now, row.family)


def verify(session: Session, text: str, now: datetime) -> Identity:
    """Return who shows this token. Raises TokenRejected: expired, revoked, unknown, or refresh."""
    row, user = _valid(session, text, now)
    if row.kind == TokenKind.REFRESH:
        raise TokenRejected("a refresh token can only be exchanged for new tokens")
    return replace(
        identity_of(user),
        level=min(Role(user.role).level, Scope(row.scope).level),
        token_id=row.id,
        family=row.family,
        kind=TokenKind(row.kind),
        used_lately=row.last_used is not None
        and now - LAST_USED_STEP < row.last_used <= now + AHEAD,
    )


def _valid(session: Session, text: str, now: datetime) -> tuple[Token, User]:
    found = session.execute(
        select(Token, User)
        .join(User, User.id == Token.user_id)
        .where(Token.digest == digest(text), Token.expires > now)
        .where(User.enabled, User.generation == Token.generation)
    ).first()
    if found is None:
        raise TokenRejected(UNKNOWN)
    return found[0], found[1]


def refuse_shapeless(text: str) -> None:
    """Raise TokenRejected for what can't be a token: the database needn't be asked."""
    if SHAPE.fullmatch(text) is None:
        raise TokenRejected(UNKNOWN)


def note_use(session: Session, token_id: int, now: datetime) -> None:
    """Write down that a token is in use, at most once a minute."""
    stale = or_(
        Token.last_used.is_(None),
        Token.last_used < now - LAST_USED_STEP,
        Token.last_used > now + AHEAD,  # by a clock that was wrong
    )
    session.execute(update(Token).where(Token.id == token_id, stale).values(last_used=now))


def of_user(session: Session, user: Identity, wanted: TokensQuery, now: datetime) -> TokenList:
    """Return a page of a user's tokens that work, and keys that have expired, oldest first.

    Those count among the user's keys, and by a clock that is wrong they only seem to have expired.
    Raises WrongRequest.
    """
    shown_still = or_(Token.expires > now, Token.kind == TokenKind.KEY)
    kept = (
        select(Token, User)
        .join(User, User.id == Token.user_id)
        .where(Token.user_id == user.user_id, shown_still, Token.spent.is_(None))
        .where(User.generation == Token.generation, Token.id > _place(wanted.after))
        .order_by(Token.id)
        .limit(wanted.limit + 1)
    )
    rows = session.execute(kept).all()
    shown = [_listed(row, owner, user.token_id) for row, owner in rows]
    more = len(shown) > wanted.limit
    page = shown[: wanted.limit]
    return TokenList(tokens=page, next=str(page[-1].id) if more else None)


def _listed(row: Token, owner: User, current_id: int | None) -> TokenListed:
    return TokenListed(
        id=row.id,
        name=row.name,
        kind=TokenKind(row.kind),
        scope=min(Scope(row.scope), Scope.of(Role(owner.role)), key=lambda scope: scope.level),
        created=row.created,
        expires=row.expires,
        last_used=row.last_used,
        current=row.id == current_id,
    )


def _place(after: str) -> int:
    try:
        return _id(after or "0")
    except TokenUnknown:
        told = "after must be the `next` of a previous page"
        raise WrongRequest(told, "after", got=after) from None


def revoke(session: Session, user: Identity, token_id: str) -> None:
    """End one of a user's own tokens and all that were made from the same log-in.

    Raises TokenUnknown, also for what is no id; Forbidden for a key that would end another token.
    """
    number = _id(token_id)
    if user.kind is TokenKind.KEY and number != user.token_id:
        raise Forbidden("a named token can only revoke itself: use your password")
    family = session.scalar(
        select(Token.family).where(Token.id == number, Token.user_id == user.user_id)
    )
    if family is None:
        raise TokenUnknown
    revoke_family(session, family)


def _id(text: str) -> int:
    # Neither database takes a number of more digits as a question, and nothing has such an id.
    if not (text.isascii() and text.isdecimal() and len(text) < 19):
        raise TokenUnknown
    return int(text)


def revoke_family(session: Session, family: str) -> None:
    """End all tokens of one log-in, also a pair that is being made from them at this moment."""
    # A refresh that has not been committed yet has put its pair where DELETE doesn't see it: who
    # refreshes and who revokes wait for each other.
    _lock_owners(session, Token.family == family)
    session.execute(delete(Token).where(Token.family == family))


def _lock_owners(session: Session, which: ColumnElement[bool]) -> None:
    """Hold the users of these tokens: whoever writes several tokens holds their users first."""
    owners = select(User.id).where(User.id.in_(select(Token.user_id).where(which)))
    session.scalars(owners.order_by(User.id).with_for_update(key_share=True)).all()


def bring_back(session: Session, now: datetime) -> None:
    """Let tokens that were made in the future, by a clock that was wrong, have been made now.

    Each lives from now on for as long as it was made for. Three statements.
    """
    ahead = Token.created > now + AHEAD
    _lock_owners(session, ahead)
    found = session.execute(select(Token.id, Token.created, Token.expires).where(ahead))
    rows = [[row.id, now + (row.expires - row.created)] for row in found]
    session.execute(BRING_BACK, {"rows": as_rows(rows), "now": now})


def _bring_back() -> Update:
    given = incoming({"id": BigInteger(), "expires": BigInteger()})
    values = {"created": NOW, "expires": time_at(given.c.expires)}
    return update(TOKEN).where(TOKEN.c.id == given.c.id).values(values)


BRING_BACK = _bring_back()


def sweep(session: Session, now: datetime, limit: int) -> int:
    """Forget tokens and attempts that no longer mean anything; return how many.

    At most `limit` of each: while strangers try passwords there may be very many. What somebody
    holds is left for another night: who waits for nobody isn't waited for in a circle.
    """
    over = Attempt.tries > 0, Attempt.since <= now - WINDOW
    unknown_again = Attempt.since <= now - KNOWN_ADDRESS
    dead = select(Token.id).where(Token.expires <= now).limit(limit)
    stale = select(Attempt.subject).where(or_(and_(*over), unknown_again)).limit(limit)
    return _forget(session, FORGET_TOKENS, dead) + _forget(session, FORGET_ATTEMPTS, stale)


def _forget(session: Session, statement: Delete, which: Select[Any]) -> int:
    held = session.scalars(which.with_for_update(skip_locked=True)).all()
    session.execute(statement, {"rows": as_rows([one] for one in held)})
    return len(held)


IDS = given_ids()
FORGET_TOKENS = delete(TOKEN).where(TOKEN.c.id.in_(IDS))
SUBJECTS = select(incoming({"subject": String()}).c.subject)
FORGET_ATTEMPTS = delete(ATTEMPT).where(ATTEMPT.c.subject.in_(SUBJECTS))


def digest(text: str) -> str:
    """Return what is kept of a token. It has 256 random bits, so a fast hash is enough."""
    return hashlib.sha256(text.encode(errors="replace")).hexdigest()
