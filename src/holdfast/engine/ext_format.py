"""The superblock, inodes and block lists of ext2 to ext4, as they are on disk, checked before use.

The facts are those of "ext4 Data Structures and Algorithms" of Linux's documentation. All numbers
are little-endian. Checksums are not computed: what is used is checked by itself.
"""

from __future__ import annotations

import stat
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from holdfast.engine.disk import DamagedError, Disk, read_whole

ROOT = 2
_SUPERBLOCK_AT, _SUPERBLOCK_SIZE = 1024, 1024
_MAGIC_AT, _MAGIC = 0x38, 0xEF53
_HAS_SPARSE_2 = 0x200  # compatible
_SPARSE, _BIG_CLUSTERS = 0x1, 0x200  # compatible for readers
_RECOVER, _JOURNAL_DEVICE, _META_GROUPS, _64_BIT, _LARGE_FOLDERS = 0x4, 0x8, 0x10, 0x80, 0x4000
# Types in folders, a journal in use, descriptors spread out, extents, 64 bits, protection against
# two mounts, flexible groups, inodes of attributes, a seed of checksums, large folders, data in
# inodes, encryption, names of any case.
_KNOWN_FEATURES = 0x2 | _RECOVER | _META_GROUPS | 0x40 | _64_BIT | 0x300 | 0x400 | 0x3E000
_HAS_ERRORS = 0x2
_LARGEST_BLOCK_LOG = 6

_OLD_INODE = 128
_ENCRYPTED, _EXTENTS, _INLINE = 0x800, 0x80000, 0x10000000
_GREATEST_SIZE = (1 << 63) - 1

_HEAD = struct.Struct("<HHHHI")
_EXTENT = struct.Struct("<IHHI")
_INDEX = struct.Struct("<IIHH")
_EXTENT_MAGIC = 0xF30A
_UNWRITTEN = 1 << 15
_DEEPEST = 5
_DIRECT, _LEVELS = 12, 3
_END = 1 << 32

_ATTRIBUTES_MAGIC = 0xEA020000
_ATTRIBUTE = struct.Struct("<BBHIII")
_SYSTEM, _DATA = 7, b"data"


class Extent(NamedTuple):
    """Blocks of a file that lie in a row and were written. All numbers are blocks."""

    start: int  # in the file
    address: int  # in the file system
    length: int


@dataclass(frozen=True)
class Superblock:
    """What the whole file system has in common. Sizes in bytes, the rest in blocks."""

    block_size: int
    blocks: int
    first_block: int
    group_blocks: int
    group_inodes: int
    inodes: int
    inode_size: int
    descriptor_size: int
    first_meta_group: int  # or beyond all, when descriptors are not spread out
    sparse: int  # 0: every group has a superblock, 1: few, 2: those in `backups`
    backups: tuple[int, int]
    has_large_folders: bool
    is_recovering: bool
    has_errors: bool

    def offset(self, block: int, count: int = 1) -> int:
        """Given the address of blocks in a row, return their offset in bytes."""
        if not 0 < block <= block + count <= self.blocks:
            raise DamagedError(f"There is no block {block} in the file system.")
        return block * self.block_size

    def descriptor_offset(self, group: int) -> int:
        """Given a group, return the offset of its descriptor in bytes."""
        share = self.block_size // self.descriptor_size
        table, inside = divmod(group, share)
        if table < self.first_meta_group:
            block = _SUPERBLOCK_AT // self.block_size + 1 + table
        else:
            first = table * share
            block = first * self.group_blocks + self.first_block + self._has_superblock(first)
            # With small blocks the superblock is the second one, whatever the first is called.
            block += not first and not self.first_block and self.block_size == _SUPERBLOCK_AT
        return self.offset(block) + inside * self.descriptor_size

    def _has_superblock(self, group: int) -> bool:
        if not group or not self.sparse:
            return True
        if self.sparse == 2:
            return group in self.backups
        return group == 1 or any(_is_power(group, base) for base in (3, 5, 7))


def _is_power(number: int, base: int) -> bool:
    while number > 1 and number % base == 0:
        number //= base
    return number == 1


def is_ext(disk: Disk) -> bool:
    """Whether the disk claims to hold an ext file system. Raise OSError."""
    raw = disk.read(_SUPERBLOCK_AT, _SUPERBLOCK_SIZE)
    if len(raw) < _SUPERBLOCK_SIZE or struct.unpack_from("<H", raw, _MAGIC_AT) != (_MAGIC,):
        return False
    block_log, revision = struct.unpack_from("<I", raw, 0x18)[0], raw[0x4C]
    return block_log <= _LARGEST_BLOCK_LOG and revision <= 1


