"""Copy jobs: what they copy from, and which point a point is a copy of."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Make the change."""
    op.create_table(
        "job_link",
        sa.Column("uid", sa.Uuid(), nullable=False),
        sa.Column("job_uid", sa.Uuid(), nullable=False),
        sa.Column("linked_job_uid", sa.Uuid(), nullable=True),
        sa.Column("linked_repository_uid", sa.Uuid(), nullable=True),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.CheckConstraint(
            "(linked_job_uid IS NULL) <> (linked_repository_uid IS NULL)",
            name=op.f("ck_job_link_one_source"),
        ),
        sa.ForeignKeyConstraint(["job_uid"], ["job.uid"], name=op.f("fk_job_link_job_uid")),
        sa.ForeignKeyConstraint(
            ["linked_job_uid"], ["job.uid"], name=op.f("fk_job_link_linked_job_uid")
        ),
        sa.ForeignKeyConstraint(
            ["linked_repository_uid"],
            ["repository.uid"],
            name=op.f("fk_job_link_linked_repository_uid"),
        ),
        sa.PrimaryKeyConstraint("uid", name=op.f("pk_job_link")),
        sa.UniqueConstraint(
            "job_uid", "linked_job_uid", name=op.f("uq_job_link_job_uid_linked_job_uid")
        ),
        sa.UniqueConstraint(
            "job_uid",
            "linked_repository_uid",
            name=op.f("uq_job_link_job_uid_linked_repository_uid"),
        ),
    )
    op.create_index("ix_job_link_linked_job_uid", "job_link", ["linked_job_uid"])
    op.add_column("machine_point", sa.Column("copied_from", sa.Uuid(), nullable=True))
    # One session of a copy job makes several restore points.
    with op.batch_alter_table("restore_point") as restore_point:
        restore_point.drop_constraint("uq_restore_point_job_session_uid", type_="unique")
        restore_point.create_index("ix_restore_point_job_session_uid", ["job_session_uid"])
