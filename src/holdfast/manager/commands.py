"""Which command of a backup server carries out which action of the API."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from holdfast.manager.failover_requests import plan_edit, plan_start
from holdfast.manager.job_documents import job_edit, refuse_guest_processing
from holdfast.manager.restore_requests import machine_restore
from holdfast.representation.requests import RequestError
from holdfast.schema.naming import guid_of

Arguments = dict[str, Any]


Body = Mapping[str, Any]
Row = Mapping[str, Any]


def _none(_body: Body, _row: Row) -> Arguments:
    return {}


def _clone(body: Body, row: Row) -> Arguments:
    known = _CLONE_INFO.get(row.get("JobType") or "", "BackupJobCloneInfo")
    for name in body:
        if name != known:
            raise RequestError(
                f"Element JobCloneSpec: {name} is not for a job of type {row['JobType']}; "
                f"expected {known}."
            )
    wanted = body.get(known) or {}
    arguments = {
        "name": wanted.get("JobName"),
        "description": wanted.get("Description"),
        "repository": wanted.get("RepositoryUid"),
        "suffix": wanted.get("VmSuffix"),
    }
    return {name: value for name, value in arguments.items() if value}


#: What the documented levels are of zstd, dedupe-friendly, optimal, high and extreme. 1 is none.
_COMPRESSION_LEVELS = {1: None, 2: 1, 3: 3, 4: 6, 5: 12}
_USUAL_COMPRESSION = 3

#: The child of JobCloneSpec for jobs of a type; BackupJobCloneInfo for all others.
_CLONE_INFO = {
    "BackupCopy": "BackupCopyJobCloneInfo",
    "ImmediateBackupCopy": "ImmediateBackupCopyJobCloneInfo",
    "Replica": "ReplicaJobCloneInfo",
}


def _linked_job(body: Body, _row: Row) -> Arguments:
    _require(body, "LinkedJobObject", "LinkedJobUid")
    return {"job": body["LinkedJobUid"]}


def _linked_repository(body: Body, _row: Row) -> Arguments:
    _require(body, "LinkedBackupRepository", "LinkedBackupRepositoryUid")
    return {"repository": body["LinkedBackupRepositoryUid"]}


def _include(body: Body, _row: Row) -> Arguments:
    _require(body, "CreateObjectInJobSpec", "HierarchyObjRef")
    refuse_guest_processing(body, "CreateObjectInJobSpec")
    return {"reference": body["HierarchyObjRef"], "name": body.get("HierarchyObjName", "")}


def _quick_backup(body: Body, _row: Row) -> Arguments:
    _require(body, "QuickBackupStartupSpec", "VmRef")
    return {"machine": body["VmRef"]}


def _one_off(body: Body, _row: Row) -> Arguments:
    _require(body, "VeeamZipStartupSpec", "VmRef", "RepositoryUid", "BackupRetention")
    level = body.get("CompressionLevel", _USUAL_COMPRESSION)
    if level not in _COMPRESSION_LEVELS:
        raise RequestError(
            "Element VeeamZipStartupSpec.CompressionLevel: expected a number from 1 to 5."
        )
    return {
        "machines": body["VmRef"],
        "repository": body["RepositoryUid"],
        "remove": body["BackupRetention"],
        "compression": "none" if _COMPRESSION_LEVELS[level] is None else "zstd",
        "compression_level": _COMPRESSION_LEVELS[level],
        "quiesce": not body.get("DisableGuestQuiescence", False),
        "encryption": _password(body.get("PasswordKeyId")),
    }


def _password(text: str | None) -> str | None:
    """Given the Id of a password, bare or as a URN, return it bare; None for none."""
    if not text:
        return None
    try:
        return str(guid_of(text))
    except ValueError as error:
        raise RequestError(
            "Element VeeamZipStartupSpec.PasswordKeyId: expected the Id of a password of the "
            f"backup server, not {text!r}."
        ) from error


def _require(body: Body, root: str, *names: str) -> None:
    for name in names:
        if not body.get(name):
            raise RequestError(f"Element {root}: {name} is missing.")


@dataclass(frozen=True)
class CommandKind:
    """A command's operation, and how a request's body becomes its arguments.

    `arguments` are made of the body and the row that the request names; RequestError for a body
    that makes no sense.
    """

    operation: str
    arguments: Callable[[Body, Row], Arguments] = _none


#: By resource type and action.
COMMANDS: dict[tuple[str, str], CommandKind] = {
    ("Job", "start"): CommandKind("start-job"),
    ("Job", "stop"): CommandKind("stop-job"),
    ("Job", "retry"): CommandKind("retry-job"),
    ("Job", "sync"): CommandKind("sync-job"),
    ("Job", "clone"): CommandKind("clone-job", _clone),
    ("Job", "toggleScheduleEnabled"): CommandKind("toggle-schedule"),
    ("Job", "delete"): CommandKind("delete-job"),
    ("Job", "edit"): CommandKind("edit-job", job_edit),
    ("ObjectInJob", "create"): CommandKind("add-object", _include),
    ("ObjectInJob", "delete"): CommandKind("remove-object"),
    ("LinkedJobObject", "create"): CommandKind("add-linked-job", _linked_job),
    ("LinkedJobObject", "delete"): CommandKind("remove-linked-job"),
    ("LinkedBackupRepositoryObject", "create"): CommandKind(
        "add-linked-repository", _linked_repository
    ),
    ("LinkedBackupRepositoryObject", "delete"): CommandKind("remove-linked-repository"),
    ("BackupServer", "quickbackup"): CommandKind("quick-backup", _quick_backup),
    ("BackupServer", "veeamzip"): CommandKind("one-off-backup", _one_off),
    ("VmRestorePoint", "restore"): CommandKind("restore-machine", machine_restore),
    ("VmReplicaPoint", "failover"): CommandKind("failover-point"),
    ("FailoverPlan", "start"): CommandKind("start-failover-plan", plan_start),
    ("FailoverPlan", "undo"): CommandKind("undo-failover-plan"),
    ("FailoverPlan", "edit"): CommandKind("edit-failover-plan", plan_edit),
    ("BackupJobSession", "stop"): CommandKind("stop-session"),
}
