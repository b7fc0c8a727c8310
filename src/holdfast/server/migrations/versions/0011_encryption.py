"""The data keys that machine backups are encrypted with."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    """Make the change."""
    op.create_table(
        "data_key",
        sa.Column("uid", sa.Uuid(), nullable=False),
        sa.Column("backup_uid", sa.Uuid(), nullable=False),
        sa.Column("password_uid", sa.Uuid(), nullable=False),
        sa.Column("secret", sa.LargeBinary(), nullable=False),
        sa.Column("wrapped", sa.Text(), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["password_uid"], ["password_key.uid"], name=op.f("fk_data_key_password_uid")
        ),
        sa.PrimaryKeyConstraint("uid", name=op.f("pk_data_key")),
    )
    op.create_index("ix_data_key_backup_uid", "data_key", ["backup_uid"])
    op.create_index("ix_data_key_password_uid", "data_key", ["password_uid"])
    with op.batch_alter_table("backup_file") as backup_file:
        backup_file.add_column(sa.Column("key_uid", sa.Uuid(), nullable=True))
        backup_file.create_foreign_key(
            op.f("fk_backup_file_key_uid"), "data_key", ["key_uid"], ["uid"]
        )
        backup_file.create_index("ix_backup_file_key_uid", ["key_uid"])
