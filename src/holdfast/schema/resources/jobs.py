"""Jobs and the objects in them."""

from __future__ import annotations

from holdfast.schema.resource import (
    Action,
    Field,
    Link,
    Relation,
    ResourceType,
    SubCollection,
    When,
    through,
)
from holdfast.schema.resources.guest_processing import GUEST_PROCESSING_OPTIONS
from holdfast.schema.resources.links import (
    UP_TO_SERVER,
    down,
    to_entity,
    to_reference,
    up_to_entity,
)
from holdfast.schema.resources.schedules import (
    GFS_RETENTION_POLICY,
    SCHEDULE_OPTIONS,
    SIMPLE_RETENTION_POLICY,
)
from holdfast.schema.roles import ADMINISTRATOR
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

OBJECT_ELEMENTS = (
    Element("ObjectInJobId", GUID),
    Element("HierarchyObjRef", HIERARCHY_REF),
    Element("Name", STRING),
    Element("DisplayName", STRING),
    Element("Order", INTEGER, optional=True),
    Element("GuestProcessingOptions", GUEST_PROCESSING_OPTIONS, optional=True),
)

INCLUDES = structure(
    Element(
        "ObjectInJob",
        structure(*OBJECT_ELEMENTS, attributes=(Element("Type", STRING), Element("Href", HREF))),
        repeated=True,
        json_name="ObjectInJobs",
    )
)

#: What a job leaves out of the hosts and tags that it includes.
EXCLUDES = structure(Element("ObjectInJob", structure(*OBJECT_ELEMENTS), repeated=True))


def _linked(item: str, items: str, uid: Element) -> Structure:
    """Given the name of an item, its plural and the UID in it, return the wrapper of such items."""
    return structure(
        Element(
            item,
            structure(Element("ObjectInJobId", GUID), uid),
            repeated=True,
            json_name=items,
        )
    )


LINKED_JOB_UID = Element("LinkedJobUid", Uid("Job"))
LINKED_REPOSITORY_UID = Element("LinkedBackupRepositoryUid", Uid("Repository"))

_LINKED_JOBS = _linked("LinkedJobObject", "LinkedJobObjects", LINKED_JOB_UID)
_LINKED_BACKUPS = _linked(
    "LinkedBackup", "LinkedBackups", Element("LinkedBackupUid", Uid("Backup"))
)
_LINKED_REPOSITORIES = _linked(
    "LinkedBackupRepository", "LinkedBackupRepositories", LINKED_REPOSITORY_UID
)
_STORAGE_OPTIONS = structure(Element("PasswordKeyId", STRING, optional=True))

#: One child is there, by the job's type.
_JOB_INFO = structure(
    Element(
        "BackupJobInfo",
        structure(
            Element("Includes", INCLUDES, optional=True),
            Element("GuestProcessingOptions", GUEST_PROCESSING_OPTIONS, optional=True),
            Element("AdvancedStorageOptions", _STORAGE_OPTIONS, optional=True),
            Element("GfsRetentionPolicy", GFS_RETENTION_POLICY, optional=True),
            Element("SimpleRetentionPolicy", SIMPLE_RETENTION_POLICY),
        ),
        optional=True,
    ),
    Element("FileCopyJobInfo", structure(), optional=True),
    Element(
        "ReplicaJobInfo",
        structure(
            Element("Includes", INCLUDES, optional=True),
            Element("GuestProcessingOptions", GUEST_PROCESSING_OPTIONS, optional=True),
        ),
        optional=True,
    ),
    Element(
        "BackupCopyJobInfo",
        structure(
            Element("Includes", INCLUDES, optional=True),
            Element("LinkedJobIncludes", _LINKED_JOBS, optional=True),
            Element("AdvancedStorageOptions", _STORAGE_OPTIONS, optional=True),
            Element("LinkedBackupIncludes", _LINKED_BACKUPS, optional=True),
        ),
        optional=True,
    ),
    Element(
        "ImmediateBackupCopyJobInfo",
        structure(
            Element("LinkedJobIncludes", _LINKED_JOBS),
            Element("LinkedBackupIncludes", _LINKED_BACKUPS),
            Element("LinkedBackupRepositoryIncludes", _LINKED_REPOSITORIES),
        ),
        optional=True,
    ),
)

