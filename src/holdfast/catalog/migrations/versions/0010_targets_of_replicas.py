"""Where jobs make their replicas."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    for column in ("target", "target_key"):
        op.add_column("job", sa.Column(column, sa.Text(), nullable=True))
