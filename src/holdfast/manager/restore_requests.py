"""What the bodies of restore requests ask a backup server to do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from holdfast.representation.requests import RequestError

Body = Mapping[str, Any]

_MACHINES_ONLY = ("vCloudVmRestoreSpec", "vCloudVAppRestoreSpec", "SqlItemRestoreSpec")
_ELSEWHERE = ("DatastoreRef", "OrgVdcStorageProfileRef", "LinkedCloneVmTemplateRef")


def machine_restore(body: Body, _row: Mapping[str, Any]) -> dict[str, Any]:
    """Given a RestoreSpec, return the arguments of ``restore-machine``. Raises RequestError.

    A new name restores beside the original. Otherwise the original's place is taken; what is there
    already is replaced only when the request gives it up in so many words: KeepOriginalVM false, or
    QuickRollback, which rolls the original back. A new machine is another one than the original.
    HierarchyRootUid is the host to restore a machine of a host to.
    """
    for name in _MACHINES_ONLY:
        if name in body:
            raise RequestError(f"Element RestoreSpec: {name} is of no use for this restore point.")
    wanted = body.get("VmRestoreSpec") or {}
    where = wanted.get("VmRestoreParameters") or {}
    for name in _ELSEWHERE:
        if where.get(name):
            raise RequestError(
                f"Element VmRestoreParameters: {name} cannot be chosen; "
                "a machine is restored where it was, under its own or a new name."
            )
    overwrite = wanted.get("KeepOriginalVM") is False or wanted.get("QuickRollback") is True
    host = wanted.get("HierarchyRootUid")
    return {
        **({"host": host} if host else {}),
        "new_identifiers": bool(where.get("VmNewName")),
        "new_name": where.get("VmNewName") or "",
        "overwrite": overwrite and wanted.get("KeepOriginalVM") is not True,
        "power_on": bool(wanted.get("PowerOnAfterRestore", wanted.get("PowerOnAfter", False))),
    }


def file_restore(body: Body, path: str) -> dict[str, Any]:
    """Given a FileRestoreSpec and a path, return the arguments of ``restore-file``.

    Raises RequestError.
    """
    original, download = body.get("ToOriginalLocation"), body.get("ForDirectDownload")
    if (original is None) == (download is None):
        raise RequestError(
            "Element FileRestoreSpec: expected one of ToOriginalLocation and ForDirectDownload."
        )
    if original is None:
        return {"path": path, "download": True}
    if original.get("PermissionsOnly"):
        raise RequestError(
            "Element ToOriginalLocation: PermissionsOnly is not supported; "
            "a file is restored with its content and its permissions."
        )
    return {"path": path, "overwrite": bool(original.get("Overwrite", False))}
