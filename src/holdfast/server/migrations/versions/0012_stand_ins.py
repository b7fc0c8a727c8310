"""Machines that have taken the place of others."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    """Make the change."""
    op.create_table(
        "stand_in",
        sa.Column("reference", sa.String(), nullable=False),
        sa.Column("stand_in", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("reference"),
    )
    op.create_index("ix_stand_in_stand_in", "stand_in", ["stand_in"])
