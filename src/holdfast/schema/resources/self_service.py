"""What organizations and accounts may back up and restore by themselves."""

from __future__ import annotations

from holdfast.schema.resource import Field, Relation, ResourceType, through
from holdfast.schema.resources.links import UP_TO_SERVER, to_entity, to_reference
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

_SCHEDULER_TYPE = Enumeration(("Full", "Partial", "Random", "Disabled"))
_STORED_SCHEDULER_TYPE = Element(
    "JobSchedulerType", _SCHEDULER_TYPE, taken_from="JobSettings.JobSchedulerType"
)
_ACCOUNT_TYPE = Enumeration(("User", "Group"))

VCLOUD_ORGANIZATION_CONFIG = ResourceType(
    name="VCloudOrganizationConfig",
    plural="VCloudOrganizationConfigs",
    collection="/vCloud/orgConfigs",
    relations=(Relation("server", "BackupServer"),),
    elements=(
        Element("BackupServerUid", Uid("BackupServer")),
        Element("RepositoryUid", Uid("Repository")),
        Element("QuotaGb", INTEGER),
        Element("IsDisabled", BOOLEAN, field="Disabled"),
        Element(
            "JobSettings",
            structure(
                Element("CustomSettings", BOOLEAN, optional=True),
                Element("DefaultSettings", BOOLEAN, optional=True),
                Element("JobSchedulerType", _SCHEDULER_TYPE),
                Element("HighPriorityJob", BOOLEAN),
            ),
        ),
        Element("UsedQuotaMb", INTEGER, field="UsedQuota"),
        Element("HostUid", Uid("HierarchyRoot")),
        Element("RepositoryFriendlyName", STRING),
    ),
    stored=(_STORED_SCHEDULER_TYPE,),
    fields=(
        Field("JobSchedulerType", "JobSchedulerType"),
        *through("server", "BackupServer"),
    ),
    links=(UP_TO_SERVER, to_reference("VCloudOrganizationConfig")),
    reference_links=(UP_TO_SERVER, to_entity("VCloudOrganizationConfig")),
)

VSPHERE_SELF_SERVICE_CONFIG = ResourceType(
    name="VSphereSelfServiceConfig",
    plural="VSphereSelfServiceConfigs",
    collection="/selfService/vSphere/Configs",
    relations=(Relation("server", "BackupServer"),),
    elements=(
        Element("BackupServerUid", Uid("BackupServer")),
        Element("RepositoryUid", Uid("Repository")),
        Element("QuotaGb", INTEGER),
        Element("PerUser", BOOLEAN),
        Element(
            "Account",
            structure(
                Element("AccountName", STRING),
                Element("AccountSid", STRING),
                Element("AccountType", _ACCOUNT_TYPE),
            ),
        ),
        Element(
            "JobSettings",
            structure(
                Element("DefaultSettings", BOOLEAN),
                Element("JobSchedulerType", _SCHEDULER_TYPE),
                Element("HighPriorityJob", BOOLEAN),
            ),
        ),
        Element(
            "VCentersScope",
            structure(
                Element("VCenterUid", Uid("ManagedServer"), repeated=True, json_name="VCenterUids")
            ),
        ),
        Element(
            "Tags",
            structure(Element("Tag", HIERARCHY_REF, repeated=True, json_name="Tags")),
        ),
        Element("UsedQuotaMb", INTEGER, field="UsedQuota"),
    ),
    stored=(
        _STORED_SCHEDULER_TYPE,
        Element("AccountType", _ACCOUNT_TYPE, taken_from="Account.AccountType"),
    ),
    fields=(
        Field("JobSchedulerType", "JobSchedulerType"),
        Field("AccountType", "AccountType"),
        *through("server", "BackupServer"),
    ),
    links=(UP_TO_SERVER, to_reference("VSphereSelfServiceConfig")),
    reference_links=(UP_TO_SERVER, to_entity("VSphereSelfServiceConfig")),
)
