"""The superblock and the items of btrfs, as they are on disk, checked before use.

The facts are those of "On-disk Format" in the developers' documentation of btrfs and of Linux's
include/uapi/linux/btrfs_tree.h. All numbers are little-endian.
"""

from __future__ import annotations

import stat
import struct
from dataclasses import dataclass
from typing import NamedTuple

from holdfast.engine.btrfs_checksum import KINDS, is_intact
from holdfast.engine.disk import DamagedError, Disk

#: What an item is: the number of an object, its type, and what that takes it for.
Key = tuple[int, int, int]
KEY = struct.Struct("<QBQ")
GREATEST = (1 << 64) - 1

INODE, FOLDER_INDEX, EXTENT, TREE, SUBVOLUME, CHUNK = 1, 96, 108, 132, 156, 228
ROOT_TREE, TOP_SUBVOLUME = 1, 5
DEEPEST = 7

_MAGIC = b"_BHRfS_M"
_PLACES = (1 << 16, 1 << 26, 1 << 38)
_SIZE = 4096
_SUPERBLOCK = struct.Struct("<32s16sQQ8sQQQQQQQQQIIIIIQQQQHBBB")
_DEVICE_NUMBER, _DEVICE_UUID = 0xC9, 0xC9 + 66
_METADATA_UUID = 0x23B
_CHUNKS, _CHUNKS_ROOM = 0x32B, 2048
_OTHER_UUID = 1 << 10
# Backreferences, a default subvolume, mixed groups, LZO, zstd, big metadata, references, RAID5
# (known by its chunks), skinny metadata, no holes, another UUID, RAID1 of three and four, quotas.
_KNOWN_FEATURES = 0xFFF | 1 << 16
_SIZES = tuple(1 << power for power in range(12, 17))

_INODE = struct.Struct("<QQQQQIIIIQ")
_MODIFIED = struct.Struct("<qI")
_MODIFIED_AT, _INODE_SIZE = 136, 160
_GREATEST_SIZE = (1 << 63) - 1
_LAST_MOMENT = 1 << 53  # in milliseconds; there is no such year
_TREE = struct.Struct("<QQQ")
_TREE_AT, _TREE_LEVEL = 160, 238
_NAMED = struct.Struct("<QBQQHHB")
_LONGEST_NAME = 255
_REFERENCE = struct.Struct("<QQH")


class Place(NamedTuple):
    """Where a node is: its logical address, and what must be true of it."""

    address: int
    generation: int
    level: int


@dataclass(frozen=True)
class Superblock:
    """What a file system has in common, as one of its devices says it. Sizes in bytes."""

    uuid: bytes
    metadata_uuid: bytes  # that nodes bear
    generation: int
    root: Place
    chunk_root: Place
    sector: int
    node_size: int
    checksum: int
    has_log: bool
    device: int
    device_size: int
    device_uuid: bytes
    chunks: bytes  # those that the tree of chunks itself lies in


def is_btrfs(disk: Disk) -> bool:
    """Whether the disk claims to be, or to be a part of, a btrfs file system. Raise OSError."""
    return disk.read(_PLACES[0] + 0x40, len(_MAGIC)) == _MAGIC


def read_superblock(disk: Disk) -> Superblock:
    """Given a device, return its superblock, or the newest mirror of it when that is damaged.

    Raise DamagedError for what contradicts itself, and for features that are not known.
    """
    mirrors = []
    for place in _PLACES:
        raw = disk.read(place, _SIZE)
        if not _is_superblock(raw, place):
            continue
        if place == _PLACES[0]:
            return _superblock(raw)
        mirrors.append(_superblock(raw))
    if not mirrors:
        raise DamagedError("The superblock of the btrfs file system is damaged.")
    return max(mirrors, key=lambda found: found.generation)


def _is_superblock(raw: bytes, place: int) -> bool:
    if len(raw) != _SIZE:
        return False
    fields = _SUPERBLOCK.unpack_from(raw)
    own_place, magic, checksum = fields[2], fields[4], fields[23]
    if (own_place, magic) != (place, _MAGIC) or checksum >= len(KINDS):
        return False
    return is_intact(raw, checksum)


