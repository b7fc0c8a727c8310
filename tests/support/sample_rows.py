"""Rows of every resource type, related to one another, with awkward names.

Of each type there are two: one with every value and relation, one with as few as may be. Each is
in its own dictionary by type: `FULL` and `BARE`, the UIDs.
"""

from __future__ import annotations

import time
from sqlite3 import Connection
from typing import Any
from uuid import UUID, uuid5

from holdfast.catalog.writer import RowState, put
from holdfast.schema.resource import Schema

AWKWARD = "a & b <c> \"d\" 'e'\nnext\ttab \x01\x1f é 日本 😀 ]]> &amp; %3F;,()=="
REASON = 'Error: <disk> "full" & gone.\r\nSecond line\n\n\tthird \x0b😀\n'

TYPES = (
    "BackupServer",
    "ManagedServer",
    "Repository",
    "Job",
    "ObjectInJob",
    "BackupJobSession",
    "BackupTaskSession",
    "ReplicaJobSession",
    "ReplicaTaskSession",
    "Backup",
    "BackupFile",
    "RestorePoint",
    "VmRestorePoint",
    "Task",
)
_NAMESPACE = UUID("0a1b2c3d-0000-4000-8000-000000000000")
FULL = {name: uuid5(_NAMESPACE, f"full {name}") for name in TYPES}
BARE = {name: uuid5(_NAMESPACE, f"bare {name}") for name in TYPES}
REPLICA_JOB = uuid5(_NAMESPACE, "replica job")
_ROOT = "7a1b2c3d-1111-4111-8111-111111111111"

_ALWAYS = ",".join(["1"] * 24)


def _schedule() -> dict[str, Any]:
    daily = {
        "Enabled": True,
        "Kind": "SelectedDays",
        "Days": ["Sunday", "Monday"],
        "Time": "22:00:00.0000000",
        "TimeOffsetUtc": -330,
    }
    hours = {"Day": [{"Name": "Sunday", "Value": _ALWAYS}, {"Name": "Monday", "Value": "0,1"}]}
    return {
        "Standart": {
            "RetryOptions": {"RetryTimes": 3, "RetryTimeout": 10, "RetrySpecified": True},
            "WaitForBackupCompletion": False,
            "BackupCompetitionWaitingPeriodMin": 180,
            "OptionsDaily": daily,
            "OptionsPeriodically": {
                "Enabled": False,
                "Kind": "Hours",
                "FullPeriod": 1,
                "Schedule": hours,
            },
        }
    }


def _job_info() -> dict[str, Any]:
    included = {
        "Type": "ObjectInJob",
        "Href": f"/jobs/{FULL['Job']}/includes/{FULL['ObjectInJob']}",
        "ObjectInJobId": str(FULL["ObjectInJob"]),
        "HierarchyObjRef": f"urn:VMware:Vm:{_ROOT}.vm-1",
        "Name": AWKWARD.replace("\x01", "").replace("\x1f", ""),
        "DisplayName": "vm & 1",
        "Order": 1,
    }
    policy = {"RetainCycles": 14, "RetainDaysToKeep": 7, "RetainLimitType": "Cycles"}
    return {
        "BackupJobInfo": {
            "Includes": {"ObjectInJob": [included, included]},
            "SimpleRetentionPolicy": policy,
        }
    }


