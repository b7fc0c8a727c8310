"""btrfs file systems, on one device or several, read in user space. Runs in the reader's process.

Shown is the whole of a file system, from its topmost subvolume down; other subvolumes and snapshots
are folders where they were made, the default subvolume too. The log is not replayed: what a machine
had written and synchronised in the last moments before its backup may be seen as it was before,
which `Btrfs.warnings` says.
"""

from __future__ import annotations

import stat
from collections.abc import Iterator, Sequence

from holdfast.engine.btrfs_chunks import Chunks, Device, first_chunks, unpack_chunk
from holdfast.engine.btrfs_extents import Contents
from holdfast.engine.btrfs_format import (
    CHUNK,
    FOLDER_INDEX,
    GREATEST,
    INODE,
    ROOT_TREE,
    SUBVOLUME,
    TOP_SUBVOLUME,
    TREE,
    Inode,
    Named,
    is_btrfs,
    read_superblock,
    unpack_inode,
    unpack_named,
    unpack_reference,
    unpack_tree,
)
from holdfast.engine.btrfs_tree import Nodes, Tree
from holdfast.engine.disk import DamagedError
from holdfast.engine.file_system import (
    Node,
    larger_than_place,
    not_replayed,
    posix_entry,
)
from holdfast.engine.guest_entry import Entry, shown_name

__all__ = ["Btrfs", "Device", "is_btrfs", "join_group", "read_superblock"]

_NUMBERS = 1 << 64  # an address is a subvolume's number, and an inode's in it
_NOTHING = 0  # the address of a subvolume that is in another snapshot only
_KEPT_TREES = 1024


class Btrfs:
    """A `holdfast.engine.file_system.FileSystem`. Raise OSError for one that cannot be used."""

    has_letter = False

    def __init__(self, devices: Sequence[Device]) -> None:
        superblock = max((device.superblock for device in devices), key=lambda s: s.generation)
        first = Chunks(devices, first_chunks(superblock.chunks))
        chunk_tree = Tree(Nodes(superblock, first), superblock.chunk_root)
        found = chunk_tree.items((0, CHUNK, 0), (GREATEST, CHUNK, GREATEST))
        all_chunks = (
            unpack_chunk(start, raw)[0] for (_, kind, start), raw in found if kind == CHUNK
        )
        chunks = Chunks(devices, all_chunks)
        self._superblock = superblock
        self._devices = devices
        self._nodes = Nodes(superblock, chunks)
        self._contents = Contents(superblock, chunks)
        self._root_tree = Tree(self._nodes, superblock.root)
        self._trees: dict[int, tuple[Tree, int]] = {}
        self.root = self._top_of(TOP_SUBVOLUME)
        if not self._inode(self.root).is_folder:
            raise DamagedError("The root of the btrfs file system is not a folder.")

    @property
    def warnings(self) -> list[str]:
        """What people are to know who read it."""
        found = [
            larger_than_place(device.superblock.device_size, device.disk.size)
            for device in self._devices
            if device.superblock.device_size > device.disk.size
        ]
        if self._superblock.has_log:
            found.append(not_replayed("log"))
        return found

    def nodes(self, address: int) -> Iterator[Node]:
        """Given a folder's address, return what is in it."""
        if address == _NOTHING:
            return
        if not self._inode(address).is_folder:
            raise DamagedError(f"Inode {address % _NUMBERS} is not a folder.")
        subvolume, number = divmod(address, _NUMBERS)
        tree, _ = self._tree(subvolume)
        first, last = (number, FOLDER_INDEX, 0), (number, FOLDER_INDEX, GREATEST)
        for _, raw in tree.items(first, last):
            yield self._node(unpack_named(raw), subvolume, number)

    def read(self, address: int, offset: int, length: int) -> bytes:
        """Return a part of a file's content; zeros in holes and where nothing was written yet."""
        inode = self._inode(address)
        if not stat.S_ISREG(inode.mode):
            raise DamagedError(f"Inode {address % _NUMBERS} is not a file.")
        subvolume, number = divmod(address, _NUMBERS)
        length = max(0, min(length, inode.size - offset))
        if not length:
            return b""
        return self._contents.read(self._tree(subvolume)[0], number, offset, length)

    def _node(self, named: Named, subvolume: int, folder: int) -> Node:
        name = shown_name(named.name)
        try:
            address = self._address(named, subvolume, folder)
            if address == _NOTHING:
                return Node(Entry(name=name, kind="directory"), _NOTHING)
            inode = self._inode(address)
        except DamagedError:
            # One damaged file is no reason to hide the others of its folder.
            return Node(Entry(name=name, kind="other"), _NOTHING)
        return Node(posix_entry(name, inode), address)

    def _address(self, named: Named, subvolume: int, folder: int) -> int:
        """Return the address of what an entry of a folder names."""
        if named.type == INODE:
            return subvolume * _NUMBERS + named.number
        if named.type != TREE:
            raise DamagedError("An entry of a folder names what is not known.")
        # A snapshot has the names of the subvolumes in it, but not the subvolumes themselves.
        raw = self._root_tree.item((subvolume, SUBVOLUME, named.number))
        if raw is None or unpack_reference(raw) != (folder, named.name):
            return _NOTHING
        return self._top_of(named.number)

    def _top_of(self, subvolume: int) -> int:
        return subvolume * _NUMBERS + self._tree(subvolume)[1]

    def _inode(self, address: int) -> Inode:
        subvolume, number = divmod(address, _NUMBERS)
        raw = self._tree(subvolume)[0].item((number, INODE, 0))
        if raw is None:
            raise DamagedError(f"There is no inode {number} in subvolume {subvolume}.")
        return unpack_inode(raw)

    def _tree(self, subvolume: int) -> tuple[Tree, int]:
        """Return the tree of a subvolume, and the number of its topmost folder."""
        if (known := self._trees.get(subvolume)) is not None:
            return known
        found = self._root_tree.before((subvolume, TREE, GREATEST))
        if found is None or found[0][:2] != (subvolume, TREE) or subvolume == ROOT_TREE:
            raise DamagedError(f"There is no subvolume {subvolume}.")
        place, folder = unpack_tree(found[1])
        if len(self._trees) >= _KEPT_TREES:
            self._trees.clear()
        self._trees[subvolume] = Tree(self._nodes, place), folder
        return self._trees[subvolume]


def join_group(device: Device, groups: list[list[Device]]) -> None:
    """Add a device to the group of those that make one file system with it, or to a new group.

    A second device with the same number in the same file system belongs to a copy of that.
    """
    own = device.superblock
    for group in groups:
        numbers = {each.superblock.device for each in group}
        if group[0].superblock.uuid == own.uuid and own.device not in numbers:
            group.append(device)
            return
    groups.append([device])
