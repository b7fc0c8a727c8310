"""Rows for the query tests: plain values, and a SQLite catalog that holds the same."""

from __future__ import annotations

import asyncio
import sqlite3
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any
from uuid import UUID

from holdfast.catalog.store import CatalogStore
from holdfast.catalog.writer import RowState, put
from holdfast.schema.core import CORE

#: Enumerations as the API documents them, lowest first.
RESULTS = ("None", "Success", "Warning", "Failed")
TASK_STATES = ("InProgress", "Pending", "Completed")
TASK_OF_LOGON_STATES = ("Running", "OperationFinished", "Finished")
FILE_TYPES = ("vbk", "vib", "vrb")
JOB_TYPES = ("Backup", "BackupCopy", "ImmediateBackupCopy", "Replica", "NasBackup")
PLATFORMS = ("VMware", "Hyperv", "vCloud")

TEXTS = (
    "",
    "a",
    "B",
    "b",
    "dbserver01",
    "DBSERVER01",
    "dbserver02",
    "Backup Job 1",
    '"Backup"',
    'say "no"',
    "a;b,(c)==d",
    "Büro",
    "BÜRO",
    "Straße",
    "STRASSE",
    "İstanbul",
    "ﬁle",
    "日本語",
    "é",
    "😀 & <x>",
    "100%",
    "_",
    "line\nbreak",
    "two  spaces",
    "tab\there",
    "(a",
    "a=b",
    "true",
    "12",
)
INTEGERS = (
    0,
    1,
    -1,
    12,
    1000,
    107374182400,
    2**52 - 1,
    2**52 + 1,
    2**53,
    2**53 + 1,
    2**63 - 1,
    -(2**63),
)
REALS = (0.0, 0.1, 1.0, 1.5, -2.25, 1e-7, 3.0000000000000004, 1e15, 123456.789)
MOMENTS = (
    0,
    1,
    -1,
    -86_400_000,
    1_622_855_017_000,
    1_622_855_017_560,
    1_622_855_017_001,
    1_622_851_200_000,
    1_700_000_000_000,
    4_102_444_800_000,
)


@dataclass
class PlainRow:
    """A row as the tests know it: field values by the name of the field, None when missing."""

    uid: UUID
    values: dict[str, Any] = field(default_factory=dict)


@dataclass
class Catalog:
    """The rows of some types, and a connection to the database that holds them."""

    rows: dict[str, list[PlainRow]]
    connection: sqlite3.Connection


def _uid(random: Random) -> UUID:
    return UUID(int=random.getrandbits(128))


def build(directory: Path, seed: int = 7) -> Catalog:
    """Given a directory, make a catalog in it with related rows, gaps and dangling relations."""
    random = Random(seed)
    states: list[tuple[str, RowState]] = []

    def some(values: tuple[Any, ...], missing: float = 0.2) -> Any:
        return None if random.random() < missing else random.choice(values)

    def present(values: dict[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in values.items() if value is not None}

    servers = {_uid(random): name for name in ("srv01.local", "SRV02", "Büro")}
    for uid, name in servers.items():
        states.append(("BackupServer", RowState(uid, name)))
    gone = _uid(random)

    def one_of(known: dict[UUID, Any]) -> UUID | None:
        return random.choice([*known, gone, None])

    jobs: dict[UUID, str] = {}
    rows: dict[str, list[PlainRow]] = {
        name: [] for name in ("Job", "BackupTaskSession", "BackupFile", "Task")
    }

    def add(
        resource: str,
        name: str | None,
        values: dict[str, Any],
        fields: dict[str, Any],
        relations: dict[str, UUID | None],
        columns: dict[str, Any] | None = None,
    ) -> UUID:
        uid = _uid(random)
        state = RowState(uid, name or "", present(values), present(relations), columns or {})
        states.append((resource, state))
        if resource in rows:
            known = {"UID": uid, "Name": name} if name is not None else {}
            rows[resource].append(PlainRow(uid, known | values | fields))
        return uid

    def of_server(server: UUID | None) -> dict[str, Any]:
        return {"BackupServerUid": server, "BackupServerName": servers.get(server)}

    for number in range(40):
        server = one_of(servers)
        name = random.choice(TEXTS) if number % 3 else f"Job {number}"
        values = {
            "JobType": some(JOB_TYPES),
            "Platform": some(PLATFORMS),
            "Description": some(TEXTS),
            "ScheduleConfigured": some((True, False)),
            "ScheduleEnabled": some((True, False)),
            "NextRun": some(MOMENTS),
        }
        jobs[add("Job", name, values, of_server(server), {"server": server})] = name
    sessions: dict[UUID, str | None] = {}
    for _ in range(10):
        job_name = some(TEXTS)
        uid = add("BackupJobSession", "session", {"JobName": job_name}, {}, {})
        sessions[uid] = job_name
    for _ in range(70):
        server, session, job = one_of(servers), one_of(sessions), one_of(jobs)
        values = {
            "VmDisplayName": some(TEXTS),
            "JobSessionUid": session,  # the same thing as the relation
            "CreationTimeUTC": some(MOMENTS, 0.1),
            "EndTimeUTC": some(MOMENTS, 0.4),
            "State": some(TASK_STATES),
            "Result": some(RESULTS),
            "Reason": some(TEXTS),
            "TotalSize": some(INTEGERS),
            "VmUid": some(("urn:VMware:Vm:1.vm-7", "urn:vmware:vm:1.VM-7", "urn:Hyperv:Vm:2.x")),
        }
        stored = {n: str(v) if isinstance(v, UUID) else v for n, v in values.items()}
        uid = add(
            "BackupTaskSession",
            random.choice(TEXTS),
            stored,
            {},
            {"server": server, "job_session": session, "job": job},
        )
        plain = rows["BackupTaskSession"][-1]
        assert plain.uid == uid
        plain.values |= values | of_server(server)
        plain.values |= {"JobUid": job, "JobName": sessions.get(session)}
    backups = {_uid(random): name for name in ("Backup 1", "backup 1", "STRASSE", "")}
    for uid, name in backups.items():
        states.append(("Backup", RowState(uid, name)))
    for _ in range(50):
        server, backup = one_of(servers), one_of(backups)
        values = {
            "FilePath": some(TEXTS),
            "BackupSize": some(INTEGERS),
            "DataSize": some(INTEGERS),
            "DeduplicationRatio": some(REALS),
            "CompressRatio": some(REALS),
            "CreationTimeUtc": some(MOMENTS),
            "FileType": some(FILE_TYPES),
        }
        fields = {"BackupUid": backup, "BackupName": backups.get(backup)} | of_server(server)
        add(
            "BackupFile",
            random.choice(TEXTS),
            values,
            fields,
            {"server": server, "backup": backup},
        )
    for number in random.sample(range(1, 40), 25):
        values = {
            "TaskId": f"task-{number}",
            "Number": number,
            "State": some(TASK_OF_LOGON_STATES),
            "Operation": some(("StartJob", "startjob", "CloneJob")),
        }
        add("Task", None, values, {}, {}, {"logon_session_uid": gone.bytes})
    return Catalog(rows, _stored(directory / "catalog.db", states))


def _stored(path: Path, states: list[tuple[str, RowState]]) -> sqlite3.Connection:
    def write(connection: sqlite3.Connection) -> None:
        for resource, state in states:
            put(connection, CORE[resource], state)

    async def fill() -> None:
        store = CatalogStore(path, CORE)
        await store.open(from_schema=True)
        await store.write(write)
        await store.close()

    asyncio.run(fill())
    return sqlite3.connect(path)
