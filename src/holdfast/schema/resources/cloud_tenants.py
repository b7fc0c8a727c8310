"""The tenants of a provider and what each of them may use."""

from __future__ import annotations

from holdfast.schema.resource import (
    Field,
    Relation,
    ResourceType,
    SubCollection,
    through,
)
from holdfast.schema.resources.cloud_provider import HYPERVISOR
from holdfast.schema.resources.links import (
    UP_TO_SERVER,
    down,
    to_entity,
    to_reference,
    up_to_entity,
)
from holdfast.schema.types import (
    BOOLEAN,
    DATE_TIME,
    GUID,
    HIERARCHY_REF,
    HREF,
    INTEGER,
    STRING,
    Element,
    Enumeration,
    Structure,
    Uid,
    structure,
)

NETWORK_APPLIANCE = structure(
    Element("Name", STRING),
    Element("ProductionNetwork", STRING),
    Element("ObtainIPAddressAutomatically", BOOLEAN),
    Element(
        "ManualIpAddressSettingsInfoType",
        structure(
            Element("IpAddress", STRING),
            Element("SubnetMask", STRING),
            Element("DefaultGateway", STRING),
        ),
        optional=True,
    ),
    Element("ViDistributedSwitchUuid", STRING, optional=True),
    Element("ProductionNetworkUnderDvs", BOOLEAN, optional=True),
)

_REPOSITORY_QUOTA = structure(
    Element("DisplayName", STRING),
    Element("RepositoryUid", Uid("Repository")),
    Element("WanAcceleratorUid", Uid("WanAccelerator"), optional=True),
    Element("Quota", INTEGER, optional=True),
    Element("UsedQuota", INTEGER, optional=True),
)

_RESOURCE_ELEMENTS = (Element("RepositoryQuota", _REPOSITORY_QUOTA, optional=True),)

_COMPUTE_RESOURCE_STATS = structure(
    Element("MemoryUsageMb", INTEGER),
    Element("CPUCount", INTEGER),
    Element(
        "StorageResourceStats",
        structure(
            Element(
                "StorageResourceStat",
                structure(
                    Element("StorageName", STRING),
                    Element("StorageUsageGb", INTEGER),
                    Element("StorageLimitGb", INTEGER),
                ),
                repeated=True,
                json_name="StorageResourceStats",
            )
        ),
    ),
)

_COMPUTE_RESOURCE_ELEMENTS = (
    Element("CloudHardwarePlanUid", Uid("CloudHardwarePlan")),
    Element("WanAcceleratorUid", Uid("WanAccelerator"), optional=True),
    Element("PlatformType", HYPERVISOR),
    Element("UseNetworkFailoverResources", BOOLEAN),
    Element("NetworkAppliance", NETWORK_APPLIANCE, optional=True),
    Element("ComputeResourceStats", _COMPUTE_RESOURCE_STATS, optional=True),
)

_VCLOUD_COMPUTE_RESOURCE_ELEMENTS = (
    Element("VirtualDataCenterName", STRING),
    Element("VirtualDataCenterRef", HIERARCHY_REF),
    Element("Enabled", BOOLEAN),
    Element(
        "AllocationModel",
        Enumeration(("Unknown", "AllocationPool", "PayAsYouGo", "ReservationPool", "Flex")),
    ),
    Element("UseNetworkFailoverResources", BOOLEAN),
    Element(
        "ResourceUsage",
        structure(
            Element("CpuUsageMhz", INTEGER),
            Element("MemoryUsageMb", INTEGER),
            Element("StorageUsageGb", INTEGER),
        ),
        optional=True,
    ),
)


def _listed(name: str, elements: tuple[Element, ...]) -> Structure:
    """Given a resource's name and elements, return the list of such resources in a tenant."""
    attributes = (Element("Type", STRING), Element("Href", HREF), Element("Id", GUID))
    item = structure(*elements, attributes=attributes)
    return structure(Element(name, item, repeated=True, json_name=f"{name}s"))


#: One child is there, by the tenant's type.
_TENANT_TYPE = structure(
    Element(
        "StandaloneTenant",
        structure(Element("TenantCredentials", structure(Element("Username", STRING)))),
        optional=True,
    ),
    Element(
        "vCloudTenant",
        structure(
            Element("OrganizationName", STRING),
            Element("OrganizationRef", HIERARCHY_REF),
        ),
        optional=True,
    ),
    Element(
        "ADTenantType",
        structure(
            Element("Domain", structure(Element("DomainName", STRING), Element("Port", INTEGER))),
            Element("Account", STRING),
        ),
        optional=True,
    ),
)

_GATEWAY_POOLS = structure(
    Element(
        "CloudGatewayPoolUid",
        Uid("CloudGatewayPool"),
        repeated=True,
        json_name="CloudGatewayPoolUids",
    )
)

