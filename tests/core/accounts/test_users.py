"""Users, tokens, and how often a password may be tried, on both databases."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

import pytest
from argon2 import extract_parameters
from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from core.accounts import tokens, users
from core.accounts.attempts import Attempts, count_attempt, forgive_attempts
from core.accounts.records import Identity, Level, Role, Scope, TokenKind
from core.accounts.tokens import Grant
from core.accounts.users import DUMMY_HASH, HASHER, UserChange, UserWanted
from core.errors import (
    TokenRejected,
    TokenUnknown,
    TooManyAttempts,
    UserTaken,
    UserUnknown,
    WrongRequest,
)
from core.models import Attempt, Token, User
from core.settings import Settings
from infra.database import Database
from tests import people
from tests.infra.rows import wait_for_a_blocked_one
from tests.people import NOW, PASSWORD, SECOND, add, change

MINUTE = timedelta(minutes=1)
PAIR, ADDRESS, ACCOUNT = 5, 30, 100  # the limits as docs/accounts.md states them
WINDOW = timedelta(minutes=15)


@pytest.fixture
def settings(settings: Settings) -> Iterator[Settings]:
    """The same, without users before and after."""
    with people.nobody_but(settings) as empty:
        yield empty


def create(database: Database, name: Any, password: Any = PASSWORD, role: Role = Role.ADMIN) -> int:
    """Create a user as the application does; return the id."""
    with database.transaction() as session:
        wanted = UserWanted(name=name, password=password, role=role)
        return users.create_user(session, wanted, NOW).id


def issue(database: Database, user: Identity, now: datetime = NOW, **grant: Any) -> str:
    """Make a token at `now`."""
    with database.transaction() as session:
        return tokens.issue(session, user, Grant(**({"kind": TokenKind.ACCESS} | grant)), now).token


def verify(database: Database, text: str, now: datetime = NOW) -> Identity:
    """Return who shows that token at `now`."""
    with database.reading() as session:
        return tokens.verify(session, text, now)


def pair(database: Database, user: Identity) -> tuple[str, str]:
    """Make an access and a refresh token at NOW."""
    with database.transaction() as session:
        made = tokens.issue_pair(session, user, NOW)
    return made.access, made.refresh


def refresh(database: Database, text: str, now: datetime = NOW) -> tuple[str, str] | None:
    """Trade a refresh token at `now`."""
    with database.transaction() as session:
        made = tokens.refresh(session, text, now)
    return (made.access, made.refresh) if made else None


def is_dead(database: Database, text: str, now: datetime = NOW) -> bool:
    """Whether a token is good for nothing at `now`."""
    with database.reading() as session:
        query = select(Token).join(User).where(Token.digest == tokens.digest(text))
        query = query.where(Token.expires > now, Token.spent.is_(None), User.enabled)
        return session.scalar(query.where(User.generation == Token.generation)) is None


# Users


def test_a_user_gets_in_with_the_password_and_with_no_other(database: Database) -> None:
    create(database, " Ann ")
    with database.reading() as session:
        assert users.check_password(session, "Ann", PASSWORD).level is Level.ADMIN
        for name, password in [
            ("Ann", PASSWORD + " "),
            ("Ann", PASSWORD.upper()),
            ("Ann", ""),
            ("Ann", PASSWORD + "\0"),
            ("Ann", "\ud800"),
            ("ann", PASSWORD),
            (" Ann", PASSWORD),
            ("Ann\0", PASSWORD),
            ("\ud800", PASSWORD),
            ("A" * 100_000, PASSWORD),
            ("%", PASSWORD),
            ("", PASSWORD),
        ]:
            with pytest.raises(TokenRejected):
                users.check_password(session, name, password)


def test_an_unknown_name_costs_the_same_hash_as_a_known_one() -> None:
    dummy = extract_parameters(DUMMY_HASH)
    assert dummy == extract_parameters(HASHER.hash(PASSWORD))
    # OWASP Password Storage Cheat Sheet: Argon2id with 19 MiB, two passes, one lane.
    assert (dummy.type.name, dummy.memory_cost, dummy.time_cost) == ("ID", 19_456, 2)


WRONG_USERS = [
    ("", PASSWORD, "name"),
    ("  ", PASSWORD, "name"),
    ("a" * 65, PASSWORD, "name"),
    ("a:b", PASSWORD, "name"),
    ("a\0b", PASSWORD, "name"),
    ("a\n", PASSWORD, "name"),
    ("\ud800", PASSWORD, "name"),
    (7, PASSWORD, "name"),
    ("ann", "1234567", "password"),
    ("ann", "x" * 257, "password"),
    ("ann", "1234567\ud800", "password"),
]


def test_names_and_passwords_have_their_limits(database: Database) -> None:
    for name, password, field in WRONG_USERS:
        with pytest.raises(WrongRequest) as refused:
            create(database, name, password)
        assert refused.value.field == field
    with database.reading() as session:
        assert users.access_is_open(session)


def test_any_eight_characters_are_a_password(database: Database) -> None:
    for number, password in enumerate(["12345678", "\0" * 8, "🔑" * 256, " " * 8]):
        name = str(number) * 64
        create(database, name, password)
        with database.reading() as session:
            users.check_password(session, name, password)


def test_a_second_user_of_the_same_name_is_refused(database: Database) -> None:
    create(database, "ann")
    with pytest.raises(UserTaken):
        create(database, "ann", role=Role.VIEWER)


def test_the_first_user_is_an_admin(database: Database) -> None:
    for role in (Role.VIEWER, Role.EDITOR):
        with pytest.raises(WrongRequest) as refused:
            create(database, "eve", role=role)
        assert refused.value.field == "role"
    create(database, "ann")
    create(database, "eve", role=Role.VIEWER)


LAST_ADMIN: list[Callable[[Session, int], object]] = [
    users.remove_user,
    lambda session, user_id: users.change_user(session, user_id, UserChange(role=Role.EDITOR)),
    lambda session, user_id: users.change_user(session, user_id, UserChange(enabled=False)),
]


@pytest.mark.parametrize("end", LAST_ADMIN)
def test_the_last_admin_stays(database: Database, end: Callable[[Session, int], object]) -> None:
    ann = add(database, "ann")
    change(database, add(database, "bob"), enabled=False)
    add(database, "eve", Role.EDITOR)
    with pytest.raises(WrongRequest), database.transaction() as session:
        end(session, ann.user_id)
    with database.reading() as session:
        users.check_password(session, "ann", PASSWORD)


@pytest.mark.parametrize("end", LAST_ADMIN)
def test_two_admins_cannot_end_each_other_at_once(
    database: Database, end: Callable[[Session, int], object]
) -> None:
    ann, bob = add(database, "ann"), add(database, "bob")

    def end_bob() -> None:
        with database.transaction() as session:
            end(session, bob.user_id)

    with ThreadPoolExecutor(1) as thread:
        with database.transaction() as session:
            end(session, ann.user_id)
            other = thread.submit(end_bob)
            wait_for_a_blocked_one(database)
        with pytest.raises(WrongRequest):
            other.result(60)
    with database.reading() as session:
        assert users.check_password(session, "bob", PASSWORD).level is Level.ADMIN


def test_an_id_that_nobody_has_is_unknown(database: Database) -> None:
    with database.transaction() as session:
        for user_id in (0, -1, 7, 2**63, 10**30):
            with pytest.raises(UserUnknown):
                users.find_user(session, user_id)


def test_a_name_that_nobody_has_is_unknown(database: Database) -> None:
    add(database)
    with database.transaction() as session:
        for name in ("nobody", "a\0", "\udcff", "x" * 100_000):
            with pytest.raises(UserUnknown):
                users.find_user_named(session, name)
        assert [user.name for user in users.everyone(session)] == ["ann"]


def test_an_id_never_comes_back(database: Database) -> None:
    add(database, "ann")
    first = add(database, "bob").user_id
    with database.transaction() as session:
        users.remove_user(session, first)
    assert add(database, "bob").user_id != first


def test_open_access_has_ended_also_when_all_users_are_gone(database: Database) -> None:
    create(database, "ann")
    with database.transaction() as session:
        session.execute(delete(User))
    with database.reading() as session:
        assert not users.access_is_open(session)


# Tokens


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
        session, user_id, UserChange(password=PASSWORD)
    ),
    "being disabled": lambda session, user_id: users.change_user(
        session, user_id, UserChange(enabled=False)
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


def test_two_changes_at_once_raise_the_generation_twice(database: Database) -> None:
    # What `flask users password` does: it reads the user first and changes it then.
    user = add(database)

    def change_by_name() -> None:
        with database.transaction() as session:
            found = users.find_user_named(session, "ann")
            users.change_user(session, found.id, UserChange(password=PASSWORD))

    with ThreadPoolExecutor(1) as thread:
        with database.transaction() as session:
            users.change_user(session, user.user_id, UserChange(password=PASSWORD))
            other = thread.submit(change_by_name)
            wait_for_a_blocked_one(database)
        other.result(60)
    with database.reading() as session:
        assert session.scalar(select(User.generation)) == 2


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


def test_the_list_holds_what_still_works(database: Database) -> None:
    user = add(database)
    issue(database, user, life=MINUTE)
    key = issue(database, user, kind=TokenKind.KEY)
    refresh(database, pair(database, user)[1])
    with database.reading() as session:
        found = tokens.of_user(session, user.user_id, NOW + MINUTE)
        assert [row.kind for row in found] == ["key", "access", "access", "refresh"]
        of_key = select(Token.id).where(Token.digest == tokens.digest(key))
        assert session.scalar(of_key) == found[0].id
    change(database, user, password=PASSWORD)
    with database.reading() as session:
        assert not tokens.of_user(session, user.user_id, NOW)


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


# How often a password may be tried


Tries = Iterable[tuple[str, str, datetime]]
HOME, ELSEWHERE = "203.0.113.1", "203.0.113.2"


def attempt(
    database: Database, name: str = "ann", address: str = "192.0.2.1", now: datetime = NOW
) -> int | None:
    """Try a wrong password: None if it would be looked at, else the seconds to wait."""
    return attempts(database, [(name, address, now)])[0]


def attempts(database: Database, tries: Tries) -> list[int | None]:
    """Try wrong passwords one after the other."""
    with database.transaction() as session:
        return [_attempt(session, Attempts(name, address), now) for name, address, now in tries]


def _attempt(session: Session, one: Attempts, now: datetime) -> int | None:
    try:
        with session.begin_nested():
            count_attempt(session, one, now)
    except TooManyAttempts as error:
        return error.retry_after_s
    return None


def from_everywhere(count: int, now: datetime = NOW) -> Tries:
    """Tries at one account from many addresses."""
    return [("ann", f"192.0.2.{number % 60}", now) for number in range(count)]


def at_everybody(count: int) -> Tries:
    """Tries at many accounts from one address."""
    return [(f"user {number}", "192.0.2.1", NOW) for number in range(count)]


def succeed(
    database: Database, name: str = "ann", address: str = "192.0.2.1", now: datetime = NOW
) -> None:
    """Try the right password."""
    one = Attempts(name, address)
    with database.transaction() as session:
        counted = count_attempt(session, one, now)
    with database.transaction() as session:
        forgive_attempts(session, one, counted, now)


def looked_at(answers: list[int | None]) -> int:
    """Return how many of the passwords tried were looked at."""
    return answers.count(None)


def test_one_address_may_try_one_account_five_times(database: Database) -> None:
    answers = attempts(
        database, [("ann", HOME, NOW + number * SECOND) for number in (*range(20), 899, 900)]
    )
    assert looked_at(answers[:PAIR]) == PAIR
    # The window began with the first try; its end is what Retry-After says.
    assert answers[PAIR:20] == [900 - number + 1 for number in range(PAIR, 20)]
    assert answers[20:] == [2, None]


def test_one_address_may_try_all_accounts_thirty_times(database: Database) -> None:
    answers = attempts(database, at_everybody(60))
    assert looked_at(answers) == looked_at(answers[:ADDRESS]) == ADDRESS


def test_names_that_were_refused_leave_no_rows(database: Database) -> None:
    attempts(database, at_everybody(60))
    with database.reading() as session:
        rows = session.scalar(select(func.count()).select_from(Attempt))
    assert rows == 1 + 2 * ADDRESS


def test_one_account_may_be_tried_a_hundred_times(database: Database) -> None:
    assert looked_at(attempts(database, from_everywhere(200))) == ACCOUNT


def test_refused_tries_use_nothing_up(database: Database) -> None:
    attempts(database, [("ann", HOME, NOW)] * 2 * ACCOUNT)
    assert attempt(database, "bob", HOME) is None
    assert attempt(database, "ann", ELSEWHERE) is None


def test_the_owner_gets_in_at_once_from_where_the_owner_was_before(database: Database) -> None:
    succeed(database, address=HOME)
    attempts(database, from_everywhere(ACCOUNT + 1))
    assert attempt(database, address=ELSEWHERE) is not None
    succeed(database, address=HOME, now=NOW + SECOND)


def test_the_owner_gets_in_from_elsewhere_when_the_window_is_over(database: Database) -> None:
    attempts(database, from_everywhere(ACCOUNT + 1))
    assert attempt(database, address=ELSEWHERE) is not None
    succeed(database, address=ELSEWHERE, now=NOW + WINDOW)


def test_neighbours_behind_one_address_cannot_lock_its_users_out(database: Database) -> None:
    succeed(database)
    attempts(database, at_everybody(ADDRESS + 1))
    assert attempt(database, "bob") is not None
    succeed(database, now=NOW + SECOND)


def test_a_known_address_may_not_guess_either(database: Database) -> None:
    succeed(database, address=HOME)
    assert looked_at(attempts(database, [("ann", HOME, NOW)] * 20)) == PAIR


@pytest.mark.parametrize(("days", "wait_s"), [(29, None), (30, 901)])
def test_an_address_is_known_for_thirty_days(
    database: Database, days: int, wait_s: int | None
) -> None:
    succeed(database, address=HOME)
    now = NOW + timedelta(days=days)
    attempts(database, from_everywhere(ACCOUNT, now))
    assert attempt(database, address=HOME, now=now) == wait_s


def test_right_passwords_are_never_too_many(database: Database) -> None:
    for _ in range(ADDRESS + 5):
        succeed(database)


def test_right_passwords_give_nobody_else_more_tries(database: Database) -> None:
    succeed(database, address=HOME)
    answers = attempts(database, from_everywhere(ACCOUNT))
    for number in range(5):
        succeed(database, address=HOME)
        answers.append(attempt(database, address=f"198.51.100.{number}"))
    assert looked_at(answers) == ACCOUNT


def test_an_account_of_ones_own_gives_no_more_tries_at_others(database: Database) -> None:
    answers = []
    for _ in range(10):
        succeed(database, "eve")
        answers.append(attempt(database, "ann"))
    assert looked_at(answers) == PAIR


def test_one_ipv6_network_is_one_address(database: Database) -> None:
    answers = attempts(database, [("ann", f"2001:db8::{end:x}", NOW) for end in range(20)])
    assert looked_at(answers) == PAIR
    assert attempt(database, address="2001:db8:0:1::1") is None


def test_ipv4_callers_of_a_socket_for_both_kinds_are_not_one_address(database: Database) -> None:
    answers = attempts(
        database, [(f"user {end}", f"::ffff:192.0.2.{end}", NOW) for end in range(ADDRESS + 5)]
    )
    assert looked_at(answers) == ADDRESS + 5
    assert looked_at(attempts(database, [("ann", "::ffff:192.0.2.1", NOW)] * PAIR)) == PAIR
    assert attempt(database, address="192.0.2.1") is not None
    succeed(database, "eve", address="::ffff:203.0.113.1")
    attempts(database, [("eve", f"192.0.2.{number % 60}", NOW) for number in range(ACCOUNT)])
    assert attempt(database, "eve", "::ffff:203.0.113.2") is not None


def test_what_is_no_address_or_no_name_is_limited_as_one(database: Database) -> None:
    for address in ("", "unix:", "::1%lo", "fe80::1%eth0", "999.1.1.1"):
        assert looked_at(attempts(database, [(address, address, NOW)] * 10)) == PAIR
    for name in ("\0", "\ud800", "x" * 100_000):
        assert looked_at(attempts(database, [(name, HOME, NOW)] * 10)) == PAIR


def test_attempts_at_once_are_all_counted(settings: Settings) -> None:
    databases = [Database(settings) for _ in range(4)]
    with ThreadPoolExecutor(4) as threads:
        answers = list(threads.map(attempt, databases * 4))
    assert looked_at(answers) == PAIR
    for opened in databases:
        opened.engine.dispose()


def test_log_ins_at_once_never_wait_for_each_other_in_a_circle(settings: Settings) -> None:
    databases = [Database(settings) for _ in range(3)]

    def come_and_go(opened: Database) -> None:
        for number in range(6):
            succeed(opened, f"user {number % 3}")

    with ThreadPoolExecutor(3) as threads:
        list(threads.map(come_and_go, databases))
    for opened in databases:
        opened.engine.dispose()


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
