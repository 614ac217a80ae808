"""Tokens: what they reach, what ends them, and who makes them, on both databases."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta

import pytest
from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from core.accounts import tokens, users
from core.accounts.attempts import Attempts, count_attempt
from core.accounts.records import Identity, Level, Role, Scope, TokenKind
from core.accounts.tokens import PREFIX, Grant, TokensQuery, TokenWanted
from core.accounts.users import Change, UserChange
from core.errors import (
    Forbidden,
    TokenRejected,
    TokenUnknown,
    WrongRequest,
)
from core.models import Attempt, Token
from core.settings import Settings
from infra.database import Database
from tests.core.accounts.calls import (
    ACCOUNT,
    ELSEWHERE,
    HOME,
    MINUTE,
    PAIR,
    WINDOW,
    at_everybody,
    attempt,
    attempts,
    from_everywhere,
    is_dead,
    issue,
    pair,
    refresh,
    succeed,
    verify,
)
from tests.infra.rows import wait_for_a_blocked_one
from tests.people import NOW, PASSWORD, SECOND, add, change

GRANT = Grant(TokenKind.ACCESS)
ALL = TokensQuery()


def wanted(scope: Scope, expires_in_s: int = 60) -> TokenWanted:
    """Ask for a key."""
    return TokenWanted(name="script", scope=scope, expires_in_s=expires_in_s)


def test_a_token_works_until_its_time_is_over(database: Database) -> None:
    user = add(database)
    for kind in (TokenKind.ACCESS, TokenKind.SESSION, TokenKind.KEY):
        text = issue(database, user, kind=kind)
        end = NOW + tokens.LIVES[kind]
        assert verify(database, text, end - SECOND).name == "ann"
        with pytest.raises(TokenRejected):
            verify(database, text, end)


def test_a_token_may_be_given_another_life(database: Database) -> None:
    text = issue(database, add(database), kind=TokenKind.KEY, life=MINUTE)
    verify(database, text, NOW + MINUTE - SECOND)
    with pytest.raises(TokenRejected):
        verify(database, text, NOW + MINUTE)


def test_a_token_reaches_as_far_as_its_scope_and_its_user(database: Database) -> None:
    for role in Role:
        user = add(database, role, role)
        for scope in Scope:
            text = issue(database, user, scope=scope)
            assert verify(database, text).level == min(role.level, scope.level)


def test_only_a_hash_of_a_token_is_kept(database: Database) -> None:
    text = issue(database, add(database))
    with database.reading() as session:
        kept = session.execute(select(Token.__table__)).one()
    assert text not in str(kept)
    assert text.removeprefix(tokens.PREFIX) not in str(kept)


def test_no_two_tokens_are_alike(database: Database) -> None:
    user = add(database)
    texts = {issue(database, user) for _ in range(20)}
    assert len(texts) == 20
    assert {len(text) for text in texts} == {len("pinglet_") + 43}  # 256 bits


def test_what_is_no_token_is_refused(database: Database) -> None:
    add(database)
    for text in ("", "pinglet_", "\0", "\ud800", "é", "'", "x" * 1_000_000):
        with pytest.raises(TokenRejected):
            verify(database, text)
        with pytest.raises(TokenRejected):
            refresh(database, text)


ENDS: dict[str, Callable[[Session, int], object]] = {
    "a new password": lambda session, user_id: users.change_user(
        session, user_id, Change.of(UserChange(password=PASSWORD))
    ),
    "being disabled": lambda session, user_id: users.change_user(
        session, user_id, Change(enabled=False)
    ),
    "being removed": users.remove_user,
}


@pytest.mark.parametrize("end", ENDS.values(), ids=list(ENDS))
def test_every_token_of_a_user_ends_with(
    database: Database, end: Callable[[Session, int], object]
) -> None:
    add(database, "root")
    user = add(database)
    texts = [issue(database, user, kind=kind) for kind in TokenKind] + [*pair(database, user)]
    others = issue(database, add(database, "bob"))
    with database.transaction() as session:
        end(session, user.user_id)
    assert all(is_dead(database, text) for text in texts)
    for text in texts:
        with pytest.raises(TokenRejected):
            verify(database, text)
        with pytest.raises(TokenRejected):
            refresh(database, text)
    assert verify(database, others).name == "bob"


@pytest.mark.parametrize("end", ENDS.values(), ids=list(ENDS))
def test_no_token_is_made_for_whoever_was_identified_before(
    database: Database, end: Callable[[Session, int], object]
) -> None:
    add(database, "root")
    user = add(database)
    with database.transaction() as session:
        end(session, user.user_id)
    with pytest.raises(TokenRejected):
        issue(database, user)
    with pytest.raises(TokenRejected):
        pair(database, user)


def test_being_let_in_again_brings_no_token_back(database: Database) -> None:
    add(database, "root")
    user = add(database)
    text = issue(database, user)
    change(database, user, enabled=False)
    change(database, user, enabled=True)
    assert is_dead(database, text)


def test_a_token_made_while_the_password_changes_is_dead(database: Database) -> None:
    user = add(database)
    with ThreadPoolExecutor(1) as thread:
        with database.transaction() as session:
            text = tokens.issue(session, user, Grant(TokenKind.KEY), NOW).token
            changed = thread.submit(change, database, user, password=PASSWORD)
            if database.engine.dialect.name == "postgresql":
                wait_for_a_blocked_one(database)
        changed.result(60)
    assert is_dead(database, text)


def test_revoking_one_token_ends_its_log_in_and_no_other(database: Database) -> None:
    user = add(database)
    access, renewing = pair(database, user)
    other = issue(database, user)
    with database.transaction() as session:
        token_id = session.scalar(select(Token.id).where(Token.digest == tokens.digest(access)))
        assert token_id is not None
        tokens.revoke(session, user, str(token_id))
        with pytest.raises(TokenUnknown):
            tokens.revoke(session, user, str(token_id))
    assert [is_dead(database, text) for text in (access, renewing, other)] == [True, True, False]


def test_nobody_revokes_the_token_of_another(database: Database) -> None:
    text = issue(database, add(database, "ann"))
    bob = add(database, "bob")
    with database.transaction() as session:
        token_id = session.scalar(select(Token.id)) or 0
        with pytest.raises(TokenUnknown):
            tokens.revoke(session, bob, str(token_id))
    assert not is_dead(database, text)


def test_the_list_holds_what_still_works_and_keys_that_have_expired(database: Database) -> None:
    user = add(database)
    issue(database, user, life=MINUTE)
    key = issue(database, user, kind=TokenKind.KEY)
    refresh(database, pair(database, user)[1])
    with database.reading() as session:
        found = tokens.of_user(session, user, ALL, NOW + MINUTE).tokens
        assert [row.kind for row in found] == ["key", "access", "access", "refresh"]
        of_key = select(Token.id).where(Token.digest == tokens.digest(key))
        assert session.scalar(of_key) == found[0].id
        late = tokens.of_user(session, user, ALL, NOW + tokens.LIVES[TokenKind.KEY]).tokens
        assert [row.kind for row in late] == ["key"]  # has expired, and counts among the keys
    change(database, user, password=PASSWORD)
    with database.reading() as session:
        assert not tokens.of_user(session, user, ALL, NOW).tokens


@pytest.mark.parametrize(
    ("role", "scopes"),
    [
        (Role.VIEWER, ["read", "read", "read"]),
        (Role.EDITOR, ["read", "write", "write"]),
        (Role.ADMIN, ["read", "write", "admin"]),
    ],
)
def test_a_listed_scope_reaches_as_far_as_its_users_role(
    database: Database, role: Role, scopes: list[str]
) -> None:
    add(database)
    user = add(database, "bob", role)
    for scope in Scope:
        issue(database, user, kind=TokenKind.KEY, scope=scope)
    with database.reading() as session:
        found = tokens.of_user(session, user, ALL, NOW).tokens
    assert [one.scope for one in found] == scopes


def test_the_list_marks_the_token_that_asks(database: Database) -> None:
    user = add(database)
    issue(database, user)
    asking = verify(database, issue(database, user))
    with database.reading() as session:
        found = tokens.of_user(session, asking, ALL, NOW).tokens
        assert [one.current for one in found] == [False, True]
        assert not any(one.current for one in tokens.of_user(session, user, ALL, NOW).tokens)


def test_the_list_is_read_page_by_page(database: Database) -> None:
    user = add(database)
    for number in range(5):
        issue(database, user, kind=TokenKind.KEY, name=str(number))
    pages, after = [], ""
    with database.reading() as session:
        while True:
            page = tokens.of_user(session, user, TokensQuery(after=after, limit=2), NOW)
            pages.append([one.name for one in page.tokens])
            if page.next is None:
                break
            after = page.next
        for wrong in ("x", "-1", "9" * 30):
            with pytest.raises(WrongRequest, match="after must be"):
                tokens.of_user(session, user, TokensQuery(after=wrong), NOW)
    assert pages == [["0", "1"], ["2", "3"], ["4"]]


def made(database: Database, user: Identity, name: str = "script") -> bool:
    """Make a key; whether that was allowed."""
    with suppress(WrongRequest), database.transaction() as session:
        tokens.issue_key(session, user, TokenWanted(name=name), NOW)
        return True
    return False


def test_a_user_has_so_many_keys_and_no_more_however_many_are_made_at_once(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokens, "MOST_KEYS", 3)
    user, other = add(database), add(database, "bob")
    issue(database, user, kind=TokenKind.KEY, life=-SECOND)  # has expired: isn't counted
    with ThreadPoolExecutor(8) as many:
        assert sum(many.map(lambda _: made(database, user), range(8))) == 3
    assert made(database, other)
    with database.transaction() as session:
        with pytest.raises(WrongRequest, match="at most 3 named tokens"):
            tokens.issue_key(session, user, TokenWanted(name="more"), NOW)
        one = tokens.of_user(session, user, ALL, NOW).tokens[-1]
        tokens.revoke(session, user, str(one.id))
    assert made(database, user)


def test_keys_that_have_expired_are_kept_until_somebody_removes_them_and_only_so_many(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokens, "MOST_KEYS", 2)
    monkeypatch.setattr(tokens, "MOST_KEPT_KEYS", 5)
    user, other = add(database), add(database, "bob")
    for _key in range(5):
        issue(database, user, kind=TokenKind.KEY, life=-SECOND)
    with pytest.raises(WrongRequest, match="at most 5 named tokens, expired ones included"):
        issue(database, user, kind=TokenKind.KEY)
    assert made(database, other)
    with database.transaction() as session:
        first, *_others = tokens.of_user(session, user, ALL, NOW).tokens
        tokens.revoke(session, user, str(first.id))
    assert [made(database, user) for _key in range(2)] == [True, False]
    with database.transaction() as session:
        assert tokens.sweep(session, NOW, 9) == 4
    assert made(database, user)


def test_keys_of_an_older_password_make_room_for_others(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokens, "MOST_KEYS", 2)
    monkeypatch.setattr(tokens, "MOST_KEPT_KEYS", 2)
    user, other = add(database), add(database, "bob")
    kept = issue(database, other, kind=TokenKind.KEY)
    for _generation in range(3):
        with database.reading() as session:
            user = users.identity_of(users.find_user(session, user.user_id))
        assert [made(database, user) for _key in range(3)] == [True, True, False]
        change(database, user, password=PASSWORD)
    with database.reading() as session:
        assert session.scalar(select(func.count()).select_from(Token)) == 3
    assert not is_dead(database, kept)


def test_a_further_log_in_ends_the_oldest(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    most = {TokenKind.SESSION: 2, TokenKind.ACCESS: 2, TokenKind.REFRESH: 2}
    monkeypatch.setattr(tokens, "MOST", most)
    user = add(database)
    key = issue(database, user, kind=TokenKind.KEY)
    for kind in (TokenKind.SESSION, TokenKind.ACCESS):
        texts = [issue(database, user, kind=kind) for _ in range(4)]
        assert [is_dead(database, text) for text in texts] == [True, True, False, False]
    renewals = [pair(database, user)[1] for _ in range(3)]
    with pytest.raises(TokenRejected):
        refresh(database, renewals[0])
    assert refresh(database, renewals[1]) is not None
    assert not is_dead(database, key)


@pytest.mark.parametrize("kind", [TokenKind.SESSION, TokenKind.ACCESS])
def test_a_log_in_alone_makes_no_key_that_outlives_it(database: Database, kind: TokenKind) -> None:
    shown = verify(database, issue(database, add(database), kind=kind))
    with database.transaction() as session, pytest.raises(WrongRequest) as refused:
        tokens.issue_own_key(session, shown, wanted(Scope.READ), NOW)
    assert refused.value.field == "password"


@pytest.mark.parametrize("text", ["", "x", "pinglet_", PREFIX + 43 * "!", PREFIX + 43 * "B"])
def test_what_has_not_the_shape_of_a_token_is_refused(text: str) -> None:
    with pytest.raises(TokenRejected):
        tokens.refuse_shapeless(text)


def test_every_token_has_the_shape_of_one(database: Database) -> None:
    user = add(database)
    for kind in TokenKind:
        tokens.refuse_shapeless(issue(database, user, kind=kind))


def test_the_last_use_is_written_down_once_a_minute(database: Database) -> None:
    text = issue(database, add(database), kind=TokenKind.KEY)
    token_id = verify(database, text).token_id or 0
    uses = [NOW, NOW + 30 * SECOND, NOW + 61 * SECOND]
    kept = []
    for now in uses:
        with database.transaction() as session:
            tokens.note_use(session, token_id, now)
            kept.append(session.scalar(select(Token.last_used)))
    assert kept == [uses[0], uses[0], uses[2]]
    assert verify(database, text, uses[2] + SECOND).used_lately
    assert not verify(database, text, uses[2] + MINUTE + SECOND).used_lately


# Who makes and ends them


def test_a_key_makes_no_other_key_and_nobody_gives_away_more_than_the_own_scope(
    database: Database,
) -> None:
    add(database, "root")
    user = add(database, "ann", Role.EDITOR)
    key = verify(database, issue(database, user, kind=TokenKind.KEY))
    with database.transaction() as session:
        made = tokens.issue_own_key(session, user, wanted(Scope.WRITE), NOW)
        assert (made.kind, made.scope) == (TokenKind.KEY, Scope.WRITE)
        for asking, scope in [(user, Scope.ADMIN), (key, Scope.READ)]:
            with pytest.raises(Forbidden):
                tokens.issue_own_key(session, asking, wanted(scope), NOW)


def test_whoever_runs_this_instance_makes_keys_for_others(database: Database) -> None:
    user = add(database, "ann", Role.VIEWER)
    with database.transaction() as session:
        made = tokens.issue_key(session, user, wanted(Scope.ADMIN, 90), NOW)
    assert made.expires == NOW + timedelta(seconds=90)
    assert verify(database, made.token).level is Level.READ


def test_a_key_has_a_name(database: Database) -> None:
    user = add(database)
    with database.transaction() as session:
        for name in ("", " ", "a" * 65, "a\0", "a\n", "\ud800", "a\u202e", "a\u200b"):
            with pytest.raises(WrongRequest) as refused:
                tokens.issue_key(session, user, TokenWanted(name=name), NOW)
            assert refused.value.field == "name"
        tokens.issue_key(session, user, TokenWanted(name=" a:b "), NOW)
        tokens.issue_key(session, user, TokenWanted(name="Zu\u0308rich"), NOW)
        listed = tokens.of_user(session, user, ALL, NOW).tokens
        assert [one.name for one in listed] == ["a:b", "Z\u00fcrich"]


def test_whoever_sits_at_the_machine_gets_no_token(database: Database) -> None:
    local = Identity("whoever", Level.ADMIN)
    with database.transaction() as session:
        for make in (tokens.issue_pair, lambda *given: tokens.issue(*given[:2], GRANT, NOW)):
            with pytest.raises(WrongRequest, match="flask users add"):
                make(session, local, NOW)


def test_a_pair_is_for_a_password(database: Database) -> None:
    user = add(database)
    for kind in (TokenKind.ACCESS, TokenKind.SESSION, TokenKind.KEY):
        shown = verify(database, issue(database, user, kind=kind))
        with pytest.raises(WrongRequest), database.transaction() as session:
            tokens.issue_pair(session, shown, NOW)


def test_a_key_ends_no_token_but_itself(database: Database) -> None:
    user = add(database)
    key, other = (issue(database, user, kind=TokenKind.KEY) for _ in range(2))
    shown, another = verify(database, key), verify(database, other)
    with database.transaction() as session:
        with pytest.raises(Forbidden):
            tokens.revoke(session, shown, str(another.token_id))
        tokens.revoke(session, shown, str(shown.token_id))
    assert [is_dead(database, text) for text in (key, other)] == [True, False]


def test_what_is_no_id_is_no_token(database: Database) -> None:
    user = add(database)
    issue(database, user)
    with database.transaction() as session:
        for text in ("", "0", "-1", " 1", "1.0", "\u0661", "9" * 30, "9" * 5_000, "\0", "pinglet_"):
            with pytest.raises(TokenUnknown):
                tokens.revoke(session, user, text)


# Refresh tokens


def test_a_refresh_token_is_traded_once_and_ends_its_family_the_second_time(
    database: Database,
) -> None:
    access, first = pair(database, add(database))
    second = refresh(database, first)
    assert second is not None
    third = refresh(database, second[1])
    assert third is not None
    assert not any(is_dead(database, text) for text in (access, *third))
    assert refresh(database, first) is None
    assert all(is_dead(database, text) for text in (access, first, *second, *third))
    with pytest.raises(TokenRejected):
        refresh(database, third[1])


def test_a_refresh_token_opens_nothing_and_others_refresh_nothing(database: Database) -> None:
    user = add(database)
    with pytest.raises(TokenRejected):
        verify(database, pair(database, user)[1])
    for kind in (TokenKind.ACCESS, TokenKind.SESSION, TokenKind.KEY):
        with pytest.raises(TokenRejected):
            refresh(database, issue(database, user, kind=kind))


def test_a_refresh_token_has_seven_days(database: Database) -> None:
    _access, renewing = pair(database, add(database))
    end = NOW + timedelta(days=7)
    with pytest.raises(TokenRejected):
        refresh(database, renewing, end)
    assert refresh(database, renewing, end - SECOND)


def test_of_refreshes_at_once_at_most_one_pair_lives(settings: Settings) -> None:
    databases = [Database(settings) for _ in range(3)]
    user = add(databases[0])

    def trade(opened: Database, text: str) -> tuple[str, str] | None:
        # The second ends the family, so the third finds nothing.
        with suppress(TokenRejected):
            return refresh(opened, text)
        return None

    for _ in range(5):
        _access, renewing = pair(databases[0], user)
        with ThreadPoolExecutor(3) as threads:
            made = list(threads.map(trade, databases, [renewing] * 3))
        pairs = [found for found in made if found]
        assert len(pairs) == 1
        assert all(is_dead(databases[0], text) for text in pairs[0])
    for opened in databases:
        opened.engine.dispose()


@pytest.mark.parametrize("way", ["reuse", "log out"])
def test_a_pair_that_is_being_made_ends_with_its_family(database: Database, way: str) -> None:
    user = add(database)
    _access, first = pair(database, user)
    second = refresh(database, first)
    assert second is not None

    def revoke() -> None:
        if way == "reuse":
            assert refresh(database, first) is None
            return
        family = verify(database, second[0]).family
        with database.transaction() as session:
            tokens.revoke_family(session, family)

    with ThreadPoolExecutor(1) as thread:
        with database.transaction() as session:
            third = tokens.refresh(session, second[1], NOW)
            revoked = thread.submit(revoke)
            wait_for_a_blocked_one(database)
        revoked.result(60)
    assert third is not None
    assert all(is_dead(database, text) for text in (third.access, third.refresh))


def test_a_refresh_that_waits_for_a_log_out_gets_nothing(database: Database) -> None:
    access, renewing = pair(database, add(database))
    family = verify(database, access).family
    with ThreadPoolExecutor(1) as thread:
        with database.transaction() as session:
            tokens.revoke_family(session, family)
            late = thread.submit(refresh, database, renewing)
            wait_for_a_blocked_one(database)
        if database.engine.dialect.name == "sqlite":
            with pytest.raises(TokenRejected):
                late.result(60)
        else:
            assert late.result(60) is None
    with database.reading() as session:
        assert session.scalar(select(func.count()).select_from(Token)) == 0


# What means nothing any more


def test_what_is_over_is_swept_away(database: Database) -> None:
    user = add(database)
    issue(database, user, life=MINUTE)
    kept = issue(database, user, kind=TokenKind.KEY)
    succeed(database, "bob", now=NOW - timedelta(days=31))
    succeed(database, address=HOME)
    attempts(database, [("ann", ELSEWHERE, NOW)] * PAIR)
    with database.transaction() as session:
        assert tokens.sweep(session, NOW + MINUTE - SECOND, 9) == 4
        assert tokens.sweep(session, NOW + MINUTE, 9) == 1
    assert not is_dead(database, kept)
    assert attempt(database, address=ELSEWHERE, now=NOW + WINDOW - SECOND) is not None


def test_what_somebody_holds_is_left_for_another_night(database: Database) -> None:
    later = NOW + WINDOW
    ann = Attempts("ann", HOME)
    attempts(database, [("ann", HOME, NOW), ("bob", ELSEWHERE, NOW)])

    def sweep() -> int:
        with database.transaction() as session:
            return tokens.sweep(session, later, 9)

    with ThreadPoolExecutor(1) as thread:
        with database.transaction() as session:
            count_attempt(session, ann, later)
            swept = thread.submit(sweep)
            if database.engine.dialect.name == "postgresql":
                swept.result(60)  # waits for nobody; SQLite has one writer at a time
        assert swept.result(60) == 3
    with database.reading() as session:
        assert set(session.scalars(select(Attempt.subject))) == set(ann.limits)


def test_attempts_are_forgotten_with_their_window_but_not_where_the_owner_logs_in(
    database: Database,
) -> None:
    succeed(database, address=HOME)
    later = NOW + WINDOW
    attempts(database, [*at_everybody(3), *from_everywhere(ACCOUNT, later)])
    with database.transaction() as session:
        # Three names and the address they were tried from; then the address alone was tried again.
        assert tokens.sweep(session, later, 2) == 2
        assert tokens.sweep(session, later, 99) == 4
        assert tokens.sweep(session, later, 99) == 0
    assert attempt(database, address=ELSEWHERE, now=later) is not None
    assert attempt(database, address=HOME, now=later) is None


def test_tokens_made_by_a_clock_that_was_ahead_live_as_long_as_they_were_made_for(
    database: Database,
) -> None:
    ann = add(database, "ann")
    ahead = NOW + timedelta(days=3_650)
    early = issue(database, ann, kind=TokenKind.KEY, life=60 * MINUTE)
    late = issue(database, ann, ahead, kind=TokenKind.KEY, life=60 * MINUTE)
    with database.transaction() as session:
        tokens.bring_back(session, NOW + 60 * MINUTE)
    for text, end in ((early, NOW + 60 * MINUTE), (late, NOW + 60 * MINUTE + 60 * MINUTE)):
        assert not is_dead(database, text, end - SECOND)
        assert is_dead(database, text, end)


def test_who_brings_tokens_back_waits_for_their_users_before_it_touches_any(
    database: Database,
) -> None:
    ann, bob = add(database, "ann"), add(database, "bob")
    for user in (bob, ann):
        issue(database, user, NOW + timedelta(days=3_650))

    def bring_back() -> None:
        with database.transaction() as session:
            tokens.bring_back(session, NOW)

    with ThreadPoolExecutor(1) as thread:
        with database.transaction() as session:
            users.remove_user(session, ann.user_id)
            brought = thread.submit(bring_back)
            wait_for_a_blocked_one(database)
            session.execute(delete(Token))
        brought.result(60)


def test_a_use_noted_by_a_clock_that_was_ahead_is_noted_anew(
    database: Database,
) -> None:
    text = issue(database, add(database, "ann"))
    token_id = verify(database, text).token_id
    assert token_id is not None
    for now in (NOW + timedelta(days=3_650), NOW + MINUTE):
        with database.transaction() as session:
            assert not tokens.verify(session, text, NOW).used_lately
            tokens.note_use(session, token_id, now)
    assert verify(database, text, NOW + MINUTE + SECOND).used_lately
