"""ext2, ext3 and ext4 file systems, read in user space. Runs in the reader's process.

The journal is not replayed: of a file system that was in use, what had been changed right before
may be missing or old, which `Ext.warnings` says.
"""

from __future__ import annotations

import stat
import struct
from collections.abc import Iterator

from holdfast.engine.disk import DamagedError, Disk, read_whole
from holdfast.engine.ext_format import (
    ROOT,
    Inode,
    extents,
    is_ext,
    read_inode,
    read_superblock,
)
from holdfast.engine.file_system import (
    ContentElsewhereError,
    Node,
    larger_than_place,
    not_replayed,
    posix_entry,
)
from holdfast.engine.guest_entry import Entry, shown_name

__all__ = ["Ext", "is_ext"]

_NAMED = struct.Struct("<IHBB")
_SHORTEST = 8
_LARGEST_SHORT_LENGTH = 1 << 16  # of an entry; longer ones are written in another way
_PARENT = 4  # bytes before the entries in an inode
_READ_AT_ONCE = 64  # blocks of a folder
_MOST_DATA = 64 << 20  # bytes; far more than a folder that is shown whole can have
_ENCRYPTED = "the guest has encrypted it (fscrypt), and its key is not known here"


class Ext:
    """A `holdfast.engine.file_system.FileSystem`. Raise OSError for one that cannot be used."""

    has_letter = False
    root = ROOT

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        self._superblock = read_superblock(disk)
        if not self._inode(ROOT).is_folder:
            raise DamagedError("The root of the ext file system is not a folder.")

    @property
    def warnings(self) -> list[str]:
        """What people are to know who read it."""
        superblock, found = self._superblock, []
        size = superblock.blocks * superblock.block_size
        if size > self._disk.size:
            found.append(larger_than_place(size, self._disk.size))
        if superblock.is_recovering:
            found.append(not_replayed("journal"))
        if superblock.has_errors:
            found.append("Linux has found errors in it: what is read may be damaged.")
        return found

    def nodes(self, address: int) -> Iterator[Node]:
        """Given a folder's number, return what is in it."""
        inode = self._inode(address)
        if not inode.is_folder:
            raise DamagedError(f"Inode {address} is not a folder.")
        if inode.is_encrypted:
            raise DamagedError(_ENCRYPTED)
        for raw in self._lists(inode):
            for name, number in _entries(raw):
                if name not in (b".", b".."):
                    yield Node(self._entry(name, number), number)

    def read(self, address: int, offset: int, length: int) -> bytes:
        """Return a part of a file's content; zeros in holes and where nothing was written yet.

        Raise ContentElsewhereError for a file that the guest has encrypted.
        """
        inode = self._inode(address)
        if not stat.S_ISREG(inode.mode):
            raise DamagedError(f"Inode {address} is not a file.")
        if inode.is_encrypted:
            raise ContentElsewhereError(_ENCRYPTED)
        length = max(0, min(length, inode.size - offset))
        if inode.is_inline:
            content = b"".join(inode.inline())[offset : offset + length]
            return content + bytes(length - len(content))
        found = bytearray(length)
        size = self._superblock.block_size
        first, last = offset // size, -(-(offset + length) // size)
        for extent in extents(self._disk, self._superblock, inode, first, last):
            place = self._superblock.offset(extent.address, extent.length)
            begin = max(offset, extent.start * size)
            end = min(offset + length, (extent.start + extent.length) * size)
            raw = read_whole(self._disk, place + begin - extent.start * size, end - begin)
            found[begin - offset : end - offset] = raw
        return bytes(found)

    def _inode(self, number: int) -> Inode:
        return read_inode(self._disk, self._superblock, number)

    def _entry(self, name: bytes, number: int) -> Entry:
        try:
            inode = self._inode(number)
        except DamagedError:
            # One damaged file is no reason to hide the others of its folder.
            return Entry(name=shown_name(name), kind="other")
        return posix_entry(shown_name(name), inode)

    def _lists(self, inode: Inode) -> Iterator[bytes]:
        """Return the lists of entries that a folder consists of: most are one block each."""
        if inode.is_inline:
            first, second = inode.inline()
            yield from (first[_PARENT:], second)
            return
        size = self._superblock.block_size
        end = -(-inode.size // size)
        for extent in extents(self._disk, self._superblock, inode, 0, min(end, _MOST_DATA // size)):
            for done in range(0, extent.length, _READ_AT_ONCE):
                count = min(_READ_AT_ONCE, extent.length - done)
                place = self._superblock.offset(extent.address + done, count)
                raw = read_whole(self._disk, place, count * size)
                for start in range(0, len(raw), size):
                    yield raw[start : start + size]
        if end > _MOST_DATA // size:
            raise DamagedError(f"Folder {inode.number} is larger than any that is read.")


def _entries(raw: bytes) -> Iterator[tuple[bytes, int]]:
    """Given a list, return the names in it and the inodes they name. Nodes of the index of a large
    folder are one entry each that names nothing."""
    at = 0
    while at + _SHORTEST <= len(raw):
        number, step, length, _ = _NAMED.unpack_from(raw, at)
        if len(raw) >= _LARGEST_SHORT_LENGTH:
            step = len(raw) if step in (0, 65535) else step & 65532 | (step & 3) << 16
        if step < _SHORTEST or step % 4 or at + step > len(raw) or _SHORTEST + length > step:
            raise DamagedError("The entries of a folder are damaged.")
        if number and length:
            yield raw[at + _SHORTEST : at + _SHORTEST + length], number
        at += step
