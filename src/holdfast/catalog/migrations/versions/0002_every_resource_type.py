"""The tables of every other resource type, and what the first ones lacked."""

from __future__ import annotations

from collections.abc import Iterator

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def _columns(
    uids: str = "",
    texts: str = "",
    structures: str = "",
    smalls: str = "",
    numbers: str = "",
) -> Iterator[sa.Column]:  # type: ignore[type-arg]
    """Given names of columns by what they hold, return the columns."""
    for name in uids.split():
        yield sa.Column(name, sa.LargeBinary(length=16), nullable=True)
    for name in texts.split():
        # Each beside the form by which it is compared.
        yield sa.Column(name, sa.Text(), nullable=True)
        yield sa.Column(f"{name}_key", sa.Text(), nullable=True)
    for name in structures.split():
        yield sa.Column(name, sa.Text(), nullable=True)
    for name in smalls.split():
        yield sa.Column(name, sa.SmallInteger(), nullable=True)
    for name in numbers.split():
        yield sa.Column(name, sa.BigInteger(), nullable=True)


def _table(name: str, **columns: str) -> None:
    """Given a type's table and its columns by what they hold, make it."""
    row_id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        name,
        sa.Column("id", row_id, nullable=False),
        sa.Column("uid", sa.LargeBinary(length=16), nullable=False),
        *_columns(**columns),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("uid", name=f"{name}_uid_is_unique"),
    )


def _add(table: str, **columns: str) -> None:
    """Given a table that there is and further columns of it, add them."""
    for column in _columns(**columns):
        op.add_column(table, column)


def _index(table: str, *columns: str) -> None:
    """Given a table and columns, make the index by them and, among equals, by UID."""
    op.create_index(f"{table}_by_{'_'.join(columns)}", table, [*columns, "uid"], unique=False)