def _superblock(raw: bytes) -> Superblock:
    fields = _SUPERBLOCK.unpack_from(raw)
    uuid, generation, root, chunk_root = fields[1], *fields[5:8]
    sector, node_size, _, _, chunks, chunk_generation, _, _, features, checksum = fields[14:24]
    level, chunk_level, _ = fields[24:]
    if unknown := features & ~_KNOWN_FEATURES:
        raise DamagedError(f"The btrfs file system has features that are not read ({unknown:#x}).")
    fits = sector in _SIZES and node_size in _SIZES and chunks <= _CHUNKS_ROOM
    if not fits or max(level, chunk_level) > DEEPEST:
        raise DamagedError("The superblock of the btrfs file system is damaged.")
    device, device_size = struct.unpack_from("<QQ", raw, _DEVICE_NUMBER)
    other = raw[_METADATA_UUID : _METADATA_UUID + 16]
    return Superblock(
        uuid=uuid,
        metadata_uuid=other if features & _OTHER_UUID else uuid,
        generation=generation,
        root=Place(root, generation, level),
        chunk_root=Place(chunk_root, chunk_generation, chunk_level),
        sector=sector,
        node_size=node_size,
        checksum=checksum,
        has_log=bool(fields[8]),
        device=device,
        device_size=device_size,
        device_uuid=raw[_DEVICE_UUID : _DEVICE_UUID + 16],
        chunks=raw[_CHUNKS : _CHUNKS + chunks],
    )


@dataclass(frozen=True)
class Inode:
    """A file or folder. ``size`` in bytes; ``modified`` in milliseconds since 1970 UTC."""

    mode: int
    owner: int
    size: int
    modified: int

    @property
    def is_folder(self) -> bool:
        """Whether it is a directory."""
        return stat.S_ISDIR(self.mode)


def unpack_inode(raw: bytes) -> Inode:
    """Given the item of an inode, return what it says."""
    if len(raw) < _INODE_SIZE:
        raise DamagedError("An inode is shorter than it must be.")
    _, _, size, _, _, _, owner, _, mode, _ = _INODE.unpack_from(raw)
    if size > _GREATEST_SIZE:
        raise DamagedError("An inode has a size that cannot be.")
    seconds, nanoseconds = _MODIFIED.unpack_from(raw, _MODIFIED_AT)
    modified = seconds * 1000 + min(nanoseconds, 999_999_999) // 1_000_000
    return Inode(mode, owner, size, min(max(0, modified), _LAST_MOMENT))


def unpack_tree(raw: bytes) -> tuple[Place, int]:
    """Given the item of a tree, return where its root is, and the number of its topmost folder."""
    if len(raw) <= _TREE_LEVEL or raw[_TREE_LEVEL] > DEEPEST:
        raise DamagedError("The root of a tree is damaged.")
    generation, folder, address = _TREE.unpack_from(raw, _TREE_AT)
    return Place(address, generation, raw[_TREE_LEVEL]), folder


class Named(NamedTuple):
    """An entry of a folder: ``type`` says whether ``number`` is an inode's or a subvolume's."""

    name: bytes
    number: int
    type: int


def unpack_named(raw: bytes) -> Named:
    """Given the item of an entry of a folder, return what it says."""
    if len(raw) < _NAMED.size:
        raise DamagedError("The entries of a folder are damaged.")
    number, item_type, _, _, _, length, _ = _NAMED.unpack_from(raw)
    name = raw[_NAMED.size : _NAMED.size + length]
    if not 0 < length <= _LONGEST_NAME or len(name) != length:
        raise DamagedError("The entries of a folder are damaged.")
    return Named(name, number, item_type)


def unpack_reference(raw: bytes) -> tuple[int, bytes]:
    """Given the item that says where a subvolume is, return the folder's number and the name."""
    if len(raw) < _REFERENCE.size:
        raise DamagedError("The place of a subvolume is damaged.")
    folder, _, length = _REFERENCE.unpack_from(raw)
    return folder, raw[_REFERENCE.size : _REFERENCE.size + length]
