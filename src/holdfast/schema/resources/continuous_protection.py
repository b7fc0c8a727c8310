"""Replication without pause: policies, what they keep, and their sessions."""

from __future__ import annotations

from holdfast.schema.resource import (
    Field,
    Link,
    Relation,
    ResourceType,
    SubCollection,
    View,
    through,
)
from holdfast.schema.resources.guest_processing import GUEST_PROCESSING_OPTIONS
from holdfast.schema.resources.jobs import INCLUDES, OBJECT_ELEMENTS
from holdfast.schema.resources.links import (
    UP_TO_SERVER,
    down,
    to_entity,
    to_reference,
    up,
    up_to_entity,
)
from holdfast.schema.resources.schedules import ENABLED, TIME_PERIODS
from holdfast.schema.resources.sessions import (
    JOB_SESSION_STATE,
    RECENT_DAYS,
    RESULT,
    TASK_SESSION_STATE,
)
from holdfast.schema.roles import ADMINISTRATOR
from holdfast.schema.types import (
    BOOLEAN,
    DATE_TIME,
    HIERARCHY_REF,
    INTEGER,
    STRING,
    Element,
    Enumeration,
    Uid,
    structure,
)

_SCHEDULED_PERIODS = structure(Element("TimePeriods", TIME_PERIODS), attributes=ENABLED)
_THRESHOLD = structure(
    Element("Enabled", BOOLEAN),
    Element("RPOThresholdSeconds", INTEGER),
    Element("RPOThresholdMinutes", INTEGER),
)
_REPLICA_SCHEDULE = structure(
    Element("RecoveryPointObjectiveSeconds", INTEGER),
    Element("RecoveryPointObjectiveMinutes", INTEGER),
    Element("RPOSchedule", _SCHEDULED_PERIODS),
    Element(
        "RPOReporting",
        structure(Element("MarkAsWarning", _THRESHOLD), Element("MarkAsFailed", _THRESHOLD)),
    ),
    Element("ShortTermRetentionMinutes", INTEGER),
    Element("ShortTermRetentionHours", INTEGER),
    Element("LongTermRetentionHours", INTEGER),
    Element("LongTermRetentionKeepDays", INTEGER),
    Element("LongTermRetentionSchedule", _SCHEDULED_PERIODS),
)
_POLICY = Element("PolicyUid", Uid("CdpPolicy"))
_POLICY_NAME = Element("PolicyName", STRING)
_OF_POLICY = (Relation("server", "BackupServer"), Relation("policy", "CdpPolicy"))

CDP_POLICY = ResourceType(
    name="CdpPolicy",
    plural="CdpPolicies",
    collection="/cdpPolicies",
    readers=ADMINISTRATOR,
    relations=(Relation("server", "BackupServer"),),
    elements=(
        Element("PolicyType", STRING),
        Element("Platform", Enumeration(("VMware", "vCloud"))),
        Element("Description", STRING),
        Element("ScheduleConfigured", BOOLEAN),
        Element("ScheduleEnabled", BOOLEAN),
        Element("NextRun", DATE_TIME, optional=True),
        Element(
            "PolicyScheduleOptions",
            structure(Element("CdpReplica", _REPLICA_SCHEDULE)),
            optional=True,
        ),
        Element(
            "CdpPolicyInfo",
            structure(
                Element(
                    "CdpReplicaPolicyInfo",
                    structure(
                        Element("Includes", INCLUDES),
                        Element("GuestProcessingOptions", GUEST_PROCESSING_OPTIONS, optional=True),
                    ),
                )
            ),
            optional=True,
        ),
    ),
    fields=through("server", "BackupServer"),
    links=(
        UP_TO_SERVER,
        to_reference("CdpPolicy"),
        down("ObjectInJobList", "/includes"),
        down("CdpReplicaSessionReferenceList", "/cdpReplicaSessions"),
    ),
    reference_links=(UP_TO_SERVER, to_entity("CdpPolicy")),
    children=(
        SubCollection("includes", "ObjectInCdpPolicy", "policy"),
        SubCollection("cdpReplicaSessions", "CdpReplicaSession", "policy"),
    ),
)

#: Written like the objects of other jobs, but found below its policy.
OBJECT_IN_CDP_POLICY = ResourceType(
    name="ObjectInCdpPolicy",
    type_name="ObjectInJob",
    root="ObjectInJob",
    plural="ObjectsInJob",
    collection="/includes",
    queryable=False,
    key=False,
    identifier="ObjectInJobId",
    parent="policy",
    readers=ADMINISTRATOR,
    relations=_OF_POLICY,
    elements=OBJECT_ELEMENTS,
    links=(up_to_entity("policy"),),
)

CDP_REPLICA = ResourceType(
    name="CdpReplica",
    plural="CdpReplicas",
    collection="/cdpReplicas",
    readers=ADMINISTRATOR,
    relations=_OF_POLICY,
    elements=(Element("BackupServer", STRING), _POLICY, _POLICY_NAME),
    fields=(Field("PolicyId", "PolicyUid"), *through("server", "BackupServer")),
    links=(
        UP_TO_SERVER,
        down("CdpReplicaVmReferenceList", "/vms"),
        up("policy"),
        to_reference("CdpReplica"),
    ),
    reference_links=(UP_TO_SERVER, to_entity("CdpReplica")),
    children=(SubCollection("vms", "CdpReplicaVm", "replica"),),
)

