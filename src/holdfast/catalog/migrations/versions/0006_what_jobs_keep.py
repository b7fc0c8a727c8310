"""Where a job keeps its restore points, and how many."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.add_column("job", sa.Column("repository_uid", sa.LargeBinary(length=16), nullable=True))
    op.add_column("job", sa.Column("retained_points", sa.BigInteger(), nullable=True))
