"""Where the source of a replica runs that has taken over."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    for column in ("source_runs_on", "source_runs_on_key"):
        op.add_column("replica", sa.Column(column, sa.Text(), nullable=True))
