"""Tags of servers, and which server stands behind which."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
phase = "pre"

ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Add the tables; the release before this one needs neither, and what it deletes goes."""
    op.create_table(
        "tag",
        sa.Column("server_id", ID),
        sa.Column("tag", sa.String(40), nullable=False),
        sa.PrimaryKeyConstraint("server_id", "tag"),
        sa.ForeignKeyConstraint(["server_id"], ["server.id"], ondelete="CASCADE"),
        sqlite_with_rowid=False,
    )
    op.create_index("tag_tag", "tag", ["tag"])
    op.create_table(
        "parent",
        sa.Column("server_id", ID, autoincrement=False),
        sa.Column("parent_id", ID, nullable=False),
        sa.PrimaryKeyConstraint("server_id"),
        sa.ForeignKeyConstraint(["server_id"], ["server.id"], ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["parent_id"], ["server.id"], ondelete="CASCADE"),
    )
    op.create_index("ix_parent_parent_id", "parent", ["parent_id"])
