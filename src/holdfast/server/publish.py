"""Shows rows to managers: given the UID of a row, publishes the resource it stands for.

To be called in the transaction that changed the row. The names are those of `holdfast.schema`; a
value that is absent is left out. Jobs, which have more to say, are in `publish_job`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import Connection, Row, Table, select

from holdfast.server import tables
from holdfast.server.job_specification import REPLICA
from holdfast.server.names import restore_point_name, session_name
from holdfast.server.outbox import Resource, publish, withdraw

__all__ = [
    "publish_backup",
    "publish_backup_file",
    "publish_job_session",
    "publish_machine_point",
    "publish_managed_server",
    "publish_replica",
    "publish_repository",
    "publish_restore_point",
    "publish_task_session",
    "row_of",
    "withdraw",
    "withdraw_machine_point",
]


def row_of(connection: Connection, table: Table, uid: UUID) -> Row[Any]:
    """Given a table and a UID, return the row; sqlalchemy's NoResultFound if there is none."""
    return connection.execute(select(table).where(table.c.uid == uid)).one()


def publish_repository(connection: Connection, uid: UUID) -> None:
    """Show a repository."""
    row = row_of(connection, tables.repository, uid)
    values = {"Capacity": row.capacity, "FreeSpace": row.free_space, "Kind": "LinuxLocal"}
    publish(connection, Resource("Repository", uid, row.name, values))


def publish_managed_server(connection: Connection, uid: UUID) -> None:
    """Show a host."""
    row = row_of(connection, tables.managed_server, uid)
    values = {"Description": row.description, "ManagedServerType": row.kind}
    # The host of this server is a root itself; see `hierarchy`.
    relations = {"hierarchy_root": uid} if row.kind == "Local" else {}
    publish(connection, Resource("ManagedServer", uid, row.name, values, relations))


def publish_job_session(connection: Connection, uid: UUID) -> None:
    """Show a job session."""
    row = row_of(connection, tables.job_session, uid)
    values = {
        "JobUid": row.job_uid,
        "JobName": row.job_name,
        "JobType": row.job_kind,
        "CreationTimeUTC": row.created,
        "EndTimeUTC": row.ended,
        "State": row.state,
        "Result": row.result,
        "Progress": row.progress,
        "FailureMessage": row.failure_message,
        "IsRetry": row.is_retry,
    }
    relations = {"job": row.job_uid, "restore_point": row.restore_point_uid}
    if row.job_kind == REPLICA:
        # What it made are points of replicas; they are shown with these.
        del relations["restore_point"]
    publish(
        connection,
        Resource(
            job_session_type(row.job_kind),
            uid,
            session_name(row.job_name, row.created),
            _present(values),
            _present(relations),
        ),
    )


def job_session_type(job_kind: str) -> str:
    """Given the kind of a job, return the type that its sessions are shown as."""
    return "ReplicaJobSession" if job_kind == REPLICA else "BackupJobSession"


def publish_task_session(connection: Connection, uid: UUID) -> None:
    """Show a task session."""
    row = row_of(connection, tables.task_session, uid)
    values = {
        "VmDisplayName": row.display_name,
        "JobSessionUid": row.job_session_uid,
        "CreationTimeUTC": row.created,
        "EndTimeUTC": row.ended,
        "State": row.state,
        "Result": row.result,
        "Reason": row.reason,
        "TotalSize": row.total_size,
        "VmUid": row.reference,
    }
    kind = row_of(connection, tables.job_session, row.job_session_uid).job_kind
    if kind == REPLICA:
        del values["VmUid"]
    relations = {
        "job_session": row.job_session_uid,
        "job": row.job_uid,
        "point": row.machine_point_uid,
    }
    publish(
        connection,
        Resource(
            "ReplicaTaskSession" if kind == REPLICA else "BackupTaskSession",
            uid,
            session_name(row.display_name, row.created),
            _present(values),
            _present(relations),
        ),
    )


def publish_backup(connection: Connection, uid: UUID) -> None:
    """Show a backup. What a job of kind Replica keeps is none: its replicas are shown."""
    row = row_of(connection, tables.backup, uid)
    if is_replicated(connection, uid):
        return
    values = {"Platform": "CustomPlatform", "BackupType": "Standard"}
    relations = {"repository": row.repository_uid, "job": row.job_uid}
    publish(connection, Resource("Backup", uid, row.name, values, relations))


def publish_restore_point(connection: Connection, uid: UUID) -> None:
    """Show a restore point. Of replicas only the points of the single machines are shown."""
    row = row_of(connection, tables.restore_point, uid)
    if is_replicated(connection, row.backup_uid):
        return
    publish(
        connection,
        Resource(
            "RestorePoint",
            uid,
            restore_point_name(row.created),
            {"BackupDateUTC": row.created},
            {"backup": row.backup_uid},
        ),
    )


