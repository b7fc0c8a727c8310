"""What can be asked of every type that can be queried, written down by hand."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Asked:
    """Where the answer to a query stands, and the query fields.

    Of an enumeration the values follow, in the order by which they are compared.
    """

    answer: str
    fields: str


ASKED = {
    "AgentBackupJob": Asked(
        "Entities/AgentBackupJob/AgentBackupJob",
        (
            "UID Name Description JobType=AgentBackup Platform=AgentForLinux|"
            "AgentForWindows ScheduleConfigured ScheduleEnabled BackupServerUid "
            "BackupServerName"
        ),
    ),
    "AgentProtectionGroup": Asked(
        "Entities/AgentProtectionGroups/AgentProtectionGroup",
        "UID Name BackupServerUid BackupServerName",
    ),
    "AgentRestorePoint": Asked(
        "Entities/AgentRestorePoints/AgentRestorePoint",
        (
            "UID Name CreationTime ComputerName Type=Full|Increment Algorithm=Full|"
            "Incremental|SyntheticFull RestorePointId RestorePointName BackupUid "
            "BackupName BackupFileUid BackupFileName BackupServerUid BackupServerName"
        ),
    ),
    "Backup": Asked(
        "Entities/Backups/Backup",
        (
            "UID Name JobUid JobName RepositoryUid RepositoryName Platform=VMware|HyperV|"
            "vCloud|AgentForLinux|AgentForWindows|CustomPlatform BackupType=Standard|"
            "ParentBackup|ChildBackup"
        ),
    ),
    "BackupFile": Asked(
        "Entities/BackupFiles/BackupFile",
        (
            "UID Name CreationTimeUTC BackupSize DataSize CompressRatio FileType=vbk|vib|"
            "vrb BackupUid BackupName BackupServerUid BackupServerName"
        ),
    ),
    "BackupJobSession": Asked(
        "Entities/BackupJobSessions/BackupJobSession",
        (
            "UID Name JobType=Backup|BackupCopy|ImmediateBackupCopy|"
            "ImmediateBackupCopyWorker|AgentBackup|AgentManagement|NasBackup JobUid "
            "JobName CreationTime EndTime State=Starting|Stopping|Working|Pausing|"
            "Resuming|Stopped Result=Success|Warning|Failed IsRetry BackupServerUid "
            "BackupServerName"
        ),
    ),
    "BackupServer": Asked(
        "Entities/BackupServers/BackupServer",
        "UID Name Description IpOrDnsName Port Version",
    ),
    "BackupTaskSession": Asked(
        "Entities/BackupTaskSessions/BackupTaskSession",
        (
            "UID Name CreationTime EndTime State=InProgress|Pending|Completed "
            "Result=Success|Warning|Failed Reason TotalSize JobSessionUid JobUid JobName "
            "BackupServerUid BackupServerName VmDisplayName"
        ),
    ),
    "CdpPolicy": Asked(
        "Entities/CdpPolicies/CdpPolicy",
        (
            "UID Name Description NextRun ScheduleConfigured ScheduleEnabled "
            "BackupServerUid BackupServerName"
        ),
    ),
    "CdpReplica": Asked(
        "Entities/CdpReplicas/CdpReplica",
        "UID Name PolicyId PolicyName BackupServerUid BackupServerName",
    ),
    "CdpReplicaSession": Asked(
        "Entities/CdpReplicaSessions/CdpPolicySession",
        (
            "Id Name PolicyUid PolicyName BackupServerUid BackupServerName "
            "CreationTimeUTC EndTimeUTC State=Starting|Stopping|Working|Pausing|Resuming|"
            "Stopped Result=Success|Warning|Failed FailureMessage"
        ),
    ),
    "CdpReplicaTaskSession": Asked(
        "Entities/CdpReplicaTaskSessions/CdpReplicaTaskSession",
        (
            "Id Name PolicySessionUid PolicySessionName BackupServerUid BackupServerName "
            "CreationTimeUTC EndTimeUTC State=InProgress|Pending|Completed Reason "
            "TotalSize VmDisplayName"
        ),
    ),
    "CloudFailoverPlan": Asked(
        "Entities/CloudFailoverPlans/CloudFailoverPlan",
        "UID Name Description CloudTenantUid CloudTenantName BackupServerUid BackupServerName",
    ),
    "CloudFailoverSession": Asked(
        "Entities/CloudFailoverSessions/CloudFailoverSession",
        (
            "UID Name Type=FailoverPlan CreationTime EndTime State=Starting|Stopping|"
            "Working|Stopped Result=Success|Warning|Failed FailureMessage "
            "BackupServerUid BackupServerName"
        ),
    ),
    "CloudGateway": Asked(
        "Entities/CloudGateways/CloudGateway",
        "UID Name Enabled Description BackupServerUId BackupServerName",
    ),
    "CloudGatewayPool": Asked(
        "Entities/CloudGatewayPools/CloudGatewayPool",
        "UID Name Description BackupServerUid BackupServerName",
    ),
    "CloudHardwarePlan": Asked(
        "Entities/CloudHardwarePlans/CloudHardwarePlan",
        "UID Name Platform=VMware|HyperV BackupServerUId BackupServerName",
    ),
    "CloudPublicIpAddress": Asked(
        "Entities/CloudPublicIps/CloudPublicIp",
        "UID Name IpAddress CloudTenantUid CloudTenantName BackupServerUId BackupServerName",
    ),
    "CloudReplica": Asked(
        "Entities/CloudReplicas/CloudReplica",
        "UID Name Platform=VMware|HyperV|vCloud",
    ),
    "CloudSubtenant": Asked(
        "Resources/CloudSubtenants/CloudSubtenant",
        (
            "UID Name CloudTenantUid CloudTenantName Disabled Unlimited Quota UsedQuota "
            "BackupResourceId BackupServerUID BackupServerName"
        ),
    ),
    "CloudTenant": Asked(
        "Entities/CloudTenants/CloudTenant",
        (
            "UID Name Enabled BackupServerUId BackupServerName Type=vCD|Standalone|"
            "ActiveDirectory OrganizationReference"
        ),
    ),
    "CloudVmReplicaPoint": Asked(
        "Entities/CloudVmReplicaPoints/CloudReplica",
        (
            "UID Name CreationTime VmName Type=CDP|Full|ReverseIncrement|Increment|"
            "Snapshot ReplicaUid ReplicaName VmDisplayName BackupServerUid "
            "BackupServerName State=Unknown|Ready|Failover|Failback|PermanentFailover"
        ),
    ),
    "Credentials": Asked(
        "Resources/CredentialsList/CredentialsInfo",
        "Username Description BackupServerUid CredentialsId",
    ),
    "DiscoveredComputer": Asked(
        "Entities/DiscoveredComputers/DiscoveredComputer",
        (
            "UID Name BackupServerUid BackupServerName AgentVersion "
            "AgentStatus=NotInstalled|Installed|UnsupportedOs|Failed|Exclude OsVersion "
            "IpAddress ProtectionGroupUid ProtectionGroupName"
        ),
    ),
    "FailoverPlan": Asked(
        "Entities/FailoverPlans/FailoverPlan",
        "UID Name Description BackupServerUid BackupServerName",
    ),
    "FileServer": Asked(
        "Entities/FileServers/FileServer",
        "UID Name BackupServerUid BackupServerName",
    ),
    "HierarchyRoot": Asked(
        "Entities/HierarchyRoots/HierarchyRoot",
        (
            "UID Name UniqueId HostType=ESX|VC|ESXi|HvServer|HvCluster|Scvmm|VcdSystem "
            "BackupServerUid BackupServerName"
        ),
    ),
    "Job": Asked(
        "Entities/Jobs/Job",
        (
            "UID Name Description NextRun JobType=Backup|BackupCopy|ImmediateBackupCopy|"
            "Replica Platform=VMware|Hyperv|vCloud ScheduleConfigured ScheduleEnabled "
            "BackupServerUid BackupServerName"
        ),
    ),
    "ManagedServer": Asked(
        "Entities/ManagedServers/ManagedServer",
        (
            "UID Name Description ManagedServerType=ESX|VC|Linux|Local|Windows|ESXi|"
            "HvServer|HvCluster|Scvmm|BackupServer|SanHost|SmbServer|SmbCluster|"
            "VcdSystem|Cloud|AzureWinServer|VmSnapshotStorageHost|ConfigurationService|"
            "ExternalInfrastructureProxy|NdmpServer|ExternalInfrastructureServer"
        ),
    ),
    "NasJob": Asked(
        "Entities/NASJobs/NASJob",
        (
            "UID Name Description NextRun ScheduleConfigured ScheduleEnabled "
            "BackupServerUid BackupServerName"
        ),
    ),
    "NasObject": Asked(
        "Resources/NASObjects/NASObject",
        ("UID Name JobUid JobName FileServerUid FileServerName BackupServerUid BackupServerName"),
    ),
    "ObjectInAgentBackupJob": Asked(
        "Resources/ObjectsInAgentBackupJob/ObjectInAgentBackupJob",
        (
            "UID DisplayName JobUid JobName FileServerUid FileServerName BackupServerUid "
            "BackupServerName"
        ),
    ),
    "ObjectInJob": Asked(
        "Resources/ObjectsInJob/ObjectInJob",
        "UID Name JobUid JobName BackupServerUid BackupServerName",
    ),
    "Passwords": Asked(
        "Resources/PasswordKeyInfoList/PasswordKeyInfo",
        "PasswordKeyID Hint BackupServerUid BackupServerName",
    ),
    "Replica": Asked(
        "Entities/Replicas/Replica",
        "UID Name JobUid JobName RepositoryUid RepositoryName",
    ),
    "ReplicaJobSession": Asked(
        "Entities/ReplicaJobSessions/ReplicaJobSession",
        (
            "UID Name JobType=Replica JobUid JobName CreationTime EndTime State=Starting|"
            "Stopping|Working|Pausing|Resuming|Stopped Result=Success|Warning|Failed "
            "IsRetry BackupServerUid BackupServerName"
        ),
    ),
    "ReplicaTaskSession": Asked(
        "Entities/ReplicaTaskSessions/ReplicaTaskSession",
        (
            "UID Name CreationTime EndTime State=InProgress|Pending|Completed "
            "Result=Success|Warning|Failed Reason TotalSize JobSessionUid JobUid JobName "
            "BackupServerUid BackupServerName VmDisplayName"
        ),
    ),
    "Repository": Asked(
        "Entities/Repositories/Repository",
        "UID Name FreeSpace Capacity BackupServerUid BackupServerName",
    ),
    "RestorePoint": Asked(
        "Entities/RestorePoints/RestorePoint",
        "UID Name CreationTime BackupUid BackupName BackupServerUid BackupServerName",
    ),
    "RestoreSession": Asked(
        "Entities/RestoreSessions/RestoreSession",
        (
            "UID Name Type=FileLevelRestore|RestoreVm CreationTime EndTime "
            "State=Starting|Stopping|Working|Stopped Result=Success|Warning|Failed "
            "BackupServerUid BackupServerName VmDisplayName"
        ),
    ),
    "Task": Asked(
        "Resources/Tasks/Task",
        "TaskId State=Running|OperationFinished|Finished Operation",
    ),
    "vAppReplicaPoint": Asked(
        "Entities/VAppReplicaPoints/VAppReplicaPoint",
        (
            "UID Name vAppDisplayName CreationTime vAppName Type=Full|ReverseIncrement|"
            "Increment|Snapshot Algorithm=Full|ReversedIncremental|Incremental|"
            "SyntheticFull ReplicaUid ReplicaName BackupServerUid BackupServerName"
        ),
    ),
    "vAppRestorePoint": Asked(
        "Entities/VAppRestorePoints/VAppRestorePoint",
        (
            "UID Name CreationTime Type=Full|Increment|ReverseIncrement Algorithm=Full|"
            "ReversedIncremental|Incremental|SyntheticFull RestorePointId "
            "VAppDisplayName BackupServerUid BackupServerName"
        ),
    ),
    "VCloudOrganizationConfig": Asked(
        "Entities/VCloudOrganizationConfigs/VCloudOrganizationConfig",
        (
            "UID Name RepositoryUid QuotaGb Disabled JobSchedulerType=Full|Partial|"
            "Random|Disabled UsedQuota BackupServerUid BackupServerName HostUid "
            "RepositoryFriendlyName"
        ),
    ),
    "VlanConfiguration": Asked(
        "Entities/VlanConfigurations/Vlans",
        (
            "UID SwitchName SwitchType=VirtualSwitch|DistributedVirtualSwitch SwitchId "
            "ClusterName ClusterRef BackupServerUid BackupServerName"
        ),
    ),
    "VmReplicaPoint": Asked(
        "Entities/VmReplicaPoints/VmReplicaPoint",
        (
            "UID Name CreationTime Type=Full|ReverseIncrement|Increment|Snapshot "
            "Algorithm=Full|ReversedIncremental|Incremental|SyntheticFull ReplicaUid "
            "ReplicaName VmDisplayName BackupServerUid BackupServerName"
        ),
    ),
    "VmRestorePoint": Asked(
        "Entities/VmRestorePoints/VmRestorePoint",
        (
            "UID Name CreationTime Type=Full|Increment|ReverseIncrement Algorithm=Full|"
            "ReversedIncremental|Incremental|SyntheticFull RestorePointId "
            "RestorePointName VmDisplayName BackupServerUid BackupServerName"
        ),
    ),
    "VsphereSelfServiceConfig": Asked(
        "Entities/VSphereSelfServiceConfigs/VSphereSelfServiceConfig",
        (
            "UID Name BackupServerUid BackupServerName JobSchedulerType=Full|Partial|"
            "Random|Disabled AccountType=User|Group PerUser QuotaGb RepositoryUid "
            "UsedQuota"
        ),
    ),
    "WanAccelerator": Asked(
        "Entities/WanAccelerators/WanAccelerator",
        (
            "UID Name Capacity ConnectionsCount HighBandwidthModeEnabled BackupServerUid "
            "BackupServerName"
        ),
    ),
    "ExternalRepository": Asked(
        "Entities/ExternalRepositories/ExternalRepository",
        "",
    ),
}
