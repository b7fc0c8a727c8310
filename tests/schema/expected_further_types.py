"""The shape of the types of file shares, computers, continuous protection and the cloud."""

from __future__ import annotations

from schema.expected_types import Declared

FURTHER_DECLARED = {
    "FileServer": Declared(
        "/nas/fileServers",
        "FileServer",
        "FileServers",
        elements=(
            "ServerType HierarchyObjRef SmbServerOptions(Path CredentialsId) "
            "NfsServerOptions() FileServerOptions() ProcessingOptions(ServerUid "
            "CacheRepositoryUid) NASServerAdvancedOptions(ProcessingMode)"
        ),
        links="Up:BackupServerReference Alternate:FileServerReference",
        reference_links="Up:BackupServerReference Alternate:FileServer",
    ),
    "NasJob": Declared(
        "/nas/jobs",
        "NASJob",
        "NASJobs",
        elements=(
            "Description Includes(NASObject(@Type @Href HierarchyObjRef ObjectInJobId "
            "FileOrFolder FileServerUid InclusionMask(Extension) "
            "ExclusionMask(Extension))) StorageOptions(BackupRepositoryUid "
            "ShorttermRetentionType ShorttermRetentionPeriod LongtermRetentionEnabled "
            "AdvancedStorageOptions(ACL(FileAttributesChangeTrackingMode))) "
            "ScheduleConfigured ScheduleEnabled NextRun "
            "JobScheduleOptions(RetryOptions(RetryTimes RetryTimeout RetrySpecified) "
            "WaitForBackupCompletion BackupCompetitionWaitingPeriodMin "
            "OptionsDaily(@Enabled Kind Days Time TimeOffsetUtc) OptionsMonthly(@Enabled "
            "Time TimeOffsetUtc DayNumberInMonth DayOfWeek Months DayOfMonth) "
            "OptionsPeriodically(@Enabled Kind FullPeriod Schedule<periods>) "
            "OptionsContinuous(@Enabled Schedule<periods>) OptionsBackupWindow(@Enabled "
            "TimePeriods<periods>) OptionsDaisyChaining(@Enabled PreviousJobUid))"
        ),
        links=(
            "Up:BackupServerReference Alternate:JobReference Down:NasObjectList "
            "Down:BackupJobSessionReferenceList"
        ),
        reference_links=(
            "Up:BackupServerReference Alternate:Job Down:BackupJobSessionReferenceList"
        ),
    ),
    "NasObject": Declared(
        "/nas/jobs/{}/includes",
        "NASObject",
        "NASObjects",
        elements=(
            "HierarchyObjRef ObjectInJobId FileOrFolder FileServerUid "
            "InclusionMask(Extension) ExclusionMask(Extension)"
        ),
        links="Up:Job Related:FileServer",
        key=False,
    ),
    "AgentBackupJob": Declared(
        "/agents/jobs",
        "AgentBackupJob",
        "AgentBackupJobs",
        elements=(
            "JobType Platform Description ScheduleConfigured ScheduleEnabled NextRun "
            "JobScheduleOptions<schedule> JobInfo(Includes(ObjectInAgentBackupJob(@Type "
            "@Href ObjectInJobId Name DisplayName GuestProcessingOptions<guest>)) "
            "GuestProcessingOptions<guest> GfsRetentionPolicy<gfs> "
            "SimpleRetentionPolicy<retention>)"
        ),
        links=(
            "Up:BackupServerReference Alternate:JobReference Down:ObjectInJobList "
            "Down:BackupJobSessionReferenceList"
        ),
        reference_links="Up:BackupServerReference Alternate:AgentBackupJob",
    ),
    "ObjectInAgentBackupJob": Declared(
        "/agents/jobs/{}/includes",
        "ObjectInAgentBackupJob",
        "ObjectsInAgentBackupJob",
        elements="ObjectInJobId Name DisplayName GuestProcessingOptions<guest>",
        key=False,
    ),
    "AgentRestorePoint": Declared(
        "/agents/agentRestorePoints",
        "AgentRestorePoint",
        "AgentRestorePoints",
        elements="CreationTimeUTC Algorithm PointType",
        links=(
            "Up:BackupServerReference Up:RestorePointReference Up:BackupFileReference "
            "Alternate:AgentRestorePointReference"
        ),
        reference_links=(
            "Up:BackupServerReference Up:RestorePointReference Up:BackupFileReference "
            "Alternate:AgentRestorePoint"
        ),
    ),
    "AgentProtectionGroup": Declared(
        "/agents/protectionGroups",
        "AgentProtectionGroup",
        "AgentProtectionGroups",
        elements="RescanScheduleEnabled HierarchyObjRef",
        links=(
            "Up:BackupServerReference Alternate:AgentProtectionGroupReference "
            "Down:DiscoveredComputerList"
        ),
        reference_links=(
            "Up:BackupServerReference Alternate:AgentProtectionGroup "
            "Down:DiscoveredComputerReferenceList"
        ),
    ),
    "DiscoveredComputer": Declared(
        "/agents/discoveredComputers",
        "DiscoveredComputer",
        "DiscoveredComputers",
        elements="HostStatus AgentVersion AgentStatus OsVersion IpAddress HierarchyObjRef",
        links=(
            "Up:BackupServerReference Alternate:DiscoveredComputerReference "
            "Up:AgentProtectionGroupReference"
        ),
        reference_links="Up:BackupServerReference Alternate:DiscoveredComputer",
    ),
    "CdpPolicy": Declared(
        "/cdpPolicies",
        "CdpPolicy",
        "CdpPolicies",
        elements=(
            "PolicyType Platform Description ScheduleConfigured ScheduleEnabled NextRun "
            "PolicyScheduleOptions(CdpReplica(RecoveryPointObjectiveSeconds "
            "RecoveryPointObjectiveMinutes RPOSchedule(@Enabled TimePeriods<periods>) "
            "RPOReporting(MarkAsWarning(Enabled RPOThresholdSeconds RPOThresholdMinutes) "
            "MarkAsFailed(Enabled RPOThresholdSeconds RPOThresholdMinutes)) "
            "ShortTermRetentionMinutes ShortTermRetentionHours LongTermRetentionHours "
            "LongTermRetentionKeepDays LongTermRetentionSchedule(@Enabled "
            "TimePeriods<periods>))) "
            "CdpPolicyInfo(CdpReplicaPolicyInfo(Includes(ObjectInJob(@Type @Href "
            "ObjectInJobId HierarchyObjRef Name DisplayName Order "
            "GuestProcessingOptions<guest>)) GuestProcessingOptions<guest>))"
        ),
        links=(
            "Up:BackupServerReference Alternate:CdpPolicyReference Down:ObjectInJobList "
            "Down:CdpReplicaSessionReferenceList"
        ),
        reference_links="Up:BackupServerReference Alternate:CdpPolicy",
    ),
    "CdpReplica": Declared(
        "/cdpReplicas",
        "CdpReplica",
        "CdpReplicas",
        elements="BackupServer PolicyUid PolicyName",
        links=(
            "Up:BackupServerReference Down:CdpReplicaVmReferenceList "
            "Up:CdpPolicyReference Alternate:CdpReplicaReference"
        ),
        reference_links="Up:BackupServerReference Alternate:CdpReplica",
    ),
    "CdpReplicaVm": Declared(
        "/cdpReplicas/{}/vms",
        "CdpReplicaVm",
        "CdpReplicaVms",
        elements="VmRef ReplicaUid BackupServer PolicyUid PolicyName RepositoryName",
        links=(
            "Up:BackupServerReference Up:RepositoryReference Up:CdpReplicaReference "
            "Up:CdpPolicyReference"
        ),
        reference_links="Up:BackupServerReference Alternate:CdpReplicaVm",
    ),
    "VAppCdpReplica": Declared(
        "/cdpReplica/vApps",
        "VAppCdpReplica",
        "VAppCdpReplicas",
        elements="vAppRef ReplicaUid BackupServer PolicyUid PolicyName",
        links=(
            "Up:BackupServer Alternate:VAppCdpReplicaReference "
            "Down:VAppCdpReplicaVmReferenceList Up:CdpPolicyReference"
        ),
        reference_links="Up:BackupServerReference Alternate:VAppCdpReplica",
    ),
    "VAppCdpReplicaVm": Declared(
        "/cdpReplica/vApps/{}/vms",
        "VAppCdpReplicaVm",
        "VAppCdpReplicaVms",
        elements="ReplicaUid VmRef",
        links=(
            "Up:BackupServerReference Alternate:VAppCdpReplicaVmReference "
            "Up:VAppCdpReplicaReference Up:CdpPolicyReference"
        ),
        reference_links="Up:BackupServerReference Alternate:VAppCdpReplicaVm",
    ),
    "CdpReplicaSession": Declared(
        "/cdpReplicaSessions",
        "CdpReplicaSession",
        "CdpReplicaSessions",
        elements=(
            "PolicyUid PolicyName PolicyType CreationTimeUTC EndTimeUTC State Result "
            "Progress FailureMessage IsRetry"
        ),
        links=(
            "Up:BackupServerReference Up:CdpPolicyReference "
            "Alternate:CdpReplicaSessionReference Down:CdpReplicaTaskSessionReferenceList"
        ),
        reference_links=(
            "Up:BackupServerReference Up:CdpPolicyReference Alternate:CdpReplicaSession"
        ),
    ),
    "CdpReplicaTaskSession": Declared(
        "/cdpReplicaTaskSessions",
        "CdpReplicaTaskSession",
        "CdpReplicaTaskSessions",
        elements="PolicySessionUid CreationTimeUTC EndTimeUTC State Result Reason TotalSize",
        attributes="VmDisplayName",
        links=(
            "Up:BackupServerReference Up:CdpReplicaSessionReference "
            "Alternate:CdpReplicaTaskSessionReference"
        ),
        reference_links="Up:BackupServerReference Alternate:CdpReplicaTaskSession",
    ),
    "CloudGateway": Declared(
        "/cloud/gateways",
        "CloudGateway",
        "CloudGateways",
        elements=(
            "Enabled DnsNameOrIpAddress NetworkMode ExternalIP ExternalPort InternalPort "
            "Description"
        ),
        links=(
            "Up:BackupServerReference Alternate:CloudGatewayReference "
            "Related:CloudGatewayPoolReference"
        ),
        reference_links="Up:BackupServerReference Alternate:CloudGateway",
    ),
    "CloudGatewayPool": Declared(
        "/cloud/gatewayPools",
        "CloudGatewayPool",
        "CloudGatewayPools",
        elements="Description CloudGateways(CloudGatewayUid) CloudTenants(CloudTenantUid)",
        links=(
            "Up:BackupServerReference Alternate:CloudGatewayPoolReference "
            "Down:CloudGatewayReferenceList"
        ),
        reference_links="Up:BackupServerReference Alternate:CloudGatewayPool",
    ),
    "CloudTenant": Declared(
        "/cloud/tenants",
        "CloudTenant",
        "CloudTenants",
        elements=(
            "Password Description Enabled LeaseOptions(@Enabled @ExpirationDate) "
            "Resources(CloudTenantResource(@Type @Href @Id RepositoryQuota(DisplayName "
            "RepositoryUid WanAcceleratorUid Quota UsedQuota))) LastResult LastActive "
            "VmCount ComputeResources(CloudTenantComputeResource(@Type @Href @Id "
            "CloudHardwarePlanUid WanAcceleratorUid PlatformType "
            "UseNetworkFailoverResources NetworkAppliance<appliance> "
            "ComputeResourceStats(MemoryUsageMb CPUCount "
            "StorageResourceStats(StorageResourceStat(StorageName StorageUsageGb "
            "StorageLimitGb))))) ThrottlingEnabled ThrottlingSpeedLimit "
            "ThrottlingSpeedUnit PublicIpCount BackupCount ReplicaCount "
            "MaxConcurrentTasks WorkStationBackupCount ServerBackupCount "
            "BackupProtectionEnabled BackupProtectionPeriod "
            "TenantType(StandaloneTenant(TenantCredentials(Username)) "
            "vCloudTenant(OrganizationName OrganizationRef) "
            "ADTenantType(Domain(DomainName Port) Account)) "
            "VCloudComputeResources(CloudTenantVCloudComputeResource(@Type @Href @Id "
            "VirtualDataCenterName VirtualDataCenterRef Enabled AllocationModel "
            "UseNetworkFailoverResources ResourceUsage(CpuUsageMhz MemoryUsageMb "
            "StorageUsageGb))) CloudGatewayPools(CloudGatewayPoolUid) "
            "FailoverToOtherGatewaysIfFail"
        ),
        links=(
            "Up:BackupServerReference Alternate:CloudTenantReference "
            "Down:CloudTenantResourceList Down:CloudTenantComputeResourceList "
            "Down:CloudSubtenantList Down:CloudTenantVCloudComputeResourceList"
        ),
        reference_links="Up:BackupServerReference Alternate:CloudTenant",
    ),
    "CloudTenantResource": Declared(
        "/cloud/tenants/{}/resources",
        "CloudTenantResource",
        "CloudTenantResources",
        elements="RepositoryQuota(DisplayName RepositoryUid WanAcceleratorUid Quota UsedQuota)",
        attributes="Id",
        links="Up:CloudTenant Up:BackupServer",
        key=False,
    ),
    "CloudTenantComputeResource": Declared(
        "/cloud/tenants/{}/computeResources",
        "CloudTenantComputeResource",
        "CloudTenantComputeResources",
        elements=(
            "CloudHardwarePlanUid WanAcceleratorUid PlatformType "
            "UseNetworkFailoverResources NetworkAppliance<appliance> "
            "ComputeResourceStats(MemoryUsageMb CPUCount "
            "StorageResourceStats(StorageResourceStat(StorageName StorageUsageGb "
            "StorageLimitGb)))"
        ),
        attributes="Id",
        links="Up:CloudTenant Up:BackupServer",
        key=False,
    ),
    "CloudTenantVCloudComputeResource": Declared(
        "/cloud/tenants/{}/vCloudComputeResources",
        "CloudTenantVCloudComputeResource",
        "CloudTenantVCloudComputeResources",
        elements=(
            "VirtualDataCenterName VirtualDataCenterRef Enabled AllocationModel "
            "UseNetworkFailoverResources ResourceUsage(CpuUsageMhz MemoryUsageMb "
            "StorageUsageGb) WanAcceleratorUid NetworkAppliance<appliance>"
        ),
        attributes="Id",
        links="Up:CloudTenant Up:BackupServer",
        key=False,
    ),
    "CloudSubtenant": Declared(
        "/cloud/tenants/{}/subtenants",
        "CloudSubtenant",
        "CloudSubtenants",
        elements=(
            "Name Description Password Enabled RepositoryQuota(@Unlimited DisplayName "
            "TenantResourceId QuotaMb UsedQuotaMb)"
        ),
        attributes="Id",
        links="Up:CloudTenant Up:BackupServer",
        key=False,
    ),
    "CloudHardwarePlan": Declared(
        "/cloud/hardwarePlans",
        "CloudHardwarePlan",
        "CloudHardwarePlans",
        elements=(
            "Description ProcessorUsageLimitMhz MemoryUsageLimitMb "
            "HardwarePlanDetails(ViCloudHardwarePlan(HypervisorHostRef ParentType "
            "ParentName Datastores(Datastore(FriendlyName DatastoreType Reference "
            "RootPath QuotaGb PbmProfileId)) Network(CountWithInternet "
            "CountWithoutInternet)) HvCloudHardwarePlan(HypervisorHostRef "
            "Volumes(Volume(@Id FriendlyName VolumePath QuotaGb)) Network(@Id "
            "CountWithInternet CountWithoutInternet)))"
        ),
        links=(
            "Up:BackupServerReference Alternate:CloudHardwarePlanReference "
            "Down:CloudTenantReference"
        ),
        reference_links="Up:BackupServerReference Alternate:CloudHardwarePlan",
    ),
    "CloudPublicIpAddress": Declared(
        "/cloud/publicIpAddresses",
        "CloudPublicIpAddress",
        "CloudPublicIps",
        elements="IpAddress TenantUid",
        attributes="BackupServerUid",
        links="Up:BackupServerReference Alternate:CloudPublicIpAddressReference",
        reference_links="Up:BackupServerReference Alternate:CloudPublicIpAddress",
    ),
    "VlanConfiguration": Declared(
        "/cloud/vlans",
        "VlanConfiguration",
        "VlanConfigurations",
        elements=(
            "HostRef PlatformType VlanIdsWithInternetLeftBound "
            "VlanIdsWithInternetRightBound VlanIdsWithoutInternetLeftBound "
            "VlanIdsWithoutInternetRightBound SwitchName SwitchId SwitchType ClusterName "
            "ClusterId"
        ),
        links="Up:BackupServerReference Alternate:VlanConfigurationReference",
        reference_links="Up:BackupServerReference Alternate:VlanConfiguration",
    ),
    "CloudReplica": Declared(
        "/cloud/replicas",
        "CloudReplica",
        "CloudReplicas",
        elements="Platform",
        links=(
            "Up:BackupServerReference Alternate:CloudReplicaReference "
            "Down:CloudVmReplicaPointReferenceList"
        ),
        reference_links=(
            "Up:BackupServerReference Alternate:CloudReplica Down:CloudVmReplicaPointReferenceList"
        ),
    ),
    "CloudVmReplicaPoint": Declared(
        "/cloud/vmReplicaPoints",
        "CloudVmReplicaPoint",
        "CloudVmReplicaPoints",
        elements="CreationTimeUTC VmName PointType State",
        attributes="VmDisplayName",
        links=(
            "Up:BackupServerReference Up:CloudReplicaReference "
            "Alternate:CloudVmReplicaPointReference"
        ),
        reference_links=(
            "Up:BackupServerReference Up:CloudReplicaReference Alternate:CloudVmReplicaPoint"
        ),
    ),
    "CloudFailoverPlan": Declared(
        "/cloud/cloudFailoverPlans",
        "CloudFailoverPlan",
        "CloudFailoverPlans",
        elements=(
            "TenantUid TenantName Description "
            "CloudFailoverPlanOptions(PostFailoverPlanCommandEnabled "
            "PostFailoverPlanCommand PreFailoverPlanCommandEnabled "
            "PreFailoverPlanCommand) "
            "CloudFailoverPlanInfo(Includes(CloudFailoverPlanVm(@Type @Href "
            "FailoverPlanVMId Name Order)))"
        ),
        links="Up:BackupServerReference Alternate:CloudFailoverPlanReference",
        reference_links=(
            "Up:BackupServerReference Alternate:CloudFailoverPlan Related:CloudTenant"
        ),
    ),
    "CloudFailoveredVm": Declared(
        "/cloud/cloudFailoverPlans/{}/includes",
        "CloudFailoveredVm",
        "CloudFailoveredVms",
        elements="FailoverPlanVMId Name Order",
        key=False,
    ),
    "CloudFailoverSession": Declared(
        "/cloud/failoverSessions",
        "CloudFailoverSession",
        "CloudFailoverSessions",
        elements=(
            "JobUid JobName JobType CreationTimeUTC EndTimeUTC State Result Progress "
            "FailureMessage CloudFailoverTasks(CloudFailoverTasks(@VmName "
            "VmReplicaPointLink(@Rel @Type @Href @Name) CreationTimeUTC EndTimeUTC State "
            "Result Progress FailureMessage))"
        ),
        attributes="CloudFailoverPlanName",
        links="Up:BackupServerReference Alternate:CloudFailoverSessionReference",
        reference_links="Up:BackupServerReference Alternate:CloudFailoverSession",
    ),
    "VCloudOrganizationConfig": Declared(
        "/vCloud/orgConfigs",
        "VCloudOrganizationConfig",
        "VCloudOrganizationConfigs",
        elements=(
            "BackupServerUid RepositoryUid QuotaGb IsDisabled JobSettings(CustomSettings "
            "DefaultSettings JobSchedulerType HighPriorityJob) UsedQuotaMb HostUid "
            "RepositoryFriendlyName"
        ),
        links="Up:BackupServerReference Alternate:VCloudOrganizationConfigReference",
        reference_links="Up:BackupServerReference Alternate:VCloudOrganizationConfig",
    ),
    "VSphereSelfServiceConfig": Declared(
        "/selfService/vSphere/Configs",
        "VSphereSelfServiceConfig",
        "VSphereSelfServiceConfigs",
        elements=(
            "BackupServerUid RepositoryUid QuotaGb PerUser Account(AccountName "
            "AccountSid AccountType) JobSettings(DefaultSettings JobSchedulerType "
            "HighPriorityJob) VCentersScope(VCenterUid) Tags(Tag) UsedQuotaMb"
        ),
        links="Up:BackupServerReference Alternate:VSphereSelfServiceConfigReference",
        reference_links="Up:BackupServerReference Alternate:VSphereSelfServiceConfig",
    ),
}
