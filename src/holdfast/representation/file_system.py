"""Documents about the files inside a restore point: mounts, folders, files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from holdfast.representation import json, xml
from holdfast.representation.links import LinkValue
from holdfast.representation.moments import moment_text
from holdfast.representation.paging import Paging


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

    def element(self) -> str:
        """Return the element."""
        body = xml.links(self.links)
        for name, value in self._values().items():
            body += f"<{name}>{xml.text(str(value))}</{name}>" if value != "" else f"<{name} />"
        href = xml.attribute(self.href)
        return f'<{self.root} Type="{self.root}" Href="{href}">{body}</{self.root}>'

    def to_json(self) -> dict[str, Any]:
        """Return the object."""
        links = json.links(self.links)
        return {**self._values(), "Links": links, "Href": self.href, "Type": self.root}

    def _values(self) -> dict[str, Any]:
        values: dict[str, Any] = {"Path": self.path, "Name": self.name}
        if not self.is_folder:
            values |= {"Size": self.size, "Owner": self.owner}
            values["ModifiedDateUTC"] = moment_text(self.modified)
        return values


@dataclass(frozen=True)
class FileDocument:
    """A file or folder by itself: ``FileSystemEntry``."""

    item: FileItem

    def to_xml(self) -> str:
        """Return the document without its declaration."""
        root = "FileSystemEntry"
        return f"<{root}{xml.NAMESPACE_ATTRIBUTE}>{self.item.element()}</{root}>"

    def to_json(self) -> Any:
        """Return the document as plain values."""
        members: dict[str, Any] = dict.fromkeys(
            ("FileEntry", "DirectoryEntry", "Files", "Directories", "PagingInfo")
        )
        return members | {self.item.root: self.item.to_json()}


@dataclass(frozen=True)
class FolderDocument:
    """What is in a folder: ``FileSystemEntries``. `href` and `links` only where there are any."""

    items: Sequence[FileItem]
    paging: Paging | None
    shown: str
    href: str | None = None
    links: Sequence[LinkValue] = ()

    def to_xml(self) -> str:
        """Return the document without its declaration."""
        root = "FileSystemEntries"
        href = "" if self.href is None else f' Href="{xml.attribute(self.href)}"'
        body = xml.links(self.links)
        for wrapper, items in self._parts():
            content = "".join(item.element() for item in items)
            body += f"<{wrapper}>{content}</{wrapper}>" if content else f"<{wrapper} />"
        body += self.paging.to_xml() if self.paging else ""
        return f"<{root}{xml.NAMESPACE_ATTRIBUTE}{href}>{body}</{root}>"

    def to_json(self) -> Any:
        """Return the document as plain values."""
        members: dict[str, Any] = {"Files": None, "Directories": None}
        for wrapper, items in self._parts():
            name = "FileEntries" if wrapper == "Files" else "DirectoryEntries"
            members[wrapper] = {name: [item.to_json() for item in items]}
        members["PagingInfo"] = self.paging.to_json() if self.paging else None
        members["Links"] = json.links(self.links)
        return members | ({} if self.href is None else {"Href": self.href})

    def _parts(self) -> list[tuple[str, list[FileItem]]]:
        parts = []
        if self.shown != "directories":
            parts.append(("Files", [item for item in self.items if not item.is_folder]))
        if self.shown != "files":
            parts.append(("Directories", [item for item in self.items if item.is_folder]))
        return parts


@dataclass(frozen=True)
class MountDocument:
    """A mount and the roots of its file systems."""

    root: str
    href: str
    roots: Sequence[FileItem]

    def to_xml(self) -> str:
        """Return the document without its declaration."""
        return self.element(xml.NAMESPACE_ATTRIBUTE)

    def element(self, head: str = "") -> str:
        """Return the element, with `head` in its start tag."""
        roots = "".join(item.element() for item in self.roots)
        body = f"{xml.links(self._links())}<FSRoots>{roots}</FSRoots>"
        href = xml.attribute(self.href)
        return f'<{self.root}{head} Href="{href}" Type="{self.root}">{body}</{self.root}>'

    def to_json(self) -> Any:
        """Return the document as plain values."""
        return {
            "FSRoots": {"DirectoryEntries": [item.to_json() for item in self.roots]},
            "Links": json.links(self._links()),
            "Href": self.href,
            "Type": self.root,
        }

    def _links(self) -> list[LinkValue]:
        return [LinkValue("Delete", self.href)]


@dataclass(frozen=True)
class MountList:
    """The mounts of a restore point."""

    root: str
    mounts: Sequence[MountDocument]

    def to_xml(self) -> str:
        """Return the document without its declaration."""
        mounts = "".join(mount.element() for mount in self.mounts)
        return f"<{self.root}{xml.NAMESPACE_ATTRIBUTE}>{mounts}</{self.root}>"

    def to_json(self) -> Any:
        """Return the document as plain values."""
        return {self.root: [mount.to_json() for mount in self.mounts]}
