"""How jobs do their work; which points are damaged, and which are kept for long."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    op.add_column("job", sa.Column("retained_days", sa.BigInteger(), nullable=True))
    for table, names in (("job", ("options",)), ("vm_restore_point", ("damaged", "kept_for"))):
        for name in names:
            for column in (name, f"{name}_key"):
                op.add_column(table, sa.Column(column, sa.Text(), nullable=True))
