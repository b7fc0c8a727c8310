"""Replicas of machines and the points they can be failed over to."""

from __future__ import annotations

from holdfast.schema.resource import (
    Action,
    Link,
    Relation,
    ResourceType,
    SubCollection,
    through,
)
from holdfast.schema.resources.links import UP_TO_SERVER, down, to_entity, to_reference, up
from holdfast.schema.resources.restore_points import ALGORITHM
from holdfast.schema.roles import RESTORERS
from holdfast.schema.types import DATE_TIME, STRING, Element, Enumeration, Uid

_POINTS = down("VmReplicaPointReferenceList", "/vmReplicaPoints")
_UP_TO_REPLICA = up("replica")

REPLICA_POINT_TYPE = Enumeration(("Full", "ReverseIncrement", "Increment", "Snapshot"))

REPLICA = ResourceType(
    name="Replica",
    plural="Replicas",
    collection="/replicas",
    readers=RESTORERS,
    relations=(
        Relation("server", "BackupServer"),
        Relation("repository", "Repository"),
        Relation("job", "Job"),
    ),
    elements=(Element("Platform", Enumeration(("VMware", "Hyperv", "vCloud")), optional=True),),
    stored=(
        Element(
            "State",
            Enumeration(("Ready", "Processing", "Failover", "Failback", "PermanentFailover")),
            optional=True,
        ),
        # What is under way, or waits for a host to be settled; empty for nothing.
        Element("Doing", STRING, optional=True),
        Element("SourceName", STRING, optional=True),
        Element("HostUid", Uid("ManagedServer"), optional=True),
        Element("PointUid", Uid("VmReplicaPoint"), optional=True),
        Element("Failback", STRING, optional=True),
        # The host on which the source was seen to run beside the replica; empty for none.
        Element("SourceRunsOn", STRING, optional=True),
    ),
    fields=(
        *through("job", "Job"),
        *through("repository", "Repository"),
        *through("server", "BackupServer"),
    ),
    links=(up("repository"), UP_TO_SERVER, to_reference("Replica"), _POINTS),
    reference_links=(UP_TO_SERVER, up("repository"), to_entity("Replica"), _POINTS),
    children=(SubCollection("vmReplicaPoints", "VmReplicaPoint", "replica"),),
    indexes=(("repository_uid",),),
)

VM_REPLICA_POINT = ResourceType(
    name="VmReplicaPoint",
    plural="VmReplicaPoints",
    collection="/vmReplicaPoints",
    readers=RESTORERS,
    attributes=(Element("VmDisplayName", STRING),),
    relations=(Relation("server", "BackupServer"), Relation("replica", "Replica")),
    elements=(
        Element("CreationTimeUTC", DATE_TIME, field="CreationTime"),
        Element("VmName", STRING),
        Element("Algorithm", ALGORITHM),
        Element("PointType", REPLICA_POINT_TYPE, field="Type"),
    ),
    fields=(*through("replica", "Replica"), *through("server", "BackupServer")),
    links=(
        Link("Failover", path="?action=failover"),
        UP_TO_SERVER,
        _UP_TO_REPLICA,
        to_reference("VmReplicaPoint"),
        down("VmReplicaPointMountList", "/mounts"),
        Link("Create", "VmReplicaPointMount", path="/mounts"),
    ),
    actions=(Action("failover", "StartReplicaFailover", RESTORERS),),
    reference_links=(UP_TO_SERVER, _UP_TO_REPLICA, to_entity("VmReplicaPoint")),
    indexes=(("creation_time_utc",), ("replica_uid",)),
    default_sort="CreationTime",
    newest_first=True,
)

VAPP_REPLICA_POINT = ResourceType(
    name="VAppReplicaPoint",
    plural="VAppReplicaPoints",
    collection="/vAppReplicaPoints",
    readers=RESTORERS,
    attributes=(Element("VAppDisplayName", STRING),),
    relations=(
        Relation("server", "BackupServer"),
        Relation("replica", "Replica"),
        Relation("vm_point", "VmReplicaPoint"),
    ),
    elements=(
        Element("CreationTimeUTC", DATE_TIME, field="CreationTime"),
        Element("VAppName", STRING),
        Element("Algorithm", ALGORITHM),
        Element("PointType", REPLICA_POINT_TYPE, field="Type"),
    ),
    fields=(*through("replica", "Replica"), *through("server", "BackupServer")),
    links=(
        UP_TO_SERVER,
        _UP_TO_REPLICA,
        to_reference("VAppReplicaPoint"),
        Link("Down", relation="vm_point", named=True),
    ),
    reference_links=(UP_TO_SERVER, _UP_TO_REPLICA, to_entity("VAppReplicaPoint")),
    indexes=(("creation_time_utc",),),
    default_sort="CreationTime",
    newest_first=True,
)
