"""Restores of machines of hosts, and machines that run from their backup."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Make the change."""
    op.add_column("restore_session", sa.Column("ledger", sa.Text(), nullable=True))
    op.create_table(
        "instant_recovery",
        sa.Column("uid", sa.Uuid(), nullable=False),
        sa.Column("machine_point_uid", sa.Uuid(), nullable=False),
        sa.Column("backup_uid", sa.Uuid(), nullable=False),
        sa.Column("chain", sa.String(), nullable=False),
        sa.Column("host_uid", sa.Uuid(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("uuid", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("files", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["backup_uid"], ["backup.uid"], name=op.f("fk_instant_recovery_backup_uid")
        ),
        sa.ForeignKeyConstraint(
            ["host_uid"], ["host.uid"], name=op.f("fk_instant_recovery_host_uid")
        ),
        sa.PrimaryKeyConstraint("uid", name=op.f("pk_instant_recovery")),
    )
    op.create_index(
        "ix_instant_recovery_backup_uid_chain", "instant_recovery", ["backup_uid", "chain"]
    )
