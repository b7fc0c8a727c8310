"""Restore sessions, and which points have an index of their files."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Make the change."""
    op.create_table(
        "guest_index",
        sa.Column("point_uid", sa.Uuid(), nullable=False),
        sa.Column("display_name", sa.String(), nullable=False),
        sa.Column("entries", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("point_uid", name=op.f("pk_guest_index")),
    )
    op.create_table(
        "restore_session",
        sa.Column("uid", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("machine_point_uid", sa.Uuid(), nullable=False),
        sa.Column("job_uid", sa.Uuid(), nullable=False),
        sa.Column("job_name", sa.String(), nullable=False),
        sa.Column("display_name", sa.String(), nullable=False),
        sa.Column("reference", sa.String(), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("ended", sa.BigInteger(), nullable=True),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("result", sa.String(), nullable=False),
        sa.Column("progress", sa.Integer(), nullable=False),
        sa.Column("failure_message", sa.Text(), nullable=False),
        sa.Column("plan", sa.Text(), nullable=False),
        sa.Column("target", sa.Text(), nullable=False),
        sa.Column("temporary", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["job_uid"], ["job.uid"], name=op.f("fk_restore_session_job_uid")),
        sa.PrimaryKeyConstraint("uid", name=op.f("pk_restore_session")),
    )
    op.create_index(
        "ix_restore_session_running",
        "restore_session",
        ["target"],
        unique=True,
        sqlite_where=sa.text("state <> 'Stopped'"),
        postgresql_where=sa.text("state <> 'Stopped'"),
    )