def read_superblock(disk: Disk) -> Superblock:
    """Given a disk with ext, return its superblock; raise DamagedError for one that is unusable."""
    raw = read_whole(disk, _SUPERBLOCK_AT, _SUPERBLOCK_SIZE)

    def number(offset: int, form: str = "<I") -> int:
        return int(struct.unpack_from(form, raw, offset)[0])

    compatible, features, read_only = number(0x5C), number(0x60), number(0x64)
    if features & _JOURNAL_DEVICE:
        raise DamagedError("This is the journal of another file system.")
    if unknown := features & ~_KNOWN_FEATURES:
        raise DamagedError(f"Features {unknown:#x} of ext are not known.")
    block_log = number(0x18)
    if number(_MAGIC_AT, "<H") != _MAGIC or block_log > _LARGEST_BLOCK_LOG:
        raise DamagedError("The superblock of the ext file system is damaged.")
    is_64_bit, is_spread = bool(features & _64_BIT), bool(features & _META_GROUPS)
    found = Superblock(
        block_size=1024 << block_log,
        blocks=number(0x4) | (number(0x150) << 32 if is_64_bit else 0),
        first_block=number(0x14),
        group_blocks=number(0x20),
        group_inodes=number(0x28),
        inodes=number(0x0),
        inode_size=number(0x58, "<H") if number(0x4C) else _OLD_INODE,
        descriptor_size=number(0xFE, "<H") if is_64_bit else 32,
        first_meta_group=number(0x104) if is_spread else _END,
        sparse=2 if compatible & _HAS_SPARSE_2 else read_only & _SPARSE,
        backups=(number(0x24C), number(0x250)),
        has_large_folders=bool(features & _LARGE_FOLDERS),
        is_recovering=bool(features & _RECOVER),
        has_errors=bool(number(0x3A, "<H") & _HAS_ERRORS),
    )
    most = found.block_size * 8 * (1 << 16 if read_only & _BIG_CLUSTERS else 1)
    fits = (
        0 < found.group_blocks <= most
        and 0 < found.group_inodes <= found.block_size * 8
        and found.inodes > ROOT
        and found.blocks > found.first_block
        and found.first_block <= 1
        and _is_power(found.inode_size, 2)
        and _OLD_INODE <= found.inode_size <= found.block_size
        and _is_power(found.descriptor_size, 2)
        and (64 if is_64_bit else 32) <= found.descriptor_size <= found.block_size
    )
    if not fits:
        raise DamagedError("The superblock of the ext file system is damaged.")
    return found


@dataclass(frozen=True)
class Inode:
    """A file or folder. ``size`` in bytes; ``modified`` in milliseconds since 1970 UTC.

    ``blocks`` is its list of blocks, or the beginning of what is in the inode itself.
    """

    number: int
    mode: int
    owner: int
    size: int
    modified: int
    flags: int
    blocks: bytes
    attributes: bytes

    @property
    def is_folder(self) -> bool:
        """Whether it is a directory."""
        return stat.S_ISDIR(self.mode)

    @property
    def is_encrypted(self) -> bool:
        """Whether Linux encrypts its content, or its names."""
        return bool(self.flags & _ENCRYPTED)

    @property
    def is_inline(self) -> bool:
        """Whether all of its content is in the inode."""
        return bool(self.flags & _INLINE)

    def inline(self) -> tuple[bytes, bytes]:
        """Return the two parts of what is in the inode itself."""
        raw = self.attributes
        if len(raw) < 4 or struct.unpack_from("<I", raw) != (_ATTRIBUTES_MAGIC,):
            return self.blocks, b""
        at, raw = 0, raw[4:]
        while at + _ATTRIBUTE.size <= len(raw) and any(raw[at : at + 4]):
            length, index, start, other, size, _ = _ATTRIBUTE.unpack_from(raw, at)
            name = raw[at + _ATTRIBUTE.size : at + _ATTRIBUTE.size + length]
            if (index, name) == (_SYSTEM, _DATA):
                if other or start + size > len(raw):
                    raise DamagedError(f"Inode {self.number} is damaged.")
                return self.blocks, raw[start : start + size]
            at += (_ATTRIBUTE.size + length + 3) // 4 * 4
        return self.blocks, b""


