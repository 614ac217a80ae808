"""Why a ping isn't up, and which wish of a server it belongs to."""

import logging

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
phase = "pre"

log = logging.getLogger("pinglet.database")


def upgrade() -> None:
    """Add the table and the column; the release before this one needs neither.

    Who was up because its host refuses is down from now on: those that may be are named.
    """
    server = sa.table("server", *map(sa.column, ("name", "probe", "port")))
    services = sa.select(server.c.name).where(server.c.probe == "tcp", server.c.port.is_not(None))
    names = op.get_bind().execute(services.order_by(server.c.name)).scalars().all()
    if names:
        told = "%d servers are down while their port refuses: until now they were up then: %s"
        log.warning(told, len(names), ", ".join(names))
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
