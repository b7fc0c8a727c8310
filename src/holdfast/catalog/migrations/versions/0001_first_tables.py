"""The first tables: accounts, logon sessions, tasks and everything that backup servers have."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make every table."""
    op.create_table(
        "account",
        sa.Column("uid", sa.LargeBinary(length=16), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("name_key", sa.Text(), nullable=False),
        sa.Column("password_hash", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=True),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("uid"),
        sa.UniqueConstraint("name_key"),
    )
    op.create_table(
        "backup",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("uid", sa.LargeBinary(length=16), nullable=False),
        sa.Column("server_uid", sa.LargeBinary(length=16), nullable=True),
        sa.Column("repository_uid", sa.LargeBinary(length=16), nullable=True),
        sa.Column("job_uid", sa.LargeBinary(length=16), nullable=True),
        sa.Column("name", sa.Text(), nullable=True),
        sa.Column("name_key", sa.Text(), nullable=True),
        sa.Column("platform", sa.SmallInteger(), nullable=True),
        sa.Column("backup_type", sa.SmallInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("uid", name="backup_uid_is_unique"),
    )
    op.create_index("backup_by_name_key", "backup", ["name_key", "uid"], unique=False)
    op.create_index("backup_by_repository_uid", "backup", ["repository_uid", "uid"], unique=False)
    op.create_table(
        "backup_file",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("uid", sa.LargeBinary(length=16), nullable=False),
        sa.Column("server_uid", sa.LargeBinary(length=16), nullable=True),
        sa.Column("backup_uid", sa.LargeBinary(length=16), nullable=True),
        sa.Column("restore_point_uid", sa.LargeBinary(length=16), nullable=True),
        sa.Column("name", sa.Text(), nullable=True),
        sa.Column("name_key", sa.Text(), nullable=True),
        sa.Column("file_path", sa.Text(), nullable=True),
        sa.Column("file_path_key", sa.Text(), nullable=True),
        sa.Column("backup_size", sa.BigInteger(), nullable=True),
        sa.Column("data_size", sa.BigInteger(), nullable=True),
        sa.Column("deduplication_ratio", sa.Float(precision=53), nullable=True),
        sa.Column("compress_ratio", sa.Float(precision=53), nullable=True),
        sa.Column("creation_time_utc", sa.BigInteger(), nullable=True),
        sa.Column("file_type", sa.SmallInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("uid", name="backup_file_uid_is_unique"),
    )
    op.create_index("backup_file_by_backup_uid", "backup_file", ["backup_uid", "uid"], unique=False)
    op.create_index("backup_file_by_name_key", "backup_file", ["name_key", "uid"], unique=False)
    op.create_index(
        "backup_file_by_restore_point_uid",
        "backup_file",
        ["restore_point_uid", "uid"],
        unique=False,
    )
    op.create_table(
        "backup_job_session",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("uid", sa.LargeBinary(length=16), nullable=False),
        sa.Column("server_uid", sa.LargeBinary(length=16), nullable=True),
        sa.Column("job_uid", sa.LargeBinary(length=16), nullable=True),
        sa.Column("restore_point_uid", sa.LargeBinary(length=16), nullable=True),
        sa.Column("name", sa.Text(), nullable=True),
        sa.Column("name_key", sa.Text(), nullable=True),
        sa.Column("job_name", sa.Text(), nullable=True),
        sa.Column("job_name_key", sa.Text(), nullable=True),
        sa.Column("job_type", sa.SmallInteger(), nullable=True),
        sa.Column("creation_time_utc", sa.BigInteger(), nullable=True),
        sa.Column("end_time_utc", sa.BigInteger(), nullable=True),
        sa.Column("state", sa.SmallInteger(), nullable=True),
        sa.Column("result", sa.SmallInteger(), nullable=True),
        sa.Column("progress", sa.BigInteger(), nullable=True),
        sa.Column("failure_message", sa.Text(), nullable=True),
        sa.Column("failure_message_key", sa.Text(), nullable=True),
        sa.Column("is_retry", sa.SmallInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("uid", name="backup_job_session_uid_is_unique"),
    )
    op.create_index(
        "backup_job_session_by_creation_time_utc",
        "backup_job_session",
        ["creation_time_utc", "uid"],
        unique=False,
    )
    op.create_index(
        "backup_job_session_by_job_uid_creation_time_utc_result",
        "backup_job_session",
        ["job_uid", "creation_time_utc", "result", "uid"],
        unique=False,
    )
    op.create_index(
        "backup_job_session_by_name_key", "backup_job_session", ["name_key", "uid"], unique=False
    )
    op.create_index(
        "backup_job_session_by_result_creation_time_utc",
        "backup_job_session",
        ["result", "creation_time_utc", "uid"],
        unique=False,
    )
    op.create_table(
        "backup_server",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("uid", sa.LargeBinary(length=16), nullable=False),
        sa.Column("name", sa.Text(), nullable=True),
        sa.Column("name_key", sa.Text(), nullable=True),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("description_key", sa.Text(), nullable=True),
        sa.Column("port", sa.BigInteger(), nullable=True),
        sa.Column("version", sa.Text(), nullable=True),
        sa.Column("version_key", sa.Text(), nullable=True),
        sa.Column("ip_or_dns_name", sa.Text(), nullable=True),
        sa.Column("ip_or_dns_name_key", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("uid", name="backup_server_uid_is_unique"),
    )
    op.create_index("backup_server_by_name_key", "backup_server", ["name_key", "uid"], unique=False)
    op.create_table(
        "backup_task_session",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("uid", sa.LargeBinary(length=16), nullable=False),
        sa.Column("server_uid", sa.LargeBinary(length=16), nullable=True),
        sa.Column("job_session_uid", sa.LargeBinary(length=16), nullable=True),
        sa.Column("job_uid", sa.LargeBinary(length=16), nullable=True),
        sa.Column("point_uid", sa.LargeBinary(length=16), nullable=True),
        sa.Column("name", sa.Text(), nullable=True),
        sa.Column("name_key", sa.Text(), nullable=True),
        sa.Column("vm_display_name", sa.Text(), nullable=True),
        sa.Column("vm_display_name_key", sa.Text(), nullable=True),
        sa.Column("creation_time_utc", sa.BigInteger(), nullable=True),
        sa.Column("end_time_utc", sa.BigInteger(), nullable=True),
        sa.Column("state", sa.SmallInteger(), nullable=True),
        sa.Column("result", sa.SmallInteger(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("reason_key", sa.Text(), nullable=True),
        sa.Column("total_size", sa.BigInteger(), nullable=True),
        sa.Column("vm_uid", sa.Text(), nullable=True),
        sa.Column("vm_uid_key", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("uid", name="backup_task_session_uid_is_unique"),
    )
    op.create_index(
        "backup_task_session_by_creation_time_utc",
        "backup_task_session",
        ["creation_time_utc", "uid"],
        unique=False,
    )
    op.create_index(
        "backup_task_session_by_job_session_uid",
        "backup_task_session",
        ["job_session_uid", "uid"],
        unique=False,
    )
    op.create_index(
        "backup_task_session_by_job_uid_creation_time_utc_result",
        "backup_task_session",
        ["job_uid", "creation_time_utc", "result", "uid"],
        unique=False,
    )
    op.create_index(
        "backup_task_session_by_name_key", "backup_task_session", ["name_key", "uid"], unique=False
    )
    op.create_index(
        "backup_task_session_by_result_creation_time_utc",
        "backup_task_session",
        ["result", "creation_time_utc", "uid"],
        unique=False,
    )
    op.create_index(
        "backup_task_session_by_server_uid_result_creation_time_utc",
        "backup_task_session",
        ["server_uid", "result", "creation_time_utc", "uid"],
        unique=False,
    )
    op.create_index(
        "backup_task_session_by_vm_display_name_key_creation_time_utc_result",
        "backup_task_session",
        ["vm_display_name_key", "creation_time_utc", "result", "uid"],
        unique=False,
    )
    op.create_table(
        "collected_feed",
        sa.Column("server_uid", sa.LargeBinary(length=16), nullable=False),
        sa.Column("epoch", sa.LargeBinary(length=16), nullable=False),
        sa.Column("cursor", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("server_uid"),
    )
    op.create_table(
        "job",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("uid", sa.LargeBinary(length=16), nullable=False),
        sa.Column("server_uid", sa.LargeBinary(length=16), nullable=True),
        sa.Column("name", sa.Text(), nullable=True),
        sa.Column("name_key", sa.Text(), nullable=True),
        sa.Column("job_type", sa.SmallInteger(), nullable=True),
        sa.Column("platform", sa.SmallInteger(), nullable=True),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("description_key", sa.Text(), nullable=True),
        sa.Column("schedule_configured", sa.SmallInteger(), nullable=True),
        sa.Column("schedule_enabled", sa.SmallInteger(), nullable=True),
        sa.Column("next_run", sa.BigInteger(), nullable=True),
        sa.Column("job_schedule_options", sa.Text(), nullable=True),
        sa.Column("job_info", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("uid", name="job_uid_is_unique"),
    )
    op.create_index("job_by_name_key", "job", ["name_key", "uid"], unique=False)
    op.create_table(
        "logon_failure",
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("refused_until", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("subject"),
    )
    op.create_table(
        "logon_session",
        sa.Column("uid", sa.LargeBinary(length=16), nullable=False),
        sa.Column("token_hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("account_uid", sa.LargeBinary(length=16), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("last_used", sa.BigInteger(), nullable=False),
        sa.Column("tasks_numbered", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("uid"),
        sa.UniqueConstraint("token_hash"),
    )
    op.create_table(
        "managed_server",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("uid", sa.LargeBinary(length=16), nullable=False),
        sa.Column("server_uid", sa.LargeBinary(length=16), nullable=True),
        sa.Column("name", sa.Text(), nullable=True),
        sa.Column("name_key", sa.Text(), nullable=True),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("description_key", sa.Text(), nullable=True),
        sa.Column("managed_server_type", sa.SmallInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("uid", name="managed_server_uid_is_unique"),
    )
    op.create_index(
        "managed_server_by_name_key", "managed_server", ["name_key", "uid"], unique=False
    )
    op.create_table(
        "object_in_job",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("uid", sa.LargeBinary(length=16), nullable=False),
        sa.Column("job_uid", sa.LargeBinary(length=16), nullable=True),
        sa.Column("server_uid", sa.LargeBinary(length=16), nullable=True),
        sa.Column("object_in_job_id", sa.LargeBinary(length=16), nullable=True),
        sa.Column("hierarchy_obj_ref", sa.Text(), nullable=True),
        sa.Column("hierarchy_obj_ref_key", sa.Text(), nullable=True),
        sa.Column("name", sa.Text(), nullable=True),
        sa.Column("name_key", sa.Text(), nullable=True),
        sa.Column("display_name", sa.Text(), nullable=True),
        sa.Column("display_name_key", sa.Text(), nullable=True),
        sa.Column("order", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("uid", name="object_in_job_uid_is_unique"),
    )
    op.create_index("object_in_job_by_job_uid", "object_in_job", ["job_uid", "uid"], unique=False)
    op.create_table(
        "replica_job_session",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("uid", sa.LargeBinary(length=16), nullable=False),
        sa.Column("server_uid", sa.LargeBinary(length=16), nullable=True),
        sa.Column("job_uid", sa.LargeBinary(length=16), nullable=True),
        sa.Column("restore_point_uid", sa.LargeBinary(length=16), nullable=True),
        sa.Column("name", sa.Text(), nullable=True),
        sa.Column("name_key", sa.Text(), nullable=True),
        sa.Column("job_name", sa.Text(), nullable=True),
        sa.Column("job_name_key", sa.Text(), nullable=True),
        sa.Column("job_type", sa.SmallInteger(), nullable=True),
        sa.Column("creation_time_utc", sa.BigInteger(), nullable=True),
        sa.Column("end_time_utc", sa.BigInteger(), nullable=True),
        sa.Column("state", sa.SmallInteger(), nullable=True),
        sa.Column("result", sa.SmallInteger(), nullable=True),
        sa.Column("progress", sa.BigInteger(), nullable=True),
        sa.Column("failure_message", sa.Text(), nullable=True),
        sa.Column("failure_message_key", sa.Text(), nullable=True),
        sa.Column("is_retry", sa.SmallInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("uid", name="replica_job_session_uid_is_unique"),
    )
    op.create_index(
        "replica_job_session_by_creation_time_utc",
        "replica_job_session",
        ["creation_time_utc", "uid"],
        unique=False,
    )
    op.create_index(
        "replica_job_session_by_job_uid_creation_time_utc_result",
        "replica_job_session",
        ["job_uid", "creation_time_utc", "result", "uid"],
        unique=False,
    )
    op.create_index(
        "replica_job_session_by_name_key", "replica_job_session", ["name_key", "uid"], unique=False
    )
    op.create_index(
        "replica_job_session_by_result_creation_time_utc",
        "replica_job_session",
        ["result", "creation_time_utc", "uid"],
        unique=False,
    )
    op.create_table(
        "replica_task_session",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("uid", sa.LargeBinary(length=16), nullable=False),
        sa.Column("server_uid", sa.LargeBinary(length=16), nullable=True),
        sa.Column("job_session_uid", sa.LargeBinary(length=16), nullable=True),
        sa.Column("job_uid", sa.LargeBinary(length=16), nullable=True),
        sa.Column("point_uid", sa.LargeBinary(length=16), nullable=True),
        sa.Column("name", sa.Text(), nullable=True),
        sa.Column("name_key", sa.Text(), nullable=True),
        sa.Column("vm_display_name", sa.Text(), nullable=True),
        sa.Column("vm_display_name_key", sa.Text(), nullable=True),
        sa.Column("creation_time_utc", sa.BigInteger(), nullable=True),
        sa.Column("end_time_utc", sa.BigInteger(), nullable=True),
        sa.Column("state", sa.SmallInteger(), nullable=True),
        sa.Column("result", sa.SmallInteger(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("reason_key", sa.Text(), nullable=True),
        sa.Column("total_size", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("uid", name="replica_task_session_uid_is_unique"),
    )
    op.create_index(
        "replica_task_session_by_creation_time_utc",
        "replica_task_session",
        ["creation_time_utc", "uid"],
        unique=False,
    )
    op.create_index(
        "replica_task_session_by_job_session_uid",
        "replica_task_session",
        ["job_session_uid", "uid"],
        unique=False,
    )
    op.create_index(
        "replica_task_session_by_job_uid_creation_time_utc_result",
        "replica_task_session",
        ["job_uid", "creation_time_utc", "result", "uid"],
        unique=False,
    )
    op.create_index(
        "replica_task_session_by_name_key",
        "replica_task_session",
        ["name_key", "uid"],
        unique=False,
    )
    op.create_index(
        "replica_task_session_by_result_creation_time_utc",
        "replica_task_session",
        ["result", "creation_time_utc", "uid"],
        unique=False,
    )
    op.create_index(
        "replica_task_session_by_server_uid_result_creation_time_utc",
        "replica_task_session",
        ["server_uid", "result", "creation_time_utc", "uid"],
        unique=False,
    )
    op.create_index(
        "replica_task_session_by_vm_display_name_key_creation_time_utc_result",
        "replica_task_session",
        ["vm_display_name_key", "creation_time_utc", "result", "uid"],
        unique=False,
    )
    op.create_table(
        "repository",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("uid", sa.LargeBinary(length=16), nullable=False),
        sa.Column("server_uid", sa.LargeBinary(length=16), nullable=True),
        sa.Column("name", sa.Text(), nullable=True),
        sa.Column("name_key", sa.Text(), nullable=True),
        sa.Column("capacity", sa.BigInteger(), nullable=True),
        sa.Column("free_space", sa.BigInteger(), nullable=True),
        sa.Column("kind", sa.SmallInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("uid", name="repository_uid_is_unique"),
    )
    op.create_index("repository_by_name_key", "repository", ["name_key", "uid"], unique=False)
    op.create_table(
        "restore_point",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("uid", sa.LargeBinary(length=16), nullable=False),
        sa.Column("server_uid", sa.LargeBinary(length=16), nullable=True),
        sa.Column("backup_uid", sa.LargeBinary(length=16), nullable=True),
        sa.Column("name", sa.Text(), nullable=True),
        sa.Column("name_key", sa.Text(), nullable=True),
        sa.Column("backup_date_utc", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("uid", name="restore_point_uid_is_unique"),
    )
    op.create_index(
        "restore_point_by_backup_date_utc",
        "restore_point",
        ["backup_date_utc", "uid"],
        unique=False,
    )
    op.create_index(
        "restore_point_by_backup_uid", "restore_point", ["backup_uid", "uid"], unique=False
    )
    op.create_index("restore_point_by_name_key", "restore_point", ["name_key", "uid"], unique=False)
    op.create_table(
        "task",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("uid", sa.LargeBinary(length=16), nullable=False),
        sa.Column("logon_session_uid", sa.LargeBinary(length=16), nullable=True),
        sa.Column("task_id", sa.Text(), nullable=True),
        sa.Column("task_id_key", sa.Text(), nullable=True),
        sa.Column("state", sa.SmallInteger(), nullable=True),
        sa.Column("operation", sa.Text(), nullable=True),
        sa.Column("operation_key", sa.Text(), nullable=True),
        sa.Column("result", sa.Text(), nullable=True),
        sa.Column("number", sa.BigInteger(), nullable=True),
        sa.Column("related_type", sa.Text(), nullable=True),
        sa.Column("related_type_key", sa.Text(), nullable=True),
        sa.Column("related_name", sa.Text(), nullable=True),
        sa.Column("related_name_key", sa.Text(), nullable=True),
        sa.Column("related_uid", sa.LargeBinary(length=16), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("uid", name="task_uid_is_unique"),
    )
    op.create_index("task_by_logon_session_uid", "task", ["logon_session_uid", "uid"], unique=False)
    op.create_table(
        "unfinished_command",
        sa.Column("task_uid", sa.LargeBinary(length=16), nullable=False),
        sa.Column("server_uid", sa.LargeBinary(length=16), nullable=False),
        sa.Column("command", sa.Text(), nullable=False),
        sa.Column("carried_out", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("task_uid"),
    )
    op.create_table(
        "vm_restore_point",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("uid", sa.LargeBinary(length=16), nullable=False),
        sa.Column("server_uid", sa.LargeBinary(length=16), nullable=True),
        sa.Column("restore_point_uid", sa.LargeBinary(length=16), nullable=True),
        sa.Column("backup_file_uid", sa.LargeBinary(length=16), nullable=True),
        sa.Column("name", sa.Text(), nullable=True),
        sa.Column("name_key", sa.Text(), nullable=True),
        sa.Column("vm_display_name", sa.Text(), nullable=True),
        sa.Column("vm_display_name_key", sa.Text(), nullable=True),
        sa.Column("creation_time_utc", sa.BigInteger(), nullable=True),
        sa.Column("vm_name", sa.Text(), nullable=True),
        sa.Column("vm_name_key", sa.Text(), nullable=True),
        sa.Column("algorithm", sa.SmallInteger(), nullable=True),
        sa.Column("point_type", sa.SmallInteger(), nullable=True),
        sa.Column("hierarchy_obj_ref", sa.Text(), nullable=True),
        sa.Column("hierarchy_obj_ref_key", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("uid", name="vm_restore_point_uid_is_unique"),
    )
    op.create_index(
        "vm_restore_point_by_backup_file_uid",
        "vm_restore_point",
        ["backup_file_uid", "uid"],
        unique=False,
    )
    op.create_index(
        "vm_restore_point_by_creation_time_utc",
        "vm_restore_point",
        ["creation_time_utc", "uid"],
        unique=False,
    )
    op.create_index(
        "vm_restore_point_by_name_key", "vm_restore_point", ["name_key", "uid"], unique=False
    )
    op.create_index(
        "vm_restore_point_by_restore_point_uid",
        "vm_restore_point",
        ["restore_point_uid", "uid"],
        unique=False,
    )
    op.create_index(
        "vm_restore_point_by_vm_display_name_key_creation_time_utc",
        "vm_restore_point",
        ["vm_display_name_key", "creation_time_utc", "uid"],
        unique=False,
    )
