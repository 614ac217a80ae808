"""${message}"""

import sqlalchemy as sa
from alembic import op

revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}
phase = "pre"  # or "post": see infra/migrations/__init__.py


def upgrade() -> None:
    ${upgrades if upgrades else "pass"}
