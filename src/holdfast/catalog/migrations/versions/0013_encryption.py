"""Which password a restore point of a machine needs."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    for column in ("encryption", "encryption_key"):
        op.add_column("vm_restore_point", sa.Column(column, sa.Text(), nullable=True))
