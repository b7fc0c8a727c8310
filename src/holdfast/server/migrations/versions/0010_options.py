"""Options of jobs; points that are damaged, and points that are kept for longer."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    """Make the change."""
    op.add_column("job", sa.Column("retention_days", sa.Integer(), nullable=True))
    op.add_column("job", sa.Column("options", sa.Text(), nullable=True))
    op.add_column("job", sa.Column("checked", sa.BigInteger(), nullable=True))
    op.add_column("machine_point", sa.Column("damaged", sa.Text(), nullable=True))
    op.add_column("machine_point", sa.Column("kept_for", sa.String(), nullable=True))
