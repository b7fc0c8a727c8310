"""The file systems of a machine's disk: in its partitions, in LVM, or on the disk itself.

Nothing is mounted, so nothing of what a disk holds reaches the kernel: all is read in user space.
Read are ext2 to ext4, XFS, NTFS, FAT, exFAT, HFS+, UFS and ISO 9660; Btrfs and encrypted disks are
not. Journals are not replayed. Runs in the reader's process; all functions block.
"""

from __future__ import annotations

import string
from collections import OrderedDict
from itertools import islice

from holdfast.engine.disk import CachedDisk, Disk, Window
from holdfast.engine.file_system import FileSystem, Node, NotFoundError
from holdfast.engine.guest_entry import GREATEST_FOLDER, Entry, in_order, match
from holdfast.engine.lvm import logical_volumes
from holdfast.engine.sleuthkit import SleuthKit, partitions
from holdfast.engine.xfs import Xfs, is_xfs

_KEPT_FOLDERS = 64
_MOST_VOLUMES = 128
_FIRST_LETTER = string.ascii_uppercase.index("C")


class Volume:
    """A file system of a disk."""

    def __init__(self, name: str, system: FileSystem) -> None:
        self.name = name
        self._system = system
        self._folders: OrderedDict[int, list[Node]] = OrderedDict()

    def find(self, parts: tuple[str, ...]) -> Node:
        """Given names from the root down, return what is there. Links are never followed."""
        node = Node(Entry(name=self.name, kind="directory"), self._system.root)
        for part in parts:
            nodes = {child.entry.name: child for child in self.children(node)}
            name = match(part, list(nodes))
            if name is None:
                raise NotFoundError(f"There is no {part} in {node.entry.name}.")
            node = nodes[name]
        return node

    def children(self, node: Node) -> list[Node]:
        """Given a folder, return what is in it, in order."""
        if node.entry.kind != "directory":
            raise NotFoundError(f"{node.entry.name} is not a folder.")
        if (known := self._folders.get(node.address)) is not None:
            self._folders.move_to_end(node.address)
            return known
        found: dict[str, Node] = {}
        # Those that bear the same name count, too: a folder made to hold it for ever must end.
        for child in islice(self._system.nodes(node.address), GREATEST_FOLDER):
            found.setdefault(child.entry.name, child)
        ordered = [found[entry.name] for entry in in_order([n.entry for n in found.values()])]
        self._folders[node.address] = ordered
        while len(self._folders) > 1 and _held(self._folders) > GREATEST_FOLDER + _KEPT_FOLDERS:
            self._folders.popitem(last=False)
        return ordered

    def read(self, node: Node, offset: int, length: int) -> bytes:
        """Return a part of a file's content; zeros where the file system has lost it."""
        if node.entry.kind != "file":
            raise NotFoundError(f"{node.entry.name} is not a file.")
        length = min(length, node.entry.size - offset)
        if length <= 0:
            return b""
        return self._system.read(node.address, offset, length)


def _held(folders: OrderedDict[int, list[Node]]) -> int:
    return sum(len(nodes) + 1 for nodes in folders.values())


def volumes_of(disk: Disk) -> list[Volume]:
    """Given a disk, return the file systems on it that can be read."""
    disk = CachedDisk(disk)
    whole = Window(disk, 0, disk.size)
    # Some file systems without partitions begin with what looks like a table of them.
    systems = _file_systems(list(partitions(disk))) or _file_systems([whole])
    letters = iter(string.ascii_uppercase[_FIRST_LETTER:])
    found: list[Volume] = []
    for system in systems:
        letter = next(letters, None) if system.has_letter else None
        found.append(Volume(f"{letter}:" if letter else f"volume{len(found) + 1}", system))
    return found


def _file_systems(regions: list[Disk]) -> list[FileSystem]:
    """Given partitions, return the file systems in them, then those in their logical volumes."""
    found: list[FileSystem] = []
    for region in [*regions[:_MOST_VOLUMES], *logical_volumes(regions[:_MOST_VOLUMES])]:
        try:
            found.append(Xfs(region) if is_xfs(region) else SleuthKit(region))
        except OSError:
            continue  # swap, a physical volume of LVM, a file system that is not known
    return found[:_MOST_VOLUMES]
