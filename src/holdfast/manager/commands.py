"""Which command of a backup server carries out which action of the API."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from holdfast.manager.restore_requests import machine_restore

Arguments = dict[str, Any]


def _none(_body: Mapping[str, Any]) -> Arguments:
    return {}


def _clone(body: Mapping[str, Any]) -> Arguments:
    wanted = body.get("BackupJobCloneInfo") or {}
    arguments = {
        "name": wanted.get("JobName"),
        "description": wanted.get("Description"),
        "repository": wanted.get("RepositoryUid"),
    }
    return {name: value for name, value in arguments.items() if value}


@dataclass(frozen=True)
class CommandKind:
    """A command's operation, and how a request's body becomes its arguments."""

    operation: str
    arguments: Callable[[Mapping[str, Any]], Arguments] = _none


#: By resource type and action.
COMMANDS: dict[tuple[str, str], CommandKind] = {
    ("Job", "start"): CommandKind("start-job"),
    ("Job", "stop"): CommandKind("stop-job"),
    ("Job", "retry"): CommandKind("retry-job"),
    ("Job", "clone"): CommandKind("clone-job", _clone),
    ("Job", "toggleScheduleEnabled"): CommandKind("toggle-schedule"),
    ("Job", "delete"): CommandKind("delete-job"),
    ("VmRestorePoint", "restore"): CommandKind("restore-machine", machine_restore),
    ("BackupJobSession", "stop"): CommandKind("stop-session"),
}