#: The types of jobs that copy what others made. They have links to these instead of objects.
COPY_JOB_TYPES = ("BackupCopy", "ImmediateBackupCopy")
_IS_COPY = When("JobType", COPY_JOB_TYPES)
_IS_NO_COPY = When("JobType", COPY_JOB_TYPES, equal=False)

_BACKUP_SESSIONS = down(
    "BackupJobSessionReferenceList",
    "/backupSessions",
    when=When("JobType", "Replica", equal=False),
)
_REPLICA_SESSIONS = down(
    "ReplicaJobSessionReferenceList", "/replicaSessions", when=When("JobType", "Replica")
)

JOB = ResourceType(
    name="Job",
    plural="Jobs",
    collection="/jobs",
    readers=ADMINISTRATOR,
    relations=(Relation("server", "BackupServer"),),
    elements=(
        Element(
            "JobType",
            # The documented four; file share jobs are shown here too, as the sessions name them.
            Enumeration(("Backup", "BackupCopy", "ImmediateBackupCopy", "Replica", "NasBackup")),
            optional=True,
        ),
        Element("Platform", Enumeration(("VMware", "Hyperv", "vCloud")), optional=True),
        Element("Description", STRING, optional=True),
        Element("ScheduleConfigured", BOOLEAN, optional=True),
        Element("ScheduleEnabled", BOOLEAN, optional=True),
        Element("NextRun", DATE_TIME, optional=True),
        Element("JobScheduleOptions", SCHEDULE_OPTIONS, optional=True),
        Element("JobInfo", _JOB_INFO, optional=True),
    ),
    stored=(
        Element("RepositoryUid", Uid("Repository"), optional=True),
        Element("RetainedPoints", INTEGER, optional=True),
        Element("RetainedDays", INTEGER, optional=True),
        Element("Options", STRING, optional=True),
        Element("Target", STRING, optional=True),
        Element("Excludes", EXCLUDES, optional=True),
    ),
    fields=through("server", "BackupServer"),
    links=(
        UP_TO_SERVER,
        to_reference("Job"),
        Link("Edit", "JobReference", path="", named=True),
        Link("Clone", path="?action=clone"),
        Link("ToggleScheduleEnabled", path="?action=toggleScheduleEnabled"),
        down("ObjectInJobList", "/includes", when=_IS_NO_COPY),
        _BACKUP_SESSIONS,
        Link("Create", "ObjectInJob", path="/includes", when=_IS_NO_COPY),
        Link("Start", path="?action=start"),
        Link("Stop", path="?action=stop"),
        Link("Retry", path="?action=retry"),
        _REPLICA_SESSIONS,
        Link("Sync", path="?action=sync", when=_IS_COPY),
        down("LinkedJobObjectList", "/linkedJobs", when=_IS_COPY),
        down("LinkedBackupRepositoryObjectList", "/linkedBackupRepositories", when=_IS_COPY),
        Link("Create", "LinkedJobObject", path="/linkedJobs", when=_IS_COPY),
        Link(
            "Create",
            "LinkedBackupRepositoryObject",
            path="/linkedBackupRepositories",
            when=_IS_COPY,
        ),
    ),
    reference_links=(
        UP_TO_SERVER,
        to_entity("Job"),
        _BACKUP_SESSIONS,
        _REPLICA_SESSIONS,
    ),
    children=(
        SubCollection("includes", "ObjectInJob", "job"),
        SubCollection("backupSessions", "BackupJobSession", "job"),
        SubCollection("replicaSessions", "ReplicaJobSession", "job"),
        SubCollection("linkedJobs", "LinkedJobObject", "job"),
        SubCollection("linkedBackupRepositories", "LinkedBackupRepositoryObject", "job"),
    ),
    actions=(
        Action("start", "StartJob", ADMINISTRATOR),
        Action("stop", "StopJob", ADMINISTRATOR),
        Action("retry", "RetryJob", ADMINISTRATOR),
        Action("clone", "CloneJob", ADMINISTRATOR, body="JobCloneSpec"),
        Action("toggleScheduleEnabled", "UpdateJob", ADMINISTRATOR),
        Action("sync", "StartJobSync", ADMINISTRATOR),
        Action("edit", "EditJob", ADMINISTRATOR, body="Job", method="PUT"),
        Action("delete", "DeleteJob", ADMINISTRATOR, method="DELETE"),
    ),
)

