"""Partitions and file systems read by The Sleuth Kit: ext2 to ext4, NTFS, FAT, exFAT, HFS+, UFS
and ISO 9660. Runs in the reader's process; all functions block.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytsk3

from holdfast.engine.disk import Disk, Window
from holdfast.engine.exfat_content import ExfatEntries
from holdfast.engine.ext_content import ExtInodes
from holdfast.engine.file_system import ContentElsewhereError, Node
from holdfast.engine.guest_entry import Entry, Kind, shown_name
from holdfast.engine.ntfs_content import kind_of, why_unreadable

_NTFS_OWN_FILES = 24  # the first records of the file table: $MFT, $LogFile and so on
_TOO_SPARSE = "Run length is larger than file system"

_WINDOWS_TYPES = (
    pytsk3.TSK_FS_TYPE_NTFS,
    pytsk3.TSK_FS_TYPE_FAT12,
    pytsk3.TSK_FS_TYPE_FAT16,
    pytsk3.TSK_FS_TYPE_FAT32,
    pytsk3.TSK_FS_TYPE_EXFAT,
)
_EXT_TYPES = (pytsk3.TSK_FS_TYPE_EXT2, pytsk3.TSK_FS_TYPE_EXT3, pytsk3.TSK_FS_TYPE_EXT4)
_KINDS: dict[Any, Kind] = {
    pytsk3.TSK_FS_META_TYPE_DIR: "directory",
    pytsk3.TSK_FS_META_TYPE_REG: "file",
    pytsk3.TSK_FS_META_TYPE_LNK: "link",
}


class _Image(pytsk3.Img_Info):  # type: ignore[misc]
    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        super().__init__(url="", type=pytsk3.TSK_IMG_TYPE_EXTERNAL)

    def read(self, offset: int, length: int) -> bytes:
        return self._disk.read(offset, length)

    def get_size(self) -> int:
        return self._disk.size

    def close(self) -> None:
        """Nothing: the disk goes with the process."""


class SleuthKit:
    """A `holdfast.engine.file_system.FileSystem`. Raise OSError for one that is not known."""

    def __init__(self, disk: Disk) -> None:
        self._image = _Image(disk)  # must live as long as what reads from it
        self._system = pytsk3.FS_Info(self._image)
        self.root: int = self._system.info.root_inum
        self.has_letter: bool = self._system.info.ftype in _WINDOWS_TYPES
        self._is_ntfs: bool = self._system.info.ftype == pytsk3.TSK_FS_TYPE_NTFS
        self._ext = ExtInodes(disk) if self._system.info.ftype in _EXT_TYPES else None
        is_exfat = self._system.info.ftype == pytsk3.TSK_FS_TYPE_EXFAT
        self._exfat = ExfatEntries(disk) if is_exfat else None

    def nodes(self, address: int) -> Iterator[Node]:
        """Given a folder's number, return what is in it."""
        is_ntfs_root = self._is_ntfs and address == self.root
        for file in self._system.open_dir(inode=address):
            name, meta = file.info.name, file.info.meta
            if name is None or meta is None or name.name in (b"", b".", b".."):
                continue
            # Names of deleted files are still in the folder; what they name may be others' data.
            if not int(name.flags) & int(pytsk3.TSK_FS_NAME_FLAG_ALLOC):
                continue
            if meta.type in (pytsk3.TSK_FS_META_TYPE_VIRT, pytsk3.TSK_FS_META_TYPE_VIRT_DIR):
                continue
            if is_ntfs_root and meta.addr < _NTFS_OWN_FILES:
                continue
            kind = _KINDS.get(meta.type, "other")
            if self._is_ntfs:
                kind = kind_of(file, kind)
            yield Node(_entry(name.name, meta, kind), meta.addr)

    def read(self, address: int, offset: int, length: int) -> bytes:
        """Return a part of a file's content; zeros where the file system has lost it.

        Raise ContentElsewhereError for a file of which that is not its content.
        """
        try:
            file = self._system.open_meta(inode=address)
        except OSError as error:
            if _TOO_SPARSE in str(error):
                raise ContentElsewhereError(
                    "it has a hole that is larger than its file system, which is not read here"
                ) from error
            raise
        reason = why_unreadable(file) if self._is_ntfs else None
        if self._ext is not None:
            reason = self._ext.why_unreadable(address)
        if reason is not None:
            raise ContentElsewhereError(reason)
        written = length
        if self._exfat is not None:
            valid = self._exfat.valid_length(address, file.info.meta.size)
            written = max(0, min(length, valid - offset))
        content: bytes = file.read_random(offset, written) if written else b""
        return content + bytes(length - written)


def _entry(name: bytes, meta: Any, kind: Kind) -> Entry:
    return Entry(
        name=shown_name(name),
        kind=kind,
        size=max(0, meta.size) if kind == "file" else 0,
        owner=str(meta.uid),
        modified=max(0, meta.mtime) * 1000,
    )


def partitions(disk: Disk) -> list[Window]:
    """Given a disk, return its partitions; none when it has no table of them."""
    image = _Image(disk)  # must live as long as what reads from it
    try:
        table = pytsk3.Volume_Info(image)
    except OSError:
        return []
    allocated = int(pytsk3.TSK_VS_PART_FLAG_ALLOC)
    sector = table.info.block_size
    return [
        Window(disk, part.start * sector, part.len * sector)
        for part in table
        if int(part.flags) & allocated
    ]
