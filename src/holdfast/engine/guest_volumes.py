"""The file systems of a machine's disks: in partitions, in LVM, or on the disks themselves.

Nothing is mounted, so nothing of what a disk holds reaches the kernel: all is read in user space.
Read are ext2 to ext4, XFS, btrfs, NTFS, FAT, exFAT, HFS+, UFS and ISO 9660; encrypted disks are
not. What is there, but cannot be read, is a volume with the reason. Journals are not replayed,
which is said of those that were in use. Runs in the reader's process; all functions block.
"""

from __future__ import annotations

import string
from collections import OrderedDict
from collections.abc import Sequence
from itertools import islice

import msgspec

from holdfast.engine.btrfs import Btrfs, Device, is_btrfs, join_group, read_superblock
from holdfast.engine.disk import CachedDisk, Disk, Window
from holdfast.engine.ext import Ext, is_ext
from holdfast.engine.file_system import (
    ContentElsewhereError,
    FileSystem,
    Node,
    NotFoundError,
    Unreadable,
)
from holdfast.engine.foreign import foreign, unusable
from holdfast.engine.guest_entry import GREATEST_FOLDER, Entry, in_order, match
from holdfast.engine.lvm import is_physical_volume, logical_volumes
from holdfast.engine.md import is_member, members_resolved
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
        self._cut: set[int] = set()

    @property
    def warnings(self) -> list[str]:
        """What people are to know who read it, each with the volume's name."""
        return [f"[{self.name}] {warning}" for warning in self._system.warnings]

    def find(self, parts: tuple[str, ...]) -> Node:
        """Given names from the root down, return what is there. Links are never followed."""
        node = Node(Entry(name=self.name, kind="directory"), self._system.root)
        for part in parts:
            nodes = {child.entry.name: child for child in self.children(node)}
            name = match(part, list(nodes))
            found = nodes[name] if name is not None else self._beyond(node, part)
            if found is None:
                raise NotFoundError(f"There is no {part} in {node.entry.name}.")
            node = found
        return node

    def _beyond(self, node: Node, name: str) -> Node | None:
        """Look for a name in a folder among those that `children` leaves out."""
        if not self.has_more(node):
            return None
        children = self._system.nodes(node.address)
        return next((child for child in children if match(name, [child.entry.name])), None)

    def has_more(self, node: Node) -> bool:
        """Say whether a folder has more in it than `children` gives."""
        self.children(node)
        return node.address in self._cut

    def children(self, node: Node) -> list[Node]:
        """Given a folder, return what is in it, in order; of a very large one, the first."""
        if node.entry.kind != "directory":
            raise NotFoundError(f"{node.entry.name} is not a folder.")
        if (known := self._folders.get(node.address)) is not None:
            self._folders.move_to_end(node.address)
            return known
        found: dict[str, Node] = {}
        # Those that bear the same name count, too: a folder made to hold it for ever must end.
        nodes = iter(self._system.nodes(node.address))
        for child in islice(nodes, GREATEST_FOLDER):
            if found.setdefault(child.entry.name, child).address != child.address:
                # Names that differ may be shown alike; each file must be within reach.
                name = f"{child.entry.name} ({child.address})"
                found[name] = Node(msgspec.structs.replace(child.entry, name=name), child.address)
        if next(nodes, None) is not None:
            self._cut.add(node.address)
        ordered = [found[entry.name] for entry in in_order([n.entry for n in found.values()])]
        self._folders[node.address] = ordered
        while len(self._folders) > 1 and _held(self._folders) > GREATEST_FOLDER + _KEPT_FOLDERS:
            self._folders.popitem(last=False)
        return ordered

    def read(self, node: Node, offset: int, length: int) -> bytes:
        """Return a part of a file's content; zeros in holes and where nothing was written yet.

        Raise ContentElsewhereError, with the name and the reason, when it cannot be had.
        """
        if node.entry.kind != "file":
            raise NotFoundError(f"{node.entry.name} is no regular file, or it is damaged.")
        length = min(length, node.entry.size - offset)
        if length <= 0:
            return b""
        try:
            return self._system.read(node.address, offset, length)
        except ContentElsewhereError as error:
            raise ContentElsewhereError(f"{node.entry.name} cannot be read: {error}.") from error


def _held(folders: OrderedDict[int, list[Node]]) -> int:
    return sum(len(nodes) + 1 for nodes in folders.values())


