"""Documents about the files inside a restore point: mounts, folders, files.

Addresses are relative to the base of the API.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from holdfast.representation.links import LinkValue
from holdfast.representation.paging import Paging
from holdfast.representation.records import Record, links_value
from holdfast.schema.file_system import (
    FILE_SYSTEM_ENTRIES,
    FILE_SYSTEM_ENTRY,
    MOUNT_LISTS,
    MOUNTS,
)


@dataclass(frozen=True)
class FileItem:
    """A file or folder: where it stands, and what can be done with it. `modified` as a DateTime."""

    is_folder: bool
    path: str
    name: str
    href: str
    links: Sequence[LinkValue] = ()
    size: int = 0
    owner: str = ""
    modified: int = 0

    @property
    def root(self) -> str:
        """The name of its element, and its type."""
        return "DirectoryEntry" if self.is_folder else "FileEntry"

    def values(self) -> dict[str, Any]:
        """Return the values of its element."""
        values: dict[str, Any] = {
            "Type": self.root,
            "Href": self.href,
            "Links": links_value(self.links),
            "Path": self.path,
            "Name": self.name,
        }
        if not self.is_folder:
            values |= {"Size": self.size, "Owner": self.owner, "ModifiedDateUTC": self.modified}
        return values


@dataclass(frozen=True)
class Mount:
    """A mount of a point of the type `point_type`, with the roots of its file systems."""

    point_type: str
    href: str
    roots: Sequence[FileItem]

    def values(self) -> dict[str, Any]:
        """Return the values of its element."""
        return {
            "Href": self.href,
            "Type": MOUNTS[self.point_type].name,
            "Links": links_value([LinkValue("Delete", self.href)]),
            "FSRoots": {"DirectoryEntry": [root.values() for root in self.roots]},
        }


def item_document(item: FileItem, base: str) -> Record:
    """Given a file or folder, return the document of it alone."""
    return Record(FILE_SYSTEM_ENTRY, {item.root: item.values()}, base)


def folder_document(
    items: Sequence[FileItem],
    kinds: str,
    paging: Paging | None,
    base: str,
    *,
    href: str | None = None,
    links: Sequence[LinkValue] = (),
) -> Record:
    """Given what is in a folder, return the document of it.

    `kinds` is "all", "directories" or "files"; `href` and `links` only where there are any.
    """
    values: dict[str, Any] = {"Href": href, "Links": links_value(links)}
    if kinds != "directories":
        files = [item.values() for item in items if not item.is_folder]
        values["Files"] = {"FileEntry": files}
    if kinds != "files":
        folders = [item.values() for item in items if item.is_folder]
        values["Directories"] = {"DirectoryEntry": folders}
    if paging is not None:
        values["PagingInfo"] = paging.values()
    return Record(FILE_SYSTEM_ENTRIES, values, base)


def mount_document(mount: Mount, base: str) -> Record:
    """Given a mount, return its document."""
    return Record(MOUNTS[mount.point_type], mount.values(), base)


def mounts_document(point_type: str, mounts: Sequence[Mount], base: str) -> Record:
    """Given the mounts of a point, return the document of them all."""
    root = MOUNT_LISTS[point_type]
    values = {MOUNTS[point_type].name: [mount.values() for mount in mounts]}
    return Record(root, values, base, is_list=True)
