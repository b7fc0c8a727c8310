"""Hosts of virtual machines; jobs that exclude, and that find machines by host or tag."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Make the change."""
    op.create_table(
        "host",
        sa.Column("uid", sa.Uuid(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("uri", sa.String(), nullable=False),
        sa.Column("description", sa.String(), nullable=False),
        sa.Column("credentials_uid", sa.Uuid(), nullable=True),
        sa.Column("staging", sa.String(), nullable=True),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("facts", sa.Text(), nullable=True),
        sa.Column("scanned", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(
            ["credentials_uid"], ["credentials.uid"], name=op.f("fk_host_credentials_uid")
        ),
        sa.PrimaryKeyConstraint("uid", name=op.f("pk_host")),
        sa.UniqueConstraint("name", name=op.f("uq_host_name")),
        sa.UniqueConstraint("uri", name=op.f("uq_host_uri")),
    )
    op.create_table(
        "host_machine",
        sa.Column("host_uid", sa.Uuid(), nullable=False),
        sa.Column("uuid", sa.String(), nullable=False),
        sa.Column("reference", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("tags", sa.Text(), nullable=False),
        sa.Column("present", sa.Boolean(), nullable=False),
        sa.Column("seen", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["host_uid"], ["host.uid"], name=op.f("fk_host_machine_host_uid")),
        sa.PrimaryKeyConstraint("host_uid", "uuid", name=op.f("pk_host_machine")),
        sa.UniqueConstraint("reference", name=op.f("uq_host_machine_reference")),
    )
    op.create_index("ix_host_machine_uuid", "host_machine", ["uuid"])
    op.add_column(
        "job_object",
        sa.Column("role", sa.String(), server_default="Included", nullable=False),
    )
    op.add_column("machine_point", sa.Column("detail", sa.Text(), nullable=True))
    op.create_table(
        "machine_disk",
        sa.Column("backup_file_uid", sa.Uuid(), nullable=False),
        sa.Column("point_uid", sa.Uuid(), nullable=False),
        sa.Column("target", sa.String(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["backup_file_uid"], ["backup_file.uid"], name=op.f("fk_machine_disk_backup_file_uid")
        ),
        sa.ForeignKeyConstraint(
            ["point_uid"], ["machine_point.uid"], name=op.f("fk_machine_disk_point_uid")
        ),
        sa.PrimaryKeyConstraint("backup_file_uid", name=op.f("pk_machine_disk")),
    )
    op.create_index("ix_machine_disk_point_uid", "machine_disk", ["point_uid"])