def volumes_of(disks: Sequence[Disk]) -> list[Volume]:
    """Given the disks of a machine, in order, return the file systems on them, and what else is
    there that may hold files: each of these cannot be read, for a reason. Raise OSError when a disk
    itself cannot be read.

    What lies wholly on the first disks comes first: its name does not change when there are more,
    nor when what cannot be read comes or goes.
    """
    letters = iter(string.ascii_uppercase[_FIRST_LETTER:])
    found: list[Volume] = []
    unread: list[Volume] = []
    for system in _all_systems([CachedDisk(disk, len(disks)) for disk in disks])[:_MOST_VOLUMES]:
        if isinstance(system, Unreadable):
            unread.append(Volume(f"unreadable{len(unread) + 1} ({system.kind})", system))
            continue
        letter = next(letters, None) if system.has_letter else None
        found.append(Volume(f"{letter}:" if letter else f"volume{len(found) + 1}", system))
    return found + unread


def _all_systems(disks: Sequence[Disk]) -> list[FileSystem]:
    """Return the file systems of all disks: of each, those in partitions, then in LVM, then btrfs.

    A file system on several disks is one of the last of them.
    """
    found: list[list[FileSystem]] = [[] for _ in disks]
    number_of: dict[int, int] = {}
    regions: list[Disk] = []
    for number, disk in enumerate(disks):
        of_disk = _regions(disk)
        regions += of_disk
        number_of |= {id(region): number for region in of_disk}
    kept, lost_arrays, members = members_resolved(regions)
    places: list[Disk] = []
    for place in kept:
        of_array = members.get(id(place))
        # An array may have partitions, too.
        of_place = [place] if of_array is None else _regions(place)
        number = min(number_of[id(member)] for member in of_array or [place])
        number_of |= {id(part): number for part in of_place}
        places += of_place
    volumes, lost_volumes = logical_volumes(places)
    for volume in volumes:
        number_of[id(volume)] = max(number_of[id(disk)] for disk in volume.disks)
    unknown: list[Disk] = []
    for place in [*places, *volumes]:
        system = _system(place)
        if system is not None:
            found[number_of[id(place)]].append(system)
        elif is_btrfs(place):
            unknown.append(place)
    lost = [(Unreadable(each.reason, "LVM"), each.disks) for each in lost_volumes]
    for other, of_system in [*_btrfs_systems(unknown), *lost_arrays, *lost]:
        found[max(number_of[id(place)] for place in of_system)].append(other)
    return [system for of_disk in found for system in of_disk]


def _regions(disk: Disk) -> list[Disk]:
    """Given a disk, return its partitions, or itself."""
    table = partitions(disk)
    regions: list[Disk] = [*(table or [])[:_MOST_VOLUMES]]
    whole = Window(disk, 0, disk.size)
    if is_member(whole) and not any(is_member(region) for region in regions):
        return [whole]  # whose partitions they are
    if any(_is_used(region) for region in regions):
        return regions
    # Some file systems without partitions begin with what looks like a table of them.
    return [whole] if table is None or _is_used(whole) else regions


def _is_used(region: Disk) -> bool:
    """Whether there is something known in a partition, or on a disk."""
    if is_member(region) or is_physical_volume(region) or is_btrfs(region):
        return True
    system = _system(region)
    return system is not None and not _is_nothing(system)


def _is_nothing(system: FileSystem) -> bool:
    """Whether what cannot be read only tells that something is not there."""
    return isinstance(system, Unreadable) and system.kind in ("partitions", "missing")


def _system(place: Disk) -> FileSystem | None:
    """Return the file system that lies in one place; None when there is none that is known.

    What is known, but cannot be read, gives the reason.
    """
    if not place.size:
        return Unreadable("The disk ends before this partition begins.", "missing")
    try:
        return _open(place)
    except OSError as error:
        # Swap, a part of something, what is damaged, or what is not known at all.
        if is_physical_volume(place) or is_btrfs(place):
            return None
        return foreign(place) or unusable(place, error)


def _open(place: Disk) -> FileSystem:
    """Return the file system in a place; raise OSError when there is none that can be read."""
    if is_xfs(place):
        return Xfs(place)
    return Ext(place) if is_ext(place) else SleuthKit(place)


def _btrfs_systems(regions: Sequence[Disk]) -> list[tuple[FileSystem, list[Disk]]]:
    """Return the btrfs file systems, each with the regions it lies on."""
    found: list[tuple[FileSystem, list[Disk]]] = []
    groups: list[list[Device]] = []
    for region in regions:
        try:
            join_group(Device(region, read_superblock(region)), groups)
        except OSError as error:
            found.append((Unreadable(str(error), "btrfs"), [region]))
    for group in groups:
        system: FileSystem
        try:
            system = Btrfs(group)
        except OSError as error:
            system = Unreadable(str(error), "btrfs")
        found.append((system, [device.disk for device in group]))
    return found
