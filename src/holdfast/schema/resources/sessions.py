"""Sessions of jobs and of the machines in them."""

from __future__ import annotations

from holdfast.schema.resource import (
    Action,
    Field,
    Link,
    Relation,
    ResourceType,
    SubCollection,
    View,
    through,
)
from holdfast.schema.resources.links import UP_TO_SERVER, to_entity, to_reference
from holdfast.schema.roles import ADMINISTRATOR, EVERYONE
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

#: The plain collections of sessions go this far back; queries have no such limit.
RECENT_DAYS = 30

JOB_SESSION_STATE = Enumeration(
    ("Starting", "Stopping", "Working", "Pausing", "Resuming", "Stopped")
)
TASK_SESSION_STATE = Enumeration(("InProgress", "Pending", "Completed"))
RESTORE_SESSION_STATE = Enumeration(("Starting", "Stopping", "Working", "Stopped"))
RESULT = Enumeration(("Success", "Warning", "Failed"), undecided=True)


def _job_session(
    name: str,
    collection: str,
    job_types: tuple[str, ...],
    tasks: SubCollection,
    *,
    extra_relations: tuple[Relation, ...] = (),
    extra_links: tuple[Link, ...] = (),
    extra_children: tuple[SubCollection, ...] = (),
    extra_indexes: tuple[tuple[str, ...], ...] = (),
    views: tuple[View, ...] = (),
    actions: tuple[Action, ...] = (),
) -> ResourceType:
    """Given what differs between the kinds of job session, return the declaration of one."""
    task_list = Link("Down", f"{tasks.target}ReferenceList", path=f"/{tasks.path}")
    return ResourceType(
        name=name,
        plural=f"{name}s",
        collection=collection,
        relations=(
            Relation("server", "BackupServer"),
            Relation("job", "Job"),
            Relation("restore_point", "RestorePoint"),
            *extra_relations,
        ),
        elements=(
            Element("JobUid", Uid("Job")),
            Element("JobName", STRING),
            Element("JobType", Enumeration(job_types)),
            Element("CreationTimeUTC", DATE_TIME, field="CreationTime"),
            Element("EndTimeUTC", DATE_TIME, optional=True, field="EndTime"),
            Element("State", JOB_SESSION_STATE),
            Element("Result", RESULT),
            Element("Progress", INTEGER),
            Element("FailureMessage", STRING, optional=True),
            Element("IsRetry", BOOLEAN),
        ),
        fields=through("server", "BackupServer"),
        links=(
            UP_TO_SERVER,
            Link("Up", relation="job", named=True),
            Link("Alternate", f"{name}Reference", path="", named=True),
            task_list,
            *extra_links,
        ),
        reference_links=(
            UP_TO_SERVER,
            Link("Up", relation="job", named=True),
            Link("Alternate", name, path="?format=Entity", named=True),
            task_list,
        ),
        children=(tasks, *extra_children),
        views=views,
        actions=actions,
        indexes=(
            ("creation_time_utc",),
            ("job_uid", "creation_time_utc", "result"),
            ("result", "creation_time_utc"),
            *extra_indexes,
        ),
        default_sort="CreationTime",
        newest_first=True,
        recent_days=RECENT_DAYS,
        json_first=("IsRetry",),
    )


def _task_session(
    name: str,
    collection: str,
    job_session: str,
    point: str,
    extra_elements: tuple[Element, ...] = (),
) -> ResourceType:
    """Given what differs between the kinds of task session, return the declaration of one."""
    return ResourceType(
        name=name,
        plural=f"{name}s",
        collection=collection,
        attributes=(Element("VmDisplayName", STRING),),
        relations=(
            Relation("server", "BackupServer"),
            Relation("job_session", job_session),
            Relation("job", "Job"),
            Relation("point", point),
        ),
        elements=(
            Element("JobSessionUid", Uid(job_session)),
            Element("CreationTimeUTC", DATE_TIME, field="CreationTime"),
            Element("EndTimeUTC", DATE_TIME, optional=True, field="EndTime"),
            Element("State", TASK_SESSION_STATE),
            Element("Result", RESULT),
            Element("Reason", STRING),
            Element("TotalSize", INTEGER),
            *extra_elements,
        ),
        fields=(
            Field("JobUid", "job.UID"),
            Field("JobName", "job_session.JobName"),
            *through("server", "BackupServer"),
        ),
        links=(
            UP_TO_SERVER,
            Link("Up", relation="job_session", named=True),
            Link("Alternate", f"{name}Reference", path="", named=True),
            Link("Related", relation="point", entity=True, named=True),
        ),
        reference_links=(
            UP_TO_SERVER,
            Link("Up", relation="job_session", named=True),
            Link("Alternate", name, path="?format=Entity", named=True),
        ),
        indexes=(
            ("creation_time_utc",),
            ("job_session_uid",),
            ("result", "creation_time_utc"),
            ("vm_display_name_key", "creation_time_utc", "result"),
            ("job_uid", "creation_time_utc", "result"),
            ("server_uid", "result", "creation_time_utc"),
        ),
        default_sort="CreationTime",
        newest_first=True,
        recent_days=RECENT_DAYS,
    )


