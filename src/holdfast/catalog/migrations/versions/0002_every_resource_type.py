"""The tables of every other resource type, and what the first ones lacked."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Make the tables, columns and indexes."""
    op.create_table(
        "agent_backup_job",
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
        sa.UniqueConstraint("uid", name="agent_backup_job_uid_is_unique"),
    )
    op.create_index(
        "agent_backup_job_by_name_key", "agent_backup_job", ["name_key", "uid"], unique=False
    )
    op.create_table(
        "agent_protection_group",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("uid", sa.LargeBinary(length=16), nullable=False),
        sa.Column("server_uid", sa.LargeBinary(length=16), nullable=True),
        sa.Column("name", sa.Text(), nullable=True),
        sa.Column("name_key", sa.Text(), nullable=True),
        sa.Column("rescan_schedule_enabled", sa.SmallInteger(), nullable=True),
        sa.Column("hierarchy_obj_ref", sa.Text(), nullable=True),
        sa.Column("hierarchy_obj_ref_key", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("uid", name="agent_protection_group_uid_is_unique"),
    )
    op.create_index(
        "agent_protection_group_by_name_key",
        "agent_protection_group",
        ["name_key", "uid"],
        unique=False,
    )
    op.create_table(
        "agent_restore_point",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("uid", sa.LargeBinary(length=16), nullable=False),
        sa.Column("server_uid", sa.LargeBinary(length=16), nullable=True),
        sa.Column("restore_point_uid", sa.LargeBinary(length=16), nullable=True),
        sa.Column("backup_file_uid", sa.LargeBinary(length=16), nullable=True),
        sa.Column("name", sa.Text(), nullable=True),
        sa.Column("name_key", sa.Text(), nullable=True),
        sa.Column("creation_time_utc", sa.BigInteger(), nullable=True),
        sa.Column("algorithm", sa.SmallInteger(), nullable=True),
        sa.Column("point_type", sa.SmallInteger(), nullable=True),
        sa.Column("computer_name", sa.Text(), nullable=True),
        sa.Column("computer_name_key", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("uid", name="agent_restore_point_uid_is_unique"),
    )
    op.create_index(
        "agent_restore_point_by_computer_name_key_creation_time_utc",
        "agent_restore_point",
        ["computer_name_key", "creation_time_utc", "uid"],
        unique=False,
    )
    op.create_index(
        "agent_restore_point_by_creation_time_utc",
        "agent_restore_point",
        ["creation_time_utc", "uid"],
        unique=False,
    )
    op.create_index(
        "agent_restore_point_by_name_key", "agent_restore_point", ["name_key", "uid"], unique=False
    )
    op.create_index(
        "agent_restore_point_by_restore_point_uid",
        "agent_restore_point",
        ["restore_point_uid", "uid"],
        unique=False,
    )
    op.create_table(
        "catalog_vm",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("uid", sa.LargeBinary(length=16), nullable=False),
        sa.Column("server_uid", sa.LargeBinary(length=16), nullable=True),
        sa.Column("name", sa.Text(), nullable=True),
        sa.Column("name_key", sa.Text(), nullable=True),
        sa.Column("vm_display_name", sa.Text(), nullable=True),
        sa.Column("vm_display_name_key", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("uid", name="catalog_vm_uid_is_unique"),
    )
    op.create_index("catalog_vm_by_name_key", "catalog_vm", ["name_key", "uid"], unique=False)
    op.create_table(
        "catalog_vm_restore_point",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("uid", sa.LargeBinary(length=16), nullable=False),
        sa.Column("server_uid", sa.LargeBinary(length=16), nullable=True),
        sa.Column("vm_uid", sa.LargeBinary(length=16), nullable=True),
        sa.Column("point_uid", sa.LargeBinary(length=16), nullable=True),
        sa.Column("name", sa.Text(), nullable=True),
        sa.Column("name_key", sa.Text(), nullable=True),
        sa.Column("backup_date_utc", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("uid", name="catalog_vm_restore_point_uid_is_unique"),
    )
    op.create_index(
        "catalog_vm_restore_point_by_name_key",
        "catalog_vm_restore_point",
        ["name_key", "uid"],
        unique=False,
    )
    op.create_index(
        "catalog_vm_restore_point_by_vm_uid",
        "catalog_vm_restore_point",
        ["vm_uid", "uid"],
        unique=False,
    )
    op.create_table(
        "cdp_policy",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("uid", sa.LargeBinary(length=16), nullable=False),
        sa.Column("server_uid", sa.LargeBinary(length=16), nullable=True),
        sa.Column("name", sa.Text(), nullable=True),
        sa.Column("name_key", sa.Text(), nullable=True),
        sa.Column("policy_type", sa.Text(), nullable=True),
        sa.Column("policy_type_key", sa.Text(), nullable=True),
        sa.Column("platform", sa.SmallInteger(), nullable=True),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("description_key", sa.Text(), nullable=True),
        sa.Column("schedule_configured", sa.SmallInteger(), nullable=True),
        sa.Column("schedule_enabled", sa.SmallInteger(), nullable=True),
        sa.Column("next_run", sa.BigInteger(), nullable=True),
        sa.Column("policy_schedule_options", sa.Text(), nullable=True),
        sa.Column("cdp_policy_info", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("uid", name="cdp_policy_uid_is_unique"),
    )
    op.create_index("cdp_policy_by_name_key", "cdp_policy", ["name_key", "uid"], unique=False)
    op.create_table(
        "cdp_replica",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("uid", sa.LargeBinary(length=16), nullable=False),
        sa.Column("server_uid", sa.LargeBinary(length=16), nullable=True),
        sa.Column("policy_uid", sa.LargeBinary(length=16), nullable=True),
        sa.Column("name", sa.Text(), nullable=True),
        sa.Column("name_key", sa.Text(), nullable=True),
        sa.Column("backup_server", sa.Text(), nullable=True),
        sa.Column("backup_server_key", sa.Text(), nullable=True),
        sa.Column("policy_name", sa.Text(), nullable=True),
        sa.Column("policy_name_key", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("uid", name="cdp_replica_uid_is_unique"),
    )
    op.create_index("cdp_replica_by_name_key", "cdp_replica", ["name_key", "uid"], unique=False)
    op.create_table(
        "cdp_replica_session",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("uid", sa.LargeBinary(length=16), nullable=False),
        sa.Column("server_uid", sa.LargeBinary(length=16), nullable=True),
        sa.Column("policy_uid", sa.LargeBinary(length=16), nullable=True),
        sa.Column("name", sa.Text(), nullable=True),
        sa.Column("name_key", sa.Text(), nullable=True),
        sa.Column("policy_name", sa.Text(), nullable=True),
        sa.Column("policy_name_key", sa.Text(), nullable=True),
        sa.Column("policy_type", sa.Text(), nullable=True),
        sa.Column("policy_type_key", sa.Text(), nullable=True),
        sa.Column("creation_time_utc", sa.BigInteger(), nullable=True),
        sa.Column("end_time_utc", sa.BigInteger(), nullable=True),
        sa.Column("state", sa.SmallInteger(), nullable=True),
        sa.Column("result", sa.SmallInteger(), nullable=True),
        sa.Column("progress", sa.BigInteger(), nullable=True),
        sa.Column("failure_message", sa.Text(), nullable=True),
        sa.Column("failure_message_key", sa.Text(), nullable=True),
        sa.Column("is_retry", sa.SmallInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("uid", name="cdp_replica_session_uid_is_unique"),
    )
    op.create_index(
        "cdp_replica_session_by_creation_time_utc",
        "cdp_replica_session",
        ["creation_time_utc", "uid"],
        unique=False,
    )
    op.create_index(
        "cdp_replica_session_by_name_key", "cdp_replica_session", ["name_key", "uid"], unique=False
    )
    op.create_index(
        "cdp_replica_session_by_policy_uid_creation_time_utc",
        "cdp_replica_session",
        ["policy_uid", "creation_time_utc", "uid"],
        unique=False,
    )
    op.create_table(
        "cdp_replica_task_session",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("uid", sa.LargeBinary(length=16), nullable=False),
        sa.Column("server_uid", sa.LargeBinary(length=16), nullable=True),
        sa.Column("policy_session_uid", sa.LargeBinary(length=16), nullable=True),
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
        sa.UniqueConstraint("uid", name="cdp_replica_task_session_uid_is_unique"),
    )
    op.create_index(
        "cdp_replica_task_session_by_creation_time_utc",
        "cdp_replica_task_session",
        ["creation_time_utc", "uid"],
        unique=False,
    )
    op.create_index(
        "cdp_replica_task_session_by_name_key",
        "cdp_replica_task_session",
        ["name_key", "uid"],
        unique=False,
    )
    op.create_index(
        "cdp_replica_task_session_by_policy_session_uid_creation_time_utc",
        "cdp_replica_task_session",
        ["policy_session_uid", "creation_time_utc", "uid"],
        unique=False,
    )
    op.create_table(
        "cdp_replica_vm",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("uid", sa.LargeBinary(length=16), nullable=False),
        sa.Column("server_uid", sa.LargeBinary(length=16), nullable=True),
        sa.Column("policy_uid", sa.LargeBinary(length=16), nullable=True),
        sa.Column("replica_uid", sa.LargeBinary(length=16), nullable=True),
        sa.Column("repository_uid", sa.LargeBinary(length=16), nullable=True),
        sa.Column("name", sa.Text(), nullable=True),
        sa.Column("name_key", sa.Text(), nullable=True),
        sa.Column("vm_ref", sa.Text(), nullable=True),
        sa.Column("vm_ref_key", sa.Text(), nullable=True),
        sa.Column("backup_server", sa.Text(), nullable=True),
        sa.Column("backup_server_key", sa.Text(), nullable=True),
        sa.Column("policy_name", sa.Text(), nullable=True),
        sa.Column("policy_name_key", sa.Text(), nullable=True),
        sa.Column("repository_name", sa.Text(), nullable=True),
        sa.Column("repository_name_key", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("uid", name="cdp_replica_vm_uid_is_unique"),
    )
    op.create_index(
        "cdp_replica_vm_by_name_key", "cdp_replica_vm", ["name_key", "uid"], unique=False
    )
    op.create_index(
        "cdp_replica_vm_by_replica_uid", "cdp_replica_vm", ["replica_uid", "uid"], unique=False
    )
    op.create_table(
        "cloud_failover_plan",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("uid", sa.LargeBinary(length=16), nullable=False),
        sa.Column("server_uid", sa.LargeBinary(length=16), nullable=True),
        sa.Column("tenant_uid", sa.LargeBinary(length=16), nullable=True),
        sa.Column("name", sa.Text(), nullable=True),
        sa.Column("name_key", sa.Text(), nullable=True),
        sa.Column("tenant_name", sa.Text(), nullable=True),
        sa.Column("tenant_name_key", sa.Text(), nullable=True),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("description_key", sa.Text(), nullable=True),
        sa.Column("cloud_failover_plan_options", sa.Text(), nullable=True),
        sa.Column("cloud_failover_plan_info", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("uid", name="cloud_failover_plan_uid_is_unique"),
    )
    op.create_index(
        "cloud_failover_plan_by_name_key", "cloud_failover_plan", ["name_key", "uid"], unique=False
    )
    op.create_table(
        "cloud_failover_session",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("uid", sa.LargeBinary(length=16), nullable=False),
        sa.Column("server_uid", sa.LargeBinary(length=16), nullable=True),
        sa.Column("name", sa.Text(), nullable=True),
        sa.Column("name_key", sa.Text(), nullable=True),
        sa.Column("cloud_failover_plan_name", sa.Text(), nullable=True),
        sa.Column("cloud_failover_plan_name_key", sa.Text(), nullable=True),
        sa.Column("job_uid", sa.LargeBinary(length=16), nullable=True),
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
        sa.Column("cloud_failover_tasks", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("uid", name="cloud_failover_session_uid_is_unique"),
    )
    op.create_index(
        "cloud_failover_session_by_creation_time_utc",
        "cloud_failover_session",
        ["creation_time_utc", "uid"],
        unique=False,
    )
    op.create_index(
        "cloud_failover_session_by_name_key",
        "cloud_failover_session",
        ["name_key", "uid"],
        unique=False,
    )
    op.create_table(
        "cloud_failovered_vm",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("uid", sa.LargeBinary(length=16), nullable=False),
        sa.Column("server_uid", sa.LargeBinary(length=16), nullable=True),
        sa.Column("plan_uid", sa.LargeBinary(length=16), nullable=True),
        sa.Column("failover_plan_vm_id", sa.LargeBinary(length=16), nullable=True),
        sa.Column("name", sa.Text(), nullable=True),
        sa.Column("name_key", sa.Text(), nullable=True),
        sa.Column("order", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("uid", name="cloud_failovered_vm_uid_is_unique"),
    )
    op.create_index(
        "cloud_failovered_vm_by_plan_uid", "cloud_failovered_vm", ["plan_uid", "uid"], unique=False
    )
    op.create_table(
        "cloud_gateway",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("uid", sa.LargeBinary(length=16), nullable=False),
        sa.Column("server_uid", sa.LargeBinary(length=16), nullable=True),
        sa.Column("pool_uid", sa.LargeBinary(length=16), nullable=True),
        sa.Column("name", sa.Text(), nullable=True),
        sa.Column("name_key", sa.Text(), nullable=True),
        sa.Column("enabled", sa.SmallInteger(), nullable=True),
        sa.Column("dns_name_or_ip_address", sa.Text(), nullable=True),
        sa.Column("dns_name_or_ip_address_key", sa.Text(), nullable=True),
        sa.Column("network_mode", sa.Text(), nullable=True),
        sa.Column("network_mode_key", sa.Text(), nullable=True),
        sa.Column("external_ip", sa.Text(), nullable=True),
        sa.Column("external_ip_key", sa.Text(), nullable=True),
        sa.Column("external_port", sa.BigInteger(), nullable=True),
        sa.Column("internal_port", sa.BigInteger(), nullable=True),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("description_key", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("uid", name="cloud_gateway_uid_is_unique"),
    )
    op.create_index("cloud_gateway_by_name_key", "cloud_gateway", ["name_key", "uid"], unique=False)
    op.create_index("cloud_gateway_by_pool_uid", "cloud_gateway", ["pool_uid", "uid"], unique=False)
    op.create_table(
        "cloud_gateway_pool",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("uid", sa.LargeBinary(length=16), nullable=False),
        sa.Column("server_uid", sa.LargeBinary(length=16), nullable=True),
        sa.Column("name", sa.Text(), nullable=True),
        sa.Column("name_key", sa.Text(), nullable=True),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("description_key", sa.Text(), nullable=True),
        sa.Column("cloud_gateways", sa.Text(), nullable=True),
        sa.Column("cloud_tenants", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("uid", name="cloud_gateway_pool_uid_is_unique"),
    )
    op.create_index(
        "cloud_gateway_pool_by_name_key", "cloud_gateway_pool", ["name_key", "uid"], unique=False
    )
    op.create_table(
        "cloud_hardware_plan",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("uid", sa.LargeBinary(length=16), nullable=False),
        sa.Column("server_uid", sa.LargeBinary(length=16), nullable=True),
        sa.Column("name", sa.Text(), nullable=True),
        sa.Column("name_key", sa.Text(), nullable=True),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("description_key", sa.Text(), nullable=True),
        sa.Column("processor_usage_limit_mhz", sa.BigInteger(), nullable=True),
        sa.Column("memory_usage_limit_mb", sa.BigInteger(), nullable=True),
        sa.Column("hardware_plan_details", sa.Text(), nullable=True),
        sa.Column("platform", sa.SmallInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("uid", name="cloud_hardware_plan_uid_is_unique"),
    )
    op.create_index(
        "cloud_hardware_plan_by_name_key", "cloud_hardware_plan", ["name_key", "uid"], unique=False
    )
    op.create_table(
        "cloud_public_ip_address",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("uid", sa.LargeBinary(length=16), nullable=False),
        sa.Column("server_uid", sa.LargeBinary(length=16), nullable=True),
        sa.Column("tenant_uid", sa.LargeBinary(length=16), nullable=True),
        sa.Column("name", sa.Text(), nullable=True),
        sa.Column("name_key", sa.Text(), nullable=True),
        sa.Column("backup_server_uid", sa.LargeBinary(length=16), nullable=True),
        sa.Column("ip_address", sa.Text(), nullable=True),
        sa.Column("ip_address_key", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("uid", name="cloud_public_ip_address_uid_is_unique"),
    )
    op.create_index(
        "cloud_public_ip_address_by_name_key",
        "cloud_public_ip_address",
        ["name_key", "uid"],
        unique=False,
    )
    op.create_table(
        "cloud_replica",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("uid", sa.LargeBinary(length=16), nullable=False),
        sa.Column("server_uid", sa.LargeBinary(length=16), nullable=True),
        sa.Column("name", sa.Text(), nullable=True),
        sa.Column("name_key", sa.Text(), nullable=True),
        sa.Column("platform", sa.SmallInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("uid", name="cloud_replica_uid_is_unique"),
    )
    op.create_index("cloud_replica_by_name_key", "cloud_replica", ["name_key", "uid"], unique=False)
    op.create_table(
        "cloud_subtenant",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("uid", sa.LargeBinary(length=16), nullable=False),
        sa.Column("server_uid", sa.LargeBinary(length=16), nullable=True),
        sa.Column("tenant_uid", sa.LargeBinary(length=16), nullable=True),
        sa.Column("subtenant_id", sa.LargeBinary(length=16), nullable=True),
        sa.Column("name", sa.Text(), nullable=True),
        sa.Column("name_key", sa.Text(), nullable=True),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("description_key", sa.Text(), nullable=True),
        sa.Column("password", sa.Text(), nullable=True),
        sa.Column("password_key", sa.Text(), nullable=True),
        sa.Column("enabled", sa.SmallInteger(), nullable=True),
        sa.Column("repository_quota", sa.Text(), nullable=True),
        sa.Column("disabled", sa.SmallInteger(), nullable=True),
        sa.Column("unlimited", sa.SmallInteger(), nullable=True),
        sa.Column("quota", sa.BigInteger(), nullable=True),
        sa.Column("used_quota", sa.BigInteger(), nullable=True),
        sa.Column("backup_resource_id", sa.LargeBinary(length=16), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("uid", name="cloud_subtenant_uid_is_unique"),
    )
    op.create_index(
        "cloud_subtenant_by_tenant_uid", "cloud_subtenant", ["tenant_uid", "uid"], unique=False
    )
    op.create_table(
        "cloud_tenant",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("uid", sa.LargeBinary(length=16), nullable=False),
        sa.Column("server_uid", sa.LargeBinary(length=16), nullable=True),
        sa.Column("name", sa.Text(), nullable=True),
        sa.Column("name_key", sa.Text(), nullable=True),
        sa.Column("password", sa.Text(), nullable=True),
        sa.Column("password_key", sa.Text(), nullable=True),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("description_key", sa.Text(), nullable=True),
        sa.Column("enabled", sa.SmallInteger(), nullable=True),
        sa.Column("lease_options", sa.Text(), nullable=True),
        sa.Column("resources", sa.Text(), nullable=True),
        sa.Column("last_result", sa.Text(), nullable=True),
        sa.Column("last_result_key", sa.Text(), nullable=True),
        sa.Column("last_active", sa.BigInteger(), nullable=True),
        sa.Column("vm_count", sa.BigInteger(), nullable=True),
        sa.Column("compute_resources", sa.Text(), nullable=True),
        sa.Column("throttling_enabled", sa.SmallInteger(), nullable=True),
        sa.Column("throttling_speed_limit", sa.BigInteger(), nullable=True),
        sa.Column("throttling_speed_unit", sa.SmallInteger(), nullable=True),
        sa.Column("public_ip_count", sa.BigInteger(), nullable=True),
        sa.Column("backup_count", sa.BigInteger(), nullable=True),
        sa.Column("replica_count", sa.BigInteger(), nullable=True),
        sa.Column("max_concurrent_tasks", sa.BigInteger(), nullable=True),
        sa.Column("work_station_backup_count", sa.BigInteger(), nullable=True),
        sa.Column("server_backup_count", sa.BigInteger(), nullable=True),
        sa.Column("backup_protection_enabled", sa.SmallInteger(), nullable=True),
        sa.Column("backup_protection_period", sa.BigInteger(), nullable=True),
        sa.Column("tenant_type", sa.Text(), nullable=True),
        sa.Column("v_cloud_compute_resources", sa.Text(), nullable=True),
        sa.Column("cloud_gateway_pools", sa.Text(), nullable=True),
        sa.Column("failover_to_other_gateways_if_fail", sa.SmallInteger(), nullable=True),
        sa.Column("kind", sa.SmallInteger(), nullable=True),
        sa.Column("organization_reference", sa.Text(), nullable=True),
        sa.Column("organization_reference_key", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("uid", name="cloud_tenant_uid_is_unique"),
    )
    op.create_index("cloud_tenant_by_name_key", "cloud_tenant", ["name_key", "uid"], unique=False)
    op.create_table(
        "cloud_tenant_compute_resource",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("uid", sa.LargeBinary(length=16), nullable=False),
        sa.Column("server_uid", sa.LargeBinary(length=16), nullable=True),
        sa.Column("tenant_uid", sa.LargeBinary(length=16), nullable=True),
        sa.Column("resource_id", sa.LargeBinary(length=16), nullable=True),
        sa.Column("cloud_hardware_plan_uid", sa.LargeBinary(length=16), nullable=True),
        sa.Column("wan_accelerator_uid", sa.LargeBinary(length=16), nullable=True),
        sa.Column("platform_type", sa.SmallInteger(), nullable=True),
        sa.Column("use_network_failover_resources", sa.SmallInteger(), nullable=True),
        sa.Column("network_appliance", sa.Text(), nullable=True),
        sa.Column("compute_resource_stats", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("uid", name="cloud_tenant_compute_resource_uid_is_unique"),
    )
    op.create_index(
        "cloud_tenant_compute_resource_by_tenant_uid",
        "cloud_tenant_compute_resource",
        ["tenant_uid", "uid"],
        unique=False,
    )
    op.create_table(
        "cloud_tenant_resource",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("uid", sa.LargeBinary(length=16), nullable=False),
        sa.Column("server_uid", sa.LargeBinary(length=16), nullable=True),
        sa.Column("tenant_uid", sa.LargeBinary(length=16), nullable=True),
        sa.Column("resource_id", sa.LargeBinary(length=16), nullable=True),
        sa.Column("repository_quota", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("uid", name="cloud_tenant_resource_uid_is_unique"),
    )
    op.create_index(
        "cloud_tenant_resource_by_tenant_uid",
        "cloud_tenant_resource",
        ["tenant_uid", "uid"],
        unique=False,
    )
    op.create_table(
        "cloud_tenant_v_cloud_compute_resource",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("uid", sa.LargeBinary(length=16), nullable=False),
        sa.Column("server_uid", sa.LargeBinary(length=16), nullable=True),
        sa.Column("tenant_uid", sa.LargeBinary(length=16), nullable=True),
        sa.Column("resource_id", sa.LargeBinary(length=16), nullable=True),
        sa.Column("virtual_data_center_name", sa.Text(), nullable=True),
        sa.Column("virtual_data_center_name_key", sa.Text(), nullable=True),
        sa.Column("virtual_data_center_ref", sa.Text(), nullable=True),
        sa.Column("virtual_data_center_ref_key", sa.Text(), nullable=True),
        sa.Column("enabled", sa.SmallInteger(), nullable=True),
        sa.Column("allocation_model", sa.SmallInteger(), nullable=True),
        sa.Column("use_network_failover_resources", sa.SmallInteger(), nullable=True),
        sa.Column("resource_usage", sa.Text(), nullable=True),
        sa.Column("wan_accelerator_uid", sa.LargeBinary(length=16), nullable=True),
        sa.Column("network_appliance", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("uid", name="cloud_tenant_v_cloud_compute_resource_uid_is_unique"),
    )
    op.create_index(
        "cloud_tenant_v_cloud_compute_resource_by_tenant_uid",
        "cloud_tenant_v_cloud_compute_resource",
        ["tenant_uid", "uid"],
        unique=False,
    )
    op.create_table(
        "cloud_vm_replica_point",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("uid", sa.LargeBinary(length=16), nullable=False),
        sa.Column("server_uid", sa.LargeBinary(length=16), nullable=True),
        sa.Column("replica_uid", sa.LargeBinary(length=16), nullable=True),
        sa.Column("name", sa.Text(), nullable=True),
        sa.Column("name_key", sa.Text(), nullable=True),
        sa.Column("vm_display_name", sa.Text(), nullable=True),
        sa.Column("vm_display_name_key", sa.Text(), nullable=True),
        sa.Column("creation_time_utc", sa.BigInteger(), nullable=True),
        sa.Column("vm_name", sa.Text(), nullable=True),
        sa.Column("vm_name_key", sa.Text(), nullable=True),
        sa.Column("point_type", sa.SmallInteger(), nullable=True),
        sa.Column("state", sa.SmallInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("uid", name="cloud_vm_replica_point_uid_is_unique"),
    )
    op.create_index(
        "cloud_vm_replica_point_by_creation_time_utc",
        "cloud_vm_replica_point",
        ["creation_time_utc", "uid"],
        unique=False,
    )
    op.create_index(
        "cloud_vm_replica_point_by_name_key",
        "cloud_vm_replica_point",
        ["name_key", "uid"],
        unique=False,
    )
    op.create_index(
        "cloud_vm_replica_point_by_replica_uid",
        "cloud_vm_replica_point",
        ["replica_uid", "uid"],
        unique=False,
    )
    op.create_table(
        "credentials",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("uid", sa.LargeBinary(length=16), nullable=False),
        sa.Column("server_uid", sa.LargeBinary(length=16), nullable=True),
        sa.Column("credentials_id", sa.LargeBinary(length=16), nullable=True),
        sa.Column("username", sa.Text(), nullable=True),
        sa.Column("username_key", sa.Text(), nullable=True),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("description_key", sa.Text(), nullable=True),
        sa.Column("password", sa.Text(), nullable=True),
        sa.Column("password_key", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("uid", name="credentials_uid_is_unique"),
    )
    op.create_index("credentials_by_server_uid", "credentials", ["server_uid", "uid"], unique=False)
    op.create_table(
        "discovered_computer",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("uid", sa.LargeBinary(length=16), nullable=False),
        sa.Column("server_uid", sa.LargeBinary(length=16), nullable=True),
        sa.Column("protection_group_uid", sa.LargeBinary(length=16), nullable=True),
        sa.Column("name", sa.Text(), nullable=True),
        sa.Column("name_key", sa.Text(), nullable=True),
        sa.Column("host_status", sa.Text(), nullable=True),
        sa.Column("host_status_key", sa.Text(), nullable=True),
        sa.Column("agent_version", sa.Text(), nullable=True),
        sa.Column("agent_version_key", sa.Text(), nullable=True),
        sa.Column("agent_status", sa.SmallInteger(), nullable=True),
        sa.Column("os_version", sa.Text(), nullable=True),
        sa.Column("os_version_key", sa.Text(), nullable=True),
        sa.Column("ip_address", sa.Text(), nullable=True),
        sa.Column("ip_address_key", sa.Text(), nullable=True),
        sa.Column("hierarchy_obj_ref", sa.Text(), nullable=True),
        sa.Column("hierarchy_obj_ref_key", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("uid", name="discovered_computer_uid_is_unique"),
    )
    op.create_index(
        "discovered_computer_by_name_key", "discovered_computer", ["name_key", "uid"], unique=False
    )
    op.create_index(
        "discovered_computer_by_protection_group_uid",
        "discovered_computer",
        ["protection_group_uid", "uid"],
        unique=False,
    )
    op.create_table(
        "enterprise_account",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("uid", sa.LargeBinary(length=16), nullable=False),
        sa.Column("name", sa.Text(), nullable=True),
        sa.Column("name_key", sa.Text(), nullable=True),
        sa.Column("account_type", sa.SmallInteger(), nullable=True),
        sa.Column("allow_restore_all_vms", sa.SmallInteger(), nullable=True),
        sa.Column("flr_settings", sa.Text(), nullable=True),
        sa.Column("sql_settings", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("uid", name="enterprise_account_uid_is_unique"),
    )
    op.create_index(
        "enterprise_account_by_name_key", "enterprise_account", ["name_key", "uid"], unique=False
    )
    op.create_table(
        "enterprise_account_hierarchy_scope",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("uid", sa.LargeBinary(length=16), nullable=False),
        sa.Column("account_uid", sa.LargeBinary(length=16), nullable=True),
        sa.Column("hierarchy_root_uid", sa.LargeBinary(length=16), nullable=True),
        sa.Column("name", sa.Text(), nullable=True),
        sa.Column("name_key", sa.Text(), nullable=True),
        sa.Column("hierarchy_root_name", sa.Text(), nullable=True),
        sa.Column("hierarchy_root_name_key", sa.Text(), nullable=True),
        sa.Column("platform", sa.SmallInteger(), nullable=True),
        sa.Column("hierarchy_object_type", sa.Text(), nullable=True),
        sa.Column("hierarchy_object_type_key", sa.Text(), nullable=True),
        sa.Column("state", sa.SmallInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("uid", name="enterprise_account_hierarchy_scope_uid_is_unique"),
    )
    op.create_index(
        "enterprise_account_hierarchy_scope_by_account_uid",
        "enterprise_account_hierarchy_scope",
        ["account_uid", "uid"],
        unique=False,
    )
    op.create_table(
        "enterprise_account_in_role",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("uid", sa.LargeBinary(length=16), nullable=False),
        sa.Column("account_uid", sa.LargeBinary(length=16), nullable=True),
        sa.Column("role_uid", sa.LargeBinary(length=16), nullable=True),
        sa.Column("role_name", sa.Text(), nullable=True),
        sa.Column("role_name_key", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("uid", name="enterprise_account_in_role_uid_is_unique"),
    )
    op.create_index(
        "enterprise_account_in_role_by_account_uid",
        "enterprise_account_in_role",
        ["account_uid", "uid"],
        unique=False,
    )
    op.create_table(
        "enterprise_role",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("uid", sa.LargeBinary(length=16), nullable=False),
        sa.Column("name", sa.Text(), nullable=True),
        sa.Column("name_key", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("uid", name="enterprise_role_uid_is_unique"),
    )
    op.create_index(
        "enterprise_role_by_name_key", "enterprise_role", ["name_key", "uid"], unique=False
    )
    op.create_table(
        "external_repository",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("uid", sa.LargeBinary(length=16), nullable=False),
        sa.Column("server_uid", sa.LargeBinary(length=16), nullable=True),
        sa.Column("name", sa.Text(), nullable=True),
        sa.Column("name_key", sa.Text(), nullable=True),
        sa.Column("repository_type", sa.SmallInteger(), nullable=True),
        sa.Column("path", sa.Text(), nullable=True),
        sa.Column("path_key", sa.Text(), nullable=True),
        sa.Column("used_space", sa.BigInteger(), nullable=True),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("description_key", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("uid", name="external_repository_uid_is_unique"),
    )
    op.create_index(
        "external_repository_by_name_key", "external_repository", ["name_key", "uid"], unique=False
    )
    op.create_index(
        "external_repository_by_server_uid",
        "external_repository",
        ["server_uid", "uid"],
        unique=False,
    )
    op.create_table(
        "failover_plan",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("uid", sa.LargeBinary(length=16), nullable=False),
        sa.Column("server_uid", sa.LargeBinary(length=16), nullable=True),
        sa.Column("name", sa.Text(), nullable=True),
        sa.Column("name_key", sa.Text(), nullable=True),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("description_key", sa.Text(), nullable=True),
        sa.Column("failover_plan_info", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("uid", name="failover_plan_uid_is_unique"),
    )
    op.create_index("failover_plan_by_name_key", "failover_plan", ["name_key", "uid"], unique=False)
    op.create_table(
        "file_server",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("uid", sa.LargeBinary(length=16), nullable=False),
        sa.Column("server_uid", sa.LargeBinary(length=16), nullable=True),
        sa.Column("name", sa.Text(), nullable=True),
        sa.Column("name_key", sa.Text(), nullable=True),
        sa.Column("server_type", sa.Text(), nullable=True),
        sa.Column("server_type_key", sa.Text(), nullable=True),
        sa.Column("hierarchy_obj_ref", sa.Text(), nullable=True),
        sa.Column("hierarchy_obj_ref_key", sa.Text(), nullable=True),
        sa.Column("smb_server_options", sa.Text(), nullable=True),
        sa.Column("nfs_server_options", sa.Text(), nullable=True),
        sa.Column("file_server_options", sa.Text(), nullable=True),
        sa.Column("processing_options", sa.Text(), nullable=True),
        sa.Column("nas_server_advanced_options", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("uid", name="file_server_uid_is_unique"),
    )
    op.create_index("file_server_by_name_key", "file_server", ["name_key", "uid"], unique=False)
    op.create_table(
        "hierarchy_root",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("uid", sa.LargeBinary(length=16), nullable=False),
        sa.Column("server_uid", sa.LargeBinary(length=16), nullable=True),
        sa.Column("managed_server_uid", sa.LargeBinary(length=16), nullable=True),
        sa.Column("name", sa.Text(), nullable=True),
        sa.Column("name_key", sa.Text(), nullable=True),
        sa.Column("hierarchy_root_id", sa.Text(), nullable=True),
        sa.Column("hierarchy_root_id_key", sa.Text(), nullable=True),
        sa.Column("unique_id", sa.Text(), nullable=True),
        sa.Column("unique_id_key", sa.Text(), nullable=True),
        sa.Column("host_type", sa.SmallInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("uid", name="hierarchy_root_uid_is_unique"),
    )
    op.create_index(
        "hierarchy_root_by_name_key", "hierarchy_root", ["name_key", "uid"], unique=False
    )
    op.create_table(
        "linked_backup_repository_object",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("uid", sa.LargeBinary(length=16), nullable=False),
        sa.Column("job_uid", sa.LargeBinary(length=16), nullable=True),
        sa.Column("server_uid", sa.LargeBinary(length=16), nullable=True),
        sa.Column("object_in_job_id", sa.LargeBinary(length=16), nullable=True),
        sa.Column("linked_backup_repository_uid", sa.LargeBinary(length=16), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("uid", name="linked_backup_repository_object_uid_is_unique"),
    )
    op.create_index(
        "linked_backup_repository_object_by_job_uid",
        "linked_backup_repository_object",
        ["job_uid", "uid"],
        unique=False,
    )
    op.create_table(
        "linked_job_object",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("uid", sa.LargeBinary(length=16), nullable=False),
        sa.Column("job_uid", sa.LargeBinary(length=16), nullable=True),
        sa.Column("server_uid", sa.LargeBinary(length=16), nullable=True),
        sa.Column("object_in_job_id", sa.LargeBinary(length=16), nullable=True),
        sa.Column("linked_job_uid", sa.LargeBinary(length=16), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("uid", name="linked_job_object_uid_is_unique"),
    )
    op.create_index(
        "linked_job_object_by_job_uid", "linked_job_object", ["job_uid", "uid"], unique=False
    )
    op.create_table(
        "nas_job",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("uid", sa.LargeBinary(length=16), nullable=False),
        sa.Column("server_uid", sa.LargeBinary(length=16), nullable=True),
        sa.Column("name", sa.Text(), nullable=True),
        sa.Column("name_key", sa.Text(), nullable=True),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("description_key", sa.Text(), nullable=True),
        sa.Column("includes", sa.Text(), nullable=True),
        sa.Column("storage_options", sa.Text(), nullable=True),
        sa.Column("schedule_configured", sa.SmallInteger(), nullable=True),
        sa.Column("schedule_enabled", sa.SmallInteger(), nullable=True),
        sa.Column("next_run", sa.BigInteger(), nullable=True),
        sa.Column("job_schedule_options", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("uid", name="nas_job_uid_is_unique"),
    )
    op.create_index("nas_job_by_name_key", "nas_job", ["name_key", "uid"], unique=False)
    op.create_table(
        "nas_object",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("uid", sa.LargeBinary(length=16), nullable=False),
        sa.Column("job_uid", sa.LargeBinary(length=16), nullable=True),
        sa.Column("file_server_uid", sa.LargeBinary(length=16), nullable=True),
        sa.Column("server_uid", sa.LargeBinary(length=16), nullable=True),
        sa.Column("hierarchy_obj_ref", sa.Text(), nullable=True),
        sa.Column("hierarchy_obj_ref_key", sa.Text(), nullable=True),
        sa.Column("object_in_job_id", sa.LargeBinary(length=16), nullable=True),
        sa.Column("file_or_folder", sa.Text(), nullable=True),
        sa.Column("file_or_folder_key", sa.Text(), nullable=True),
        sa.Column("inclusion_mask", sa.Text(), nullable=True),
        sa.Column("exclusion_mask", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("uid", name="nas_object_uid_is_unique"),
    )
    op.create_index("nas_object_by_job_uid", "nas_object", ["job_uid", "uid"], unique=False)
    op.create_table(
        "object_in_agent_backup_job",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("uid", sa.LargeBinary(length=16), nullable=False),
        sa.Column("job_uid", sa.LargeBinary(length=16), nullable=True),
        sa.Column("file_server_uid", sa.LargeBinary(length=16), nullable=True),
        sa.Column("server_uid", sa.LargeBinary(length=16), nullable=True),
        sa.Column("object_in_job_id", sa.LargeBinary(length=16), nullable=True),
        sa.Column("name", sa.Text(), nullable=True),
        sa.Column("name_key", sa.Text(), nullable=True),
        sa.Column("display_name", sa.Text(), nullable=True),
        sa.Column("display_name_key", sa.Text(), nullable=True),
        sa.Column("guest_processing_options", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("uid", name="object_in_agent_backup_job_uid_is_unique"),
    )
    op.create_index(
        "object_in_agent_backup_job_by_job_uid",
        "object_in_agent_backup_job",
        ["job_uid", "uid"],
        unique=False,
    )
    op.create_table(
        "object_in_cdp_policy",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("uid", sa.LargeBinary(length=16), nullable=False),
        sa.Column("server_uid", sa.LargeBinary(length=16), nullable=True),
        sa.Column("policy_uid", sa.LargeBinary(length=16), nullable=True),
        sa.Column("object_in_job_id", sa.LargeBinary(length=16), nullable=True),
        sa.Column("hierarchy_obj_ref", sa.Text(), nullable=True),
        sa.Column("hierarchy_obj_ref_key", sa.Text(), nullable=True),
        sa.Column("name", sa.Text(), nullable=True),
        sa.Column("name_key", sa.Text(), nullable=True),
        sa.Column("display_name", sa.Text(), nullable=True),
        sa.Column("display_name_key", sa.Text(), nullable=True),
        sa.Column("order", sa.BigInteger(), nullable=True),
        sa.Column("guest_processing_options", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("uid", name="object_in_cdp_policy_uid_is_unique"),
    )
    op.create_index(
        "object_in_cdp_policy_by_policy_uid",
        "object_in_cdp_policy",
        ["policy_uid", "uid"],
        unique=False,
    )
    op.create_table(
        "passwords",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("uid", sa.LargeBinary(length=16), nullable=False),
        sa.Column("server_uid", sa.LargeBinary(length=16), nullable=True),
        sa.Column("password_key_id", sa.LargeBinary(length=16), nullable=True),
        sa.Column("hint", sa.Text(), nullable=True),
        sa.Column("hint_key", sa.Text(), nullable=True),
        sa.Column("last_modification_date", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("uid", name="passwords_uid_is_unique"),
    )
    op.create_index("passwords_by_server_uid", "passwords", ["server_uid", "uid"], unique=False)
    op.create_table(
        "replica",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("uid", sa.LargeBinary(length=16), nullable=False),
        sa.Column("server_uid", sa.LargeBinary(length=16), nullable=True),
        sa.Column("repository_uid", sa.LargeBinary(length=16), nullable=True),
        sa.Column("job_uid", sa.LargeBinary(length=16), nullable=True),
        sa.Column("name", sa.Text(), nullable=True),
        sa.Column("name_key", sa.Text(), nullable=True),
        sa.Column("platform", sa.SmallInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("uid", name="replica_uid_is_unique"),
    )
    op.create_index("replica_by_name_key", "replica", ["name_key", "uid"], unique=False)
    op.create_index("replica_by_repository_uid", "replica", ["repository_uid", "uid"], unique=False)
    op.create_table(
        "restore_session",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("uid", sa.LargeBinary(length=16), nullable=False),
        sa.Column("server_uid", sa.LargeBinary(length=16), nullable=True),
        sa.Column("point_uid", sa.LargeBinary(length=16), nullable=True),
        sa.Column("name", sa.Text(), nullable=True),
        sa.Column("name_key", sa.Text(), nullable=True),
        sa.Column("vm_display_name", sa.Text(), nullable=True),
        sa.Column("vm_display_name_key", sa.Text(), nullable=True),
        sa.Column("job_uid", sa.LargeBinary(length=16), nullable=True),
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
        sa.Column("restored_obj_ref", sa.Text(), nullable=True),
        sa.Column("restored_obj_ref_key", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("uid", name="restore_session_uid_is_unique"),
    )
    op.create_index(
        "restore_session_by_creation_time_utc",
        "restore_session",
        ["creation_time_utc", "uid"],
        unique=False,
    )
    op.create_index(
        "restore_session_by_name_key", "restore_session", ["name_key", "uid"], unique=False
    )
    op.create_table(
        "system_session",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("uid", sa.LargeBinary(length=16), nullable=False),
        sa.Column("server_uid", sa.LargeBinary(length=16), nullable=True),
        sa.Column("name", sa.Text(), nullable=True),
        sa.Column("name_key", sa.Text(), nullable=True),
        sa.Column("session_type", sa.SmallInteger(), nullable=True),
        sa.Column("creation_time_utc", sa.BigInteger(), nullable=True),
        sa.Column("end_time_utc", sa.BigInteger(), nullable=True),
        sa.Column("state", sa.SmallInteger(), nullable=True),
        sa.Column("result", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("uid", name="system_session_uid_is_unique"),
    )
    op.create_index(
        "system_session_by_creation_time_utc",
        "system_session",
        ["creation_time_utc", "uid"],
        unique=False,
    )
    op.create_index(
        "system_session_by_name_key", "system_session", ["name_key", "uid"], unique=False
    )
    op.create_table(
        "v_app_cdp_replica",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("uid", sa.LargeBinary(length=16), nullable=False),
        sa.Column("server_uid", sa.LargeBinary(length=16), nullable=True),
        sa.Column("policy_uid", sa.LargeBinary(length=16), nullable=True),
        sa.Column("replica_uid", sa.LargeBinary(length=16), nullable=True),
        sa.Column("name", sa.Text(), nullable=True),
        sa.Column("name_key", sa.Text(), nullable=True),
        sa.Column("v_app_ref", sa.Text(), nullable=True),
        sa.Column("v_app_ref_key", sa.Text(), nullable=True),
        sa.Column("backup_server", sa.Text(), nullable=True),
        sa.Column("backup_server_key", sa.Text(), nullable=True),
        sa.Column("policy_name", sa.Text(), nullable=True),
        sa.Column("policy_name_key", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("uid", name="v_app_cdp_replica_uid_is_unique"),
    )
    op.create_index(
        "v_app_cdp_replica_by_name_key", "v_app_cdp_replica", ["name_key", "uid"], unique=False
    )
    op.create_table(
        "v_app_cdp_replica_vm",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("uid", sa.LargeBinary(length=16), nullable=False),
        sa.Column("server_uid", sa.LargeBinary(length=16), nullable=True),
        sa.Column("policy_uid", sa.LargeBinary(length=16), nullable=True),
        sa.Column("v_app_uid", sa.LargeBinary(length=16), nullable=True),
        sa.Column("name", sa.Text(), nullable=True),
        sa.Column("name_key", sa.Text(), nullable=True),
        sa.Column("replica_uid", sa.LargeBinary(length=16), nullable=True),
        sa.Column("vm_ref", sa.Text(), nullable=True),
        sa.Column("vm_ref_key", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("uid", name="v_app_cdp_replica_vm_uid_is_unique"),
    )
    op.create_index(
        "v_app_cdp_replica_vm_by_name_key",
        "v_app_cdp_replica_vm",
        ["name_key", "uid"],
        unique=False,
    )
    op.create_index(
        "v_app_cdp_replica_vm_by_v_app_uid",
        "v_app_cdp_replica_vm",
        ["v_app_uid", "uid"],
        unique=False,
    )
    op.create_table(
        "v_app_replica_point",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("uid", sa.LargeBinary(length=16), nullable=False),
        sa.Column("server_uid", sa.LargeBinary(length=16), nullable=True),
        sa.Column("replica_uid", sa.LargeBinary(length=16), nullable=True),
        sa.Column("vm_point_uid", sa.LargeBinary(length=16), nullable=True),
        sa.Column("name", sa.Text(), nullable=True),
        sa.Column("name_key", sa.Text(), nullable=True),
        sa.Column("v_app_display_name", sa.Text(), nullable=True),
        sa.Column("v_app_display_name_key", sa.Text(), nullable=True),
        sa.Column("creation_time_utc", sa.BigInteger(), nullable=True),
        sa.Column("v_app_name", sa.Text(), nullable=True),
        sa.Column("v_app_name_key", sa.Text(), nullable=True),
        sa.Column("algorithm", sa.SmallInteger(), nullable=True),
        sa.Column("point_type", sa.SmallInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("uid", name="v_app_replica_point_uid_is_unique"),
    )
    op.create_index(
        "v_app_replica_point_by_creation_time_utc",
        "v_app_replica_point",
        ["creation_time_utc", "uid"],
        unique=False,
    )
    op.create_index(
        "v_app_replica_point_by_name_key", "v_app_replica_point", ["name_key", "uid"], unique=False
    )
    op.create_table(
        "v_app_restore_point",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("uid", sa.LargeBinary(length=16), nullable=False),
        sa.Column("server_uid", sa.LargeBinary(length=16), nullable=True),
        sa.Column("restore_point_uid", sa.LargeBinary(length=16), nullable=True),
        sa.Column("name", sa.Text(), nullable=True),
        sa.Column("name_key", sa.Text(), nullable=True),
        sa.Column("v_app_display_name", sa.Text(), nullable=True),
        sa.Column("v_app_display_name_key", sa.Text(), nullable=True),
        sa.Column("creation_time_utc", sa.BigInteger(), nullable=True),
        sa.Column("v_app_name", sa.Text(), nullable=True),
        sa.Column("v_app_name_key", sa.Text(), nullable=True),
        sa.Column("algorithm", sa.SmallInteger(), nullable=True),
        sa.Column("point_type", sa.SmallInteger(), nullable=True),
        sa.Column("hierarchy_obj_ref", sa.Text(), nullable=True),
        sa.Column("hierarchy_obj_ref_key", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("uid", name="v_app_restore_point_uid_is_unique"),
    )
    op.create_index(
        "v_app_restore_point_by_creation_time_utc",
        "v_app_restore_point",
        ["creation_time_utc", "uid"],
        unique=False,
    )
    op.create_index(
        "v_app_restore_point_by_name_key", "v_app_restore_point", ["name_key", "uid"], unique=False
    )
    op.create_index(
        "v_app_restore_point_by_restore_point_uid",
        "v_app_restore_point",
        ["restore_point_uid", "uid"],
        unique=False,
    )
    op.create_table(
        "v_cloud_organization_config",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("uid", sa.LargeBinary(length=16), nullable=False),
        sa.Column("server_uid", sa.LargeBinary(length=16), nullable=True),
        sa.Column("name", sa.Text(), nullable=True),
        sa.Column("name_key", sa.Text(), nullable=True),
        sa.Column("backup_server_uid", sa.LargeBinary(length=16), nullable=True),
        sa.Column("repository_uid", sa.LargeBinary(length=16), nullable=True),
        sa.Column("quota_gb", sa.BigInteger(), nullable=True),
        sa.Column("is_disabled", sa.SmallInteger(), nullable=True),
        sa.Column("job_settings", sa.Text(), nullable=True),
        sa.Column("used_quota_mb", sa.BigInteger(), nullable=True),
        sa.Column("host_uid", sa.LargeBinary(length=16), nullable=True),
        sa.Column("repository_friendly_name", sa.Text(), nullable=True),
        sa.Column("repository_friendly_name_key", sa.Text(), nullable=True),
        sa.Column("job_scheduler_type", sa.SmallInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("uid", name="v_cloud_organization_config_uid_is_unique"),
    )
    op.create_index(
        "v_cloud_organization_config_by_name_key",
        "v_cloud_organization_config",
        ["name_key", "uid"],
        unique=False,
    )
    op.create_table(
        "v_sphere_self_service_config",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("uid", sa.LargeBinary(length=16), nullable=False),
        sa.Column("server_uid", sa.LargeBinary(length=16), nullable=True),
        sa.Column("name", sa.Text(), nullable=True),
        sa.Column("name_key", sa.Text(), nullable=True),
        sa.Column("backup_server_uid", sa.LargeBinary(length=16), nullable=True),
        sa.Column("repository_uid", sa.LargeBinary(length=16), nullable=True),
        sa.Column("quota_gb", sa.BigInteger(), nullable=True),
        sa.Column("per_user", sa.SmallInteger(), nullable=True),
        sa.Column("account", sa.Text(), nullable=True),
        sa.Column("job_settings", sa.Text(), nullable=True),
        sa.Column("v_centers_scope", sa.Text(), nullable=True),
        sa.Column("tags", sa.Text(), nullable=True),
        sa.Column("used_quota_mb", sa.BigInteger(), nullable=True),
        sa.Column("job_scheduler_type", sa.SmallInteger(), nullable=True),
        sa.Column("account_type", sa.SmallInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("uid", name="v_sphere_self_service_config_uid_is_unique"),
    )
    op.create_index(
        "v_sphere_self_service_config_by_name_key",
        "v_sphere_self_service_config",
        ["name_key", "uid"],
        unique=False,
    )
    op.create_table(
        "vlan_configuration",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("uid", sa.LargeBinary(length=16), nullable=False),
        sa.Column("server_uid", sa.LargeBinary(length=16), nullable=True),
        sa.Column("name", sa.Text(), nullable=True),
        sa.Column("name_key", sa.Text(), nullable=True),
        sa.Column("host_ref", sa.Text(), nullable=True),
        sa.Column("host_ref_key", sa.Text(), nullable=True),
        sa.Column("platform_type", sa.SmallInteger(), nullable=True),
        sa.Column("vlan_ids_with_internet_left_bound", sa.BigInteger(), nullable=True),
        sa.Column("vlan_ids_with_internet_right_bound", sa.BigInteger(), nullable=True),
        sa.Column("vlan_ids_without_internet_left_bound", sa.BigInteger(), nullable=True),
        sa.Column("vlan_ids_without_internet_right_bound", sa.BigInteger(), nullable=True),
        sa.Column("switch_name", sa.Text(), nullable=True),
        sa.Column("switch_name_key", sa.Text(), nullable=True),
        sa.Column("switch_id", sa.Text(), nullable=True),
        sa.Column("switch_id_key", sa.Text(), nullable=True),
        sa.Column("switch_type", sa.SmallInteger(), nullable=True),
        sa.Column("cluster_name", sa.Text(), nullable=True),
        sa.Column("cluster_name_key", sa.Text(), nullable=True),
        sa.Column("cluster_id", sa.Text(), nullable=True),
        sa.Column("cluster_id_key", sa.Text(), nullable=True),
        sa.Column("cluster_ref", sa.Text(), nullable=True),
        sa.Column("cluster_ref_key", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("uid", name="vlan_configuration_uid_is_unique"),
    )
    op.create_index(
        "vlan_configuration_by_name_key", "vlan_configuration", ["name_key", "uid"], unique=False
    )
    op.create_table(
        "vm_replica_point",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("uid", sa.LargeBinary(length=16), nullable=False),
        sa.Column("server_uid", sa.LargeBinary(length=16), nullable=True),
        sa.Column("replica_uid", sa.LargeBinary(length=16), nullable=True),
        sa.Column("name", sa.Text(), nullable=True),
        sa.Column("name_key", sa.Text(), nullable=True),
        sa.Column("vm_display_name", sa.Text(), nullable=True),
        sa.Column("vm_display_name_key", sa.Text(), nullable=True),
        sa.Column("creation_time_utc", sa.BigInteger(), nullable=True),
        sa.Column("vm_name", sa.Text(), nullable=True),
        sa.Column("vm_name_key", sa.Text(), nullable=True),
        sa.Column("algorithm", sa.SmallInteger(), nullable=True),
        sa.Column("point_type", sa.SmallInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("uid", name="vm_replica_point_uid_is_unique"),
    )
    op.create_index(
        "vm_replica_point_by_creation_time_utc",
        "vm_replica_point",
        ["creation_time_utc", "uid"],
        unique=False,
    )
    op.create_index(
        "vm_replica_point_by_name_key", "vm_replica_point", ["name_key", "uid"], unique=False
    )
    op.create_index(
        "vm_replica_point_by_replica_uid", "vm_replica_point", ["replica_uid", "uid"], unique=False
    )
    op.create_table(
        "wan_accelerator",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("uid", sa.LargeBinary(length=16), nullable=False),
        sa.Column("server_uid", sa.LargeBinary(length=16), nullable=True),
        sa.Column("name", sa.Text(), nullable=True),
        sa.Column("name_key", sa.Text(), nullable=True),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("description_key", sa.Text(), nullable=True),
        sa.Column("out_of_date", sa.SmallInteger(), nullable=True),
        sa.Column("version", sa.Text(), nullable=True),
        sa.Column("version_key", sa.Text(), nullable=True),
        sa.Column("capacity", sa.BigInteger(), nullable=True),
        sa.Column("traffic_port", sa.BigInteger(), nullable=True),
        sa.Column("connections_count", sa.BigInteger(), nullable=True),
        sa.Column("cache_path", sa.Text(), nullable=True),
        sa.Column("cache_path_key", sa.Text(), nullable=True),
        sa.Column("high_bandwidth_mode_enabled", sa.SmallInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("uid", name="wan_accelerator_uid_is_unique"),
    )
    op.create_index(
        "wan_accelerator_by_name_key", "wan_accelerator", ["name_key", "uid"], unique=False
    )
    op.add_column(
        "backup", sa.Column("external_repository_uid", sa.LargeBinary(length=16), nullable=True)
    )
    op.add_column(
        "backup", sa.Column("parent_backup_uid", sa.LargeBinary(length=16), nullable=True)
    )
    op.create_index(
        "backup_by_external_repository_uid",
        "backup",
        ["external_repository_uid", "uid"],
        unique=False,
    )
    op.create_index(
        "backup_by_parent_backup_uid", "backup", ["parent_backup_uid", "uid"], unique=False
    )
    op.add_column(
        "backup_job_session",
        sa.Column("parent_session_uid", sa.LargeBinary(length=16), nullable=True),
    )
    op.create_index(
        "backup_job_session_by_parent_session_uid",
        "backup_job_session",
        ["parent_session_uid", "uid"],
        unique=False,
    )
    op.add_column("backup_server", sa.Column("wcf_port", sa.BigInteger(), nullable=True))
    op.add_column(
        "backup_server", sa.Column("vbr_certificate_thumbprint", sa.Text(), nullable=True)
    )
    op.add_column(
        "backup_server", sa.Column("vbr_certificate_thumbprint_key", sa.Text(), nullable=True)
    )
    op.add_column(
        "managed_server", sa.Column("hierarchy_root_uid", sa.LargeBinary(length=16), nullable=True)
    )
    op.add_column("object_in_job", sa.Column("guest_processing_options", sa.Text(), nullable=True))
    op.add_column("vm_restore_point", sa.Column("sql_info", sa.Text(), nullable=True))
