"""A small catalog for the reports, with every figure countable by hand.

Two backup servers, three repositories, four jobs. Machines ``vm1`` to ``vm3`` are on the first
server, another ``VM1`` on the second. `TODAY` is the beginning of the clock's day.
"""

from __future__ import annotations

from sqlite3 import Connection
from typing import Any
from uuid import UUID, uuid5

from holdfast.catalog.writer import RowState, put
from holdfast.schema.resource import Schema

TODAY = 1_699_920_000_000  # 2023-11-14T00:00:00Z
HOUR = 3_600_000
DAY = 24 * HOUR
NOW = TODAY + 20 * HOUR

_NAMESPACE = UUID("0b1b2c3d-0000-4000-8000-000000000000")


def uid(name: str) -> UUID:
    """Given a row's name, return its UID."""
    return uuid5(_NAMESPACE, name)


def fill(connection: Connection, schema: Schema) -> None:
    """Given an empty catalog, put the rows."""

    def row(
        resource: str, name: str, relations: dict[str, str] | None = None, **values: Any
    ) -> None:
        related = {relation: uid(other) for relation, other in (relations or {}).items()}
        put(connection, schema[resource], RowState(uid(name), name, values, related))

    for server in ("one", "two"):
        row("BackupServer", server)
    row("Repository", "main", {"server": "one"}, Capacity=1000, FreeSpace=400, Kind="LinuxLocal")
    row("Repository", "bucket", {"server": "two"}, Capacity=-1, FreeSpace=-1)
    row("Repository", "Attic", {"server": "two"})

    on = {"ScheduleConfigured": True, "ScheduleEnabled": True}
    row("Job", "nightly", {"server": "one"}, JobType="Backup", **on)
    row("Job", "mirror", {"server": "one"}, JobType="Replica", **on)
    row("Job", "files", {"server": "two"}, JobType="NasBackup", **on)
    row("Job", "paused", {"server": "two"}, ScheduleConfigured=True, ScheduleEnabled=False)

    def run(kind: str, name: str, job: str, began: int, seconds: int | None, result: str) -> None:
        ended = {} if seconds is None else {"EndTimeUTC": began + seconds * 1000 + 999}
        row(
            f"{kind}JobSession",
            name,
            {"server": "one", "job": job},
            JobName=job,
            CreationTimeUTC=began,
            State="Working" if result == "None" else "Stopped",
            Result=result,
            **ended,
        )

    run("Backup", "run 1", "nightly", TODAY, 100, "Success")
    run("Backup", "run 2", "nightly", TODAY - DAY, 300, "Warning")
    run("Backup", "run 3", "files", TODAY - 6 * DAY, 200, "Failed")
    run("Backup", "run too old", "files", TODAY - 6 * DAY - 1, 9000, "Failed")
    run("Backup", "run now", "nightly", NOW, None, "None")
    run("Backup", "run now too", "nightly", NOW, None, "None")
    run("Backup", "run since long", "files", TODAY - 20 * DAY, None, "None")
    run("Replica", "replication 1", "mirror", TODAY, 50, "Success")

    def processed(
        kind: str, server: str, machine: str, began: int, result: str, size: int | None = None
    ) -> None:
        sized = {} if size is None else {"TotalSize": size}
        row(
            f"{kind}TaskSession",
            f"{kind} {server} {machine} {began}",
            {"server": server},
            VmDisplayName=machine,
            CreationTimeUTC=began,
            Result=result,
            **sized,
        )

    processed("Backup", "one", "vm1", TODAY, "Success", 50)
    processed("Backup", "one", "VM1", TODAY + HOUR, "Warning", 60)
    processed("Backup", "one", "vm1", TODAY + 2 * HOUR, "None", 999)
    processed("Backup", "one", "vm2", TODAY - DAY, "Success", 70)
    processed("Backup", "one", "vm2", TODAY + HOUR, "Failed", 0)
    processed("Backup", "two", "VM1", TODAY - 6 * DAY, "Success", 5)
    processed("Backup", "one", "vm3", TODAY - 6 * DAY - 1, "Failed")
    processed("Replica", "one", "vm3", TODAY - DAY, "Success", 8)

    row("Backup", "backup", {"server": "one", "repository": "main"})
    row("Backup", "offsite", {"server": "two", "repository": "bucket"})
    for name, backup, kind, size in (
        ("full", "backup", "vbk", 300),
        ("forward", "backup", "vib", 30),
        ("reverse", "backup", "vrb", 3),
        ("copy", "offsite", "vbk", 40),
    ):
        row("BackupFile", name, {"backup": backup}, FileType=kind, BackupSize=size)
    for point, server, machine in (
        ("p1", "one", "vm1"),
        ("p2", "one", "VM1"),
        ("p3", "one", "vm2"),
        ("p4", "two", "vm1"),
        ("p5", "two", "never seen"),
    ):
        row("VmRestorePoint", point, {"server": server}, VmDisplayName=machine)
    if "VmReplicaPoint" in schema:
        for point, machine in (("r1", "vm1"), ("r2", "vm3")):
            row("VmReplicaPoint", point, {"server": "one"}, VmDisplayName=machine)
