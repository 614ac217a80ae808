"""Log-ins, tokens and users at once, beside sweeps, rounds and servers: none makes way."""

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from functools import partial

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import text
from sqlalchemy.orm import Session

from core.accounts import tokens, users
from core.accounts.records import Identity, Role, TokenKind
from core.accounts.tokens import Grant
from core.checks.records import Ping, Probe
from core.clock import utc_now
from core.history import upkeep
from core.rounds import stretches, trust
from core.rounds.kernel import SILENT
from core.rounds.measure import Measured
from core.servers import change, find
from core.servers.records import ServerChange
from core.settings import Settings
from core.slots import slot_of
from handlers.http.app import create_app
from handlers.worker import rounds
from infra.database import Database
from tests import people
from tests.counts import count
from tests.handlers.races import IP, Racer, database_of, meet, packs, puts, records, renames
from tests.people import PASSWORD, add, basic, bearer, token

NEVER_AGAIN = timedelta(minutes=16)
"""After that no attempt counts any more, and no access token works."""
YEARS = timedelta(days=3_650)


@pytest.fixture(params=["sqlite", "postgres"])
def app(request: pytest.FixtureRequest) -> Iterator[Flask]:
    settings: Settings = request.getfixturevalue(f"{request.param}_settings")
    with people.nobody_but(settings) as empty:
        made = create_app(empty)
        yield made
        made.extensions["pinglet"].database.engine.dispose()


def logs_in(*names: str) -> Racer:
    """Begins a session, and a pair of tokens that is renewed, used up and ended."""

    def log_in(client: FlaskClient, race: int) -> int:
        name = names[race % len(names)]
        body = {"name": name, "password": PASSWORD}
        codes = [client.post("/api/v1/session", json=body).status_code]
        pair = client.post("/api/v1/tokens", headers=basic(name))
        for _twice in range(2 * (pair.status_code == 201)):
            renewing = {"refresh": pair.get_json()["refresh"]}
            codes.append(client.post("/api/v1/tokens/refresh", json=renewing).status_code)
        return max(*codes, pair.status_code)

    return log_in


def makes_keys(client: FlaskClient, race: int) -> int:
    """Makes a key with a password and ends it."""
    made = client.post("/api/v1/tokens", json={"name": f"key {race}"}, headers=basic("root"))
    if made.status_code != 201:
        return made.status_code
    ended = client.delete(f"/api/v1/tokens/{made.get_json()['id']}", headers=basic("root"))
    return ended.status_code


def changes(*owners: Identity) -> Racer:
    """Gives users another role and the password they have, and so ends their tokens."""

    def change(client: FlaskClient, race: int) -> int:
        role = [Role.EDITOR, Role.ADMIN][race % 2]
        codes = [
            client.patch(
                f"/api/v1/users/{user.user_id}", json={"role": role, "password": PASSWORD}
            ).status_code
            for user in owners
        ]
        return max(codes)

    return change


def comes_and_goes(client: FlaskClient, race: int) -> int:
    """Adds a user who logs in, has tokens that are over, and is removed."""
    wanted = {"name": f"guest {race}", "password": PASSWORD, "role": "admin"}
    user_id = client.post("/api/v1/users", json=wanted).get_json()["id"]
    codes = [client.post("/api/v1/tokens", headers=basic(f"guest {race}")).status_code]
    codes.append(client.delete(f"/api/v1/users/{user_id}").status_code)
    return max(codes)


def sweeps(*owners: Identity) -> Racer:
    """Forgets attempts, tokens that are over, and those that it has made for it."""

    def sweep(client: FlaskClient, _race: int) -> int:
        database, now = database_of(client), utc_now() + NEVER_AGAIN
        for user in owners:
            over(database, user)
        database.write(lambda session: tokens.sweep(session, now, 1_000))
        return 200

    return sweep


def over(database: Database, user: Identity) -> None:
    """Make tokens that have expired, whichever generation their user is of by now."""
    grant = Grant(TokenKind.KEY, life=timedelta(0))
    for _token in range(3):
        with database.transaction() as session:
            now = utc_now()
            current = users.identity_of(users.find_user(session, user.user_id))
            tokens.issue(session, current, grant, now)


def issue_ahead(session: Session, now: datetime) -> None:
    root = users.identity_of(users.find_user_named(session, "root"))
    tokens.issue_pair(session, root, now)


def is_put_right(*ids: int) -> Racer:
    """Finds that the clock was ahead: a round, its packed day, a pause and a log-in lie there."""

    def put_right(client: FlaskClient, race: int) -> int:
        database, now = database_of(client), utc_now()
        slot = slot_of(now) + timedelta(days=race + 1)
        pings = [Ping(one, IP, 4, 4, 1.0, 1.0, 1.0, Probe.TCP, None) for one in ids]
        beginning = rounds.Beginning(len(ids), trust.Reading(now, SILENT))
        rounds.store(database, slot, Measured(pings, []), now + YEARS, beginning=beginning)
        database.write(lambda session: upkeep.pack(session, slot.date(), ids))
        wanted = ServerChange(enabled=race % 2 == 0)
        for one in ids[:2]:
            alter = partial(change.alter, server_id=one, wanted=wanted, now=slot)
            database.write(partial(alter, settings=database.settings))
        database.write(lambda session: issue_ahead(session, slot))

        def note(session: Session) -> None:
            stretches.note(session, trust.Reading(now, SILENT))
            stretches.put_right(session, now)

        database.write(note)
        return 200

    return put_right


