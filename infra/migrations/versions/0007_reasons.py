"""Why a ping isn't up, and which wish of a server it belongs to."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
phase = "pre"


def upgrade() -> None:
    """Add the table and the column; the release before this one needs neither."""
    op.add_column("server", sa.Column("revision", sa.Integer, nullable=False, server_default="0"))
    op.create_table(
        "why",
        sa.Column("server_id", sa.BigInteger().with_variant(sa.Integer, "sqlite")),
        sa.Column("observed", sa.Boolean, nullable=False),
        sa.Column("datetime", sa.DateTime(timezone=True), nullable=False),
        sa.Column("reason", sa.String(16), nullable=False),
        sa.Column("detail", sa.String(300), nullable=False),
        sa.PrimaryKeyConstraint("server_id", "observed", "datetime"),
        sa.ForeignKeyConstraint(["server_id"], ["server.id"], ondelete="CASCADE"),
        sqlite_with_rowid=False,
    )
    op.create_index("why_datetime", "why", ["datetime"])
