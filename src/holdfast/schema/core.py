"""The schema of the product: every resource type it answers for."""

from __future__ import annotations

from holdfast.schema.resource import Schema
from holdfast.schema.resources import infrastructure, jobs, restore_points, sessions, tasks

RESOURCE_TYPES = (
    infrastructure.BACKUP_SERVER,
    infrastructure.MANAGED_SERVER,
    infrastructure.REPOSITORY,
    jobs.JOB,
    jobs.OBJECT_IN_JOB,
    sessions.BACKUP_JOB_SESSION,
    sessions.BACKUP_TASK_SESSION,
    sessions.REPLICA_JOB_SESSION,
    sessions.REPLICA_TASK_SESSION,
    restore_points.BACKUP,
    restore_points.BACKUP_FILE,
    restore_points.RESTORE_POINT,
    restore_points.VM_RESTORE_POINT,
    tasks.TASK,
)

CORE = Schema(RESOURCE_TYPES)

#: The order in which the query service lists what can be queried.
QUERY_SERVICE_ORDER = (
    "VmRestorePoint",
    "Task",
    "Job",
    "RestorePoint",
    "BackupTaskSession",
    "ReplicaTaskSession",
    "Repository",
    "Backup",
    "BackupJobSession",
    "ReplicaJobSession",
    "BackupServer",
    "ManagedServer",
    "BackupFile",
)

#: The order in which a logon session lists the collections it leads to.
LOGON_SESSION_ORDER = (
    "BackupServer",
    "ManagedServer",
    "Job",
    "Repository",
    "Backup",
    "RestorePoint",
    "VmRestorePoint",
    "BackupJobSession",
    "ReplicaJobSession",
    "BackupTaskSession",
    "ReplicaTaskSession",
    "BackupFile",
)
