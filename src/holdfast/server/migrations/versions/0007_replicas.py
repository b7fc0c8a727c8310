"""Replicas of machines on other hosts."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Make the change."""
    op.create_table(
        "replica_target",
        sa.Column("job_uid", sa.Uuid(), nullable=False),
        sa.Column("host_uid", sa.Uuid(), nullable=False),
        sa.Column("suffix", sa.String(), nullable=False),
        sa.Column("networks", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["job_uid"], ["job.uid"], name=op.f("fk_replica_target_job_uid")),
        sa.ForeignKeyConstraint(
            ["host_uid"], ["host.uid"], name=op.f("fk_replica_target_host_uid")
        ),
        sa.PrimaryKeyConstraint("job_uid", name=op.f("pk_replica_target")),
    )
    op.create_index("ix_replica_target_host_uid", "replica_target", ["host_uid"])
    op.create_table(
        "replica",
        sa.Column("uid", sa.Uuid(), nullable=False),
        sa.Column("backup_uid", sa.Uuid(), nullable=False),
        sa.Column("reference", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("source_host_uid", sa.Uuid(), nullable=False),
        sa.Column("source_uuid", sa.String(), nullable=False),
        sa.Column("host_uid", sa.Uuid(), nullable=False),
        sa.Column("machine_uuid", sa.String(), nullable=False),
        sa.Column("machine_name", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("failover", sa.Text(), nullable=True),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["backup_uid"], ["backup.uid"], name=op.f("fk_replica_backup_uid")),
        sa.ForeignKeyConstraint(["host_uid"], ["host.uid"], name=op.f("fk_replica_host_uid")),
        sa.PrimaryKeyConstraint("uid", name=op.f("pk_replica")),
        sa.UniqueConstraint(
            "backup_uid", "reference", name=op.f("uq_replica_backup_uid_reference")
        ),
        sa.UniqueConstraint(
            "host_uid", "machine_uuid", name=op.f("uq_replica_host_uid_machine_uuid")
        ),
    )
