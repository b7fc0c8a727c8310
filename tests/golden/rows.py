"""The data behind the five documents, as the rows of a catalog."""

from __future__ import annotations

from datetime import datetime, timedelta
from sqlite3 import Connection
from uuid import UUID, uuid5

from holdfast.catalog.writer import RowState, put
from holdfast.schema.resource import Schema

NAMESPACE = UUID("38ceb150-0000-4000-8000-000000000000")

SERVERS = {
    UUID("7445e6ce-86f5-4171-b909-dac209c66563"): "enterprise06.tech.local",
    UUID("a490c017-2c1c-40ee-8bcf-73bcce6ab36f"): "enterprise01.tech.local",
    UUID("ce15a8c7-aa49-495e-b05b-ee3398c91018"): "srv02.veeam.local",
}
ENTERPRISE_06, ENTERPRISE_01, SRV_02 = SERVERS

JOB_3 = UUID("2b078668-e45d-4eb3-abb0-275b0d130e7e")
CLONED_JOB = UUID("b0d7b298-3bbc-4e01-8a78-068cb98b5412")
POINT_OF_JOB_3 = UUID("a5eed1d4-cf03-4ab5-bc63-deffcfeb728c")
POINT_OF_SRV04 = UUID("fb87163e-687d-4006-96c9-0451b5423b85")
SESSION_OF_JOB_3 = UUID("a057c2c3-f3bd-4ab4-9fb7-24058cccb4f6")

NO_SPACE = r"""Error: There is not enough space on the disk.
Failed to write data to the file [C:\Backup\Backup Job 1\Backup Job 1D2021-06-05T030355_06C7.vib].
Failed to backup text locally. Backup: [VBK: 'veeamfs:0:de28dc43-b8ee-4e17-8e63-3d38b6604033 (vm-62228)\summary.xml@C:\Backup\Backup Job 1\Backup Job 1D2021-06-05T030355_06C7.vib'].
Agent failed to process method {DataTransfer.BackupText}.
Agent failed to process method {DataTransfer.BackupText}.
"""  # noqa: E501


def moment(text: str) -> int:
    """Given an ISO moment, return milliseconds since 1970 UTC."""
    since = datetime.fromisoformat(text) - datetime.fromisoformat("1970-01-01T00:00:00Z")
    return since // timedelta(milliseconds=1)