BACKUP_JOB_SESSION = _job_session(
    "BackupJobSession",
    "/backupSessions",
    (
        "Backup",
        "BackupCopy",
        "ImmediateBackupCopy",
        "ImmediateBackupCopyWorker",
        "AgentBackup",
        "AgentManagement",
        "NasBackup",
    ),
    SubCollection("taskSessions", "BackupTaskSession", "job_session"),
    extra_relations=(Relation("parent_session", "BackupJobSession"),),
    extra_links=(
        Link("Stop", path="?action=stop"),
        Link("Related", relation="restore_point", named=True),
    ),
    # The sessions by which a session of a whole protection group reaches its computers.
    extra_children=(
        SubCollection("agentManagementSessions", "BackupJobSession", "parent_session"),
    ),
    extra_indexes=(("parent_session_uid",),),
    views=(
        View("/agents/backupSessions", "JobType==AgentBackup,JobType==AgentManagement"),
        View("/nas/backupSessions", "JobType==NasBackup"),
    ),
    actions=(Action("stop", "StopJobSession", ADMINISTRATOR),),
)

REPLICA_JOB_SESSION = _job_session(
    "ReplicaJobSession",
    "/replicaSessions",
    ("Replica",),
    # The documentation also prints the path with a letter missing; clients may have copied it.
    SubCollection(
        "replicaTaskSessions",
        "ReplicaTaskSession",
        "job_session",
        spellings=("repicaTaskSessions",),
    ),
)

BACKUP_TASK_SESSION = _task_session(
    "BackupTaskSession",
    "/backupTaskSessions",
    "BackupJobSession",
    "VmRestorePoint",
    (Element("VmUid", HIERARCHY_REF, optional=True),),
)

REPLICA_TASK_SESSION = _task_session(
    "ReplicaTaskSession", "/replicaTaskSessions", "ReplicaJobSession", "VmReplicaPoint"
)

RESTORE_SESSION = ResourceType(
    name="RestoreSession",
    plural="RestoreSessions",
    collection="/restoreSessions",
    readers=EVERYONE,
    attributes=(Element("VmDisplayName", STRING),),
    relations=(Relation("server", "BackupServer"), Relation("point", "VmRestorePoint")),
    elements=(
        Element("JobUid", Uid("Job")),
        Element("JobName", STRING),
        Element("JobType", Enumeration(("FileLevelRestore", "RestoreVm")), field="Type"),
        Element("CreationTimeUTC", DATE_TIME, field="CreationTime"),
        Element("EndTimeUTC", DATE_TIME, optional=True, field="EndTime"),
        Element("State", RESTORE_SESSION_STATE),
        Element("Result", RESULT),
        Element("Progress", INTEGER, optional=True),
        Element("FailureMessage", STRING),
        Element("RestoredObjRef", HIERARCHY_REF, optional=True),
    ),
    fields=through("server", "BackupServer"),
    links=(
        UP_TO_SERVER,
        to_reference("RestoreSession"),
        Link("Related", relation="point", named=True),
    ),
    reference_links=(UP_TO_SERVER, to_entity("RestoreSession")),
    indexes=(("creation_time_utc",),),
    default_sort="CreationTime",
    newest_first=True,
    recent_days=RECENT_DAYS,
)

SYSTEM_SESSION = ResourceType(
    name="SystemSession",
    plural="SystemSessions",
    collection="/systemSessions",
    queryable=False,
    readers=ADMINISTRATOR,
    relations=(Relation("server", "BackupServer"),),
    elements=(
        Element(
            "SessionType",
            Enumeration(
                (
                    "CatalogConsolidation",
                    "CatalogCrawlJob",
                    "CatalogReplicationJob",
                    "CollectJob",
                    "SecurityScopesRebuild",
                    "VcPluginJob",
                    "LicAutoUpdate",
                    "DatabaseMaintenance",
                    "HistoryCollectJob",
                    "LicenseRevoke",
                    "SyncCheckForProductUpdatesOption",
                    "LogExport",
                )
            ),
        ),
        Element("CreationTimeUTC", DATE_TIME, field="CreationTime"),
        Element("EndTimeUTC", DATE_TIME, optional=True, field="EndTime"),
        Element(
            "State",
            Enumeration(("InProgress", "CompletedSuccessfully", "CompletedWarning", "Failed")),
        ),
        Element(
            "Result",
            structure(
                Element("Result", STRING),
                Element("Message", STRING),
                Element("IsCanceled", BOOLEAN),
            ),
            optional=True,
        ),
    ),
    # Typed so in the API.
    links=(
        Link("Alternate", "BackupJobSessionReference", path="", named=True),
        Link("Down", "SystemSessionEvents", path="/events", named=True),
    ),
    reference_links=(UP_TO_SERVER, to_entity("SystemSession")),
    indexes=(("creation_time_utc",),),
    default_sort="CreationTime",
    newest_first=True,
    recent_days=RECENT_DAYS,
)