CDP_REPLICA_VM = ResourceType(
    name="CdpReplicaVm",
    plural="CdpReplicaVms",
    collection="/vms",
    queryable=False,
    parent="replica",
    readers=ADMINISTRATOR,
    relations=(
        *_OF_POLICY,
        Relation("replica", "CdpReplica"),
        Relation("repository", "Repository"),
    ),
    elements=(
        Element("VmRef", HIERARCHY_REF),
        Element("ReplicaUid", Uid("CdpReplica")),
        Element("BackupServer", STRING),
        _POLICY,
        _POLICY_NAME,
        Element("RepositoryName", STRING),
    ),
    views=(View("/cdpReplica/vms", plural="VmCdpReplicas"),),
    links=(UP_TO_SERVER, up("repository"), up("replica"), up("policy")),
    reference_links=(UP_TO_SERVER, to_entity("CdpReplicaVm")),
)

VAPP_CDP_REPLICA = ResourceType(
    name="VAppCdpReplica",
    plural="VAppCdpReplicas",
    collection="/cdpReplica/vApps",
    queryable=False,
    readers=ADMINISTRATOR,
    relations=(*_OF_POLICY, Relation("replica", "CdpReplica")),
    elements=(
        Element("vAppRef", HIERARCHY_REF),
        Element("ReplicaUid", Uid("CdpReplica")),
        Element("BackupServer", STRING),
        _POLICY,
        _POLICY_NAME,
    ),
    links=(
        up_to_entity("server"),
        to_reference("VAppCdpReplica"),
        down("VAppCdpReplicaVmReferenceList", "/vms"),
        up("policy"),
    ),
    reference_links=(UP_TO_SERVER, to_entity("VAppCdpReplica")),
    children=(SubCollection("vms", "VAppCdpReplicaVm", "v_app"),),
)

VAPP_CDP_REPLICA_VM = ResourceType(
    name="VAppCdpReplicaVm",
    plural="VAppCdpReplicaVms",
    collection="/vms",
    queryable=False,
    parent="v_app",
    readers=ADMINISTRATOR,
    relations=(*_OF_POLICY, Relation("v_app", "VAppCdpReplica")),
    elements=(
        Element("ReplicaUid", Uid("CdpReplica")),
        Element("VmRef", HIERARCHY_REF),
    ),
    links=(
        UP_TO_SERVER,
        Link("Alternate", "VAppCdpReplicaVmReference", path="?format=Reference", named=True),
        up("v_app"),
        up("policy"),
    ),
    reference_links=(UP_TO_SERVER, to_entity("VAppCdpReplicaVm")),
)

CDP_REPLICA_SESSION = ResourceType(
    name="CdpReplicaSession",
    plural="CdpReplicaSessions",
    query_item="CdpPolicySession",
    collection="/cdpReplicaSessions",
    relations=_OF_POLICY,
    elements=(
        _POLICY,
        _POLICY_NAME,
        Element("PolicyType", STRING),
        Element("CreationTimeUTC", DATE_TIME, field="CreationTime"),
        Element("EndTimeUTC", DATE_TIME, optional=True, field="EndTime"),
        Element("State", JOB_SESSION_STATE),
        Element("Result", RESULT),
        Element("Progress", INTEGER),
        Element("FailureMessage", STRING),
        Element("IsRetry", BOOLEAN),
    ),
    fields=(Field("Id", "UID"), *through("server", "BackupServer")),
    links=(
        UP_TO_SERVER,
        up("policy"),
        to_reference("CdpReplicaSession"),
        down("CdpReplicaTaskSessionReferenceList", "/cdpReplicaTaskSessions"),
    ),
    reference_links=(UP_TO_SERVER, up("policy"), to_entity("CdpReplicaSession")),
    children=(SubCollection("cdpReplicaTaskSessions", "CdpReplicaTaskSession", "policy_session"),),
    indexes=(("creation_time_utc",), ("policy_uid", "creation_time_utc")),
    default_sort="CreationTime",
    newest_first=True,
    recent_days=RECENT_DAYS,
    json_first=("IsRetry",),
)

CDP_REPLICA_TASK_SESSION = ResourceType(
    name="CdpReplicaTaskSession",
    plural="CdpReplicaTaskSessions",
    collection="/cdpReplicaTaskSessions",
    attributes=(Element("VmDisplayName", STRING),),
    relations=(
        Relation("server", "BackupServer"),
        Relation("policy_session", "CdpReplicaSession"),
    ),
    elements=(
        Element("PolicySessionUid", Uid("CdpReplicaSession")),
        Element("CreationTimeUTC", DATE_TIME, field="CreationTime"),
        Element("EndTimeUTC", DATE_TIME, optional=True, field="EndTime"),
        Element("State", TASK_SESSION_STATE),
        Element("Result", RESULT),
        Element("Reason", STRING, optional=True),
        Element("TotalSize", INTEGER),
    ),
    fields=(
        Field("Id", "UID"),
        Field("PolicySessionName", "policy_session.Name"),
        *through("server", "BackupServer"),
    ),
    links=(UP_TO_SERVER, up("policy_session"), to_reference("CdpReplicaTaskSession")),
    reference_links=(UP_TO_SERVER, to_entity("CdpReplicaTaskSession")),
    indexes=(("creation_time_utc",), ("policy_session_uid", "creation_time_utc")),
    default_sort="CreationTime",
    newest_first=True,
    recent_days=RECENT_DAYS,
)
