"""What a provider offers its tenants: gateways, hardware, addresses, networks."""

from __future__ import annotations

from holdfast.schema.resource import (
    Field,
    Link,
    Relation,
    ResourceType,
    SubCollection,
    through,
)
from holdfast.schema.resources.links import UP_TO_SERVER, down, to_entity, to_reference
from holdfast.schema.types import (
    BOOLEAN,
    HIERARCHY_REF,
    INTEGER,
    STRING,
    Element,
    Enumeration,
    Uid,
    structure,
)

HYPERVISOR = Enumeration(("VMware", "HyperV"))

CLOUD_GATEWAY = ResourceType(
    name="CloudGateway",
    plural="CloudGateways",
    collection="/cloud/gateways",
    relations=(Relation("server", "BackupServer"), Relation("pool", "CloudGatewayPool")),
    elements=(
        Element("Enabled", BOOLEAN, optional=True),
        Element("DnsNameOrIpAddress", STRING),
        Element("NetworkMode", STRING, optional=True),
        Element("ExternalIP", STRING),
        Element("ExternalPort", INTEGER, optional=True),
        Element("InternalPort", INTEGER, optional=True),
        Element("Description", STRING),
    ),
    fields=through("server", "BackupServer"),
    links=(
        UP_TO_SERVER,
        to_reference("CloudGateway"),
        Link("Related", relation="pool", named=True),
    ),
    reference_links=(UP_TO_SERVER, to_entity("CloudGateway")),
    indexes=(("pool_uid",),),
)

CLOUD_GATEWAY_POOL = ResourceType(
    name="CloudGatewayPool",
    plural="CloudGatewayPools",
    collection="/cloud/gatewayPools",
    relations=(Relation("server", "BackupServer"),),
    elements=(
        Element("Description", STRING),
        Element(
            "CloudGateways",
            structure(
                Element(
                    "CloudGatewayUid",
                    Uid("CloudGateway"),
                    repeated=True,
                    json_name="CloudGatewayUids",
                )
            ),
        ),
        Element(
            "CloudTenants",
            structure(
                Element(
                    "CloudTenantUid", Uid("CloudTenant"), repeated=True, json_name="CloudTenantUids"
                )
            ),
        ),
    ),
    fields=through("server", "BackupServer"),
    links=(
        UP_TO_SERVER,
        to_reference("CloudGatewayPool"),
        down("CloudGatewayReferenceList", "/gateways"),
    ),
    reference_links=(UP_TO_SERVER, to_entity("CloudGatewayPool")),
    children=(SubCollection("gateways", "CloudGateway", "pool"),),
)

_VMWARE_PLAN = structure(
    Element("HypervisorHostRef", HIERARCHY_REF),
    Element("ParentType", STRING),
    Element("ParentName", STRING),
    Element(
        "Datastores",
        structure(
            Element(
                "Datastore",
                structure(
                    Element("FriendlyName", STRING),
                    Element("DatastoreType", STRING),
                    Element("Reference", HIERARCHY_REF),
                    Element("RootPath", STRING),
                    Element("QuotaGb", INTEGER),
                    Element("PbmProfileId", STRING),
                ),
                repeated=True,
                json_name="Datastores",
            )
        ),
    ),
    Element(
        "Network",
        structure(
            Element("CountWithInternet", INTEGER),
            Element("CountWithoutInternet", INTEGER),
        ),
    ),
)

_HYPERV_PLAN = structure(
    Element("HypervisorHostRef", HIERARCHY_REF),
    Element(
        "Volumes",
        structure(
            Element(
                "Volume",
                structure(
                    Element("FriendlyName", STRING),
                    Element("VolumePath", STRING),
                    Element("QuotaGb", INTEGER),
                    attributes=(Element("Id", STRING),),
                ),
                repeated=True,
                json_name="Volumes",
            )
        ),
    ),
    Element(
        "Network",
        structure(
            Element("CountWithInternet", INTEGER),
            Element("CountWithoutInternet", INTEGER),
            attributes=(Element("Id", STRING),),
        ),
    ),
)

CLOUD_HARDWARE_PLAN = ResourceType(
    name="CloudHardwarePlan",
    plural="CloudHardwarePlans",
    collection="/cloud/hardwarePlans",
    relations=(Relation("server", "BackupServer"),),
    elements=(
        Element("Description", STRING, optional=True),
        Element("ProcessorUsageLimitMhz", INTEGER, optional=True),
        Element("MemoryUsageLimitMb", INTEGER, optional=True),
        Element(
            "HardwarePlanDetails",
            structure(
                Element("ViCloudHardwarePlan", _VMWARE_PLAN, optional=True),
                Element("HvCloudHardwarePlan", _HYPERV_PLAN, optional=True),
            ),
            optional=True,
        ),
    ),
    # Which of the two kinds of details there are.
    stored=(Element("Platform", HYPERVISOR),),
    fields=(Field("Platform", "Platform"), *through("server", "BackupServer")),
    links=(
        UP_TO_SERVER,
        to_reference("CloudHardwarePlan"),
        # Typed so in the API, although it leads to any number of tenants.
        Link("Down", "CloudTenantReference", path="/tenants", named=True),
    ),
    reference_links=(UP_TO_SERVER, to_entity("CloudHardwarePlan")),
    children=(
        SubCollection("tenants", "CloudTenant", mentioned_in="ComputeResources", entities=True),
    ),
)

CLOUD_PUBLIC_IP_ADDRESS = ResourceType(
    name="CloudPublicIpAddress",
    plural="CloudPublicIps",
    query_item="CloudPublicIp",
    collection="/cloud/publicIpAddresses",
    attributes=(Element("BackupServerUid", Uid("BackupServer")),),
    relations=(Relation("server", "BackupServer"), Relation("tenant", "CloudTenant")),
    elements=(
        Element("IpAddress", STRING),
        Element("TenantUid", Uid("CloudTenant"), optional=True),
    ),
    fields=(*through("tenant", "CloudTenant"), Field("BackupServerName", "server.Name")),
    links=(UP_TO_SERVER, to_reference("CloudPublicIpAddress")),
    reference_links=(UP_TO_SERVER, to_entity("CloudPublicIpAddress")),
)

VLAN_CONFIGURATION = ResourceType(
    name="VlanConfiguration",
    plural="VlanConfigurations",
    query_item="Vlans",
    collection="/cloud/vlans",
    relations=(Relation("server", "BackupServer"),),
    elements=(
        Element("HostRef", HIERARCHY_REF),
        Element("PlatformType", HYPERVISOR),
        Element("VlanIdsWithInternetLeftBound", INTEGER),
        Element("VlanIdsWithInternetRightBound", INTEGER),
        Element("VlanIdsWithoutInternetLeftBound", INTEGER),
        Element("VlanIdsWithoutInternetRightBound", INTEGER),
        Element("SwitchName", STRING),
        Element("SwitchId", STRING),
        Element("SwitchType", Enumeration(("VirtualSwitch", "DistributedVirtualSwitch"))),
        Element("ClusterName", STRING, optional=True),
        Element("ClusterId", STRING),
    ),
    stored=(Element("ClusterRef", HIERARCHY_REF),),
    fields=(Field("ClusterRef", "ClusterRef"), *through("server", "BackupServer")),
    links=(UP_TO_SERVER, to_reference("VlanConfiguration")),
    reference_links=(UP_TO_SERVER, to_entity("VlanConfiguration")),
)
