"""Partitions and file systems read by The Sleuth Kit: NTFS, FAT, exFAT, HFS+, UFS and ISO 9660.

Runs in the reader's process; all functions block.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytsk3

from holdfast.engine.disk import DamagedError, Disk, Window
from holdfast.engine.exfat_content import ExfatEntries
from holdfast.engine.file_system import (
    ContentElsewhereError,
    Node,
    larger_than_place,
    not_replayed,
)
from holdfast.engine.guest_entry import Entry, Kind, shown_name
from holdfast.engine.ntfs_content import is_lost, kind_of, why_unreadable

_NTFS_OWN_FILES = 24  # the first records of the file table: $MFT, $LogFile and so on
_NTFS_LOG = 2  # the record of $LogFile, which begins with two pages that say how it was left
_NTFS_PAGE, _NTFS_LOG_HEADS = 4096, 8192
_NTFS_RESTART = struct.Struct("<QHHHH")
_NTFS_NOBODY, _NTFS_CLEAN = 0xFFFF, 0x2

_GPT_GUARD = b"GPT Safety Partition (0xee)"  # by which old programs take the disk for full
# Where the list of partitions begins, how many entries of how many bytes it has, and its CRC-32.
_GPT_LIST_AT, _GPT_LIST = 72, struct.Struct("<QIII")
_GPT_LARGEST_LIST = 1 << 20

_WINDOWS_TYPES = (
    pytsk3.TSK_FS_TYPE_NTFS,
    pytsk3.TSK_FS_TYPE_FAT12,
    pytsk3.TSK_FS_TYPE_FAT16,
    pytsk3.TSK_FS_TYPE_FAT32,
    pytsk3.TSK_FS_TYPE_EXFAT,
)
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


@contextmanager
def _errors() -> Iterator[None]:
    """Raise OSError where the library passes on that the disk could not be read, too."""
    try:
        yield
    except RuntimeError as error:
        raise DamagedError(str(error).partition("\n")[0]) from error


class SleuthKit:
    """A `holdfast.engine.file_system.FileSystem`. Raise OSError for one that is not known."""

    def __init__(self, disk: Disk) -> None:
        self._image = _Image(disk)  # must live as long as what reads from it
        with _errors():
            self._system = pytsk3.FS_Info(self._image)
        self.warnings: list[str] = []
        size = self._system.info.block_count * self._system.info.block_size
        if size > disk.size:
            # The library, too, refuses what lies behind the end.
            self.warnings.append(larger_than_place(size, disk.size))
        self.root: int = self._system.info.root_inum
        self.has_letter: bool = self._system.info.ftype in _WINDOWS_TYPES
        self._is_ntfs: bool = self._system.info.ftype == pytsk3.TSK_FS_TYPE_NTFS
        is_exfat = self._system.info.ftype == pytsk3.TSK_FS_TYPE_EXFAT
        self._exfat = ExfatEntries(disk) if is_exfat else None
        if self._is_ntfs and self._is_log_in_use():
            self.warnings.append(not_replayed("log"))

    def _is_log_in_use(self) -> bool:
        """Whether NTFS was not unmounted: its log may hold what is not in its place yet."""
        try:
            log = self.read(_NTFS_LOG, 0, _NTFS_LOG_HEADS)
        except (OSError, ContentElsewhereError):
            return True
        newest, in_use = -1, False
        for page in (log[:_NTFS_PAGE], log[_NTFS_PAGE:]):
            if page[:4] != b"RSTR":
                continue
            (start,) = struct.unpack_from("<H", page, 24)
            if start + _NTFS_RESTART.size > _NTFS_PAGE:
                return True
            number, _, _, users, flags = _NTFS_RESTART.unpack_from(page, start)
            if number > newest:
                newest, in_use = number, users != _NTFS_NOBODY and not flags & _NTFS_CLEAN
        return in_use

    def nodes(self, address: int) -> Iterator[Node]:
        """Given a folder's number, return what is in it."""
        with _errors():
            yield from self._nodes(address)

    def _nodes(self, address: int) -> Iterator[Node]:
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
                kind = "other" if is_lost(file) else kind_of(file, kind)
            yield Node(_entry(name.name, meta, kind), meta.addr)

    def read(self, address: int, offset: int, length: int) -> bytes:
        """Return a part of a file's content; zeros in holes and where nothing was written yet.

        Raise ContentElsewhereError for a file of which that is not its content.
        """
        with _errors():
            file = self._system.open_meta(inode=address)
            if self._is_ntfs and (reason := why_unreadable(file)) is not None:
                raise ContentElsewhereError(reason)
            written = length
            if self._exfat is not None:
                valid = self._exfat.valid_length(address, file.info.meta.size)
                written = max(0, min(length, valid - offset))
            content: bytes = file.read_random(offset, written) if written else b""
        if len(content) != written:
            # The library returns what there is before something that it cannot read.
            raise DamagedError(f"File {address} cannot be read at {offset + len(content)}.")
        return content + bytes(length - written)


def _entry(name: bytes, meta: Any, kind: Kind) -> Entry:
    return Entry(
        name=shown_name(name),
        kind=kind,
        size=max(0, meta.size) if kind == "file" else 0,
        owner=str(meta.uid),
        modified=max(0, meta.mtime) * 1000,
    )


def partitions(disk: Disk) -> list[Window] | None:
    """Given a disk, return its partitions; None when it has no table of them that can be read."""
    image = _Image(disk)  # must live as long as what reads from it
    table = _table(image, pytsk3.TSK_VS_TYPE_DETECT)
    if table is not None and any(part.desc == _GPT_GUARD for part in table):
        # The library takes the guard for all there is when the first copy of the GPT is damaged.
        table = _table(image, pytsk3.TSK_VS_TYPE_GPT)
    if table is None:
        return None
    allocated = int(pytsk3.TSK_VS_PART_FLAG_ALLOC)
    sector = table.info.block_size
    found = []
    for part in table:
        start = part.start * sector
        # Of a partition that reaches beyond the disk the library would take the rest for zeros.
        size = max(0, min(part.len * sector, disk.size - start))
        if int(part.flags) & allocated:
            found.append(Window(disk, start, size))
    if not found and table.info.vstype == pytsk3.TSK_VS_TYPE_GPT and not _is_whole(disk, sector):
        return None
    return found


def _table(image: _Image, kind: Any) -> Any | None:
    try:
        with _errors():
            return pytsk3.Volume_Info(image, kind)
    except OSError:
        return None


def _is_whole(disk: Disk, sector: int) -> bool:
    """Whether a GPT lists what it says, which the library does not look at."""
    head = disk.read(sector, sector)
    if len(head) < _GPT_LIST_AT + _GPT_LIST.size:
        return False
    first, count, size, checksum = _GPT_LIST.unpack_from(head, _GPT_LIST_AT)
    listed = disk.read(first * sector, min(count * size, _GPT_LARGEST_LIST))
    return bool(zlib.crc32(listed) == checksum)
