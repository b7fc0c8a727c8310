"""The superblock, inodes and extents of XFS, as they are on disk, checked before use.

The facts are those of "XFS Algorithms & Data Structures" (the XFS on-disk format specification,
3rd edition, kernel.org). All numbers are big-endian. The checksums of version 5 are not computed:
what is used is checked by itself, and metadata say which file system and inode they belong to.
"""

from __future__ import annotations

import stat
import struct
from dataclasses import dataclass
from typing import NamedTuple

from holdfast.engine.disk import DamagedError, Disk, read_whole

_SUPERBLOCK = struct.Struct(">4sI QQQ 16s QQQQ IIIII HHHH 12s BBBBBBBB")
_SUPERBLOCK_SIZE = 512
_MAGIC = b"XFSB"
_SECOND_DIRECTORIES = 0x2000
_MORE_FEATURES = 0x8000
_FTYPE = 0x200  # features2 of version 4
_FTYPE_5 = 0x001  # incompatible features of version 5
_META_UUID = 0x004
# File types in folders, sparse inode chunks, another UUID, big times, a repair that is due, many
# extents, exchanged ranges, parent pointers, a folder of metadata.
_KNOWN_FEATURES = 0x1FF

_INODE = struct.Struct(">HHBBHI")
_INODE_MAGIC = 0x494E
_REALTIME = 0x0001
_BIG_TIME = 0x08
_MANY_EXTENTS = 0x10
_BIG_TIME_START = -(1 << 31)  # seconds since 1970
_OLD_CORE = 100
_NEW_CORE = 176
_GREATEST_SIZE = (1 << 63) - 1

#: What an inode's data fork holds.
DEVICE, LOCAL, EXTENTS, TREE = range(4)

_EXTENT = struct.Struct(">QQ")


@dataclass(frozen=True)
class Superblock:
    """What the whole file system has in common. Sizes in bytes, addresses in blocks."""

    version: int
    block_size: int
    blocks: int
    root: int
    group_blocks: int
    groups: int
    inode_size: int
    inodes_log: int  # inodes of a block, as a power of 2
    group_log: int  # blocks of a group, as a power of 2, rounded up
    folder_block: int  # size of a folder's block
    has_types: bool  # entries of folders say the type of what they name
    uuid: bytes  # that metadata of version 5 bear
    log: int  # where the log begins; 0 when it is on another device
    log_blocks: int

    def block_offset(self, block: int, count: int = 1) -> int:
        """Given the address of blocks in a row, return their offset in bytes."""
        group, inside = block >> self.group_log, block & ((1 << self.group_log) - 1)
        first = group * self.group_blocks + inside
        if inside + count > self.group_blocks or first + count > self.blocks:
            raise DamagedError(f"There is no block {block} in the file system.")
        return first * self.block_size

    def inode_offset(self, number: int) -> int:
        """Given an inode's number, return its offset in bytes."""
        inside = number & ((1 << self.inodes_log) - 1)
        return self.block_offset(number >> self.inodes_log) + inside * self.inode_size


def is_xfs(disk: Disk) -> bool:
    """Whether the disk claims to hold an XFS file system. Raise OSError."""
    return disk.read(0, len(_MAGIC)) == _MAGIC


def read_superblock(disk: Disk) -> Superblock:
    """Given a disk with XFS, return its superblock; raise DamagedError for one that is unusable."""
    raw = read_whole(disk, 0, _SUPERBLOCK_SIZE)
    (
        magic, block_size, blocks, _, _, uuid, log, root, _, _, _, group_blocks, groups, _,
        log_blocks,
        features, _, inode_size, inodes, _, block_log, _, inode_log, inodes_log, group_log, _,
        in_progress, _,
    ) = _SUPERBLOCK.unpack_from(raw)  # fmt: skip
    folder_log = raw[192]
    features2, incompatible = struct.unpack_from(">I12xI", raw, 200)
    version = features & 0xF
    if magic != _MAGIC or version not in (4, 5) or not features & _SECOND_DIRECTORIES:
        raise DamagedError("This version of XFS is not known.")
    if version == 5 and incompatible & ~_KNOWN_FEATURES:
        raise DamagedError(f"Features {incompatible:#x} of XFS are not known.")
    sizes_fit = (
        9 <= block_log <= 16
        and block_size == 1 << block_log
        and 8 <= inode_log <= 11
        and inode_size == 1 << inode_log
        and inode_log <= block_log
        and inodes_log == block_log - inode_log
        and inodes == 1 << inodes_log
        and block_log + folder_log <= 16
    )
    groups_fit = (
        0 < group_blocks <= 1 << group_log <= 1 << 31
        and (groups - 1) * group_blocks < blocks <= groups * group_blocks
    )
    if not sizes_fit or not groups_fit or in_progress:
        raise DamagedError("The superblock of the XFS file system is damaged.")
    if version == 5:
        has_types = bool(incompatible & _FTYPE_5)
        uuid = raw[248:264] if incompatible & _META_UUID else uuid
    else:
        has_types = bool(features & _MORE_FEATURES and features2 & _FTYPE)
    return Superblock(
        version=version,
        block_size=block_size,
        blocks=blocks,
        root=root,
        group_blocks=group_blocks,
        groups=groups,
        inode_size=inode_size,
        inodes_log=inodes_log,
        group_log=group_log,
        folder_block=block_size << folder_log,
        has_types=has_types,
        uuid=uuid,
        log=log,
        log_blocks=log_blocks,
    )


