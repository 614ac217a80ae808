"""The tables. What a column holds is said here once; how they come about is infra/migrations."""

import datetime as dt
from datetime import datetime

from sqlalchemy import (
    BigInteger,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    SmallInteger,
    String,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from core.reading import NAME_LENGTH, TAG_LENGTH, USER_NAME_LENGTH
from core.sql import UtcDateTime

SCHEMA_VERSION = "0009"
"""The newest migration this release knows; an older database is refused, a newer one is not."""


class Base(DeclarativeBase):
    """What holds for every table."""

    type_annotation_map = {datetime: UtcDateTime(), float: Double()}


BigId = BigInteger().with_variant(Integer, "sqlite")


class Server(Base):
    """What we watch.

    The `last_*` columns repeat its newest ping, so that lists needn't search `data`. They carry no
    index: with free room in each page (fillfactor) Postgres then updates them in place. The state
    is not among them: it is derived when read, so a dead worker leaves no green light behind.
    """

    __tablename__ = "server"
    # On SQLite the id is AUTOINCREMENT, too: it never comes back, so a late ping can't reach a
    # namesake. Only the migrations say so: said here, it would load SQLite's dialect on Lambda.
    __table_args__ = {"postgresql_with": {"fillfactor": 50}}

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    name: Mapped[str] = mapped_column(String(NAME_LENGTH), unique=True)
    ip: Mapped[str] = mapped_column(String(39))
    added: Mapped[datetime] = mapped_column("datetime")
    probe: Mapped[str] = mapped_column(String(4))
    port: Mapped[int | None]
    last_slot: Mapped[datetime | None]
    last_ms: Mapped[float | None]
    last_sent: Mapped[int | None] = mapped_column(SmallInteger)
    last_received: Mapped[int | None] = mapped_column(SmallInteger)
    last_port: Mapped[int | None]  # the TCP port that answered last
    # It rises with what is looked at, and how.
    revision: Mapped[int] = mapped_column(server_default="0")


class Schedule(Base):
    """What was due when: from `since` on a server was due every `interval_s`, or paused.

    Rows are only added, so the coverage of the past stays what it was.
    """

    __tablename__ = "schedule"

    server_id: Mapped[int] = mapped_column(
        BigId, ForeignKey("server.id", ondelete="CASCADE"), primary_key=True
    )
    since: Mapped[datetime] = mapped_column(primary_key=True)
    interval_s: Mapped[int]
    enabled: Mapped[bool]


class Tag(Base):
    """A word that groups servers: one row for each of a server's tags."""

    __tablename__ = "tag"

    server_id: Mapped[int] = mapped_column(
        BigId, ForeignKey("server.id", ondelete="CASCADE"), primary_key=True
    )
    tag: Mapped[str] = mapped_column(String(TAG_LENGTH), primary_key=True)

    __table_args__ = (Index("tag_tag", tag),)  # who has a tag is asked for by it


class Parent(Base):
    """Behind which server another one stands, such as its switch.

    No column of `server`: to remove a parent then writes no row of another server, which a round
    may hold, and no index makes a round's updates of servers costlier. Whoever goes, as parent or
    as child, takes the row along.
    """

    __tablename__ = "parent"

    server_id: Mapped[int] = mapped_column(
        BigId, ForeignKey("server.id", ondelete="CASCADE"), primary_key=True
    )
    parent_id: Mapped[int] = mapped_column(
        BigId, ForeignKey("server.id", ondelete="CASCADE"), index=True
    )


class StoredPing(Base):
    """What one server's echoes of one round add up to. A round recorded twice changes nothing.

    On SQLite the table itself is the unique index below, and an id follows from the key: so a
    server's pings lie side by side. As with AUTOINCREMENT, only the migrations say so.
    """

    __tablename__ = "data"

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    server_id: Mapped[int] = mapped_column(BigId, ForeignKey("server.id", ondelete="CASCADE"))
    response_ms: Mapped[float | None] = mapped_column("response_time")  # None: no echo came back
    slot: Mapped[datetime] = mapped_column("datetime")  # when the round was due, not when it ran
    sent: Mapped[int] = mapped_column(SmallInteger)
    received: Mapped[int] = mapped_column(SmallInteger)
    best_ms: Mapped[float | None]
    worst_ms: Mapped[float | None]
    probe: Mapped[str] = mapped_column(String(4))  # how it was probed: icmp or tcp

    __table_args__ = (
        # INCLUDE holds what charts read: 30 days of one server without touching the table.
        Index(
            "data_server_slot",
            server_id,
            slot,
            unique=True,
            postgresql_include=["response_time", "sent", "received", "best_ms", "worst_ms"],
        ),
        # What is old goes in order of time, all servers together.
        Index("data_slot", slot),
    )


class Why(Base):
    """Why a ping isn't up, or why a slot has none. A ping that is up has no row here.

    Of a slot there may be both: who couldn't observe it, and another worker that could. Where a
    ping is up after all, what stands here of it says nothing.
    """

    __tablename__ = "why"

    server_id: Mapped[int] = mapped_column(
        BigId, ForeignKey("server.id", ondelete="CASCADE"), primary_key=True
    )
    observed: Mapped[bool] = mapped_column(primary_key=True)  # whether there is a ping
    slot: Mapped[datetime] = mapped_column("datetime", primary_key=True)
    reason: Mapped[str] = mapped_column(String(16))  # a code of core.checks.records.Reason
    detail: Mapped[str] = mapped_column(String(300))  # for people

    __table_args__ = (Index("why_datetime", slot),)  # what is old goes in order of time


class Day(Base):
    """One server's slots of one UTC day, packed (core/history/codec.py), and what they add up to.

    A slot is in `data`, or here, or for some days in both; readers take it once. Slots are only
    ever added to a day.
    """

    __tablename__ = "day"
    # Postgres then compresses `held`, nearly always one digit, instead of keeping it as it is in
    # every row; the packed bytes go out of line either way.
    __table_args__ = {"postgresql_with": {"toast_tuple_target": 256}}

    server_id: Mapped[int] = mapped_column(
        BigId, ForeignKey("server.id", ondelete="CASCADE"), primary_key=True
    )
    date: Mapped[dt.date] = mapped_column(primary_key=True)
    # The slots it holds as bits, in hexadecimal: a raw row goes when its slot is in here.
    held: Mapped[str] = mapped_column(String(360))
    up: Mapped[int] = mapped_column(SmallInteger)
    degraded: Mapped[int] = mapped_column(SmallInteger)
    down: Mapped[int] = mapped_column(SmallInteger)
    unobserved: Mapped[int] = mapped_column(SmallInteger)  # the others of the 1,440 were not due
    sent: Mapped[int]
    received: Mapped[int]
    timed: Mapped[int] = mapped_column(SmallInteger)  # slots that have a mean
    hundredths: Mapped[int] = mapped_column(BigInteger)  # the sum of their means, in 0.01 ms
    best_ms: Mapped[float | None]
    worst_ms: Mapped[float | None]
    p50_ms: Mapped[float | None]  # exact, of the slots' means
    p95_ms: Mapped[float | None]
    p99_ms: Mapped[float | None]
    packed: Mapped[bytes] = mapped_column(LargeBinary)


class Round(Base):
    """One round: what was due in its slot, and what came of it. Kept as long as raw rows are."""

    __tablename__ = "round"

    slot: Mapped[datetime] = mapped_column(primary_key=True)
    due: Mapped[int]
    observed: Mapped[int]  # rows that it added to `data`
    began: Mapped[datetime]
    ended: Mapped[datetime | None]  # when the last of them was recorded


class StoredStretch(Base):
    """Rounds whose times agree, one after the other: core/rounds/trust.py says what for."""

    __tablename__ = "stretch"

    began: Mapped[datetime] = mapped_column(primary_key=True)
    ended: Mapped[datetime]  # its newest round
    boot_id: Mapped[str] = mapped_column(String(36))  # of the machine's start, at `ended`
    uptime_s: Mapped[float]  # at `ended`
    agreed_s: Mapped[float]
    synchronised_s: Mapped[float]  # as much of it as the kernel called its clock synchronised
    doubted_s: Mapped[float]  # the time before it that nobody vouches for
    contradicted: Mapped[bool]
    gap_s: Mapped[float]  # between its newest round and the reading before


class Aside(Base):
    """A ping that was recorded for a slot to come, by a clock that was wrong. Nobody reads it.

    It was taken out of the way of what is true of that slot: core/history/aside.py.
    """

    __tablename__ = "aside"

    server_id: Mapped[int] = mapped_column(
        BigId, ForeignKey("server.id", ondelete="CASCADE"), primary_key=True
    )
    slot: Mapped[datetime] = mapped_column("datetime", primary_key=True)
    since: Mapped[datetime] = mapped_column(primary_key=True)  # when it was set aside
    response_ms: Mapped[float | None] = mapped_column("response_time")
    sent: Mapped[int] = mapped_column(SmallInteger)
    received: Mapped[int] = mapped_column(SmallInteger)
    best_ms: Mapped[float | None]
    worst_ms: Mapped[float | None]


class User(Base):
    """Who may use this instance.

    Every token carries the `generation` it was made in; raising the user's ends them all at the
    next request, on every machine, also one that is being made at this moment.
    """

    __tablename__ = "user"

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    name: Mapped[str] = mapped_column(String(USER_NAME_LENGTH), unique=True)
    password_hash: Mapped[str] = mapped_column(String(255))
    role: Mapped[str] = mapped_column(String(6))
    enabled: Mapped[bool]
    generation: Mapped[int]
    created: Mapped[datetime]


class Token(Base):
    """What a user shows instead of a password. The token itself is kept nowhere, only its SHA-256.

    Tokens that were made from one log-in share its `family` and end together.
    """

    __tablename__ = "token"

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    user_id: Mapped[int] = mapped_column(
        BigId, ForeignKey("user.id", ondelete="CASCADE"), index=True
    )
    kind: Mapped[str] = mapped_column(String(7))  # access, refresh, session or key
    digest: Mapped[str] = mapped_column(String(64), unique=True)
    name: Mapped[str] = mapped_column(String(USER_NAME_LENGTH))  # of a session: its browser
    scope: Mapped[str] = mapped_column(String(5))
    family: Mapped[str] = mapped_column(String(32), index=True)
    generation: Mapped[int]
    created: Mapped[datetime]
    expires: Mapped[datetime] = mapped_column(index=True)
    last_used: Mapped[datetime | None]
    spent: Mapped[datetime | None]  # a refresh token's only use


class Attempt(Base):
    """How often a password was tried in the window that began at `since`: accounts/attempts.py."""

    __tablename__ = "attempt"

    subject: Mapped[str] = mapped_column(String(64), primary_key=True)  # a SHA-256 of who tried
    since: Mapped[datetime] = mapped_column(index=True)
    tries: Mapped[int]


class Incident(Base):
    """When bad was bad enough: core/incidents. Whoever is gone stays readable in it."""

    __tablename__ = "incident"

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    rule: Mapped[str] = mapped_column(String(NAME_LENGTH))
    severity: Mapped[str] = mapped_column(String(8))  # critical, warning or info
    kind: Mapped[str] = mapped_column(String(12))  # what its rule looked at: down, loss_pct, ...
    # Of what: a server, a parent's children, a tag, a network, all servers, our own network.
    extent: Mapped[str] = mapped_column(String(8))
    server_id: Mapped[int | None] = mapped_column(
        BigId, ForeignKey("server.id", ondelete="SET NULL"), index=True
    )
    parent_id: Mapped[int | None] = mapped_column(
        BigId, ForeignKey("server.id", ondelete="SET NULL"), index=True
    )
    # The server's or the parent's as it was opened; the tag; the network.
    name: Mapped[str] = mapped_column(String(NAME_LENGTH))
    opened: Mapped[datetime] = mapped_column(index=True)  # its first bad slot
    confirmed: Mapped[datetime]  # the slot that decided it
    resolved: Mapped[datetime | None] = mapped_column(index=True)  # the first good slot, or when
    how: Mapped[str | None] = mapped_column(String(8))  # it was resolved: good, hand, paused, ...
    held: Mapped[str | None] = mapped_column(String(12))  # by what, while nobody is to be told
    flaps: Mapped[int] = mapped_column(SmallInteger)
    is_flapping: Mapped[bool]
    reason: Mapped[str | None] = mapped_column(String(16))  # of its first bad slot, as in `why`
    detail: Mapped[str | None] = mapped_column(String(300))
    acked_by: Mapped[str | None] = mapped_column(String(USER_NAME_LENGTH))
    acked_until: Mapped[datetime | None]
    rule_id: Mapped[int | None] = mapped_column(BigId)  # 0: the default; it may be gone


class Event(Base):
    """What happened to an incident: a line of its timeline. Or that somebody changed the rules.

    No foreign key: Postgres keeps the plan by which it checks one, made when incidents were few. In
    a storm it would read all of them for each line.
    """

    __tablename__ = "event"

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    incident_id: Mapped[int | None] = mapped_column(BigId, index=True)
    at: Mapped[datetime]  # the slot that decided it, or when somebody did it
    kind: Mapped[str] = mapped_column(String(16))
    who: Mapped[str | None] = mapped_column(String(USER_NAME_LENGTH))
    note: Mapped[str | None]  # of a person, or a rule as JSON


class Judged(Base):
    """What the judge remembers of a server, under a rule, that isn't quiet. Else there is no row.

    The rule has no foreign key: the default has no row, and an incident outlives its rule.
    """

    __tablename__ = "judged"

    server_id: Mapped[int] = mapped_column(
        BigId, ForeignKey("server.id", ondelete="CASCADE"), primary_key=True
    )
    rule_id: Mapped[int] = mapped_column(BigId, primary_key=True, autoincrement=False)
    revision: Mapped[int]  # the server's, as it was judged
    terms: Mapped[str] = mapped_column(String)  # the rule's, as it was judged: its when and clear
    memory: Mapped[str] = mapped_column(String)  # core/incidents/judge.py, as JSON


class StoredMaintenance(Base):
    """Planned work: for whom, when, and how far ahead it is laid down as ranges."""

    __tablename__ = "maintenance"

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    name: Mapped[str] = mapped_column(String(NAME_LENGTH))
    criteria: Mapped[str] = mapped_column(String)  # for whom: core/servers/criteria.py, as JSON
    plan: Mapped[str] = mapped_column(String)  # when: core/incidents/maintenance_records.py
    counts: Mapped[bool]  # whether its slots are part of uptime and coverage
    made: Mapped[datetime]
    made_by: Mapped[str | None] = mapped_column(String(USER_NAME_LENGTH))
    ends: Mapped[datetime | None] = mapped_column(index=True)  # None: it comes again and again
    planned: Mapped[datetime]  # what begins before is laid down


class MaintenanceRange(Base):
    """From when to when a maintenance holds. It repeats what held then: the past stays as it is."""

    __tablename__ = "maintenance_range"

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    maintenance_id: Mapped[int | None] = mapped_column(
        BigId, ForeignKey("maintenance.id", ondelete="SET NULL")
    )
    since: Mapped[datetime]
    until: Mapped[datetime] = mapped_column(index=True)
    name: Mapped[str] = mapped_column(String(NAME_LENGTH))
    criteria: Mapped[str] = mapped_column(String)
    counts: Mapped[bool]

    __table_args__ = (Index("maintenance_range_of", maintenance_id, until),)


class Member(Base):
    """A server in the incident of a group, from its first bad slot to its first good one.

    No foreign keys, for the reason that `event` has none. A server's id never comes back.
    """

    __tablename__ = "incident_server"

    incident_id: Mapped[int] = mapped_column(BigId, primary_key=True)
    server_id: Mapped[int] = mapped_column(BigId, primary_key=True, index=True)
    name: Mapped[str] = mapped_column(String(NAME_LENGTH))  # as it came in
    confirmed: Mapped[datetime]  # the slot that decided it
    since: Mapped[datetime]
    until: Mapped[datetime | None]


class Witness(Base):
    """An address that answers while our own network works: core/rounds/witnesses.py."""

    __tablename__ = "witness"

    ip: Mapped[str] = mapped_column(String(39), primary_key=True)
    asked: Mapped[datetime]  # the newest slot in which it was asked and anything came back at all
    answered: Mapped[datetime | None]  # the newest slot in which it did


class StoredRule(Base):
    """A rule that somebody made. The default rule has no row, and the id 0."""

    __tablename__ = "rule"

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    name: Mapped[str] = mapped_column(String(NAME_LENGTH), unique=True)
    made: Mapped[datetime]
    changed: Mapped[datetime]
    wanted: Mapped[str] = mapped_column(String)  # core/incidents/rules.py, as JSON


class Recheck(Base):
    """A server that is looked at each minute from a slot on, until the rule decides."""

    __tablename__ = "recheck"

    server_id: Mapped[int] = mapped_column(
        BigId, ForeignKey("server.id", ondelete="CASCADE"), primary_key=True
    )
    since: Mapped[datetime]


class Latch(Base):
    """Something that has happened and can't be undone, such as `authentication`, or how far."""

    __tablename__ = "latch"

    name: Mapped[str] = mapped_column(String(32), primary_key=True)
    since: Mapped[datetime]


LARGEST_ID = 2**63 - 1  # no database has larger ones


# The plain tables, for statements about rows: the ORM has no part in them.
SERVER = Base.metadata.tables["server"]
SCHEDULE = Base.metadata.tables["schedule"]
TAG = Base.metadata.tables["tag"]
PARENT = Base.metadata.tables["parent"]
DATA = Base.metadata.tables["data"]
WHY = Base.metadata.tables["why"]
INCIDENT = Base.metadata.tables["incident"]
EVENT = Base.metadata.tables["event"]
JUDGED = Base.metadata.tables["judged"]
MAINTENANCE = Base.metadata.tables["maintenance"]
MAINTENANCE_RANGE = Base.metadata.tables["maintenance_range"]
MEMBER = Base.metadata.tables["incident_server"]
RULE = Base.metadata.tables["rule"]
WITNESS = Base.metadata.tables["witness"]
RECHECK = Base.metadata.tables["recheck"]
LATCH = Base.metadata.tables["latch"]
DAY = Base.metadata.tables["day"]
ROUND = Base.metadata.tables["round"]
STRETCH = Base.metadata.tables["stretch"]
ASIDE = Base.metadata.tables["aside"]
