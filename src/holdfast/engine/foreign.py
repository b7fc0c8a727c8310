"""What a place on a disk holds that is not read here: known by its signature, so that nobody takes
it for empty. Runs in the reader's process.

The places of the signatures are those of util-linux's libblkid.
"""

from __future__ import annotations

from dataclasses import dataclass

from holdfast.engine.disk import Disk
from holdfast.engine.file_system import Unreadable

_ENCRYPTED = "It is encrypted: Holdfast has no key to it."
_NOT_READ = "Holdfast does not read file systems of this kind."
_PART = "It is a part of something that Holdfast does not put together."
_SWAP = "It is swap space: there are no files in it."

_BCACHE = bytes.fromhex("c68573f64e1a45ca8265f57f48ba6d81")
_BCACHEFS = bytes.fromhex("c68573f666ce90a9d96a60cf803df7ef")
_VMFS = bytes.fromhex("0dd001c0")
_ZFS_FIRST, _ZFS_STEP, _ZFS_COUNT = 128 * 1024, 1024, 128
_ZFS_MAGICS = (0x00BAB10C.to_bytes(8, "little"), 0x00BAB10C.to_bytes(8, "big"))
_PAGES = (4096, 8192, 16384, 65536)
_SWAP_MAGICS = (b"SWAPSPACE2", b"SWAP-SPACE", b"S1SUSPEND\0", b"S2SUSPEND\0", b"ULSUSPEND\0")


@dataclass(frozen=True)
class _Signature:
    offset: int
    magic: bytes
    kind: str
    reason: str = _NOT_READ


_FOREIGN = (
    _Signature(0, b"LUKS\xba\xbe", "LUKS", _ENCRYPTED),
    _Signature(3, b"-FVE-FS-", "BitLocker", _ENCRYPTED),
    _Signature(3, b"ReFS\0\0\0\0", "ReFS"),
    _Signature(32, b"NXSB", "APFS"),
    _Signature(4096 + 24, _BCACHEFS, "bcachefs"),
    _Signature(4096 + 24, _BCACHE, "bcache", _PART),
    _Signature(1024, bytes.fromhex("1020f5f2"), "F2FS"),
    _Signature(1024, bytes.fromhex("e2e1f5e0"), "EROFS"),
    _Signature(65536 + 52, b"ReIsEr", "ReiserFS"),
    _Signature(8192 + 52, b"ReIsEr", "ReiserFS"),
    _Signature(65536, b"ReIsEr4", "Reiser4"),
    _Signature(32768, b"JFS1", "JFS"),
    _Signature(32769, b"BEA01", "UDF"),
    _Signature(0, b"hsqs", "SquashFS"),
    _Signature(65536, bytes.fromhex("01161970"), "GFS2"),
    _Signature(8192, b"OCFSV2", "OCFS2"),
    _Signature(4096, b"OCFSV2", "OCFS2"),
    _Signature(1048576, _VMFS, "VMFS"),
    _Signature(0, b"bluestore block device", "Ceph", _PART),
    _Signature(32, b"ORCLDISK", "Oracle ASM", _PART),
    _Signature(0, b"dmvdo", "VDO", _PART),
    _Signature(4096, b"SPACEDB ", "Storage Spaces", _PART),
)
# Kinds that are read, when they are not too damaged for it.
_OWN = (
    _Signature(3, b"NTFS    ", "NTFS"),
    _Signature(3, b"EXFAT   ", "exFAT"),
    _Signature(82, b"FAT32   ", "FAT"),
    _Signature(54, b"FAT16   ", "FAT"),
    _Signature(54, b"FAT12   ", "FAT"),
    _Signature(1024 + 56, b"\x53\xef", "ext"),
    _Signature(0, b"XFSB", "XFS"),
    _Signature(1024, b"H+\0\4", "HFS+"),
    _Signature(1024, b"HX\0\5", "HFS+"),
    _Signature(32769, b"CD001", "ISO 9660"),
)


_TABLE = (
    "There is a partition table here that cannot be read: it is damaged, names more than the disk "
    "has, or is inside of another partition."
)
_GPT_PLACES, _GPT_MAGIC = (512, 4096), b"EFI PART"
_MBR_SIZE, _MBR_MAGIC, _MBR_TYPES = 512, b"\x55\xaa", (450, 466, 482, 498)


def foreign(disk: Disk) -> Unreadable | None:
    """Given a place that no reader knows, return what it says to be; None for what says nothing.

    Raise OSError.
    """
    for known in _FOREIGN:
        if _is(disk, known):
            return Unreadable(known.reason, known.kind)
    for page in _PAGES:
        if disk.read(page - 10, 10) in _SWAP_MAGICS:
            return Unreadable(_SWAP, "swap")
    return Unreadable(_NOT_READ, "ZFS") if _is_zfs(disk) else None


def unusable(disk: Disk, error: OSError) -> Unreadable | None:
    """Given a place and why its reader gave up, return what that should have been able to read."""
    for known in _OWN:
        if _is(disk, known):
            return Unreadable(f"The {known.kind} file system is damaged: {error}", known.kind)
    return Unreadable(_TABLE, "partitions") if _is_table(disk) else None


def _is(disk: Disk, known: _Signature) -> bool:
    return disk.read(known.offset, len(known.magic)) == known.magic


def _is_table(disk: Disk) -> bool:
    if any(disk.read(place, len(_GPT_MAGIC)) == _GPT_MAGIC for place in _GPT_PLACES):
        return True
    raw = disk.read(0, _MBR_SIZE)
    return raw.endswith(_MBR_MAGIC) and any(raw[at] for at in _MBR_TYPES if at < len(raw))


def _is_zfs(disk: Disk) -> bool:
    # Each by itself, so that it is remembered: a place is looked at more than once.
    places = range(_ZFS_FIRST, _ZFS_FIRST + _ZFS_STEP * _ZFS_COUNT, _ZFS_STEP)
    return any(disk.read(place, len(_ZFS_MAGICS[0])) in _ZFS_MAGICS for place in places)
