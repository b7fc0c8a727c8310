"""What the documents of each resource type look like: the contract, written down by hand."""

from __future__ import annotations

from dataclasses import dataclass

UP_SERVER = ("Up", "BackupServerReference", True)


@dataclass(frozen=True)
class Expected:
    """A type's collection and plural, and what a row with every relation shows.

    A link is its Rel, its Type and whether it has a Name. `alone` are types without references.
    """

    collection: str
    plural: str
    elements: tuple[str, ...]
    links: tuple[tuple[str, str | None, bool], ...]
    reference_links: tuple[tuple[str, str | None, bool], ...] = ()
    attributes: tuple[str, ...] = ()
    alone: bool = False
    below: str = ""


def alternate(name: str) -> tuple[str, str, bool]:
    """Given a Type, return the link Alternate to it."""
    return ("Alternate", name, True)


def down(name: str) -> tuple[str, str, bool]:
    """Given a type, return the link Down to a list of its references."""
    return ("Down", f"{name}ReferenceList", False)


def up(name: str) -> tuple[str, str, bool]:
    """Given a type, return the link Up to a reference."""
    return ("Up", f"{name}Reference", True)


_JOB_SESSION = (
    "JobUid", "JobName", "JobType", "CreationTimeUTC", "EndTimeUTC", "State", "Result", "Progress",
    "FailureMessage", "IsRetry",
)  # fmt: skip
_TASK_SESSION = (
    "JobSessionUid", "CreationTimeUTC", "EndTimeUTC", "State", "Result", "Reason", "TotalSize",
)  # fmt: skip

