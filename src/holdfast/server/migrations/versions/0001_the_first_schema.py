"""The first schema."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make the change."""
    op.create_table(
        "change",
        sa.Column("sequence", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("type", sa.String(), nullable=False),
        sa.Column("uid", sa.Uuid(), nullable=False),
        sa.Column("state", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("sequence", name=op.f("pk_change")),
        sa.UniqueConstraint("type", "uid", name=op.f("uq_change_type_uid")),
    )
    op.create_table(
        "command",
        sa.Column("request_id", sa.Uuid(), nullable=False),
        sa.Column("operation", sa.String(), nullable=False),
        sa.Column("asked_by", sa.String(), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("request_id", name=op.f("pk_command")),
    )
    op.create_table(
        "managed_server",
        sa.Column("uid", sa.Uuid(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("description", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("uid", name=op.f("pk_managed_server")),
    )
    op.create_table(
        "repository",
        sa.Column("uid", sa.Uuid(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("path", sa.String(), nullable=False),
        sa.Column("capacity", sa.BigInteger(), nullable=False),
        sa.Column("free_space", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("uid", name=op.f("pk_repository")),
        sa.UniqueConstraint("name", name=op.f("uq_repository_name")),
        sa.UniqueConstraint("path", name=op.f("uq_repository_path")),
    )
    op.create_table(
        "server",
        sa.Column("uid", sa.Uuid(), nullable=False),
        sa.Column("epoch", sa.Uuid(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("uid", name=op.f("pk_server")),
    )
    op.create_table(
        "job",
        sa.Column("uid", sa.Uuid(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("description", sa.String(), nullable=False),
        sa.Column("repository_uid", sa.Uuid(), nullable=False),
        sa.Column("folder", sa.String(), nullable=False),
        sa.Column("retention", sa.Integer(), nullable=False),
        sa.Column("schedule", sa.Text(), nullable=True),
        sa.Column("schedule_enabled", sa.Boolean(), nullable=False),
        sa.Column("next_run", sa.BigInteger(), nullable=True),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("deleted", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(
            ["repository_uid"], ["repository.uid"], name=op.f("fk_job_repository_uid")
        ),
        sa.PrimaryKeyConstraint("uid", name=op.f("pk_job")),
        sa.UniqueConstraint("folder", name=op.f("uq_job_folder")),
    )
    with op.batch_alter_table("job", schema=None) as batch_op:
        batch_op.create_index(
            "ix_job_name_in_use",
            ["name"],
            unique=True,
            sqlite_where=sa.text("NOT deleted"),
            postgresql_where=sa.text("NOT deleted"),
        )

    op.create_table(
        "backup",
        sa.Column("uid", sa.Uuid(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("job_uid", sa.Uuid(), nullable=False),
        sa.Column("repository_uid", sa.Uuid(), nullable=False),
        sa.Column("folder", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(["job_uid"], ["job.uid"], name=op.f("fk_backup_job_uid")),
        sa.ForeignKeyConstraint(
            ["repository_uid"], ["repository.uid"], name=op.f("fk_backup_repository_uid")
        ),
        sa.PrimaryKeyConstraint("uid", name=op.f("pk_backup")),
        sa.UniqueConstraint(
            "job_uid", "repository_uid", name=op.f("uq_backup_job_uid_repository_uid")
        ),
    )
    op.create_table(
        "job_object",
        sa.Column("uid", sa.Uuid(), nullable=False),
        sa.Column("job_uid", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("path", sa.String(), nullable=False),
        sa.Column("format", sa.String(), nullable=True),
        sa.Column("reference", sa.String(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["job_uid"], ["job.uid"], name=op.f("fk_job_object_job_uid")),
        sa.PrimaryKeyConstraint("uid", name=op.f("pk_job_object")),
        sa.UniqueConstraint("job_uid", "reference", name=op.f("uq_job_object_job_uid_reference")),
    )
    with op.batch_alter_table("job_object", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_job_object_job_uid"), ["job_uid"], unique=False)

    op.create_table(
        "job_session",
        sa.Column("uid", sa.Uuid(), nullable=False),
        sa.Column("job_uid", sa.Uuid(), nullable=False),
        sa.Column("job_name", sa.String(), nullable=False),
        sa.Column("job_kind", sa.String(), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("ended", sa.BigInteger(), nullable=True),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("result", sa.String(), nullable=False),
        sa.Column("progress", sa.Integer(), nullable=False),
        sa.Column("failure_message", sa.Text(), nullable=True),
        sa.Column("is_retry", sa.Boolean(), nullable=False),
        sa.Column("restore_point_uid", sa.Uuid(), nullable=True),
        sa.ForeignKeyConstraint(["job_uid"], ["job.uid"], name=op.f("fk_job_session_job_uid")),
        sa.PrimaryKeyConstraint("uid", name=op.f("pk_job_session")),
    )
    with op.batch_alter_table("job_session", schema=None) as batch_op:
        batch_op.create_index(
            "ix_job_session_job_uid_created", ["job_uid", "created"], unique=False
        )
        batch_op.create_index(
            "ix_job_session_running",
            ["job_uid"],
            unique=True,
            sqlite_where=sa.text("state <> 'Stopped'"),
            postgresql_where=sa.text("state <> 'Stopped'"),
        )

    op.create_table(
        "backup_file",
        sa.Column("uid", sa.Uuid(), nullable=False),
        sa.Column("backup_uid", sa.Uuid(), nullable=False),
        sa.Column("restore_point_uid", sa.Uuid(), nullable=False),
        sa.Column("parent_uid", sa.Uuid(), nullable=True),
        sa.Column("path", sa.String(), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("file_size", sa.BigInteger(), nullable=False),
        sa.Column("data_size", sa.BigInteger(), nullable=False),
        sa.Column("virtual_size", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(
            ["backup_uid"], ["backup.uid"], name=op.f("fk_backup_file_backup_uid")
        ),
        sa.ForeignKeyConstraint(
            ["parent_uid"], ["backup_file.uid"], name=op.f("fk_backup_file_parent_uid")
        ),
        sa.PrimaryKeyConstraint("uid", name=op.f("pk_backup_file")),
        sa.UniqueConstraint("backup_uid", "path", name=op.f("uq_backup_file_backup_uid_path")),
    )
    with op.batch_alter_table("backup_file", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_backup_file_backup_uid"), ["backup_uid"], unique=False)
        batch_op.create_index(batch_op.f("ix_backup_file_parent_uid"), ["parent_uid"], unique=False)

    op.create_table(
        "intent",
        sa.Column("uid", sa.Uuid(), nullable=False),
        sa.Column("backup_uid", sa.Uuid(), nullable=False),
        sa.Column("chain", sa.String(), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("work", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["backup_uid"], ["backup.uid"], name=op.f("fk_intent_backup_uid")),
        sa.PrimaryKeyConstraint("uid", name=op.f("pk_intent")),
    )
    with op.batch_alter_table("intent", schema=None) as batch_op:
        batch_op.create_index("ix_intent_backup_uid_chain", ["backup_uid", "chain"], unique=False)

    op.create_table(
        "restore_point",
        sa.Column("uid", sa.Uuid(), nullable=False),
        sa.Column("backup_uid", sa.Uuid(), nullable=False),
        sa.Column("job_session_uid", sa.Uuid(), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["backup_uid"], ["backup.uid"], name=op.f("fk_restore_point_backup_uid")
        ),
        sa.ForeignKeyConstraint(
            ["job_session_uid"], ["job_session.uid"], name=op.f("fk_restore_point_job_session_uid")
        ),
        sa.PrimaryKeyConstraint("uid", name=op.f("pk_restore_point")),
        sa.UniqueConstraint("job_session_uid", name=op.f("uq_restore_point_job_session_uid")),
    )
    with op.batch_alter_table("restore_point", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_restore_point_backup_uid"), ["backup_uid"], unique=False
        )

    op.create_table(
        "task_session",
        sa.Column("uid", sa.Uuid(), nullable=False),
        sa.Column("job_session_uid", sa.Uuid(), nullable=False),
        sa.Column("job_uid", sa.Uuid(), nullable=False),
        sa.Column("job_object_uid", sa.Uuid(), nullable=False),
        sa.Column("display_name", sa.String(), nullable=False),
        sa.Column("reference", sa.String(), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("ended", sa.BigInteger(), nullable=True),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("result", sa.String(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("total_size", sa.BigInteger(), nullable=False),
        sa.Column("machine_point_uid", sa.Uuid(), nullable=True),
        sa.ForeignKeyConstraint(
            ["job_object_uid"], ["job_object.uid"], name=op.f("fk_task_session_job_object_uid")
        ),
        sa.ForeignKeyConstraint(
            ["job_session_uid"], ["job_session.uid"], name=op.f("fk_task_session_job_session_uid")
        ),
        sa.ForeignKeyConstraint(["job_uid"], ["job.uid"], name=op.f("fk_task_session_job_uid")),
        sa.PrimaryKeyConstraint("uid", name=op.f("pk_task_session")),
    )
    with op.batch_alter_table("task_session", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_task_session_job_session_uid"), ["job_session_uid"], unique=False
        )

    op.create_table(
        "machine_point",
        sa.Column("uid", sa.Uuid(), nullable=False),
        sa.Column("backup_uid", sa.Uuid(), nullable=False),
        sa.Column("restore_point_uid", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("reference", sa.String(), nullable=False),
        sa.Column("display_name", sa.String(), nullable=False),
        sa.Column("source_path", sa.String(), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("total_size", sa.BigInteger(), nullable=False),
        sa.Column("backup_file_uid", sa.Uuid(), nullable=True),
        sa.Column("snapshot_id", sa.String(), nullable=True),
        sa.CheckConstraint(
            "(backup_file_uid IS NULL) <> (snapshot_id IS NULL)",
            name=op.f("ck_machine_point_one_place"),
        ),
        sa.ForeignKeyConstraint(
            ["backup_file_uid"], ["backup_file.uid"], name=op.f("fk_machine_point_backup_file_uid")
        ),
        sa.ForeignKeyConstraint(
            ["backup_uid"], ["backup.uid"], name=op.f("fk_machine_point_backup_uid")
        ),
        sa.ForeignKeyConstraint(
            ["restore_point_uid"],
            ["restore_point.uid"],
            name=op.f("fk_machine_point_restore_point_uid"),
        ),
        sa.PrimaryKeyConstraint("uid", name=op.f("pk_machine_point")),
        sa.UniqueConstraint("backup_file_uid", name=op.f("uq_machine_point_backup_file_uid")),
    )
    with op.batch_alter_table("machine_point", schema=None) as batch_op:
        batch_op.create_index(
            "ix_machine_point_chain", ["backup_uid", "reference", "created"], unique=False
        )
        batch_op.create_index(
            batch_op.f("ix_machine_point_restore_point_uid"), ["restore_point_uid"], unique=False
        )
