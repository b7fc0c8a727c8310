"""XFS file systems, versions 4 and 5, read in user space. Runs in the reader's process.

The log is not replayed: what a machine had changed in the last moments before its backup may be
seen as it was before, which `Xfs.warnings` says, and what was half-way into the file system is
reported as damaged.
"""

from __future__ import annotations

import stat
from collections.abc import Iterator

from holdfast.engine.disk import DamagedError, Disk, read_whole
from holdfast.engine.file_system import (
    Node,
    larger_than_place,
    not_replayed,
    posix_entry,
)
from holdfast.engine.guest_entry import Entry, shown_name
from holdfast.engine.xfs_directory import read_folder
from holdfast.engine.xfs_extents import extents
from holdfast.engine.xfs_format import is_xfs, read_inode, read_superblock
from holdfast.engine.xfs_log import is_in_use

__all__ = ["Xfs", "is_xfs"]


class Xfs:
    """A `holdfast.engine.file_system.FileSystem`. Raise OSError for one that cannot be used."""

    has_letter = False

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        self._superblock = read_superblock(disk)
        self.root = self._superblock.root
        if not read_inode(disk, self._superblock, self.root).is_folder:
            raise DamagedError("The root of the XFS file system is not a folder.")

    @property
    def warnings(self) -> list[str]:
        """What people are to know who read it."""
        superblock, found = self._superblock, []
        size = superblock.blocks * superblock.block_size
        if size > self._disk.size:
            found.append(larger_than_place(size, self._disk.size))
        if self._is_log_in_use():
            found.append(not_replayed("log"))
        return found

    def _is_log_in_use(self) -> bool:
        superblock = self._superblock
        if not superblock.log or not superblock.log_blocks:
            return False  # it is not here
        try:
            start = superblock.block_offset(superblock.log, superblock.log_blocks)
            return is_in_use(self._disk, start, superblock.log_blocks * superblock.block_size)
        except OSError:
            return True

    def nodes(self, address: int) -> Iterator[Node]:
        """Given a folder's number, return what is in it."""
        inode = read_inode(self._disk, self._superblock, address)
        if not inode.is_folder:
            raise DamagedError(f"Inode {address} is not a folder.")
        for named in read_folder(self._disk, self._superblock, inode):
            yield Node(self._entry(named.name, named.inode), named.inode)

    def _entry(self, name: bytes, number: int) -> Entry:
        try:
            inode = read_inode(self._disk, self._superblock, number)
        except DamagedError:
            # One damaged file is no reason to hide the others of its folder.
            return Entry(name=shown_name(name), kind="other")
        return posix_entry(shown_name(name), inode)

    def read(self, address: int, offset: int, length: int) -> bytes:
        """Return a part of a file's content; zeros in holes and where nothing was written yet."""
        superblock = self._superblock
        inode = read_inode(self._disk, superblock, address)
        if not stat.S_ISREG(inode.mode):
            raise DamagedError(f"Inode {address} is not a file.")
        length = max(0, min(length, inode.size - offset))
        content = bytearray(length)
        size = superblock.block_size
        first, last = offset // size, -(-(offset + length) // size)
        for extent in extents(self._disk, superblock, inode, first, last):
            if not extent.is_written:
                continue
            place = superblock.block_offset(extent.address, extent.length)
            begin = max(offset, extent.start * size)
            end = min(offset + length, extent.end * size)
            raw = read_whole(self._disk, place + begin - extent.start * size, end - begin)
            content[begin - offset : end - offset] = raw
        return bytes(content)
