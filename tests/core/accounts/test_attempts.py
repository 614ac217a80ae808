"""How often a password may be tried, on both databases."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from sqlalchemy import func, select

from core.models import Attempt
from core.settings import Settings
from infra.database import Database
from tests.core.accounts.calls import (
    ACCOUNT,
    ADDRESS,
    ELSEWHERE,
    HOME,
    PAIR,
    WINDOW,
    at_everybody,
    attempt,
    attempts,
    from_everywhere,
    looked_at,
    succeed,
)
from tests.people import NOW, SECOND


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


def test_a_name_in_many_spellings_is_one_account(database: Database) -> None:
    name = "a\u030ao\u0308u\u0308"
    spellings = [name, "\u00e5\u00f6\u00fc", "\u212bo\u0308\u00fc".lower(), "\u00e5o\u0308\u00fc"]
    answers = attempts(database, [(spelling, HOME, NOW) for spelling in spellings * PAIR])
    assert looked_at(answers) == PAIR


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


def test_a_clock_that_was_ahead_locks_nobody_out_for_longer_than_a_window(
    database: Database,
) -> None:
    """Nor does it let anybody in for longer than thirty days."""
    ahead = NOW + timedelta(days=3_650)
    succeed(database, address=HOME, now=ahead)
    assert looked_at(attempts(database, [("ann", ELSEWHERE, ahead)] * 2 * PAIR)) == PAIR
    assert attempt(database, address=ELSEWHERE) is None
    attempts(database, from_everywhere(2 * ACCOUNT))
    assert attempt(database, address=HOME) == 901


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
