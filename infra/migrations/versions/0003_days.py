"""A packed row for each server and day, and the raw rows in order of time."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
phase = "pre"

BIG_ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Create the table and the index."""
    op.create_table(
        "day",
        sa.Column("server_id", BIG_ID, sa.ForeignKey("server.id", ondelete="CASCADE")),
        sa.Column("date", sa.Date),
        sa.Column("held", sa.String(360), nullable=False),
        sa.Column("up", sa.SmallInteger, nullable=False),
        sa.Column("degraded", sa.SmallInteger, nullable=False),
        sa.Column("down", sa.SmallInteger, nullable=False),
        sa.Column("unobserved", sa.SmallInteger, nullable=False),
        sa.Column("sent", sa.Integer, nullable=False),
        sa.Column("received", sa.Integer, nullable=False),
        sa.Column("timed", sa.SmallInteger, nullable=False),
        sa.Column("hundredths", sa.BigInteger, nullable=False),
        sa.Column("best_ms", sa.Double),
        sa.Column("worst_ms", sa.Double),
        sa.Column("packed", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("server_id", "date"),
        postgresql_with={"toast_tuple_target": 256},
    )
    op.create_index("data_slot", "data", ["datetime"])