def read_inode(disk: Disk, superblock: Superblock, number: int) -> Inode:
    """Given an inode's number, return it; raise DamagedError when there is none in use there."""
    if not 0 < number <= superblock.inodes:
        raise DamagedError(f"There is no inode {number} in the file system.")
    group, inside = divmod(number - 1, superblock.group_inodes)
    size = superblock.descriptor_size
    descriptor = read_whole(disk, superblock.descriptor_offset(group), size)
    (table,) = struct.unpack_from("<I", descriptor, 0x8)
    if size > 32:
        table |= struct.unpack_from("<I", descriptor, 0x28)[0] << 32
    block, within = divmod(inside * superblock.inode_size, superblock.block_size)
    place = superblock.offset(table + block) + within
    raw = read_whole(disk, place, superblock.inode_size)
    mode, owner, length, _, _, modified = struct.unpack_from("<HHIIIi", raw)
    links, flags = struct.unpack_from("<H", raw, 0x1A)[0], struct.unpack_from("<I", raw, 0x20)[0]
    if stat.S_ISREG(mode) or (stat.S_ISDIR(mode) and superblock.has_large_folders):
        length |= struct.unpack_from("<I", raw, 0x6C)[0] << 32
    extra = struct.unpack_from("<H", raw, 0x80)[0] if len(raw) > _OLD_INODE else 0
    if not mode or not links or length > _GREATEST_SIZE or _OLD_INODE + extra > len(raw):
        raise DamagedError(f"Inode {number} is damaged or not in use.")
    finer = struct.unpack_from("<I", raw, 0x88)[0] if extra >= 12 else 0
    seconds = modified + ((finer & 3) << 32)
    return Inode(
        number=number,
        mode=mode,
        owner=owner | struct.unpack_from("<H", raw, 0x78)[0] << 16,
        size=length,
        modified=max(0, seconds * 1000 + min(finer >> 2, 999_999_999) // 1_000_000),
        flags=flags,
        blocks=raw[0x28 : 0x28 + 60],
        attributes=raw[_OLD_INODE + extra :] if extra else b"",
    )


def extents(
    disk: Disk, superblock: Superblock, inode: Inode, first: int, last: int
) -> Iterator[Extent]:
    """Return what was written of the file's blocks from first up to, not with, last, in order."""
    if inode.flags & _EXTENTS:
        found = _tree(disk, superblock, inode, inode.blocks, None, first, min(last, _END))
    else:
        found = _list(disk, superblock, inode, first, last)
    reached = 0
    for extent in found:
        if extent.start < reached:
            # Of two leaves: then one that is named again and again would be read each time.
            raise DamagedError(f"The extents of inode {inode.number} are not in order.")
        reached = extent.start + extent.length
        begin, end = max(extent.start, first), min(extent.start + extent.length, last)
        if begin < end:
            yield Extent(begin, extent.address + begin - extent.start, end - begin)


def _tree(
    disk: Disk,
    superblock: Superblock,
    inode: Inode,
    node: bytes,
    level: int | None,
    first: int,
    last: int,
) -> Iterator[Extent]:
    """Given a node of a tree of extents, return those below it. Levels fall on the way down, and a
    node is asked for no more than its key promises: no way is endless, and none is gone twice.
    """
    magic, count, room, own_level, _ = _HEAD.unpack_from(node)
    fits = magic == _EXTENT_MAGIC and own_level <= _DEEPEST and level in (None, own_level)
    empty = own_level > 0 and not count
    if not fits or empty or count > room or _HEAD.size * (room + 1) > len(node):
        raise DamagedError(f"The extents of inode {inode.number} are damaged.")
    body = node[_HEAD.size : _HEAD.size * (count + 1)]
    reached = 0
    if not own_level:
        for start, length, high, low in _EXTENT.iter_unpack(body):
            if start < reached or not length:
                raise DamagedError(f"The extents of inode {inode.number} are not in order.")
            reached = start + (length if length <= _UNWRITTEN else length - _UNWRITTEN)
            if length <= _UNWRITTEN and start < last and reached > first:
                yield Extent(start, high << 32 | low, length)
        return
    pointers = list(_INDEX.iter_unpack(body))
    ends = [start for start, *_ in pointers[1:]] + [_END]
    for (start, low, high, _), end in zip(pointers, ends, strict=True):
        if start < reached or end <= start:
            raise DamagedError(f"The extents of inode {inode.number} are not in order.")
        reached = start
        if start < last and end > first:
            place = superblock.offset(high << 32 | low)
            below = read_whole(disk, place, superblock.block_size)
            part = max(first, start), min(last, end)
            yield from _tree(disk, superblock, inode, below, own_level - 1, *part)


def _list(
    disk: Disk, superblock: Superblock, inode: Inode, first: int, last: int
) -> Iterator[Extent]:
    """Return the blocks of a list as ext2 and ext3 keep it: some, then lists of lists of them."""
    pointers = struct.unpack("<15I", inode.blocks)
    start = 0
    for pointer in pointers[:_DIRECT]:
        if pointer and first <= start < last:
            yield Extent(start, pointer, 1)
        start += 1
    for level in range(1, _LEVELS + 1):
        length = (superblock.block_size // 4) ** level
        yield from _below(
            disk, superblock, pointers[_DIRECT + level - 1], level, start, first, last
        )
        start += length


def _below(
    disk: Disk, superblock: Superblock, block: int, level: int, start: int, first: int, last: int
) -> Iterator[Extent]:
    """Given a block of pointers, return what is below it. A pointer that is 0 is a hole."""
    share = superblock.block_size // 4
    step = share ** (level - 1)
    if not block or start >= last or start + share * step <= first:
        return
    raw = read_whole(disk, superblock.offset(block), superblock.block_size)
    pointers = struct.unpack(f"<{share}I", raw)
    begin = max(0, (first - start) // step)
    end = min(share, -(-(last - start) // step))
    if level > 1:
        for number in range(begin, end):
            place = start + number * step
            yield from _below(disk, superblock, pointers[number], level - 1, place, first, last)
        return
    number = begin
    while number < end:
        length = 1
        if pointers[number]:
            while number + length < end and pointers[number + length] == pointers[number] + length:
                length += 1
            yield Extent(start + number, pointers[number], length)
        number += length