def client_of(app: Flask, user: Identity) -> FlaskClient:
    """Return a client that shows a key of that user's where a test shows nothing else."""
    client = app.test_client(use_cookies=False)
    key = token(app.extensions["pinglet"].database, user, TokenKind.KEY)
    client.environ_base["HTTP_AUTHORIZATION"] = bearer(key)["Authorization"]
    return client


Cast = Callable[[list[Identity], list[int]], list[Racer]]
"""Who meets, given some users and the ids of the servers."""


@pytest.mark.parametrize(
    "cast",
    [
        pytest.param(
            lambda users, ids: [
                logs_in("ann", "bob"),
                logs_in("bob", "ann"),
                makes_keys,
                changes(*users),
                changes(*reversed(users)),
                comes_and_goes,
                sweeps(*users),
                renames(1, "x", "a"),
                puts("x", "b", "a"),
            ],
            id="accounts, a sweep, a rename, a bulk upsert",
        ),
        pytest.param(
            lambda users, ids: [
                is_put_right(*ids),
                is_put_right(*reversed(ids)),
                records(*reversed(ids)),
                packs(*ids),
                renames(1, "x", "a"),
                puts("x", "b", "a"),
                comes_and_goes,
                changes(*users),
                sweeps(*users),
            ],
            id="a clock that was ahead, rounds, packing, accounts",
        ),
    ],
)
def test_nobody_is_refused_and_nobody_waits_in_a_circle(
    app: Flask, cast: Cast, caplog: pytest.LogCaptureFixture
) -> None:
    database = app.extensions["pinglet"].database
    root, *users = (add(database, name) for name in ("root", "ann", "bob"))
    puts("a", "b")(client_of(app, root), 0)
    with database.reading() as session:
        racers = cast(users, list(find.ids(session))[:5])
    clients = [client_of(app, root) for _racer in racers]
    answers = meet(clients, racers)
    assert [codes for codes in answers if codes - {200, 201, 401, 404, 409}] == []
    assert [line for line in caplog.messages if "made way" in line] == []


# Whoever has to make way, as Postgres ends one of several that wait for each other


COLLIDE = """
CREATE SEQUENCE asked;
CREATE TABLE collision AS SELECT 0 AS nth;
CREATE FUNCTION collide() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    IF nextval('asked') = (SELECT nth FROM collision) THEN
        RAISE EXCEPTION 'deadlock detected' USING ERRCODE = '40P01';
    END IF;
    RETURN NULL;
END $$;
"""
ON_TABLE = """
CREATE TRIGGER collides AFTER INSERT OR UPDATE OR DELETE ON "{}"
    FOR EACH STATEMENT EXECUTE FUNCTION collide()
"""
NEVER_MIND = "DROP FUNCTION collide CASCADE; DROP TABLE collision; DROP SEQUENCE asked"


@pytest.fixture
def colliding(postgres_settings: Settings) -> Iterator[Flask]:
    """The application on a Postgres where the nth statement that writes of people has to make way.

    That of a transaction which is tried once more counts on.
    """
    with people.nobody_but(postgres_settings) as empty:
        made = create_app(empty)
        database = made.extensions["pinglet"].database
        with database.transaction() as session:
            session.execute(text(COLLIDE))
            for table in ("user", "token", "attempt"):
                session.execute(text(ON_TABLE.format(table)))
        yield made
        with database.transaction() as session:
            session.execute(text(NEVER_MIND))
        database.engine.dispose()


def one_after_the_other(client: FlaskClient, turn: int) -> list[int]:
    """Do everything that writes of people, once; return the codes."""
    bob = {"name": f"bob {turn}", "password": PASSWORD}
    name = basic(bob["name"])
    new, key = {"old": PASSWORD, "new": PASSWORD}, {"name": "script"}
    answers = [client.post("/api/v1/users", json=bob | {"role": "admin"}, headers=basic("root"))]
    person = f"/api/v1/users/{answers[0].get_json()['id']}"
    pair = client.post("/api/v1/tokens", headers=name)
    renewing = {"refresh": pair.get_json()["refresh"]}
    session = client.post("/api/v1/session", json=bob)
    held = {"Cookie": session.headers["Set-Cookie"].partition(";")[0], "X-Requested-With": "fetch"}
    made = client.post("/api/v1/tokens", json=key, headers=name)
    answers += [
        pair,
        client.post("/api/v1/tokens/refresh", json=renewing),
        client.post("/api/v1/tokens/refresh", json=renewing),
        session,
        client.delete("/api/v1/session", headers=held),
        made,
        client.delete(f"/api/v1/tokens/{made.get_json()['id']}", headers=name),
        client.put("/api/v1/me/password", json=new, headers=name),
        client.patch(person, json={"role": "editor"}, headers=basic("root")),
        client.delete(person, headers=basic("root")),
    ]
    return [answer.status_code for answer in answers]


def test_whoever_has_to_make_way_is_tried_once_more(colliding: Flask) -> None:
    database = colliding.extensions["pinglet"].database
    add(database, "root")
    client = colliding.test_client(use_cookies=False)
    asked = nth = 1
    while asked >= nth:
        with database.transaction() as session:
            session.execute(text("UPDATE collision SET nth = :nth"), {"nth": nth})
            session.execute(text("ALTER SEQUENCE asked RESTART"))
        codes = one_after_the_other(client, nth)
        assert codes == [201, 201, 201, 401, 201, 200, 201, 200, 200, 200, 200], nth
        with database.reading() as session:
            asked = session.scalar(text("SELECT last_value FROM asked")) or 0
        nth += count(5, 1)
    assert nth > 30
