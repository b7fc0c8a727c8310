"""Where a finished task leads that is no row of the catalog."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Make the change."""
    op.add_column("task", sa.Column("link", sa.Text(), nullable=True))