def fill(connection: Connection, schema: Schema) -> None:
    """Given an empty catalog, put the rows of the documents and others that must not appear."""

    def row(
        resource: str, uid: UUID | str, name: str, relations: dict[str, UUID], **values: object
    ) -> None:
        identity = uid if isinstance(uid, UUID) else UUID(uid)
        put(connection, schema[resource], RowState(identity, name, values, relations))

    def job_session(
        kind: str, uid: str, name: str, server: UUID, created: str, job: UUID = JOB_3
    ) -> None:
        row(
            f"{kind}JobSession",
            uid,
            name,
            {"server": server, "job": job},
            JobUid=str(job),
            JobName=name.split("@")[0],
            JobType=kind,
            CreationTimeUTC=moment(created),
            State="Stopped",
            Result="Success",
            Progress=100,
            IsRetry=False,
        )

    def task_session(
        kind: str,
        uid: UUID | str,
        name: str,
        server: UUID,
        session: str,
        times: tuple[str, str],
        *,
        result: str = "Success",
        reason: str = "",
        size: int = 0,
        point: UUID | None = None,
        **values: object,
    ) -> None:
        relations = {"server": server, "job_session": UUID(session), "job": JOB_3}
        row(
            f"{kind}TaskSession",
            uid,
            name,
            relations | ({"point": point} if point else {}),
            VmDisplayName=name.split("@")[0],
            JobSessionUid=session,
            CreationTimeUTC=moment(times[0]),
            EndTimeUTC=moment(times[1]),
            State="Completed",
            Result=result,
            Reason=reason,
            TotalSize=size,
            **values,
        )

    for uid, name in SERVERS.items():
        row("BackupServer", uid, name, {})
    row("Job", JOB_3, "Backup Job 3", {"server": ENTERPRISE_01}, JobType="Backup")

    # The queries for failed task sessions of one machine: three shown of nineteen, newest first.
    machine = "urn:VMware:Vm:de28dc43-b8ee-4e17-8e63-3d38b6604033.vm-62228"
    failed = [
        (
            "38ceb150-e0a8-4f87-8a17-243afc1b98f4",
            "35c24055-bdee-4e43-b655-a42de408d2ec",
            "2021-06-05 01:03:37",
            ("2021-06-05T01:04:29.560Z", "2021-06-05T01:04:44.530Z"),
            NO_SPACE,
        ),
        (
            "e381e791-db27-492a-889b-1ed1f8217016",
            "2d4de050-b10b-4ece-8ce6-204293ddc01a",
            "2021-05-13 05:00:10",
            ("2021-05-13T05:00:30.853Z", "2021-05-13T05:01:57.830Z"),
            "Hard disk 1 (0 B)",
        ),
        (
            "c8de8f77-46d7-4671-b789-f490cd710692",
            "147e88c6-f806-4a45-ae9c-01ad4bfa062f",
            "2021-05-12 05:00:11",
            ("2021-05-12T05:00:31.120Z", "2021-05-12T05:01:58.407Z"),
            "Hard disk 1 (0 B)",
        ),
    ]
    for uid, session, started, times, reason in failed:
        job_session("Backup", session, f"Backup Job 1@{started}", ENTERPRISE_06, f"{started}Z")
        task_session(
            "Backup",
            uid,
            f"dbserver01@{times[0][:19].replace('T', ' ')}",
            ENTERPRISE_06,
            session,
            times,
            result="Failed",
            reason=reason,
            VmUid=machine,
        )
    for day in range(1, 17):
        times = (f"2021-04-{day:02d}T05:00:31Z", f"2021-04-{day:02d}T05:01:58Z")
        task_session(
            "Backup",
            uuid5(NAMESPACE, f"older {day}"),
            f"dbserver01@{times[0][:19].replace('T', ' ')}",
            ENTERPRISE_06,
            failed[2][1],
            times,
            result="Failed",
        )
    for name, result in (("dbserver01", "Success"), ("dbserver02", "Failed")):
        times = ("2021-06-06T05:00:31Z", "2021-06-06T05:01:58Z")
        task_session(
            "Backup",
            uuid5(NAMESPACE, f"other {name}"),
            f"{name}@2021-06-06 05:00:31",
            ENTERPRISE_06,
            failed[0][1],
            times,
            result=result,
        )

    # One job session, whose restore point has no name.
    row("RestorePoint", POINT_OF_JOB_3, "", {"server": ENTERPRISE_01}, BackupDateUTC=0)
    row(
        "BackupJobSession",
        SESSION_OF_JOB_3,
        "Backup Job 3@2021-09-24 20:00:09",
        {"server": ENTERPRISE_01, "job": JOB_3, "restore_point": POINT_OF_JOB_3},
        JobUid=str(JOB_3),
        JobName="Backup Job 3",
        JobType="Backup",
        CreationTimeUTC=moment("2021-09-24T20:00:09.607Z"),
        EndTimeUTC=moment("2021-09-24T20:02:54.717Z"),
        State="Stopped",
        Result="Success",
        Progress=100,
        IsRetry=False,
    )

    # One task session with the point it made.
    session = "d46e39e0-1131-4585-91a7-e828ce7eafae"
    name = "Fileserver Backup@2014-10-19 05:22:52"
    job_session("Backup", session, name, SRV_02, "2014-10-19T05:22:52Z")
    point_time = moment("2014-10-19T05:25:15Z")
    row(
        "VmRestorePoint",
        POINT_OF_SRV04,
        "srv04@2014-10-19 05:25:15",
        {"server": SRV_02},
        VmDisplayName="srv04",
        CreationTimeUTC=point_time,
        Algorithm="Full",
        PointType="Full",
    )
    task_session(
        "Backup",
        "88767486-89d6-4340-92f0-2ad615a8f21b",
        "srv04@2014-10-19 05:23:44",
        SRV_02,
        session,
        ("2014-10-19T05:23:44Z", "2014-10-19T05:40:39Z"),
        size=64_424_509_440,
        point=POINT_OF_SRV04,
    )

    # The replication of one machine.
    replicated = [
        (
            "efe448ad-6d52-496b-ba79-decd586713eb",
            "90e440bb-8af1-4e3f-8022-bfd89dd267a0",
            "2021-06-17 20:00:05",
            ("2021-06-17T20:00:18.060Z", "2021-06-17T20:02:36.993Z"),
        ),
        (
            "3be8eb42-7d94-4789-b2cf-891a2d9aed41",
            "c73c05f9-1f01-4a72-8126-c8fc8ed2df12",
            "2021-06-17 15:16:53",
            ("2021-06-17T15:17:00.380Z", "2021-06-17T15:19:31.547Z"),
        ),
    ]
    for uid, session, started, times in replicated:
        name = f"Replication Job 2@{started}"
        job_session("Replica", session, name, ENTERPRISE_06, f"{started}Z")
        task_name = f"apache02@{times[0][:19].replace('T', ' ')}"
        size = 8_589_934_592
        task_session("Replica", uid, task_name, ENTERPRISE_06, session, times, size=size)
    task_session(
        "Replica",
        uuid5(NAMESPACE, "apache03"),
        "apache03@2021-06-17 20:00:18",
        ENTERPRISE_06,
        replicated[0][1],
        replicated[0][3],
        size=1,
    )


def fill_tasks(connection: Connection, schema: Schema, logon_session: UUID) -> None:
    """Given a logon session, put its tasks: three that are finished and one that still runs."""
    started_replica = "16f8d8af-5b13-43e7-8109-c46e17a0a53f"
    tasks = [
        (5, "StartJob", "Ok", "BackupJobSession", "35c24055-bdee-4e43-b655-a42de408d2ec", None),
        (6, "StartJob", "Ok", "ReplicaJobSession", started_replica, None),
        (7, "CloneJob", "OK", "Job", str(CLONED_JOB), "Cloned job (6/5/2021 3:04:23 AM)"),
    ]
    for number, operation, message, related_type, related, related_name in tasks:
        values = {
            "TaskId": f"task-{number}",
            "Number": number,
            "State": "Finished",
            "Operation": operation,
            "Result": {"Success": True, "Message": message},
            "RelatedType": related_type,
            "RelatedName": related_name,
        }
        columns = {
            "logon_session_uid": logon_session.bytes,
            "related_uid": UUID(related).bytes,
        }
        uid = uuid5(NAMESPACE, f"task {number}")
        put(connection, schema["Task"], RowState(uid, values=values, columns=columns))
    running = {"TaskId": "task-8", "Number": 8, "State": "Running", "Operation": "StartJob"}
    columns = {"logon_session_uid": logon_session.bytes}
    uid = uuid5(NAMESPACE, "task 8")
    put(connection, schema["Task"], RowState(uid, values=running, columns=columns))
