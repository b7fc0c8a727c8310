"""The entries of XFS folders: in the inode, or in blocks of data entries.

The facts are those of "XFS Algorithms & Data Structures", chapter "Directories". The tables that
find a name by its hash (in block, leaf and node folders) are not needed: every entry is in the
data blocks.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from itertools import groupby
from typing import NamedTuple

from holdfast.engine.disk import DamagedError, Disk, read_whole
from holdfast.engine.xfs_extents import extents
from holdfast.engine.xfs_format import LOCAL, Inode, Superblock

_LEAVES_START = 32 << 30  # bytes; data blocks are below, tables of hashes from there on
_MOST_DATA = 64 << 20  # bytes; far more than a folder that is shown whole can have
_BLOCK_MAGICS = (b"XD2B", b"XDB3")
_DATA_MAGICS = (b"XD2D", b"XDD3")
_OLD_HEAD = 16
_NEW_HEAD = 64
_TAIL = struct.Struct(">II")  # of a folder in one block: entries in the table, and stale ones
_LEAF = 8
_UNUSED = 0xFFFF
_ENTRY = struct.Struct(">QB")  # inode, length of the name; name, type and tag follow
_TAG = 2
_SMALLEST = 16


class Named(NamedTuple):
    """An entry of a folder."""

    name: bytes
    inode: int


def read_folder(disk: Disk, superblock: Superblock, inode: Inode) -> Iterator[Named]:
    """Given a folder's inode, return its entries, without ``.`` and ``..``.

    Raise DamagedError for a folder that contradicts itself.
    """
    found = (
        _short(inode.fork[: inode.size], superblock.has_types)
        if inode.format == LOCAL
        else _long(disk, superblock, inode)
    )
    return (named for named in found if named.name not in (b".", b".."))


def _short(raw: bytes, has_types: bool) -> Iterator[Named]:
    """Return the entries of a folder that lies in its inode."""
    if len(raw) < 2:
        raise DamagedError("A folder is shorter than its head.")
    count, wide = raw[0], raw[1]
    number_size = 8 if wide else 4
    at = 2 + number_size
    for _ in range(count):
        length = raw[at] if at < len(raw) else 0
        name_at = at + 3
        number_at = name_at + length + has_types
        at = number_at + number_size
        if not length or at > len(raw):
            raise DamagedError("A folder is shorter than its entries.")
        number = int.from_bytes(raw[number_at:at], "big")
        yield Named(raw[name_at : name_at + length], number)


def _long(disk: Disk, superblock: Superblock, inode: Inode) -> Iterator[Named]:
    """Return the entries of a folder that has blocks of its own."""
    per_block = superblock.folder_block // superblock.block_size
    blocks = groupby(_mapped(disk, superblock, inode), lambda found: found[0] // per_block)
    read = 0
    for _, parts in blocks:
        addresses = [address for _, address in parts]
        if len(addresses) != per_block:
            raise DamagedError(f"A block of folder {inode.number} is not whole.")
        read += superblock.folder_block
        if read > _MOST_DATA:
            return
        raw = b"".join(
            read_whole(disk, superblock.block_offset(address), superblock.block_size)
            for address in addresses
        )
        yield from _block(raw, superblock, inode)


def _mapped(disk: Disk, superblock: Superblock, inode: Inode) -> Iterator[tuple[int, int]]:
    """Return each block of the folder's data: its number in the folder, and its address."""
    end = min(inode.size, _LEAVES_START) // superblock.block_size
    for extent in extents(disk, superblock, inode, 0, end):
        if not extent.is_written:
            raise DamagedError(f"Folder {inode.number} has blocks that were never written.")
        for number in range(extent.start, min(extent.end, end)):
            yield number, extent.address + number - extent.start


def _block(raw: bytes, superblock: Superblock, inode: Inode) -> Iterator[Named]:
    """Given a block of a folder, return its entries."""
    is_new = superblock.version == 5
    at, end = _NEW_HEAD if is_new else _OLD_HEAD, len(raw)
    magic = raw[:4]
    if magic == _BLOCK_MAGICS[is_new]:
        # The table of hashes and its tail are in the same block.
        end -= _TAIL.size + _TAIL.unpack_from(raw, end - _TAIL.size)[0] * _LEAF
    elif magic != _DATA_MAGICS[is_new]:
        raise DamagedError(f"A block of folder {inode.number} is none of a folder.")
    if is_new:
        owner = struct.unpack_from(">Q", raw, 40)[0]
        if raw[24:40] != superblock.uuid or owner != inode.number:
            raise DamagedError(f"A block of folder {inode.number} belongs to another.")
    if end < at:
        raise DamagedError(f"The table of folder {inode.number} is longer than its block.")
    while at < end:
        tag, length = struct.unpack_from(">HH", raw, at)
        if tag == _UNUSED:
            if length < 8 or length % 8:
                raise DamagedError(f"The free space of folder {inode.number} is damaged.")
            at += length
            continue
        if end - at < _SMALLEST:
            raise DamagedError(f"The entries of folder {inode.number} are damaged.")
        number, name_length = _ENTRY.unpack_from(raw, at)
        name = raw[at + _ENTRY.size : at + _ENTRY.size + name_length]
        at += (_ENTRY.size + name_length + superblock.has_types + _TAG + 7) // 8 * 8
        if not name_length or at > end:
            raise DamagedError(f"The entries of folder {inode.number} are damaged.")
        yield Named(name, number)