def fill(connection: Connection, schema: Schema, logon_session: UUID) -> None:
    """Given an empty catalog, put the rows; the tasks are those of the given logon session."""
    now = time.time_ns() // 1_000_000
    hour = 3_600_000

    def both(
        resource: str,
        relations: dict[str, UUID],
        values: dict[str, Any],
        optional: dict[str, Any] | None = None,
    ) -> None:
        """Put the full row, and the bare one, which is without relations and optional values."""
        row(resource, FULL[resource], f"{resource} {AWKWARD}", relations, values | (optional or {}))
        few = {name: value for name, value in values.items() if not name.endswith("Uid")}
        row(resource, BARE[resource], f"Bare {resource}", {}, few)

    def row(
        resource: str,
        uid: UUID,
        name: str,
        relations: dict[str, UUID],
        values: dict[str, Any],
        columns: dict[str, Any] | None = None,
    ) -> None:
        declared = schema[resource]
        put(
            connection,
            declared,
            RowState(uid, name if declared.key else "", values, relations, columns or {}),
        )

    server = {"server": FULL["BackupServer"]}
    both(
        "BackupServer",
        {},
        {"Description": AWKWARD, "Port": 9392, "Version": "1.0", "IpOrDnsName": "srv.local"},
        {"WcfPort": 9393, "VbrCertificateThumbprint": "1F2E"},
    )
    both("ManagedServer", server, {"Description": "", "ManagedServerType": "Linux"})
    both(
        "Repository",
        server,
        {"Capacity": 2**40, "FreeSpace": -1, "Kind": "LinuxLocal"},
    )
    both(
        "Job",
        server,
        {},
        {
            "JobType": "Backup",
            "Platform": "VMware",
            "Description": AWKWARD,
            "ScheduleConfigured": True,
            "ScheduleEnabled": False,
            "NextRun": now + 24 * hour,
            "JobScheduleOptions": _schedule(),
            "JobInfo": _job_info(),
        },
    )
    row("Job", REPLICA_JOB, "Replication", server, {"JobType": "Replica"})
    processing = {"GuestProcessingOptions": {"WindowsCredentialsId": "1"}}
    for uids, order in ((FULL, {"Order": 3, **processing}), (BARE, {})):
        row(
            "ObjectInJob",
            uids["ObjectInJob"],
            "",
            {"job": FULL["Job"], **server},
            {
                "ObjectInJobId": str(uids["ObjectInJob"]),
                "HierarchyObjRef": f"urn:VMware:Vm:{_ROOT}.vm-1",
                "Name": AWKWARD,
                "DisplayName": "vm & 1",
                **order,
            },
        )
    for kind, job in (("Backup", FULL["Job"]), ("Replica", REPLICA_JOB)):
        point = {"restore_point": FULL["RestorePoint"]} if kind == "Backup" else {}
        both(
            f"{kind}JobSession",
            {"job": job, **server, **point},
            {
                "JobUid": str(job),
                "JobName": AWKWARD,
                "JobType": kind,
                "CreationTimeUTC": now - hour + 7,
                "State": "Working",
                "Result": "None",
                "Progress": 50,
                "IsRetry": True,
            },
            {"EndTimeUTC": now - hour // 2, "FailureMessage": REASON},
        )
        vm_point = {"point": FULL["VmRestorePoint"]} if kind == "Backup" else {}
        vm = {"VmUid": f"urn:VMware:Vm:{_ROOT}.vm-1"} if kind == "Backup" else {}
        both(
            f"{kind}TaskSession",
            {"job": job, "job_session": FULL[f"{kind}JobSession"], **server, **vm_point},
            {
                "VmDisplayName": AWKWARD,
                "JobSessionUid": str(FULL[f"{kind}JobSession"]),
                "CreationTimeUTC": now - hour,
                "State": "Completed",
                "Result": "Failed",
                "Reason": REASON,
                "TotalSize": 2**53 + 1,
            },
            {"EndTimeUTC": now - hour // 4 * 3 + 120, **vm},
        )
    both(
        "Backup",
        {"repository": FULL["Repository"], "job": FULL["Job"], **server},
        {"BackupType": "Standard"},
        {"Platform": "HyperV"},
    )
    both(
        "BackupFile",
        {"backup": FULL["Backup"], "restore_point": FULL["RestorePoint"], **server},
        {
            "FilePath": r"C:\Backup & <co>\file.vbk",
            "BackupSize": 12,
            "DataSize": 2**62,
            "DeduplicationRatio": 1.25,
            "CompressRatio": 2.0,
            "CreationTimeUtc": 1_622_855_017_560,
            "FileType": "vbk",
        },
    )
    both(
        "RestorePoint",
        {"backup": FULL["Backup"], **server},
        {"BackupDateUTC": 1_622_855_017_000},
    )
    both(
        "VmRestorePoint",
        {"restore_point": FULL["RestorePoint"], "backup_file": FULL["BackupFile"], **server},
        {
            "VmDisplayName": AWKWARD,
            "CreationTimeUTC": 1_622_855_017_001,
            "Algorithm": "Full",
            "PointType": "Increment",
        },
        {
            "VmName": AWKWARD,
            "HierarchyObjRef": f"urn:VMware:Vm:{_ROOT}.vm-1",
            "SqlInfo": {"Databases": {"Database": []}},
        },
    )
    own = {"logon_session_uid": logon_session.bytes}
    result = {"Success": False, "Message": REASON}
    finished = {"TaskId": "task-1", "Number": 1, "State": "Finished", "Operation": "CloneJob"}
    made = {"Result": result, "RelatedType": "Job", "RelatedName": AWKWARD}
    related = {"related_uid": FULL["Job"].bytes}
    row("Task", FULL["Task"], "", {}, finished | made, own | related)
    running = {"TaskId": "task-2", "Number": 2, "State": "Running", "Operation": "StartJob"}
    row("Task", BARE["Task"], "", {}, running, own)