EXPECTED = {
    "BackupServer": Expected(
        "/backupServers",
        "BackupServers",
        ("Description", "Port", "Version", "WcfPort", "VbrCertificateThumbprint"),
        (
            alternate("BackupServerReference"),
            ("Edit", "BackupServerReference", False),
            ("Delete", "BackupServerReference", False),
            down("Job"),
            down("ManagedServer"),
            down("Repository"),
            down("ExternalRepository"),
            ("Down", "CredentialsList", False),
            ("Create", None, False),
            ("Down", "PasswordKeyList", False),
            ("Create", None, False),
            ("VeeamZip", None, False),
            ("QuickBackup", None, False),
            ("Start", None, False),
        ),
        (
            down("Job"),
            down("Repository"),
            down("ExternalRepository"),
            ("Down", "CredentialsList", False),
            ("Down", "PasswordKeyList", False),
            alternate("BackupServer"),
            down("ManagedServer"),
        ),
    ),
    "ManagedServer": Expected(
        "/managedServers",
        "ManagedServers",
        ("Description", "ManagedServerType"),
        (("Up", "BackupServer", True), alternate("ManagedServerReference")),
        (alternate("ManagedServer"), UP_SERVER),
    ),
    "Repository": Expected(
        "/repositories",
        "Repositories",
        ("Capacity", "FreeSpace", "Kind"),
        (UP_SERVER, alternate("RepositoryReference"), down("Backup"), down("Replica")),
        (UP_SERVER, alternate("Repository"), down("Backup"), down("Replica")),
    ),
    "Job": Expected(
        "/jobs",
        "Jobs",
        (
            "JobType", "Platform", "Description", "ScheduleConfigured", "ScheduleEnabled",
            "NextRun", "JobScheduleOptions", "JobInfo",
        ),
        (
            UP_SERVER,
            alternate("JobReference"),
            ("Edit", "JobReference", True),
            ("Clone", None, False),
            ("ToggleScheduleEnabled", None, False),
            ("Down", "ObjectInJobList", False),
            down("BackupJobSession"),
            ("Create", "ObjectInJob", False),
            ("Start", None, False),
            ("Stop", None, False),
            ("Retry", None, False),
        ),
        (UP_SERVER, alternate("Job"), down("BackupJobSession")),
    ),
    "ObjectInJob": Expected(
        "/includes",
        "ObjectsInJob",
        (
            "ObjectInJobId", "HierarchyObjRef", "Name", "DisplayName", "Order",
            "GuestProcessingOptions",
        ),
        (("Up", "Job", True),),
        alone=True,
        below="/jobs",
    ),
    "BackupJobSession": Expected(
        "/backupSessions",
        "BackupJobSessions",
        _JOB_SESSION,
        (
            UP_SERVER,
            up("Job"),
            alternate("BackupJobSessionReference"),
            down("BackupTaskSession"),
            ("Stop", None, False),
            ("Related", "RestorePointReference", True),
        ),
        (UP_SERVER, up("Job"), alternate("BackupJobSession"), down("BackupTaskSession")),
    ),
    "BackupTaskSession": Expected(
        "/backupTaskSessions",
        "BackupTaskSessions",
        (*_TASK_SESSION, "VmUid"),
        (
            UP_SERVER,
            up("BackupJobSession"),
            alternate("BackupTaskSessionReference"),
            ("Related", "VmRestorePoint", True),
        ),
        (UP_SERVER, up("BackupJobSession"), alternate("BackupTaskSession")),
        attributes=("VmDisplayName",),
    ),
    "ReplicaJobSession": Expected(
        "/replicaSessions",
        "ReplicaJobSessions",
        _JOB_SESSION,
        (UP_SERVER, up("Job"), alternate("ReplicaJobSessionReference"), down("ReplicaTaskSession")),
        (UP_SERVER, up("Job"), alternate("ReplicaJobSession"), down("ReplicaTaskSession")),
    ),
    "ReplicaTaskSession": Expected(
        "/replicaTaskSessions",
        "ReplicaTaskSessions",
        _TASK_SESSION,
        (UP_SERVER, up("ReplicaJobSession"), alternate("ReplicaTaskSessionReference")),
        (UP_SERVER, up("ReplicaJobSession"), alternate("ReplicaTaskSession")),
        attributes=("VmDisplayName",),
    ),
    "Backup": Expected(
        "/backups",
        "Backups",
        ("Platform", "BackupType"),
        (
            up("Repository"),
            UP_SERVER,
            alternate("BackupReference"),
            down("RestorePoint"),
            down("BackupFile"),
        ),
        (
            UP_SERVER,
            up("Repository"),
            alternate("Backup"),
            down("RestorePoint"),
            down("BackupFile"),
        ),
    ),
    "BackupFile": Expected(
        "/backupFiles",
        "BackupFiles",
        (
            "FilePath", "BackupSize", "DataSize", "DeduplicationRatio", "CompressRatio",
            "CreationTimeUtc", "FileType",
        ),
        (
            up("Backup"),
            UP_SERVER,
            alternate("BackupFileReference"),
            ("Related", "BackupFileReferenceList", False),
            down("VmRestorePoint"),
        ),
        (
            UP_SERVER,
            up("Backup"),
            alternate("BackupFile"),
            ("Related", "BackupFileReferenceList", False),
            down("VmRestorePoint"),
        ),
    ),
    "RestorePoint": Expected(
        "/restorePoints",
        "RestorePoints",
        ("BackupDateUTC",),
        (
            up("Backup"),
            UP_SERVER,
            alternate("RestorePointReference"),
            down("VmRestorePoint"),
            down("VAppRestorePoint"),
            ("Related", "RestorePointReferenceList", False),
        ),
        (
            UP_SERVER,
            up("Backup"),
            alternate("RestorePoint"),
            down("VmRestorePoint"),
            ("Related", "RestorePointReferenceList", False),
        ),
    ),
    "VmRestorePoint": Expected(
        "/vmRestorePoints",
        "VmRestorePoints",
        ("CreationTimeUTC", "VmName", "Algorithm", "PointType", "HierarchyObjRef", "SqlInfo"),
        (
            ("Restore", None, False),
            UP_SERVER,
            up("RestorePoint"),
            up("BackupFile"),
            alternate("VmRestorePointReference"),
            ("Down", "VmRestorePointMountList", False),
            ("Create", "VmRestorePointMount", False),
        ),
        (UP_SERVER, up("RestorePoint"), up("BackupFile"), alternate("VmRestorePoint")),
        attributes=("VmDisplayName",),
    ),
    "Task": Expected(
        "/tasks",
        "Tasks",
        ("TaskId", "State", "Operation", "Result"),
        (("Delete", None, False), ("Related", "Job", True)),
        alone=True,
    ),
}  # fmt: skip