def publish_backup_file(connection: Connection, uid: UUID) -> None:
    """Show a backup file. Those of replicas are not shown."""
    file, backup, repository = tables.backup_file, tables.backup, tables.repository
    row = connection.execute(
        select(file, repository.c.path.label("repository_path"))
        .join(backup, backup.c.uid == file.c.backup_uid)
        .join(repository, repository.c.uid == backup.c.repository_uid)
        .where(file.c.uid == uid)
    ).one()
    if is_replicated(connection, row.backup_uid):
        return
    values = {
        "FilePath": str(Path(row.repository_path) / row.path),
        "BackupSize": row.file_size,
        "DataSize": row.data_size,
        "DeduplicationRatio": 1.0,
        "CompressRatio": compress_ratio(row.data_size, row.file_size),
        "CreationTimeUtc": row.created,
        "FileType": "vbk" if row.parent_uid is None else "vib",
    }
    relations = {"backup": row.backup_uid, "restore_point": row.restore_point_uid}
    name = Path(row.path).name
    publish(connection, Resource("BackupFile", uid, name, values, relations))


def publish_machine_point(connection: Connection, uid: UUID) -> None:
    """Show the point of a machine. Those of directories are no VmRestorePoint: nothing is shown."""
    point, file, key = tables.machine_point, tables.backup_file, tables.data_key
    row = connection.execute(
        select(point, file.c.parent_uid, key.c.password_uid)
        .join(file, file.c.uid == point.c.backup_file_uid)
        .outerjoin(key, key.c.uid == file.c.key_uid)
        .where(point.c.uid == uid)
    ).first()
    if row is None:
        return
    full = row.parent_uid is None and not _has_increment(connection, uid)
    values = {
        "VmDisplayName": row.display_name,
        "CreationTimeUTC": row.created,
        "VmName": row.display_name,
        "Algorithm": "Full" if full else "Incremental",
        "PointType": "Full" if full else "Increment",
        "HierarchyObjRef": row.reference,
        "Damaged": row.damaged,
        "KeptFor": row.kept_for,
        "Encryption": None if row.password_uid is None else str(row.password_uid),
    }
    if (replica := _replica_with(connection, row)) is not None:
        del values["HierarchyObjRef"]
        name = session_name(row.display_name, row.created)
        relations = {"replica": replica}
        publish(connection, Resource("VmReplicaPoint", uid, name, values, relations))
        return
    publish(
        connection,
        Resource(
            "VmRestorePoint",
            uid,
            session_name(row.display_name, row.created),
            _present(values),
            {"restore_point": row.restore_point_uid, "backup_file": row.backup_file_uid},
        ),
    )


def _has_increment(connection: Connection, point: UUID) -> bool:
    """Say whether a disk of a point with several is built on another file."""
    disk, file = tables.machine_disk, tables.backup_file
    increments = (
        select(file.c.uid)
        .join(disk, disk.c.backup_file_uid == file.c.uid)
        .where(disk.c.point_uid == point, file.c.parent_uid.is_not(None))
    )
    return connection.execute(increments.limit(1)).first() is not None


def withdraw_machine_point(connection: Connection, row: Row[Any]) -> None:
    """Show the point of a machine, which is about to go, no more."""
    replica = _replica_with(connection, row)
    withdraw(connection, "VmRestorePoint" if replica is None else "VmReplicaPoint", row.uid)


def publish_replica(connection: Connection, uid: UUID) -> None:
    """Show a replica, under the name of the machine that stands by."""
    row = row_of(connection, tables.replica, uid)
    backup = row_of(connection, tables.backup, row.backup_uid)
    record = msgspec.json.decode(row.failover or "{}", type=_FailoverRecord)
    values = {
        "State": row.state,
        "Doing": record.doing or "",
        "SourceName": row.name,
        "HostUid": row.host_uid,
        "PointUid": record.point,
        "Failback": record.brought,
        "SourceRunsOn": record.beside,
    }
    relations = {"repository": backup.repository_uid, "job": backup.job_uid}
    publish(connection, Resource("Replica", uid, row.machine_name, _present(values), relations))


class _FailoverRecord(msgspec.Struct, frozen=True):
    """What is shown of a `failover_record.Failover`."""

    doing: str | None = None
    point: UUID | None = None
    brought: str = ""
    beside: str = ""


def is_replicated(connection: Connection, backup: UUID) -> bool:
    """Say whether a backup is what a job of kind Replica made."""
    job, table = tables.job, tables.backup
    query = select(job.c.kind).join(table, table.c.job_uid == job.c.uid)
    return connection.scalar(query.where(table.c.uid == backup)) == REPLICA


def _replica_with(connection: Connection, point: Row[Any]) -> UUID | None:
    """Given the row of a machine's point, return the replica that has it, or None."""
    table = tables.replica
    same = (table.c.backup_uid == point.backup_uid) & (table.c.reference == point.reference)
    found: UUID | None = connection.scalar(select(table.c.uid).where(same))
    return found


def compress_ratio(data_size: int, file_size: int) -> float:
    """Given bytes of data and of the file that holds them, return their ratio; 1.0 if unknown."""
    return round(data_size / file_size, 2) if data_size > 0 and file_size > 0 else 1.0


def _present(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}
