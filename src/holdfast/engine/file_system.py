"""What a file system inside a disk image is for those who browse it, whichever kind it is of."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from holdfast.engine.disk import DamagedError
from holdfast.engine.guest_entry import Entry, Kind


class NotFoundError(Exception):
    """There is no such file or folder, or it is not of the kind that is needed."""


class ContentElsewhereError(Exception):
    """What lies on the disk under a file's name is not its content; the message says why."""


@dataclass(frozen=True)
class Unreadable:
    """A `FileSystem` that is there, but cannot be read, for a reason that people are to see.

    ``kind`` says in a word or two what it is.
    """

    reason: str
    kind: str
    root = 0
    has_letter = False

    @property
    def warnings(self) -> list[str]:
        """That it cannot be read."""
        return [self.reason]

    def nodes(self, address: int) -> Iterator[Node]:  # noqa: ARG002
        """Raise DamagedError."""
        raise DamagedError(self.reason)

    def read(self, address: int, offset: int, length: int) -> bytes:  # noqa: ARG002
        """Raise DamagedError."""
        raise DamagedError(self.reason)


class PosixInode(Protocol):
    """What is known of a file by its inode: ``modified`` in milliseconds since 1970."""

    @property
    def mode(self) -> int: ...

    @property
    def size(self) -> int: ...

    @property
    def owner(self) -> int: ...

    @property
    def modified(self) -> int: ...


_KINDS: dict[int, Kind] = {
    stat.S_IFDIR: "directory",
    stat.S_IFREG: "file",
    stat.S_IFLNK: "link",
}


def posix_entry(name: str, inode: PosixInode) -> Entry:
    """Given the name and the inode of a file, return what is shown of it."""
    kind = _KINDS.get(stat.S_IFMT(inode.mode), "other")
    return Entry(
        name=name,
        kind=kind,
        size=inode.size if kind == "file" else 0,
        owner=str(inode.owner),
        modified=inode.modified,
    )


def not_replayed(what: str) -> str:
    """Given the name of a file system's journal, return the warning that it was in use."""
    return (
        f"It was in use when it was backed up, and its {what} is not replayed: files that were "
        "changed right before may be missing, old or incomplete."
    )


def larger_than_place(size: int, place: int) -> str:
    """Given how many bytes a file system claims and has, return the warning of it."""
    return (
        f"It claims {size} bytes, but its place has only {place}: what lies behind the end is "
        "missing and cannot be read."
    )


@dataclass(frozen=True)
class Node:
    """A file or folder, by its number in its file system."""

    entry: Entry
    address: int


class FileSystem(Protocol):
    """Reads one file system. Every method blocks and raises OSError for what cannot be read."""

    @property
    def root(self) -> int:
        """The number of the topmost folder."""

    @property
    def has_letter(self) -> bool:
        """Whether people know a file system of this kind by a letter, such as ``C:``."""

    @property
    def warnings(self) -> list[str]:
        """What people are to know who read it: what of it may be missing or old."""

    def nodes(self, address: int) -> Iterator[Node]:
        """Given a folder's number, return what is in it, in any order, without ``.`` and ``..``."""

    def read(self, address: int, offset: int, length: int) -> bytes:
        """Return a part of a file's content, which reaches that far; zeros in its holes.

        Raise ContentElsewhereError for a file of which the content cannot be had.
        """
