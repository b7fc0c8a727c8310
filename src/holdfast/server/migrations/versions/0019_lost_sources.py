"""Since when machines whose points are copied have none to copy from any more."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0016"


def upgrade() -> None:
    """Make the change."""
    op.create_table(
        "lost_source",
        sa.Column("job_uid", sa.Uuid(), nullable=False),
        sa.Column("reference", sa.String(), nullable=False),
        sa.Column("since", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["job_uid"], ["job.uid"], name=op.f("fk_lost_source_job_uid")),
        sa.PrimaryKeyConstraint("job_uid", "reference", name=op.f("pk_lost_source")),
    )