def upgrade() -> None:
    """Make the tables, columns and indexes."""
    _table(
        "agent_backup_job",
        uids="server_uid",
        texts="name description",
        smalls="job_type platform schedule_configured schedule_enabled",
        numbers="next_run",
        structures="job_schedule_options job_info",
    )
    _index("agent_backup_job", "name_key")
    _table(
        "agent_protection_group",
        uids="server_uid",
        texts="name hierarchy_obj_ref",
        smalls="rescan_schedule_enabled",
    )
    _index("agent_protection_group", "name_key")
    _table(
        "agent_restore_point",
        uids="server_uid restore_point_uid backup_file_uid",
        texts="name computer_name",
        numbers="creation_time_utc",
        smalls="algorithm point_type",
    )
    _index("agent_restore_point", "computer_name_key", "creation_time_utc")
    _index("agent_restore_point", "creation_time_utc")
    _index("agent_restore_point", "name_key")
    _index("agent_restore_point", "restore_point_uid")
    _table(
        "catalog_vm",
        uids="server_uid",
        texts="name vm_display_name",
    )
    _index("catalog_vm", "name_key")
    _table(
        "catalog_vm_restore_point",
        uids="server_uid vm_uid point_uid",
        texts="name",
        numbers="backup_date_utc",
    )
    _index("catalog_vm_restore_point", "name_key")
    _index("catalog_vm_restore_point", "vm_uid")
    _table(
        "cdp_policy",
        uids="server_uid",
        texts="name policy_type description",
        smalls="platform schedule_configured schedule_enabled",
        numbers="next_run",
        structures="policy_schedule_options cdp_policy_info",
    )
    _index("cdp_policy", "name_key")
    _table(
        "cdp_replica",
        uids="server_uid policy_uid",
        texts="name backup_server policy_name",
    )
    _index("cdp_replica", "name_key")
    _table(
        "cdp_replica_session",
        uids="server_uid policy_uid",
        texts="name policy_name policy_type failure_message",
        numbers="creation_time_utc end_time_utc progress",
        smalls="state result is_retry",
    )
    _index("cdp_replica_session", "creation_time_utc")
    _index("cdp_replica_session", "name_key")
    _index("cdp_replica_session", "policy_uid", "creation_time_utc")
    _table(
        "cdp_replica_task_session",
        uids="server_uid policy_session_uid",
        texts="name vm_display_name reason",
        numbers="creation_time_utc end_time_utc total_size",
        smalls="state result",
    )
    _index("cdp_replica_task_session", "creation_time_utc")
    _index("cdp_replica_task_session", "name_key")
    _index("cdp_replica_task_session", "policy_session_uid", "creation_time_utc")
    _table(
        "cdp_replica_vm",
        uids="server_uid policy_uid replica_uid repository_uid",
        texts="name vm_ref backup_server policy_name repository_name",
    )
    _index("cdp_replica_vm", "name_key")
    _index("cdp_replica_vm", "replica_uid")
    _table(
        "cloud_failover_plan",
        uids="server_uid tenant_uid",
        texts="name tenant_name description",
        structures="cloud_failover_plan_options cloud_failover_plan_info",
    )
    _index("cloud_failover_plan", "name_key")
    _table(
        "cloud_failover_session",
        uids="server_uid job_uid",
        texts="name cloud_failover_plan_name job_name failure_message",
        smalls="job_type state result",
        numbers="creation_time_utc end_time_utc progress",
        structures="cloud_failover_tasks",
    )
    _index("cloud_failover_session", "creation_time_utc")
    _index("cloud_failover_session", "name_key")
    _table(
        "cloud_failovered_vm",
        uids="server_uid plan_uid failover_plan_vm_id",
        texts="name",
        numbers="order",
    )
    _index("cloud_failovered_vm", "plan_uid")
    _table(
        "cloud_gateway",
        uids="server_uid pool_uid",
        texts="name dns_name_or_ip_address network_mode external_ip description",
        smalls="enabled",
        numbers="external_port internal_port",
    )
    _index("cloud_gateway", "name_key")
    _index("cloud_gateway", "pool_uid")
    _table(
        "cloud_gateway_pool",
        uids="server_uid",
        texts="name description",
        structures="cloud_gateways cloud_tenants",
    )
    _index("cloud_gateway_pool", "name_key")
    _table(
        "cloud_hardware_plan",
        uids="server_uid",
        texts="name description",
        numbers="processor_usage_limit_mhz memory_usage_limit_mb",
        structures="hardware_plan_details",
        smalls="platform",
    )
    _index("cloud_hardware_plan", "name_key")
    _table(
        "cloud_public_ip_address",
        uids="server_uid tenant_uid backup_server_uid",
        texts="name ip_address",
    )
    _index("cloud_public_ip_address", "name_key")
    _table(
        "cloud_replica",
        uids="server_uid",
        texts="name",
        smalls="platform",
    )
    _index("cloud_replica", "name_key")
    _table(
        "cloud_subtenant",
        uids="server_uid tenant_uid subtenant_id backup_resource_id",
        texts="name description password",
        smalls="enabled disabled unlimited",
        structures="repository_quota",
        numbers="quota used_quota",
    )
    _index("cloud_subtenant", "tenant_uid")
    _table(
        "cloud_tenant",
        uids="server_uid",
        texts="name password description last_result organization_reference",
        smalls=(
            "enabled throttling_enabled throttling_speed_unit backup_protection_enabled "
            "failover_to_other_gateways_if_fail kind"
        ),
        structures=(
            "lease_options resources compute_resources tenant_type "
            "v_cloud_compute_resources cloud_gateway_pools"
        ),
        numbers=(
            "last_active vm_count throttling_speed_limit public_ip_count backup_count "
            "replica_count max_concurrent_tasks work_station_backup_count "
            "server_backup_count backup_protection_period"
        ),
    )
    _index("cloud_tenant", "name_key")
    _table(
        "cloud_tenant_compute_resource",
        uids=("server_uid tenant_uid resource_id cloud_hardware_plan_uid wan_accelerator_uid"),
        smalls="platform_type use_network_failover_resources",
        structures="network_appliance compute_resource_stats",
    )
    _index("cloud_tenant_compute_resource", "tenant_uid")
    _table(
        "cloud_tenant_resource",
        uids="server_uid tenant_uid resource_id",
        structures="repository_quota",
    )
    _index("cloud_tenant_resource", "tenant_uid")
    _table(
        "cloud_tenant_v_cloud_compute_resource",
        uids="server_uid tenant_uid resource_id wan_accelerator_uid",
        texts="virtual_data_center_name virtual_data_center_ref",
        smalls="enabled allocation_model use_network_failover_resources",
        structures="resource_usage network_appliance",
    )
    _index("cloud_tenant_v_cloud_compute_resource", "tenant_uid")
    _table(
        "cloud_vm_replica_point",
        uids="server_uid replica_uid",
        texts="name vm_display_name vm_name",
        numbers="creation_time_utc",
        smalls="point_type state",
    )
    _index("cloud_vm_replica_point", "creation_time_utc")
    _index("cloud_vm_replica_point", "name_key")
    _index("cloud_vm_replica_point", "replica_uid")
    _table(
        "credentials",
        uids="server_uid credentials_id",
        texts="username description password",
    )
    _index("credentials", "server_uid")
    _table(
        "discovered_computer",
        uids="server_uid protection_group_uid",
        texts="name host_status agent_version os_version ip_address hierarchy_obj_ref",
        smalls="agent_status",
    )
    _index("discovered_computer", "name_key")
    _index("discovered_computer", "protection_group_uid")
    _table(
        "enterprise_account",
        texts="name",
        smalls="account_type allow_restore_all_vms",
        structures="flr_settings sql_settings",
    )
    _index("enterprise_account", "name_key")
    _table(
        "enterprise_account_hierarchy_scope",
        uids="account_uid hierarchy_root_uid",
        texts="name hierarchy_root_name hierarchy_object_type",
        smalls="platform state",
    )
    _index("enterprise_account_hierarchy_scope", "account_uid")
    _table(
        "enterprise_account_in_role",
        uids="account_uid role_uid",
        texts="role_name",
    )
    _index("enterprise_account_in_role", "account_uid")
    _table(
        "enterprise_role",
        texts="name",
    )
    _index("enterprise_role", "name_key")
    _table(
        "external_repository",
        uids="server_uid",
        texts="name path description",
        smalls="repository_type",
        numbers="used_space",
    )
    _index("external_repository", "name_key")
    _index("external_repository", "server_uid")
    _table(
        "failover_plan",
        uids="server_uid",
        texts="name description",
        structures="failover_plan_info",
    )
    _index("failover_plan", "name_key")
    _table(
        "file_server",
        uids="server_uid",
        texts="name server_type hierarchy_obj_ref",
        structures=(
            "smb_server_options nfs_server_options file_server_options processing_options "
            "nas_server_advanced_options"
        ),
    )
    _index("file_server", "name_key")
    _table(
        "hierarchy_root",
        uids="server_uid managed_server_uid",
        texts="name hierarchy_root_id unique_id",
        smalls="host_type",
    )
    _index("hierarchy_root", "name_key")
    _table(
        "linked_backup_repository_object",
        uids="job_uid server_uid object_in_job_id linked_backup_repository_uid",
    )
    _index("linked_backup_repository_object", "job_uid")
    _table(
        "linked_job_object",
        uids="job_uid server_uid object_in_job_id linked_job_uid",
    )
    _index("linked_job_object", "job_uid")
    _table(
        "nas_job",
        uids="server_uid",
        texts="name description",
        structures="includes storage_options job_schedule_options",
        smalls="schedule_configured schedule_enabled",
        numbers="next_run",
    )
    _index("nas_job", "name_key")
    _table(
        "nas_object",
        uids="job_uid file_server_uid server_uid object_in_job_id",
        texts="hierarchy_obj_ref file_or_folder",
        structures="inclusion_mask exclusion_mask",
    )
    _index("nas_object", "job_uid")
    _table(
        "object_in_agent_backup_job",
        uids="job_uid file_server_uid server_uid object_in_job_id",
        texts="name display_name",
        structures="guest_processing_options",
    )
    _index("object_in_agent_backup_job", "job_uid")
    _table(
        "object_in_cdp_policy",
        uids="server_uid policy_uid object_in_job_id",
        texts="hierarchy_obj_ref name display_name",
        numbers="order",
        structures="guest_processing_options",
    )
    _index("object_in_cdp_policy", "policy_uid")
    _table(
        "passwords",
        uids="server_uid password_key_id",
        texts="hint",
        numbers="last_modification_date",
    )
    _index("passwords", "server_uid")
    _table(
        "replica",
        uids="server_uid repository_uid job_uid",
        texts="name",
        smalls="platform",
    )
    _index("replica", "name_key")
    _index("replica", "repository_uid")
    _table(
        "restore_session",
        uids="server_uid point_uid job_uid",
        texts="name vm_display_name job_name failure_message restored_obj_ref",
        smalls="job_type state result",
        numbers="creation_time_utc end_time_utc progress",
    )
    _index("restore_session", "creation_time_utc")
    _index("restore_session", "name_key")
    _table(
        "system_session",
        uids="server_uid",
        texts="name",
        smalls="session_type state",
        numbers="creation_time_utc end_time_utc",
        structures="result",
    )
    _index("system_session", "creation_time_utc")
    _index("system_session", "name_key")
    _table(
        "v_app_cdp_replica",
        uids="server_uid policy_uid replica_uid",
        texts="name v_app_ref backup_server policy_name",
    )
    _index("v_app_cdp_replica", "name_key")
    _table(
        "v_app_cdp_replica_vm",
        uids="server_uid policy_uid v_app_uid replica_uid",
        texts="name vm_ref",
    )
    _index("v_app_cdp_replica_vm", "name_key")
    _index("v_app_cdp_replica_vm", "v_app_uid")
    _table(
        "v_app_replica_point",
        uids="server_uid replica_uid vm_point_uid",
        texts="name v_app_display_name v_app_name",
        numbers="creation_time_utc",
        smalls="algorithm point_type",
    )
    _index("v_app_replica_point", "creation_time_utc")
    _index("v_app_replica_point", "name_key")
    _table(
        "v_app_restore_point",
        uids="server_uid restore_point_uid",
        texts="name v_app_display_name v_app_name hierarchy_obj_ref",
        numbers="creation_time_utc",
        smalls="algorithm point_type",
    )
    _index("v_app_restore_point", "creation_time_utc")
    _index("v_app_restore_point", "name_key")
    _index("v_app_restore_point", "restore_point_uid")
    _table(
        "v_cloud_organization_config",
        uids="server_uid backup_server_uid repository_uid host_uid",
        texts="name repository_friendly_name",
        numbers="quota_gb used_quota_mb",
        smalls="is_disabled job_scheduler_type",
        structures="job_settings",
    )
    _index("v_cloud_organization_config", "name_key")
    _table(
        "v_sphere_self_service_config",
        uids="server_uid backup_server_uid repository_uid",
        texts="name",
        numbers="quota_gb used_quota_mb",
        smalls="per_user job_scheduler_type account_type",
        structures="account job_settings v_centers_scope tags",
    )
    _index("v_sphere_self_service_config", "name_key")
    _table(
        "vlan_configuration",
        uids="server_uid",
        texts="name host_ref switch_name switch_id cluster_name cluster_id cluster_ref",
        smalls="platform_type switch_type",
        numbers=(
            "vlan_ids_with_internet_left_bound vlan_ids_with_internet_right_bound "
            "vlan_ids_without_internet_left_bound vlan_ids_without_internet_right_bound"
        ),
    )
    _index("vlan_configuration", "name_key")
    _table(
        "vm_replica_point",
        uids="server_uid replica_uid",
        texts="name vm_display_name vm_name",
        numbers="creation_time_utc",
        smalls="algorithm point_type",
    )
    _index("vm_replica_point", "creation_time_utc")
    _index("vm_replica_point", "name_key")
    _index("vm_replica_point", "replica_uid")
    _table(
        "wan_accelerator",
        uids="server_uid",
        texts="name description version cache_path",
        smalls="out_of_date high_bandwidth_mode_enabled",
        numbers="capacity traffic_port connections_count",
    )
    _index("wan_accelerator", "name_key")
    _add("backup", uids="external_repository_uid parent_backup_uid")
    _add("backup_job_session", uids="parent_session_uid")
    _add("backup_server", numbers="wcf_port", texts="vbr_certificate_thumbprint")
    _add("managed_server", uids="hierarchy_root_uid")
    _add("object_in_job", structures="guest_processing_options")
    _add("vm_restore_point", structures="sql_info")
    _index("backup", "external_repository_uid")
    _index("backup", "parent_backup_uid")
    _index("backup_job_session", "parent_session_uid")
