"""Servers, their schedules, and a row for each server and round."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
phase = "pre"

BIG_ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")
TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Create the three tables."""
    op.create_table(
        "server",
        sa.Column("id", BIG_ID, primary_key=True),
        sa.Column("name", sa.String(255), nullable=False, unique=True),
        sa.Column("ip", sa.String(39), nullable=False),
        sa.Column("datetime", TIME, nullable=False),
        sa.Column("probe", sa.String(4), nullable=False),
        sa.Column("port", sa.Integer),
        sa.Column("last_slot", TIME),
        sa.Column("last_ms", sa.Double),
        sa.Column("last_sent", sa.SmallInteger),
        sa.Column("last_received", sa.SmallInteger),
        sa.Column("last_port", sa.Integer),
        sqlite_autoincrement=True,
        postgresql_with={"fillfactor": 50},
    )
    op.create_table(
        "schedule",
        sa.Column("server_id", BIG_ID, sa.ForeignKey("server.id", ondelete="CASCADE")),
        sa.Column("since", TIME),
        sa.Column("interval_s", sa.Integer, nullable=False),
        sa.Column("enabled", sa.Boolean, nullable=False),
        sa.PrimaryKeyConstraint("server_id", "since"),
    )
    op.create_table(
        "data",
        sa.Column("id", BIG_ID, primary_key=True),
        sa.Column(
            "server_id", BIG_ID, sa.ForeignKey("server.id", ondelete="CASCADE"), nullable=False
        ),
        sa.Column("response_time", sa.Double),
        sa.Column("datetime", TIME, nullable=False),
        sa.Column("sent", sa.SmallInteger, nullable=False),
        sa.Column("received", sa.SmallInteger, nullable=False),
        sa.Column("best_ms", sa.Double),
        sa.Column("worst_ms", sa.Double),
        sa.Column("probe", sa.String(4), nullable=False),
    )
    op.create_index(
        "data_server_slot",
        "data",
        ["server_id", "datetime"],
        unique=True,
        postgresql_include=["response_time", "sent", "received", "best_ms", "worst_ms"],
    )
