"""Retries, backup windows, objects taken out of jobs, backups that are kept for a time."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Make the change."""
    number, no = sa.text("0"), sa.false()
    op.add_column(
        "job", sa.Column("retry_times", sa.Integer(), nullable=False, server_default=number)
    )
    op.add_column(
        "job", sa.Column("retry_minutes", sa.Integer(), nullable=False, server_default=number)
    )
    op.add_column("job", sa.Column("retry_at", sa.BigInteger(), nullable=True))
    op.add_column("job", sa.Column("backup_window", sa.Text(), nullable=True))
    op.add_column(
        "job_object", sa.Column("removed", sa.Boolean(), nullable=False, server_default=no)
    )
    op.add_column(
        "job_session", sa.Column("cause", sa.String(), nullable=False, server_default="Person")
    )
    op.add_column(
        "job_session", sa.Column("attempt", sa.Integer(), nullable=False, server_default=number)
    )
    op.add_column("backup", sa.Column("expires", sa.BigInteger(), nullable=True))
