"""Replicas that tenants keep with a provider, and how they are failed over to."""

from __future__ import annotations

from holdfast.schema.resource import (
    Link,
    Relation,
    ResourceType,
    SubCollection,
    through,
)
from holdfast.schema.resources.links import UP_TO_SERVER, down, to_entity, to_reference, up
from holdfast.schema.resources.sessions import RECENT_DAYS, RESTORE_SESSION_STATE, RESULT
from holdfast.schema.roles import ADMINISTRATOR, RESTORERS, Role
from holdfast.schema.types import (
    BOOLEAN,
    DATE_TIME,
    GUID,
    HREF,
    INTEGER,
    STRING,
    Element,
    Enumeration,
    Uid,
    structure,
)

_POINTS = down("CloudVmReplicaPointReferenceList", "/vmReplicaPoints")
_PLAN_READERS = ADMINISTRATOR | {Role.VM_RESTORE_OPERATOR, Role.FILE_RESTORE_OPERATOR}

CLOUD_REPLICA = ResourceType(
    name="CloudReplica",
    plural="CloudReplicas",
    collection="/cloud/replicas",
    relations=(Relation("server", "BackupServer"),),
    elements=(Element("Platform", Enumeration(("VMware", "HyperV", "vCloud")), optional=True),),
    fields=through("server", "BackupServer"),
    links=(UP_TO_SERVER, to_reference("CloudReplica"), _POINTS),
    reference_links=(UP_TO_SERVER, to_entity("CloudReplica"), _POINTS),
    children=(SubCollection("vmReplicaPoints", "CloudVmReplicaPoint", "replica"),),
)

CLOUD_VM_REPLICA_POINT = ResourceType(
    name="CloudVmReplicaPoint",
    plural="CloudVmReplicaPoints",
    query_item="CloudReplica",
    collection="/cloud/vmReplicaPoints",
    attributes=(Element("VmDisplayName", STRING),),
    relations=(Relation("server", "BackupServer"), Relation("replica", "CloudReplica")),
    elements=(
        Element("CreationTimeUTC", DATE_TIME, field="CreationTime"),
        Element("VmName", STRING),
        Element(
            "PointType",
            Enumeration(("CDP", "Full", "ReverseIncrement", "Increment", "Snapshot")),
            field="Type",
        ),
        Element(
            "State",
            Enumeration(("Unknown", "Ready", "Failover", "Failback", "PermanentFailover")),
        ),
    ),
    fields=(*through("replica", "Replica"), *through("server", "BackupServer")),
    links=(UP_TO_SERVER, up("replica"), to_reference("CloudVmReplicaPoint")),
    reference_links=(UP_TO_SERVER, up("replica"), to_entity("CloudVmReplicaPoint")),
    indexes=(("creation_time_utc",), ("replica_uid",)),
    default_sort="CreationTime",
    newest_first=True,
)

_MACHINE_ELEMENTS = (
    Element("FailoverPlanVMId", GUID, optional=True),
    Element("Name", STRING, optional=True),
    Element("Order", INTEGER, optional=True),
)

CLOUD_FAILOVER_PLAN = ResourceType(
    name="CloudFailoverPlan",
    plural="CloudFailoverPlans",
    collection="/cloud/cloudFailoverPlans",
    readers=_PLAN_READERS,
    relations=(Relation("server", "BackupServer"), Relation("tenant", "CloudTenant")),
    elements=(
        Element("TenantUid", Uid("CloudTenant")),
        Element("TenantName", STRING),
        Element("Description", STRING, optional=True),
        Element(
            "CloudFailoverPlanOptions",
            structure(
                Element("PostFailoverPlanCommandEnabled", BOOLEAN),
                Element("PostFailoverPlanCommand", STRING),
                Element("PreFailoverPlanCommandEnabled", BOOLEAN),
                Element("PreFailoverPlanCommand", STRING),
            ),
        ),
        Element(
            "CloudFailoverPlanInfo",
            structure(
                Element(
                    "Includes",
                    structure(
                        Element(
                            "CloudFailoverPlanVm",
                            structure(
                                *_MACHINE_ELEMENTS,
                                attributes=(Element("Type", STRING), Element("Href", HREF)),
                            ),
                            repeated=True,
                            json_name="CloudFailoverPlanVms",
                        )
                    ),
                    optional=True,
                )
            ),
        ),
    ),
    fields=(*through("tenant", "CloudTenant"), *through("server", "BackupServer")),
    links=(UP_TO_SERVER, to_reference("CloudFailoverPlan")),
    reference_links=(
        UP_TO_SERVER,
        to_entity("CloudFailoverPlan"),
        Link("Related", relation="tenant", entity=True, named=True),
    ),
    children=(SubCollection("includes", "CloudFailoveredVm", "plan"),),
)

CLOUD_FAILOVERED_VM = ResourceType(
    name="CloudFailoveredVm",
    plural="CloudFailoveredVms",
    collection="/includes",
    queryable=False,
    key=False,
    identifier="FailoverPlanVMId",
    parent="plan",
    readers=_PLAN_READERS,
    relations=(Relation("server", "BackupServer"), Relation("plan", "CloudFailoverPlan")),
    elements=_MACHINE_ELEMENTS,
    default_sort="Order",
)

_POINT_LINK = structure(
    attributes=(
        Element("Rel", STRING),
        Element("Type", STRING),
        Element("Href", HREF),
        Element("Name", STRING),
    )
)

CLOUD_FAILOVER_SESSION = ResourceType(
    name="CloudFailoverSession",
    plural="CloudFailoverSessions",
    collection="/cloud/failoverSessions",
    readers=RESTORERS,
    attributes=(Element("CloudFailoverPlanName", STRING),),
    relations=(Relation("server", "BackupServer"),),
    elements=(
        Element("JobUid", Uid("Job")),
        Element("JobName", STRING),
        Element("JobType", Enumeration(("FailoverPlan",)), field="Type"),
        Element("CreationTimeUTC", DATE_TIME, field="CreationTime"),
        Element("EndTimeUTC", DATE_TIME, optional=True, field="EndTime"),
        Element("State", RESTORE_SESSION_STATE),
        Element("Result", RESULT),
        Element("Progress", INTEGER),
        Element("FailureMessage", STRING),
        Element(
            "CloudFailoverTasks",
            structure(
                Element(
                    "CloudFailoverTasks",  # the item is named like the list
                    structure(
                        Element("VmReplicaPointLink", _POINT_LINK, optional=True),
                        Element("CreationTimeUTC", DATE_TIME),
                        Element("EndTimeUTC", DATE_TIME, optional=True),
                        Element("State", RESTORE_SESSION_STATE),
                        Element("Result", RESULT),
                        Element("Progress", INTEGER),
                        Element("FailureMessage", STRING),
                        attributes=(Element("VmName", STRING),),
                    ),
                    repeated=True,
                )
            ),
        ),
    ),
    fields=through("server", "BackupServer"),
    links=(UP_TO_SERVER, to_reference("CloudFailoverSession")),
    reference_links=(UP_TO_SERVER, to_entity("CloudFailoverSession")),
    indexes=(("creation_time_utc",),),
    default_sort="CreationTime",
    newest_first=True,
    recent_days=RECENT_DAYS,
)
