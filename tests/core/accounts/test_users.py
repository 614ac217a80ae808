"""Users and their passwords, on both databases."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from argon2 import extract_parameters
from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from core.accounts import users
from core.accounts.records import Identity, Level, Role
from core.accounts.users import DUMMY_HASH, HASHER, Change, NewUser, UserChange, UserWanted
from core.errors import (
    TokenRejected,
    UserTaken,
    UserUnknown,
    WrongRequest,
)
from core.models import User
from infra.database import Database
from tests.infra.rows import wait_for_a_blocked_one
from tests.people import NOW, PASSWORD, add, change


def create(database: Database, name: Any, password: Any = PASSWORD, role: Role = Role.ADMIN) -> int:
    """Create a user as the application does; return the id."""
    with database.transaction() as session:
        wanted = UserWanted(name=name, password=password, role=role)
        return users.create_user(session, NewUser.of(wanted), NOW).id


def check(database: Database, name: str, password: str = PASSWORD) -> Identity:
    """Try a password as the gate does."""
    with database.reading() as session:
        known = users.known(session, name)
    return users.check_password(known, password)


def test_a_user_gets_in_with_the_password_and_with_no_other(database: Database) -> None:
    create(database, " Ann ")
    assert check(database, "Ann").level is Level.ADMIN
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
            check(database, name, password)


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
        check(database, name, password)


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
    lambda session, user_id: users.change_user(session, user_id, Change(role=Role.EDITOR)),
    lambda session, user_id: users.change_user(session, user_id, Change(enabled=False)),
]


@pytest.mark.parametrize("end", LAST_ADMIN)
def test_the_last_admin_stays(database: Database, end: Callable[[Session, int], object]) -> None:
    ann = add(database, "ann")
    change(database, add(database, "bob"), enabled=False)
    add(database, "eve", Role.EDITOR)
    with pytest.raises(WrongRequest), database.transaction() as session:
        end(session, ann.user_id)
    check(database, "ann")


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
    assert check(database, "bob").level is Level.ADMIN


def test_users_are_held_in_the_order_of_their_ids(database: Database) -> None:
    viewer, admin = add(database, "vic", Role.VIEWER), add(database, "ann")
    add(database, "bob")

    def change_viewer() -> None:
        with database.transaction() as session:
            users.change_user(session, viewer.user_id, Change(role=Role.EDITOR))

    with ThreadPoolExecutor(1) as thread:
        with database.transaction() as session:
            users.find_user(session, viewer.user_id)
            changed = thread.submit(change_viewer)
            wait_for_a_blocked_one(database)
            users.find_user(session, admin.user_id)
        changed.result(60)


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


def test_two_changes_at_once_raise_the_generation_twice(database: Database) -> None:
    # What `flask users password` does: it reads the user first and changes it then.
    user = add(database)

    def change_by_name() -> None:
        with database.transaction() as session:
            found = users.find_user_named(session, "ann")
            users.change_user(session, found.id, Change.of(UserChange(password=PASSWORD)))

    with ThreadPoolExecutor(1) as thread:
        with database.transaction() as session:
            users.change_user(session, user.user_id, Change.of(UserChange(password=PASSWORD)))
            other = thread.submit(change_by_name)
            wait_for_a_blocked_one(database)
        other.result(60)
    with database.reading() as session:
        assert session.scalar(select(User.generation)) == 2


COMPOSED, APART = "Z\u00fcrich", "Zu\u0308rich"


def test_a_users_name_is_one_in_both_spellings(database: Database) -> None:
    user_id = create(database, APART)
    for spelling in (COMPOSED, APART):
        with pytest.raises(UserTaken):
            create(database, spelling)
        assert check(database, spelling).user_id == user_id
        with database.reading() as session:
            assert users.find_user_named(session, spelling).name == COMPOSED


def test_users_from_before_come_in_by_their_own_spelling(database: Database) -> None:
    older = add(database, APART).user_id
    assert check(database, COMPOSED).user_id == older
    with pytest.raises(UserTaken):
        create(database, COMPOSED)
    newer = add(database, COMPOSED).user_id
    unseen = add(database, "ann\u200b").user_id
    for name, user_id in ((APART, older), (COMPOSED, newer), ("ann\u200b", unseen)):
        assert check(database, name).user_id == user_id
    with pytest.raises(TokenRejected):
        check(database, "ann")


def test_a_user_of_a_name_that_nobody_sees_is_refused(database: Database) -> None:
    create(database, "ann")
    for name in ("ann\u200b", "\u202eann", "a\u2060nn", "\ufeffann", "ann\ufffe", "ann\u200d"):
        with pytest.raises(WrongRequest, match="a user's name must not contain") as refusal:
            create(database, name)
        assert refusal.value.field == "name"
    assert create(database, "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645")


def test_users_are_listed_in_order_of_the_characters_numbers(database: Database) -> None:
    for name in ("\u00e4", "b", "B", "\u0416", "a"):
        add(database, name)
    with database.reading() as session:
        shown = [user.name for user in users.everyone(session)]
    assert shown == ["B", "a", "b", "\u00e4", "\u0416"]
