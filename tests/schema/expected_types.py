"""The shape of every resource type, written down by hand: what its documents hold, in order.

Elements stand in their order; the parts of a structure follow it in parentheses, attributes with
a ``@``; ``<guest>`` and the like stand for a structure of `STRUCTURES`.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Declared:
    """A type's collection (``{}`` for an item above), roots, elements, attributes and links.

    A link is its Rel and its Type.
    """

    collection: str
    root: str
    plural: str
    elements: str
    attributes: str = ""
    links: str = ""
    reference_links: str = ""
    key: bool = True


STRUCTURES = {
    "schedule": (
        "Standart(RetryOptions(RetryTimes RetryTimeout RetrySpecified) "
        "WaitForBackupCompletion BackupCompetitionWaitingPeriodMin "
        "OptionsDaily(@Enabled Kind Days Time TimeOffsetUtc) OptionsMonthly(@Enabled "
        "Time TimeOffsetUtc DayNumberInMonth DayOfWeek Months DayOfMonth) "
        "OptionsPeriodically(@Enabled Kind FullPeriod Schedule<periods>) "
        "OptionsContinuous(@Enabled Schedule<periods>) OptionsBackupWindow(@Enabled "
        "TimePeriods<periods>) OptionsDaisyChaining(@Enabled PreviousJobUid)) "
        "ImmediateCopyMode(OptionsContinuous(@Enabled Schedule<periods>))"
    ),
    "guest": (
        "AppAwareProcessingMode FileSystemIndexingMode IncludedIndexingFolders(Path) "
        "ExcludedIndexingFolders(Path) CredentialsId "
        "VssSnapshotOptions(VssSnapshotMode IsCopyOnly UsePersistentGuestAgent) "
        "WindowsGuestFSIndexingOptions(FileSystemIndexingMode "
        "IncludedIndexingFolders(Path) ExcludedIndexingFolders(Path)) "
        "LinuxGuestFSIndexingOptions(FileSystemIndexingMode "
        "IncludedIndexingFolders(Path) ExcludedIndexingFolders(Path)) "
        "SqlBackupOptions(TransactionLogsProcessing BackupLogsFrequencyMin "
        "UseDbBackupRetention RetainDays) WindowsCredentialsId LinuxCredentialsId "
        "FSFileExcludeOptions(BackupScope IncludeList(Path) ExcludeList(Path)) "
        "OracleBackupOptions(BackupLogsEnabled BackupLogsFrequencyMin "
        "UseDbBackupRetention RetainDays ArchivedLogsTruncation "
        "ArchivedLogsMaxAgeHours ArchivedLogsMaxSizeMb SysdbaCredsId ProxyAutoSelect)"
    ),
    "gfs": (
        "Weekly(Enabled RetentionPeriod SelectedDay) Monthly(Enabled RetentionPeriod "
        "SelectedWeek) Yearly(Enabled RetentionPeriod SelectedMonth)"
    ),
    "retention": "RetainCycles RetainDaysToKeep RetainLimitType",
    "periods": "Day(@Name)",
    "appliance": (
        "Name ProductionNetwork ObtainIPAddressAutomatically "
        "ManualIpAddressSettingsInfoType(IpAddress SubnetMask DefaultGateway) "
        "ViDistributedSwitchUuid ProductionNetworkUnderDvs"
    ),
}

DECLARED = {
    "BackupServer": Declared(
        "/backupServers",
        "BackupServer",
        "BackupServers",
        elements="Description Port Version WcfPort VbrCertificateThumbprint",
        links=(
            "Alternate:BackupServerReference Down:JobReferenceList "
            "Down:ManagedServerReferenceList Down:RepositoryReferenceList "
            "Down:ExternalRepositoryReferenceList Down:CredentialsList "
            "Down:PasswordKeyList"
        ),
        reference_links=(
            "Down:JobReferenceList Down:RepositoryReferenceList "
            "Down:ExternalRepositoryReferenceList Down:CredentialsList "
            "Down:PasswordKeyList Alternate:BackupServer Down:ManagedServerReferenceList"
        ),
    ),
    "ManagedServer": Declared(
        "/managedServers",
        "ManagedServer",
        "ManagedServers",
        elements="Description ManagedServerType",
        links="Up:BackupServer Alternate:ManagedServerReference Related:HierarchyRoot",
        reference_links="Alternate:ManagedServer Up:BackupServerReference",
    ),
    "HierarchyRoot": Declared(
        "/hierarchyRoots",
        "HierarchyRoot",
        "HierarchyRoots",
        elements="HierarchyRootId UniqueId HostType",
        links="Up:BackupServerReference Alternate:HierarchyRootReference Related:ManagedServer",
        reference_links="Up:BackupServerReference Alternate:HierarchyRoot",
    ),
    "HierarchyItem": Declared(
        "/lookup",
        "HierarchyItem",
        "HierarchyItems",
        elements="ObjectRef ObjectType ObjectName",
        key=False,
    ),
    "Repository": Declared(
        "/repositories",
        "Repository",
        "Repositories",
        elements="Capacity FreeSpace Kind",
        links=(
            "Up:BackupServerReference Alternate:RepositoryReference "
            "Down:BackupReferenceList Down:ReplicaReferenceList"
        ),
        reference_links=(
            "Up:BackupServerReference Alternate:Repository Down:BackupReferenceList "
            "Down:ReplicaReferenceList"
        ),
    ),
    "ExternalRepository": Declared(
        "/externalRepositories",
        "ExternalRepository",
        "ExternalRepositories",
        elements="RepositoryType Path UsedSpace Description",
        links=(
            "Up:BackupServerReference Alternate:ExternalRepositoryReference "
            "Down:BackupReferenceList"
        ),
        reference_links=(
            "Up:BackupServerReference Alternate:ExternalRepository Down:BackupReferenceList"
        ),
    ),
    "WanAccelerator": Declared(
        "/wanAccelerators",
        "WanAccelerator",
        "WanAccelerators",
        elements=(
            "Description OutOfDate Version Capacity TrafficPort ConnectionsCount "
            "CachePath HighBandwidthModeEnabled"
        ),
        links="Up:BackupServerReference Alternate:WanAcceleratorReference",
        reference_links="Up:BackupServerReference Alternate:WanAccelerator",
    ),
    "Credentials": Declared(
        "/backupServers/{}/credentials",
        "CredentialsInfo",
        "CredentialsInfoList",
        elements="Id Username Description Password",
        links="Up:BackupServer",
        key=False,
    ),
    "Passwords": Declared(
        "/backupServers/{}/passwords",
        "PasswordKeyInfo",
        "PasswordKeyInfoList",
        elements="Id Hint LastModificationDate",
        links="Up:BackupServer",
        key=False,
    ),
    "Job": Declared(
        "/jobs",
        "Job",
        "Jobs",
        elements=(
            "JobType Platform Description ScheduleConfigured ScheduleEnabled NextRun "
            "JobScheduleOptions<schedule> "
            "JobInfo(BackupJobInfo(Includes(ObjectInJob(@Type @Href ObjectInJobId "
            "HierarchyObjRef Name DisplayName Order GuestProcessingOptions<guest>)) "
            "GuestProcessingOptions<guest> AdvancedStorageOptions(PasswordKeyId) "
            "GfsRetentionPolicy<gfs> SimpleRetentionPolicy<retention>) FileCopyJobInfo() "
            "ReplicaJobInfo(Includes(ObjectInJob(@Type @Href ObjectInJobId "
            "HierarchyObjRef Name DisplayName Order GuestProcessingOptions<guest>)) "
            "GuestProcessingOptions<guest>) BackupCopyJobInfo(Includes(ObjectInJob(@Type "
            "@Href ObjectInJobId HierarchyObjRef Name DisplayName Order "
            "GuestProcessingOptions<guest>)) "
            "LinkedJobIncludes(LinkedJobObject(ObjectInJobId LinkedJobUid)) "
            "AdvancedStorageOptions(PasswordKeyId) "
            "LinkedBackupIncludes(LinkedBackup(ObjectInJobId LinkedBackupUid))) "
            "ImmediateBackupCopyJobInfo(LinkedJobIncludes(LinkedJobObject(ObjectInJobId "
            "LinkedJobUid)) LinkedBackupIncludes(LinkedBackup(ObjectInJobId "
            "LinkedBackupUid)) "
            "LinkedBackupRepositoryIncludes(LinkedBackupRepository(ObjectInJobId "
            "LinkedBackupRepositoryUid))))"
        ),
        links=(
            "Up:BackupServerReference Alternate:JobReference Down:ObjectInJobList "
            "Down:BackupJobSessionReferenceList Down:ReplicaJobSessionReferenceList "
            "Down:LinkedJobObjectList Down:LinkedBackupRepositoryObjectList"
        ),
        reference_links=(
            "Up:BackupServerReference Alternate:Job Down:BackupJobSessionReferenceList "
            "Down:ReplicaJobSessionReferenceList"
        ),
    ),
    "ObjectInJob": Declared(
        "/jobs/{}/includes",
        "ObjectInJob",
        "ObjectsInJob",
        elements=(
            "ObjectInJobId HierarchyObjRef Name DisplayName Order GuestProcessingOptions<guest>"
        ),
        links="Up:Job",
        key=False,
    ),
    "LinkedJobObject": Declared(
        "/jobs/{}/linkedJobs",
        "LinkedJobObject",
        "LinkedJobResourceObjects",
        elements="ObjectInJobId LinkedJobUid",
        links="Up:Job",
        key=False,
    ),
    "LinkedBackupRepositoryObject": Declared(
        "/jobs/{}/linkedBackupRepositories",
        "LinkedBackupRepository",
        "LinkedBackupRepositoryResourceObjects",
        elements="ObjectInJobId LinkedBackupRepositoryUid",
        links="Up:Job",
        key=False,
    ),
    "Backup": Declared(
        "/backups",
        "Backup",
        "Backups",
        elements="Platform BackupType",
        links=(
            "Up:RepositoryReference Up:ExternalRepositoryReference "
            "Up:BackupServerReference Alternate:BackupReference Up:BackupList "
            "Down:RestorePointReferenceList Down:BackupFileReferenceList"
        ),
        reference_links=(
            "Up:BackupServerReference Up:RepositoryReference "
            "Up:ExternalRepositoryReference Alternate:Backup "
            "Down:RestorePointReferenceList Down:BackupFileReferenceList"
        ),
    ),
    "BackupFile": Declared(
        "/backupFiles",
        "BackupFile",
        "BackupFiles",
        elements=(
            "FilePath BackupSize DataSize DeduplicationRatio CompressRatio CreationTimeUtc FileType"
        ),
        links=(
            "Up:BackupReference Up:BackupServerReference Alternate:BackupFileReference "
            "Related:BackupFileReferenceList Down:VmRestorePointReferenceList"
        ),
        reference_links=(
            "Up:BackupServerReference Up:BackupReference Alternate:BackupFile "
            "Related:BackupFileReferenceList Down:VmRestorePointReferenceList"
        ),
    ),
    "BackupJobSession": Declared(
        "/backupSessions",
        "BackupJobSession",
        "BackupJobSessions",
        elements=(
            "JobUid JobName JobType CreationTimeUTC EndTimeUTC State Result Progress "
            "FailureMessage IsRetry"
        ),
        links=(
            "Up:BackupServerReference Up:JobReference "
            "Alternate:BackupJobSessionReference Down:BackupTaskSessionReferenceList "
            "Related:RestorePointReference"
        ),
        reference_links=(
            "Up:BackupServerReference Up:JobReference Alternate:BackupJobSession "
            "Down:BackupTaskSessionReferenceList"
        ),
    ),
    "BackupTaskSession": Declared(
        "/backupTaskSessions",
        "BackupTaskSession",
        "BackupTaskSessions",
        elements="JobSessionUid CreationTimeUTC EndTimeUTC State Result Reason TotalSize VmUid",
        attributes="VmDisplayName",
        links=(
            "Up:BackupServerReference Up:BackupJobSessionReference "
            "Alternate:BackupTaskSessionReference Related:VmRestorePoint"
        ),
        reference_links=(
            "Up:BackupServerReference Up:BackupJobSessionReference Alternate:BackupTaskSession"
        ),
    ),
    "ReplicaJobSession": Declared(
        "/replicaSessions",
        "ReplicaJobSession",
        "ReplicaJobSessions",
        elements=(
            "JobUid JobName JobType CreationTimeUTC EndTimeUTC State Result Progress "
            "FailureMessage IsRetry"
        ),
        links=(
            "Up:BackupServerReference Up:JobReference "
            "Alternate:ReplicaJobSessionReference Down:ReplicaTaskSessionReferenceList"
        ),
        reference_links=(
            "Up:BackupServerReference Up:JobReference Alternate:ReplicaJobSession "
            "Down:ReplicaTaskSessionReferenceList"
        ),
    ),
    "ReplicaTaskSession": Declared(
        "/replicaTaskSessions",
        "ReplicaTaskSession",
        "ReplicaTaskSessions",
        elements="JobSessionUid CreationTimeUTC EndTimeUTC State Result Reason TotalSize",
        attributes="VmDisplayName",
        links=(
            "Up:BackupServerReference Up:ReplicaJobSessionReference "
            "Alternate:ReplicaTaskSessionReference Related:VmReplicaPoint"
        ),
        reference_links=(
            "Up:BackupServerReference Up:ReplicaJobSessionReference Alternate:ReplicaTaskSession"
        ),
    ),
    "RestoreSession": Declared(
        "/restoreSessions",
        "RestoreSession",
        "RestoreSessions",
        elements=(
            "JobUid JobName JobType CreationTimeUTC EndTimeUTC State Result Progress "
            "FailureMessage RestoredObjRef"
        ),
        attributes="VmDisplayName",
        links=(
            "Up:BackupServerReference Alternate:RestoreSessionReference "
            "Related:VmRestorePointReference"
        ),
        reference_links="Up:BackupServerReference Alternate:RestoreSession",
    ),
    "SystemSession": Declared(
        "/systemSessions",
        "SystemSession",
        "SystemSessions",
        elements=("SessionType CreationTimeUTC EndTimeUTC State Result(Result Message IsCanceled)"),
        links="Alternate:BackupJobSessionReference Down:SystemSessionEvents",
        reference_links="Up:BackupServerReference Alternate:SystemSession",
    ),
    "Task": Declared(
        "/tasks",
        "Task",
        "Tasks",
        elements="TaskId State Operation Result(@Success Message)",
        key=False,
    ),
    "RestorePoint": Declared(
        "/restorePoints",
        "RestorePoint",
        "RestorePoints",
        elements="BackupDateUTC",
        links=(
            "Up:BackupReference Up:BackupServerReference Alternate:RestorePointReference "
            "Down:VmRestorePointReferenceList Down:VAppRestorePointReferenceList "
            "Related:RestorePointReferenceList"
        ),
        reference_links=(
            "Up:BackupServerReference Up:BackupReference Alternate:RestorePoint "
            "Down:VmRestorePointReferenceList Related:RestorePointReferenceList"
        ),
    ),
    "VmRestorePoint": Declared(
        "/vmRestorePoints",
        "VmRestorePoint",
        "VmRestorePoints",
        elements=(
            "CreationTimeUTC VmName Algorithm PointType HierarchyObjRef "
            "SqlInfo(Databases(Database(Items(Item()))))"
        ),
        attributes="VmDisplayName",
        links=(
            "Up:BackupServerReference Up:RestorePointReference Up:BackupFileReference "
            "Alternate:VmRestorePointReference Down:VmRestorePointMountList"
        ),
        reference_links=(
            "Up:BackupServerReference Up:RestorePointReference Up:BackupFileReference "
            "Alternate:VmRestorePoint"
        ),
    ),
    "VAppRestorePoint": Declared(
        "/vAppRestorePoints",
        "VAppRestorePoint",
        "VAppRestorePoints",
        elements="CreationTimeUTC VAppName Algorithm PointType HierarchyObjRef",
        attributes="VAppDisplayName",
        links=(
            "Up:BackupServerReference Up:RestorePointReference Alternate:VAppRestorePointReference"
        ),
        reference_links=(
            "Up:BackupServerReference Up:RestorePointReference Alternate:VAppRestorePoint"
        ),
    ),
    "CatalogVm": Declared(
        "/catalog/vms",
        "CatalogVm",
        "CatalogVms",
        elements="",
        attributes="VmDisplayName",
        links="Alternate:CatalogVmReference Down:CatalogVmRestorePointReferenceList",
        reference_links="Alternate:CatalogVm Down:CatalogVmRestorePointReferenceList",
    ),
    "CatalogVmRestorePoint": Declared(
        "/catalog/vms/{}/vmRestorePoints",
        "CatalogVmRestorePoint",
        "CatalogVmRestorePoints",
        elements="BackupDateUTC",
        links="Alternate:CatalogVmRestorePointReference Up:CatalogVm Related:VmRestorePoint",
        reference_links="Up:CatalogVm Alternate:CatalogVmRestorePoint",
    ),
    "Replica": Declared(
        "/replicas",
        "Replica",
        "Replicas",
        elements="Platform",
        links=(
            "Up:RepositoryReference Up:BackupServerReference Alternate:ReplicaReference "
            "Down:VmReplicaPointReferenceList"
        ),
        reference_links=(
            "Up:BackupServerReference Up:RepositoryReference Alternate:Replica "
            "Down:VmReplicaPointReferenceList"
        ),
    ),
    "VmReplicaPoint": Declared(
        "/vmReplicaPoints",
        "VmReplicaPoint",
        "VmReplicaPoints",
        elements="CreationTimeUTC VmName Algorithm PointType",
        attributes="VmDisplayName",
        links=(
            "Up:BackupServerReference Up:ReplicaReference Alternate:VmReplicaPointReference "
            "Down:VmReplicaPointMountList"
        ),
        reference_links="Up:BackupServerReference Up:ReplicaReference Alternate:VmReplicaPoint",
    ),
    "VAppReplicaPoint": Declared(
        "/vAppReplicaPoints",
        "VAppReplicaPoint",
        "VAppReplicaPoints",
        elements="CreationTimeUTC VAppName Algorithm PointType",
        attributes="VAppDisplayName",
        links=(
            "Up:BackupServerReference Up:ReplicaReference "
            "Alternate:VAppReplicaPointReference Down:VmReplicaPointReference"
        ),
        reference_links=("Up:BackupServerReference Up:ReplicaReference Alternate:VAppReplicaPoint"),
    ),
    "FailoverPlan": Declared(
        "/failoverPlans",
        "FailoverPlan",
        "FailoverPlans",
        elements=(
            "Description FailoverPlanInfo(Includes(FailoveredVm(@Type @Href "
            "FailoveredVmId HierarchyObjRef Name DisplayName Order "
            "GuestProcessingOptions<guest>)))"
        ),
        links="Up:BackupServerReference Alternate:FailoverPlanReference",
        reference_links="Up:BackupServerReference Alternate:FailoverPlan",
    ),
    "EnterpriseAccount": Declared(
        "/security/accounts",
        "EnterpriseAccount",
        "EnterpriseAccounts",
        elements=(
            "AccountType AllowRestoreAllVms FlrSettings(FlrInplaceOnly "
            "FlrExtentionRestrictions) SqlSettings(DenyInPlaceRestore)"
        ),
        links=(
            "Alternate:EnterpriseAccountReference Down:EnterpriseAccountInRoleList "
            "Down:EnterpriseAccountHierarchyScopeList"
        ),
        reference_links="Alternate:EnterpriseAccount",
    ),
    "EnterpriseRole": Declared(
        "/security/roles",
        "EnterpriseRole",
        "EnterpriseRoles",
        elements="",
        links="Alternate:EnterpriseRoleReference",
        reference_links="Alternate:EnterpriseRole",
    ),
    "EnterpriseAccountInRole": Declared(
        "/security/accounts/{}/roles",
        "EnterpriseAccountInRole",
        "EnterpriseAccountInRoleList",
        elements="RoleName",
        key=False,
    ),
    "EnterpriseAccountHierarchyScope": Declared(
        "/security/accounts/{}/scopes",
        "EnterpriseAccountHierarchyScope",
        "EnterpriseAccountHierarchyScopes",
        elements="Name HierarchyRootName Platform HierarchyObjectType State",
        key=False,
    ),
}
