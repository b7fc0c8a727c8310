"""Descriptions of the calls about mounts, the catalog of files, and the files in both."""

from __future__ import annotations

from functools import partial

from holdfast.api.description import (
    ActionChoice,
    Answer,
    Body,
    Operation,
    Operations,
    Parameter,
    document,
)
from holdfast.api.file_listing import ACTIONS
from holdfast.representation.json_schema import named
from holdfast.schema.file_system import (
    FILE_SYSTEM_ENTRIES,
    FILE_SYSTEM_ENTRY,
    MOUNT_LISTS,
    MOUNTS,
)
from holdfast.schema.resources.restore_specs import FILE_RESTORE_SPEC
from holdfast.schema.roles import FILE_RESTORERS, RESTORERS

#: What is in a restore point, its backup server alone can tell.
_asking = partial(Operation, asks_server=True)

_RESTORE = "Restore"
_CATALOG = "Guest catalog"
_POSITIVE = {"type": "integer", "minimum": 1}
_LISTING = (
    Parameter("pageSize", "How many items a page has.", _POSITIVE),
    Parameter("page", "Which page, from 1.", _POSITIVE),
)


def mounts(point_type: str) -> Operations:
    """Given the type of the points, describe the list of the mounts of one."""
    listed = document(MOUNT_LISTS[point_type].name, "The mounts there are.")
    return {
        "GET": _asking(f"List the mounts of one {point_type}", _RESTORE, {200: listed}),
        "POST": _asking(
            f"Mount one {point_type}",
            _RESTORE,
            {202: document("Task", "The task, which leads to the mount.")},
            FILE_RESTORERS,
        ),
    }


def mount(point_type: str) -> Operations:
    """Given the type of the points, describe one mount."""
    shown = document(MOUNTS[point_type].name, "The mount, with the roots of its file systems.")
    return {
        "GET": _asking("Read one mount", _RESTORE, {200: shown}),
        "DELETE": _asking("Release a mount", _RESTORE, {204: Answer("It is released.")}),
    }


def files_of_mount() -> Operations:
    """Describe a file or folder in a mount."""
    restored = document("Task", "The task under which it is restored.")
    choices = (ActionChoice("restore", "FileRestoreFromMountPoint", FILE_RESTORERS),)
    body = Body(named(FILE_RESTORE_SPEC.name), FILE_RESTORE_SPEC.name, required=True)
    return {
        "GET": _read(_RESTORE, *ACTIONS, "download"),
        "POST": _asking(
            "Restore a file or folder",
            _RESTORE,
            {202: restored},
            parameters=(_to_name(choices),),
            body=body,
            actions=choices,
        ),
    }


def browsing() -> Operations:
    """Describe the start of browsing in the catalog."""
    started = document("Task", "The task, which leads to the files.")
    choices = (ActionChoice("browse", "BrowseVM", RESTORERS),)
    parameters = (_to_name(choices),)
    return {
        "POST": _asking(
            "Browse a point", _CATALOG, {200: started}, parameters=parameters, actions=choices
        )
    }


def files_of_catalog() -> Operations:
    """Describe a file or folder in the catalog."""
    restored = document("Task", "The task under which it is restored.")
    choices = (ActionChoice("restore", "RestoreFile", RESTORERS),)
    return {
        "GET": _read(_CATALOG, *ACTIONS),
        "POST": _asking(
            "Restore a file",
            _CATALOG,
            {202: restored},
            parameters=(_to_name(choices),),
            actions=choices,
        ),
    }


def _to_name(choices: tuple[ActionChoice, ...]) -> Parameter:
    """The parameter that names one of the actions."""
    names = [choice.name for choice in choices]
    schema = {"type": "string", "enum": names}
    return Parameter("action", "What to do; compared without case.", schema, required=True)


def _read(area: str, *actions: str) -> Operation:
    roots = (FILE_SYSTEM_ENTRY.name, FILE_SYSTEM_ENTRIES.name)
    schema = {"anyOf": [named(root) for root in roots]}
    text = "The file or folder; with a list action, what is in the folder."
    media = None
    if "download" in actions:
        media = "application/octet-stream"
        text = f"{text[:-1]}; with download, the content of the file."
    asked = Parameter("action", "What is wanted of it.", {"type": "string", "enum": list(actions)})
    return _asking(
        "Read a file or folder, or what is in a folder",
        area,
        {200: Answer(text, schema, " or ".join(roots), media)},
        parameters=(asked, *_LISTING),
    )
