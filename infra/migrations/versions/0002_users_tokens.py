"""Users, their tokens, password attempts, and the latch that ends open access."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
phase = "pre"

BIG_ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")
TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Create the four tables."""
    op.create_table(
        "user",
        sa.Column("id", BIG_ID, primary_key=True),
        sa.Column("name", sa.String(64), nullable=False, unique=True),
        sa.Column("password_hash", sa.String(255), nullable=False),
        sa.Column("role", sa.String(6), nullable=False),
        sa.Column("enabled", sa.Boolean, nullable=False),
        sa.Column("generation", sa.Integer, nullable=False),
        sa.Column("created", TIME, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "token",
        sa.Column("id", BIG_ID, primary_key=True),
        sa.Column("user_id", BIG_ID, sa.ForeignKey("user.id", ondelete="CASCADE"), nullable=False),
        sa.Column("kind", sa.String(7), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False, unique=True),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("scope", sa.String(5), nullable=False),
        sa.Column("family", sa.String(32), nullable=False),
        sa.Column("generation", sa.Integer, nullable=False),
        sa.Column("created", TIME, nullable=False),
        sa.Column("expires", TIME, nullable=False),
        sa.Column("last_used", TIME),
        sa.Column("spent", TIME),
    )
    for column in ("user_id", "family", "expires"):
        op.create_index(f"ix_token_{column}", "token", [column])
    op.create_table(
        "attempt",
        sa.Column("subject", sa.String(64), primary_key=True),
        sa.Column("since", TIME, nullable=False),
        sa.Column("tries", sa.Integer, nullable=False),
    )
    op.create_index("ix_attempt_since", "attempt", ["since"])
    op.create_table(
        "latch",
        sa.Column("name", sa.String(32), primary_key=True),
        sa.Column("since", TIME, nullable=False),
    )
