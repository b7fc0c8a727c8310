"""Where a finished task leads that is no row of the catalog: a mount, a file to download."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from holdfast.representation.links import segment
from holdfast.server.messages import Command, Made

MOUNT = "VmRestorePointMount"
#: Where the points are whose mounts a backup server names so.
_POINTS = {MOUNT: "/vmRestorePoints", "VmReplicaPointMount": "/vmReplicaPoints"}

_DOWNLOAD = "Download"


def mount_address(kind: str, point: object, number: object) -> str:
    """Given what a mount is of, a point and a number, return the mount's address."""
    return f"{_POINTS[kind]}/{point}/mounts/{number}"


def catalog_address(machine: str, point: object) -> str:
    """Given a machine's name and a point, return the point's address in the catalog of files."""
    return f"/catalog/vms/{segment(machine)}/vmRestorePoints/{point}"


def path_below(path: str) -> str:
    """Given a path inside a restore point, return it as the end of an address."""
    return quote(path.strip("/"), safe="/:")


def link_of(command: Command, made: Made | None) -> dict[str, Any] | None:
    """Given a command and what it made, return the task's link as its row keeps it, or None."""
    if made is not None and command.operation == "browse-catalog":
        path = f"{catalog_address(made.name, made.uid)}/guestfs/"
        return {"Rel": "Down", "Type": "FileSystemItemsList", "Path": path}
    if made is None or made.type not in _POINTS:
        return None
    point, _, number = made.name.partition("@")
    address = mount_address(made.type, point, number)
    if command.operation == "restore-file":
        path = f"{address}/{path_below(str(command.arguments.get('path', '')))}"
        return {"Rel": _DOWNLOAD, "Path": f"{path}?action=download"}
    # Of a replica's point, too, the API names the type so.
    return {"Rel": "Related", "Type": MOUNT, "Name": made.name, "Path": address}
