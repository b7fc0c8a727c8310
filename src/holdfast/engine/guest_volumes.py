"""The file systems of a machine's disk, read by The Sleuth Kit. Runs in the reader's process.

Nothing is mounted, so nothing of what a disk holds reaches the kernel: ext2 to ext4, NTFS, FAT,
exFAT, HFS+, UFS and ISO 9660 are read in user space. XFS, Btrfs, LVM and encrypted disks are not.
All functions block.
"""

from __future__ import annotations

import string
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import pytsk3

from holdfast.engine.guest_entry import GREATEST_FOLDER, Entry, Kind, in_order, match, shown_name

_KEPT_FOLDERS = 64
_MOST_VOLUMES = 128
_FIRST_LETTER = string.ascii_uppercase.index("C")
_NTFS_OWN_FILES = 24  # the first records of the file table: $MFT, $LogFile and so on

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


class NotFoundError(Exception):
    """There is no such file or folder, or it is not of the kind that is needed."""


class Disk(Protocol):
    """Where the bytes of a disk come from."""

    size: int

    def read(self, offset: int, length: int) -> bytes:
        """Return the bytes at an offset."""


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


@dataclass(frozen=True)
class _Node:
    """A file or folder, by its number in its file system."""

    entry: Entry
    address: int


class Volume:
    """A file system of a disk."""

    def __init__(self, name: str, system: Any) -> None:
        self.name = name
        self._system = system
        self._folders: OrderedDict[int, list[_Node]] = OrderedDict()

    def find(self, parts: tuple[str, ...]) -> _Node:
        """Given names from the root down, return what is there. Links are never followed."""
        node = _Node(Entry(name=self.name, kind="directory"), self._system.info.root_inum)
        for part in parts:
            nodes = {child.entry.name: child for child in self.children(node)}
            name = match(part, list(nodes))
            if name is None:
                raise NotFoundError(f"There is no {part} in {node.entry.name}.")
            node = nodes[name]
        return node

    def children(self, node: _Node) -> list[_Node]:
        """Given a folder, return what is in it, in order."""
        if node.entry.kind != "directory":
            raise NotFoundError(f"{node.entry.name} is not a folder.")
        if (known := self._folders.get(node.address)) is not None:
            self._folders.move_to_end(node.address)
            return known
        found: dict[str, _Node] = {}
        for child in self._read_folder(node.address):
            found.setdefault(child.entry.name, child)
            if len(found) >= GREATEST_FOLDER:
                break
        ordered = [found[entry.name] for entry in in_order([n.entry for n in found.values()])]
        self._folders[node.address] = ordered
        while len(self._folders) > 1 and _held(self._folders) > GREATEST_FOLDER + _KEPT_FOLDERS:
            self._folders.popitem(last=False)
        return ordered

    def read(self, node: _Node, offset: int, length: int) -> bytes:
        """Return a part of a file's content; zeros where the file system has lost it."""
        if node.entry.kind != "file":
            raise NotFoundError(f"{node.entry.name} is not a file.")
        length = min(length, node.entry.size - offset)
        if length <= 0:
            return b""
        file = self._system.open_meta(inode=node.address)
        content: bytes = file.read_random(offset, length)
        return content

    def _read_folder(self, address: int) -> Iterator[_Node]:
        is_ntfs_root = (
            self._system.info.ftype == pytsk3.TSK_FS_TYPE_NTFS
            and address == self._system.info.root_inum
        )
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
            yield _Node(_entry(name.name, meta), meta.addr)


def _held(folders: OrderedDict[int, list[_Node]]) -> int:
    return sum(len(nodes) + 1 for nodes in folders.values())


def _entry(name: bytes, meta: Any) -> Entry:
    kind = _KINDS.get(meta.type, "other")
    return Entry(
        name=shown_name(name),
        kind=kind,
        size=max(0, meta.size) if kind == "file" else 0,
        owner=str(meta.uid),
        modified=max(0, meta.mtime) * 1000,
    )


def volumes_of(disk: Disk) -> list[Volume]:
    """Given a disk, return the file systems on it that can be read."""
    image = _Image(disk)
    found: list[Volume] = []
    letters = iter(string.ascii_uppercase[_FIRST_LETTER:])
    for offset in _starts(image):
        try:
            system = pytsk3.FS_Info(image, offset=offset)
        except OSError:
            continue  # swap, LVM, a file system that is not known
        letter = next(letters, None) if system.info.ftype in _WINDOWS_TYPES else None
        name = f"{letter}:" if letter else f"volume{len(found) + 1}"
        found.append(Volume(name, system))
    return found


def _starts(image: _Image) -> list[int]:
    """Where file systems may begin: each partition, or the disk itself when it has none."""
    try:
        table = pytsk3.Volume_Info(image)
    except OSError:
        return [0]
    allocated = int(pytsk3.TSK_VS_PART_FLAG_ALLOC)
    starts = [part.start for part in table if int(part.flags) & allocated]
    return [start * table.info.block_size for start in starts[:_MOST_VOLUMES]] or [0]