CLOUD_TENANT = ResourceType(
    name="CloudTenant",
    plural="CloudTenants",
    collection="/cloud/tenants",
    relations=(Relation("server", "BackupServer"),),
    elements=(
        Element("Password", STRING, optional=True),  # has its place, and is never filled
        Element("Description", STRING),
        Element("Enabled", BOOLEAN, optional=True),
        Element(
            "LeaseOptions",
            structure(
                attributes=(Element("Enabled", BOOLEAN), Element("ExpirationDate", DATE_TIME))
            ),
            optional=True,
        ),
        Element("Resources", _listed("CloudTenantResource", _RESOURCE_ELEMENTS)),
        Element("LastResult", STRING),
        Element("LastActive", DATE_TIME, optional=True),
        Element("VmCount", INTEGER, optional=True),
        Element(
            "ComputeResources",
            _listed("CloudTenantComputeResource", _COMPUTE_RESOURCE_ELEMENTS),
            optional=True,
        ),
        Element("ThrottlingEnabled", BOOLEAN, optional=True),
        Element("ThrottlingSpeedLimit", INTEGER, optional=True),
        Element("ThrottlingSpeedUnit", Enumeration(("Mbps", "KBps", "MBps")), optional=True),
        Element("PublicIpCount", INTEGER, optional=True),
        Element("BackupCount", INTEGER, optional=True),
        Element("ReplicaCount", INTEGER, optional=True),
        Element("MaxConcurrentTasks", INTEGER),
        Element("WorkStationBackupCount", INTEGER),
        Element("ServerBackupCount", INTEGER),
        Element("BackupProtectionEnabled", BOOLEAN),
        Element("BackupProtectionPeriod", INTEGER),
        Element("TenantType", _TENANT_TYPE),
        Element(
            "VCloudComputeResources",
            _listed("CloudTenantVCloudComputeResource", _VCLOUD_COMPUTE_RESOURCE_ELEMENTS),
            optional=True,
        ),
        Element("CloudGatewayPools", _GATEWAY_POOLS, optional=True),
        Element("FailoverToOtherGatewaysIfFail", BOOLEAN),
    ),
    stored=(
        # Which of the kinds of tenant it is.
        Element("Kind", Enumeration(("vCD", "Standalone", "ActiveDirectory"))),
        Element(
            "OrganizationReference",
            HIERARCHY_REF,
            taken_from="TenantType.vCloudTenant.OrganizationRef",
        ),
    ),
    fields=(
        Field("Type", "Kind"),
        Field("OrganizationReference", "OrganizationReference"),
        *through("server", "BackupServer"),
    ),
    links=(
        UP_TO_SERVER,
        to_reference("CloudTenant"),
        down("CloudTenantResourceList", "/resources"),
        down("CloudTenantComputeResourceList", "/computeResources"),
        down("CloudSubtenantList", "/subtenants"),
        down("CloudTenantVCloudComputeResourceList", "/vcloudcomputeresources"),
    ),
    reference_links=(UP_TO_SERVER, to_entity("CloudTenant")),
    children=(
        SubCollection("resources", "CloudTenantResource", "tenant"),
        SubCollection("computeResources", "CloudTenantComputeResource", "tenant"),
        SubCollection("subtenants", "CloudSubtenant", "tenant"),
        SubCollection("vCloudComputeResources", "CloudTenantVCloudComputeResource", "tenant"),
        SubCollection("gatewayPools", "CloudGatewayPool", mentioned_in="CloudTenants"),
    ),
)

_OF_TENANT = (Relation("server", "BackupServer"), Relation("tenant", "CloudTenant"))


def _resource(
    name: str, collection: str, column: str, elements: tuple[Element, ...]
) -> ResourceType:
    """Given what differs, return the declaration of something that a tenant may use."""
    return ResourceType(
        name=name,
        plural=f"{name}s",
        collection=collection,
        queryable=False,
        key=False,
        identifier="Id",
        parent="tenant",
        attributes=(Element("Id", GUID, stored_as=column),),
        relations=_OF_TENANT,
        elements=elements,
        links=(up_to_entity("tenant"), up_to_entity("server")),
        default_sort="Id",
    )


CLOUD_TENANT_RESOURCE = _resource(
    "CloudTenantResource", "/resources", "resource_id", _RESOURCE_ELEMENTS
)

CLOUD_TENANT_COMPUTE_RESOURCE = _resource(
    "CloudTenantComputeResource",
    "/computeResources",
    "resource_id",
    _COMPUTE_RESOURCE_ELEMENTS,
)

CLOUD_TENANT_VCLOUD_COMPUTE_RESOURCE = _resource(
    "CloudTenantVCloudComputeResource",
    "/vCloudComputeResources",
    "resource_id",
    (
        *_VCLOUD_COMPUTE_RESOURCE_ELEMENTS,
        Element("WanAcceleratorUid", Uid("WanAccelerator"), optional=True),
        Element("NetworkAppliance", NETWORK_APPLIANCE, optional=True),
    ),
)

CLOUD_SUBTENANT = ResourceType(
    name="CloudSubtenant",
    plural="CloudSubtenants",
    collection="/subtenants",
    key=False,
    identifier="Id",
    parent="tenant",
    attributes=(Element("Id", GUID, stored_as="subtenant_id"),),
    relations=_OF_TENANT,
    elements=(
        Element("Name", STRING),
        Element("Description", STRING),
        Element("Password", STRING),  # has its place, and is never filled
        Element("Enabled", BOOLEAN),
        Element(
            "RepositoryQuota",
            structure(
                Element("DisplayName", STRING),
                Element("TenantResourceId", GUID),
                Element("QuotaMb", INTEGER),
                Element("UsedQuotaMb", INTEGER),
                attributes=(Element("Unlimited", BOOLEAN),),
            ),
        ),
    ),
    stored=(
        Element("Disabled", BOOLEAN),
        Element("Unlimited", BOOLEAN, taken_from="RepositoryQuota.Unlimited"),
        Element("Quota", INTEGER, taken_from="RepositoryQuota.QuotaMb"),
        Element("UsedQuota", INTEGER, taken_from="RepositoryQuota.UsedQuotaMb"),
        Element("BackupResourceId", GUID, taken_from="RepositoryQuota.TenantResourceId"),
    ),
    fields=(
        Field("UID", "Id"),
        Field("Disabled", "Disabled"),
        Field("Unlimited", "Unlimited"),
        Field("Quota", "Quota"),
        Field("UsedQuota", "UsedQuota"),
        Field("BackupResourceId", "BackupResourceId"),
        *through("tenant", "CloudTenant"),
        *through("server", "BackupServer"),
    ),
    links=(up_to_entity("tenant"), up_to_entity("server")),
)
