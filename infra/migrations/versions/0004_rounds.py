"""A row for each round: what was due, what came of it, and when."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
phase = "pre"


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "round",
        sa.Column("slot", sa.DateTime(timezone=True)),
        sa.Column("due", sa.Integer, nullable=False),
        sa.Column("observed", sa.Integer, nullable=False),
        sa.Column("began", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended", sa.DateTime(timezone=True)),
        sa.PrimaryKeyConstraint("slot"),
    )
