"""The file systems of a machine's disks: in partitions, in LVM, or on the disks themselves.

Nothing is mounted, so nothing of what a disk holds reaches the kernel: all is read in user space.
Read are ext2 to ext4, XFS, btrfs, NTFS, FAT, exFAT, HFS+, UFS and ISO 9660; encrypted disks are
not. Journals are not replayed. Runs in the reader's process; all functions block.
"""

from __future__ import annotations

import string
from collections import OrderedDict
from collections.abc import Sequence
from itertools import islice

from holdfast.engine.btrfs import Btrfs, Device, is_btrfs, join_group, read_superblock
from holdfast.engine.disk import CachedDisk, Disk, Window
from holdfast.engine.file_system import (
    ContentElsewhereError,
    FileSystem,
    Node,
    NotFoundError,
    Unreadable,
)
from holdfast.engine.guest_entry import GREATEST_FOLDER, Entry, in_order, match
from holdfast.engine.lvm import is_physical_volume, logical_volumes
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
        """Return a part of a file's content; zeros where the file system has lost it.

        Raise ContentElsewhereError, with the name and the reason, when it cannot be had.
        """
        if node.entry.kind != "file":
            raise NotFoundError(f"{node.entry.name} is not a file.")
        length = min(length, node.entry.size - offset)
        if length <= 0 and offset:
            return b""
        try:
            return self._system.read(node.address, offset, max(length, 0))
        except ContentElsewhereError as error:
            raise ContentElsewhereError(f"{node.entry.name} cannot be read: {error}.") from error


def _held(folders: OrderedDict[int, list[Node]]) -> int:
    return sum(len(nodes) + 1 for nodes in folders.values())


def volumes_of(disks: Sequence[Disk]) -> list[Volume]:
    """Given the disks of a machine, in order, return the file systems on them that can be read.

    What lies wholly on the first disks comes first: its name does not change when there are more.
    """
    letters = iter(string.ascii_uppercase[_FIRST_LETTER:])
    found: list[Volume] = []
    for system in _all_systems([CachedDisk(disk, len(disks)) for disk in disks])[:_MOST_VOLUMES]:
        letter = next(letters, None) if system.has_letter else None
        found.append(Volume(f"{letter}:" if letter else f"volume{len(found) + 1}", system))
    return found


def _all_systems(disks: Sequence[Disk]) -> list[FileSystem]:
    """Return the file systems of all disks: of each, those in partitions, then in LVM, then btrfs.

    A file system on several disks is one of the last of them.
    """
    found: list[list[FileSystem]] = [[] for _ in disks]
    regions: list[Disk] = []
    unknown: list[Disk] = []
    last_disk: dict[int, int] = {}
    for number, disk in enumerate(disks):
        inside, found[number], left = _regions(disk)
        regions += inside
        unknown += left
        last_disk |= {id(region): number for region in inside}
    for volume in logical_volumes(regions):
        number = last_disk[id(volume)] = max(last_disk[id(region)] for region in volume.disks)
        systems, left = _known_systems([volume])
        found[number] += systems
        unknown += left
    for system, parts in _btrfs_systems(unknown):
        found[max(last_disk[id(part)] for part in parts)].append(system)
    return [system for of_disk in found for system in of_disk]


def _regions(disk: Disk) -> tuple[list[Disk], list[FileSystem], list[Disk]]:
    """Given a disk, return its partitions, or itself, and as `_known_systems` does."""
    regions: list[Disk] = list(partitions(disk)[:_MOST_VOLUMES])
    systems, unknown = _known_systems(regions)
    if not systems and not any(_is_part(region) for region in unknown):
        # Some file systems without partitions begin with what looks like a table of them.
        regions = [Window(disk, 0, disk.size)]
        systems, unknown = _known_systems(regions)
    return regions, systems, unknown


def _known_systems(regions: Sequence[Disk]) -> tuple[list[FileSystem], list[Disk]]:
    """Return the file systems that lie in one place each, and the places without one."""
    found: list[FileSystem] = []
    unknown: list[Disk] = []
    for region in regions:
        try:
            found.append(Xfs(region) if is_xfs(region) else SleuthKit(region))
        except OSError:
            unknown.append(region)  # swap, a part of something, what is not known
    return found, unknown


def _is_part(region: Disk) -> bool:
    """Whether a partition belongs to what may lie on several."""
    return is_physical_volume(region) or is_btrfs(region)


def _btrfs_systems(regions: Sequence[Disk]) -> list[tuple[FileSystem, list[Disk]]]:
    """Return the btrfs file systems, each with the regions it lies on."""
    found: list[tuple[FileSystem, list[Disk]]] = []
    groups: list[list[Device]] = []
    for region in regions:
        try:
            if is_btrfs(region):
                join_group(Device(region, read_superblock(region)), groups)
        except OSError as error:
            found.append((Unreadable(str(error)), [region]))
    for group in groups:
        system: FileSystem
        try:
            system = Btrfs(group)
        except OSError as error:
            system = Unreadable(str(error))
        found.append((system, [device.disk for device in group]))
    return found