#: Collections below an item: of what, under which path, of what.
SUB_COLLECTIONS = (
    ("BackupServer", "jobs", "Job"),
    ("BackupServer", "managedServers", "ManagedServer"),
    ("BackupServer", "repositories", "Repository"),
    ("Repository", "backups", "Backup"),
    ("Job", "includes", "ObjectInJob"),
    ("Job", "backupSessions", "BackupJobSession"),
    ("BackupJobSession", "taskSessions", "BackupTaskSession"),
    ("ReplicaJobSession", "replicaTaskSessions", "ReplicaTaskSession"),
    ("ReplicaJobSession", "repicaTaskSessions", "ReplicaTaskSession"),
    ("Backup", "restorePoints", "RestorePoint"),
    ("Backup", "backupFiles", "BackupFile"),
    ("BackupFile", "restorePoints", "RestorePoint"),
    ("BackupFile", "vmRestorePoints", "VmRestorePoint"),
    ("RestorePoint", "vmRestorePoints", "VmRestorePoint"),
    ("RestorePoint", "backupFiles", "BackupFile"),
)

_SERVER = {"BackupServerUid": "uid", "BackupServerName": "text"}
_SESSION = {"CreationTime": "moment", "EndTime": "moment", "State": "", "Result": "Warning"}
_NAMED = {"UID": "uid", "Name": "text"}

#: Every field that can be asked and sorted by, with its kind, or for an enumeration a value of it.
QUERY_FIELDS: dict[str, dict[str, str]] = {
    "BackupServer": _NAMED
    | {"Description": "text", "IpOrDnsName": "text", "Port": "number", "Version": "text"},
    "ManagedServer": _NAMED
    | {"Description": "text", "ManagedServerType": "ExternalInfrastructureServer"}
    | _SERVER,
    "Repository": _NAMED | {"FreeSpace": "number", "Capacity": "number"} | _SERVER,
    "Job": _NAMED
    | {
        "Description": "text",
        "NextRun": "moment",
        "JobType": "ImmediateBackupCopy",
        "Platform": "Hyperv",
        "ScheduleConfigured": "boolean",
        "ScheduleEnabled": "boolean",
    }
    | _SERVER,
    "ObjectInJob": _NAMED | {"JobUid": "uid", "JobName": "text"} | _SERVER,
    "BackupJobSession": _NAMED
    | {"JobType": "AgentManagement", "JobUid": "uid", "JobName": "text", "IsRetry": "boolean"}
    | _SESSION
    | {"State": "Resuming"}
    | _SERVER,
    "ReplicaJobSession": _NAMED
    | {"JobType": "Replica", "JobUid": "uid", "JobName": "text", "IsRetry": "boolean"}
    | _SESSION
    | {"State": "Stopped"}
    | _SERVER,
    "BackupTaskSession": _NAMED
    | _SESSION
    | {"State": "Pending", "Reason": "text", "TotalSize": "number", "VmDisplayName": "text"}
    | {"JobSessionUid": "uid", "JobUid": "uid", "JobName": "text"}
    | _SERVER,
    "ReplicaTaskSession": _NAMED
    | _SESSION
    | {"State": "InProgress", "Reason": "text", "TotalSize": "number", "VmDisplayName": "text"}
    | {"JobSessionUid": "uid", "JobUid": "uid", "JobName": "text"}
    | _SERVER,
    "Backup": _NAMED
    | {"JobUid": "uid", "JobName": "text", "RepositoryUid": "uid", "RepositoryName": "text"}
    | {"Platform": "CustomPlatform", "BackupType": "ChildBackup"},
    "BackupFile": _NAMED
    | {"CreationTimeUTC": "moment", "BackupSize": "number", "DataSize": "number"}
    | {"CompressRatio": "number", "FileType": "vrb", "BackupUid": "uid", "BackupName": "text"}
    | _SERVER,
    "RestorePoint": _NAMED
    | {"CreationTime": "moment", "BackupUid": "uid", "BackupName": "text"}
    | _SERVER,
    "VmRestorePoint": _NAMED
    | {"CreationTime": "moment", "Type": "ReverseIncrement", "Algorithm": "SyntheticFull"}
    | {"RestorePointId": "uid", "RestorePointName": "text", "VmDisplayName": "text"}
    | {"HierarchyObjRef": "text"}
    | _SERVER,
    "Task": {"TaskId": "text", "State": "OperationFinished", "Operation": "text"},
}
