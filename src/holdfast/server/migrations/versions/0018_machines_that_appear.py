"""At which machines backups may have left something."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0016"


def upgrade() -> None:
    """Make the change."""
    op.create_table(
        "left_backup",
        sa.Column("host_uid", sa.Uuid(), nullable=False),
        sa.Column("uuid", sa.String(), nullable=False),
        sa.Column("backup_uid", sa.Uuid(), nullable=False),
        sa.Column("folders", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["host_uid"], ["host.uid"], name=op.f("fk_left_backup_host_uid")),
        sa.PrimaryKeyConstraint("host_uid", "uuid", "backup_uid", name=op.f("pk_left_backup")),
    )
