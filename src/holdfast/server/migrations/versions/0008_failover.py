"""Failovers of replicas, and plans for them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Make the change."""
    op.create_table(
        "failover_session",
        sa.Column("uid", sa.Uuid(), nullable=False),
        sa.Column("replica_uid", sa.Uuid(), nullable=False),
        sa.Column("operation", sa.String(), nullable=False),
        sa.Column("options", sa.Text(), nullable=False),
        sa.Column("point_uid", sa.Uuid(), nullable=True),
        sa.Column("job_uid", sa.Uuid(), nullable=False),
        sa.Column("job_name", sa.String(), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("ended", sa.BigInteger(), nullable=True),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("result", sa.String(), nullable=False),
        sa.Column("progress", sa.Integer(), nullable=False),
        sa.Column("failure_message", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["replica_uid"], ["replica.uid"], name=op.f("fk_failover_session_replica_uid")
        ),
        sa.ForeignKeyConstraint(["job_uid"], ["job.uid"], name=op.f("fk_failover_session_job_uid")),
        sa.PrimaryKeyConstraint("uid", name=op.f("pk_failover_session")),
    )
    op.create_index(
        "ix_failover_session_running",
        "failover_session",
        ["replica_uid"],
        unique=True,
        sqlite_where=sa.text("state <> 'Stopped'"),
        postgresql_where=sa.text("state <> 'Stopped'"),
    )
    op.create_table(
        "failover_plan",
        sa.Column("uid", sa.Uuid(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("description", sa.String(), nullable=False),
        sa.Column("doing", sa.String(), nullable=True),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("uid", name=op.f("pk_failover_plan")),
        sa.UniqueConstraint("name", name=op.f("uq_failover_plan_name")),
    )
    op.create_table(
        "failover_plan_machine",
        sa.Column("uid", sa.Uuid(), nullable=False),
        sa.Column("plan_uid", sa.Uuid(), nullable=False),
        sa.Column("replica_uid", sa.Uuid(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("delay", sa.Integer(), nullable=False),
        sa.Column("started", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(
            ["plan_uid"], ["failover_plan.uid"], name=op.f("fk_failover_plan_machine_plan_uid")
        ),
        sa.ForeignKeyConstraint(
            ["replica_uid"], ["replica.uid"], name=op.f("fk_failover_plan_machine_replica_uid")
        ),
        sa.PrimaryKeyConstraint("uid", name=op.f("pk_failover_plan_machine")),
        sa.UniqueConstraint(
            "plan_uid", "replica_uid", name=op.f("uq_failover_plan_machine_plan_uid_replica_uid")
        ),
    )
    op.create_index(
        "ix_failover_plan_machine_replica_uid", "failover_plan_machine", ["replica_uid"]
    )
