"""What a file system inside a disk image is for those who browse it, whichever kind it is of."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from holdfast.engine.disk import DamagedError
from holdfast.engine.guest_entry import Entry


class NotFoundError(Exception):
    """There is no such file or folder, or it is not of the kind that is needed."""


class ContentElsewhereError(Exception):
    """What lies on the disk under a file's name is not its content; the message says why."""


@dataclass(frozen=True)
class Unreadable:
    """A `FileSystem` that is there, but cannot be read, for a reason that people are to see."""

    reason: str
    root = 0
    has_letter = False

    def nodes(self, address: int) -> Iterator[Node]:  # noqa: ARG002
        """Raise DamagedError."""
        raise DamagedError(self.reason)

    def read(self, address: int, offset: int, length: int) -> bytes:  # noqa: ARG002
        """Raise DamagedError."""
        raise DamagedError(self.reason)


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

    def nodes(self, address: int) -> Iterator[Node]:
        """Given a folder's number, return what is in it, in any order, without ``.`` and ``..``."""

    def read(self, address: int, offset: int, length: int) -> bytes:
        """Return a part of a file's content, which reaches that far; zeros in its holes.

        Raise ContentElsewhereError for a file of which the content cannot be had.
        """
