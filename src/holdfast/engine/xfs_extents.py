"""Where the content of an XFS file lies: its extents, in the inode itself or in a B+tree.

The facts are those of "XFS Algorithms & Data Structures", chapter "Data Extents".
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from itertools import pairwise

from holdfast.engine.disk import DamagedError, Disk, read_whole
from holdfast.engine.xfs_format import (
    EXTENTS,
    TREE,
    Extent,
    Inode,
    Superblock,
    unpack_extents,
)

_HEAD = struct.Struct(">4sHHQQ")
_NEW_HEAD = struct.Struct(">4sHHQQ QQ16sQ II")
_ROOT = struct.Struct(">HH")
_PAIR = 16  # a key and a pointer, of 8 bytes each
_DEEPEST = 12
#: An extent's start has 54 bits.
_END = 1 << 54


def extents(
    disk: Disk, superblock: Superblock, inode: Inode, first: int, last: int
) -> Iterator[Extent]:
    """Return the extents that hold blocks of the file from first up to, not with, last, in order.

    Raise DamagedError for a list or tree that contradicts itself.
    """
    if inode.is_realtime:
        raise DamagedError("The content is on a realtime device, which this disk is not.")
    if inode.format == EXTENTS:
        found = iter(unpack_extents(inode.fork, inode.extents))
    elif inode.format == TREE:
        found = _Tree(disk, superblock, inode).extents(first, last)
    else:
        raise DamagedError(f"Inode {inode.number} has no extents.")
    reached = 0
    for extent in found:
        if extent.start < reached:
            raise DamagedError("The extents of a file overlap.")
        reached = extent.end
        if extent.start >= last:
            return
        if extent.end > first:
            yield extent


class _Tree:
    """The B+tree of a file's extents. Levels fall on the way down, so that no circle is endless;
    what a node is asked for is no more than its key promises, so that none is read twice.
    """

    def __init__(self, disk: Disk, superblock: Superblock, inode: Inode) -> None:
        self._disk = disk
        self._superblock = superblock
        self._inode = inode
        self._is_new = superblock.version == 5
        self._head = (_NEW_HEAD if self._is_new else _HEAD).size

    def extents(self, first: int, last: int) -> Iterator[Extent]:
        """Return the extents with blocks of that range."""
        fork = self._inode.fork
        level, count = _ROOT.unpack_from(fork)
        if not 1 <= level <= _DEEPEST:
            raise DamagedError(f"The tree of inode {self._inode.number} has no such depth.")
        yield from self._below(fork[_ROOT.size :], level, count, first, last)

    def _below(
        self, body: bytes, level: int, count: int, first: int, last: int
    ) -> Iterator[Extent]:
        """Given a node without its head, return the extents below it."""
        room = len(body) // _PAIR
        if not 0 < count <= room:
            raise DamagedError(f"A node in the tree of inode {self._inode.number} is damaged.")
        keys = struct.unpack_from(f">{count}Q", body)
        pointers = struct.unpack_from(f">{count}Q", body, room * 8)
        if any(key >= next_key for key, next_key in pairwise(keys)):
            raise DamagedError(f"The tree of inode {self._inode.number} is not in order.")
        for key, next_key, pointer in zip(keys, (*keys[1:], _END), pointers, strict=True):
            if key < last and next_key > first:
                yield from self._node(pointer, level - 1, max(first, key), min(last, next_key))

    def _node(self, block: int, level: int, first: int, last: int) -> Iterator[Extent]:
        superblock = self._superblock
        raw = read_whole(self._disk, superblock.block_offset(block), superblock.block_size)
        magic, own_level, count, _, _ = _HEAD.unpack_from(raw)
        if magic != (b"BMA3" if self._is_new else b"BMAP") or own_level != level:
            raise DamagedError(f"The tree of inode {self._inode.number} leads astray.")
        if self._is_new:
            uuid, owner = _NEW_HEAD.unpack_from(raw)[7:9]
            if uuid != superblock.uuid or owner != self._inode.number:
                raise DamagedError(f"The tree of inode {self._inode.number} leads astray.")
        body = raw[self._head :]
        if level:
            yield from self._below(body, level, count, first, last)
            return
        if not count:
            raise DamagedError(f"A node in the tree of inode {self._inode.number} is damaged.")
        for extent in unpack_extents(body, count):
            if extent.start < last and extent.end > first:
                yield extent