OBJECT_IN_JOB = ResourceType(
    name="ObjectInJob",
    plural="ObjectsInJob",
    collection="/includes",
    key=False,
    identifier="ObjectInJobId",
    parent="job",
    readers=ADMINISTRATOR,
    relations=(Relation("job", "Job"), Relation("server", "BackupServer")),
    elements=OBJECT_ELEMENTS,
    fields=(
        Field("UID", "ObjectInJobId"),
        *through("job", "Job"),
        *through("server", "BackupServer"),
    ),
    links=(up_to_entity("job"),),
    actions=(
        Action("create", "UpdateJob", ADMINISTRATOR, body="CreateObjectInJobSpec", creates=True),
        Action("delete", "UpdateJob", ADMINISTRATOR, method="DELETE"),
    ),
)


def _linked_object(
    name: str, root: str, plural: str, collection: str, uid: Element
) -> ResourceType:
    """Given what differs, return the declaration of what a copy job takes its backups from."""
    return ResourceType(
        name=name,
        root=root,
        plural=plural,
        collection=collection,
        queryable=False,
        key=False,
        identifier="ObjectInJobId",
        parent="job",
        readers=ADMINISTRATOR,
        relations=(Relation("job", "Job"), Relation("server", "BackupServer")),
        elements=(Element("ObjectInJobId", GUID), uid),
        links=(up_to_entity("job"), Link("Delete", path="")),
        actions=(
            Action(
                "create",
                "UpdateJob",
                ADMINISTRATOR,
                body=root or name,
                creates=True,
                any_root=True,
            ),
            Action("delete", "UpdateJob", ADMINISTRATOR, method="DELETE"),
        ),
        default_sort="ObjectInJobId",
    )


LINKED_JOB = _linked_object(
    "LinkedJobObject", "", "LinkedJobResourceObjects", "/linkedJobs", LINKED_JOB_UID
)

LINKED_BACKUP_REPOSITORY = _linked_object(
    "LinkedBackupRepositoryObject",
    "LinkedBackupRepository",
    "LinkedBackupRepositoryResourceObjects",
    "/linkedBackupRepositories",
    LINKED_REPOSITORY_UID,
)

JOB_CLONE_SPEC = Element(
    "JobCloneSpec",
    structure(
        Element(
            "BackupJobCloneInfo",
            structure(
                Element("JobName", STRING, optional=True),
                Element("FolderName", STRING, optional=True),
                Element("RepositoryUid", Uid("Repository"), optional=True),
                Element("Description", STRING, optional=True),
            ),
            optional=True,
        ),
        Element(
            "ImmediateBackupCopyJobCloneInfo",
            structure(
                Element("JobName", STRING, optional=True),
                Element("Description", STRING, optional=True),
                Element("RepositoryUid", Uid("Repository"), optional=True),
                Element("JobFileName", STRING, optional=True),
            ),
            optional=True,
        ),
        Element(
            "BackupCopyJobCloneInfo",
            structure(
                Element("JobName", STRING, optional=True),
                Element("JobFileName", STRING, optional=True),
                Element("RepositoryUid", Uid("Repository"), optional=True),
                Element("Description", STRING, optional=True),
            ),
            optional=True,
        ),
        Element(
            "ReplicaJobCloneInfo",
            structure(
                Element("JobName", STRING, optional=True),
                Element("VmSuffix", STRING, optional=True),
                Element("Description", STRING, optional=True),
            ),
            optional=True,
        ),
    ),
)
