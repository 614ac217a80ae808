"""Holds the place of the migration that is written at the same time elsewhere."""

revision = "0002"
down_revision = "0001"
phase = "pre"


def upgrade() -> None:
    """Nothing."""