@dataclass(frozen=True)
class Inode:
    """A file or folder. ``size`` in bytes; ``modified`` in milliseconds since 1970 UTC."""

    number: int
    mode: int
    owner: int
    size: int
    modified: int
    format: int
    extents: int
    fork: bytes  # its data fork
    is_realtime: bool

    @property
    def is_folder(self) -> bool:
        """Whether it is a directory."""
        return stat.S_ISDIR(self.mode)


def read_inode(disk: Disk, superblock: Superblock, number: int) -> Inode:
    """Given an inode's number, return it; raise DamagedError when there is none in use there."""
    raw = read_whole(disk, superblock.inode_offset(number), superblock.inode_size)
    magic, mode, version, data_format, _, owner = _INODE.unpack_from(raw)
    size, _, _, extents = struct.unpack_from(">QQII", raw, 56)
    fork_units = raw[82]
    flags = struct.unpack_from(">H", raw, 90)[0]
    core, flags2 = _OLD_CORE, 0
    fits = magic == _INODE_MAGIC and mode and 1 <= version <= 3 and size <= _GREATEST_SIZE
    if version == 3:
        core = _NEW_CORE
        flags2 = struct.unpack_from(">Q", raw, 120)[0]
        own_number = struct.unpack_from(">Q", raw, 152)[0]
        fits = fits and own_number == number and raw[160:176] == superblock.uuid
        if flags2 & _MANY_EXTENTS:
            extents = struct.unpack_from(">Q", raw, 24)[0]
    room = fork_units * 8 or superblock.inode_size - core
    if not fits or core + room > superblock.inode_size:
        raise DamagedError(f"Inode {number} is damaged or not in use.")
    return Inode(
        number=number,
        mode=mode,
        owner=owner,
        size=size,
        modified=_milliseconds(raw, bool(flags2 & _BIG_TIME)),
        format=data_format,
        extents=extents,
        fork=raw[core : core + room],
        is_realtime=bool(flags & _REALTIME),
    )


def _milliseconds(raw: bytes, is_big: bool) -> int:
    if is_big:
        nanoseconds = int.from_bytes(raw[40:48], "big")
        return max(0, nanoseconds // 1_000_000 + _BIG_TIME_START * 1000)
    seconds = int.from_bytes(raw[40:44], "big", signed=True)
    nanoseconds = min(int.from_bytes(raw[44:48], "big"), 999_999_999)
    return max(0, seconds * 1000 + nanoseconds // 1_000_000)


class Extent(NamedTuple):
    """Blocks of a file that lie in a row. All numbers are blocks."""

    start: int  # in the file
    address: int  # in the file system
    length: int
    is_written: bool  # or else it reads as zeros

    @property
    def end(self) -> int:
        """The block of the file after the last."""
        return self.start + self.length


def unpack_extents(raw: bytes, count: int) -> list[Extent]:
    """Given extent records, which are 128 bits each, return the first so many."""
    if count * _EXTENT.size > len(raw):
        raise DamagedError("A list of extents is longer than its place.")
    found, reached = [], 0
    for high, low in _EXTENT.iter_unpack(raw[: count * _EXTENT.size]):
        extent = Extent(
            start=(high >> 9) & ((1 << 54) - 1),
            address=((high & 0x1FF) << 43) | (low >> 21),
            length=low & ((1 << 21) - 1),
            is_written=not high >> 63,
        )
        if extent.start < reached or not extent.length:
            raise DamagedError("A list of extents is not in order.")
        reached = extent.end
        found.append(extent)
    return found
