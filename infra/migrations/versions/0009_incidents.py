"""Incidents, what happened to them, rules, and what the judge remembers."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
phase = "pre"

ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")
TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Add the tables. The judge begins with the next round: the past is no incident."""
    op.create_table(
        "incident",
        sa.Column("id", ID),
        sa.Column("rule", sa.String(255), nullable=False),
        sa.Column("severity", sa.String(8), nullable=False),
        sa.Column("kind", sa.String(12), nullable=False),
        sa.Column("extent", sa.String(8), nullable=False),
        sa.Column("server_id", ID),
        sa.Column("parent_id", ID),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("opened", TIME, nullable=False),
        sa.Column("confirmed", TIME, nullable=False),
        sa.Column("resolved", TIME),
        sa.Column("how", sa.String(8)),
        sa.Column("held", sa.String(12)),
        sa.Column("flaps", sa.SmallInteger, nullable=False),
        sa.Column("is_flapping", sa.Boolean, nullable=False),
        sa.Column("reason", sa.String(16)),
        sa.Column("detail", sa.String(300)),
        sa.Column("acked_by", sa.String(64)),
        sa.Column("acked_until", TIME),
        sa.Column("rule_id", ID),
        sa.PrimaryKeyConstraint("id"),
        sa.ForeignKeyConstraint(["server_id"], ["server.id"], ondelete="SET NULL"),
        sa.ForeignKeyConstraint(["parent_id"], ["server.id"], ondelete="SET NULL"),
        sqlite_autoincrement=True,
    )
    for column in ("server_id", "parent_id", "opened", "resolved"):
        op.create_index(f"ix_incident_{column}", "incident", [column])
    op.create_table(
        "event",
        sa.Column("id", ID),
        sa.Column("incident_id", ID),
        sa.Column("at", TIME, nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("who", sa.String(64)),
        sa.Column("note", sa.String),
        sa.PrimaryKeyConstraint("id"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_event_incident_id", "event", ["incident_id"])
    op.create_table(
        "judged",
        sa.Column("server_id", ID, autoincrement=False),
        sa.Column("rule_id", ID, autoincrement=False),
        sa.Column("revision", sa.Integer, nullable=False),
        sa.Column("terms", sa.String, nullable=False),
        sa.Column("memory", sa.String, nullable=False),
        sa.PrimaryKeyConstraint("server_id", "rule_id"),
        sa.ForeignKeyConstraint(["server_id"], ["server.id"], ondelete="CASCADE"),
    )
    op.create_table(
        "maintenance",
        sa.Column("id", ID),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("criteria", sa.String, nullable=False),
        sa.Column("plan", sa.String, nullable=False),
        sa.Column("counts", sa.Boolean, nullable=False),
        sa.Column("made", TIME, nullable=False),
        sa.Column("made_by", sa.String(64)),
        sa.Column("ends", TIME),
        sa.Column("planned", TIME, nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_maintenance_ends", "maintenance", ["ends"])
    op.create_table(
        "maintenance_range",
        sa.Column("id", ID),
        sa.Column("maintenance_id", ID),
        sa.Column("since", TIME, nullable=False),
        sa.Column("until", TIME, nullable=False),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("criteria", sa.String, nullable=False),
        sa.Column("counts", sa.Boolean, nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.ForeignKeyConstraint(["maintenance_id"], ["maintenance.id"], ondelete="SET NULL"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_maintenance_range_until", "maintenance_range", ["until"])
    op.create_index("maintenance_range_of", "maintenance_range", ["maintenance_id", "until"])
    op.create_table(
        "incident_server",
        sa.Column("incident_id", ID, autoincrement=False),
        sa.Column("server_id", ID, autoincrement=False),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("confirmed", TIME, nullable=False),
        sa.Column("since", TIME, nullable=False),
        sa.Column("until", TIME),
        sa.PrimaryKeyConstraint("incident_id", "server_id"),
    )
    op.create_index("ix_incident_server_server_id", "incident_server", ["server_id"])
    op.create_table(
        "witness",
        sa.Column("ip", sa.String(39)),
        sa.Column("asked", TIME, nullable=False),
        sa.Column("answered", TIME),
        sa.PrimaryKeyConstraint("ip"),
    )
    op.create_table(
        "rule",
        sa.Column("id", ID),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("made", TIME, nullable=False),
        sa.Column("changed", TIME, nullable=False),
        sa.Column("wanted", sa.String, nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("name"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "recheck",
        sa.Column("server_id", ID, autoincrement=False),
        sa.Column("since", TIME, nullable=False),
        sa.PrimaryKeyConstraint("server_id"),
        sa.ForeignKeyConstraint(["server_id"], ["server.id"], ondelete="CASCADE"),
    )
