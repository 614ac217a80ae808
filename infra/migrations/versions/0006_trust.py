"""How far the clock is to be trusted, and room for what was recorded by one that was wrong."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
phase = "pre"

MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Create the tables; until the first round both are empty."""
    op.create_table(
        "stretch",
        sa.Column("began", MOMENT, primary_key=True),
        sa.Column("ended", MOMENT, nullable=False),
        sa.Column("boot_id", sa.String(36), nullable=False),
        sa.Column("uptime_s", sa.Double, nullable=False),
        sa.Column("agreed_s", sa.Double, nullable=False),
        sa.Column("synchronised_s", sa.Double, nullable=False),
        sa.Column("doubted_s", sa.Double, nullable=False),
        sa.Column("contradicted", sa.Boolean, nullable=False),
        sa.Column("gap_s", sa.Double, nullable=False),
    )
    op.create_table(
        "aside",
        sa.Column("server_id", sa.BigInteger().with_variant(sa.Integer, "sqlite")),
        sa.Column("datetime", MOMENT, nullable=False),
        sa.Column("since", MOMENT, nullable=False),
        sa.Column("response_time", sa.Double),
        sa.Column("sent", sa.SmallInteger, nullable=False),
        sa.Column("received", sa.SmallInteger, nullable=False),
        sa.Column("best_ms", sa.Double),
        sa.Column("worst_ms", sa.Double),
        sa.PrimaryKeyConstraint("server_id", "datetime", "since"),
        sa.ForeignKeyConstraint(["server_id"], ["server.id"], ondelete="CASCADE"),
    )
