"""At which machines backups may have left something, and which are on two hosts as they migrate."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"


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
    with op.batch_alter_table("host_machine") as machine:
        machine.add_column(
            sa.Column("defined", sa.Boolean(), nullable=False, server_default=sa.false())
        )
        machine.add_column(
            sa.Column("active", sa.Boolean(), nullable=False, server_default=sa.false())
        )
        machine.add_column(
            sa.Column("ran", sa.BigInteger(), nullable=False, server_default=sa.text("0"))
        )
        machine.add_column(sa.Column("disks", sa.Text(), nullable=False, server_default="[]"))
    with op.batch_alter_table("machine_point") as point:
        point.add_column(sa.Column("made", sa.BigInteger()))
    op.execute(sa.text("UPDATE host_machine SET defined = present, active = present"))
